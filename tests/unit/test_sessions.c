/* The session table in one process: what it finds, what a dead or a damaged worker does to it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "shm/layout.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SESSIONS = 1000 };

static struct region *region;

static int make_region(void **state)
{
    char why[256];

    (void)state;
    region = region_create(SESSIONS, why, sizeof why);
    return region ? 0 : -1;
}

static int drop_region(void **state)
{
    (void)state;
    region_close(region);
    return 0;
}

static struct address_key key_number(uint32_t n)
{
    char text[32];
    int len = snprintf(text, sizeof text, "user-%u", n);

    return sessions_key(region, slice_make(text, (size_t)len));
}

static struct sessions_writer *writer_of(uint32_t slot)
{
    slot_begin(region, slot);
    return sessions_writer_new(region, slot);
}

static void what_is_added_is_found_until_it_is_removed(void **state)
{
    struct sessions_writer *a = writer_of(0), *b = writer_of(63);
    struct address_key key = key_number(1);
    struct session_row places[4];
    uint32_t first, second;

    (void)state;
    assert_true(sessions_workers(region, key) == 0);
    first = sessions_add(a, key, 11, SLICE("phone"), 111);
    second = sessions_add(b, key, 22, SLICE(""), 222);
    assert_true(sessions_workers(region, key) == (UINT64_C(1) << 63 | 1));
    assert_int_equal(sessions_find(region, key, places, 4), 2);
    assert_int_equal(places[0].slot, 0);
    assert_int_equal(places[0].number, 11);
    assert_int_equal(places[0].since_ns, 111);
    assert_int_equal(places[0].device_len, 5);
    assert_memory_equal(places[0].device, "phone", 5);
    assert_int_equal(places[1].slot, 63);
    assert_int_equal(places[1].incarnation, slot_incarnation(region, 63));
    assert_int_equal(sessions_find(region, key, places, 1), 2);
    assert_int_equal(sessions_find(region, key, NULL, 0), 2);
    sessions_remove(a, first);
    assert_true(sessions_workers(region, key) == UINT64_C(1) << 63);
    sessions_remove(b, second);
    assert_int_equal(sessions_find(region, key, places, 4), 0);
    sessions_writer_free(a);
    sessions_writer_free(b);
}

static void a_session_whose_time_changes_is_found_once(void **state)
{
    struct sessions_writer *writer = writer_of(0);
    struct address_key key = key_number(1);
    struct session_row places[4];
    uint32_t index = sessions_add(writer, key, 11, SLICE("phone"), 111);
    pid_t child = fork();

    (void)state;
    if (child == 0) { /* another worker, which looks all the time */
        for (;;)
            if (sessions_find(region, key, places, 4) != 1)
                _exit(2);
            else if (places[0].since_ns == 0)
                _exit(0);
    }
    for (uint64_t since_ns = 112; since_ns < 2000000; since_ns++)
        sessions_set_since(writer, index, since_ns);
    sessions_set_since(writer, index, 0);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    sessions_remove(writer, index);
    sessions_writer_free(writer);
}

static void a_full_slab_says_so_and_each_entry_is_used_again(void **state)
{
    struct sessions_writer *writer = writer_of(3);
    uint32_t index[SESSIONS];
    uint64_t left = 0;

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (uint32_t n = 0; n < SESSIONS; n++)
            assert_true((index[n] = sessions_add(writer, key_number(n), n, SLICE("d"), 0)) <
                        SESSIONS);
        assert_true(sessions_add(writer, key_number(0), 0, SLICE("d"), 0) == UINT32_MAX);
        for (uint32_t n = 0; n < SESSIONS; n++)
            sessions_remove(writer, index[(n * 7) % SESSIONS]);
    }
    for (size_t i = 0; i < (size_t)1 << region->layout.map_bits; i++)
        left |= region_map(region)[i];
    assert_true(left == 0);
    sessions_writer_free(writer);
}

static void groups_and_sessions_do_not_take_each_others_room(void **state)
{
    struct sessions_writer *writer = writer_of(4);
    uint32_t groups = 0, first = sessions_add_group(writer, key_number(SESSIONS));

    (void)state;
    while (sessions_add_group(writer, key_number(SESSIONS + ++groups)) != UINT32_MAX)
        continue;
    assert_true(groups >= SESSIONS / 4);
    for (uint32_t n = 0; n < SESSIONS; n++)
        assert_true(sessions_add(writer, key_number(n), n, SLICE("d"), 0) != UINT32_MAX);
    assert_true(sessions_workers(region, key_number(SESSIONS)) == UINT64_C(1) << 4);
    sessions_remove_group(writer, first);
    assert_true(sessions_workers(region, key_number(SESSIONS)) == 0);
    assert_true(sessions_add_group(writer, key_number(SESSIONS)) == first);
    slot_end(region, 4);
    for (uint32_t n = 0; n < SESSIONS + groups; n++)
        assert_true(sessions_workers(region, key_number(n)) == 0);
    sessions_writer_free(writer);
}

static void a_dead_worker_has_no_sessions_and_its_successor_starts_empty(void **state)
{
    struct sessions_writer *writer = writer_of(2);
    uint64_t before = slot_incarnation(region, 2);

    (void)state;
    for (uint32_t n = 0; n < SESSIONS; n++)
        sessions_add(writer, key_number(n), n, SLICE("d"), 0);
    slot_end(region, 2);
    sessions_writer_free(writer);
    writer = writer_of(2);
    assert_true(slot_incarnation(region, 2) > before);
    for (uint32_t n = 0; n < SESSIONS; n++)
        assert_true(sessions_workers(region, key_number(n)) == 0);
    assert_int_equal(sessions_add(writer, key_number(1), 1, SLICE("d"), 0), 0);
    sessions_writer_free(writer);
}

static void random_bytes_in_a_slab_harm_no_reader_and_no_other_worker(void **state)
{
    struct sessions_writer *bad = writer_of(0), *good = writer_of(1);
    uint64_t x = 88172645463325252u;
    struct session_row places[8];

    (void)state;
    alarm(60); /* a reader that never returns */
    for (uint32_t n = 0; n < SESSIONS; n++) {
        sessions_add(bad, key_number(n), n, SLICE("d"), 0);
        sessions_add(good, key_number(n), n, SLICE("d"), 0);
    }
    for (int round = 0; round < 20; round++) {
        shared_u64 *words = region_buckets(region, 0);

        /* Every round scribbles small numbers too: links that are in range, and rings. */
        for (size_t i = 0; i < region->layout.slab_size / 8; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            if (x % 4 == 0)
                words[i] = round % 2 ? x : x >> 40 & 1023;
        }
        region_worker(region, 0)->sessions_high_water = (uint32_t)x;
        for (uint32_t n = 0; n < SESSIONS; n++) {
            assert_true(sessions_workers(region, key_number(n)) & 2);
            assert_true(sessions_find(region, key_number(n), places, 8) >= 1);
        }
    }
    slot_end(region, 0);
    sessions_writer_free(bad);
    bad = writer_of(0);
    assert_int_equal(sessions_add(bad, key_number(5), 5, SLICE("d"), 0), 0);
    for (uint32_t n = 0; n < SESSIONS; n++)
        assert_true(sessions_workers(region, key_number(n)) == (n == 5 ? 3 : 2));
    alarm(0);
    sessions_writer_free(bad);
    sessions_writer_free(good);
}

/* Runs in a child; true when the child died of the write. */
static bool dies_of_writing(uint32_t slot, void *at)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        if (region_protect(region, slot) != OK)
            _exit(1);
        *(volatile char *)at = 1;
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void a_worker_can_write_only_what_is_its_own(void **state)
{
    (void)state;
    assert_false(dies_of_writing(4, region_worker(region, 4)));
    assert_false(dies_of_writing(4, region_buckets(region, 4)));
    assert_false(dies_of_writing(4, region_origins(region, 4)));
    assert_false(dies_of_writing(4, region_map(region)));
    assert_true(dies_of_writing(4, region_worker(region, 5)));
    assert_true(dies_of_writing(4, region_worker(region, 3)));
    assert_true(dies_of_writing(4, region_sessions(region, 3)));
    assert_true(dies_of_writing(4, region_origins(region, 5)));
    assert_true(dies_of_writing(4, region_master(region)));
    assert_true(dies_of_writing(4, region_at(region, 0)));
}

static void what_does_not_fit_is_refused_with_a_reason(void **state)
{
    struct rlimit before, small;
    char why[256] = "";

    (void)state;
    assert_null(region_create(0, why, sizeof why));
    assert_null(region_create(UINT32_MAX, why, sizeof why));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1024 * 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_null(region_create(SESSIONS, why, sizeof why));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_non_null(strstr(why, "RLIMIT_FSIZE"));
    assert_non_null(strstr(why, "MiB"));
}

static void another_process_can_attach_and_read(void **state)
{
    struct sessions_writer *writer = writer_of(0);
    struct region *other;
    FILE *file = tmpfile();
    char why[256] = "";

    (void)state;
    sessions_add(writer, key_number(1), 1, SLICE("d"), 0);
    other = region_attach(dup(region_fd(region)), why, sizeof why);
    assert_non_null(other);
    assert_int_equal(region_sessions_max(other), SESSIONS);
    assert_int_equal(region_size(other), region_size(region));
    assert_true(sessions_workers(other, key_number(1)) == 1);
    region_close(other);
    assert_null(region_attach(fileno(file), why, sizeof why));
    assert_non_null(strstr(why, "not the shared memory"));
    fclose(file);
    sessions_writer_free(writer);
}

#define WITH_REGION(test) cmocka_unit_test_setup_teardown(test, make_region, drop_region)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REGION(what_is_added_is_found_until_it_is_removed),
        WITH_REGION(a_session_whose_time_changes_is_found_once),
        WITH_REGION(a_full_slab_says_so_and_each_entry_is_used_again),
        WITH_REGION(groups_and_sessions_do_not_take_each_others_room),
        WITH_REGION(a_dead_worker_has_no_sessions_and_its_successor_starts_empty),
        WITH_REGION(random_bytes_in_a_slab_harm_no_reader_and_no_other_worker),
        WITH_REGION(a_worker_can_write_only_what_is_its_own),
        WITH_REGION(another_process_can_attach_and_read),
        cmocka_unit_test(what_does_not_fit_is_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
