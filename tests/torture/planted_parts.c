/*
 * Code with planted faults, which planted.c tests and torture.c has to find. Its allocations are
 * redirected as the product's are.
 */
#include "tests/torture/planted_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct pair {
    char *first, *second;
};

/* free, where the compiler does not see the fault. */
static void (*volatile drop)(void *memory) = free;

char planted_unchecked(void)
{
    char *text = strdup("text");
    char first = text[0];

    free(text);
    return first;
}

char planted_used_after_free(void)
{
    char *text = malloc(16), *grown, first;

    if (!text)
        return 0;
    memcpy(text, "text", sizeof "text");
    grown = realloc(text, 4096);
    if (!grown)
        drop(text);
    if (!grown)
        return text[0];
    first = grown[0];
    free(grown);
    return first;
}

bool planted_freed_twice(void)
{
    char *first = malloc(16), *second = malloc(16);
    bool both = first && second;

    if (!both)
        drop(first);
    free(first);
    free(second);
    return both;
}

void planted_own_assertion(void)
{
    char *text = malloc(16);

    assert(text);
    free(text);
}

bool planted_leaked_on_the_way_out(void)
{
    struct pair *pair = calloc(1, sizeof *pair);

    if (!pair)
        return false;
    pair->first = strndup("first", 5);
    pair->second = strndup("second", 6);
    if (!pair->first || !pair->second) {
        free(pair);
        return false;
    }
    free(pair->first);
    free(pair->second);
    free(pair);
    return true;
}

void planted_tries_forever(void)
{
    char *text = malloc(16);

    while (!text)
        ;
    free(text);
}

/* The second malloc stands in for the first; nobody thought of both failing. */
char planted_second_failure_unchecked(void)
{
    char *text = calloc(1, 4096), first;

    if (!text)
        text = calloc(1, 16);
    first = text[0];
    free(text);
    return first;
}

bool planted_sound(void)
{
    struct pair *pair = calloc(1, sizeof *pair);
    bool whole;

    if (!pair)
        return false;
    pair->first = strdup("first");
    pair->second = pair->first ? strdup("second") : NULL;
    whole = pair->second;
    free(pair->first);
    free(pair->second);
    free(pair);
    return whole;
}
