/*
 * worker/mailbox: a letter is stored once, behind the letters of the earlier calls; the letters of
 * a turn share a command; a mailbox holds no more than the limits say.
 */
#include "mailbox_fixture.h"

#include <malloc.h>

static void test_append(void)
{
    check(append_one("bob", "a1", MAILBOX_STORED), "a letter is stored");
    struct seq first = sent[0].seq;
    check(sent[0].before.ms == 0, "nothing was before the first");
    check(append_one("bob", "a1", MAILBOX_REPEATED) && seq_compare(sent[0].seq, first) == 0,
          "the same from and id is the same message");
    check(append_one("bob", "a2", MAILBOX_STORED) && seq_compare(sent[0].before, first) == 0,
          "before is the one before");
    check(append_one("b{o}b%\r\n\x01", "a1", MAILBOX_STORED), "any byte may be in an address");
    redis_do("EXISTS po:{b%7Bo%7Db%25%0D%0A%01}:box");
    check(reply_integer == 1, "and its key is escaped");
    redis_do("TTL po:{bob}:box");
    check(reply_integer > 2 * config.mailbox.age_s, "mailboxes nobody uses vanish, later");
}

/* All letters of a turn go as one command; an error of one letter leaves the others alone. */
static void test_one_turn(void)
{
    redis_do("SET po:{turn-wrong}:box text");
    redis_do("SET po:{turn-wrong1}:ids text");
    redis_do("CONFIG RESETSTAT");
    letters_reset();
    append_as(0, "turn", "t1", "t1");
    append_as(0, "turn-wrong", "t1", "t1");
    append_as(0, "turn", "t2", "t1");
    append_as(0, "turn", "t1", "t1");
    append_as(0, "turn-wrong1", "t1", "t1");
    append_as(0, "turn1", "t1", "elsewhere");
    append_as(0, "turn", "t3", "t3");
    check(wait_for(all_answered, WAIT_MS) && calls_of("evalsha") <= 3,
          "a turn's letters go together");
    check(sent[1].outcome == MAILBOX_UNAVAILABLE && sent[4].outcome == MAILBOX_UNAVAILABLE &&
              redis_do("EXISTS po:{turn-wrong1}:box") == 0,
          "… those that meet a wrong type are not stored");
    check(sent[0].outcome == MAILBOX_STORED && sent[2].outcome == MAILBOX_STORED &&
              sent[5].outcome == MAILBOX_STORED && sent[6].outcome == MAILBOX_STORED &&
              redis_do("XLEN po:{turn}:box") == 3,
          "… the others are");
    check(sent[3].outcome == MAILBOX_REPEATED && seq_compare(sent[3].seq, sent[0].seq) == 0,
          "… a repetition is found in the same turn");
    check(seq_compare(sent[2].before, sent[0].seq) == 0 &&
              seq_compare(sent[6].before, sent[2].seq) == 0,
          "… before is the one before");
    check(history("turn", "t1", (struct seq){ 0, 0 }, 10) == 2 &&
              history("turn1", "elsewhere", (struct seq){ 0, 0 }, 10) == 1,
          "… threads are kept");
    redis_do("CONFIG SET maxmemory 1");
    letters_reset();
    append_many(0, "turn-oom", 3);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_UNAVAILABLE) &&
              redis_do("EXISTS po:{turn-oom}:box po:{turn-oom}:ids") == 0,
          "out of memory: none of them is stored");
    redis_do("CONFIG SET maxmemory 0");
}

/* A run (letters for one mailbox, one behind the other) reads and writes :ids once. */
static void test_run(void)
{
    static char full[] = "reject", trim[] = "trim";

    open_now(1, "run", "d");
    redis_do("CONFIG RESETSTAT");
    letters_reset();
    append_as(0, "run", "r1", "r1");
    append_as(0, "run", "r2", "r1");
    append_as(0, "run", "r1", "r1");
    sender = "zoe";
    append_as(0, "run", "r1", "r1");
    append_as(0, "run", "r1", "r1");
    sender = "ann";
    append_as(0, "run", "r3", "r3");
    check(wait_for(all_answered, WAIT_MS) && calls_of("hmget") == 1, "a run is asked about once");
    check(sent[2].outcome == MAILBOX_REPEATED && seq_compare(sent[2].seq, sent[0].seq) == 0 &&
              sent[4].outcome == MAILBOX_REPEATED && seq_compare(sent[4].seq, sent[3].seq) == 0,
          "… its repetitions are found, of each sender");
    check(redis_do("XLEN po:{run}:box") == 4 && seq_compare(sent[3].before, sent[1].seq) == 0 &&
              seq_compare(sent[5].before, sent[3].seq) == 0,
          "… all else is stored, in order");
    bool everywhere = true;
    for (unsigned i = 0; i < 6; i++)
        everywhere = everywhere && sent[i].elsewhere == 1;
    check(everywhere, "… who is where is told to each of its letters");
    check(append_one("run", "r2", MAILBOX_REPEATED) && append_one("run", "r3", MAILBOX_REPEATED),
          "… and they are known later");
    config.mailbox.full = full;
    config.mailbox.messages_max = 6;
    mailbox_configure(workers[0].mailbox, &config);
    letters_reset();
    append_many(0, "run", 4);
    check(wait_for(all_answered, WAIT_MS) && sent[1].outcome == MAILBOX_STORED &&
              sent[2].outcome == MAILBOX_FULL && sent[3].outcome == MAILBOX_FULL &&
              redis_do("XLEN po:{run}:box") == 6,
          "a full mailbox refuses the rest of a run");
    config.mailbox.full = trim;
    config.mailbox.messages_max = 100000;
    mailbox_configure(workers[0].mailbox, &config);
}

static unsigned endless_left, endless_answered;
static size_t endless_bytes; /* the most that malloc had mapped */

static bool endless_append(void);

static void on_endless(void *arg, const struct mailbox_appended *appended)
{
    (void)arg;
    endless_answered += appended->outcome == MAILBOX_STORED;
    if (endless_answered % 16 == 0) {
        struct mallinfo2 now = mallinfo2();
        endless_bytes = now.hblkhd > endless_bytes ? now.hblkhd : endless_bytes;
    }
    if (endless_left > 0 && endless_append())
        endless_left--;
}

/* Appends 64 KiB; each answer appends the next. */
static bool endless_append(void)
{
    static char body[64 << 10], id[32];
    struct mailbox_letter letter = { .address = SLICE("endless"),
                                     .from = SLICE("ann"),
                                     .body = slice_make(body, sizeof body) };

    memset(body, ' ', sizeof body);
    body[0] = '{';
    body[sizeof body - 1] = '}';
    snprintf(id, sizeof id, "e%u", endless_left);
    letter.id = slice_of(id);
    return mailbox_append(workers[0].mailbox, &letter, on_endless, NULL) == OK;
}

static bool endless_is_over(void)
{
    return endless_answered == 3000;
}

/* A letter that was written to the connection takes no memory any more. */
static void test_a_connection_that_never_rests(void)
{
    config.mailbox.messages_max = 64;
    mailbox_configure(workers[0].mailbox, &config);
    endless_answered = 0;
    endless_left = 3000;
    for (unsigned i = 0; i < 128 && endless_append(); i++)
        endless_left--;
    check(wait_for(endless_is_over, WAIT_MS) && endless_bytes < 64 << 20,
          "190 MiB pass without a pause, and are not kept");
    config.mailbox.messages_max = 100000;
    mailbox_configure(workers[0].mailbox, &config);
}

static void test_retention(void)
{
    config.mailbox.messages_max = 100;
    mailbox_configure(workers[0].mailbox, &config);
    mailbox_take_counts(workers[0].mailbox);
    letters_reset();
    append_many(0, "small", 250);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED), "a full mailbox takes more");
    check(redis_do("XLEN po:{small}:box") == 100, "and keeps as many as it may");
    check(mailbox_take_counts(workers[0].mailbox).trimmed == 150, "the others are counted");
    check(open_now(0, "small", "d") && seq_compare(opened.lost, sent[149].seq) == 0,
          "and the newest that went is known");
    check(redis_do("HLEN po:{small}:ids") == 103, "their ids went with them");
    static char full[] = "reject", trim[] = "trim";
    config.mailbox.full = full;
    mailbox_configure(workers[0].mailbox, &config);
    check(append_one("small", "more", MAILBOX_FULL), "or refuses");
    config.mailbox.full = trim;
    config.mailbox.messages_max = 100000;
    config.mailbox.age_s = 60;
    mailbox_configure(workers[0].mailbox, &config);
    for (unsigned i = 1; i <= 50; i++) {
        char words[100];
        snprintf(words, sizeof words, "XADD po:{old}:box %u-0 f ann i o%u b {}", i, i);
        redis_do(words);
    }
    check(append_one("old", "new", MAILBOX_STORED) && sent[0].before.ms == 50,
          "before is right even without ids");
    check(open_now(0, "old", "d") && redis_do("XLEN po:{old}:box") == 1 && opened.lost.ms == 50,
          "what is too old goes when somebody comes");
    config.mailbox.age_s = 2592000;
    mailbox_configure(workers[0].mailbox, &config);
}

static void test_two_workers(void)
{
    letters_reset();
    for (unsigned i = 0; i < 50; i++) {
        append_many(0, "pair", 100);
        append_many(1, "pair", 100);
        wanted = sent_count - 150;
        wait_for(some_answered, WAIT_MS);
    }
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED), "two workers, one mailbox");
    unsigned chained = 0;
    check(read_all(1, "pair") == sent_count, "all are there");
    for (unsigned i = 0; i < sent_count; i++) {
        unsigned low = 0, high = seen_count - 1;
        while (low < high) {
            unsigned middle = (low + high) / 2;
            if (seq_compare(seen[middle], sent[i].seq) < 0)
                low = middle + 1;
            else
                high = middle;
        }
        struct seq before = low ? seen[low - 1] : (struct seq){ 0, 0 };
        chained += seq_compare(before, sent[i].before) == 0;
    }
    check(chained == sent_count, "before is the one before, whoever stored it");
}

int main(void)
{
    static void (*const promises[])(
        void) = { test_append,    test_one_turn,    test_run, test_a_connection_that_never_rests,
                  test_retention, test_two_workers, NULL };

    return live_run(promises);
}
