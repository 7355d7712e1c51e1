/*
 * Writers die by SIGKILL at any instruction, hundreds of times, while everybody reads.
 *
 * Each worker has stable sessions, which must be found as long as it lives, and others that come
 * and go. Keys are made to fall into few buckets, so that chains are long and entries change chains
 * when they are used again. What must never happen: an entry torn between two sessions, a stable
 * session not found, an entry of an incarnation that is dead, a map bit left over after a purge.
 *
 * POSTOFFICE_TEST_KILL9_SECONDS makes it longer. How to see that it finds mistakes: shm/README.md.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/clock.h"
#include "shm/layout.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WRITERS = 4,
    SESSIONS = 512,
    STABLE = 96,
    CHANGING = 300,
    CHAINS = 24, /* all keys fall into so many buckets */
    PLACES = 16,
};

struct tally {
    _Alignas(64) _Atomic uint64_t lookups, updates, torn, missing, stale;
    _Atomic uint64_t ready; /* the incarnation whose stable sessions are all there */
};

static struct region *region;
static struct tally *tallies; /* one a writer, and one for the reader that is never killed */
static uint64_t random_state;

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 27;
    x *= UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static uint32_t random_below(uint32_t n)
{
    random_state += UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mix(random_state) >> 32) % n;
}

static struct address_key key_of(uint32_t slot, uint32_t n)
{
    uint64_t hash = mix(((uint64_t)slot << 32 | n) + 1);
    uint64_t chain = hash % CHAINS;

    return (struct address_key){ .lo = chain << 59 | chain << 54 | hash >> 24, .hi = mix(hash) };
}

/* Everything about a session follows from its number, slot and incarnation, so a mixture shows. */
static struct session_row place_of(uint32_t slot, uint64_t incarnation, uint64_t number)
{
    struct session_row place = { .slot = slot, .incarnation = incarnation, .number = number };
    uint64_t seed = mix(number ^ mix(incarnation * WORKERS_MAX + slot));

    place.since_ns = seed;
    place.device_len = (uint8_t)(seed % (DEVICE_BYTES_MAX + 1));
    for (uint8_t i = 0; i < place.device_len; i++)
        place.device[i] = (char)(mix(seed + i / 8) >> (i % 8 * 8));
    return place;
}

static bool same_place(const struct session_row *a, const struct session_row *b)
{
    return a->slot == b->slot && a->incarnation == b->incarnation && a->number == b->number &&
           a->since_ns == b->since_ns && a->device_len == b->device_len &&
           memcmp(a->device, b->device, a->device_len) == 0;
}

static uint32_t publish(struct sessions_writer *writer, uint32_t slot, uint64_t incarnation,
                        uint32_t n)
{
    uint64_t number = (uint64_t)random_below(UINT32_MAX) << 32 | n;
    struct session_row place = place_of(slot, incarnation, number);

    return sessions_add(writer, key_of(slot, n), number, slice_make(place.device, place.device_len),
                        place.since_ns);
}

static void check_one(struct tally *tally, uint32_t slot, uint32_t n)
{
    struct address_key key = key_of(slot, n);
    uint64_t ready = atomic_load(&tallies[slot].ready);
    uint64_t live = slot_incarnation(region, slot);
    struct session_row places[PLACES];
    size_t count = sessions_find(region, key, places, PLACES);
    uint64_t workers = sessions_workers(region, key);
    bool stayed = slot_incarnation(region, slot) == live && live != 0;

    atomic_fetch_add(&tally->lookups, 1);
    if (stayed && ready == live && n < STABLE && (count == 0 || (workers >> slot & 1) == 0))
        atomic_fetch_add(&tally->missing, 1);
    for (size_t i = 0; i < count && i < PLACES; i++) {
        struct session_row whole =
            place_of(places[i].slot, places[i].incarnation, places[i].number);

        if (places[i].slot != slot || (uint32_t)places[i].number != n ||
            !same_place(&places[i], &whole))
            atomic_fetch_add(&tally->torn, 1);
        if (stayed && places[i].incarnation != live)
            atomic_fetch_add(&tally->stale, 1);
    }
}

static void check_some(struct tally *tally)
{
    for (int i = 0; i < 64; i++)
        check_one(tally, random_below(WRITERS), random_below(STABLE + CHANGING));
}

static void change_some(struct sessions_writer *writer, uint32_t slot, uint64_t incarnation,
                        uint32_t *changing)
{
    for (int i = 0; i < 64; i++) {
        uint32_t *index = &changing[random_below(CHANGING)];

        if (*index == UINT32_MAX) {
            *index = publish(writer, slot, incarnation, STABLE + random_below(CHANGING));
        } else {
            sessions_remove(writer, *index);
            *index = UINT32_MAX;
        }
        atomic_fetch_add(&tallies[slot].updates, 1);
    }
}

static void run_writer(uint32_t slot, uint64_t incarnation)
{
    struct sessions_writer *writer = sessions_writer_new(region, slot);
    uint32_t changing[CHANGING];

    if (!writer || region_protect(region, slot) != OK)
        abort();
    memset(changing, 0xff, sizeof changing);
    for (uint32_t n = 0; n < STABLE; n++)
        publish(writer, slot, incarnation, n);
    atomic_store(&tallies[slot].ready, incarnation);
    for (;;) {
        change_some(writer, slot, incarnation, changing);
        check_some(&tallies[slot]);
    }
}

static pid_t start(uint32_t slot)
{
    uint64_t incarnation = slot < WRITERS ? slot_begin(region, slot) : 0;
    pid_t parent = getpid(), pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    random_state = clock_monotonic_ns() + slot;
    if (slot < WRITERS)
        run_writer(slot, incarnation);
    for (;;)
        check_some(&tallies[slot]);
}

/* Kills it; returns whether it was alive until then (a failed assertion in a writer shows here). */
static bool stop(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static uint64_t left_over(uint32_t slot)
{
    const shared_u64 *map = region_map(region), *buckets = region_buckets(region, slot);
    uint64_t left = 0;

    for (size_t i = 0; i < (size_t)1 << region->layout.map_bits; i++)
        left += atomic_load(&map[i]) >> slot & 1;
    for (size_t i = 0; i < (size_t)1 << region->layout.bucket_bits; i++)
        left += atomic_load(&buckets[i]) != 0;
    return left;
}

static uint64_t seconds_wanted(void)
{
    const char *text = getenv("POSTOFFICE_TEST_KILL9_SECONDS");
    uint64_t seconds = text ? strtoull(text, NULL, 10) : 0;

    return seconds > 0 ? seconds : 3;
}

enum { KILLS_MIN = 20 };

static void killed_writers_leave_a_table_that_is_right(void **state)
{
    uint64_t end = clock_monotonic_ns() + seconds_wanted() * 1000000000u;
    uint64_t kills = 0, left = 0, crashed = 0, worst_ns = 0;
    struct tally sum = { 0 };
    pid_t pids[WRITERS + 1];
    char why[256];

    (void)state;
    region = region_create(SESSIONS, why, sizeof why);
    tallies = mmap(NULL, sizeof(struct tally) * (WRITERS + 1), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_non_null(region);
    assert_true(tallies != MAP_FAILED);
    for (uint32_t slot = 0; slot <= WRITERS; slot++)
        pids[slot] = start(slot);
    /* A busy machine takes longer for as many kills. */
    while (clock_monotonic_ns() < end || kills < KILLS_MIN) {
        uint32_t slot = random_below(WRITERS);
        uint64_t began;

        usleep(500 + random_below(8000));
        crashed += !stop(pids[slot]);
        kills++;
        began = clock_monotonic_ns();
        slot_end(region, slot);
        if (clock_monotonic_ns() - began > worst_ns)
            worst_ns = clock_monotonic_ns() - began;
        left += left_over(slot);
        pids[slot] = start(slot);
    }
    for (uint32_t slot = 0; slot <= WRITERS; slot++) {
        crashed += !stop(pids[slot]);
        sum.lookups += tallies[slot].lookups;
        sum.updates += tallies[slot].updates;
        sum.torn += tallies[slot].torn;
        sum.missing += tallies[slot].missing;
        sum.stale += tallies[slot].stale;
    }
    printf("kills %lu lookups %lu updates %lu torn %lu missing %lu stale %lu left %lu crashed %lu "
           "worst purge %lu us\n",
           kills, sum.lookups, sum.updates, sum.torn, sum.missing, sum.stale, left, crashed,
           worst_ns / 1000);
    assert_true(sum.lookups > 0 && sum.updates > 0);
    assert_int_equal(sum.torn + sum.missing + sum.stale + left + crashed, 0);
    munmap(tallies, sizeof(struct tally) * (WRITERS + 1));
    region_close(region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_writers_leave_a_table_that_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
