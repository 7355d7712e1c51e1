/*
 * worker/mailbox: a Redis that answers and refuses: no memory, wrong types, a read-only replica,
 * BUSY, LOADING, MASTERDOWN.
 */
#include "mailbox_fixture.h"

static void test_trouble(void)
{
    redis_do("CONFIG SET maxmemory 1");
    check(append_one("oom", "x", MAILBOX_UNAVAILABLE), "out of memory: not stored");
    redis_do("CONFIG SET maxmemory 0");
    check(redis_do("EXISTS po:{oom}:box po:{oom}:ids") == 0, "really not");
    check(append_one("oom", "x", MAILBOX_STORED), "and stored later");

    redis_do("CONFIG SET min-replicas-to-write 0");
    redis_do("SET po:{wrong}:box text");
    check(append_one("wrong", "x", MAILBOX_UNAVAILABLE), "a wrong type: not stored");
    check(read_all(0, "wrong") == 0 && !page.ok, "nor read");
    redis_do("SET po:{wrong1}:ids text");
    check(append_one("wrong1", "x", MAILBOX_UNAVAILABLE) && redis_do("EXISTS po:{wrong1}:box") == 0,
          "… of the ids");
    redis_do("SET po:{wrong2}:at text");
    check(append_one("wrong2", "x", MAILBOX_UNAVAILABLE) && redis_do("EXISTS po:{wrong2}:box") == 0,
          "… of the places");
    redis_do("SET po:{wrong3}:th text");
    letters_reset();
    append_as(0, "wrong3", "x", "y");
    append_as(0, "wrong3", "x1", "y");
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_UNAVAILABLE) &&
              redis_do("EXISTS po:{wrong3}:box") == 0,
          "… of the threads");
    redis_do("XADD po:{foreign}:box * what ever");
    append_one("foreign", "x", MAILBOX_STORED);
    check(read_all(0, "foreign") == 1, "a foreign entry is left out");

    redis_do("REPLICAOF 127.0.0.1 1");
    check(append_one("ro", "x", MAILBOX_UNAVAILABLE), "a read-only replica: not stored");
    check(read_all(0, "oom") == 1, "but read");
    redis_do("REPLICAOF NO ONE");
    check(append_one("ro", "x", MAILBOX_STORED), "and stored later");
}

/* Starts redis-cli for a command that Redis answers late. */
static pid_t redis_cli(const char *a, const char *b, const char *c)
{
    const char *words[] = { "redis-cli", "-s", socket_path, a, b, c, NULL };

    return quiet_start(words);
}

static void test_busy(void)
{
    redis_do("CONFIG SET busy-reply-threshold 50");
    pid_t cli = redis_cli("EVAL", "while true do end", "0");
    check(redis_says("PING", "BUSY"), "somebody's script does not end");
    letters_reset();
    append_many(0, "busy", 3);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_UNAVAILABLE), "BUSY: not stored");
    redis_do("SCRIPT KILL");
    check(waitpid(cli, NULL, 0) == cli && redis_do("EXISTS po:{busy}:box") == 0, "really not");
    letters_reset();
    append_many(0, "busy", 3);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED), "and stored later");
}

static void test_loading(void)
{
    redis_do("DEBUG POPULATE 2000");
    redis_do("CONFIG SET loading-process-events-interval-bytes 1024");
    redis_do("CONFIG SET key-load-delay 500");
    pid_t cli = redis_cli("DEBUG", "RELOAD", NULL);
    check(redis_says("PING", "LOADING"), "Redis loads its data");
    letters_reset();
    append_many(0, "loading", 100);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED),
          "LOADING: they wait, and are stored then");
    check(stored_in_order("loading"), "once each, in order");
    assert(waitpid(cli, NULL, 0) == cli);
    redis_do("CONFIG SET key-load-delay 0");
    check(wait_for(all_up, WAIT_MS), "and it heals");
}

static void test_master_down(void)
{
    redis_do("CONFIG SET replica-serve-stale-data no");
    redis_do("REPLICAOF 127.0.0.1 1");
    letters_reset();
    append_many(0, "stale", 10);
    check(redis_says("INFO errorstats", "errorstat_MASTERDOWN") && answered == 0,
          "MASTERDOWN: they wait");
    redis_do("REPLICAOF NO ONE");
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED) && stored_in_order("stale"),
          "and are stored when it is a master again");
    redis_do("CONFIG SET replica-serve-stale-data yes");
    wait_for(all_up, WAIT_MS);
}

int main(void)
{
    static void (*const promises[])(void) = { test_trouble, test_busy, test_loading,
                                              test_master_down, NULL };

    return live_run(promises);
}
