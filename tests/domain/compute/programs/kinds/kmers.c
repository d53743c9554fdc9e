/* Counts the words of eight bases in a made-up genome: a hash table, realloc, strings. */

#include <stdio.h>
#include <stdlib.h>

int main(void) {
    enum { LENGTH = 30000, WORD = 8, KINDS = 1 << 2 * WORD };
    char *genome = malloc(LENGTH);
    unsigned *counts = calloc(KINDS, sizeof *counts), state = 7, word = 0, best = 0;
    for (int at = 0; at < LENGTH; at++) {
        state = state * 1103515245u + 12345u;
        genome[at] = "ACGT"[state >> 29 & 3];
    }
    for (int at = 0; at < LENGTH; at++) {
        word = (word << 2 | (genome[at] == 'C') | (genome[at] == 'G') * 2u | (genome[at] == 'T') * 3u) % KINDS;
        if (at >= WORD - 1) counts[word]++;
    }
    for (unsigned kind = 0; kind < KINDS; kind++)
        if (counts[kind] > counts[best]) best = kind;
    printf("%.12s %u %u\n", genome, best, counts[best]);
}
