/* The row of commands without an answer (worker/mailbox/row.h), without Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/mailbox/mailbox_replica.h"
#include "worker/mailbox/row.h"

#include <stdio.h>
#include <string.h>

static struct mailbox mailbox;
static char finished[64]; /* a letter for each op in the order of finishing; upper case: no reply */
static enum mailbox_outcome reported;
static size_t reported_places;

static const struct redis_reply good = { .type = REDIS_INTEGER, .integer = 1 };
static const struct redis_reply lost = { .type = REDIS_LOST };

static int begin(void **state)
{
    (void)state;
    mailbox = (struct mailbox){ .state = MAILBOX_UP };
    row_init(&mailbox.row);
    finished[0] = 0;
    return 0;
}

static int row_is_empty_at_the_end(void **state)
{
    (void)state;
    row_fini(&mailbox);
    return mailbox.row.count == 0 && mailbox.row.bytes == 0 && mailbox.row.queued_count == 0 &&
                   TAILQ_EMPTY(&mailbox.row.ops)
               ? 0
               : -1;
}

static void on_finished(struct op *op, const struct redis_reply *reply)
{
    size_t len = strlen(finished);

    finished[len] = *(const char *)op->arg;
    if (!reply)
        finished[len] = (char)(finished[len] - 'a' + 'A');
    finished[len + 1] = 0;
}

static struct op *put_op(const char *name, bool is_append, struct msg *kept, struct slice arg)
{
    static char names[26];
    char *its = &names[name[0] - 'a'];
    struct op like = {
        .finish = on_finished, .arg = its, .script = SCRIPT_NONE, .arg_count = 1, .args = &arg
    };

    *its = name[0];
    assert_int_equal(is_append ? row_put_append(&mailbox, &like, kept) : row_put(&mailbox, &like),
                     OK);
    return TAILQ_LAST(&mailbox.row.ops, op_list);
}

static struct op *put_plain(const char *name)
{
    return put_op(name, false, NULL, SLICE("argument"));
}

static struct op *put_append(const char *name)
{
    return put_op(name, true, NULL, SLICE("argument"));
}

static void an_answered_command_leaves_the_row(void **state)
{
    struct op *a = put_plain("a"), *b = put_plain("b");

    (void)state;
    assert_int_equal(mailbox.row.count, 2);
    assert_int_equal(mailbox.row.queued_count, 2);
    assert_int_equal(mailbox.row.bytes, a->bytes + b->bytes);
    row_sent(a);
    assert_int_equal(mailbox.row.queued_count, 1);
    row_answered(a, &good);
    assert_string_equal(finished, "a");
    assert_int_equal(mailbox.row.count, 1);
    assert_int_equal(mailbox.row.bytes, b->bytes);
}

static void arguments_are_copied_but_not_those_in_the_kept_message(void **state)
{
    struct msg *msg = msg_new(SLICE("{\"body\":1}"), MSG_MAIL, 0);
    char text[] = "outside";
    struct op *a = put_op("a", true, msg, slice_make(text, 7));
    struct op *b = put_op("b", true, msg, slice_make(msg->data + 2, 4));

    (void)state;
    memset(text, 'x', sizeof text);
    assert_true(slice_equal(a->args[0], SLICE("outside")));
    assert_ptr_equal(b->args[0].data, msg->data + 2);
    assert_int_equal(msg->refs, 3);
    assert_int_equal(a->bytes, b->bytes + msg->len + 7); /* the message counts once */
    row_fini(&mailbox);
    assert_int_equal(msg->refs, 1);
    msg_unref(msg);
}

static void a_lost_answer_queues_an_append_again_and_nothing_else(void **state)
{
    struct op *a = put_append("a"), *b = put_plain("b");

    (void)state;
    row_sent(a);
    row_sent(b);
    row_answered(a, &lost);
    row_answered(b, &lost);
    assert_string_equal(finished, "b");
    assert_int_equal(a->state, OP_QUEUED);
    assert_true(append_of(a)->maybe);
    assert_int_equal(mailbox.counts.retried, 0);
    row_sent(a);
    assert_int_equal(mailbox.counts.retried, 1);
    row_answered(a, &good);
    assert_string_equal(finished, "ba");
}

static void missing_scripts_queue_the_command_again(void **state)
{
    const struct redis_reply error = { .type = REDIS_ERROR, .text = SLICE("NOSCRIPT No match") };
    struct op *a = put_plain("a");

    (void)state;
    row_sent(a);
    row_answered(a, &error);
    assert_string_equal(finished, "");
    assert_int_equal(mailbox.row.queued_count, 1);
    assert_int_equal(mailbox.state, MAILBOX_STALE);
    assert_true(mailbox.scripts_missing);
}

static void an_append_is_given_up_when_a_later_one_was_carried_out(void **state)
{
    struct op *a = put_append("a"), *b = put_append("b"), *c = put_append("c");

    (void)state;
    row_sent(a);
    row_sent(b);
    row_answered(a, &lost);
    row_answered(b, &good);
    assert_string_equal(finished, "Ab");
    assert_int_equal(c->state, OP_QUEUED);
}

static void what_was_never_sent_is_given_up_when_redis_goes(void **state)
{
    struct op *a = put_append("a");

    (void)state;
    put_append("b");
    put_plain("c");
    row_sent(a);
    row_answered(a, &lost);
    row_give_up_unsent(&mailbox);
    assert_string_equal(finished, "BC");
    row_give_up_older(&mailbox, a->since_ms - 1);
    assert_string_equal(finished, "BC");
    row_give_up_older(&mailbox, a->since_ms);
    assert_string_equal(finished, "BCA");
}

static void what_was_never_sent_is_given_up_while_redis_is_of_no_use(void **state)
{
    struct op *a = put_append("a");

    (void)state;
    row_sent(a);
    row_answered(a, &lost); /* perhaps stored: only its own time-out gives it up */
    struct op *b = put_append("b");
    put_plain("c");
    row_give_up_unsent_older(&mailbox, b->since_ms - 1);
    assert_string_equal(finished, "");
    row_give_up_unsent_older(&mailbox, b->since_ms + 1000);
    assert_string_equal(finished, "BC");
    assert_int_equal(a->state, OP_QUEUED);
}

static void an_answer_after_the_end_frees_its_command(void **state)
{
    struct op *a = put_append("a");

    (void)state;
    put_plain("b");
    row_sent(a);
    row_fini(&mailbox);
    assert_string_equal(finished, "AB");
    row_answered(a, &good);
    assert_string_equal(finished, "AB");
}

/* --- replicas --- */

static void on_reported(void *arg, const struct mailbox_appended *appended)
{
    (void)arg;
    reported = appended->outcome;
    reported_places = appended->elsewhere_count;
    if (reported_places > 0)
        assert_true(slice_equal(appended->elsewhere[reported_places - 1], SLICE("host:1:2/3")));
}

static void on_answered_in_replica(struct op *op, const struct redis_reply *reply)
{
    char first[] = "host:1:1", second[] = "host:1:2/3"; /* of an answer that is gone soon */
    struct slice places[] = { slice_of(first), slice_of(second) };
    struct append *append = append_of(op);

    if (!reply)
        return;
    append->appended = (struct mailbox_appended){ .elsewhere = places, .elsewhere_count = 2 };
    mailbox_replica_hold(append);
    memset(first, 0, sizeof first);
    memset(second, 0, sizeof second);
}

static void an_append_that_waits_for_replicas_keeps_its_places(void **state)
{
    struct op like = { .finish = on_answered_in_replica, .done = (op_done)on_reported };
    struct op *op;

    (void)state;
    mailbox.replica = true;
    reported = MAILBOX_UNKNOWN;
    assert_int_equal(row_put_append(&mailbox, &like, NULL), OK);
    op = TAILQ_FIRST(&mailbox.row.ops);
    row_sent(op);
    assert_true(mailbox.unconfirmed);
    row_answered(op, &good);
    assert_int_equal(op->state, OP_ANSWERED);
    assert_int_equal(reported, MAILBOX_UNKNOWN);
    append_report(append_of(op));
    assert_int_equal(reported, MAILBOX_STORED);
    assert_int_equal(reported_places, 2);
}

static struct op *put_held(unsigned age_ms)
{
    struct op like = { .finish = on_answered_in_replica, .done = (op_done)on_reported };
    struct op *op;

    assert_int_equal(row_put_append(&mailbox, &like, NULL), OK);
    op = TAILQ_LAST(&mailbox.row.ops, op_list);
    row_sent(op);
    row_answered(op, &good);
    append_of(op)->held_ms -= age_ms;
    return op;
}

static void an_append_that_nothing_can_confirm_is_reported_in_time(void **state)
{
    struct op *young;

    (void)state;
    mailbox.replica = true;
    mailbox.replica_timeout_ms = 1000;
    put_held(1001);
    young = put_held(1);
    reported = MAILBOX_STORED;
    mailbox.round = ROUND_WAITING;
    mailbox_replica_tick(&mailbox); /* the next round decides */
    assert_int_equal(reported, MAILBOX_STORED);
    mailbox.round = ROUND_NONE;
    mailbox_replica_tick(&mailbox);
    assert_int_equal(reported, MAILBOX_UNAVAILABLE);
    assert_ptr_equal(TAILQ_FIRST(&mailbox.row.ops), young);
    assert_int_equal(mailbox.row.count, 1);
}

static void appends_that_wait_for_replicas_are_sent_again_when_redis_goes(void **state)
{
    struct op *a, *b;

    (void)state;
    mailbox.replica = true;
    mailbox.replica_timeout_ms = 1000;
    a = put_held(1);
    b = put_held(1);
    a->state = OP_CONFIRMING;
    mailbox_replica_lost(&mailbox);
    assert_int_equal(a->state, OP_QUEUED);
    assert_int_equal(b->state, OP_QUEUED);
    assert_true(append_of(a)->maybe && append_of(b)->maybe);
    row_give_up_unsent(&mailbox);
    assert_int_equal(mailbox.row.count, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, row_is_empty_at_the_end)
    const struct CMUnitTest tests[] = {
        TEST(an_answered_command_leaves_the_row),
        TEST(arguments_are_copied_but_not_those_in_the_kept_message),
        TEST(a_lost_answer_queues_an_append_again_and_nothing_else),
        TEST(missing_scripts_queue_the_command_again),
        TEST(an_append_is_given_up_when_a_later_one_was_carried_out),
        TEST(what_was_never_sent_is_given_up_when_redis_goes),
        TEST(what_was_never_sent_is_given_up_while_redis_is_of_no_use),
        TEST(an_answer_after_the_end_frees_its_command),
        TEST(an_append_that_waits_for_replicas_keeps_its_places),
        TEST(an_append_that_nothing_can_confirm_is_reported_in_time),
        TEST(appends_that_wait_for_replicas_are_sent_again_when_redis_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
