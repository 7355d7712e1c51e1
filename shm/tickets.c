#include "shm/tickets.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum {
    KEYS = 6, /* the newest, four that outlive a lifetime, and one that is being left */
    TICKETS_SIZE = 4096,
    READ_TRIES = 1000, /* the master may have been stopped while it writes */
};

struct kept_key {
    struct ticket_key key;
    uint64_t made_ms; /* 0: none */
};

struct tickets {
    _Atomic uint32_t version; /* odd while the master writes; the master alone writes all of this */
    _Atomic uint32_t lifetime_s;
    struct kept_key keys[KEYS]; /* the newest first */
};
_Static_assert(sizeof(struct tickets) <= TICKETS_SIZE, "one page");

struct tickets *tickets_new(void)
{
    void *page =
        mmap(NULL, TICKETS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return NULL;
    (void)madvise(page, TICKETS_SIZE, MADV_DONTDUMP);
    (void)mlock(page, TICKETS_SIZE); /* a limit that is too low is reported for other secrets */
    return page;
}

void tickets_free(struct tickets *tickets)
{
    if (!tickets)
        return;
    explicit_bzero(tickets, sizeof *tickets);
    munmap(tickets, TICKETS_SIZE);
}

void tickets_protect(struct tickets *tickets)
{
    (void)mlock(tickets, TICKETS_SIZE);
    (void)mprotect(tickets, TICKETS_SIZE, PROT_READ);
}

/* ---- the master ---- */

static void write_begin(struct tickets *tickets)
{
    atomic_fetch_add(&tickets->version, 1);
    atomic_thread_fence(memory_order_seq_cst);
}

static void write_end(struct tickets *tickets)
{
    atomic_thread_fence(memory_order_seq_cst);
    atomic_fetch_add(&tickets->version, 1);
}

static bool key_make(struct kept_key *kept, uint64_t now_ms)
{
    if (getrandom(&kept->key, sizeof kept->key, 0) != (ssize_t)sizeof kept->key)
        return false;
    kept->made_ms = now_ms;
    return true;
}

static void keys_forget(struct tickets *tickets, uint64_t now_ms, uint64_t age_max_ms)
{
    for (int i = 0; i < KEYS; i++)
        if (tickets->keys[i].made_ms && now_ms - tickets->keys[i].made_ms > age_max_ms)
            explicit_bzero(&tickets->keys[i], sizeof tickets->keys[i]);
}

uint64_t tickets_turn(struct tickets *tickets, uint64_t now_ms, uint32_t lifetime_s)
{
    uint64_t turn_ms = (uint64_t)lifetime_s * 250; /* a quarter */
    struct kept_key fresh = { 0 };

    if (lifetime_s == 0) {
        write_begin(tickets);
        explicit_bzero(tickets->keys, sizeof tickets->keys);
        write_end(tickets);
        atomic_store(&tickets->lifetime_s, 0);
        return UINT64_MAX;
    }
    if (tickets->keys[0].made_ms && now_ms - tickets->keys[0].made_ms < turn_ms &&
        atomic_load(&tickets->lifetime_s) == lifetime_s)
        return tickets->keys[0].made_ms + turn_ms;
    if (!key_make(&fresh, now_ms))
        return now_ms + 1000; /* the old key serves a second longer */
    write_begin(tickets);
    memmove(&tickets->keys[1], &tickets->keys[0], (KEYS - 1) * sizeof tickets->keys[0]);
    tickets->keys[0] = fresh;
    /* A ticket of the last ms of a key lives for a lifetime more. */
    keys_forget(tickets, now_ms, turn_ms + (uint64_t)lifetime_s * 1000);
    write_end(tickets);
    explicit_bzero(&fresh, sizeof fresh);
    atomic_store(&tickets->lifetime_s, lifetime_s);
    return now_ms + turn_ms;
}

/* ---- anyone ---- */

uint32_t tickets_lifetime_s(const struct tickets *tickets)
{
    return atomic_load(&tickets->lifetime_s);
}

/* Copies the keys as they stood at one moment. False: the master changes them all the while. */
static bool keys_copy(const struct tickets *tickets, struct kept_key keys[KEYS])
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before = atomic_load(&tickets->version);
        if ((before & 1) == 0) {
            memcpy(keys, tickets->keys, sizeof tickets->keys);
            atomic_thread_fence(memory_order_seq_cst);
            if (atomic_load(&tickets->version) == before)
                return true;
        }
        sched_yield();
    }
    return false;
}

bool tickets_newest(const struct tickets *tickets, struct ticket_key *key)
{
    struct kept_key keys[KEYS];
    bool found = keys_copy(tickets, keys) && keys[0].made_ms;

    if (found)
        *key = keys[0].key;
    explicit_bzero(keys, sizeof keys);
    return found;
}

bool tickets_find(const struct tickets *tickets, const uint8_t name[TICKET_NAME_BYTES],
                  struct ticket_key *key, bool *newest)
{
    struct kept_key keys[KEYS];
    bool found = false;

    if (keys_copy(tickets, keys))
        for (int i = 0; i < KEYS && !found; i++)
            if (keys[i].made_ms && memcmp(keys[i].key.name, name, TICKET_NAME_BYTES) == 0) {
                *key = keys[i].key;
                *newest = i == 0;
                found = true;
            }
    explicit_bzero(keys, sizeof keys);
    return found;
}
