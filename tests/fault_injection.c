/* Fails one chosen call that changes files below a directory, once, as a failing or a full disk would.
 *
 * Preloaded into a process (LD_PRELOAD). Armed by the environment (FAULT_DIRECTORY, FAULT_NUMBER, FAULT_ERRNO) or by fault_arm.
 * Calls are counted from 1; number 0 only counts. A write that fails with ENOSPC first writes half of its bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_MAX];
static long number, counted;
static int error, full_descriptor = -1;
static char failed[PATH_MAX + 32];

void fault_arm(const char *below, long which, int errnum)
{
    pthread_mutex_lock(&lock);
    snprintf(directory, sizeof directory, "%s", below);
    number = which;
    counted = 0;
    error = errnum;
    full_descriptor = -1;
    failed[0] = 0;
    pthread_mutex_unlock(&lock);
}

long fault_counted(void) { return counted; }

const char *fault_failed(void) { return failed; }

__attribute__((constructor)) static void start(void)
{
    const char *below = getenv("FAULT_DIRECTORY"), *which = getenv("FAULT_NUMBER"), *errnum = getenv("FAULT_ERRNO");
    if (below)
        fault_arm(below, which ? atol(which) : 0, errnum ? atoi(errnum) : EIO);
}

__attribute__((destructor)) static void report(void)
{
    const char *path = getenv("FAULT_REPORT");
    if (path) {
        FILE *file = fopen(path, "w");
        if (file) {
            fprintf(file, "%ld %s", counted, failed);
            fclose(file);
        }
    }
}

/* The errno that this call has to fail with, or 0. */
static int fault(const char *call, const char *path)
{
    int found = 0;
    size_t size = strlen(directory);
    if (!size || strncmp(path, directory, size) || (path[size] && path[size] != '/'))
        return 0;
    pthread_mutex_lock(&lock);
    counted++;
    if (counted == number) {
        found = error;
        snprintf(failed, sizeof failed, "%s %s", call, path);
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static const char *path_of(int descriptor, char *path)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(name, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

static const char *path_at(int descriptor, const char *name, char *path)
{
    if (name[0] == '/')
        snprintf(path, PATH_MAX, "%s", name);
    else {
        char base[PATH_MAX];
        if (descriptor == AT_FDCWD) {
            if (!getcwd(base, sizeof base))
                base[0] = 0;
        } else
            path_of(descriptor, base);
        if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX)
            path[0] = 0;
    }
    return path;
}

#define REAL(type, name, ...)                                                                                                  \
    static type (*real)(__VA_ARGS__);                                                                                          \
    if (!real)                                                                                                                 \
    real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)
#define FAIL_AT(name, descriptor, target)                                                                                      \
    do {                                                                                                                       \
        char fault_path[PATH_MAX];                                                                                             \
        int fault_number = fault(#name, path_at(descriptor, target, fault_path));                                              \
        if (fault_number) {                                                                                                    \
            errno = fault_number;                                                                                              \
            return -1;                                                                                                         \
        }                                                                                                                      \
    } while (0)
#define FAIL_ON(name, descriptor)                                                                                              \
    do {                                                                                                                       \
        char fault_path[PATH_MAX];                                                                                             \
        int fault_number = fault(#name, path_of(descriptor, fault_path));                                                      \
        if (fault_number) {                                                                                                    \
            errno = fault_number;                                                                                              \
            return -1;                                                                                                         \
        }                                                                                                                      \
    } while (0)

/* How many bytes a write may write; 0: it fails, with errno set. */
static size_t allowed(const char *call, int descriptor, size_t size)
{
    char path[PATH_MAX];
    if (descriptor == full_descriptor) {
        full_descriptor = -1;
        errno = ENOSPC;
        return 0;
    }
    int found = fault(call, path_of(descriptor, path));
    if (!found)
        return size;
    if (found == ENOSPC && size > 1) {
        full_descriptor = descriptor;
        return size / 2;
    }
    errno = found;
    return 0;
}

ssize_t write(int descriptor, const void *bytes, size_t size)
{
    REAL(ssize_t, write, int, const void *, size_t);
    size_t part = directory[0] && size ? allowed("write", descriptor, size) : size;
    return part || !size ? real(descriptor, bytes, part) : -1;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset)
{
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    size_t part = directory[0] && size ? allowed("pwrite", descriptor, size) : size;
    return part || !size ? real(descriptor, bytes, part, offset) : -1;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off_t offset)
{
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t);
    size_t part = directory[0] && size ? allowed("pwrite", descriptor, size) : size;
    return part || !size ? real(descriptor, bytes, part, offset) : -1;
}

int fsync(int descriptor)
{
    REAL(int, fsync, int);
    FAIL_ON(fsync, descriptor);
    return real(descriptor);
}

int fdatasync(int descriptor)
{
    REAL(int, fdatasync, int);
    FAIL_ON(fdatasync, descriptor);
    return real(descriptor);
}

int ftruncate(int descriptor, off_t size)
{
    REAL(int, ftruncate, int, off_t);
    FAIL_ON(ftruncate, descriptor);
    return real(descriptor, size);
}

int ftruncate64(int descriptor, off_t size)
{
    REAL(int, ftruncate64, int, off_t);
    FAIL_ON(ftruncate, descriptor);
    return real(descriptor, size);
}

int rename(const char *from, const char *to)
{
    REAL(int, rename, const char *, const char *);
    FAIL_AT(rename, AT_FDCWD, to);
    return real(from, to);
}

int link(const char *from, const char *to)
{
    REAL(int, link, const char *, const char *);
    FAIL_AT(link, AT_FDCWD, to);
    return real(from, to);
}

int linkat(int a, const char *from, int b, const char *to, int flags)
{
    REAL(int, linkat, int, const char *, int, const char *, int);
    FAIL_AT(link, b, to);
    return real(a, from, b, to, flags);
}

int unlink(const char *path)
{
    REAL(int, unlink, const char *);
    FAIL_AT(unlink, AT_FDCWD, path);
    return real(path);
}

int unlinkat(int descriptor, const char *path, int flags)
{
    REAL(int, unlinkat, int, const char *, int);
    FAIL_AT(unlink, descriptor, path);
    return real(descriptor, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, mkdir, const char *, mode_t);
    FAIL_AT(mkdir, AT_FDCWD, path);
    return real(path, mode);
}

int chmod(const char *path, mode_t mode)
{
    REAL(int, chmod, const char *, mode_t);
    FAIL_AT(chmod, AT_FDCWD, path);
    return real(path, mode);
}

/* Opening fails only where it makes a file. */
int open64(const char *path, int flags, ...)
{
    REAL(int, open64, const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & O_CREAT)
        FAIL_AT(open, AT_FDCWD, path);
    return real(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    REAL(int, open, const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & O_CREAT)
        FAIL_AT(open, AT_FDCWD, path);
    return real(path, flags, mode);
}
