/* Writes for ever: to standard output, or with the argument "file" to a file. */

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    FILE *to = argc > 1 && !strcmp(argv[1], "file") ? fopen("/out/flood", "w") : stdout;
    for (;;) fputs("and another line\n", to);
}
