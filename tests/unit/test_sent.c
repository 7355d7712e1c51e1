/* The log of a sender's messages and their recipients, which `recall` reads: the entries, the
 * commands that a turn costs, and the messages that are counted when no entry can be written. */
#include "office_redis_fixture.h"

static struct client alice;

static int setup(void **state)
{
    (void)state;
    office_redis_open("");
    lease_answer(NULL, NULL, "0");
    client_enter_stored(&alice, "alice", "APP", 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_redis_close();
    peer_close(&alice.peer);
    return 0;
}

static void note_to(const char *from, const char *id, size_t count, const char *const *to)
{
    struct slice recipients[4];

    for (size_t i = 0; i < count; i++)
        recipients[i] = slice_of(to[i]);
    sent_note(alice.session, slice_of(from), slice_of(id), recipients, count);
}

static void note(const char *from, const char *id)
{
    note_to(from, id, 1, (const char *const[]){ "bob" });
}

/* The entry that was asked for next; it is answered. */
static const char *entry_of(const char *key_ending)
{
    static char text[4096];
    struct asked *asked = asked_next("XADD", key_ending);

    assert_int_equal(asked->count, 8);
    snprintf(text, sizeof text, "%.*s", (int)asked_arg(asked, 7).len, asked_arg(asked, 7).data);
    answer(asked, "s", "5-0");
    return text;
}

/* EXPIRE commands that wait; all are answered. */
static unsigned kept(const char *key_ending)
{
    struct asked *asked;
    unsigned count = 0;

    for (; (asked = asked_find("EXPIRE", key_ending)); count++)
        answer(asked, "i", 1LL);
    return count;
}

static unsigned entry_count(void)
{
    struct asked *asked;
    unsigned count = 0;

    for (; (asked = asked_find("XADD", ":sent")); count++)
        answer(asked, "s", "5-0");
    return count;
}

static void what_a_session_sends_in_one_turn_is_one_entry(void **state)
{
    struct asked *asked;

    (void)state;
    note_to("alice", "m1", 2, (const char *const[]){ "bob", "carol" });
    note("alice", "m2");
    turns(1);
    asked = asked_next("XADD", "po:{alice}:sent");
    assert_arg(asked, 2, "MAXLEN");
    assert_arg(asked, 3, "~");
    assert_arg(asked, 4, "10000");
    assert_arg(asked, 5, "*");
    assert_arg(asked, 6, "m");
    assert_string_equal(entry_of("{alice}:sent"), "m1\nbob\ncarol\n\nm2\nbob\n\n");
    assert_int_equal(entry_count(), 0);
    note("alice", "m3"); /* another turn, another entry */
    turns(1);
    assert_string_equal(entry_of("{alice}:sent"), "m3\nbob\n\n");
}

static void an_idle_turn_asks_nothing(void **state)
{
    (void)state;
    turns(3);
    assert_int_equal(asked_count(), 0);
    sent_flush(&office);
    turns(1);
    assert_int_equal(asked_count(), 0);
}

static void each_sender_has_a_log_of_its_own(void **state)
{
    (void)state;
    note("alice", "m1");
    note("office", "m2"); /* the session may speak for it */
    note("office", "m3");
    turns(1);
    assert_string_equal(entry_of("{alice}:sent"), "m1\nbob\n\n");
    assert_string_equal(entry_of("{office}:sent"), "m2\nbob\n\nm3\nbob\n\n");
}

static void the_own_logs_life_begins_anew_now_and_then_and_not_each_turn(void **state)
{
    (void)state;
    note("alice", "m1");
    turns(1);
    assert_int_equal(kept("{alice}:sent"), 1);
    note("alice", "m2");
    turns(1);
    assert_int_equal(kept("{alice}:sent"), 0);
    clock_ms += 10000 * 1000;
    turns(1); /* the clock is read once a turn */
    note("alice", "m3");
    turns(1);
    assert_int_equal(kept("{alice}:sent"), 1);
}

static void the_life_of_anothers_log_begins_anew_each_time(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        note("office", "m1");
        turns(1);
        assert_int_equal(kept("{office}:sent"), 1);
    }
}

static void a_large_entry_ends_and_another_begins(void **state)
{
    static char long_id[30 * 1024];

    (void)state;
    memset(long_id, 'i', sizeof long_id - 1);
    for (unsigned i = 0; i < 6; i++)
        note("alice", long_id);
    turns(1);
    assert_int_equal(entry_count(), 2); /* of 3 records each: the third passes 64 KiB */
    assert_int_equal(counted(STAT_sent_unnoted), 0);
}

static void what_is_too_large_is_left_out_whole_and_counted(void **state)
{
    static char much[5 << 20];
    struct slice recipients[4];

    (void)state;
    memset(much, 'r', sizeof much);
    for (size_t i = 0; i < 4; i++)
        recipients[i] = slice_make(much, sizeof much);
    note("alice", "m1");
    sent_note(alice.session, SLICE("alice"), SLICE("m2"), recipients, 4);
    note("alice", "m3");
    turns(1);
    assert_string_equal(entry_of("{alice}:sent"), "m1\nbob\n\nm3\nbob\n\n");
    assert_int_equal(counted(STAT_sent_unnoted), 1);
}

static void many_senders_in_one_turn_all_have_their_entry(void **state)
{
    char from[16];

    (void)state;
    for (unsigned i = 0; i < 40; i++) { /* more than there is room for at first */
        snprintf(from, sizeof from, "from-%u", i);
        note(from, "m");
    }
    turns(1);
    assert_int_equal(entry_count(), 40);
}

static void while_redis_is_away_each_message_is_counted(void **state)
{
    (void)state;
    redis_goes();
    note("alice", "m1");
    note("alice", "m2");
    turns(1);
    assert_int_equal(counted(STAT_sent_unnoted), 2);
    redis_comes();
    turns(1);
    assert_int_equal(entry_count(), 0); /* and it is not said later */
}

static void without_a_mailbox_each_message_is_counted(void **state)
{
    struct mailbox *mailbox = office.mailbox;

    (void)state;
    note("alice", "m1");
    office.mailbox = NULL;
    sent_flush(&office);
    office.mailbox = mailbox;
    assert_int_equal(counted(STAT_sent_unnoted), 1);
}

static void a_refusal_hurts_nobody(void **state)
{
    (void)state;
    note("alice", "m1");
    turns(1);
    answer(asked_next("XADD", "{alice}:sent"), "-", "OOM command not allowed");
    assert_int_equal(kept("{alice}:sent"), 1);
    turns(3);
    assert_true(client_is_there(&alice));
    note("alice", "m2");
    turns(1);
    assert_string_equal(entry_of("{alice}:sent"), "m2\nbob\n\n");
}

static void what_was_not_flushed_goes_with_the_worker(void **state)
{
    (void)state;
    note("alice", "m1");
    sent_free(&office);
    assert_null(office.sent);
    sent_free(&office);
    turns(1);
    assert_int_equal(entry_count(), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_a_session_sends_in_one_turn_is_one_entry),
        T(an_idle_turn_asks_nothing),
        T(each_sender_has_a_log_of_its_own),
        T(the_own_logs_life_begins_anew_now_and_then_and_not_each_turn),
        T(the_life_of_anothers_log_begins_anew_each_time),
        T(a_large_entry_ends_and_another_begins),
        T(what_is_too_large_is_left_out_whole_and_counted),
        T(many_senders_in_one_turn_all_have_their_entry),
        T(while_redis_is_away_each_message_is_counted),
        T(without_a_mailbox_each_message_is_counted),
        T(a_refusal_hurts_nobody),
        T(what_was_not_flushed_goes_with_the_worker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
