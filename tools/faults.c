/* Faults of a disk, and another clock, for a program that knows nothing of them: a library to be preloaded by tests (LD_PRELOAD).
 *
 * FAULTS        a file of three 32-bit integers of this machine, mapped while the program runs: kind of fault, how many operations
 *                    that it applies to are let through first, how many then fail (0xffffffff: all).
 * FAULTS_BELOW  only files below this directory are touched.
 * FAULTS_CLOCK_SHIFT   seconds that the wall clock is moved by (negative: into the past). Time that passes is left alone.
 *
 * Kinds: 0 none; 1 a sync fails (EIO); 2 a write fails (EIO); 3 a write takes half of its bytes, as the system may; 4 the disk is full
 * (ENOSPC), after half of the bytes; 5 a sync and every write fail (EIO).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NONE, SYNC_FAILS, WRITE_FAILS, SHORT_WRITE, DISK_FULL, ALL_FAIL };

struct control {
    uint32_t kind, skip, left;
};

static volatile struct control *control;
static const char *below;
static time_t shift;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS");
    const char *moved = getenv("FAULTS_CLOCK_SHIFT");
    below = getenv("FAULTS_BELOW");
    shift = moved ? (time_t)atoll(moved) : 0;
    if (!path || !below) {
        return;
    }
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) {
        fprintf(stderr, "faults: %s cannot be mapped: %s\n", path, strerror(errno));
        abort();
    }
    close(file);
    control = page;
}

/* Whether this operation on this file meets the fault now. */
static int meets(int fd, int sync) {
    if (!control || control->kind == NONE) {
        return 0;
    }
    uint32_t kind = control->kind;
    if (sync ? (kind != SYNC_FAILS && kind != ALL_FAIL) : kind == SYNC_FAILS) {
        return 0;
    }
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || strncmp(path, below, strlen(below)) != 0) {
        return 0;
    }
    if (control->skip > 0 && __sync_fetch_and_sub(&control->skip, 1) > 0) {
        return 0;
    }
    if (control->left == 0) {
        return 0;
    }
    if (control->left != UINT32_MAX) {
        __sync_fetch_and_sub(&control->left, 1);
    }
    return (int)kind;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int failed_sync(int fd, const char *name) {
    if (meets(fd, 1)) {
        errno = EIO;
        return -1;
    }
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return next(fd);
}

int fsync(int fd) { return failed_sync(fd, "fsync"); }
int fdatasync(int fd) { return failed_sync(fd, "fdatasync"); }

/* How many bytes to write in truth; -1 with errno where none. */
static ssize_t allowed(int fd, size_t count) {
    switch (meets(fd, 0)) {
    case WRITE_FAILS:
    case ALL_FAIL:
        errno = EIO;
        return -1;
    case SHORT_WRITE:
        return (ssize_t)(count > 1 ? count / 2 : count);
    case DISK_FULL:
        if (count < 2) {
            errno = ENOSPC;
            return -1;
        }
        /* What fits is written; the operation after it finds no room at all. */
        return (ssize_t)(count / 2);
    default:
        return (ssize_t)count;
    }
}

/* Nothing more fits on a full disk after the first half. */
static int full_after_half(ssize_t written, size_t count) {
    return control && control->kind == DISK_FULL && written >= 0 && (size_t)written < count;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t some = allowed(fd, count);
    if (some < 0) {
        return -1;
    }
    ssize_t written = NEXT(write)(fd, bytes, (size_t)some);
    if (full_after_half(written, count)) {
        errno = ENOSPC;
        return -1;
    }
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    ssize_t some = allowed(fd, count);
    if (some < 0) {
        return -1;
    }
    ssize_t written = NEXT(pwrite)(fd, bytes, (size_t)some, at);
    if (full_after_half(written, count)) {
        errno = ENOSPC;
        return -1;
    }
    return written;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return pwrite(fd, bytes, count, at); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    size_t all = 0;
    for (int part = 0; part < count; part++) {
        all += parts[part].iov_len;
    }
    ssize_t some = allowed(fd, all);
    if (some < 0) {
        return -1;
    }
    if ((size_t)some == all) {
        return NEXT(writev)(fd, parts, count);
    }
    size_t first = parts[0].iov_len < (size_t)some ? parts[0].iov_len : (size_t)some;
    ssize_t written = NEXT(write)(fd, parts[0].iov_base, first);
    if (full_after_half(written, all)) {
        errno = ENOSPC;
        return -1;
    }
    return written;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int outcome = NEXT(clock_gettime)(clock, time);
    if (outcome == 0 && clock == CLOCK_REALTIME) {
        time->tv_sec += shift;
    }
    return outcome;
}
