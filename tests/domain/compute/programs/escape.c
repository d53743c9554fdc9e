/* Tries every door; prints what each answered. All of them must be shut. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void tried(const char *what, int result) {
    printf("%-24s %s\n", what, result < 0 ? strerror(errno) : "OPEN");
}

int main(void) {
    tried("read /etc/passwd", open("/etc/passwd", O_RDONLY));
    tried("read ../etc/passwd", open("../etc/passwd", O_RDONLY));
    tried("read in/../../etc/passwd", open("/in/../../etc/passwd", O_RDONLY));
    tried("read /proc/self/environ", open("/proc/self/environ", O_RDONLY));
    tried("create /in/new", open("/in/new", O_WRONLY | O_CREAT, 0600));
    tried("create /new", open("/new", O_WRONLY | O_CREAT, 0600));
    tried("write /in/input", open("/in/input", O_RDWR));
    tried("truncate /in/input", open("/in/input", O_RDONLY | O_TRUNC));
    tried("unlink /in/input", unlink("/in/input"));
    tried("rename /in/input", rename("/in/input", "/out/input"));
    tried("link /in/input", link("/in/input", "/out/input"));
    tried("symlink /etc/passwd", symlink("/etc/passwd", "/out/passwd"));
    tried("mkdir /in/folder", mkdir("/in/folder", 0700));
    tried("rmdir /in", rmdir("/in"));
    tried("accept on a file", accept(0, NULL, NULL));
    tried("receive from a file", (int)recv(0, &(char){0}, 1, 0));
    printf("%-24s %s\n", "variable HOME", getenv("HOME") ? "SET" : "unset");
    return 0;
}
