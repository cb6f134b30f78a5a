/* Loaded before libc: lets the n-th call that touches a file below a folder fail, or kills the
 * process right before or after it. Armed from Python by ctypes; unarmed it only passes on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char folder[PATH_MAX];
static int left = -1;  /* calls until the fault; -1: not armed */
static int times = 0;  /* how many calls in a row fail */
static int action = 0; /* an errno, or -1: killed before, -2: killed after */
static int seen = 0;   /* calls that touched the folder since arming */

void fault_arm(const char *where, int at, int what, int how_often) {
    strncpy(folder, where, sizeof folder - 1);
    action = what;
    times = how_often;
    seen = 0;
    left = at;
}

int fault_seen(void) { return seen; }

static int below(const char *path) {
    return path && strncmp(path, folder, strlen(folder)) == 0;
}

static int below_fd(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return below(path);
}

/* 0: go on; 1: fail with errno set; 2: go on, then die */
static int fault(int touches) {
    if (left < 0 || !touches)
        return 0;
    seen++;
    if (left > 0) {
        left--;
        return 0;
    }
    if (action == -1)
        kill(getpid(), SIGKILL);
    if (action == -2)
        return 2;
    if (--times <= 0)
        left = -1;
    errno = action;
    return 1;
}

#define PASS(type, name, touches, params, args)                                                    \
    type name params {                                                                             \
        static type(*real) params;                                                                 \
        if (!real)                                                                                 \
            real = dlsym(RTLD_NEXT, #name);                                                        \
        int what = fault(touches);                                                                 \
        if (what == 1)                                                                             \
            return -1;                                                                             \
        type result = real args;                                                                   \
        if (what == 2)                                                                             \
            kill(getpid(), SIGKILL);                                                               \
        return result;                                                                             \
    }

PASS(ssize_t, write, below_fd(fd), (int fd, const void *data, size_t n), (fd, data, n))
PASS(ssize_t, pwrite, below_fd(fd), (int fd, const void *data, size_t n, off_t o), (fd, data, n, o))
PASS(ssize_t, pwrite64, below_fd(fd), (int fd, const void *d, size_t n, off64_t o), (fd, d, n, o))
PASS(int, fsync, below_fd(fd), (int fd), (fd))
PASS(int, fdatasync, below_fd(fd), (int fd), (fd))
PASS(int, ftruncate, below_fd(fd), (int fd, off_t size), (fd, size))
PASS(int, ftruncate64, below_fd(fd), (int fd, off64_t size), (fd, size))
PASS(int, rename, below(a), (const char *a, const char *b), (a, b))
PASS(int, link, below(a), (const char *a, const char *b), (a, b))
PASS(int, linkat, below(a), (int i, const char *a, int j, const char *b, int f), (i, a, j, b, f))
PASS(int, unlink, below(a), (const char *a), (a))
PASS(int, unlinkat, (below(a) || below_fd(i)), (int i, const char *a, int f), (i, a, f))
PASS(int, mkdir, below(a), (const char *a, mode_t mode), (a, mode))
PASS(int, rmdir, below(a), (const char *a), (a))

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        static int (*real)(const char *, int, ...);                                                \
        if (!real)                                                                                 \
            real = dlsym(RTLD_NEXT, #name);                                                        \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = va_arg(rest, mode_t);                                                        \
        va_end(rest);                                                                              \
        int what = fault(below(path) && (flags & (O_WRONLY | O_RDWR | O_CREAT)));                  \
        if (what == 1)                                                                             \
            return -1;                                                                             \
        int result = real(path, flags, mode);                                                      \
        if (what == 2)                                                                             \
            kill(getpid(), SIGKILL);                                                               \
        return result;                                                                             \
    }

OPEN(open)
OPEN(open64)
