/*
 * worker/mailbox: receipts that are owed, recall, expiry.
 */
#include "mailbox_fixture.h"

#include "worker/mailbox/mailbox_receipts.h"

#include <time.h>

static bool acked;

static void on_acked(void *arg, bool ok)
{
    (void)arg;
    acked = ok;
}

static bool ack_came(void)
{
    return acked;
}

static bool ack(const char *address, const char *device, struct seq seq)
{
    acked = false;
    return mailbox_ack(workers[0].mailbox, slice_of(address), slice_of(device), seq, on_acked,
                       NULL) == OK &&
           wait_for(ack_came, WAIT_MS);
}

static struct {
    bool came, ok, more;
    int64_t outcome;
    unsigned debts;
    char texts[256][300];
    struct seq stored;
} answer;

static void take_debts(struct mailbox_debts *debts)
{
    struct mailbox_owed owed;

    for (answer.debts = 0; mailbox_debts_next(debts, &owed) && answer.debts < 256; answer.debts++) {
        snprintf(answer.texts[answer.debts], sizeof answer.texts[0], "%.*s", (int)owed.text.len,
                 owed.text.data);
        answer.stored = owed.stored;
    }
    answer.came = true;
}

static void on_acked_asked(void *arg, struct mailbox_acked *acked_asked)
{
    (void)arg;
    answer.ok = acked_asked->ok;
    answer.more = acked_asked->more;
    take_debts(&acked_asked->debts);
}

static void on_due(void *arg, struct mailbox_due *due)
{
    (void)arg;
    answer.ok = due->ok;
    answer.more = due->more;
    answer.outcome = (int64_t)due->expired;
    take_debts(&due->debts);
}

static void on_recalled(void *arg, struct mailbox_recalled *recalled)
{
    (void)arg;
    answer.outcome = recalled->outcome;
    take_debts(&recalled->debts);
}

static bool answer_came(void)
{
    return answer.came;
}

static bool ack_asked(struct seq first, struct seq last, struct seq cursor)
{
    struct mailbox_range range = { first, last };

    answer.came = false;
    return mailbox_ack_asked(workers[0].mailbox, SLICE("rita"), SLICE("d"), cursor, &range, 1,
                             on_acked_asked, NULL) == OK &&
           wait_for(answer_came, WAIT_MS) && answer.ok;
}

static bool due(void)
{
    answer.came = false;
    return mailbox_due(workers[0].mailbox, on_due, NULL) == OK && wait_for(answer_came, WAIT_MS) &&
           answer.ok;
}

static bool recall(const char *address, const char *id, enum mailbox_recall_outcome outcome)
{
    answer.came = false;
    return mailbox_recall(workers[1].mailbox, slice_of(address), SLICE("ann"), slice_of(id), 0,
                          on_recalled, NULL) == OK &&
           wait_for(answer_came, WAIT_MS) && answer.outcome == (int64_t)outcome;
}

static void append_noted(const char *address, const char *id, uint8_t receipt, int64_t expires_at)
{
    struct mailbox_letter letter = { .address = slice_of(address),
                                     .from = SLICE("ann"),
                                     .id = slice_of(id),
                                     .body = SLICE("{}"),
                                     .receipt = receipt,
                                     .expires_at = expires_at };

    assert(mailbox_append(workers[0].mailbox, &letter, on_appended, &sent[sent_count]) == OK);
    sent_count++;
}

static void test_receipts(void)
{
    char id[32];

    letters_reset();
    for (unsigned i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "r%u", i);
        append_noted("rita", id, i % 10 ? 2 : 0, 0);
    }
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED) &&
              redis_do("ZCARD po:{rita}:rq") == 90,
          "who asks for a receipt is remembered");
    redis_do("SCRIPT FLUSH");
    check(ack_asked(sent[5].seq, sent[98].seq, sent[98].seq) && answer.more && answer.debts == 64,
          "what an ack owes comes in steps");
    check(strncmp(answer.texts[0], "2\nann\nrita\nr5\nreceipt-2.", 24) == 0, "in order");
    redis_do("HEXISTS po:{rita}:cur d");
    check(reply_integer == 0, "and the cursor waits for all of them");
    check(ack_asked(sent[5].seq, sent[98].seq, sent[98].seq) && !answer.more &&
              answer.debts == 21 && redis_do("HEXISTS po:{rita}:cur d") == 1 &&
              redis_do("ZCARD po:owed") == 85,
          "then it moves");
    check(ack_asked(sent[0].seq, sent[98].seq, sent[98].seq) && answer.debts == 4,
          "nobody is owed one twice");
    check(due() && answer.debts == 0, "what was just given out is not given to another");
    redis_do("DEL po:owed");
    redis_do("ZADD po:owed 1 2\nann\nrita\nr5\nreceipt-2.x\n1700000000");
    check(due() && answer.debts == 1 && answer.stored.ms == 0, "what was left lying is taken over");
    letters_reset();
    assert(mailbox_append(workers[0].mailbox,
                          &(struct mailbox_letter){ .address = SLICE("ann"),
                                                    .from = SLICE("rita"),
                                                    .id = SLICE("receipt-2.x"),
                                                    .body = SLICE("{}") },
                          on_appended, &sent[sent_count]) == OK);
    sent_count++;
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED), "and sent");
    redis_do("ZADD po:owed 1 2\nann\nrita\nr5\nreceipt-2.x\n1700000000");
    check(due() && answer.debts == 1 && seq_compare(answer.stored, sent[0].seq) == 0,
          "who was not told that it is, finds it");
    mailbox_settle(workers[0].mailbox, slice_of(answer.texts[0]));
    check(due() && answer.debts == 0 && redis_do("ZCARD po:owed") == 0, "and settles");
}

static void test_recall(void)
{
    letters_reset();
    append_noted("rex", "x1", 0, 0);
    append_noted("rex", "x2", 2, time(NULL) + 100);
    append_noted("rex", "x3", 0, 0);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED), "three letters");
    check(recall("rex", "x2", MAILBOX_RECALLED) && answer.debts == 1 &&
              strncmp(answer.texts[0], "4\nann\nrex\nx2\n", 13) == 0,
          "one is taken back; nobody was there to see it");
    check(recall("rex", "x2", MAILBOX_NOT_THERE) && recall("nobody", "x2", MAILBOX_NOT_THERE),
          "once");
    check(read_all(0, "rex") == 2 && redis_do("ZCARD po:{rex}:rq") == 0, "nothing of it stays");
    check(append_one("rex", "x2", MAILBOX_REPEATED), "but it is known, should it be sent again");
    check(open_now(0, "rex", "d") && opened.lost.ms == 0 && recall("rex", "x3", MAILBOX_RECALLED) &&
              answer.debts == 1 && strncmp(answer.texts[0], "4\nrex\nann\nx3\n", 13) == 0,
          "a device that may have it is told");
    check(append_one("rex", "x4", MAILBOX_STORED) && ack("rex", "d", sent[0].seq) &&
              recall("rex", "x4", MAILBOX_WAS_READ) && read_all(0, "rex") == 2,
          "what was acknowledged stays");
    letters_reset();
    append_many(0, "svc", 3);
    check(wait_for(all_answered, WAIT_MS) && redis_do("XGROUP CREATE po:{svc}:box po 0") == 0 &&
              redis_do("XREADGROUP GROUP po one COUNT 2 STREAMS po:{svc}:box >") == 1,
          "where sessions share a mailbox");
    char seq[SEQ_TEXT_MAX], ack_first[128];
    seq_format(seq, sent[0].seq);
    snprintf(ack_first, sizeof ack_first, "XACK po:{svc}:box po %s", seq);
    check(redis_do(ack_first) == 1 && recall("svc", "m0.0", MAILBOX_WAS_READ) &&
              recall("svc", "m0.1", MAILBOX_RECALLED) && recall("svc", "m0.2", MAILBOX_RECALLED),
          "what one of them has acknowledged stays");
    redis_do("DEL po:owed");
}

static void test_expiry(void)
{
    while (due() && answer.more)
        ;
    letters_reset();
    append_noted("eve", "e1", 2, 1);
    append_noted("eve", "e2", 0, 1);
    append_noted("eve", "e3", 2, time(NULL) + 1000);
    append_noted("odd", "e4", 2, 1);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED), "some have expired");
    redis_do("DEL po:{odd}:box");
    redis_do("SET po:{odd}:box x");
    check(due() && answer.outcome == 2 && answer.debts == 1 &&
              strncmp(answer.texts[0], "5\nann\neve\ne1\n", 13) == 0 && read_all(0, "eve") == 1,
          "they are removed, and who asked is told");
    check(due() && answer.outcome == 0 && answer.debts == 0, "once");
    redis_do("DEL po:{odd}:box po:{odd}:ids");
    redis_do("SET po:{odd}:rq x");
    letters_reset();
    append_noted("odd", "e5", 2, 0);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_UNAVAILABLE) &&
              redis_do("EXISTS po:{odd}:box") == 0,
          "an error means that nothing was stored, here too");
    redis_do("DEL po:{odd}:rq po:owed");
}

int main(void)
{
    static void (*const promises[])(void) = { test_receipts, test_recall, test_expiry, NULL };

    return live_run(promises);
}
