#include "office_fixture.h"

#include "worker/delivery/ticket.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_append.h"

static struct client alice;
static const struct slice three[] = { { "bob", 3 }, { "carol", 5 }, { "dave", 4 } };

static int setup(void **state)
{
    (void)state;
    office_open("");
    client_enter(&alice, "alice", "");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    office_close();
    peer_close(&alice.peer);
    return 0;
}

static struct ticket *ticket_for(const char *id, size_t recipient_count)
{
    struct ticket *ticket = ticket_new(alice.session, slice_of(id), three, recipient_count);

    assert_non_null(ticket);
    return ticket;
}

/* A worker that will answer for one recipient. */
static struct ticket_part *wait_for(struct ticket *ticket, uint32_t index)
{
    struct ticket_part *part = ticket_wait(ticket, &index, 1);

    assert_non_null(part);
    return part;
}

static void heard(const char *subject, const char *id)
{
    char part[64];

    turns(1);
    hear_subject(&alice, subject);
    snprintf(part, sizeof part, "\"inReplyTo\":\"%s\"", id);
    assert_has(alice.said, part);
}

static void silence(void)
{
    turns(1);
    expect_nothing(&alice.peer);
}

static void what_nobody_is_waited_for_is_answered_at_once(void **state)
{
    struct ticket *ticket = ticket_for("m1", 1);

    (void)state;
    ticket->recipients[0].served = true;
    silence();
    ticket_settle(ticket);
    heard("accepted", "m1");
    assert_lacks(alice.said, "refused");
    assert_null(alice.session->tickets);
    assert_null(alice.session->tickets_last);
    assert_int_equal(counted(STAT_accepted), 1);
}

static void the_answer_waits_for_every_worker(void **state)
{
    struct ticket *ticket = ticket_for("m1", 3);
    struct ticket_part *first = wait_for(ticket, 0), *second = wait_for(ticket, 1);

    (void)state;
    ticket->recipients[2].served = true;
    ticket_settle(ticket);
    silence();
    ticket_heard(second, false);
    silence();
    ticket_heard(first, true);
    heard("accepted", "m1");
    assert_has(alice.said,
               "\"refused\":[{\"address\":\"carol\",\"code\":\"storage-unavailable\"}]");
    assert_int_equal(counted(STAT_recipients_refused), 1);
}

static void answers_leave_in_order_whatever_finishes_first(void **state)
{
    struct ticket *tickets[4];
    struct ticket_part *parts[4];
    static const char *const ids[] = { "m0", "m1", "m2", "m3" };
    static const int finish[] = { 2, 1, 3, 0 };

    (void)state;
    for (int i = 0; i < 4; i++) {
        tickets[i] = ticket_for(ids[i], 1);
        parts[i] = wait_for(tickets[i], 0);
        ticket_settle(tickets[i]);
    }
    for (int i = 0; i < 4; i++) {
        silence();
        ticket_heard(parts[finish[i]], true);
    }
    for (int i = 0; i < 4; i++)
        heard("accepted", ids[i]);
    silence();
}

static void what_could_be_answered_at_once_waits_behind_older_ones(void **state)
{
    struct ticket *ticket = ticket_for("m0", 1);
    struct ticket_part *part = wait_for(ticket, 0);

    (void)state;
    ticket_settle(ticket);
    say(&alice, "{\"from\":\"alice\",\"to\":[\"alice\"]," LETTER ",\"type\":1,\"id\":\"m1\"}");
    assert_has(hear(&alice), "\"from\":\"alice\"");
    silence();
    ticket_heard(part, true);
    heard("accepted", "m0");
    heard("accepted", "m1");
}

static void when_nobody_was_served_it_is_rejected_and_all_are_named(void **state)
{
    struct ticket *ticket = ticket_for("m1", 3);
    uint32_t both[] = { 0, 2 };
    struct ticket_part *part = ticket_wait(ticket, both, 2);

    (void)state;
    assert_non_null(part);
    ticket_settle(ticket);
    ticket_heard(part, false);
    heard("rejected", "m1");
    assert_has(alice.said, "\"code\":\"storage-unavailable\"");
    assert_has(alice.said, "\"retryAfter\":");
    assert_has(alice.said,
               "\"refused\":[{\"address\":\"bob\",\"code\":\"storage-unavailable\"},{\"address\":"
               "\"carol\",\"code\":\"storage-unavailable\"},{\"address\":\"dave\"");
    assert_int_equal(counted(STAT_rejected_storage_unavailable), 1);
    assert_int_equal(counted(STAT_accepted), 0);
}

static void one_part_answers_for_all_its_recipients(void **state)
{
    struct ticket *ticket = ticket_for("m1", 3);
    uint32_t both[] = { 0, 2 };
    struct ticket_part *part = ticket_wait(ticket, both, 2);

    (void)state;
    assert_non_null(part);
    ticket_settle(ticket);
    ticket_heard(part, true);
    heard("accepted", "m1");
    assert_has(alice.said, "\"refused\":[{\"address\":\"carol\"");
    assert_lacks(alice.said, "dave");
}

static void served_here_stays_served_when_elsewhere_did_not_hear(void **state)
{
    struct ticket *ticket = ticket_for("m1", 1);
    struct ticket_part *part = wait_for(ticket, 0);

    (void)state;
    ticket->recipients[0].served = true;
    ticket_unsent(part);
    ticket_settle(ticket);
    heard("accepted", "m1");
    assert_lacks(alice.said, "refused");
}

/* What is left over would be a leak, and what is used afterwards an error, that the sanitizer sees.
 */
static void tickets_outlive_their_session_and_are_freed_when_answered(void **state)
{
    struct ticket *first = ticket_for("m0", 1), *second = ticket_for("m1", 3),
                  *third = ticket_for("m2", 1);
    struct ticket_part *parts[] = { wait_for(first, 0), wait_for(second, 1), wait_for(second, 2) };

    (void)state;
    ticket_settle(first);
    ticket_settle(second);
    ticket_settle(third); /* nothing to wait for but those before it */
    client_leave(&alice);
    ticket_heard(parts[1], true);
    ticket_heard(parts[0], true);
    ticket_heard(parts[2], false);
    assert_int_equal(counted(STAT_accepted), 0);
}

static void a_session_may_end_while_its_ticket_is_being_made(void **state)
{
    struct ticket *ticket = ticket_for("m1", 2);
    struct ticket_part *part = wait_for(ticket, 0);

    (void)state;
    conn_abort(&alice.session->conn);
    ticket_unsent(part);
    ticket_settle(ticket);
    turns(1);
    assert_false(client_is_there(&alice));
}

/* Where bob is connected too, a doorbell rings; here the sender's own connection breaks in it. */
static void ring_and_break(struct office *at, const struct doorbell *stored, struct remote *remote,
                           struct slice skip_device, struct msg *msg)
{
    (void)remote;
    (void)skip_device;
    assert_int_equal(stored->count, 1);
    assert_true(slice_equal(stored->addresses[0], SLICE("bob")));
    assert_true(slice_equal(msg_slice(msg), SLICE("{}")));
    assert_ptr_equal(at, &office);
    conn_abort(&alice.session->conn);
    assert_null(alice.session->tickets);
}

static void a_session_may_end_while_its_tickets_doorbell_rings(void **state)
{
    struct ticket *ticket = ticket_for("m1", 1);
    struct ticket_part *part = wait_for(ticket, 0);
    struct msg *msg = msg_new(SLICE("{}"), MSG_MAIL, 0);

    (void)state;
    office.ring = ring_and_break;
    ticket_carry(ticket, msg);
    msg_unref(msg);
    ticket_settle(ticket);
    ticket_appended(part, &(struct mailbox_appended){ .outcome = MAILBOX_STORED, .seq = { 1, 0 } });
    turns(1);
    assert_false(client_is_there(&alice));
    assert_int_equal(counted(STAT_accepted), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_nobody_is_waited_for_is_answered_at_once),
        T(the_answer_waits_for_every_worker),
        T(answers_leave_in_order_whatever_finishes_first),
        T(what_could_be_answered_at_once_waits_behind_older_ones),
        T(when_nobody_was_served_it_is_rejected_and_all_are_named),
        T(one_part_answers_for_all_its_recipients),
        T(served_here_stays_served_when_elsewhere_did_not_hear),
        T(tickets_outlive_their_session_and_are_freed_when_answered),
        T(a_session_may_end_while_its_ticket_is_being_made),
        T(a_session_may_end_while_its_tickets_doorbell_rings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
