#include "worker/io/loop.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct loop_watch watches[2];
static struct loop_timer timers[2], guard;
static int fds[2];     /* 0 is watched */
static char order[64]; /* what ran, a letter each */
static unsigned turn_count, turns_wanted;

static void note(char letter)
{
    size_t len = strlen(order);

    assert_true(len + 1 < sizeof order);
    order[len] = letter;
}

static void on_guard(void *arg)
{
    (void)arg;
    fail_msg("nothing happened for two seconds");
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    memset(order, 0, sizeof order);
    turn_count = 0;
    loop_timer_init(loop, &guard, on_guard, NULL);
    loop_timer_set(&guard, 2000);
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds);
}

static int teardown(void **state)
{
    (void)state;
    loop_timer_cancel(&guard);
    loop_free(loop);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

static void on_fd(void *arg, int fd, unsigned events)
{
    (void)fd;
    note(events & LOOP_READ ? 'r' : 'w');
    if (arg)
        loop_unwatch(arg);
}

static void on_timer(void *arg)
{
    note(*(const char *)arg);
}

static void on_hook(void *arg)
{
    note(*(const char *)arg);
}

static void on_last_hook(void *arg)
{
    (void)arg;
    if (++turn_count == turns_wanted)
        loop_stop(loop);
    else
        loop_again(loop);
}

static void turns(unsigned count)
{
    turn_count = 0;
    turns_wanted = count;
    loop_again(loop);
    loop_run(loop);
}

static void hooks_run_behind_all_callbacks_in_their_order(void **state)
{
    (void)state;
    assert_int_equal(loop_watch(loop, &watches[0], fds[0], LOOP_READ, on_fd, NULL), OK);
    assert_int_equal(loop_watch(loop, &watches[1], fds[1], LOOP_READ, on_fd, NULL), OK);
    loop_add_hook(loop, on_hook, (void *)(uintptr_t) "1");
    loop_add_hook(loop, on_hook, (void *)(uintptr_t) "2");
    loop_add_hook(loop, on_last_hook, NULL);
    assert_int_equal(write(fds[0], "x", 1), 1);
    assert_int_equal(write(fds[1], "x", 1), 1);
    turns(2);
    assert_string_equal(order, "rr12rr12"); /* level triggered: nobody has read */
    loop_unwatch(&watches[0]);
    loop_unwatch(&watches[1]);
}

static void a_watch_says_what_it_was_asked_for(void **state)
{
    (void)state;
    loop_add_hook(loop, on_last_hook, NULL);
    assert_int_equal(loop_watch(loop, &watches[0], fds[0], LOOP_READ, on_fd, NULL), OK);
    turns(1);
    assert_string_equal(order, "");
    assert_int_equal(loop_rewatch(loop, &watches[0], LOOP_WRITE), OK);
    assert_int_equal(loop_rewatch(loop, &watches[0], LOOP_WRITE), OK);
    turns(1);
    assert_string_equal(order, "w");
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(loop_rewatch(loop, &watches[0], 0), OK);
    turns(2);
    assert_string_equal(order, "w");
    assert_int_equal(loop_rewatch(loop, &watches[0], LOOP_READ | LOOP_WRITE), OK);
    turns(1);
    assert_string_equal(order, "wr");
    loop_unwatch(&watches[0]);
    turns(1);
    assert_string_equal(order, "wr");
}

static void a_watch_can_begin_paused(void **state)
{
    (void)state;
    loop_add_hook(loop, on_last_hook, NULL);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(loop_watch(loop, &watches[0], fds[0], 0, on_fd, NULL), OK);
    turns(1);
    assert_string_equal(order, "");
    assert_int_equal(loop_rewatch(loop, &watches[0], LOOP_READ), OK);
    turns(1);
    assert_string_equal(order, "r");
    loop_unwatch(&watches[0]);
}

/* Both are ready in one turn; whichever runs first takes the other away. */
static void who_is_unwatched_in_a_turn_is_not_called_in_it(void **state)
{
    (void)state;
    loop_add_hook(loop, on_last_hook, NULL);
    assert_int_equal(loop_watch(loop, &watches[0], fds[0], LOOP_READ, on_fd, &watches[1]), OK);
    assert_int_equal(loop_watch(loop, &watches[1], fds[1], LOOP_READ, on_fd, &watches[0]), OK);
    assert_int_equal(write(fds[0], "x", 1), 1);
    assert_int_equal(write(fds[1], "x", 1), 1);
    turns(1);
    assert_string_equal(order, "r");
    loop_unwatch(&watches[0]);
    loop_unwatch(&watches[1]);
}

static void on_stop(void *arg)
{
    note(*(const char *)arg);
    loop_stop(loop);
}

static void timers_fire_once_and_can_be_moved(void **state)
{
    (void)state;
    loop_timer_init(loop, &timers[0], on_timer, (void *)(uintptr_t) "a");
    loop_timer_init(loop, &timers[1], on_stop, (void *)(uintptr_t) "z");
    loop_timer_set(&timers[0], 5);
    loop_timer_set(&timers[1], 40);
    loop_run(loop);
    assert_string_equal(order, "az");
    loop_timer_set(&timers[0], 5);
    loop_timer_set(&timers[0], 500); /* moved behind the end */
    loop_timer_set(&timers[1], 20);
    loop_run(loop);
    assert_string_equal(order, "azz");
    loop_timer_cancel(&timers[0]);
    loop_timer_cancel(&timers[0]);
    loop_timer_set(&timers[1], 1);
    loop_run(loop);
    assert_string_equal(order, "azzz");
}

static void a_stop_from_before_ends_it_at_once(void **state)
{
    (void)state;
    loop_add_hook(loop, on_hook, (void *)(uintptr_t) "h");
    loop_stop(loop);
    loop_run(loop);
    assert_string_equal(order, "");
}

static void the_clock_stands_still_within_a_turn(void **state)
{
    uint64_t now_ms = loop_now_ms(loop);

    (void)state;
    usleep(3000);
    assert_int_equal(loop_now_ms(loop), now_ms);
    loop_add_hook(loop, on_last_hook, NULL);
    turns(1);
    assert_true(loop_now_ms(loop) > now_ms);
    assert_true(loop_unix_s(loop) > 1600000000);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(hooks_run_behind_all_callbacks_in_their_order),
        T(a_watch_says_what_it_was_asked_for),
        T(a_watch_can_begin_paused),
        T(who_is_unwatched_in_a_turn_is_not_called_in_it),
        T(timers_fire_once_and_can_be_moved),
        T(a_stop_from_before_ends_it_at_once),
        T(the_clock_stands_still_within_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
