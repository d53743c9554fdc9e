/* Darts at a square: how many of them hit the circle within? Prints hits and darts. */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned long long state;

static double chance(void) { /* xorshift64*, from 0 to 1 */
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (double)((state * 2685821657736338717ULL) >> 11) / (double)(1ULL << 53);
}

int main(int argc, char **argv) {
    long darts = argc > 1 ? atol(argv[1]) : 1000, hits = 0;
    if (darts <= 0 || getentropy(&state, sizeof state)) return 1;
    state |= 1;
    for (long dart = 0; dart < darts; dart++) {
        double x = chance(), y = chance();
        hits += x * x + y * y < 1;
    }
    printf("%ld %ld\n", hits, darts);
    return 0;
}
