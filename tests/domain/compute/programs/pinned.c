/* Looks at everything that differs between two machines, and prints it. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void list(const char *path) {
    struct stat info;
    DIR *folder = opendir(path);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char full[512];
        snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        stat(full, &info);
        printf("%s ino=%llu size=%lld links=%d mtime=%lld.%09ld\n", full, (unsigned long long)entry->d_ino,
               (long long)info.st_size, (int)info.st_nlink, (long long)info.st_mtim.tv_sec,
               info.st_mtim.tv_nsec);
    }
    closedir(folder);
}

static void tell(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    printf("clock %lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
}

int main(int argc, char **argv) {
    unsigned char chance[8];
    for (int i = 0; i < argc; i++) printf("argument %s\n", argv[i]);
    for (char **variable = environ; *variable; variable++) printf("variable %s\n", *variable);
    for (const char *name = "qzamb"; *name; name++) {
        char path[] = {'/', 'o', 'u', 't', '/', *name, 0};
        close(open(path, O_WRONLY | O_CREAT, 0600));
    }
    list("/");
    list("/in");
    list("/out");
    tell(CLOCK_REALTIME);
    tell(CLOCK_MONOTONIC);
    nanosleep(&(struct timespec){3600, 500}, NULL);
    tell(CLOCK_REALTIME);
    getentropy(chance, sizeof chance);
    for (int i = 0; i < 8; i++) printf("%02x", chance[i]);
    printf("\n");
    return 0;
}
