/* Ackermann's function and the queens of a board: calls in calls, and fuel counted across them. */

#include <stdio.h>

static unsigned ackermann(unsigned m, unsigned n) {
    if (m == 0) return n + 1;
    return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

static unsigned queens(unsigned all, unsigned columns, unsigned left, unsigned right) {
    unsigned found = columns == all;
    for (unsigned free = all & ~(columns | left | right); free; free &= free - 1) {
        unsigned place = free & -free;
        found += queens(all, columns | place, (left | place) << 1, (right | place) >> 1);
    }
    return found;
}

int main(void) { printf("%u %u\n", ackermann(2, 150), queens(255, 0, 0, 0)); }
