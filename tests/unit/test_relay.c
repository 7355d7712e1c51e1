/* Two workers of one host and the rings between them, without a Redis. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/log.h"
#include "shm/ring.h"
#include "shm/slots.h"
#include "worker/reach/relay.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 3 };

struct office_end { /* one worker's end */
    struct relay *relay;
    struct stats_row *stats;
    uint64_t incarnation;
    unsigned heard, kicked;
    unsigned next[WORKERS]; /* of each sender: the number that must come next */
    uint64_t last_kick;
    bool out_of_order;
};

static struct region *region;
static struct loop *loop;
static struct office_end ends[WORKERS];
static unsigned turns_left;

/* A message is "SENDER NUMBER". */
static void on_deliver(void *arg, const struct slice *recipients, size_t count, struct msg *msg)
{
    struct office_end *end = arg;
    unsigned sender, number;
    char text[64] = "";

    assert_int_equal(count, 1);
    assert_true(slice_equal(recipients[0], SLICE("bob")));
    memcpy(text, msg_slice(msg).data, msg_slice(msg).len < 63 ? msg_slice(msg).len : 63);
    assert_int_equal(sscanf(text, "%u %u", &sender, &number), 2);
    assert_true(sender < WORKERS);
    end->out_of_order |= number != end->next[sender];
    end->next[sender] = number + 1;
    end->heard++;
}

static void on_kick(void *arg, uint64_t session_number, uint16_t close_code)
{
    struct office_end *end = arg;

    assert_int_equal(close_code, 4500);
    end->last_kick = session_number;
    end->kicked++;
}

static void on_turn_end(void *arg)
{
    (void)arg;
    for (uint32_t slot = 0; slot < WORKERS; slot++)
        if (ends[slot].relay)
            relay_flush(ends[slot].relay);
    if (--turns_left == 0)
        loop_stop(loop);
    else
        loop_again(loop);
}

static void turns(unsigned count)
{
    turns_left = count;
    loop_again(loop);
    loop_run(loop);
}

static void start(uint32_t slot)
{
    struct bus_events events = { .deliver = on_deliver, .kick = on_kick, .arg = &ends[slot] };

    ends[slot] = (struct office_end){ .incarnation = slot_begin(region, slot),
                                      .stats = stats_row(region, slot) };
    ends[slot].relay = relay_new(loop, region, ends[slot].stats, slot, &events);
    assert_non_null(ends[slot].relay);
}

static void stop(uint32_t slot)
{
    relay_free(ends[slot].relay);
    ends[slot].relay = NULL;
    slot_end(region, slot);
}

static int setup(void **state)
{
    char why[256];

    (void)state;
    log_set_level(LOG_ERROR);
    region = region_create(16, why, sizeof why);
    loop = loop_new();
    if (!region || !loop)
        return -1;
    for (uint32_t slot = 0; slot < WORKERS; slot++)
        start(slot);
    loop_add_hook(loop, on_turn_end, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (uint32_t slot = 0; slot < WORKERS; slot++)
        relay_free(ends[slot].relay);
    loop_free(loop);
    region_close(region);
    return 0;
}

static enum err publish(uint32_t from, uint32_t to, unsigned number)
{
    struct slice bob = SLICE("bob");
    char text[32];
    struct msg *msg;
    enum err err;

    snprintf(text, sizeof text, "%u %u", from, number);
    msg = msg_new(slice_of(text), MSG_SIGNAL, 0);
    err = relay_publish(ends[from].relay, to, &bob, 1, msg);
    msg_unref(msg);
    return err;
}

static void messages_arrive_in_the_order_of_their_sender(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 100; i++)
            for (uint32_t from = 1; from < WORKERS; from++)
                assert_int_equal(publish(from, 0, round * 100 + i), OK);
        turns(3);
    }
    assert_int_equal(ends[0].heard, 2 * 2000);
    assert_false(ends[0].out_of_order);
    assert_int_equal(stats_get(ends[1].stats, STAT_relayed), 2000);
    assert_int_equal(stats_get(ends[0].stats, STAT_relay_in), 4000);
}

static void a_turn_does_a_bounded_part_and_every_ring_has_its_turn(void **state)
{
    unsigned count = 0;

    (void)state;
    while (publish(1, 0, count) == OK)
        count++;
    assert_int_equal(stats_get(ends[1].stats, STAT_ring_full), 1);
    assert_int_equal(publish(2, 0, 0), OK);
    turns(2);
    assert_in_range(ends[0].heard, 1, 2 * 256);
    assert_int_equal(ends[0].next[2], 1); /* it did not wait for the full one */
    turns(count / 256 + 3);
    assert_int_equal(ends[0].heard, count + 1);
    assert_false(ends[0].out_of_order);
    assert_int_equal(publish(1, 0, count), OK);
}

static void who_catches_up_has_all(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(publish(1, 0, i), OK);
    relay_catch_up(ends[0].relay);
    assert_int_equal(ends[0].heard, 1000);
    assert_false(ends[0].out_of_order);
}

static void a_kick_is_for_one_incarnation_only(void **state)
{
    uint64_t gone = ends[0].incarnation;

    (void)state;
    assert_int_equal(relay_kick(ends[1].relay, 0, gone, 77, 4500), OK);
    turns(2);
    assert_int_equal(ends[0].kicked, 1);
    assert_int_equal(ends[0].last_kick, 77);
    assert_int_equal(relay_kick(ends[1].relay, 0, gone, 78, 4500), OK);
    stop(0);
    start(0);
    assert_int_equal(relay_kick(ends[1].relay, 0, gone, 79, 4500), ERR_DOWN);
    turns(2);
    assert_int_equal(ends[0].kicked, 0);
}

static bool is_rung(uint32_t slot)
{
    struct pollfd poll_fd = { .fd = ring_doorbell(region, slot), .events = POLLIN };
    uint64_t rung;

    if (poll(&poll_fd, 1, 0) != 1)
        return false;
    return read(poll_fd.fd, &rung, sizeof rung) == (ssize_t)sizeof rung;
}

static void what_finds_no_room_waits_and_goes_in_order_when_the_reader_has_made_room(void **state)
{
    enum { COUNT = 40000 }; /* several rings full */

    (void)state;
    relay_set_wait_bytes(ends[1].relay, 64 << 20);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(publish(1, 0, i), OK);
    assert_true(relay_waits(ends[1].relay, 0));
    assert_false(relay_waits(ends[1].relay, 2));
    assert_int_equal(relay_kick(ends[1].relay, 0, ends[0].incarnation, 7, 4500), OK);
    assert_int_equal(publish(1, 2, 0), OK); /* another reader does not wait for this one */
    /* The doorbell both ways. */
    relay_flush(ends[1].relay);
    assert_true(is_rung(0));
    assert_false(is_rung(1));
    relay_catch_up(ends[0].relay);
    relay_flush(ends[0].relay);
    assert_true(is_rung(1));
    assert_int_equal(ends[0].kicked, 0);
    turns(COUNT / 256 + 20);
    assert_int_equal(ends[0].heard, COUNT);
    assert_false(ends[0].out_of_order);
    assert_int_equal(ends[0].kicked, 1); /* behind them all */
    assert_int_equal(ends[2].heard, 1);
    assert_false(relay_waits(ends[1].relay, 0));
    assert_int_equal(stats_get(ends[1].stats, STAT_relayed), COUNT + 1);
    assert_int_equal(stats_get(ends[1].stats, STAT_ring_full), 0);
    assert_true(stats_get(ends[1].stats, STAT_ring_waited) > 0);
    /* Nobody wants room any more, so nobody is rung. */
    assert_int_equal(publish(1, 0, COUNT), OK);
    relay_flush(ends[1].relay);
    assert_true(is_rung(0));
    relay_catch_up(ends[0].relay);
    relay_flush(ends[0].relay);
    assert_false(is_rung(1));
}

static void past_the_bound_is_refused_and_one_reader_cannot_take_the_room_of_all(void **state)
{
    unsigned to_0 = 0, to_2 = 0;

    (void)state;
    relay_set_wait_bytes(ends[1].relay, 128 * 1024);
    while (publish(1, 0, to_0) == OK)
        to_0++;
    assert_int_equal(stats_get(ends[1].stats, STAT_ring_full), 1);
    while (publish(1, 2, to_2) == OK)
        to_2++;
    assert_true(to_2 > to_0 - 10 && to_2 < to_0 + 10);
    assert_int_equal(stats_get(ends[1].stats, STAT_ring_full), 2);
    turns(to_0 / 256 + 10);
    assert_int_equal(ends[0].heard, to_0);
    assert_int_equal(ends[2].heard, to_2);
    assert_int_equal(publish(1, 0, to_0), OK);
}

static void what_waits_is_dropped_with_its_reader_and_no_successor_gets_it(void **state)
{
    unsigned count = 0;

    (void)state;
    relay_set_wait_bytes(ends[1].relay, 1 << 20);
    while (publish(1, 0, count) == OK)
        count++;
    stop(0); /* the master rings whoever waits for it */
    assert_true(is_rung(1));
    start(0);
    assert_int_equal(publish(1, 0, 0), OK); /* for the successor, behind the dead */
    turns(4);
    assert_int_equal(ends[0].heard, 1);
    assert_true(stats_get(ends[1].stats, STAT_ring_dropped) > 0);
    assert_int_equal(stats_get(ends[1].stats, STAT_ring_dropped) +
                         stats_get(ends[1].stats, STAT_relayed),
                     count + 1);
}

static void what_waits_in_a_relay_that_ends_is_counted(void **state)
{
    uint64_t dropped;
    unsigned count = 0;

    (void)state;
    relay_set_wait_bytes(ends[1].relay, 1 << 20);
    while (publish(1, 0, count) == OK)
        count++;
    assert_int_equal(relay_kick(ends[1].relay, 0, ends[0].incarnation, 7, 4500), OK);
    relay_free(ends[1].relay);
    ends[1].relay = NULL;
    dropped = stats_get(ends[1].stats, STAT_ring_dropped);
    assert_true(dropped > 0);
    slot_end(region, 1);
    start(1);
    turns(count / 256 + 4);
    assert_int_equal(ends[0].heard + dropped, count);
}

static void a_kick_that_finds_no_room_goes_later(void **state)
{
    unsigned count = 0;

    (void)state;
    while (publish(1, 0, count) == OK)
        count++;
    for (uint64_t number = 1; number <= 200; number++)
        assert_int_equal(relay_kick(ends[1].relay, 0, ends[0].incarnation, number, 4500), OK);
    turns(count / 256 + 10);
    assert_int_equal(ends[0].kicked, 200);
    assert_int_equal(ends[0].last_kick, 200);
    assert_int_equal(stats_get(ends[1].stats, STAT_kicks_sent), 200);
    while (publish(1, 0, count) == OK)
        count++;
    assert_int_equal(relay_kick(ends[1].relay, 0, ends[0].incarnation, 1, 4500), OK);
    stop(0); /* then nobody is left to be told */
    turns(2);
    assert_int_equal(stats_get(ends[1].stats, STAT_kicks_sent), 200);
}

static void what_is_too_large_is_full_and_can_be_known_before(void **state)
{
    static char body[RING_RECORD_MAX];
    struct slice bob = SLICE("bob");
    struct msg *msg;

    (void)state;
    memset(body, 'x', sizeof body);
    /* 11 bytes of a frame, and 4 of the recipient (bus_frame.c) */
    for (size_t over = 0; over < 2; over++) {
        msg = msg_new(slice_make(body, sizeof body - 15 + over), MSG_MAIL, 0);
        assert_int_equal(relay_publish(ends[1].relay, 0, &bob, 1, msg), over ? ERR_FULL : OK);
        msg_unref(msg);
    }
    for (size_t len = sizeof body - 40; len < sizeof body; len++) {
        msg = msg_new(slice_make(body, len), MSG_MAIL, 0);
        if (relay_can_carry(&bob, 1, msg)) {
            struct slice got;
            ring_drop(region, 1, 0);
            assert_int_equal(relay_publish(ends[1].relay, 0, &bob, 1, msg), OK);
            ring_drop(region, 1, 0);
            assert_false(ring_peek(region, 1, 0, &got));
        }
        msg_unref(msg);
    }
    assert_int_equal(publish(1, 9, 0), ERR_DOWN);
}

static void rubbish_in_a_ring_is_counted_and_passed_over(void **state)
{
    (void)state;
    assert_int_equal(ring_put(region, 1, 0, ends[0].incarnation, SLICE("rubbish")), OK);
    assert_int_equal(publish(1, 0, 0), OK);
    turns(2);
    assert_int_equal(ends[0].heard, 1);
    assert_int_equal(stats_get(ends[0].stats, STAT_bus_bad), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(messages_arrive_in_the_order_of_their_sender),
        T(a_turn_does_a_bounded_part_and_every_ring_has_its_turn),
        T(who_catches_up_has_all),
        T(a_kick_is_for_one_incarnation_only),
        T(what_finds_no_room_waits_and_goes_in_order_when_the_reader_has_made_room),
        T(past_the_bound_is_refused_and_one_reader_cannot_take_the_room_of_all),
        T(what_waits_is_dropped_with_its_reader_and_no_successor_gets_it),
        T(what_waits_in_a_relay_that_ends_is_counted),
        T(a_kick_that_finds_no_room_goes_later),
        T(what_is_too_large_is_full_and_can_be_known_before),
        T(rubbish_in_a_ring_is_counted_and_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
