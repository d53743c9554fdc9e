/* One attempt, named by the last argument; says what the libc was told. In the sandbox, all of it is a "no". */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int deep(volatile int *above) {
    volatile int here = *above + 1;
    return deep(&here) + here;
}

static int try(const char *what) {
    char path[4096] = "/out";
#define IS(name) (strcmp(what, name) == 0)
    if (IS("read_passwd")) return open("/etc/passwd", O_RDONLY);
    if (IS("read_by_dots")) return open("/in/../../../../etc/passwd", O_RDONLY);
    if (IS("read_proc")) return open("/proc/self/mem", O_RDWR);
    if (IS("write_the_input")) return open("/in/x", O_WRONLY | O_CREAT, 0600);
    if (IS("link_out")) return symlink("/etc/passwd", "/out/passwd");
    if (IS("follow_a_planted_link")) {
        symlink("../../../../etc", "/tmp/etc");
        return open("/tmp/etc/passwd", O_RDONLY);
    }
    if (IS("hard_link")) return link("/etc/passwd", "/out/passwd");
    if (IS("name_that_steers_terminals")) return open("/out/\x1b[2J", O_WRONLY | O_CREAT, 0600);
    if (IS("name_that_is_no_text")) return open("/out/\xff\xfe", O_WRONLY | O_CREAT, 0600);
    if (IS("name_that_is_a_path_out")) return open("/out/..\\..\\x", O_WRONLY | O_CREAT, 0600) < 0 ? -1 : 0;
    if (IS("path_without_end")) {
        for (int at = 4; at < 4000; at += 2) memcpy(path + at, "/a", 3);
        return open(path, O_WRONLY | O_CREAT, 0600);
    }
    if (IS("folders_without_end")) {
        while (strlen(path) < 4000) {
            strcat(path, "/d");
            if (mkdir(path, 0700) < 0) return -1;
        }
        return 0;
    }
    if (IS("descriptors_without_end")) {
        for (int count = 0; count < 10000; count++)
            if (open("/in", O_RDONLY | O_DIRECTORY) < 0) return -1;
        return 0;
    }
    if (IS("receive")) return (int)recv(0, path, 1, 0);
    if (IS("accept")) return accept(3, NULL, NULL);
    if (IS("hole_of_a_terabyte")) {
        int file = open("/tmp/hole", O_RDWR | O_CREAT, 0600);
        return ftruncate(file, 1LL << 40);
    }
    if (IS("files_without_end")) {
        for (int count = 0;; count++) {
            snprintf(path, sizeof path, "/tmp/%d", count);
            if (open(path, O_WRONLY | O_CREAT, 0600) < 0) return -1;
            close(open(path, O_RDONLY));
            close(4);
        }
    }
    if (IS("output_without_end")) {
        while (write(1, path, sizeof path) > 0) {}
        return -1;
    }
    if (IS("complaints_without_end")) {
        for (int count = 0; count < 1000; count++) write(2, path, sizeof path);
        return 0;
    }
    if (IS("a_frame_in_the_output")) {
        write(1, "\0\0\0\5Ran ", 8);
        return 0;
    }
    if (IS("sleep_for_a_year")) return nanosleep(&(struct timespec){31536000, 0}, NULL);
    if (IS("wait_for_the_clock")) {
        time_t end = time(NULL) + 31536000;
        while (time(NULL) < end) {}
        return 0;
    }
    if (IS("memory_without_end")) {
        for (char *volatile piece;;)
            if (!(piece = malloc(1 << 20))) return -1;
    }
    if (IS("recursion_without_end")) return deep(&(volatile int){0});
    if (IS("loop_without_end")) {
        for (volatile int turn = 0;; turn++) {}
    }
    if (IS("abort")) abort();
    return -2;
}

int main(int count, char **words) {
    int result = try(words[count - 1]);
    if (result >= 0) fputs("THROUGH", stdout);
    else fputs(result == -1 ? strerror(errno) : "no such attempt", stdout);
    return 0;
}
