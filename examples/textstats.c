/* What a text is made of: its SHA-256, its lines, words and bytes, and its ten most frequent identifiers.

   Reads standard input, writes text; the last argument is only the name to print. Everything is integers and
   one fixed order, so that any two machines print the same bytes. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SHA-256, FIPS 180-4. */

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t H[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void sha256_block(const uint8_t *p) {
    uint32_t w[64], a = H[0], b = H[1], c = H[2], d = H[3], e = H[4], f = H[5], g = H[6], h = H[7];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    H[0] += a, H[1] += b, H[2] += c, H[3] += d, H[4] += e, H[5] += f, H[6] += g, H[7] += h;
}

static void sha256_end(const uint8_t *rest, size_t size, uint64_t total) {
    uint8_t last[128] = {0};
    size_t end = size < 56 ? 64 : 128;
    memcpy(last, rest, size);
    last[size] = 0x80;
    for (int i = 0; i < 8; i++) last[end - 1 - i] = (uint8_t)(total * 8 >> 8 * i);
    for (size_t i = 0; i < end; i += 64) sha256_block(last + i);
}

/* Identifiers: a letter or underscore, then letters, digits, underscores. Longer ones are cut at NAME_MAX. */

enum { NAME_MAX = 63, TABLE_SIZE = 1 << 17, NAMES_MAX = TABLE_SIZE / 2, TOP = 10 };

typedef struct {
    uint64_t count;
    char name[NAME_MAX + 1];
} entry;

static entry *table;
static uint32_t names;

static void count(const char *name, size_t size) {
    uint32_t at = 2166136261u;
    for (size_t i = 0; i < size; i++) at = (at ^ (uint8_t)name[i]) * 16777619u;
    for (at %= TABLE_SIZE; table[at].count; at = (at + 1) % TABLE_SIZE)
        if (!memcmp(table[at].name, name, size) && !table[at].name[size]) break;
    if (!table[at].count) {
        if (names == NAMES_MAX) return; /* the table is half full: new names are no longer counted */
        names++;
        memcpy(table[at].name, name, size);
    }
    table[at].count++;
}

static int more_frequent(const void *left, const void *right) {
    const entry *a = left, *b = right;
    return a->count != b->count ? (a->count < b->count ? 1 : -1) : strcmp(a->name, b->name);
}

static int is_letter(int c) { return (c | 32) >= 'a' && (c | 32) <= 'z' ? 1 : c == '_'; }
static int is_digit(int c) { return c >= '0' && c <= '9'; }
static int is_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

int main(int argc, char **argv) {
    static uint8_t block[1 << 16];
    char name[NAME_MAX + 1];
    size_t got, size = 0, rest = 0;
    uint64_t bytes = 0, lines = 0, words = 0;
    int in_word = 0, in_number = 0;

    table = calloc(TABLE_SIZE, sizeof *table);
    if (!table) return fputs("no memory for the table of names\n", stderr), 2;

    while ((got = fread(block, 1, sizeof block, stdin)) > 0) {
        for (size_t i = 0; i < got; i++) {
            int c = block[i];
            lines += c == '\n';
            words += !is_space(c) && !in_word;
            in_word = !is_space(c);
            if (is_letter(c) || is_digit(c)) {
                if (!size && is_digit(c)) in_number = 1;
                if (!in_number && size < NAME_MAX) name[size++] = (char)c;
            } else {
                if (size) count(name, size);
                size = 0, in_number = 0;
            }
        }
        bytes += got;
        size_t whole = got & ~(size_t)63; /* less than `got` only at the end: fread fills the block before */
        for (size_t i = 0; i < whole; i += 64) sha256_block(block + i);
        rest = got - whole;
        memmove(block, block + whole, rest);
    }
    if (size) count(name, size);
    sha256_end(block, rest, bytes);

    uint32_t kept = 0;
    for (uint32_t i = 0; i < TABLE_SIZE; i++)
        if (table[i].count) table[kept++] = table[i];
    qsort(table, kept, sizeof *table, more_frequent);
    printf("name    %s\nsha256  ", argc > 1 ? argv[argc - 1] : "-");
    for (int i = 0; i < 8; i++) printf("%08x", H[i]);
    printf("\nlines   %llu\nwords   %llu\nbytes   %llu\nnames   %u\n", (unsigned long long)lines,
           (unsigned long long)words, (unsigned long long)bytes, names);
    for (int i = 0; i < TOP && (uint32_t)i < kept; i++)
        printf("%7llu %s\n", (unsigned long long)table[i].count, table[i].name);
    return 0;
}
