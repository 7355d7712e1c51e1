#include "shm/tickets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIFETIME_S = 8, TURN_MS = 2000 };

static struct tickets *tickets;

static int setup(void **state)
{
    (void)state;
    tickets = tickets_new();
    return tickets == NULL;
}

static int teardown(void **state)
{
    (void)state;
    tickets_free(tickets);
    return 0;
}

static void a_key_is_taken_for_the_lifetime_of_its_last_ticket_and_no_longer(void **state)
{
    uint64_t now_ms = 1000000;
    struct ticket_key first, key;
    bool newest;

    (void)state;
    assert_false(tickets_newest(tickets, &first));
    assert_int_equal(tickets_turn(tickets, now_ms, LIFETIME_S), now_ms + TURN_MS);
    assert_true(tickets_newest(tickets, &first));
    assert_int_equal(tickets_turn(tickets, now_ms + TURN_MS - 1, LIFETIME_S), now_ms + TURN_MS);
    assert_true(tickets_newest(tickets, &key));
    assert_memory_equal(&key, &first, sizeof key);
    for (int turn = 1; turn <= 5; turn++) {
        now_ms += TURN_MS;
        tickets_turn(tickets, now_ms, LIFETIME_S);
        assert_true(tickets_newest(tickets, &key));
        assert_memory_not_equal(&key, &first, sizeof key);
        assert_true(tickets_find(tickets, first.name, &key, &newest));
        assert_memory_equal(&key, &first, sizeof key);
        assert_false(newest);
    }
    tickets_turn(tickets, now_ms + TURN_MS, LIFETIME_S);
    assert_false(tickets_find(tickets, first.name, &key, &newest));
}

static void no_lifetime_is_no_key(void **state)
{
    struct ticket_key first, key;
    bool newest;

    (void)state;
    tickets_turn(tickets, 1000, LIFETIME_S);
    assert_true(tickets_newest(tickets, &first));
    assert_int_equal(tickets_lifetime_s(tickets), LIFETIME_S);
    assert_int_equal(tickets_turn(tickets, 1001, 0), UINT64_MAX);
    assert_int_equal(tickets_lifetime_s(tickets), 0);
    assert_false(tickets_newest(tickets, &key));
    assert_false(tickets_find(tickets, first.name, &key, &newest));
    tickets_turn(tickets, 1002, LIFETIME_S);
    assert_true(tickets_newest(tickets, &key));
}

static void a_worker_reads_the_masters_newest_key_and_cannot_write(void **state)
{
    struct ticket_key key, seen;
    int ends[2], status;
    pid_t pid;

    (void)state;
    tickets_turn(tickets, 1000, LIFETIME_S);
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* or cmocka would go on with the next test, in the child */
        char byte;
        tickets_protect(tickets);
        if (read(ends[0], &byte, 1) != 1 || !tickets_newest(tickets, &seen))
            _exit(4);
        if (write(ends[1], &seen, sizeof seen) != sizeof seen)
            _exit(2);
        memset(tickets, 0, 1); /* a wall */
        _exit(3);
    }
    tickets_turn(tickets, 1000 + TURN_MS, LIFETIME_S);
    assert_true(tickets_newest(tickets, &key));
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 4);
    assert_int_equal(read(ends[0], &seen, sizeof seen), sizeof seen);
    assert_memory_equal(&seen, &key, sizeof key);
    close(ends[0]);
    close(ends[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_is_taken_for_the_lifetime_of_its_last_ticket_and_no_longer),
        TEST(no_lifetime_is_no_key),
        TEST(a_worker_reads_the_masters_newest_key_and_cannot_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
