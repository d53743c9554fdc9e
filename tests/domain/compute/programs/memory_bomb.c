/* Takes and touches memory until there is no more, then says how many MiB it got. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    unsigned got = 0;
    for (char *volatile block; (block = malloc(1 << 20)); got++) memset(block, 1, 1 << 20);
    printf("%u MiB\n", got);
    return 3;
}
