/* FNV-1a and a xorshift over its own output: 64-bit integers, shifts, multiplications. */

#include <stdint.h>
#include <stdio.h>

int main(void) {
    uint64_t hash = 14695981039346656037u, state = 88172645463325252u;
    for (int turn = 0; turn < 300000; turn++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        for (int byte = 0; byte < 64; byte += 8) hash = (hash ^ (state >> byte & 255)) * 1099511628211u;
    }
    printf("%016llx %016llx\n", (unsigned long long)hash, (unsigned long long)state);
}
