/* Uses files the way programs do: folders, append, seek, truncate, rename, unlink; leaves two behind. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void) {
    char line[64];
    FILE *input = fopen("/in/input", "r"), *output;
    if (!input || !fgets(line, sizeof line, input)) return 1;
    mkdir("/out/deep", 0700);
    output = fopen("/out/deep/draft", "w");
    fputs("0123456789", output);
    fseek(output, 2, SEEK_SET);
    fputs(line, output);
    fclose(output);
    if (truncate("/out/deep/draft", 6) || rename("/out/deep/draft", "/out/deep/final")) return 2;
    output = fopen("/out/log", "w");
    fputs("one\n", output);
    fclose(output);
    output = fopen("/out/log", "a");
    fputs("two\n", output);
    fclose(output);
    output = fopen("/tmp/scratch", "w");
    fputs("not captured", output);
    fclose(output);
    close(open("/out/gone", O_WRONLY | O_CREAT, 0600));
    return unlink("/out/gone") ? 3 : 0;
}
