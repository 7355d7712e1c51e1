#include "worker/service/service_held.h"

#include "common/grow.h"

#include <stdlib.h>

static struct service_letter *letter_find(const struct service_held *held, struct seq seq)
{
    for (uint32_t i = 0; i < held->count; i++)
        if (seq_compare(held->letters[i].seq, seq) == 0)
            return &held->letters[i];
    return NULL;
}

enum err service_held_add(struct service_held *held, struct seq seq, uint8_t receipt)
{
    enum err err = grow_reserve(&held->letters, &held->size, held->count + 1, 8, SERVICE_HELD_MAX);

    if (!err)
        held->letters[held->count++] = (struct service_letter){ .seq = seq, .receipt = receipt };
    return err;
}

bool service_held_has(const struct service_held *held, struct seq seq)
{
    return letter_find(held, seq) != NULL;
}

void service_held_left(struct service_held *held, struct seq seq)
{
    struct service_letter *letter = letter_find(held, seq);

    if (letter)
        letter->left = ++held->left_count;
}

bool service_held_ack(struct service_held *held, struct seq seq,
                      void (*done)(void *arg, const struct service_letter *letter), void *arg)
{
    const struct service_letter *named = letter_find(held, seq);
    uint64_t last = named ? named->left : 0;
    uint32_t kept = 0;

    if (last == 0)
        return false;
    for (uint32_t i = 0; i < held->count; i++) {
        struct service_letter letter = held->letters[i];
        if (letter.left && letter.left <= last)
            done(arg, &letter);
        else
            held->letters[kept++] = letter;
    }
    held->count = kept;
    if (kept == 0)
        service_held_clear(held); /* an idle session owns nothing */
    return true;
}

void service_held_clear(struct service_held *held)
{
    free(held->letters);
    held->letters = NULL;
    held->count = held->size = 0;
}
