/* Groups in one worker without a mailbox: who is subscribed, who hears what, what is left behind.
 */
#include "office_fixture.h"

#include "worker/delivery/carrier.h"
#include "worker/groups/groups_parts.h"

static struct client alice, bob, carol;

static const char *const groups_of_all[] = { "#*", NULL };

static void enters(struct client *client, const char *name, bool broadcast)
{
    client_enter_as(
        client,
        grant_of((struct token_request){
            .sub = name, .ttl_s = 60, .groups = groups_of_all, .broadcast = broadcast }),
        name, "APP");
}

static int setup(void **state)
{
    (void)state;
    office_open("\"sessions\":{\"groupsPerSession\":3},\"limits\":{\"messagesPerSecond\":0}");
    office_trust_key(false);
    enters(&alice, "alice", true);
    enters(&bob, "bob", false);
    enters(&carol, "carol", false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_close(); /* which sees that no group is left in the directory */
    peer_close(&alice.peer);
    peer_close(&bob.peer);
    peer_close(&carol.peer);
    return 0;
}

static void order(struct client *client, const char *name, const char *verb, const char *rest)
{
    say(client,
        "{\"from\":\"%s\",\"to\":[\"postmaster\"],\"subject\":\"%s\",\"type\":4,\"id\":\"c1\"%s}",
        name, verb, rest);
}

static void subscribes(struct client *client, const char *name, const char *tags)
{
    char rest[256];

    snprintf(rest, sizeof rest, ",\"tags\":[%s]", tags);
    order(client, name, "subscribe", rest);
    hear_subject(client, "result");
}

static void posts(const char *group, const char *id)
{
    say(&alice, "{\"from\":\"alice\",\"to\":[\"%s\"]," LETTER ",\"type\":3,\"id\":\"%s\"}", group,
        id);
}

static void hears(struct client *client, const char *id)
{
    char part[80];

    snprintf(part, sizeof part, "\"id\":\"%s\"", id);
    assert_has(hear(client), part);
}

static uint64_t workers_with(const char *group)
{
    return sessions_workers(office.region, sessions_key(office.region, slice_of(group)));
}

static void a_post_goes_to_who_is_subscribed(void **state)
{
    (void)state;
    subscribes(&bob, "bob", "\"#news\"");
    assert_has(bob.said, "\"groups\":{\"#news\":{\"seq\":\"0-0\",\"cursor\":\"0-0\","
                         "\"recovered\":true}}");
    assert_has(bob.said, "\"epoch\":\"\"");
    subscribes(&carol, "carol", "\"#news\",\"#sport\",\"#news\"");
    posts("#news", "p1");
    hear_subject(&alice, "accepted");
    assert_has(alice.said, "\"state\":2");
    hears(&bob, "p1");
    hears(&carol, "p1");
    posts("#sport", "p2");
    hear_subject(&alice, "accepted");
    hears(&carol, "p2");
    expect_nothing(&bob.peer);
    expect_nothing(&alice.peer);
    assert_int_equal(counted(STAT_group_deliveries), 3);
}

static void subscribed_twice_hears_once_and_the_poster_too(void **state)
{
    (void)state;
    subscribes(&bob, "bob", "\"#news\"");
    subscribes(&bob, "bob", "\"#news\"");
    subscribes(&alice, "alice", "\"#news\"");
    posts("#news", "p1");
    hear_subject(&alice, "accepted");
    hears(&alice, "p1");
    hears(&bob, "p1");
    expect_nothing(&bob.peer);
}

static void one_row_in_the_table_while_somebody_is_subscribed(void **state)
{
    (void)state;
    assert_int_equal(workers_with("#all"), 1 << SLOT);
    assert_int_equal(workers_with("#news"), 0);
    subscribes(&bob, "bob", "\"#news\"");
    subscribes(&carol, "carol", "\"#news\"");
    assert_int_equal(workers_with("#news"), 1 << SLOT);
    assert_int_equal(
        sessions_find(office.region, sessions_key(office.region, SLICE("#news")), NULL, 0), 1);
    order(&bob, "bob", "unsubscribe", ",\"tags\":[\"#news\",\"#never\"]");
    hear_subject(&bob, "result");
    assert_int_equal(workers_with("#news"), 1 << SLOT);
    client_leave(&carol);
    assert_int_equal(workers_with("#news"), 0);
    posts("#news", "p1");
    hear_subject(&alice, "accepted");
    expect_nothing(&bob.peer);
}

static void all_is_everybody(void **state)
{
    (void)state;
    posts("#all", "p1");
    hear_subject(&alice, "accepted");
    hears(&alice, "p1");
    hears(&bob, "p1");
    hears(&carol, "p1");
    say(&bob, "{\"from\":\"bob\",\"to\":[\"#all\"]," LETTER ",\"type\":2,\"id\":\"s1\"}");
    hear_subject(&bob, "rejected");
    assert_has(bob.said, "forbidden-to");
    say(&alice, "{\"from\":\"alice\",\"to\":[\"#all\"]," LETTER ",\"type\":2,\"id\":\"s2\"}");
    hears(&alice, "s2");
    hears(&bob, "s2");
    hears(&carol, "s2");
    /* A subscription of one's own changes nothing in what comes, nor does its end. */
    subscribes(&bob, "bob", "\"#all\"");
    posts("#all", "p2");
    hears(&bob, "p2");
    order(&bob, "bob", "unsubscribe", ",\"tags\":[\"#all\"]");
    hear_subject(&bob, "result");
    posts("#all", "p3");
    hears(&bob, "p3");
    expect_nothing(&bob.peer);
    assert_null(bob.session->subscriptions);
}

static void what_is_wrong_is_refused_as_a_whole(void **state)
{
    static const struct {
        const char *rest, *code, *field;
    } cases[] = {
        { "", "missing-field", "tags" },
        { ",\"tags\":[]", "missing-field", "tags" },
        { ",\"tags\":[\"bob\"]", "bad-field", "tags" },
        { ",\"tags\":[\"#good\",\" #\"]", "bad-field", "tags" },
        { ",\"tags\":[\"#a\",\"#b\",\"#c\",\"#d\"]", "bad-field", "tags" },
        { ",\"tags\":[\"#a\"],\"references\":\"yesterday\"", "bad-field", "references" },
        { ",\"tags\":[\"#a\"],\"epoch\":7", "bad-field", "epoch" },
    };
    char part[64];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        order(&bob, "bob", "subscribe", cases[i].rest);
        hear_subject(&bob, "rejected");
        snprintf(part, sizeof part, "\"code\":\"%s\"", cases[i].code);
        assert_has(bob.said, part);
        snprintf(part, sizeof part, "\"field\":\"%s\"", cases[i].field);
        assert_has(bob.said, part);
        assert_null(bob.session->subscriptions);
    }
    subscribes(&bob, "bob", "\"#a\",\"#b\",\"#c\"");
    subscribes(&bob, "bob", "\"#c\",\"#a\"");
    order(&bob, "bob", "subscribe", ",\"tags\":[\"#d\"]");
    hear_subject(&bob, "rejected");
    order(&bob, "bob", "unsubscribe", ",\"tags\":[\"#b\"]");
    hear_subject(&bob, "result");
    subscribes(&bob, "bob", "\"#d\"");
}

static void a_token_with_fewer_groups_ends_the_others(void **state)
{
    const char *const fewer[] = { "#a", NULL };
    struct slice text;
    struct buf token;

    (void)state;
    subscribes(&bob, "bob", "\"#a\",\"#b\",\"#all\"");
    text = issue(&token, (struct token_request){ .sub = "bob", .ttl_s = 60, .groups = fewer });
    say(&bob,
        "{\"from\":\"bob\",\"to\":[\"postmaster\"],\"subject\":\"renew\",\"type\":4,\"id\":\"c1\","
        "\"token\":\"%.*s\"}",
        (int)text.len, text.data);
    buf_fini(&token);
    hear_subject(&bob, "result");
    assert_has(bob.said, ",\"unsubscribed\":[\"#b\"]");
    posts("#b", "p1");
    posts("#a", "p2");
    hears(&bob, "p2");
    assert_int_equal(workers_with("#b"), 0);
}

static void a_full_table_refuses_another_group_but_no_session(void **state)
{
    uint32_t count = 0, index;
    char name[32];

    (void)state;
    do {
        snprintf(name, sizeof name, "#other%u", count);
        index = sessions_add_group(office.table, sessions_key(office.region, slice_of(name)));
    } while (index != UINT32_MAX && ++count);
    assert_true(count >= SESSIONS_MAX);
    order(&bob, "bob", "subscribe", ",\"tags\":[\"#news\"]");
    hear_subject(&bob, "rejected");
    assert_has(bob.said, "storage-unavailable");
    assert_int_equal(counted(STAT_groups_full), 1);
    client_leave(&carol);
    client_enter(&carol, "carol", "");
}

static void without_room_for_all_in_the_table_nothing_is_left_behind(void **state)
{
    (void)state;
    client_leave(&alice);
    client_leave(&bob);
    client_leave(&carol);
    assert_true(TAILQ_EMPTY(&office.groups->list));
    while (sessions_add_group(office.table, (struct address_key){ 1, 1 }) != UINT32_MAX)
        ;
    enters(&alice, "alice", true);
    enters(&bob, "bob", false);
    assert_true(TAILQ_EMPTY(&office.groups->list));
    assert_null(office.groups->all);
    assert_int_equal(counted(STAT_groups_full), 2);
    client_leave(&bob);
    client_leave(&alice);
    assert_true(TAILQ_EMPTY(&office.groups->list));
}

static void a_subscriber_that_does_not_read_is_closed_where_nothing_is_stored(void **state)
{
    (void)state;
    office.host.queue_bytes_max = 64 * 1024;
    subscribes(&bob, "bob", "\"#news\"");
    subscribes(&carol, "carol", "\"#news\"");
    for (unsigned i = 0; i < 3000; i++) {
        posts("#news", "p1");
        hear_subject(&alice, "accepted");
        hears(&carol, "p1");
        if (!client_is_open(&bob))
            break;
    }
    assert_int_equal(counted(STAT_slow_closed), 1);
    assert_true(counted(STAT_mail_undelivered) > 0);
}

static void signals_reach_subscribers_and_other_workers_once(void **state)
{
    struct bus_frame frame;
    uint32_t index;

    (void)state;
    subscribes(&bob, "bob", "\"#news\"");
    index = sessions_add_group(elsewhere, sessions_key(office.region, SLICE("#news")));
    say(&alice, "{\"from\":\"alice\",\"to\":[\"#news\"]," LETTER ",\"type\":2,\"id\":\"s1\"}");
    hears(&bob, "s1");
    assert_true(elsewhere_hears(&frame));
    assert_int_equal(frame.recipient_count, 1);
    assert_true(slice_equal(frame.recipients[0], SLICE("#news")));
    assert_int_equal(frame.msg_kind, MSG_SIGNAL);
    posts("#news", "p1");
    hear_subject(&alice, "accepted");
    assert_true(elsewhere_hears(&frame));
    assert_int_equal(frame.msg_kind, MSG_MAIL);
    assert_false(elsewhere_hears(&frame));
    sessions_remove_group(elsewhere, index);
}

/* ---- one that is stored, as a doorbell tells of it ---- */

static struct msg *post_of(const char *text)
{
    return msg_new(slice_of(text), MSG_MAIL, 0);
}

static void put(struct group *group, uint64_t seq, uint64_t before, const char *text)
{
    struct bus_position position = { { seq, 0 }, { before, 0 } };
    struct msg *msg = post_of(text);

    assert_true(groups_offer(&office, group_address(group), position, msg));
    msg_unref(msg);
}

static void offer(struct group *group, uint64_t seq, uint64_t before, const char *text)
{
    put(group, seq, before, text);
    turns(1);
}

static void stored_posts_come_once_in_order_with_their_seq(void **state)
{
    struct group *group;
    struct subscription *bobs, *carols;

    (void)state;
    subscribes(&bob, "bob", "\"#news\"");
    subscribes(&carol, "carol", "\"#news\"");
    group = group_find(office.groups, SLICE("#news"));
    bobs = subscription_find(bob.session, group);
    carols = subscription_find(carol.session, group);
    group_log_start(group, (struct seq){ 5, 0 });
    subscription_start_live(bobs, (struct seq){ 5, 0 });
    subscription_start_live(carols, (struct seq){ 7, 0 }); /* asked later: it has those */
    turns(1);
    assert_has(hear_subject(&bob, "replayed"), "\"tags\":[\"#news\"],\"seq\":\"5-0\"");
    assert_has(hear_subject(&carol, "replayed"), "\"seq\":\"7-0\"");
    offer(group, 6, 5, "{\"id\":\"p6\"}");
    offer(group, 6, 5, "{\"id\":\"p6\"}");
    offer(group, 7, 6, "{\"id\":\"p7\"}");
    offer(group, 8, 7, "{\"id\":\"p8\"}");
    assert_string_equal(hear(&bob), "{\"seq\":\"6-0\",\"log\":\"#news\",\"id\":\"p6\"}");
    assert_string_equal(hear(&bob), "{\"seq\":\"7-0\",\"log\":\"#news\",\"id\":\"p7\"}");
    assert_string_equal(hear(&bob), "{\"seq\":\"8-0\",\"log\":\"#news\",\"id\":\"p8\"}");
    assert_string_equal(hear(&carol), "{\"seq\":\"8-0\",\"log\":\"#news\",\"id\":\"p8\"}");
    expect_nothing(&bob.peer);
    expect_nothing(&carol.peer);
}

static void a_gap_hands_out_nothing_and_asks_for_the_log(void **state)
{
    struct group *group;
    struct subscription *bobs;

    (void)state;
    subscribes(&bob, "bob", "\"#news\"");
    group = group_find(office.groups, SLICE("#news"));
    bobs = subscription_find(bob.session, group);
    group_log_start(group, (struct seq){ 5, 0 });
    subscription_start_live(bobs, (struct seq){ 5, 0 });
    turns(1);
    hear_subject(&bob, "replayed");
    offer(group, 9, 8, "{\"id\":\"p9\"}");
    expect_nothing(&bob.peer);
    assert_true(office.catch_up_again); /* there is no mailbox to ask */
    assert_int_equal(group->reader.feed.newest.ms, 9);
    assert_int_equal(group->reader.feed.queued.ms, 5);
}

/* More than a worker keeps is not taken in: it waits in the log. */
static void too_much_at_once_is_left_in_the_log(void **state)
{
    char *text = malloc(1 << 20);
    struct subscription *carols;
    struct group *group;

    (void)state;
    memset(text, ' ', (1 << 20) - 1);
    memcpy(text, "{", 1);
    text[(1 << 20) - 2] = '}';
    text[(1 << 20) - 1] = 0;
    subscribes(&carol, "carol", "\"#news\"");
    group = group_find(office.groups, SLICE("#news"));
    carols = subscription_find(carol.session, group);
    group_log_start(group, (struct seq){ 5, 0 });
    subscription_start_live(carols, (struct seq){ 5, 0 });
    assert_true(client_is_open(&carol));
    for (uint64_t seq = 6; seq < 16; seq++)
        put(group, seq, seq - 1, text);
    assert_int_equal(group->reader.feed.state, FEED_WAITING);
    assert_int_equal(group->reader.feed.queued.ms, 9); /* until 4 MiB were there */
    assert_int_equal(group->reader.feed.newest.ms, 15);
    turns(1);
    assert_int_equal(office.groups->parcel_bytes, 0);
    assert_false(office.groups->some_wait); /* it has asked for more, but there is no mailbox */
    assert_true(office.catch_up_again);
    free(text);
}

static void who_is_behind_in_all_gets_a_place_of_its_own_until_it_has_caught_up(void **state)
{
    struct subscription *lagging;
    struct group *all;

    (void)state;
    all = group_find(office.groups, SLICE("#all"));
    assert_non_null(all);
    group_log_start(all, (struct seq){ 5, 0 });
    offer(all, 6, 5, "{\"id\":\"p6\"}");
    assert_string_equal(hear(&bob), "{\"seq\":\"6-0\",\"log\":\"#all\",\"id\":\"p6\"}");
    assert_null(bob.session->subscriptions);
    bob.session->conn.outbox.bytes += LIVE_BYTES; /* as if so much waited */
    put(all, 7, 6, "{\"id\":\"p7\"}");
    groups_turn(&office);
    bob.session->conn.outbox.bytes -= LIVE_BYTES;
    bob.session->conn.room_mark = 0;
    turns(1);
    expect_nothing(&bob.peer);
    lagging = bob.session->subscriptions;
    assert_non_null(lagging);
    assert_int_equal(lagging->reader.feed.queued.ms, 6);
    assert_int_equal(lagging->state, SUBSCRIPTION_LAGGING);
    assert_string_equal(hear(&carol), "{\"seq\":\"6-0\",\"log\":\"#all\",\"id\":\"p6\"}");
    assert_string_equal(hear(&carol), "{\"seq\":\"7-0\",\"log\":\"#all\",\"id\":\"p7\"}");
    /* While the session subscribes, a signal goes past the reader. */
    lagging->state = SUBSCRIPTION_PENDING;
    say(&alice, "{\"from\":\"alice\",\"to\":[\"#all\"]," LETTER ",\"type\":2,\"id\":\"s1\"}");
    turns(1);
    hears(&bob, "s1");
    lagging->state = SUBSCRIPTION_LAGGING;
    /* It has read 7 from the log. */
    subscription_start_live(lagging, (struct seq){ 7, 0 });
    offer(all, 8, 7, "{\"id\":\"p8\"}");
    assert_string_equal(hear(&bob), "{\"seq\":\"8-0\",\"log\":\"#all\",\"id\":\"p8\"}");
    assert_null(bob.session->subscriptions);
}

/* A subscriber leaves, another comes, while a post is being handed out. */
static void who_comes_and_goes_meanwhile_disturbs_nobody(void **state)
{
    struct msg *msg = post_of("{\"id\":\"p6\"}");
    struct bus_position position = { { 6, 0 }, { 5, 0 } };
    struct group *group;
    struct groups *groups = office.groups;

    (void)state;
    subscribes(&bob, "bob", "\"#news\"");
    subscribes(&carol, "carol", "\"#news\"");
    group = group_find(groups, SLICE("#news"));
    group_log_start(group, (struct seq){ 5, 0 });
    subscription_start_live(subscription_find(bob.session, group), (struct seq){ 5, 0 });
    subscription_start_live(subscription_find(carol.session, group), (struct seq){ 5, 0 });
    assert_true(client_is_open(&bob) && client_is_open(&carol));
    groups_offer(&office, SLICE("#news"), position, msg);
    msg_unref(msg);
    /* As if the turn had ended before anybody was reached: carol is the first. */
    groups->delivering = true;
    groups->next_subscriber = subscription_find(carol.session, group);
    groups->delivered_before = group->delivered;
    group->delivered = (struct seq){ 6, 0 };
    subscription_free(groups->next_subscriber);
    turns(2);
    hear_subject(&bob, "replayed");
    hears(&bob, "p6");
    hear_subject(&carol, "replayed");
    expect_nothing(&carol.peer);
    assert_int_equal(group->pins, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_post_goes_to_who_is_subscribed),
        T(subscribed_twice_hears_once_and_the_poster_too),
        T(one_row_in_the_table_while_somebody_is_subscribed),
        T(all_is_everybody),
        T(what_is_wrong_is_refused_as_a_whole),
        T(a_token_with_fewer_groups_ends_the_others),
        T(a_full_table_refuses_another_group_but_no_session),
        T(without_room_for_all_in_the_table_nothing_is_left_behind),
        T(a_subscriber_that_does_not_read_is_closed_where_nothing_is_stored),
        T(signals_reach_subscribers_and_other_workers_once),
        T(stored_posts_come_once_in_order_with_their_seq),
        T(a_gap_hands_out_nothing_and_asks_for_the_log),
        T(too_much_at_once_is_left_in_the_log),
        T(who_is_behind_in_all_gets_a_place_of_its_own_until_it_has_caught_up),
        T(who_comes_and_goes_meanwhile_disturbs_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
