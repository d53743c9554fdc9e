/* What a run was told: its arguments, its number, a random byte or two, its standard input, its files. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) printf("arg %s\n", argv[i]);
    const char *number = getenv("FOG_SHARD"), *of = getenv("FOG_SHARDS");
    if (number) printf("shard %s of %s\n", number, of);
    unsigned long long chance;
    if (getentropy(&chance, sizeof chance)) return 1;
    printf("chance %016llx\n", chance);
    char line[256];
    while (fgets(line, sizeof line, stdin)) printf("stdin %s", line);
    DIR *folder = opendir("/in");
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] != '.') printf("file %s\n", entry->d_name);
    return 0;
}
