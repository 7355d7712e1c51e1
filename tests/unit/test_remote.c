/* One message for sessions on other hosts (remote.c), and signals that ask Redis where the sessions
 * are (far_signal.c), over the stand-in for Redis. */
#include "office_redis_fixture.h"

#include "worker/reach/far_signal.h"
#include "worker/reach/remote.h"
#include "worker/session/service_turn.h"

#define FAR   "node-2:0:4294967297"
#define FAR_2 "node-3:1:8589934593"

static struct remote remote;

static int setup(void **state)
{
    (void)state;
    office_redis_open("\"serviceAddresses\":[\"work\"]");
    lease_answer(FAR, FAR_2, "0");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remote_fini(&remote);
    office_redis_close();
    return 0;
}

static unsigned note(const char *address, size_t count, const char *const *fields, uint64_t ms)
{
    struct bus_position position = { { ms, 1 }, { ms - 1, 0 } };
    struct slice slices[8];

    for (size_t i = 0; i < count; i++)
        slices[i] = slice_of(fields[i]);
    return remote_note(&remote, &office, slices, count, slice_of(address), position);
}

#define NOTE(address, ms, ...)                                                                     \
    note(address, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *),                   \
         (const char *const[]){ __VA_ARGS__ }, ms)

static void publish(enum bus_kind kind)
{
    remote_publish(&remote, &office,
                   &(struct bus_frame){ .kind = kind,
                                        .msg_kind = kind == BUS_STORED ? MSG_MAIL : MSG_SIGNAL,
                                        .body = SLICE("{\"a\":1}") });
    turns(1);
}

/* The next message of PUBLISH; the test fails when there is none, or when another worker gets it.
 */
static struct bus_frame published_to(const char *place)
{
    static struct slice recipients[8];
    static struct bus_position positions[8];
    const struct published *published = published_next();
    struct bus_frame frame;
    char channel[PLACE_MAX + 8];

    assert_non_null(published);
    snprintf(channel, sizeof channel, "po:w:%s", place);
    assert_string_equal(published->channel, channel);
    assert_int_equal(bus_decode(slice_make(published->payload, published->payload_len), recipients,
                                positions, 8, &frame),
                     OK);
    return frame;
}

/* ---- noting ---- */

static void a_worker_with_several_recipients_is_told_once(void **state)
{
    struct bus_frame frame;

    (void)state;
    assert_int_equal(NOTE("alice", 5, FAR "/1", FAR "/2"), 1); /* two sessions, one mention */
    assert_int_equal(NOTE("bob", 6, FAR "/3", FAR_2 "/1"), 2);
    assert_int_equal(NOTE("carol", 7, FAR "/4"), 1);
    publish(BUS_STORED);
    frame = published_to(FAR_2);
    assert_int_equal(frame.recipient_count, 1);
    assert_slice(frame.recipients[0], "bob");
    frame = published_to(FAR);
    assert_int_equal(frame.recipient_count, 3);
    assert_slice(frame.recipients[0], "alice");
    assert_slice(frame.recipients[2], "carol");
    assert_int_equal(frame.positions[1].seq.ms, 6);
    assert_int_equal(frame.positions[1].before.ms, 5);
    assert_slice(frame.body, "{\"a\":1}");
    assert_null(published_next());
    assert_int_equal(counted(STAT_publishes), 2);
}

static void workers_of_this_host_are_left_to_the_session_table(void **state)
{
    char other[PLACE_MAX + 4];
    size_t len =
        bus_place(other, office.node, OTHER_SLOT, slot_incarnation(office.region, OTHER_SLOT));

    (void)state;
    snprintf(other + len, 4, "/1");
    assert_int_equal(NOTE("alice", 5, own_place, other), 0);
    publish(BUS_STORED);
    assert_null(published_next());
    assert_int_equal(asked_count(), 0);
}

static void what_a_dead_worker_of_this_host_has_left_is_forgotten(void **state)
{
    char dead[PLACE_MAX], channel[PLACE_MAX + 8];
    struct asked *asked;

    (void)state;
    bus_place(dead, office.node, OTHER_SLOT, office.incarnation + 99);
    snprintf(channel, sizeof channel, "po:w:%s", dead);
    assert_int_equal(NOTE("alice", 5, dead), 0);
    turns(1);
    asked = asked_next("EVALSHA", "{alice}:at");
    assert_arg(asked, 4, dead);
    assert_arg(asked, 5, channel);
}

static void without_redis_there_is_nobody_to_note(void **state)
{
    struct nodes *nodes = office.nodes;

    (void)state;
    office.nodes = NULL;
    assert_int_equal(NOTE("alice", 5, FAR "/1"), 0);
    office.nodes = nodes;
    publish(BUS_STORED);
    assert_null(published_next());
}

/* ---- publishing ---- */

static void a_place_where_nobody_heard_is_forgotten_for_each_of_its_recipients(void **state)
{
    char address[] = "alice", other[] = "bob";

    (void)state;
    server.hear_count = 0;
    NOTE(address, 5, FAR "/1");
    NOTE(other, 5, FAR "/2");
    publish(BUS_STORED);
    memset(address, 'x', sizeof address - 1); /* borrowed until the publish, not longer */
    memset(other, 'x', sizeof other - 1);
    turns(2);
    assert_arg(asked_next("EVALSHA", "{alice}:at"), 4, FAR);
    assert_arg(asked_next("EVALSHA", "{bob}:at"), 4, FAR);
    assert_int_equal(counted(STAT_publishes_unheard), 1);
    assert_int_equal(counted(STAT_doorbells_lost), 0); /* it is known that nobody was there */
}

static void what_was_heard_asks_nothing_more(void **state)
{
    (void)state;
    NOTE("alice", 5, FAR "/1");
    publish(BUS_STORED);
    turns(3);
    assert_int_equal(asked_count(), 0);
    assert_int_equal(counted(STAT_publishes_unheard), 0);
}

static void a_doorbell_without_an_answer_is_counted_as_lost(void **state)
{
    (void)state;
    server.by_hand = true;
    NOTE("alice", 5, FAR "/1");
    publish(BUS_STORED);
    redis_goes();
    assert_int_equal(counted(STAT_doorbells_lost), 1);
    assert_int_equal(counted(STAT_publishes_unheard), 1);
}

static void a_signal_without_an_answer_is_no_lost_doorbell(void **state)
{
    (void)state;
    server.by_hand = true;
    NOTE("alice", 5, FAR "/1");
    publish(BUS_DELIVER);
    redis_goes();
    assert_int_equal(counted(STAT_doorbells_lost), 0);
    assert_int_equal(counted(STAT_publishes_unheard), 1);
}

static void while_redis_is_away_each_worker_that_is_not_told_is_counted(void **state)
{
    (void)state;
    redis_goes();
    NOTE("alice", 5, FAR "/1", FAR_2 "/1");
    publish(BUS_DELIVER);
    assert_int_equal(counted(STAT_publishes_unheard), 2);
    assert_int_equal(counted(STAT_doorbells_lost), 0);
    publish(BUS_STORED);
    assert_int_equal(counted(STAT_publishes_unheard), 4);
    assert_int_equal(counted(STAT_doorbells_lost), 2);
}

static void one_frame_about_one_address_goes_to_its_worker(void **state)
{
    struct bus_frame frame;

    (void)state;
    server.hear_count = 0;
    remote_tell(&office, SLICE(FAR_2), SLICE("alice"),
                &(struct bus_frame){ .kind = BUS_KICK, .session_number = 7, .close_code = 4500 });
    turns(3);
    frame = published_to(FAR_2);
    assert_int_equal(frame.kind, BUS_KICK);
    assert_int_equal(frame.session_number, 7);
    assert_int_equal(frame.close_code, 4500);
    assert_arg(asked_next("EVALSHA", "{alice}:at"), 4, FAR_2); /* nobody heard */
}

/* ---- signals ---- */

static void signal_to(size_t count, const char *const *addresses, const bool *heard)
{
    struct msg *msg = msg_new(SLICE("{\"s\":1}"), MSG_SIGNAL, 2);
    struct slice slices[4];

    for (size_t i = 0; i < count; i++)
        slices[i] = slice_of(addresses[i]);
    far_signal(&office, slices, heard, count, msg);
    msg_unref(msg);
    turns(1);
}

static void a_signal_asks_where_all_are_and_then_tells_each_worker_once(void **state)
{
    struct bus_frame frame;

    (void)state;
    signal_to(2, (const char *const[]){ "alice", "bob" }, (const bool[]){ false, true });
    assert_int_equal(office.questions, 2);
    answer(asked_next("HKEYS", "{alice}:at"), "[ss]", FAR "/1", FAR "/2");
    turns(2);
    assert_null(published_next()); /* not before all is known */
    answer(asked_next("HKEYS", "{bob}:at"), "[ss]", FAR "/9", FAR_2 "/1");
    turns(2);
    assert_int_equal(office.questions, 0);
    frame = published_to(FAR_2);
    assert_int_equal(frame.recipient_count, 1);
    frame = published_to(FAR);
    assert_int_equal(frame.kind, BUS_DELIVER);
    assert_int_equal(frame.level, 2);
    assert_int_equal(frame.recipient_count, 2);
    assert_slice(frame.body, "{\"s\":1}");
    assert_int_equal(counted(STAT_signals_unheard), 0);
}

static void a_signal_that_nobody_has_is_counted_once_a_recipient(void **state)
{
    (void)state;
    signal_to(3, (const char *const[]){ "alice", "bob", "carol" },
              (const bool[]){ false, true, false });
    answer(asked_next("HKEYS", "{alice}:at"), "[]");
    answer(asked_next("HKEYS", "{bob}:at"), "[]"); /* somebody here has it */
    answer(asked_next("HKEYS", "{carol}:at"), "-", "WRONGTYPE");
    turns(3);
    assert_int_equal(counted(STAT_signals_unheard), 2);
    assert_null(published_next());
}

static void of_a_service_address_one_living_session_gets_it_by_turns(void **state)
{
    static const char *const to[] = { "work" };
    unsigned first = 0, second = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const struct published *published;
        signal_to(1, to, (const bool[]){ false });
        answer(asked_next("HKEYS", "{work}:at"), "[sss]", "node-9:0:99/1", FAR "/1", FAR_2 "/1");
        turns(3);
        published = published_next();
        assert_non_null(published);
        assert_null(published_next());
        first += strstr(published->channel, FAR) != NULL;
        second += strstr(published->channel, FAR_2) != NULL;
    }
    assert_int_equal(first + second, 4);
    assert_true(first > 0 && second > 0);
}

static void a_service_address_without_a_living_session_is_unheard(void **state)
{
    (void)state;
    signal_to(1, (const char *const[]){ "work" }, (const bool[]){ false });
    answer(asked_next("HKEYS", "{work}:at"), "[s]", "node-9:0:99/1");
    turns(3);
    assert_null(published_next());
    assert_int_equal(counted(STAT_signals_unheard), 1);
}

static void a_service_that_has_it_here_is_not_asked_for_elsewhere(void **state)
{
    (void)state;
    signal_to(1, (const char *const[]){ "work" }, (const bool[]){ true });
    assert_int_equal(asked_count(), 0);
    assert_int_equal(office.questions, 0);
}

static void while_redis_is_away_a_signal_does_not_leave_and_is_counted(void **state)
{
    (void)state;
    redis_goes();
    signal_to(2, (const char *const[]){ "alice", "bob" }, (const bool[]){ false, true });
    assert_int_equal(counted(STAT_publishes_unheard), 2);
    assert_int_equal(office.questions, 0);
}

static void a_question_whose_answer_is_lost_ends_as_unheard(void **state)
{
    (void)state;
    signal_to(1, (const char *const[]){ "alice" }, (const bool[]){ false });
    redis_goes();
    assert_int_equal(counted(STAT_signals_unheard), 1);
    assert_int_equal(office.questions, 0);
}

static void past_the_bound_of_questions_signals_stay_on_this_host(void **state)
{
    (void)state;
    office.questions = 20000;
    signal_to(1, (const char *const[]){ "alice" }, (const bool[]){ false });
    assert_int_equal(asked_count(), 0);
    assert_int_equal(counted(STAT_publishes_unheard), 1);
    office.questions--;
    signal_to(1, (const char *const[]){ "alice" }, (const bool[]){ false });
    assert_int_equal(asked_count(), 1);
    office.questions = 1;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_worker_with_several_recipients_is_told_once),
        T(workers_of_this_host_are_left_to_the_session_table),
        T(what_a_dead_worker_of_this_host_has_left_is_forgotten),
        T(without_redis_there_is_nobody_to_note),
        T(a_place_where_nobody_heard_is_forgotten_for_each_of_its_recipients),
        T(what_was_heard_asks_nothing_more),
        T(a_doorbell_without_an_answer_is_counted_as_lost),
        T(a_signal_without_an_answer_is_no_lost_doorbell),
        T(while_redis_is_away_each_worker_that_is_not_told_is_counted),
        T(one_frame_about_one_address_goes_to_its_worker),
        T(a_signal_asks_where_all_are_and_then_tells_each_worker_once),
        T(a_signal_that_nobody_has_is_counted_once_a_recipient),
        T(of_a_service_address_one_living_session_gets_it_by_turns),
        T(a_service_address_without_a_living_session_is_unheard),
        T(a_service_that_has_it_here_is_not_asked_for_elsewhere),
        T(while_redis_is_away_a_signal_does_not_leave_and_is_counted),
        T(a_question_whose_answer_is_lost_ends_as_unheard),
        T(past_the_bound_of_questions_signals_stay_on_this_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
