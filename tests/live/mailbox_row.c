/*
 * worker/mailbox: the row of commands without an answer survives the loss of the scripts, of the
 * connection and of Redis itself.
 */
#include "mailbox_fixture.h"
#include "worker/mailbox/mailbox_body.h"

static void test_script_flush(void)
{
    letters_reset();
    append_many(0, "flush", 5000);
    redis_do("SCRIPT FLUSH"); /* leaves before the row does */
    append_many(0, "flush", 5000);
    wanted = 2500;
    wait_for(some_answered, WAIT_MS);
    redis_do("SCRIPT FLUSH");
    append_many(0, "flush", 2000);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED),
          "SCRIPT FLUSH in the middle: all are stored");
    check(stored_in_order("flush"), "once each, in order");
    redis_do("INFO errorstats");
    check(strstr(reply_text, "errorstat_NOSCRIPT:"), "and some of them had met no script");
}

static void test_client_kill(void)
{
    letters_reset();
    append_many(0, "kill", 10000);
    wanted = 1000;
    wait_for(some_answered, WAIT_MS);
    redis_do("CLIENT KILL TYPE normal SKIPME yes");
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED),
          "CLIENT KILL in the middle: all are stored");
    check(stored_in_order("kill"), "once each, in order");
    check(wait_for(all_up, WAIT_MS) && workers[0].changes == 0 && workers[1].changes == 0,
          "nothing was lost, and nobody says so");
}

static void test_kill_9(void)
{
    letters_reset();
    append_many(0, "crash", 5000);
    append_many(1, "crash1", 5000);
    wanted = 3000;
    wait_for(some_answered, WAIT_MS);
    server_kill();
    check(wait_for(all_down, WAIT_MS), "kill -9: down");
    check(append_as(0, "crash", "late", "late") == ERR_DOWN, "nothing is taken then");
    server_start();
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED),
          "started again, with its file: all are stored");
    sent_count = 5000;
    check(stored_in_order("crash"), "once each, in order");
    check(wait_for(all_up, WAIT_MS) && workers[0].changes == 0, "the epoch is the same");
}

/* Puts `count` bodies, each for two mailboxes. */
static void append_shared(unsigned count)
{
    static char text[6000] = "{";
    static const char *const addresses[] = { "share1", "share2" };
    char id[32];

    memset(text + 1, 'x', sizeof text - 1);
    for (unsigned i = 0; i < count; i++) {
        struct msg *msg = msg_new(slice_make(text, sizeof text), MSG_MAIL, 0);
        struct mailbox_body *body = mailbox_body_put(workers[0].mailbox, msg, 0);
        assert(body);
        snprintf(id, sizeof id, "m0.%u", i);
        for (unsigned j = 0; j < 2; j++) {
            struct mailbox_letter letter = { .address = slice_of(addresses[j]),
                                             .from = slice_of(sender),
                                             .id = slice_of(id),
                                             .body = msg_slice(msg),
                                             .msg = msg,
                                             .shared = body,
                                             .thread = slice_of(id) };
            assert(mailbox_append(workers[0].mailbox, &letter, on_appended, &sent[sent_count]) ==
                   OK);
            sent_count++;
        }
        mailbox_body_unref(body);
        msg_unref(msg);
    }
}

/* Pages that came leave out what has no body. */
static bool all_have_bodies(unsigned count)
{
    return read_all(0, "share1") == count && read_all(0, "share2") == count;
}

static void test_shared_bodies(void)
{
    letters_reset();
    append_shared(500);
    redis_do("SCRIPT FLUSH");
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED),
          "shared bodies: scripts lost in the middle: all letters are stored");
    check(all_have_bodies(500), "each with its body");
    redis_do("FLUSHALL");
    letters_reset();
    append_shared(500);
    wanted = 300;
    wait_for(some_answered, WAIT_MS);
    redis_do("CLIENT KILL TYPE normal SKIPME yes");
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED),
          "connection lost in the middle: all letters are stored");
    check(all_have_bodies(500), "each with its body");
    letters_reset();
    append_shared(500);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_REPEATED), "sent again: repetitions");
    flush_all(NULL);
    for (unsigned i = 0; i < WAIT_MS / 50; i++) {
        redis_do("EVAL return(#redis.call('KEYS','*body:*')) 0");
        if (reply_integer == 500)
            break;
        wait_for(never, 50);
    }
    check(reply_integer == 500, "whose bodies do not stay");
    letters_reset();
    redis_do("FLUSHALL");
    append_shared(2);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED), "and new ones are stored");
    redis_do("FLUSHALL");
}

static void test_given_up(void)
{
    unsigned stored = 0, unknown = 0;

    config.mailbox.dedupe_s = 1;
    mailbox_configure(workers[0].mailbox, &config);
    append_one("never", "first", MAILBOX_STORED);
    letters_reset();
    kill(server, SIGSTOP);
    append_many(0, "never", 100);
    flush_all(NULL);
    server_kill();
    check(wait_for(all_answered, WAIT_MS), "Redis stays away: all are told in the end");
    for (unsigned i = 0; i < sent_count; i++) {
        stored += sent[i].outcome == MAILBOX_STORED;
        unknown += sent[i].outcome == MAILBOX_UNKNOWN;
    }
    check(unknown > 0 && stored + unknown == 100, "that nobody knows");
    config.mailbox.dedupe_s = 300;
    mailbox_configure(workers[0].mailbox, &config);
    server_start();
    check(wait_for(all_up, WAIT_MS), "and it heals");
}

int main(void)
{
    static void (*const promises[])(void) = { test_script_flush,  test_client_kill, test_kill_9,
                                              test_shared_bodies, test_given_up,    NULL };

    return live_run(promises);
}
