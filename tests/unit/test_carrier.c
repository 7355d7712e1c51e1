/* A session with a mailbox of its own: replay, live mail, slow readers, acknowledgements, and the
 * return of Redis. The tests call session->supply, as life.c and doorbell.c do, over the stand-in
 * for Redis. */
#include "office_redis_fixture.h"

#define BOX "{alice}:box"

static struct client alice;

static int setup(void **state)
{
    (void)state;
    office_redis_open("");
    lease_answer(NULL, NULL, "0");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_redis_close();
    if (alice.peer.fd > 0)
        peer_close(&alice.peer);
    memset(&alice, 0, sizeof alice);
    return 0;
}

/* ---- what Redis says ---- */

enum { PAGE_MORE = 32 }; /* a page of so many messages says that more lie behind it */

struct lies {
    const char *seq, *body;
    const char *skip_device, *expires_at, *level, *receipt; /* NULL: not there */
};

static void add_field(struct buf *out, const char *name, const char *value)
{
    if (value)
        answer_add(out, "ss", name, value);
}

/* Answers the oldest question for a page with these messages. */
static void page_answer(size_t count, const struct lies *lies)
{
    struct asked *asked = asked_next("XRANGE", BOX);
    struct buf *out = &asked->answer;

    buf_addf(out, "*%zu\r\n", count + 2);
    answer_add(out, "is", count == PAGE_MORE ? 1LL : 0LL, count ? lies[count - 1].seq : "");
    for (size_t i = 0; i < count; i++) {
        const struct lies *at = &lies[i];
        unsigned fields = 3u + !!at->skip_device + !!at->expires_at + !!at->level + !!at->receipt;
        buf_addf(out, "*2\r\n");
        answer_add(out, "s", at->seq);
        buf_addf(out, "*%u\r\n", 2 * fields);
        add_field(out, "f", "bob");
        add_field(out, "i", at->seq);
        add_field(out, "b", at->body);
        add_field(out, "d", at->skip_device);
        add_field(out, "x", at->expires_at);
        add_field(out, "l", at->level);
        add_field(out, "r", at->receipt);
    }
    asked->answered = true;
    turns(3);
}

#define PAGE(...)                                                                                  \
    page_answer(sizeof((struct lies[]){ __VA_ARGS__ }) / sizeof(struct lies),                      \
                (struct lies[]){ __VA_ARGS__ })

static void empty_page(void)
{
    page_answer(0, NULL);
}

/* The oldest question for a page begins at this seq. */
static void assert_page_from(const char *seq)
{
    assert_arg(asked_next("XRANGE", BOX), 5, seq);
}

/* ---- the session ---- */

/* Enters the session up to `welcome`; on return the first page has been asked for. */
static void enter(const struct stands *stands)
{
    client_open(&alice, "alice", "APP");
    turns(2);
    opening_answer(BOX, stands);
    hear_welcome(&alice);
    turns(1);
}

/* Enters the session up to `replayed`; the mailbox ends at 5-0, which the device has. */
static void enter_live(void)
{
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "5-0", .opened_us = 7 });
    empty_page();
    hear_subject(&alice, "replayed");
}

static void enter_since(const char *since, const char *epoch, const struct stands *stands)
{
    struct session_claim claim = { .address = SLICE("alice"),
                                   .device = SLICE("APP"),
                                   .grant = grant_default(SLICE("alice")),
                                   .since = slice_of(since),
                                   .epoch = slice_of(epoch),
                                   .answer = SLICE(ANSWER_101) };

    assert_int_equal(slot_seat_take(office.region, SLOT), OK);
    alice.session = life_open(&office, peer_open(&alice.peer), &claim);
    grant_unref(claim.grant);
    assert_non_null(alice.session);
    alice.number = alice.session->number;
    turns(2);
    opening_answer(BOX, stands);
    hear_welcome(&alice);
    turns(1);
}

static struct seq at(uint64_t ms)
{
    return (struct seq){ ms, 0 };
}

/* A doorbell: msg was stored at ms, and the message before lies at before_ms. */
static void offer_msg(uint64_t ms, uint64_t before_ms, const char *skip_device, struct msg *msg)
{
    struct slice skip = { 0 };

    if (skip_device)
        skip = slice_of(skip_device);
    alice.session->supply->offer(alice.session, at(ms), at(before_ms), skip, msg);
    msg_unref(msg);
    turns(1);
}

static void offer(uint64_t ms, uint64_t before_ms, const char *body)
{
    offer_msg(ms, before_ms, NULL, msg_new(slice_of(body), MSG_MAIL, 0));
}

static bool ack(uint64_t ms)
{
    bool meant = alice.session->supply->ack(alice.session, at(ms));

    turns(1);
    return meant;
}

static void hear_mail(const char *seq, const char *part)
{
    assert_has(hear(&alice), seq);
    assert_has(alice.said, part);
}

/* ---- replay ---- */

static void a_known_device_is_replayed_what_lies_behind_its_cursor(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "7-0" });
    assert_has(alice.said, "\"recovered\":true");
    assert_page_from("5-1");
    PAGE({ .seq = "6-0", .body = "{\"n\":6}" }, { .seq = "7-0", .body = "{\"n\":7}" });
    hear_mail("6-0", "\"n\":6");
    hear_mail("7-0", "\"n\":7");
    hear_subject(&alice, "replayed");
    assert_has(alice.said, "7-0");
    assert_int_equal(asked_count(), 0);
}

static void since_counts_before_the_cursor(void **state)
{
    (void)state;
    enter_since("3-0", SERVER_EPOCH,
                &(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "7-0" });
    assert_has(alice.said, "\"recovered\":true");
    assert_page_from("3-1");
}

static void a_position_in_other_data_is_worth_nothing(void **state)
{
    (void)state;
    enter_since("3-0", "another", &(struct stands){ .last = "7-0" });
    assert_has(alice.said, "\"recovered\":false");
    assert_page_from("0-1");
}

static void a_page_is_asked_for_even_when_nothing_lay_behind_the_cursor(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "5-0" });
    expect_nothing(&alice.peer);
    PAGE({ .seq = "6-0", .body = "{\"n\":6}" }); /* stored while the session was not yet listed */
    hear_mail("6-0", "\"n\":6");
    hear_subject(&alice, "replayed");
}

static void a_full_page_is_followed_by_the_next(void **state)
{
    struct lies lies[PAGE_MORE];
    char seqs[PAGE_MORE][16];

    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "99-0" });
    assert_arg(asked_next("XRANGE", BOX), 7, "65536"); /* bytes */
    for (unsigned i = 0; i < 32; i++) {
        snprintf(seqs[i], sizeof seqs[i], "%u-0", 6 + i);
        lies[i] = (struct lies){ .seq = seqs[i], .body = "{}" };
    }
    page_answer(32, lies);
    assert_page_from("37-1");
    for (unsigned i = 0; i < 32; i++)
        hear_mail(seqs[i], "{");
    expect_nothing(&alice.peer); /* no word of the end before the end */
    PAGE({ .seq = "99-0", .body = "{\"n\":99}" });
    hear_mail("99-0", "\"n\":99");
    hear_subject(&alice, "replayed");
}

static void what_this_device_sent_itself_is_not_replayed_to_it(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "7-0" });
    PAGE({ .seq = "6-0", .body = "{\"n\":6}", .skip_device = "APP" },
         { .seq = "7-0", .body = "{\"n\":7}", .skip_device = "PHONE" });
    hear_mail("7-0", "\"n\":7");
    hear_subject(&alice, "replayed");
}

static void what_has_expired_is_not_delivered_and_counted(void **state)
{
    char past[24], future[24];

    (void)state;
    snprintf(past, sizeof past, "%lld", (long long)clock_unix_s());
    snprintf(future, sizeof future, "%lld", (long long)clock_unix_s() + 60);
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "7-0" });
    PAGE({ .seq = "6-0", .body = "{\"n\":6}", .expires_at = past },
         { .seq = "7-0", .body = "{\"n\":7}", .expires_at = future });
    hear_mail("7-0", "\"n\":7");
    hear_subject(&alice, "replayed");
    assert_int_equal(counted(STAT_mail_expired), 1);
}

static void a_foreign_entry_is_left_out_and_read_past(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "7-0" });
    PAGE({ .seq = "6-0", .body = "no brace" }, { .seq = "7-0", .body = "{\"n\":7}" });
    hear_mail("7-0", "\"n\":7");
    hear_subject(&alice, "replayed");
    assert_has(alice.said, "7-0");
}

static void replayed_comes_behind_mail_of_the_lowest_level(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "7-0" });
    PAGE({ .seq = "6-0", .body = "{\"n\":6}", .level = "-3" },
         { .seq = "7-0", .body = "{\"n\":7}", .level = "4" });
    hear_mail("7-0", "\"n\":7"); /* more urgent */
    hear_mail("6-0", "\"n\":6");
    hear_subject(&alice, "replayed");
}

static void a_page_that_could_not_be_read_is_asked_for_again(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "7-0" });
    office.catch_up_again = false;
    answer(asked_next("XRANGE", BOX), "-", "WRONGTYPE");
    turns(3);
    assert_true(office.catch_up_again);
    expect_nothing(&alice.peer);
    alice.session->supply->read_on(alice.session);
    turns(1);
    assert_page_from("5-1");
    PAGE({ .seq = "7-0", .body = "{\"n\":7}" });
    hear_mail("7-0", "\"n\":7");
    hear_subject(&alice, "replayed");
}

static void a_page_for_a_session_that_has_gone_hurts_nobody(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "7-0" });
    peer_close(&alice.peer);
    turns(2);
    assert_false(client_is_there(&alice));
    PAGE({ .seq = "7-0", .body = "{\"n\":7}" });
}

/* ---- live ---- */

static void the_next_message_is_delivered_without_asking_redis(void **state)
{
    (void)state;
    enter_live();
    offer(6, 5, "{\"n\":6}");
    hear_mail("6-0", "\"n\":6");
    offer(8, 6, "{\"n\":8}");
    hear_mail("8-0", "\"n\":8");
    assert_int_equal(asked_count(), 0);
}

static void a_message_that_is_offered_twice_is_delivered_once(void **state)
{
    (void)state;
    enter_live();
    offer(6, 5, "{\"n\":6}");
    hear_mail("6-0", "\"n\":6");
    offer(6, 5, "{\"n\":6}");
    offer(5, 4, "{\"n\":5}");
    expect_nothing(&alice.peer);
    assert_int_equal(asked_count(), 0);
}

static void after_a_gap_the_mailbox_is_read(void **state)
{
    (void)state;
    enter_live();
    offer(8, 7, "{\"n\":8}");
    expect_nothing(&alice.peer);
    assert_page_from("5-1");
    PAGE({ .seq = "7-0", .body = "{\"n\":7}" }, { .seq = "8-0", .body = "{\"n\":8}" });
    hear_mail("7-0", "\"n\":7");
    hear_mail("8-0", "\"n\":8");
    expect_nothing(&alice.peer); /* replayed is said once a session */
}

static void what_comes_while_a_page_is_read_is_read_too(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "6-0" });
    offer(7, 6, "{\"n\":7}");
    PAGE({ .seq = "6-0", .body = "{\"n\":6}" }); /* read before 7-0 was stored */
    hear_mail("6-0", "\"n\":6");
    assert_page_from("6-1");
    PAGE({ .seq = "7-0", .body = "{\"n\":7}" });
    hear_mail("7-0", "\"n\":7");
    hear_subject(&alice, "replayed");
}

static void a_copy_skips_the_device_that_sent_it_and_leaves_no_gap(void **state)
{
    (void)state;
    enter_live();
    offer_msg(6, 5, "APP", msg_new(SLICE("{\"n\":6}"), MSG_MAIL, 0));
    expect_nothing(&alice.peer);
    offer(7, 6, "{\"n\":7}");
    hear_mail("7-0", "\"n\":7");
    assert_int_equal(asked_count(), 0);
}

static void a_live_message_that_expires_is_read_from_the_mailbox(void **state)
{
    struct msg *msg = msg_new(SLICE("{\"n\":6}"), MSG_MAIL, 0);

    (void)state;
    enter_live();
    msg->flags = MSG_EXPIRES;
    offer_msg(6, 5, NULL, msg);
    expect_nothing(&alice.peer);
    assert_page_from("5-1"); /* the mailbox knows whether it still may be delivered */
}

/* The client does not read: the socket takes no more, then the outbox fills. */
static uint64_t offer_until_slow(void)
{
    static char body[60 * 1024];
    uint64_t ms = 5;

    memset(body, ' ', sizeof body - 1);
    memcpy(body, "{\"a\":1", 6);
    body[sizeof body - 2] = '}';
    for (; conn_waiting(&alice.session->conn) < 256 * 1024; ms++) {
        offer(ms + 1, ms, body);
        assert_true(client_is_there(&alice));
    }
    return ms;
}

static void a_slow_reader_goes_on_from_its_mailbox_when_it_has_room(void **state)
{
    uint64_t last;
    char seq[24];

    (void)state;
    enter_live();
    last = offer_until_slow();
    assert_int_equal(asked_count(), 0);
    offer(last + 1, last, "{\"n\":\"late\"}"); /* not queued … */
    assert_int_equal(asked_count(), 0);        /* … nor read while there is no room */
    for (unsigned i = 0; i < 100 && !asked_count(); i++) {
        peer_read(&alice.peer);
        turns(1);
    }
    snprintf(seq, sizeof seq, "%llu-1", (unsigned long long)last);
    assert_page_from(seq);
}

/* ---- acknowledging ---- */

static void an_ack_moves_the_cursor_here_and_in_redis(void **state)
{
    struct asked *asked;

    (void)state;
    enter_live();
    offer(6, 5, "{\"n\":6}");
    offer(7, 6, "{\"n\":7}");
    assert_true(ack(7));
    asked = asked_next("EVALSHA", "po:{alice}:cur");
    assert_arg(asked, 4, "APP");
    assert_arg(asked, 5, "7-0");
    assert_arg(asked, 6, SERVER_EPOCH);
    assert_true(seq_compare(alice.session->cursor, at(7)) == 0);
}

static void an_ack_of_what_was_never_sent_means_nothing(void **state)
{
    (void)state;
    enter_live();
    assert_false(ack(9));
    offer(6, 5, "{\"n\":6}");
    assert_false(ack(9));
    assert_true(ack(6));
    assert_false(ack(6)); /* once */
    answer(asked_next("EVALSHA", "{alice}:cur"), "i", 1LL);
    turns(2);
    assert_int_equal(asked_count(), 0);
}

static void a_cursor_stays_before_what_was_not_acknowledged(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "7-0" });
    PAGE({ .seq = "6-0", .body = "{\"n\":6}", .level = "-3" },
         { .seq = "7-0", .body = "{\"n\":7}", .level = "4" });
    assert_true(ack(7)); /* left first, but lies behind 6-0 */
    assert_true(seq_compare(alice.session->cursor, at(6)) < 0);
}

static void an_ack_covers_all_that_left_before_it(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "7-0" });
    PAGE({ .seq = "6-0", .body = "{\"n\":6}", .level = "-3" },
         { .seq = "7-0", .body = "{\"n\":7}", .level = "4" });
    assert_true(ack(6)); /* left last */
    assert_true(seq_compare(alice.session->cursor, at(7)) == 0);
    assert_arg(asked_next("EVALSHA", "{alice}:cur"), 5, "7-0");
}

static void an_ack_of_what_asked_for_a_receipt_asks_redis_what_is_owed(void **state)
{
    (void)state;
    enter(&(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "6-0" });
    PAGE({ .seq = "6-0", .body = "{\"n\":6}", .receipt = "2" });
    assert_true(ack(6));
    assert_arg(asked_next("EVALSHA", "{alice}:cur"), 9, "6-0 6-0 "); /* the range */
}

/* ---- Redis was away ---- */

static void after_an_outage_without_a_loss_the_session_reads_on(void **state)
{
    (void)state;
    enter_live();
    redis_goes();
    redis_comes();
    lease_answer(NULL, NULL, "0");
    opening_answer(BOX, &(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "8-0" });
    turns(1);
    expect_nothing(&alice.peer); /* no second welcome */
    PAGE({ .seq = "8-0", .body = "{\"n\":8}" });
    hear_mail("8-0", "\"n\":8");
    expect_nothing(&alice.peer);
}

static void when_data_was_lost_the_session_is_told_and_replayed_all(void **state)
{
    (void)state;
    enter_live();
    redis_goes();
    server.epoch = "fedcba9876543210";
    redis_comes();
    lease_answer(NULL, NULL, "0");
    opening_answer(BOX, &(struct stands){ .last = "2-0" });
    turns(1);
    hear_subject(&alice, "welcome");
    assert_has(alice.said, "\"recovered\":false");
    assert_has(alice.said, "fedcba9876543210");
    assert_page_from("0-1");
    PAGE({ .seq = "2-0", .body = "{\"n\":2}" });
    hear_mail("2-0", "\"n\":2");
    hear_subject(&alice, "replayed");
}

static void what_was_delivered_and_is_no_longer_there_is_a_loss_for_this_session(void **state)
{
    (void)state;
    enter_live();
    redis_goes();
    redis_comes();
    lease_answer(NULL, NULL, "0");
    opening_answer(BOX, &(struct stands){ .cursor = "3-0@" SERVER_EPOCH, .last = "3-0" });
    turns(1);
    hear_subject(&alice, "welcome");
    assert_has(alice.said, "\"recovered\":false");
    assert_page_from("0-1");
}

static void one_that_began_without_redis_is_replayed_to_when_it_is_there(void **state)
{
    (void)state;
    redis_goes();
    client_open(&alice, "alice", "APP");
    turns(1);
    hear_welcome(&alice);
    redis_comes();
    lease_answer(NULL, NULL, "0");
    opening_answer(BOX, &(struct stands){ .cursor = "5-0@" SERVER_EPOCH, .last = "6-0" });
    turns(1);
    hear_subject(&alice, "welcome");
    assert_has(alice.said, "\"recovered\":true");
    assert_page_from("5-1");
    PAGE({ .seq = "6-0", .body = "{\"n\":6}" });
    hear_mail("6-0", "\"n\":6");
    hear_subject(&alice, "replayed");
}

/* The epoch changes while the connection stays up: a page of the old data is still on its way. */
static void a_page_of_lost_data_is_not_delivered(void **state)
{
    (void)state;
    enter_live();
    server.epoch = "fedcba9876543210";
    mailbox_tick(office.mailbox);
    turns(3);
    offer(8, 7, "{\"n\":8}"); /* a gap: a page is asked for, behind the opening */
    lease_answer(NULL, NULL, "0");
    opening_answer(BOX, &(struct stands){ .last = "2-0" });
    hear_subject(&alice, "welcome");
    PAGE({ .seq = "8-0", .body = "{\"n\":\"old\"}" });
    expect_nothing(&alice.peer);
    assert_page_from("0-1");
    PAGE({ .seq = "2-0", .body = "{\"n\":\"new\"}" });
    hear_mail("2-0", "\"n\":\"new\"");
    hear_subject(&alice, "replayed");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_known_device_is_replayed_what_lies_behind_its_cursor),
        T(since_counts_before_the_cursor),
        T(a_position_in_other_data_is_worth_nothing),
        T(a_page_is_asked_for_even_when_nothing_lay_behind_the_cursor),
        T(a_full_page_is_followed_by_the_next),
        T(what_this_device_sent_itself_is_not_replayed_to_it),
        T(what_has_expired_is_not_delivered_and_counted),
        T(a_foreign_entry_is_left_out_and_read_past),
        T(replayed_comes_behind_mail_of_the_lowest_level),
        T(a_page_that_could_not_be_read_is_asked_for_again),
        T(a_page_for_a_session_that_has_gone_hurts_nobody),
        T(the_next_message_is_delivered_without_asking_redis),
        T(a_message_that_is_offered_twice_is_delivered_once),
        T(after_a_gap_the_mailbox_is_read),
        T(what_comes_while_a_page_is_read_is_read_too),
        T(a_copy_skips_the_device_that_sent_it_and_leaves_no_gap),
        T(a_live_message_that_expires_is_read_from_the_mailbox),
        T(a_slow_reader_goes_on_from_its_mailbox_when_it_has_room),
        T(an_ack_moves_the_cursor_here_and_in_redis),
        T(an_ack_of_what_was_never_sent_means_nothing),
        T(a_cursor_stays_before_what_was_not_acknowledged),
        T(an_ack_covers_all_that_left_before_it),
        T(an_ack_of_what_asked_for_a_receipt_asks_redis_what_is_owed),
        T(after_an_outage_without_a_loss_the_session_reads_on),
        T(when_data_was_lost_the_session_is_told_and_replayed_all),
        T(what_was_delivered_and_is_no_longer_there_is_a_loss_for_this_session),
        T(one_that_began_without_redis_is_replayed_to_when_it_is_there),
        T(a_page_of_lost_data_is_not_delivered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
