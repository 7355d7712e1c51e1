/* Delivering without a mailbox: to sessions here, by rings to other workers of this host. */
#include "router_fixture.h"

static void mail_reaches_every_session_and_is_accepted(void **state)
{
    (void)state;
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\","
                "\"x\":9007199254740993,\"token\":\"secret\"}");
    assert_has(hear(&bob), "\"x\":9007199254740993");
    assert_has(bob.said, "\"id\":\"m1\"");
    assert_has(bob.said, "\"fromTag\":\"APP\"");
    assert_lacks(bob.said, "secret");
    assert_string_equal(hear(&bob2), bob.said);
    expect_nothing(&bob.peer);
    hear_subject(&alice, "accepted");
    assert_has(alice.said, "\"inReplyTo\":\"m1\"");
    assert_has(alice.said, "\"state\":2"); /* with no Redis: it was handed to a session */
    assert_lacks(alice.said, "refused");
    expect_nothing(&alice.peer);
    assert_int_equal(counted(STAT_accepted), 1);
    assert_int_equal(counted(STAT_messages_in), 1);
    assert_int_equal(counted(STAT_messages_out), 2);
}

static void a_signal_is_delivered_and_not_answered(void **state)
{
    (void)state;
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\",\"nobody\"]," LETTER ",\"type\":2}");
    assert_has(hear(&bob), "\"type\":2");
    assert_has(hear(&bob2), "\"type\":2");
    expect_nothing(&alice.peer);
    assert_int_equal(counted(STAT_signals_unheard), 1);
}

static void who_writes_to_itself_hears_itself(void **state)
{
    (void)state;
    say(&bob, "{\"from\":\"bob\",\"to\":\"bob\"," LETTER ",\"type\":1,\"id\":\"m1\"}");
    assert_has(hear(&bob2), "\"to\":[\"bob\"]");
    hear_subject(&bob, "accepted"); /* answers leave before messages */
    assert_has(hear(&bob), "\"to\":[\"bob\"]");
}

static void an_address_named_twice_is_one_delivery(void **state)
{
    (void)state;
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\",\"bob\"],\"cc\":[\"bob\"]," LETTER
                ",\"type\":1,\"id\":\"m1\"}");
    assert_has(hear(&bob), "\"id\":\"m1\"");
    expect_nothing(&bob.peer);
    hear_subject(&alice, "accepted");
}

static void who_is_not_connected_is_named_in_refused(void **state)
{
    (void)state;
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"],\"cc\":[\"nobody\"]," LETTER
                ",\"type\":1,\"id\":\"m1\"}");
    hear_subject(&alice, "accepted");
    assert_has(alice.said,
               "\"refused\":[{\"address\":\"nobody\",\"code\":\"storage-unavailable\"}]");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"nobody\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    rejected(&alice, "storage-unavailable");
    assert_has(alice.said,
               "\"refused\":[{\"address\":\"nobody\",\"code\":\"storage-unavailable\"}]");
    assert_has(alice.said, "\"retryAfter\":");
    assert_int_equal(counted(STAT_rejected_storage_unavailable), 1);
}

static void without_any_redis_mail_goes_by_ring_and_is_handed_to_a_session(void **state)
{
    struct bus_frame frame;

    (void)state;
    elsewhere_add("carol", "APP");
    elsewhere_add("bob", "CAR");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"carol\",\"bob\",\"nobody\"]," LETTER
                ",\"type\":1,\"id\":\"m1\"}");
    assert_has(hear(&bob), "\"id\":\"m1\"");
    hear_subject(&alice, "accepted");
    assert_has(alice.said, "\"state\":2");
    assert_has(alice.said,
               "\"refused\":[{\"address\":\"nobody\",\"code\":\"storage-unavailable\"}]");
    assert_true(elsewhere_hears(&frame)); /* once, for both */
    assert_int_equal(frame.recipient_count, 2);
    assert_int_equal(frame.msg_kind, MSG_MAIL);
    assert_false(elsewhere_hears(&frame));
    assert_int_equal(counted(STAT_relayed), 1);
}

/* Letters until the ring takes no more, some 30,000 bytes each. */
static void fill_ring(struct buf *letter, int type)
{
    static char content[30000];

    memset(content, 'A', sizeof content);
    buf_init(letter, 1 << 20);
    buf_addf(letter,
             "{\"from\":\"alice\",\"to\":[\"carol\",\"bob\"],\"subject\":\"s\",\"type\":%d,"
             "\"id\":\"m1\",\"content\":\"%.*s\"}",
             type, (int)sizeof content, content);
    for (int i = 0; i < 20 && counted(STAT_ring_full) == 0; i++) {
        peer_frame(&alice.peer, 0x80 | WS_TEXT, letter->data, letter->len);
        turns(4);
        assert_has(hear(&bob), "\"id\":\"m1\"");
        hear(&bob2);
        if (type == 1)
            hear_subject(&alice, "accepted");
    }
    assert_int_equal(counted(STAT_ring_full), 1);
}

static void a_full_ring_refuses_whom_it_leads_to_and_nobody_waits(void **state)
{
    struct bus_frame frame;
    struct buf letter;

    (void)state;
    elsewhere_add("carol", "APP");
    fill_ring(&letter, 1);
    assert_has(alice.said,
               "\"refused\":[{\"address\":\"carol\",\"code\":\"storage-unavailable\"}]");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"carol\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    hear_subject(&alice, "accepted"); /* a small one still finds room */
    assert_true(elsewhere_hears(&frame));
    say(&alice, "{\"from\":\"alice\",\"to\":[\"carol\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    hear_subject(&alice, "accepted");
    buf_fini(&letter);
}

static void a_signal_that_finds_its_ring_full_is_counted(void **state)
{
    struct buf letter;

    (void)state;
    elsewhere_add("carol", "APP");
    fill_ring(&letter, 2);
    assert_int_equal(counted(STAT_publishes_unheard), 1);
    expect_nothing(&alice.peer);
    buf_fini(&letter);
}

static void what_is_too_large_for_a_ring_is_told(void **state)
{
    static char content[RING_RECORD_MAX];
    struct buf letter;

    (void)state;
    elsewhere_add("carol", "APP");
    memset(content, 'A', sizeof content);
    for (int type = 1; type <= 2; type++) {
        buf_init(&letter, 1 << 20);
        buf_addf(&letter,
                 "{\"from\":\"alice\",\"to\":[\"carol\",\"bob\"],\"subject\":\"s\",\"type\":%d,"
                 "\"id\":\"m1\",\"content\":\"%.*s\"}",
                 type, (int)sizeof content, content);
        peer_frame(&alice.peer, 0x80 | WS_TEXT, letter.data, letter.len);
        turns(4);
        buf_fini(&letter);
        if (type == 1) {
            assert_has(hear(&bob), "\"id\":\"m1\"");
            assert_has(hear_subject(&alice, "accepted"), "\"address\":\"carol\"");
        }
    }
    rejected(&alice, "storage-unavailable");
    expect_nothing(&bob.peer); /* the signal went to nobody */
}

static void while_redis_is_away_mail_reaches_those_who_are_here(void **state)
{
    struct bus_frame frame;

    (void)state;
    elsewhere_add("carol", "APP");
    elsewhere_add("bob", "CAR");
    say(&alice,
        "{\"from\":\"alice\",\"to\":[\"carol\",\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    assert_has(hear(&bob), "\"id\":\"m1\"");
    hear_subject(&alice, "accepted");
    assert_has(alice.said, "\"state\":1");
    assert_has(alice.said,
               "\"refused\":[{\"address\":\"carol\",\"code\":\"storage-unavailable\"}]");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"carol\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    rejected(&alice, "storage-unavailable");
    assert_false(elsewhere_hears(&frame));
}

static void while_redis_is_away_signals_go_by_ring(void **state)
{
    struct bus_frame frame;

    (void)state;
    elsewhere_add("carol", "APP");
    say(&alice,
        "{\"from\":\"alice\",\"to\":[\"bob\",\"carol\"]," LETTER ",\"type\":2,\"id\":\"m1\"}");
    assert_has(hear(&bob), "\"id\":\"m1\"");
    expect_nothing(&alice.peer);
    assert_true(elsewhere_hears(&frame));
    assert_int_equal(frame.msg_kind, MSG_SIGNAL);
    assert_int_equal(frame.recipient_count, 1);
    assert_true(frame.recipients && slice_equal(frame.recipients[0], SLICE("carol")));
}

static void a_ring_brings_what_another_worker_put_into_it(void **state)
{
    struct slice to = SLICE("bob");
    struct bus_frame frame = { .kind = BUS_DELIVER,
                               .msg_kind = MSG_SIGNAL,
                               .recipients = &to,
                               .recipient_count = 1,
                               .body = SLICE("{\"from\":\"far\"}") };
    struct buf record;

    (void)state;
    buf_init(&record, 4096);
    assert_int_equal(bus_encode(&record, &frame), OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            ring_put(office.region, OTHER_SLOT, SLOT, office.incarnation, buf_slice(&record)), OK);
    assert_int_equal(ring_put(office.region, OTHER_SLOT, SLOT, office.incarnation, SLICE("?")), OK);
    ring_ring(office.region, SLOT);
    turns(1);
    for (int i = 0; i < 3; i++)
        assert_string_equal(hear(&bob), "{\"from\":\"far\"}");
    assert_int_equal(counted(STAT_relay_in), 4);
    assert_int_equal(counted(STAT_bus_bad), 1);
    buf_fini(&record);
}

static void higher_levels_leave_first_and_each_in_order(void **state)
{
    struct buf bytes;
    char text[256];

    (void)state;
    buf_init(&bytes, 65536);
    for (int i = 0; i < 4; i++) {
        int len = snprintf(text, sizeof text,
                           "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER
                           ",\"type\":2,\"level\":%d,\"id\":\"m%d\"}",
                           i < 2 ? 0 : 5, i);
        frame_add(&bytes, 0x80 | WS_TEXT, text, (size_t)len);
    }
    peer_send(&alice.peer, bytes.data, bytes.len);
    turns(1);
    assert_has(hear(&bob), "\"id\":\"m2\"");
    assert_has(hear(&bob), "\"id\":\"m3\"");
    assert_has(hear(&bob), "\"id\":\"m0\"");
    assert_has(hear(&bob), "\"id\":\"m1\"");
    buf_fini(&bytes);
}

static void mail_that_finds_no_room_ends_the_reader_and_is_told(void **state)
{
    static char content[100000];
    struct buf text;

    (void)state;
    memset(content, 'A', sizeof content);
    buf_init(&text, 1 << 20);
    buf_addf(&text,
             "{\"from\":\"alice\",\"to\":[\"bob\"],\"subject\":\"s\",\"type\":1,\"id\":\"m1\","
             "\"content\":\"%.*s\"}",
             (int)sizeof content, content);
    office.host.queue_bytes_max = 400000;
    client_leave(&bob2);
    for (int i = 0; i < 20 && client_is_open(&bob); i++) {
        peer_frame(&alice.peer, 0x80 | WS_TEXT, text.data, text.len);
        turns(4);
        hear(&alice);
        assert_has(alice.said, i == 0 || client_is_open(&bob) ? "\"subject\":\"accepted\""
                                                              : "\"code\":\"storage-unavailable\"");
    }
    assert_false(client_is_open(&bob));
    assert_int_equal(counted(STAT_slow_closed), 1);
    assert_true(counted(STAT_mail_undelivered) > 1);
    assert_int_equal(counted(STAT_rejected_storage_unavailable), 1);
    buf_fini(&text);
}

static void its_own_full_queue_ends_a_session_that_writes_to_itself(void **state)
{
    static char content[100000];
    struct buf text;

    (void)state;
    memset(content, 'A', sizeof content);
    buf_init(&text, 1 << 20);
    buf_addf(&text,
             "{\"from\":\"alice\",\"to\":[\"alice\",\"bob\"],\"subject\":\"s\",\"type\":1,"
             "\"content\":\"%.*s\"}",
             (int)sizeof content, content);
    office.host.queue_bytes_max = 400000;
    for (int i = 0; i < 20 && client_is_open(&alice); i++) {
        peer_frame(&alice.peer, 0x80 | WS_TEXT, text.data, text.len);
        turns(4);
        while (*hear(&bob) || *hear(&bob2))
            turns(1);
    }
    assert_false(client_is_open(&alice));
    buf_fini(&text);
}

static void what_another_worker_brings_is_delivered_or_counted(void **state)
{
    struct slice recipients[] = { SLICE("bob"), SLICE("nobody") };
    struct msg *msg = msg_new(SLICE("{\"from\":\"far\"}"), MSG_MAIL, 0);

    (void)state;
    live_deliver(&office, recipients, 2, msg);
    msg_unref(msg);
    turns(1);
    assert_string_equal(hear(&bob), "{\"from\":\"far\"}");
    assert_string_equal(hear(&bob2), "{\"from\":\"far\"}");
    assert_int_equal(counted(STAT_deliveries_missed), 1);
}

static void a_session_that_closes_is_written_to_no_more(void **state)
{
    (void)state;
    session_say_goodbye(bob.session, WS_CLOSE_ADMIN, "go", 0);
    say(&alice, "{\"from\":\"alice\",\"to\":[\"bob\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    hear_subject(&alice, "accepted");
    assert_has(hear(&bob2), "\"id\":\"m1\"");
    hear_subject(&bob, "goodbye");
    expect_close(&bob.peer, WS_CLOSE_ADMIN);
}

int main(void)
{
#define T(name)         cmocka_unit_test_setup_teardown(name, setup, teardown)
#define AWAY_TEST(name) cmocka_unit_test_setup_teardown(name, setup_away, teardown)
    const struct CMUnitTest tests[] = {
        T(mail_reaches_every_session_and_is_accepted),
        T(a_signal_is_delivered_and_not_answered),
        T(who_writes_to_itself_hears_itself),
        T(an_address_named_twice_is_one_delivery),
        T(who_is_not_connected_is_named_in_refused),
        T(without_any_redis_mail_goes_by_ring_and_is_handed_to_a_session),
        T(a_full_ring_refuses_whom_it_leads_to_and_nobody_waits),
        T(a_signal_that_finds_its_ring_full_is_counted),
        T(what_is_too_large_for_a_ring_is_told),
        AWAY_TEST(while_redis_is_away_mail_reaches_those_who_are_here),
        AWAY_TEST(while_redis_is_away_signals_go_by_ring),
        T(a_ring_brings_what_another_worker_put_into_it),
        T(higher_levels_leave_first_and_each_in_order),
        T(mail_that_finds_no_room_ends_the_reader_and_is_told),
        T(its_own_full_queue_ends_a_session_that_writes_to_itself),
        T(what_another_worker_brings_is_delivered_or_counted),
        T(a_session_that_closes_is_written_to_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
