/* Counts the calls that change files, and at a chosen one ends the process or makes the call fail.
 *
 * Loaded before libc (LD_PRELOAD). Nothing happens until attack_arm. Standard streams are not counted, nor what is no
 * regular file. attack_arm(at, mode, code): at the call number `at`
 *   mode 1: SIGKILL before the call
 *   mode 2: SIGKILL after half of a write, or after the call
 *   mode 3: the call fails with errno `code`, once
 *   mode 4: it and all later calls fail with errno `code`
 * attack_count() returns the number of calls since.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile long count, at;
static volatile int mode, code;

void attack_arm(long at_, int mode_, int code_) { count = 0; at = at_; mode = mode_; code = code_; }
long attack_count(void) { return count; }

/* What to do at this call: 0 nothing, 1 fail, 2 kill after a part of it. */
static int due(void) {
    if (!mode) return 0;
    long n = __sync_add_and_fetch(&count, 1);
    if (mode == 4 && n >= at) { errno = code; return 1; }
    if (n != at) return 0;
    if (mode == 1) { kill(getpid(), SIGKILL); for (;;) pause(); }
    if (mode == 2) return 2;
    if (mode == 3) { errno = code; return 1; }
    return 0;
}

static void end(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

static int regular(int fd) {
    struct stat s;
    return mode && fd > 2 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *data, size_t n) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (regular(fd)) {
        int what = due();
        if (what == 1) return -1;
        if (what == 2) { real(fd, data, n / 2); end(); }
    }
    return real(fd, data, n);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    if (regular(fd)) {
        int what = due();
        if (what == 1) return -1;
        if (what == 2) { real(fd, data, n / 2, offset); end(); }
    }
    return real(fd, data, n, offset);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t offset) { return pwrite64(fd, data, n, offset); }

ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (regular(fd)) {
        int what = due();
        if (what == 1) return -1;
        if (what == 2) { real(fd, parts, 1); end(); }
    }
    return real(fd, parts, n);
}

#define AFTER(call) \
    int what = due(); \
    if (what == 1) return -1; \
    int result = call; \
    if (what == 2) end(); \
    return result

int fsync(int fd) { REAL(int, "fsync", int); AFTER(real(fd)); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); AFTER(real(fd)); }
int ftruncate64(int fd, off64_t n) { REAL(int, "ftruncate64", int, off64_t); AFTER(real(fd, n)); }
int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }
int rename(const char *a, const char *b) { REAL(int, "rename", const char *, const char *); AFTER(real(a, b)); }
int unlink(const char *path) { REAL(int, "unlink", const char *); AFTER(real(path)); }
int rmdir(const char *path) { REAL(int, "rmdir", const char *); AFTER(real(path)); }
int mkdir(const char *path, mode_t m) { REAL(int, "mkdir", const char *, mode_t); AFTER(real(path, m)); }
int unlinkat(int d, const char *path, int f) { REAL(int, "unlinkat", int, const char *, int); AFTER(real(d, path, f)); }

static int writes(int flags) { return mode && (flags & (O_WRONLY | O_RDWR | O_CREAT)); }

#define OPENING(...) \
    mode_t m = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); m = va_arg(rest, mode_t); va_end(rest); } \
    if (!writes(flags)) return real(__VA_ARGS__); \
    AFTER(real(__VA_ARGS__))

int open64(const char *path, int flags, ...) { REAL(int, "open64", const char *, int, ...); OPENING(path, flags, m); }
int open(const char *path, int flags, ...) { REAL(int, "open", const char *, int, ...); OPENING(path, flags, m); }
int openat64(int d, const char *path, int flags, ...) {
    REAL(int, "openat64", int, const char *, int, ...);
    OPENING(d, path, flags, m);
}
int openat(int d, const char *path, int flags, ...) {
    REAL(int, "openat", int, const char *, int, ...);
    OPENING(d, path, flags, m);
}
