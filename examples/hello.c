/* The smallest job: greets its input, or the world. */

#include <stdio.h>

int main(int argc, char **argv) {
    printf("hello, %s\n", argc > 1 ? argv[argc - 1] : "world");
    return 0;
}
