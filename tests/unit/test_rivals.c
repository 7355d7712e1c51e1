/* The sessions of one address, on all hosts: which of them gives way. The session that calls
 * rivals_meet is entered through the stand-in for Redis; its rivals are rows of the shared table,
 * or entries of `:at`. */
#include "office_redis_fixture.h"

#include "worker/entrance/rivals.h"

#define FAR  "node-2:0:4294967297"
#define DEAD "node-3:0:8589934593"

/* In the order of Redis: microseconds. */
#define OLDER  INT64_C(1790000000000100)
#define MIDDLE INT64_C(1790000000000200)
#define NEWER  INT64_C(1790000000000300)

static struct client alice, second;

static int open_with(const char *members)
{
    office_redis_open(members);
    lease_answer(FAR, NULL, "0");
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return open_with("\"sessions\":{\"perAddress\":3}");
}

static int setup_service(void **state)
{
    (void)state;
    return open_with("\"serviceAddresses\":[\"alice\"],\"sessions\":{\"perServiceAddress\":2}");
}

static int teardown(void **state)
{
    (void)state;
    office_redis_close();
    if (alice.peer.fd > 0)
        peer_close(&alice.peer);
    if (second.peer.fd > 0)
        peer_close(&second.peer);
    memset(&alice, 0, sizeof alice);
    memset(&second, 0, sizeof second);
    return 0;
}

/* alice on APP, in the middle of the order. */
static void enter(void)
{
    client_enter_stored(&alice, "alice", "APP", MIDDLE);
}

/* A session of the other worker of this host. */
static void beside(const char *device, int64_t opened_us, uint64_t number)
{
    assert_int_not_equal(sessions_add(elsewhere, sessions_key(office.region, SLICE("alice")),
                                      number, slice_of(device), (uint64_t)opened_us * 1000),
                         UINT32_MAX);
}

/* One of another host, as `:at` has it. */
static struct at_session away(const char *place, const char *device, int64_t opened_us)
{
    return (struct at_session){ .place = slice_of(place),
                                .number = 9,
                                .opened_us = (uint64_t)opened_us,
                                .device = slice_of(device) };
}

static bool meet(const struct at_session *others, size_t count)
{
    bool stays = rivals_meet(alice.session, others, count);

    turns(2);
    return stays;
}

static bool meet_one(struct at_session other)
{
    return meet(&other, 1);
}

/* Does a later look, after an outage, close the session of alice? */
static bool is_replaced(void)
{
    rivals_check_replaced(&office);
    turns(1);
    return !client_is_open(&alice);
}

/* The number of the session that the other worker is asked to close; 0: none. */
static uint64_t kicked_beside(void)
{
    struct bus_frame frame;

    if (!elsewhere_hears(&frame))
        return 0;
    assert_int_equal(frame.kind, BUS_KICK);
    assert_int_equal(frame.close_code, WS_CLOSE_REPLACED);
    return frame.session_number;
}

/* The frame that the worker of the other host gets; kind 0: none. */
static struct bus_frame told_away(void)
{
    static struct slice recipients[1];
    static struct bus_position positions[1];
    const struct published *published = published_next();
    struct bus_frame frame = { 0 };

    if (!published)
        return frame;
    assert_string_equal(published->channel, "po:w:" FAR);
    assert_int_equal(bus_decode(slice_make(published->payload, published->payload_len), recipients,
                                positions, 1, &frame),
                     OK);
    return frame;
}

static void hear_goodbye(struct client *client, const char *why)
{
    assert_has(hear_subject(client, "goodbye"), "\"code\":4500");
    assert_has(client->said, why);
    expect_close(&client->peer, WS_CLOSE_REPLACED);
}

/* ---- of the same device ---- */

static void an_older_session_of_the_device_on_this_worker_is_turned_out(void **state)
{
    (void)state;
    enter();
    client_open(&second, "alice", "APP");
    turns(2);
    opening_answer("{alice}:box", &(struct stands){ .opened_us = NEWER });
    hear_welcome(&second);
    hear_goodbye(&alice, "a newer session of this device took its place");
    assert_int_equal(counted(STAT_replaced), 1);
    expect_nothing(&second.peer);
}

static void an_older_one_on_another_worker_is_kicked(void **state)
{
    (void)state;
    enter();
    beside("APP", OLDER, 7);
    assert_true(meet(NULL, 0));
    assert_int_equal(kicked_beside(), 7);
    assert_int_equal(kicked_beside(), 0);
}

static void an_older_one_on_another_host_is_kicked(void **state)
{
    struct bus_frame frame;

    (void)state;
    enter();
    assert_true(meet_one(away(FAR, "APP", OLDER)));
    frame = told_away();
    assert_int_equal(frame.kind, BUS_KICK);
    assert_int_equal(frame.session_number, 9);
    assert_int_equal(frame.close_code, WS_CLOSE_REPLACED);
}

static void who_sees_a_newer_one_of_the_device_goes_by_itself(void **state)
{
    (void)state;
    enter();
    assert_false(meet_one(away(FAR, "APP", NEWER)));
    hear_goodbye(&alice, "a newer session of this device took its place");
    assert_int_equal(counted(STAT_replaced), 1);
    assert_int_equal(told_away().kind, 0);
}

static void who_sees_a_newer_one_beside_it_goes_too(void **state)
{
    (void)state;
    enter();
    beside("APP", NEWER, 7);
    assert_false(meet(NULL, 0));
    hear_goodbye(&alice, "a newer session of this device took its place");
    assert_int_equal(kicked_beside(), 0);
}

static void between_an_older_and_a_newer_one_the_newest_remains(void **state)
{
    (void)state;
    enter();
    beside("APP", NEWER, 7);
    assert_false(meet_one(away(FAR, "APP", OLDER)));
    assert_int_equal(told_away().kind, BUS_KICK);
    hear_goodbye(&alice, "a newer session of this device took its place");
}

static void two_of_one_instant_are_told_apart_by_their_workers(void **state)
{
    (void)state;
    enter();
    beside("APP", MIDDLE, 7); /* of a higher slot: the newer one, for both */
    assert_false(meet(NULL, 0));
    assert_int_equal(kicked_beside(), 0);
}

static void as_long_as_its_place_is_a_guess_a_session_stays(void **state)
{
    (void)state;
    enter();
    alice.session->ordered = false;
    nodes_free(office.nodes);
    office.nodes = nodes_new(&office, &(struct nodes_events){ .known = on_office_nodes_known,
                                                              .lost = on_office_nodes_lost });
    beside("APP", NEWER, 7);
    assert_true(meet(NULL, 0));
    expect_nothing(&alice.peer);
}

/* ---- of other devices ---- */

static void other_devices_may_stay_up_to_the_limit(void **state)
{
    (void)state;
    enter();
    beside("PHONE", OLDER, 7);
    assert_true(meet_one(away(FAR, "TABLET", NEWER)));
    assert_int_equal(kicked_beside(), 0);
    assert_int_equal(told_away().kind, 0);
}

static void past_the_limit_the_oldest_goes(void **state)
{
    (void)state;
    enter();
    beside("PHONE", OLDER + 1, 7);
    beside("WATCH", OLDER, 8);
    assert_true(meet_one(away(FAR, "TABLET", OLDER + 2)));
    assert_int_equal(kicked_beside(), 8);
    assert_int_equal(kicked_beside(), 0);
    assert_int_equal(told_away().kind, 0);
}

static void past_the_limit_with_all_others_newer_it_goes_itself(void **state)
{
    (void)state;
    enter();
    beside("PHONE", NEWER, 7);
    beside("WATCH", NEWER + 1, 8);
    assert_false(meet_one(away(FAR, "TABLET", NEWER + 2)));
    hear_goodbye(&alice, "too many sessions of this address");
    assert_int_equal(kicked_beside(), 0);
}

static void older_ones_of_the_device_do_not_count_against_the_others(void **state)
{
    (void)state;
    enter();
    beside("PHONE", OLDER, 7);
    beside("WATCH", OLDER + 1, 8);
    assert_true(meet_one(away(FAR, "APP", OLDER + 2)));
    assert_int_equal(told_away().kind, BUS_KICK);
    assert_int_equal(kicked_beside(), 0);
}

/* ---- dead workers ---- */

static void what_a_dead_worker_has_left_is_no_rival_and_is_cleaned_away(void **state)
{
    (void)state;
    enter();
    office.catch_up_again = false;
    assert_true(meet_one(away(DEAD, "APP", OLDER)));
    assert_arg(asked_next("EVALSHA", "{alice}:at"), 4, DEAD);
    assert_false(office.catch_up_again);
    assert_int_equal(told_away().kind, 0);
}

static void a_newer_one_that_only_seems_dead_is_looked_at_again(void **state)
{
    (void)state;
    enter();
    office.catch_up_again = false;
    assert_true(meet_one(away(DEAD, "APP", NEWER)));
    assert_true(office.catch_up_again);
    office.catch_up_again = false;
    assert_true(meet_one(away(DEAD, "PHONE", NEWER))); /* another device can stay beside it */
    assert_false(office.catch_up_again);
}

static void what_at_says_of_this_host_the_session_table_knows_better(void **state)
{
    (void)state;
    enter();
    assert_true(meet_one(away(own_place, "APP", NEWER)));
    expect_nothing(&alice.peer);
    assert_null(asked_find("EVALSHA", "{alice}:at"));
}

/* ---- services ---- */

static void enter_service(void)
{
    client_open(&alice, "alice", "APP");
    turns(2);
    opening_answer("{alice}:box", &(struct stands){ .opened_us = MIDDLE });
    hear_welcome(&alice);
    turns(1);
    hear_subject(&alice, "replayed");
}

static void sessions_of_a_service_share_a_device(void **state)
{
    (void)state;
    enter_service();
    assert_non_null(alice.session->seat);
    assert_true(meet_one(away(FAR, "APP", OLDER)));
    assert_int_equal(told_away().kind, 0);
    assert_true(meet_one(away(FAR, "APP", NEWER)));
    expect_nothing(&alice.peer);
    beside("APP", NEWER, 7);
    assert_false(is_replaced());
}

static void a_service_has_a_limit_of_its_own(void **state)
{
    (void)state;
    enter_service();
    beside("A", OLDER, 7);
    assert_true(meet_one(away(FAR, "B", NEWER)));
    assert_int_equal(kicked_beside(), 7);
}

/* ---- greeting ---- */

static void devices_on_other_hosts_are_told_that_they_are_not_alone(void **state)
{
    const struct at_session others[] = { away(FAR, "PHONE", NEWER), away(FAR, "APP", OLDER),
                                         away(DEAD, "WATCH", OLDER) };
    struct bus_frame frame;

    (void)state;
    enter();
    rivals_greet(alice.session, others, 3);
    turns(2);
    frame = told_away();
    assert_int_equal(frame.kind, BUS_COMPANY);
    assert_int_equal(frame.session_number, 9);
    assert_int_equal(told_away().kind, 0); /* not its own device, and nobody who is dead */
}

static void a_service_greets_nobody(void **state)
{
    struct at_session other = away(FAR, "PHONE", NEWER);

    (void)state;
    enter_service();
    rivals_greet(alice.session, &other, 1);
    turns(2);
    assert_int_equal(told_away().kind, 0);
}

/* ---- afterwards ---- */

static void a_newer_one_of_the_device_on_this_host_is_found_later(void **state)
{
    (void)state;
    enter();
    assert_false(is_replaced());
    beside("PHONE", NEWER, 6);
    beside("APP", OLDER, 7);
    assert_false(is_replaced());
    beside("APP", NEWER, 8);
    assert_true(is_replaced());
    hear_goodbye(&alice, "a newer session of this device took its place");
    assert_int_equal(counted(STAT_replaced), 1);
}

int main(void)
{
#define T(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define SERVICE(name) cmocka_unit_test_setup_teardown(name, setup_service, teardown)
    const struct CMUnitTest tests[] = {
        T(an_older_session_of_the_device_on_this_worker_is_turned_out),
        T(an_older_one_on_another_worker_is_kicked),
        T(an_older_one_on_another_host_is_kicked),
        T(who_sees_a_newer_one_of_the_device_goes_by_itself),
        T(who_sees_a_newer_one_beside_it_goes_too),
        T(between_an_older_and_a_newer_one_the_newest_remains),
        T(two_of_one_instant_are_told_apart_by_their_workers),
        T(as_long_as_its_place_is_a_guess_a_session_stays),
        T(other_devices_may_stay_up_to_the_limit),
        T(past_the_limit_the_oldest_goes),
        T(past_the_limit_with_all_others_newer_it_goes_itself),
        T(older_ones_of_the_device_do_not_count_against_the_others),
        T(what_a_dead_worker_has_left_is_no_rival_and_is_cleaned_away),
        T(a_newer_one_that_only_seems_dead_is_looked_at_again),
        T(what_at_says_of_this_host_the_session_table_knows_better),
        SERVICE(sessions_of_a_service_share_a_device),
        SERVICE(a_service_has_a_limit_of_its_own),
        T(devices_on_other_hosts_are_told_that_they_are_not_alone),
        SERVICE(a_service_greets_nobody),
        T(a_newer_one_of_the_device_on_this_host_is_found_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
