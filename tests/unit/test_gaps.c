/* Gaps as sessions hear of them, over the stand-in for Redis: where the word of a gap stands among
 * the mail that waits, what `replayed` does then, and who of a group is told. */
#include "office_redis_fixture.h"

#include "worker/delivery/carrier.h"
#include "worker/groups/groups_parts.h"

#define BOX  "{alice}:box"
#define NEWS "{#news}:box"
#define ALL  "{#all}:box"

static struct client alice, bob;
static const char *const groups_of_all[] = { "#*", NULL };

static int setup(void **state)
{
    (void)state;
    office_redis_open("");
    lease_answer(NULL, NULL, "0");
    office_trust_key(false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_redis_close();
    if (alice.peer.fd > 0)
        peer_close(&alice.peer);
    if (bob.peer.fd > 0)
        peer_close(&bob.peer);
    memset(&alice, 0, sizeof alice);
    memset(&bob, 0, sizeof bob);
    return 0;
}

/* ---- what Redis says ---- */

/* Answers the oldest question for a page of this log with one message, and what retention removed.
 */
static void page_answer(const char *box, const char *seq, const char *level, const char *lost)
{
    answer(asked_next("XRANGE", box), lost ? "[is[s[ssssssss]]s]" : "[is[s[ssssssss]]]", 0LL, seq,
           seq, "f", "carol", "i", seq, "b", "{\"kept\":1}", "l", level, lost);
    turns(3);
}

static void empty_page(const char *box)
{
    answer(asked_next("XRANGE", box), "[is]", 0LL, "");
    turns(3);
}

static void group_ends_at(const char *box, const char *seq)
{
    answer(asked_next("EVALSHA", box), "[isss]", 0LL, "", seq, "0-0");
    turns(3);
}

/* ---- mail ---- */

/* Up to `replayed`; the mailbox ends at 5-0, which the device has. */
static void enter_live(void)
{
    client_open(&alice, "alice", "APP");
    turns(2);
    opening_answer(
        BOX, &(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "5-0", .opened_us = 7 });
    hear_welcome(&alice);
    turns(1);
    empty_page(BOX);
    hear_subject(&alice, "replayed");
}

static struct seq at(uint64_t ms)
{
    return (struct seq){ ms, 0 };
}

static void offer(uint64_t ms, uint64_t before, const char *body, int level)
{
    struct msg *msg = msg_new(slice_of(body), MSG_MAIL, level);

    alice.session->supply->offer(alice.session, at(ms), at(before), (struct slice){ 0 }, msg);
    msg_unref(msg);
}

static void a_second_welcome_stands_at_the_gap_and_replayed_follows_what_is_kept(void **state)
{
    (void)state;
    enter_live();
    offer(6, 5, "{\"n\":6}", 0);
    offer(9, 8, "{\"n\":9}", 0);
    turns(1);
    page_answer(BOX, "9-0", "0", "8-0");
    assert_has(hear(&alice), "6-0");
    hear_subject(&alice, "welcome");
    assert_has(alice.said, "\"recovered\":false");
    assert_has(alice.said, "\"cursor\":\"6-0\"");
    assert_has(alice.said, "\"seq\":\"9-0\"");
    assert_has(alice.said, "\"epoch\":\"" SERVER_EPOCH "\"");
    assert_has(hear(&alice), "{\"seq\":\"9-0\"");
    assert_has(hear_subject(&alice, "replayed"), "\"seq\":\"9-0\"");
    offer(10, 9, "{\"n\":10}", 0);
    turns(1);
    assert_has(hear(&alice), "10-0");
    assert_int_equal(asked_count(), 0);
    assert_int_equal(counted(STAT_gaps_told), 1);
}

/* The client does not read: its socket is full, and mail waits. Returns the newest position. */
static uint64_t fill_socket(void)
{
    static char body[4 * 1024];
    uint64_t ms = 5;

    memset(body, ' ', sizeof body - 1);
    memcpy(body, "{\"a\":1", 6);
    body[sizeof body - 2] = '}';
    for (; conn_waiting(&alice.session->conn) == 0; ms++) {
        offer(ms + 1, ms, body, 0);
        turns(1);
        assert_true(client_is_there(&alice));
    }
    return ms;
}

/* Reads all that the client is sent, a message at a time, up to the first that is not filling. */
static const char *hear_behind_filling(void)
{
    do
        turns(1);
    while (strstr(hear(&alice), "\"a\":1"));
    return alice.said;
}

static void the_word_of_a_gap_stands_behind_mail_of_every_level(void **state)
{
    uint64_t last;

    (void)state;
    enter_live();
    last = fill_socket();
    offer(last + 1, last, "{\"low\":1}", -3);
    offer(last + 2, last + 1, "{\"mid\":1}", 2);
    offer(last + 9, last + 8, "{\"new\":1}", 0);
    turns(1);
    answer(asked_next("XRANGE", BOX), "[is[s[ssssssss]]s]", 0LL, "999999-0", "999999-0", "f",
           "carol", "i", "k", "b", "{\"kept\":1}", "l", "-3", "999998-0");
    turns(3);
    assert_has(hear_behind_filling(), "\"mid\":1");
    assert_has(hear_behind_filling(), "\"low\":1");
    assert_has(hear_subject(&alice, "welcome"), "\"recovered\":false");
    assert_has(hear(&alice), "\"kept\":1");
    assert_has(hear_subject(&alice, "replayed"), "\"seq\":\"999999-0\"");
}

static void where_nothing_waits_the_word_leaves_before_urgent_mail_that_is_kept(void **state)
{
    (void)state;
    enter_live();
    offer(9, 8, "{\"n\":9}", 0);
    turns(1);
    page_answer(BOX, "9-0", "9", "8-0");
    hear_subject(&alice, "welcome");
    assert_has(hear(&alice), "{\"seq\":\"9-0\"");
    hear_subject(&alice, "replayed");
}

static void the_gap_that_welcome_tells_is_not_told_again(void **state)
{
    (void)state;
    client_open(&alice, "alice", "APP");
    turns(2);
    opening_answer(
        BOX, &(struct stands){
                 .cursor = "5-0@" SERVER_EPOCH, .last = "9-0", .lost = "8-0", .opened_us = 7 });
    hear_welcome(&alice);
    assert_has(alice.said, "\"recovered\":false");
    assert_has(alice.said, "\"cursor\":\"5-0\"");
    turns(1);
    assert_arg(asked_next("XRANGE", BOX), 5, "8-1");
    page_answer(BOX, "9-0", "0", NULL);
    assert_has(hear(&alice), "{\"seq\":\"9-0\"");
    hear_subject(&alice, "replayed");
    assert_int_equal(counted(STAT_gaps_told), 0);
}

static void a_session_that_began_without_redis_hears_of_the_gap_when_redis_is_back(void **state)
{
    (void)state;
    redis_goes();
    client_open(&alice, "alice", "APP");
    turns(2);
    hear_welcome(&alice);
    assert_has(alice.said, "\"epoch\":\"\"");
    redis_comes();
    lease_answer(NULL, NULL, "0");
    opening_answer(
        BOX, &(struct stands){
                 .cursor = "5-0@" SERVER_EPOCH, .last = "9-0", .lost = "8-0", .opened_us = 7 });
    hear_subject(&alice, "welcome");
    assert_has(alice.said, "\"recovered\":false");
    assert_has(alice.said, "\"cursor\":\"5-0\"");
    turns(1);
    assert_arg(asked_next("XRANGE", BOX), 5, "8-1");
}

/* ---- groups ---- */

static void enter_member(struct client *client, const char *name, long long opened_us)
{
    char key[64];

    client_open_as(
        client,
        grant_of((struct token_request){ .sub = name, .ttl_s = 60, .groups = groups_of_all }), name,
        "APP");
    turns(2);
    snprintf(key, sizeof key, "{%s}:box", name);
    opening_answer(key, &(struct stands){ .opened_us = opened_us });
    hear_welcome(client);
    turns(1);
    empty_page(key);
    hear_subject(client, "replayed");
}

/* Subscribes behind this position; NULL: live. The log ends at 5-0. */
static void subscribe(struct client *client, const char *name, const char *references)
{
    say(client,
        "{\"from\":\"%s\",\"to\":[\"postmaster\"],\"subject\":\"subscribe\",\"type\":4,\"id\":"
        "\"c1\","
        "\"tags\":[\"#news\"]%s}",
        name, references);
    turns(2);
    group_ends_at(NEWS, "5-0");
    hear_subject(client, "result");
}

/* A post of which a doorbell tells. */
static void post(const char *group, uint64_t ms, uint64_t before)
{
    struct bus_position position = { at(ms), at(before) };
    struct msg *msg = msg_new(SLICE("{\"live\":1}"), MSG_MAIL, 0);

    assert_true(groups_offer(&office, slice_of(group), position, msg));
    msg_unref(msg);
    turns(2);
}

static void the_gap_of_a_groups_log_is_told_to_all_members_in_step(void **state)
{
    (void)state;
    enter_member(&alice, "alice", 7);
    enter_member(&bob, "bob", 8);
    subscribe(&alice, "alice", "");
    hear_subject(&alice, "replayed");
    subscribe(&bob, "bob", "");
    hear_subject(&bob, "replayed");
    post("#news", 6, 5);
    post("#news", 9, 8);
    page_answer(NEWS, "9-0", "0", "8-0");
    for (struct client *client = &alice;; client = &bob) {
        assert_has(hear(client), "{\"seq\":\"6-0\"");
        hear_subject(client, "replayed");
        assert_has(client->said, "\"tags\":[\"#news\"],\"seq\":\"6-0\",\"recovered\":false");
        assert_has(hear(client), "{\"seq\":\"9-0\"");
        if (client == &bob)
            break;
    }
    post("#news", 10, 9);
    assert_has(hear(&alice), "{\"seq\":\"10-0\"");
    assert_has(hear(&bob), "{\"seq\":\"10-0\"");
    assert_int_equal(counted(STAT_gaps_told), 2);
    assert_int_equal(asked_count(), 0);
}

static void a_member_that_has_had_what_is_gone_is_told_nothing(void **state)
{
    struct group *group;

    (void)state;
    enter_member(&alice, "alice", 7);
    subscribe(&alice, "alice", "");
    hear_subject(&alice, "replayed");
    group = group_find(office.groups, SLICE("#news"));
    post("#news", 9, 8); /* the worker reads on */
    subscription_start_live(subscription_find(alice.session, group), at(8)); /* as if read alone */
    page_answer(NEWS, "9-0", "0", "8-0");
    hear_subject(&alice, "replayed");
    assert_null(strstr(alice.said, "recovered"));
    assert_has(hear(&alice), "{\"seq\":\"9-0\"");
    assert_int_equal(counted(STAT_gaps_told), 0);
}

static void a_member_that_replays_is_told_by_its_own_page_alone(void **state)
{
    (void)state;
    enter_member(&alice, "alice", 7);
    subscribe(&alice, "alice", ",\"references\":\"3-0\"");
    post("#news", 9, 8);
    assert_arg(asked_next("XRANGE", NEWS), 5, "3-1"); /* the member's page comes first */
    page_answer(NEWS, "5-0", "0", NULL);
    assert_has(hear(&alice), "{\"seq\":\"5-0\"");
    page_answer(NEWS, "9-0", "0", "8-0"); /* the worker's */
    if (asked_find("XRANGE", NEWS))
        page_answer(NEWS, "9-0", "0", "8-0");
    hear(&alice);
    if (strstr(alice.said, "recovered") == NULL) /* `replayed` of the replay that had ended */
        hear(&alice);
    assert_has(alice.said, "\"recovered\":false");
    assert_has(hear(&alice), "{\"seq\":\"9-0\"");
    expect_nothing(&alice.peer);
    assert_int_equal(counted(STAT_gaps_told), 1);
}

static void everybody_is_told_of_a_gap_in_all(void **state)
{
    struct parcel *parcel;
    struct group *all;

    (void)state;
    enter_member(&alice, "alice", 7);
    post("#all", 6, 0); /* the stand-in says that the log is empty */
    assert_has(hear(&alice), "{\"seq\":\"6-0\"");
    /* The stand-in answers pages of this log by itself, as empty: here a page has shown a gap. */
    all = group_find(office.groups, SLICE("#all"));
    parcel = parcels_new();
    assert_non_null(parcel);
    parcels_put(parcel, all, NULL, at(8));
    all->reader.feed.queued = at(8);
    post("#all", 9, 8);
    hear_subject(&alice, "replayed");
    assert_has(alice.said, "\"tags\":[\"#all\"],\"seq\":\"6-0\",\"recovered\":false");
    assert_has(hear(&alice), "{\"seq\":\"9-0\"");
    assert_null(alice.session->subscriptions);
    assert_int_equal(counted(STAT_gaps_told), 1);
}

static void a_shared_body_that_is_gone_is_told_to_the_members_too(void **state)
{
    (void)state;
    enter_member(&alice, "alice", 7);
    subscribe(&alice, "alice", "");
    hear_subject(&alice, "replayed");
    post("#news", 9, 8);
    answer(asked_next("XRANGE", NEWS), "[is[s[ssssss]][s[ssssss]]]", 0LL, "9-0", "8-0", "f",
           "carol", "i", "x", "b", "@0123", "9-0", "f", "carol", "i", "y", "b", "{\"kept\":1}");
    turns(3);
    hear_subject(&alice, "replayed");
    assert_has(alice.said, "\"seq\":\"5-0\",\"recovered\":false");
    assert_has(hear(&alice), "{\"seq\":\"9-0\"");
    post("#news", 10, 9);
    assert_has(hear(&alice), "{\"seq\":\"10-0\"");
    assert_int_equal(counted(STAT_gaps_told), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_second_welcome_stands_at_the_gap_and_replayed_follows_what_is_kept),
        T(the_word_of_a_gap_stands_behind_mail_of_every_level),
        T(where_nothing_waits_the_word_leaves_before_urgent_mail_that_is_kept),
        T(the_gap_that_welcome_tells_is_not_told_again),
        T(a_session_that_began_without_redis_hears_of_the_gap_when_redis_is_back),
        T(the_gap_of_a_groups_log_is_told_to_all_members_in_step),
        T(a_member_that_has_had_what_is_gone_is_told_nothing),
        T(a_member_that_replays_is_told_by_its_own_page_alone),
        T(everybody_is_told_of_a_gap_in_all),
        T(a_shared_body_that_is_gone_is_told_to_the_members_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
