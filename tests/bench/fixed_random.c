/*
 * Preloaded by tests/bench/instructions.py: randomness that is the same in each run.
 *
 * Hash tables here and in Redis have random keys, so which keys collide, and with it the number of
 * instructions, would change from run to run by a few per cent. Each call gives the same bytes,
 * however many calls came before: a change that draws one number more moves no other.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

ssize_t getrandom(void *buffer, size_t size, unsigned int flags)
{
    (void)flags;
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)buffer)[i] = (uint8_t)(0x9d * (i + 1));
    return (ssize_t)size;
}

/* Redis reads the seed of its hash tables from /dev/urandom. */
FILE *fopen(const char *path, const char *mode)
{
    FILE *(*real)(const char *, const char *);

    *(void **)&real = dlsym(RTLD_NEXT, "fopen");
    return real(strcmp(path, "/dev/urandom") == 0 ? "/dev/zero" : path, mode);
}
