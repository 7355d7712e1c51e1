/* Which way a message takes to another worker of this host: through Redis or through a ring. */
#include "office_redis_fixture.h"

#include "worker/reach/relay.h"

enum { TOO_LARGE = RING_RECORD_MAX + 1 };

static unsigned heard_count, unheard_count;
static bool had_redis; /* of this test */

static int setup_without(void **state)
{
    heard_count = unheard_count = 0;
    had_redis = false;
    return office_setup(state);
}

static int setup_with(void **state)
{
    (void)state;
    heard_count = unheard_count = 0;
    had_redis = true;
    office_redis_open("");
    lease_answer(NULL, NULL, "0");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (had_redis)
        office_redis_close();
    else
        office_close();
    return 0;
}

static void on_heard(void *arg, bool heard)
{
    (void)arg;
    heard_count += heard;
    unheard_count += !heard;
}

static void other_worker_is(enum worker_redis redis)
{
    slot_set_redis(office.region, OTHER_SLOT, redis);
}

static enum err publish(enum msg_kind kind, size_t body_len)
{
    struct slice to = SLICE("bob");
    char *body = calloc(1, body_len + 1);
    struct msg *msg = msg_new(slice_make(body, body_len), kind, 0);
    enum err err = reach_publish(office.reach, OTHER_SLOT, &to, 1, msg, on_heard, NULL);

    msg_unref(msg);
    free(body);
    return err;
}

static bool can_carry(size_t body_len)
{
    struct slice to = SLICE("bob");
    char *body = calloc(1, body_len + 1);
    struct msg *msg = msg_new(slice_make(body, body_len), MSG_SIGNAL, 0);
    bool can = reach_can_carry(office.reach, 1 << OTHER_SLOT, &to, 1, msg);

    msg_unref(msg);
    free(body);
    return can;
}

static bool ring_has(enum bus_kind kind)
{
    struct bus_frame frame;

    return elsewhere_hears(&frame) && frame.kind == kind;
}

/* ---- with no Redis configured ---- */

static void with_no_redis_everything_goes_by_rings_and_is_heard_at_once(void **state)
{
    (void)state;
    assert_int_equal(reach_redis(office.reach), WORKER_REDIS_NONE);
    assert_string_equal(reach_redis_text(reach_redis(office.reach)), "none");
    assert_int_equal(publish(MSG_SIGNAL, 10), OK);
    assert_int_equal(heard_count, 1); /* from inside the call */
    assert_true(ring_has(BUS_DELIVER));
    assert_int_equal(publish(MSG_MAIL, 10), OK);
    assert_int_equal(heard_count, 2);
    assert_true(ring_has(BUS_DELIVER));
}

static void with_no_redis_accepted_means_handed_to_a_session(void **state)
{
    (void)state;
    assert_int_equal(reach_accepted_state(office.reach), 2);
}

static void with_no_redis_what_is_too_large_for_a_ring_cannot_go(void **state)
{
    (void)state;
    assert_true(can_carry(100));
    assert_false(can_carry(TOO_LARGE));
    assert_int_equal(publish(MSG_SIGNAL, TOO_LARGE), ERR_FULL);
    assert_int_equal(heard_count + unheard_count, 0); /* nothing was sent, so nobody is told */
}

static void nobody_lives_in_a_slot_without_an_incarnation(void **state)
{
    struct slice to = SLICE("bob");
    struct msg *msg = msg_new(SLICE("{}"), MSG_SIGNAL, 0);

    (void)state;
    assert_int_equal(reach_publish(office.reach, OTHER_SLOT + 1, &to, 1, msg, on_heard, NULL),
                     ERR_DOWN);
    assert_int_equal(reach_publish(office.reach, WORKERS_MAX, &to, 1, msg, on_heard, NULL),
                     ERR_DOWN);
    assert_int_equal(heard_count + unheard_count, 0);
    msg_unref(msg);
}

static void with_no_redis_a_kick_goes_by_a_ring(void **state)
{
    struct bus_frame frame;

    (void)state;
    assert_int_equal(
        reach_kick(office.reach, OTHER_SLOT, slot_incarnation(office.region, OTHER_SLOT), 7, 4500),
        OK);
    assert_true(elsewhere_hears(&frame));
    assert_int_equal(frame.kind, BUS_KICK);
    assert_int_equal(frame.session_number, 7);
    assert_int_equal(frame.close_code, 4500);
}

static void what_waits_in_a_ring_is_taken_before_what_came_later_by_redis(void **state)
{
    const struct bus_events no_events = { 0 };
    struct relay *other = relay_new(loop, office.region, stats_row(office.region, OTHER_SLOT),
                                    OTHER_SLOT, &no_events);
    struct slice to = SLICE("bob");
    struct msg *msg = msg_new(SLICE("{\"n\":1}"), MSG_SIGNAL, 0);
    struct client bob;

    (void)state;
    assert_non_null(other);
    client_enter(&bob, "bob", "");
    assert_int_equal(relay_publish(other, SLOT, &to, 1, msg), OK);
    reach_catch_up(office.reach); /* no doorbell rang yet */
    turns(1);
    assert_string_equal(hear(&bob), "{\"n\":1}");
    msg_unref(msg);
    relay_free(other);
    peer_close(&bob.peer);
}

/* ---- with a Redis ---- */

static void each_worker_says_of_itself_how_it_stands_with_redis(void **state)
{
    (void)state;
    assert_int_equal(reach_redis(office.reach), WORKER_REDIS_UP);
    assert_string_equal(reach_redis_text(WORKER_REDIS_UP), "up");
    assert_int_equal(slot_redis(office.region, SLOT), WORKER_REDIS_UP);
    redis_goes();
    turns(1);
    assert_int_equal(reach_redis(office.reach), WORKER_REDIS_AWAY);
    assert_string_equal(reach_redis_text(WORKER_REDIS_AWAY), "away");
    assert_int_equal(slot_redis(office.region, SLOT), WORKER_REDIS_AWAY);
    assert_int_equal(reach_accepted_state(office.reach), 1); /* configured: it is stored, or not */
}

static void a_signal_goes_through_redis_when_both_ends_are_there(void **state)
{
    (void)state;
    other_worker_is(WORKER_REDIS_UP);
    assert_int_equal(publish(MSG_SIGNAL, 10), OK);
    assert_int_equal(heard_count, 0); /* never from inside the call */
    turns(3);
    assert_int_equal(heard_count, 1);
    assert_non_null(published_next());
    assert_false(ring_has(BUS_DELIVER));
}

static void a_signal_that_nobody_heard_says_so(void **state)
{
    (void)state;
    other_worker_is(WORKER_REDIS_UP);
    server.hear_count = 0;
    assert_int_equal(publish(MSG_SIGNAL, 10), OK);
    turns(3);
    assert_int_equal(unheard_count, 1);
    assert_int_equal(counted(STAT_publishes_unheard), 1);
}

static void a_signal_takes_the_ring_when_the_other_end_has_lost_redis(void **state)
{
    (void)state;
    other_worker_is(WORKER_REDIS_AWAY);
    assert_int_equal(publish(MSG_SIGNAL, 10), OK);
    assert_int_equal(heard_count, 1);
    assert_true(ring_has(BUS_DELIVER));
    turns(2);
    assert_null(published_next());
}

static void a_signal_takes_the_ring_when_this_end_has_lost_redis(void **state)
{
    (void)state;
    other_worker_is(WORKER_REDIS_UP);
    redis_goes();
    assert_int_equal(publish(MSG_SIGNAL, 10), OK);
    assert_true(ring_has(BUS_DELIVER));
}

static void mail_never_takes_a_ring_where_redis_is_configured(void **state)
{
    (void)state;
    redis_goes();
    assert_int_equal(publish(MSG_MAIL, 10), ERR_DOWN);
    assert_false(ring_has(BUS_DELIVER));
    assert_int_equal(heard_count + unheard_count, 0);
}

static void a_large_signal_can_go_only_where_redis_leads(void **state)
{
    (void)state;
    other_worker_is(WORKER_REDIS_UP);
    assert_true(can_carry(TOO_LARGE));
    assert_int_equal(publish(MSG_SIGNAL, TOO_LARGE), OK);
    other_worker_is(WORKER_REDIS_AWAY);
    assert_true(can_carry(100));
    assert_false(can_carry(TOO_LARGE));
}

static void a_kick_goes_the_way_of_signals(void **state)
{
    uint64_t other = slot_incarnation(office.region, OTHER_SLOT);

    (void)state;
    other_worker_is(WORKER_REDIS_UP);
    assert_int_equal(reach_kick(office.reach, OTHER_SLOT, other, 7, 4500), OK);
    turns(2);
    assert_non_null(published_next());
    assert_int_equal(reach_kick(office.reach, OTHER_SLOT, other + 1, 7, 4500), ERR_DOWN);
    other_worker_is(WORKER_REDIS_AWAY);
    assert_int_equal(reach_kick(office.reach, OTHER_SLOT, other, 7, 4500), OK);
    assert_true(ring_has(BUS_KICK));
    assert_int_equal(counted(STAT_kicks_sent), 2);
}

int main(void)
{
#define WITHOUT(name) cmocka_unit_test_setup_teardown(name, setup_without, teardown)
#define WITH(name)    cmocka_unit_test_setup_teardown(name, setup_with, teardown)
    const struct CMUnitTest tests[] = {
        WITHOUT(with_no_redis_everything_goes_by_rings_and_is_heard_at_once),
        WITHOUT(with_no_redis_accepted_means_handed_to_a_session),
        WITHOUT(with_no_redis_what_is_too_large_for_a_ring_cannot_go),
        WITHOUT(nobody_lives_in_a_slot_without_an_incarnation),
        WITHOUT(with_no_redis_a_kick_goes_by_a_ring),
        WITHOUT(what_waits_in_a_ring_is_taken_before_what_came_later_by_redis),
        WITH(each_worker_says_of_itself_how_it_stands_with_redis),
        WITH(a_signal_goes_through_redis_when_both_ends_are_there),
        WITH(a_signal_that_nobody_heard_says_so),
        WITH(a_signal_takes_the_ring_when_the_other_end_has_lost_redis),
        WITH(a_signal_takes_the_ring_when_this_end_has_lost_redis),
        WITH(mail_never_takes_a_ring_where_redis_is_configured),
        WITH(a_large_signal_can_go_only_where_redis_leads),
        WITH(a_kick_goes_the_way_of_signals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
