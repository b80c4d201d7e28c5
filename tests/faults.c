/* Makes one call that changes a file fail: for LD_PRELOAD, see faults.py.

   Calls are counted while armed, and only those on files whose path begins with the armed one. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char armed_path[PATH_MAX];
static atomic_int armed;
static atomic_long counted;
static long failing;
static int failure;

void fault_arm(const char *path, long nth, int error) {
    snprintf(armed_path, sizeof armed_path, "%s", path);
    failing = nth;
    failure = error;
    atomic_store(&counted, 0);
    atomic_store(&armed, 1);
}

long fault_disarm(void) {
    atomic_store(&armed, 0);
    return atomic_load(&counted);
}

static int fails(const char *path) {
    if (strncmp(path, armed_path, strlen(armed_path)) != 0)
        return 0;
    if (atomic_fetch_add(&counted, 1) + 1 != failing)
        return 0;
    errno = failure;
    return 1;
}

static int file_fails(int file) {
    if (!atomic_load(&armed))
        return 0;
    char link[64], path[PATH_MAX];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails(path);
}

static int name_fails(const char *name) { return atomic_load(&armed) && fails(name); }

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ON_FILE(type, name, parameters, file, arguments) \
    type name parameters { return file_fails(file) ? -1 : NEXT(name) arguments; }
#define ON_NAME(name, parameters, path, arguments) \
    int name parameters { return name_fails(path) ? -1 : NEXT(name) arguments; }

ON_FILE(ssize_t, write, (int f, const void *b, size_t n), f, (f, b, n))
ON_FILE(ssize_t, pwrite, (int f, const void *b, size_t n, off_t o), f, (f, b, n, o))
ON_FILE(ssize_t, pwrite64, (int f, const void *b, size_t n, off64_t o), f, (f, b, n, o))
ON_FILE(ssize_t, writev, (int f, const struct iovec *v, int n), f, (f, v, n))
ON_FILE(int, fsync, (int f), f, (f))
ON_FILE(int, fdatasync, (int f), f, (f))
ON_FILE(int, ftruncate, (int f, off_t n), f, (f, n))
ON_FILE(int, ftruncate64, (int f, off64_t n), f, (f, n))
ON_NAME(rename, (const char *a, const char *b), a, (a, b))
ON_NAME(renameat, (int d, const char *a, int e, const char *b), a, (d, a, e, b))
ON_NAME(unlink, (const char *a), a, (a))
ON_NAME(unlinkat, (int d, const char *a, int g), a, (d, a, g))
