/* Which workers of other hosts live: leases in a Redis that redis_fixture.h stands in for. */
#include "office_redis_fixture.h"

#define FAR   "node-2:0:4294967297"
#define FAR_2 "node-2:1:4294967298"

static int setup(void **state)
{
    (void)state;
    office_redis_open("\"node\":{\"leaseSeconds\":7}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_redis_close();
    return 0;
}

static bool lives(const char *place)
{
    return nodes_live(office.nodes, slice_of(place));
}

/* A place of this host: its run, another slot or another incarnation. */
static const char *near(uint32_t slot, uint64_t incarnation)
{
    static char place[PLACE_MAX];

    bus_place(place, office.node, slot, incarnation);
    return place;
}

static const char *bytes_of(const struct asked *asked, size_t i)
{
    static char text[512];

    snprintf(text, sizeof text, "%.*s", (int)asked_arg(asked, i).len, asked_arg(asked, i).data);
    return text;
}

/* A renewal, answered with this; says whether it reported lost doorbells. */
static bool renew(const char *first, const char *second, const char *losses)
{
    bool reports;

    nodes_beat(office.nodes);
    turns(1);
    reports = slice_equal(asked_arg(asked_next("EVALSHA", "places"), 9), SLICE("1"));
    lease_answer(first, second, losses);
    return reports;
}

/* ---- the lease ---- */

static void a_lease_names_this_worker_and_how_long_it_holds(void **state)
{
    const struct asked *asked = asked_next("EVALSHA", "places");
    struct slice recipients[1];
    struct bus_position positions[1];
    struct bus_frame hello;

    (void)state;
    assert_arg(asked, 2, "2");
    assert_arg(asked, 3, "po:places");
    assert_arg(asked, 4, "po:losses");
    assert_arg(asked, 5, own_place);
    assert_arg(asked, 6, "7000");
    assert_arg(asked, 7, "po:w:");
    assert_int_equal(bus_decode(asked_arg(asked, 8), recipients, positions, 1, &hello), OK);
    assert_int_equal(hello.kind, BUS_HELLO);
    assert_slice(hello.place, own_place);
    assert_arg(asked, 9, "0");
}

static void others_are_known_by_the_first_answer_which_is_told_once(void **state)
{
    (void)state;
    assert_false(nodes_known(office.nodes));
    assert_int_equal(nodes_told.known, 0);
    lease_answer(FAR, FAR_2, "0");
    assert_true(nodes_known(office.nodes));
    assert_int_equal(nodes_told.known, 1);
    assert_int_equal(nodes_count(office.nodes), 2);
    assert_true(lives(FAR) && lives(FAR_2));
    assert_int_equal(counted(STAT_workers_elsewhere), 2);
    renew(FAR, NULL, "0");
    assert_int_equal(nodes_told.known, 1);
}

static void one_that_is_not_in_the_next_answer_lives_no_more(void **state)
{
    (void)state;
    lease_answer(FAR, FAR_2, "0");
    renew(FAR_2, NULL, "0");
    assert_false(lives(FAR));
    assert_true(lives(FAR_2));
    renew(NULL, NULL, "0");
    assert_false(nodes_any(office.nodes));
    assert_int_equal(counted(STAT_workers_elsewhere), 0);
}

static void the_clock_of_redis_is_learned_by_the_answer(void **state)
{
    int64_t ahead;

    (void)state;
    lease_answer(NULL, NULL, "0");
    ahead = INT64_C(1790000000000000) * 1000 - (int64_t)clock_monotonic_ns();
    assert_in_range(office.clock_ahead_ns - ahead, 0, 1000000);
}

static void one_question_at_a_time_by_the_beat_but_a_renewal_always_asks(void **state)
{
    (void)state;
    nodes_beat(office.nodes); /* the first is on its way */
    turns(1);
    assert_int_equal(asked_count(), 1);
    nodes_renew(office.nodes);
    turns(1);
    assert_int_equal(asked_count(), 2);
    lease_answer(NULL, NULL, "0");
    nodes_beat(office.nodes);
    turns(1);
    assert_int_equal(asked_count(), 1);
    lease_answer(NULL, NULL, "0");
    nodes_beat(office.nodes);
    turns(1);
    assert_int_equal(asked_count(), 1);
}

static void a_refused_lease_leaves_what_was_known(void **state)
{
    (void)state;
    lease_answer(FAR, NULL, "0");
    nodes_beat(office.nodes);
    turns(1);
    answer(asked_next("EVALSHA", "places"), "-", "OOM command not allowed");
    turns(2);
    assert_true(lives(FAR));
    nodes_beat(office.nodes); /* and the next beat asks again */
    turns(1);
    answer(asked_next("EVALSHA", "places"), "[s]", "too short");
    turns(2);
    assert_true(lives(FAR));
    assert_true(mailbox_is_up(office.mailbox));
}

static void the_first_answer_alone_makes_it_known_not_a_refusal(void **state)
{
    (void)state;
    answer(asked_next("EVALSHA", "places"), "-", "READONLY You can't write");
    turns(2);
    assert_false(nodes_known(office.nodes));
    assert_int_equal(nodes_told.known, 0);
}

static void who_lives_is_asked_for_again_when_redis_is_back(void **state)
{
    (void)state;
    lease_answer(FAR, NULL, "0");
    redis_goes();
    nodes_beat(office.nodes);
    assert_true(lives(FAR));
    redis_comes();
    lease_answer(FAR_2, NULL, "0");
    assert_false(lives(FAR));
    assert_true(lives(FAR_2));
}

static void one_that_leaves_takes_its_lease_back(void **state)
{
    (void)state;
    lease_answer(NULL, NULL, "0");
    nodes_leave(office.nodes);
    turns(1);
    assert_arg(asked_next("ZREM", "po:places"), 2, own_place);
    nodes_leave(NULL);
}

/* ---- whose place it is ---- */

static void places_of_this_host_are_here_or_gone_and_all_others_away(void **state)
{
    struct nodes *nodes = office.nodes;

    (void)state;
    assert_int_equal(nodes_where(nodes, slice_of(own_place)), NODES_HERE);
    assert_int_equal(
        nodes_where(nodes, slice_of(near(OTHER_SLOT, slot_incarnation(office.region, OTHER_SLOT)))),
        NODES_HERE);
    assert_int_equal(nodes_where(nodes, slice_of(near(OTHER_SLOT, office.incarnation + 99))),
                     NODES_GONE);
    assert_int_equal(nodes_where(nodes, slice_of(near(WORKERS_MAX, office.incarnation))),
                     NODES_GONE);
    assert_int_equal(nodes_where(nodes, SLICE(FAR)), NODES_AWAY);
    assert_int_equal(nodes_where(nodes, slice_of(near(SLOT, UINT64_C(7) << 32 | 1))), NODES_AWAY);
    assert_int_equal(nodes_where(nodes, SLICE("no place")), NODES_AWAY);
}

static void a_dead_worker_of_this_host_loses_its_lease_and_all_look_for_its_doorbells(void **state)
{
    const char *dead = near(OTHER_SLOT, office.incarnation + 99);

    (void)state;
    lease_answer(dead, FAR, "0");
    assert_false(lives(dead));
    turns(1);
    assert_arg(asked_next("ZREM", "po:places"), 2, dead);
    answer(asked_next("ZREM", "po:places"), "i", 1LL);
    assert_true(renew(FAR, NULL, "1")); /* it is reported: perhaps it died before it rang */
    assert_false(renew(FAR, NULL, "1"));
}

static void workers_of_this_host_are_not_counted_among_the_others(void **state)
{
    (void)state;
    lease_answer(near(OTHER_SLOT, slot_incarnation(office.region, OTHER_SLOT)), NULL, "0");
    assert_int_equal(nodes_count(office.nodes), 0);
}

/* ---- hello ---- */

static void a_hello_makes_a_worker_known_before_the_next_renewal(void **state)
{
    struct bus_frame frame = { .kind = BUS_HELLO, .place = SLICE(FAR) };
    char channel[PLACE_MAX + 8];
    struct buf bytes;

    (void)state;
    lease_answer(NULL, NULL, "0");
    buf_init(&bytes, 4096);
    assert_int_equal(bus_encode(&bytes, &frame), OK);
    snprintf(channel, sizeof channel, "po:w:%s", own_place);
    server_publish(channel, buf_slice(&bytes));
    turns(2);
    assert_true(lives(FAR));
    server_publish(channel, buf_slice(&bytes)); /* known is known */
    turns(2);
    assert_int_equal(nodes_count(office.nodes), 1);
    assert_int_equal(counted(STAT_workers_elsewhere), 1);
    buf_fini(&bytes);
}

static void a_hello_from_this_host_is_nobody_new(void **state)
{
    (void)state;
    nodes_hello(office.nodes, slice_of(own_place));
    nodes_hello(office.nodes, slice_of(near(OTHER_SLOT, office.incarnation + 99)));
    nodes_hello(NULL, SLICE(FAR));
    assert_int_equal(nodes_count(office.nodes), 0);
}

/* ---- doorbells that were lost ---- */

static void a_count_that_moved_on_another_host_is_told(void **state)
{
    (void)state;
    lease_answer(FAR, NULL, "5"); /* what was lost before this worker was there is nobody's */
    assert_int_equal(nodes_told.lost, 0);
    renew(FAR, NULL, "5");
    assert_int_equal(nodes_told.lost, 0);
    renew(FAR, NULL, "6");
    assert_int_equal(nodes_told.lost, 1);
    renew(FAR, NULL, "6");
    assert_int_equal(nodes_told.lost, 1);
}

static void own_losses_are_reported_once_and_are_no_news_here(void **state)
{
    (void)state;
    lease_answer(FAR, NULL, "5");
    stats_add(office.stats, STAT_doorbells_lost, 1);
    assert_true(renew(FAR, NULL, "6"));
    assert_int_equal(nodes_told.lost, 0);
    assert_false(renew(FAR, NULL, "6"));
    stats_add(office.stats, STAT_doorbells_lost, 1);
    assert_true(renew(FAR, NULL, "8")); /* and another host's in the same second */
    assert_int_equal(nodes_told.lost, 1);
}

static void a_report_that_was_refused_is_made_again(void **state)
{
    (void)state;
    lease_answer(FAR, NULL, "5");
    stats_add(office.stats, STAT_doorbells_lost, 1);
    nodes_beat(office.nodes);
    turns(1);
    assert_string_equal(bytes_of(asked_next("EVALSHA", "places"), 9), "1");
    answer(asked_next("EVALSHA", "places"), "-", "OOM");
    turns(2);
    assert_true(renew(FAR, NULL, "6"));
    assert_int_equal(nodes_told.lost, 0);
}

/* Whoever comes later reads all its mailboxes anyhow. */
static void a_loss_while_no_other_host_lives_concerns_nobody(void **state)
{
    (void)state;
    lease_answer(NULL, NULL, "5");
    stats_add(office.stats, STAT_doorbells_lost, 1);
    assert_false(renew(NULL, NULL, "5"));
    assert_false(renew(FAR, NULL, "5"));
    assert_false(renew(FAR, NULL, "5"));
    assert_int_equal(nodes_told.lost, 0);
}

/* ---- without Redis ---- */

static void with_no_redis_nobody_else_lives_and_nothing_is_waited_for(void **state)
{
    (void)state;
    assert_false(nodes_any(NULL));
    assert_int_equal(nodes_count(NULL), 0);
    assert_true(nodes_known(NULL));
    assert_false(nodes_live(NULL, SLICE(FAR)));
    nodes_free(NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_lease_names_this_worker_and_how_long_it_holds),
        T(others_are_known_by_the_first_answer_which_is_told_once),
        T(one_that_is_not_in_the_next_answer_lives_no_more),
        T(the_clock_of_redis_is_learned_by_the_answer),
        T(one_question_at_a_time_by_the_beat_but_a_renewal_always_asks),
        T(a_refused_lease_leaves_what_was_known),
        T(the_first_answer_alone_makes_it_known_not_a_refusal),
        T(who_lives_is_asked_for_again_when_redis_is_back),
        T(one_that_leaves_takes_its_lease_back),
        T(places_of_this_host_are_here_or_gone_and_all_others_away),
        T(a_dead_worker_of_this_host_loses_its_lease_and_all_look_for_its_doorbells),
        T(workers_of_this_host_are_not_counted_among_the_others),
        T(a_hello_makes_a_worker_known_before_the_next_renewal),
        T(a_hello_from_this_host_is_nobody_new),
        T(a_count_that_moved_on_another_host_is_told),
        T(own_losses_are_reported_once_and_are_no_news_here),
        T(a_report_that_was_refused_is_made_again),
        T(a_loss_while_no_other_host_lives_concerns_nobody),
        T(with_no_redis_nobody_else_lives_and_nothing_is_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
