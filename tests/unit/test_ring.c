/* Rings between two workers: in order, never torn, whatever the other side does or dies of. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/clock.h"
#include "shm/layout.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FROM = 3, TO = 1, HEAD = 8 };

static struct region *region;
static uint64_t reader; /* incarnation of slot TO */

static int make_region(void **state)
{
    char why[256];

    (void)state;
    region = region_create(16, why, sizeof why);
    if (!region)
        return -1;
    reader = slot_begin(region, TO);
    slot_begin(region, FROM);
    return 0;
}

static int drop_region(void **state)
{
    (void)state;
    region_close(region);
    return 0;
}

static shared_u64 *head_word(void)
{
    return region_at(region, ring_heads_at(&region->layout, FROM) + TO * CACHE_LINE);
}

static shared_u64 *tail_word(void)
{
    return region_at(region, ring_tails_at(&region->layout, TO) + FROM * CACHE_LINE);
}

static char *ring_bytes(void)
{
    return region_at(region, ring_bytes_at(&region->layout, FROM, TO));
}

/* The bytes of record n follow from n. */
static struct slice record_of(uint32_t n, size_t len)
{
    static char bytes[RING_RECORD_MAX + 1];

    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(n * 31 + i);
    return slice_make(bytes, len);
}

static enum err put(struct slice record)
{
    return ring_put(region, FROM, TO, reader, record);
}

static void expect(uint32_t n, size_t len)
{
    struct slice got;

    assert_true(ring_peek(region, FROM, TO, &got));
    assert_true(slice_equal(got, record_of(n, len)));
    ring_drop(region, FROM, TO);
}

static void expect_none(void)
{
    struct slice got;

    assert_false(ring_peek(region, FROM, TO, &got));
    assert_int_equal(rings_waiting(region, TO), 0);
}

static void records_come_out_whole_and_in_order(void **state)
{
    (void)state;
    expect_none();
    for (uint32_t n = 0; n < 100; n++)
        assert_int_equal(put(record_of(n, n * 7)), OK);
    assert_int_equal(rings_waiting(region, TO), 1 << FROM);
    assert_int_equal(rings_waiting(region, FROM), 0);
    for (uint32_t n = 0; n < 100; n++)
        expect(n, n * 7);
    expect_none();
}

static void a_record_stays_until_it_is_dropped(void **state)
{
    struct slice got;

    (void)state;
    put(record_of(1, 10));
    put(record_of(2, 10));
    for (int i = 0; i < 3; i++) {
        assert_true(ring_peek(region, FROM, TO, &got));
        assert_true(slice_equal(got, record_of(1, 10)));
    }
    ring_drop(region, FROM, TO);
    expect(2, 10);
    ring_drop(region, FROM, TO); /* of nothing */
    expect_none();
}

static void it_goes_on_at_the_start_from_every_place(void **state)
{
    static const size_t lens[] = { 0, 1, 7, 8, 9, 57, 300 };

    (void)state;
    /* Every place near the end, and every one around 2^64, where the positions themselves wrap. */
    for (uint64_t base = 0; base < 2; base++)
        for (uint64_t before = 0; before <= 350; before++)
            for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
                uint64_t at = (base ? (uint64_t)RING_BYTES * 5 : 0) - before;
                atomic_store(head_word(), at);
                atomic_store(tail_word(), at);
                assert_int_equal(put(record_of(1, lens[i])), OK);
                assert_int_equal(put(record_of(2, 5)), OK);
                expect(1, lens[i]);
                expect(2, 5);
                expect_none();
            }
}

static void the_largest_record_fits_into_an_empty_ring_wherever_it_stands(void **state)
{
    (void)state;
    for (uint64_t at = 0; at < 2 * RING_BYTES; at += 4093) {
        atomic_store(head_word(), at);
        atomic_store(tail_word(), at);
        assert_int_equal(put(record_of(1, RING_RECORD_MAX)), OK);
        expect(1, RING_RECORD_MAX);
    }
    assert_int_equal(put(record_of(1, RING_RECORD_MAX + 1)), ERR_BAD);
}

static void full_is_an_answer_and_nothing_is_overwritten(void **state)
{
    uint32_t next_in = 0, next_out = 0;

    (void)state;
    for (int round = 0; round < 50; round++) {
        while (put(record_of(next_in, 900 + next_in % 200)) == OK)
            next_in++;
        assert_int_equal(put(record_of(next_in, 900 + next_in % 200)), ERR_FULL);
        assert_true(next_in - next_out >= RING_BYTES / 1200);
        for (int i = 0; i < 13; i++, next_out++)
            expect(next_out, 900 + next_out % 200);
    }
    while (next_out < next_in) {
        expect(next_out, 900 + next_out % 200);
        next_out++;
    }
    expect_none();
}

static void the_size_follows_the_number_of_sessions_within_bounds(void **state)
{
    char why[256];
    struct region *large;
    uint64_t incarnation;
    uint32_t count = 0;

    (void)state;
    assert_int_equal(ring_size(1), RING_BYTES);
    assert_int_equal(ring_size(16384), RING_BYTES);
    assert_int_equal(ring_size(16385), 2 * RING_BYTES);
    assert_int_equal(ring_size(1 << 28), RING_BYTES_MAX);
    assert_int_equal(region->layout.ring_size, RING_BYTES);
    large = region_create(65536, why, sizeof why);
    assert_non_null(large);
    incarnation = slot_begin(large, TO);
    slot_begin(large, FROM);
    for (int round = 0; round < 3; round++) { /* round the end too */
        struct slice got;
        uint32_t taken = 0;
        count = 0;
        while (ring_put(large, FROM, TO, incarnation, record_of(count, 5000)) == OK)
            count++;
        assert_true(count >= RING_BYTES_MAX / 5008 - 1);
        for (; ring_peek(large, FROM, TO, &got); taken++) {
            assert_memory_equal(got.data, record_of(taken, 5000).data, 5000);
            ring_drop(large, FROM, TO);
        }
        assert_int_equal(taken, count);
    }
    region_close(large);
}

static void the_wish_for_room_is_the_writers_and_ends_with_the_writer(void **state)
{
    (void)state;
    assert_false(ring_room_wanted(region, FROM, TO));
    ring_want_room(region, FROM, TO, true);
    assert_true(ring_room_wanted(region, FROM, TO));
    assert_false(ring_room_wanted(region, TO, FROM));
    slot_end(region, FROM);
    assert_false(ring_room_wanted(region, FROM, TO));
}

static void nobody_is_written_to_who_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(ring_put(region, FROM, TO, reader + 7, record_of(1, 1)), ERR_DOWN);
    assert_int_equal(ring_put(region, FROM, TO, 0, record_of(1, 1)), ERR_DOWN);
    assert_int_equal(ring_put(region, FROM, 9, 0, record_of(1, 1)), ERR_DOWN);
    slot_end(region, TO);
    assert_int_equal(put(record_of(1, 1)), ERR_DOWN);
}

static void a_successor_does_not_read_its_predecessors_letters(void **state)
{
    uint64_t head;

    (void)state;
    assert_int_equal(put(record_of(1, 10)), OK);
    head = atomic_load(head_word());
    slot_end(region, TO);
    assert_int_equal(atomic_load(tail_word()), head);
    /* A writer that had asked before the death puts after the purge. */
    atomic_store(tail_word(), 0);
    reader = slot_begin(region, TO);
    assert_int_equal(put(record_of(2, 20)), OK);
    expect(2, 20);
    expect_none();
}

static void what_a_dead_writer_left_is_read_and_its_successor_goes_on(void **state)
{
    struct pollfd bell = { .fd = ring_doorbell(region, TO), .events = POLLIN };

    (void)state;
    assert_int_equal(put(record_of(1, 10)), OK);
    assert_int_equal(poll(&bell, 1, 0), 0);
    slot_end(region, FROM); /* before it could ring */
    assert_int_equal(poll(&bell, 1, 0), 1);
    slot_begin(region, FROM);
    assert_int_equal(put(record_of(2, 10)), OK);
    expect(1, 10);
    expect(2, 10);
    slot_end(region, FROM); /* now it is empty, and its memory is given back */
    assert_int_equal(ring_bytes()[HEAD + 3], 0);
    slot_begin(region, FROM);
    assert_int_equal(put(record_of(3, 10)), OK);
    expect(3, 10);
}

static void the_doorbell_is_heard_once_however_often_it_is_rung(void **state)
{
    struct pollfd bell = { .fd = ring_doorbell(region, TO), .events = POLLIN };
    uint64_t rung;

    (void)state;
    for (int i = 0; i < 1000; i++)
        ring_ring(region, TO);
    assert_int_equal(poll(&bell, 1, 0), 1);
    assert_int_equal(read(bell.fd, &rung, sizeof rung), sizeof rung);
    assert_int_equal(poll(&bell, 1, 0), 0);
}

/* What a writer leaves that dies at any store before the last. */
static void a_record_without_the_head_moved_is_not_there(void **state)
{
    (void)state;
    for (uint64_t at = RING_BYTES - 80; at < RING_BYTES + 80; at++) {
        atomic_store(head_word(), at);
        atomic_store(tail_word(), at);
        assert_int_equal(put(record_of(1, 60)), OK);
        atomic_store(head_word(), at);
        expect_none();
        assert_int_equal(put(record_of(2, 33)), OK);
        expect(2, 33);
        expect_none();
    }
}

static uint32_t drain(void)
{
    struct slice got;
    uint32_t count = 0;

    while (ring_peek(region, FROM, TO, &got)) {
        assert_true(got.len <= RING_RECORD_MAX);
        assert_true(got.data >= ring_bytes() && got.data + got.len <= ring_bytes() + RING_BYTES);
        ring_drop(region, FROM, TO);
        assert_true(++count <= RING_BYTES / HEAD);
    }
    return count;
}

static void a_scribbled_ring_is_emptied_and_works_again(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 3000; round++) {
        for (uint32_t n = 0; n < 20; n++)
            put(record_of(n, (size_t)rand() % 400));
        switch (round % 4) {
        case 0: /* heads of records, and what lies between */
            for (int i = 0; i < 4000; i++)
                ring_bytes()[rand() % RING_BYTES] = (char)rand();
            break;
        case 1:
            atomic_store(head_word(), (uint64_t)rand() << 33 ^ (uint64_t)rand());
            break;
        case 2:
            atomic_fetch_add(head_word(), (uint64_t)rand() % RING_BYTES);
            break;
        default: /* the reader's word: the writer must bear it too */
            atomic_store(tail_word(), (uint64_t)rand() << 33 ^ (uint64_t)rand());
            put(record_of(1, 100));
        }
        drain();
        expect_none();
        assert_int_equal(put(record_of(5, 50)), OK);
        expect(5, 50);
    }
}

static void a_damaged_ring_looks_full_until_its_reader_has_looked(void **state)
{
    (void)state;
    atomic_store(head_word(), (uint64_t)RING_BYTES * 3 + 1);
    assert_int_equal(put(record_of(1, 10)), ERR_FULL);
    expect_none();
    assert_int_equal(put(record_of(1, 10)), OK);
    expect(1, 10);
}

/* ---- two processes ---- */

static bool dies_when(void (*action)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* a sanitizer would make a report of it */
        action();
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void as_writer(void)
{
    if (region_protect(region, FROM) != OK || put(record_of(1, 10)) != OK)
        _exit(1);
}

static void writes_its_tail(void)
{
    as_writer();
    atomic_store(tail_word(), 0);
}

static void reader_writes(shared_u64 *word)
{
    struct slice got;

    if (region_protect(region, TO) != OK)
        _exit(1);
    ring_drop(region, FROM, TO);
    ring_peek(region, FROM, TO, &got);
    atomic_store(word, 0);
}

static void reader_writes_the_head(void)
{
    reader_writes(head_word());
}

static void reader_writes_bytes(void)
{
    reader_writes(region_at(region, ring_bytes_at(&region->layout, FROM, TO)));
}

static void each_side_can_write_only_what_is_its_own(void **state)
{
    (void)state;
    assert_false(dies_when(as_writer));
    expect(1, 10);
    assert_true(dies_when(writes_its_tail));
    assert_true(dies_when(reader_writes_the_head));
    assert_true(dies_when(reader_writes_bytes));
}

/* Each record: its number in the writer's incarnation, that incarnation, and bytes that follow. */
struct stress_head {
    uint64_t incarnation, number;
};

static void run_writer(uint64_t incarnation)
{
    struct stress_head head = { .incarnation = incarnation };
    char bytes[2048];

    if (region_protect(region, FROM) != OK)
        abort();
    for (;;) {
        size_t len = sizeof head + (size_t)(head.number * 7919 % 2000);
        memset(bytes, (int)(head.number * 13 + 1), sizeof bytes);
        memcpy(bytes, &head, sizeof head);
        if (put(slice_make(bytes, len)) == OK)
            head.number++;
        ring_ring(region, TO);
    }
}

static pid_t start_writer(uint64_t incarnation)
{
    pid_t parent = getpid(), pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    run_writer(incarnation);
    _exit(1);
}

static bool is_right(struct slice got, struct stress_head *wanted)
{
    struct stress_head head;
    char first = (char)(wanted->number * 13 + 1);

    if (got.len != sizeof head + (size_t)(wanted->number * 7919 % 2000))
        return false;
    memcpy(&head, got.data, sizeof head);
    if (head.incarnation != wanted->incarnation || head.number != wanted->number)
        return false;
    for (size_t i = sizeof head; i < got.len; i++)
        if (got.data[i] != first)
            return false;
    return true;
}

enum { KILLS_MIN = 20 };

static void a_writer_killed_anywhere_leaves_no_torn_record(void **state)
{
    uint64_t end = clock_monotonic_ns() + UINT64_C(2000000000), records = 0, kills = 0, wrong = 0;
    struct stress_head wanted = { 0 };
    int status;

    (void)state;
    slot_end(region, FROM);
    srand(7);
    /* A busy machine takes longer for as many kills. */
    while (clock_monotonic_ns() < end || kills < KILLS_MIN) {
        uint64_t until;
        struct slice got;
        pid_t pid;

        wanted = (struct stress_head){ .incarnation = slot_begin(region, FROM) };
        pid = start_writer(wanted.incarnation);
        until = clock_monotonic_ns() + 500000 + (uint64_t)rand() % 6000000;
        /* The last loop reads what the dead one left, before and after the purge. */
        for (int last = 0; last < 3; last++) {
            do {
                while (ring_peek(region, FROM, TO, &got)) {
                    wrong += !is_right(got, &wanted);
                    wanted.number++;
                    records++;
                    ring_drop(region, FROM, TO);
                    if (last == 0 && clock_monotonic_ns() > until)
                        break;
                }
            } while (last == 0 && clock_monotonic_ns() < until);
            if (last == 0) {
                kill(pid, SIGKILL);
                waitpid(pid, &status, 0);
                assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
                kills++;
                if (kills % 2)
                    slot_end(region, FROM);
            } else if (last == 1 && kills % 2 == 0) {
                slot_end(region, FROM);
            }
        }
    }
    printf("kills %lu records %lu wrong %lu\n", kills, records, wrong);
    assert_true(records > 1000);
    assert_int_equal(wrong, 0);
}

#define WITH_REGION(test) cmocka_unit_test_setup_teardown(test, make_region, drop_region)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REGION(records_come_out_whole_and_in_order),
        WITH_REGION(a_record_stays_until_it_is_dropped),
        WITH_REGION(it_goes_on_at_the_start_from_every_place),
        WITH_REGION(the_largest_record_fits_into_an_empty_ring_wherever_it_stands),
        WITH_REGION(full_is_an_answer_and_nothing_is_overwritten),
        WITH_REGION(the_size_follows_the_number_of_sessions_within_bounds),
        WITH_REGION(the_wish_for_room_is_the_writers_and_ends_with_the_writer),
        WITH_REGION(nobody_is_written_to_who_is_not_there),
        WITH_REGION(a_successor_does_not_read_its_predecessors_letters),
        WITH_REGION(what_a_dead_writer_left_is_read_and_its_successor_goes_on),
        WITH_REGION(the_doorbell_is_heard_once_however_often_it_is_rung),
        WITH_REGION(a_record_without_the_head_moved_is_not_there),
        WITH_REGION(a_scribbled_ring_is_emptied_and_works_again),
        WITH_REGION(a_damaged_ring_looks_full_until_its_reader_has_looked),
        WITH_REGION(each_side_can_write_only_what_is_its_own),
        WITH_REGION(a_writer_killed_anywhere_leaves_no_torn_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
