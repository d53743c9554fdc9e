/* qsort through a function pointer: indirect calls, much memory traffic. */

#include <stdio.h>
#include <stdlib.h>

static int by_value(const void *left, const void *right) {
    unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
    return (a > b) - (a < b);
}

int main(void) {
    static unsigned values[40000];
    unsigned state = 1, sum = 0;
    for (int at = 0; at < 40000; at++) values[at] = state = state * 1664525u + 1013904223u;
    qsort(values, 40000, sizeof *values, by_value);
    for (int at = 0; at < 40000; at++) sum = sum * 31 + values[at];
    printf("%u %u %u %u\n", values[0], values[20000], values[39999], sum);
}
