/* Worker rows, and seats that are never given out twice. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "shm/layout.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SEATS = 5, TAKERS = 4, ROUNDS = 20000 };

static struct region *region;

static int make_region(void **state)
{
    char why[256];

    (void)state;
    region = region_create(SEATS, why, sizeof why);
    return region ? 0 : -1;
}

static int drop_region(void **state)
{
    (void)state;
    region_close(region);
    return 0;
}

static void a_row_tells_how_its_worker_is_until_it_ends(void **state)
{
    struct worker_view view;
    uint64_t first = slot_begin(region, 7);

    (void)state;
    assert_true(first != 0);
    slot_set_pid(region, 7, 123);
    slot_view(region, 7, &view);
    assert_int_equal(view.state, WORKER_STARTING);
    assert_int_equal(slots_least_loaded(region, 99), UINT32_MAX);
    slot_set_state(region, 7, WORKER_SERVING);
    slot_beat(region, 7, 99);
    slot_set_pending(region, 7, 2);
    assert_int_equal(slot_seat_take(region, 7), OK);
    slot_view(region, 7, &view);
    assert_int_equal(view.pid, 123);
    assert_int_equal(view.state, WORKER_SERVING);
    assert_int_equal(view.heartbeat_ms, 99);
    assert_int_equal(view.sessions, 1);
    assert_int_equal(slots_least_loaded(region, 99 + SLOT_FRESH_MS), 3);
    /* A worker that has stopped takes no connection: nobody leaves one to it. */
    assert_int_equal(slots_least_loaded(region, 100 + SLOT_FRESH_MS), UINT32_MAX);
    slot_end(region, 7);
    slot_view(region, 7, &view);
    assert_int_equal(view.state, WORKER_ABSENT);
    assert_int_equal(view.sessions, 0);
    assert_int_equal(slots_sessions(region), 0);
    assert_true(slot_begin(region, 7) != first);
}

static void a_scribble_over_the_masters_part_is_mended_and_counted(void **state)
{
    struct server_view view;
    uint64_t first, second;

    (void)state;
    slots_master_set(region, 42, "node-a");
    first = slot_begin(region, 3);
    stats_add(stats_row(region, 3), STAT_accepted, 5);
    assert_int_equal(region_take_mended(region), 0);
    memset(region_at(region, 0), 0xff, sizeof(struct shared_header));
    memset(region_at(region, region->layout.master_at), 0xff, sizeof(struct master_area));
    slot_end(region, 3);
    second = slot_begin(region, 3);
    assert_int_equal(second, first + 1);
    assert_int_equal(slot_incarnation(region, 3), second);
    assert_int_equal(slot_incarnation(region, 4), 0);
    assert_int_equal(stats_sum(region, STAT_accepted), 5);
    slots_server(region, &view);
    assert_int_equal(view.master_pid, 42);
    assert_string_equal(view.node, "node-a");
    assert_true(region_take_mended(region) > 0);
    assert_int_equal(region_take_mended(region), 0);
}

static void no_worker_can_lift_its_walls(void **state)
{
    int status;
    pid_t child;

    (void)state;
    slot_begin(region, 1);
    child = fork();
    if (child == 0) {
        size_t at = region->layout.master_at;
        bool ok = region_protect(region, 1) == OK && region_fd(region) == -1 &&
                  mprotect(region->base + at, LAYOUT_PAGE, PROT_READ | PROT_WRITE) != 0;
        slot_beat(region, 1, 77); /* its own page is writable */
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void the_server_row_counts_reloads_and_restarts(void **state)
{
    struct server_view view;

    (void)state;
    slots_master_set(region, 42, "node-a");
    slots_config_applied(region);
    slots_count_restart(region);
    slots_server(region, &view);
    assert_int_equal(view.master_pid, 42);
    assert_int_equal(view.config_generation, 2);
    assert_int_equal(view.restarts, 1);
    assert_int_equal(view.sessions_max, SEATS);
    assert_string_equal(view.node, "node-a");
}

static void there_are_as_many_seats_as_configured_and_the_dead_give_theirs_back(void **state)
{
    (void)state;
    slot_begin(region, 0);
    slot_begin(region, 1);
    for (int i = 0; i < SEATS; i++)
        assert_int_equal(slot_seat_take(region, (uint32_t)i % 2), OK);
    assert_int_equal(slot_seat_take(region, 0), ERR_FULL);
    slot_seat_leave(region, 1);
    assert_int_equal(slot_seat_take(region, 0), OK);
    assert_int_equal(slot_seat_take(region, 1), ERR_FULL);
    slot_end(region, 0);
    assert_int_equal(slot_seat_take(region, 1), OK);
    assert_int_equal(slots_sessions(region), 2);
}

static void take_and_leave(uint32_t slot, _Atomic int *held, _Atomic int *most)
{
    for (int round = 0; round < ROUNDS; round++) {
        int now;

        if (slot_seat_take(region, slot) != OK)
            continue;
        now = atomic_fetch_add(held, 1) + 1;
        if (now > atomic_load(most))
            atomic_store(most, now);
        if (round % 64 == 0)
            usleep(1);
        atomic_fetch_sub(held, 1);
        slot_seat_leave(region, slot);
    }
    _exit(0);
}

static void racing_workers_never_hold_one_seat_too_many(void **state)
{
    _Atomic int *shared =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)state;
    /* All but two seats are held for good, so that four takers meet at the last two. */
    slot_begin(region, 9);
    for (int i = 0; i < SEATS - 2; i++)
        assert_int_equal(slot_seat_take(region, 9), OK);
    for (uint32_t slot = 0; slot < TAKERS; slot++) {
        slot_begin(region, slot);
        if (fork() == 0)
            take_and_leave(slot, &shared[0], &shared[1]);
    }
    for (int i = 0; i < TAKERS; i++)
        wait(NULL);
    assert_in_range(shared[1], 1, 2);
    assert_int_equal(slots_sessions(region), SEATS - 2);
    munmap(shared, 4096);
}

/* Other hosts remember workers by them for a while. */
static void incarnations_tell_one_run_of_the_server_from_another(void **state)
{
    uint64_t seen[8];

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        char why[256];
        struct region *run = region_create(SEATS, why, sizeof why);
        assert_non_null(run);
        slots_master_set(run, 1, "node");
        seen[i] = slot_begin(run, 0);
        assert_true(seen[i] < (uint64_t)1 << 53);
        assert_true(slot_begin(run, 1) >> 32 == seen[i] >> 32);
        region_close(run);
    }
    for (size_t i = 1; i < 8; i++)
        if (seen[i] >> 32 != seen[0] >> 32)
            return;
    fail_msg("eight runs with one name");
}

#define WITH_REGION(test) cmocka_unit_test_setup_teardown(test, make_region, drop_region)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REGION(a_row_tells_how_its_worker_is_until_it_ends),
        WITH_REGION(the_server_row_counts_reloads_and_restarts),
        WITH_REGION(a_scribble_over_the_masters_part_is_mended_and_counted),
        WITH_REGION(no_worker_can_lift_its_walls),
        WITH_REGION(there_are_as_many_seats_as_configured_and_the_dead_give_theirs_back),
        WITH_REGION(racing_workers_never_hold_one_seat_too_many),
        cmocka_unit_test(incarnations_tell_one_run_of_the_server_from_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
