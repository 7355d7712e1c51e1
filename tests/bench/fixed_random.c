/*
 * Preloaded by tests/bench/instructions.py: randomness that is the same in each run.
 *
 * The hash tables of PostOffice and of Redis have random seeds, so other keys would collide in each
 * run, and counts would differ by some per cent. Each call gives the same bytes, however many calls
 * came before: a change that draws one more number changes no other number.
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
