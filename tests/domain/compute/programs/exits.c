/* Says something on both streams and exits with 7; with an input it traps instead. */

#include <stdio.h>

int main(int argc, char **argv) {
    puts("said");
    fputs("complained\n", stderr);
    if (argc > 1) {
        fflush(stdout);
        __builtin_trap();
    }
    return 7;
}
