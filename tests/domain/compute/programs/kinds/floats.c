/* The edges of floating point, to the bit: signs and payloads of NaN, zeros, subnormals, rounding, overflow. */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void show(const char *what, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    printf("%-12s %016llx\n", what, (unsigned long long)bits);
}

static void show_short(const char *what, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    printf("%-12s %08x\n", what, bits);
}

int main(void) {
    volatile double zero = 0, one = 1, huge = 1e308, tiny = 5e-324, none;
    volatile float small = 1e-45f, large = 3e38f, nought = 0;
    uint64_t payload = 0xfff4dead0000beefu;
    memcpy((void *)&none, &payload, sizeof payload);
    show("0/0", zero / zero), show("-(0/0)", -(zero / zero)), show("inf-inf", one / zero - one / zero);
    show("0*inf", zero * (one / zero)), show("sqrt(-1)", sqrt(-one)), show("payload+1", none + one);
    show("payload*0", none * zero), show("nan-payload", zero / zero - none), show("-payload", -none);
    show("fabs", fabs(none)), show("copysign", copysign(none, -one)), show("fmin", fmin(none, one));
    show("huge*10", huge * 10), show("tiny/2", tiny / 2), show("tiny*3/2", tiny * 3 / 2);
    show("-0", -zero), show("-0+0", -zero + zero), show("1/-0", one / -zero), show("rint", rint(2.5 * one));
    show("nearbyint", nearbyint(-0.5 * one)), show("floor", floor(-tiny)), show("trunc", trunc(-0.9 * one));
    show("0.1+0.2", 0.1 * one + 0.2), show("1/3", one / 3), show("2^53+1", 9007199254740992.0 * one + 1);
    show("to double", small), show("nan to d", nought / nought);
    show_short("0/0", nought / nought), show_short("large*2", large * 2), show_short("small/2", small / 2);
    show_short("to float", (float)none), show_short("1e40", (float)(1e40 * one)), show_short("min", fminf(nought, -nought));
    printf("%lld %u\n", (long long)(one * 9e18), (unsigned)(one * 4e9));
}
