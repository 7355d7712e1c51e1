/*
 * worker/mailbox against a real redis-server that this program starts, kills and starts again.
 *
 * Not part of `make check`, which needs no Redis; tests/e2e/test_mailbox_module.py runs it. By
 * hand: make build/gcc/tests/unit/mailbox_live && build/gcc/tests/unit/mailbox_live
 *     build/gcc/tests/unit/mailbox_live bench SOCKET     appends a second, against a running Redis
 */
#include "common/clock.h"
#include "common/log.h"
#include "worker/mailbox/mailbox_receipts.h"
#include "worker/mailbox/mailbox_append.h"
#include "worker/mailbox/mailbox_enter.h"
#include "worker/mailbox/mailbox_places.h"
#include "worker/mailbox/mailbox_read.h"

#include <arpa/inet.h>
#include <assert.h>
#include <malloc.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 2, LETTERS_MAX = 40000 };

static struct loop *loop;
static struct config config;
static char folder[64], socket_path[128];
static pid_t server;
static int failures;

/* --- the server --- */

static void server_start(bool aof)
{
    server = fork();
    if (server == 0) {
        FILE *quiet = fopen("/dev/null", "w");
        dup2(fileno(quiet), 1);
        dup2(fileno(quiet), 2);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket_path, "--save",
               "", "--appendonly", aof ? "yes" : "no", "--appendfsync", "always", "--dir", folder,
               "--enable-debug-command", "local", (char *)NULL);
        _exit(127);
    }
}

static void server_kill(void)
{
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

/* --- workers --- */

static struct worker {
    struct redis *redis;
    struct mailbox *mailbox;
    unsigned ups, downs, changes;
    char epoch[32];
} workers[WORKERS];

static void on_redis_up(void *arg)
{
    struct worker *worker = arg;

    if (worker->mailbox)
        mailbox_redis_up(worker->mailbox);
}

static void on_redis_down(void *arg)
{
    struct worker *worker = arg;

    if (worker->mailbox)
        mailbox_redis_down(worker->mailbox);
}

static void on_up(void *arg, struct slice epoch, bool changed)
{
    struct worker *worker = arg;

    worker->ups++;
    worker->changes += changed;
    snprintf(worker->epoch, sizeof worker->epoch, "%.*s", (int)epoch.len, epoch.data);
}

static void on_down(void *arg)
{
    ((struct worker *)arg)->downs++;
}

static void worker_mailbox(struct worker *worker, unsigned number)
{
    struct mailbox_events events = { on_up, on_down, worker };
    char place[32];

    snprintf(place, sizeof place, "host:%u:%u", number, 100 + number);
    worker->mailbox = mailbox_new(worker->redis, &config, slice_of(place), &events);
    assert(worker->mailbox);
    if (redis_is_up(worker->redis))
        mailbox_redis_up(worker->mailbox);
}

static void worker_start(struct worker *worker, unsigned number)
{
    struct redis_events events = { on_redis_up, on_redis_down, worker };

    *worker = (struct worker){ .redis = redis_new(loop, &config, "mailbox", &events) };
    worker_mailbox(worker, number);
}

/* --- waiting --- */

static struct loop_timer ticker;
static bool (*awaited)(void);
static uint64_t deadline_ms, tick_ms;
static bool came;

static void on_ticker(void *arg)
{
    uint64_t now_ms = clock_monotonic_ms();

    (void)arg;
    if (now_ms >= tick_ms) {
        tick_ms = now_ms + 200; /* a second, in the server */
        for (unsigned i = 0; i < WORKERS; i++)
            if (workers[i].mailbox)
                mailbox_tick(workers[i].mailbox);
    }
    came = awaited();
    if (came || now_ms > deadline_ms)
        loop_stop(loop);
    else
        loop_timer_set(&ticker, 1);
}

static bool wait_for(bool (*what)(void), unsigned ms)
{
    awaited = what;
    deadline_ms = clock_monotonic_ms() + ms;
    loop_timer_set(&ticker, 0);
    loop_run(loop);
    return came;
}

static void check(bool good, const char *promise)
{
    printf("%s  %s\n", good ? "ok    " : "FAILED", promise);
    failures += !good;
}

static bool all_up(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        if (workers[i].mailbox && !mailbox_is_up(workers[i].mailbox))
            return false;
    return true;
}

static bool all_down(void)
{
    return !mailbox_is_up(workers[0].mailbox) && !mailbox_is_up(workers[1].mailbox);
}

/* --- a connection of the test's own, one answer at a time --- */

static struct redis *admin;

static void hook(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < WORKERS; i++) {
        if (workers[i].mailbox)
            mailbox_flush(workers[i].mailbox);
        if (workers[i].redis)
            redis_flush(workers[i].redis);
    }
    if (admin)
        redis_flush(admin);
}

static char reply_text[65536];
static int64_t reply_integer;
static bool replied;

static void on_reply(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    struct slice text = reply->type == REDIS_ARRAY ? redis_reply_at(reply, 1).text : reply->text;
    size_t len = text.len < sizeof reply_text - 1 ? text.len : sizeof reply_text - 1;
    if (len)
        memcpy(reply_text, text.data, len);
    reply_text[len] = 0;
    reply_integer = reply->type == REDIS_ARRAY ? (int64_t)reply->count : reply->integer;
    replied = true;
}

static bool has_replied(void)
{
    return replied;
}

static bool admin_up(void)
{
    return redis_is_up(admin);
}

/* A command in words with single spaces. */
static int64_t redis_do(const char *words)
{
    struct slice args[16];
    size_t count = 0;

    if (!wait_for(admin_up, 10000))
        return -1;
    for (const char *at = words; *at;) {
        size_t len = strcspn(at, " ");
        args[count++] = slice_make(at, len);
        at += len + (at[len] == ' ');
    }
    replied = false;
    if (redis_command(admin, args, count, on_reply, NULL))
        return -1;
    redis_flush(admin);
    assert(wait_for(has_replied, 5000));
    return reply_integer;
}

/* --- letters --- */

static struct sent {
    unsigned answers;
    enum mailbox_outcome outcome;
    struct seq seq, before;
    size_t elsewhere;
} sent[LETTERS_MAX];
static unsigned sent_count, answered, wanted;

static void on_appended(void *arg, const struct mailbox_appended *appended)
{
    struct sent *letter = arg;

    letter->answers++;
    letter->outcome = appended->outcome;
    letter->seq = appended->seq;
    letter->before = appended->before;
    letter->elsewhere = appended->elsewhere_count;
    for (size_t i = 0; i < appended->elsewhere_count; i++)
        assert(slice_starts(appended->elsewhere[i], SLICE("host:")));
    answered++;
}

static void letters_reset(void)
{
    memset(sent, 0, sizeof sent);
    sent_count = answered = 0;
}

static const char *sender = "ann";

static enum err append_as(unsigned worker, const char *address, const char *id, const char *thread)
{
    struct mailbox_letter letter = { .address = slice_of(address),
                                     .from = slice_of(sender),
                                     .id = slice_of(id),
                                     .body = SLICE("{\"content\":\"aGVsbG8=\"}"),
                                     .thread = slice_of(thread) };
    enum err err = mailbox_append(workers[worker].mailbox, &letter, on_appended, &sent[sent_count]);

    sent_count += err == OK;
    return err;
}

static void append_many(unsigned worker, const char *address, unsigned count)
{
    char id[32];

    for (unsigned i = 0; i < count; i++) {
        snprintf(id, sizeof id, "m%u.%u", worker, sent_count);
        assert(append_as(worker, address, id, id) == OK);
    }
}

static bool all_answered(void)
{
    return answered >= sent_count;
}

static bool some_answered(void)
{
    return answered >= wanted;
}

static bool all_are(enum mailbox_outcome outcome)
{
    for (unsigned i = 0; i < sent_count; i++)
        if (sent[i].answers != 1 || sent[i].outcome != outcome) {
            printf("       letter %u: %u answers, outcome %d\n", i, sent[i].answers,
                   (int)sent[i].outcome);
            return false;
        }
    return true;
}

static bool append_one(const char *address, const char *id, enum mailbox_outcome outcome)
{
    letters_reset();
    return append_as(0, address, id, id) == OK && wait_for(all_answered, 5000) && all_are(outcome);
}

/* --- pages --- */

static struct {
    bool came, ok, end;
    unsigned count;
    struct seq last;
} page;
static struct seq *seen; /* of the whole mailbox, in order */
static char (*seen_ids)[32];
static unsigned seen_count;

static void on_page(void *arg, const struct mailbox_page *got)
{
    (void)arg;
    page.came = true;
    page.ok = got->ok;
    page.end = got->end;
    page.count = (unsigned)got->count;
    page.last = got->last;
    for (size_t i = 0; i < got->count && seen_count < LETTERS_MAX; i++) {
        const struct mailbox_entry *entry = &got->entries[i];
        assert(slice_starts(entry->body, SLICE("{")));
        snprintf(seen_ids[seen_count], sizeof seen_ids[0], "%.*s", (int)entry->id.len,
                 entry->id.data);
        seen[seen_count++] = entry->seq;
    }
}

static bool page_came(void)
{
    return page.came;
}

static unsigned read_all(unsigned worker, const char *address, unsigned size)
{
    struct seq after = { 0, 0 };

    seen_count = 0;
    do {
        page.came = false;
        if (mailbox_read(workers[worker].mailbox, slice_of(address), after, size, on_page, NULL))
            return 0;
        if (!wait_for(page_came, 5000) || !page.ok)
            return 0;
        after = page.last;
    } while (!page.end);
    return seen_count;
}

static unsigned history(const char *address, const char *thread, struct seq before, unsigned count)
{
    seen_count = 0;
    page.came = false;
    if (mailbox_history(workers[0].mailbox, slice_of(address), slice_of(thread), before, count,
                        on_page, NULL))
        return 0;
    return wait_for(page_came, 5000) && page.ok ? seen_count : 0;
}

/* The mailbox holds the letters that were stored, in the order of sending, each once. */
static bool stored_in_order(const char *address)
{
    unsigned at = 0;

    if (read_all(0, address, 500) == 0)
        return false;
    for (unsigned i = 0; i < sent_count; i++)
        if (sent[i].outcome == MAILBOX_STORED &&
            (at >= seen_count || seq_compare(seen[at++], sent[i].seq) != 0)) {
            printf("       letter %u is not at place %u of %u\n", i, at, seen_count);
            return false;
        }
    return at == seen_count;
}

/* --- the promises --- */

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

static uint64_t calls_of(const char *command);
static bool open_now(unsigned worker, const char *address, const char *device);

/* All letters of a turn go as one command, and none has to answer for another. */
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
    check(wait_for(all_answered, 5000) && calls_of("evalsha") <= 3, "a turn's letters go together");
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
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_UNAVAILABLE) &&
              redis_do("EXISTS po:{turn-oom}:box po:{turn-oom}:ids") == 0,
          "out of memory: none of them is stored");
    redis_do("CONFIG SET maxmemory 0");
}

/* Letters for one mailbox that stand one behind the other are asked and noted about together. */
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
    check(wait_for(all_answered, 5000) && calls_of("hmget") == 1, "a run is asked about once");
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
    check(wait_for(all_answered, 5000) && sent[1].outcome == MAILBOX_STORED &&
              sent[2].outcome == MAILBOX_FULL && sent[3].outcome == MAILBOX_FULL &&
              redis_do("XLEN po:{run}:box") == 6,
          "a full mailbox refuses the rest of a run");
    config.mailbox.full = trim;
    config.mailbox.messages_max = 100000;
    mailbox_configure(workers[0].mailbox, &config);
}

static unsigned endless_left, endless_answered;
static size_t endless_bytes; /* mapped at most, as the C library knows */

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

/* 64 KiB, of which there are always many on their way. */
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

/* What has left takes no memory any more. */
static void test_a_connection_that_never_rests(void)
{
    config.mailbox.messages_max = 64;
    mailbox_configure(workers[0].mailbox, &config);
    endless_answered = 0;
    endless_left = 3000;
    for (unsigned i = 0; i < 128 && endless_append(); i++)
        endless_left--;
    check(wait_for(endless_is_over, 60000) && endless_bytes < 64 << 20,
          "190 MiB pass without a pause, and are not kept");
    config.mailbox.messages_max = 100000;
    mailbox_configure(workers[0].mailbox, &config);
}

static void test_script_flush(void)
{
    letters_reset();
    append_many(0, "flush", 5000);
    redis_do("SCRIPT FLUSH"); /* sent first: nothing of the row has left yet, or all of it */
    append_many(0, "flush", 5000);
    wanted = 2500;
    wait_for(some_answered, 5000);
    redis_do("SCRIPT FLUSH");
    append_many(0, "flush", 2000);
    check(wait_for(all_answered, 20000) && all_are(MAILBOX_STORED),
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
    wait_for(some_answered, 5000);
    redis_do("CLIENT KILL TYPE normal SKIPME yes");
    check(wait_for(all_answered, 20000) && all_are(MAILBOX_STORED),
          "CLIENT KILL in the middle: all are stored");
    check(stored_in_order("kill"), "once each, in order");
    check(wait_for(all_up, 5000) && workers[0].changes == 0 && workers[1].changes == 0,
          "nothing was lost, and nobody says so");
}

static void test_kill_9(void)
{
    letters_reset();
    append_many(0, "crash", 5000);
    append_many(1, "crash1", 5000);
    wanted = 3000;
    wait_for(some_answered, 5000);
    server_kill();
    check(wait_for(all_down, 5000), "kill -9: down");
    check(append_as(0, "crash", "late", "late") == ERR_DOWN, "nothing is taken then");
    server_start(true);
    check(wait_for(all_answered, 20000) && all_are(MAILBOX_STORED),
          "started again, with its file: all are stored");
    sent_count = 5000;
    check(stored_in_order("crash"), "once each, in order");
    check(wait_for(all_up, 5000) && workers[0].changes == 0, "the epoch is the same");
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
    hook(NULL);
    server_kill();
    check(wait_for(all_answered, 5000), "Redis stays away: all are told in the end");
    for (unsigned i = 0; i < sent_count; i++) {
        stored += sent[i].outcome == MAILBOX_STORED;
        unknown += sent[i].outcome == MAILBOX_UNKNOWN;
    }
    check(unknown > 0 && stored + unknown == 100, "that nobody knows");
    config.mailbox.dedupe_s = 300;
    mailbox_configure(workers[0].mailbox, &config);
    server_start(true);
    check(wait_for(all_up, 10000), "and it heals");
}

static bool both_changed(void)
{
    return workers[0].changes && workers[1].changes;
}

static void test_flushall(void)
{
    redis_do("FLUSHALL");
    check(wait_for(both_changed, 5000), "FLUSHALL: everybody is told");
    check(strcmp(workers[0].epoch, workers[1].epoch) == 0, "the same new epoch");
    letters_reset();
    check(wait_for(all_up, 100) && workers[0].changes == 1 && workers[1].changes == 1, "once");
}

static void remove_tree(const char *path)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        execlp("rm", "rm", "-rf", path, (char *)NULL);
        _exit(127);
    }
    assert(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void test_came_back_empty(void)
{
    char path[160];

    workers[0].changes = workers[1].changes = 0;
    append_one("gone", "x", MAILBOX_STORED);
    server_kill();
    wait_for(all_down, 5000);
    snprintf(path, sizeof path, "%s/appendonlydir", folder);
    remove_tree(path);
    server_start(true);
    check(wait_for(both_changed, 10000) && wait_for(all_up, 5000), "it came back empty: told");
    check(strcmp(workers[0].epoch, workers[1].epoch) == 0, "the same new epoch");
}

static void test_tail_lost(void)
{
    workers[0].changes = workers[1].changes = 0;
    append_one("tail", "x1", MAILBOX_STORED);
    append_one("tail", "x2", MAILBOX_STORED);
    redis_do("DEL po:{tail}:box");
    redis_do("CLIENT KILL TYPE normal SKIPME yes");
    check(wait_for(both_changed, 10000) && wait_for(all_up, 5000),
          "only the newest append is gone: told after a reconnect");
}

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
    check(read_all(0, "wrong", 10) == 0 && !page.ok, "nor read");
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
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_UNAVAILABLE) &&
              redis_do("EXISTS po:{wrong3}:box") == 0,
          "… of the threads");
    redis_do("XADD po:{foreign}:box * what ever");
    append_one("foreign", "x", MAILBOX_STORED);
    check(read_all(0, "foreign", 1) == 1, "a foreign entry is left out");

    redis_do("REPLICAOF 127.0.0.1 1");
    check(append_one("ro", "x", MAILBOX_UNAVAILABLE), "a read-only replica: not stored");
    check(read_all(0, "oom", 10) == 1, "but read");
    redis_do("REPLICAOF NO ONE");
    check(append_one("ro", "x", MAILBOX_STORED), "and stored later");
}

/* redis-cli beside us, for what does not answer soon. */
static pid_t redis_cli(const char *path, const char *a, const char *b, const char *c)
{
    pid_t pid = fork();

    if (pid == 0) {
        FILE *quiet = fopen("/dev/null", "w");
        dup2(fileno(quiet), 1);
        dup2(fileno(quiet), 2);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-cli", "redis-cli", "-s", path, a, b, c, (char *)NULL);
        _exit(127);
    }
    assert(pid > 0);
    return pid;
}

static bool never(void)
{
    return false;
}

/* Asks until the answer has this in it; for a state of Redis that no event tells. */
static bool redis_says(const char *words, const char *what)
{
    for (unsigned tries = 0; tries < 1000; tries++) {
        redis_do(words);
        if (strstr(reply_text, what))
            return true;
        wait_for(never, 10);
    }
    return false;
}

static void test_busy(void)
{
    redis_do("CONFIG SET busy-reply-threshold 50");
    pid_t cli = redis_cli(socket_path, "EVAL", "while true do end", "0");
    check(redis_says("PING", "BUSY"), "somebody's script does not end");
    letters_reset();
    append_many(0, "busy", 3);
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_UNAVAILABLE), "BUSY: not stored");
    redis_do("SCRIPT KILL");
    check(waitpid(cli, NULL, 0) == cli && redis_do("EXISTS po:{busy}:box") == 0, "really not");
    letters_reset();
    append_many(0, "busy", 3);
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_STORED), "and stored later");
}

static void test_loading(void)
{
    redis_do("DEBUG POPULATE 2000");
    redis_do("CONFIG SET loading-process-events-interval-bytes 1024");
    redis_do("CONFIG SET key-load-delay 500");
    pid_t cli = redis_cli(socket_path, "DEBUG", "RELOAD", NULL);
    check(redis_says("PING", "LOADING"), "Redis loads its data");
    letters_reset();
    append_many(0, "loading", 100);
    check(wait_for(all_answered, 20000) && all_are(MAILBOX_STORED),
          "LOADING: they wait, and are stored then");
    check(stored_in_order("loading"), "once each, in order");
    assert(waitpid(cli, NULL, 0) == cli);
    redis_do("CONFIG SET key-load-delay 0");
    check(wait_for(all_up, 5000), "and it heals");
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
    check(wait_for(all_answered, 20000) && all_are(MAILBOX_STORED) && stored_in_order("stale"),
          "and are stored when it is a master again");
    redis_do("CONFIG SET replica-serve-stale-data yes");
    wait_for(all_up, 5000);
}

static struct mailbox_opened opened;
static bool opened_came, acked;

static void on_opened(void *arg, const struct mailbox_opened *got)
{
    (void)arg;
    opened = *got;
    opened_came = true;
}

static bool open_came(void)
{
    return opened_came;
}

static bool open_now(unsigned worker, const char *address, const char *device)
{
    const struct mailbox_entrant entrant = { .device = slice_of(device) };

    opened_came = false;
    return mailbox_enter(workers[worker].mailbox, slice_of(address), &entrant, on_opened, NULL) ==
               OK &&
           wait_for(open_came, 5000) && opened.ok;
}

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
           wait_for(ack_came, 5000);
}

static void test_open_and_ack(void)
{
    check(open_now(0, "carl", "phone") && !opened.known_device && opened.last.ms == 0 &&
              opened.device_count == 1 && opened.cursor_epoch_ok,
          "a new device of an empty mailbox");
    check(open_now(1, "carl", "") && opened.device_count == 2, "a device without a name");
    letters_reset();
    append_many(0, "carl", 10);
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_STORED) && sent[3].elsewhere == 1,
          "an append names the other worker's place");
    check(ack("carl", "phone", sent[5].seq) && ack("carl", "phone", sent[2].seq) &&
              open_now(0, "carl", "phone") && opened.known_device &&
              seq_compare(opened.cursor, sent[5].seq) == 0 && opened.cursor_epoch_ok,
          "a cursor never goes back");
    check(seq_compare(opened.first, sent[0].seq) == 0 && seq_compare(opened.last, sent[9].seq) == 0,
          "first and last");
    mailbox_leave(workers[1].mailbox, SLICE("carl"));
    check(open_now(1, "dora", "x") && append_one("carl", "z", MAILBOX_STORED) &&
              sent[0].elsewhere == 0,
          "who left is not named");
    redis_do("HSET po:{carl}:at host:9:9 1");
    check(append_one("carl", "z2", MAILBOX_STORED) && sent[0].elsewhere == 1, "a stale place …");
    mailbox_forget_place(workers[0].mailbox, SLICE("carl"), SLICE("host:9:9"));
    check(append_one("carl", "z3", MAILBOX_STORED) && sent[0].elsewhere == 0, "… is forgotten");
}

/* --- who is where --- */

static struct at_session first_other;
static char first_live[64];
static size_t live_count;
static uint64_t losses;
static bool leased_came, left_came;

static void on_entered(void *arg, const struct mailbox_opened *got)
{
    on_opened(arg, got);
    first_other = got->other_count ? got->others[0] : (struct at_session){ .number = 0 };
}

static bool enter(unsigned worker, struct mailbox_entrant entrant)
{
    opened_came = false;
    return mailbox_enter(workers[worker].mailbox, SLICE("emil"), &entrant, on_entered, NULL) ==
               OK &&
           wait_for(open_came, 5000) && opened.ok;
}

static bool left(void)
{
    return left_came;
}

static void on_left(void *arg, bool ok)
{
    (void)arg;
    left_came = ok;
}

static void on_leased(void *arg, const struct mailbox_lease_answer *answer)
{
    (void)arg;
    live_count = answer->ok ? answer->count : 99;
    losses = answer->losses;
    if (answer->count)
        snprintf(first_live, sizeof first_live, "%.*s", (int)answer->places[0].len,
                 answer->places[0].data);
    leased_came = true;
}

static bool lease_came(void)
{
    return leased_came;
}

static size_t lease(unsigned worker, bool lost)
{
    leased_came = false;
    if (mailbox_lease(workers[worker].mailbox, 300, SLICE("hello"), lost, on_leased, NULL) ||
        !wait_for(lease_came, 5000))
        return 98;
    return live_count;
}

static void test_order_of_sessions(void)
{
    uint64_t first;

    check(enter(0, (struct mailbox_entrant){ .device = SLICE("a"), .number = 1 }) &&
              opened.other_count == 0,
          "the first session of an address");
    first = opened.opened_us;
    check(enter(1, (struct mailbox_entrant){ .device = SLICE("b"), .number = 2 }) &&
              opened.other_count == 1 && first_other.number == 1 && first_other.opened_us == first,
          "the next one sees it …");
    check(opened.opened_us > first, "… and is newer");
    check(
        enter(0,
              (struct mailbox_entrant){ .device = SLICE("a"), .number = 1, .opened_us = first }) &&
            opened.opened_us == first && opened.other_count == 1 && first_other.number == 2,
        "entered again, it is as old as before");
    check(enter(0,
                (struct mailbox_entrant){
                    .device = SLICE("c"), .number = 3, .late = true, .age_us = 3600000000 }) &&
              opened.opened_us < first && opened.other_count == 2,
          "one that began without Redis an hour ago is older");
    check(append_one("emil", "m1", MAILBOX_STORED) && sent[0].elsewhere == 3,
          "an append names them");
    check(mailbox_leave_session(workers[0].mailbox, SLICE("emil"), 3, on_left, NULL) == OK &&
              wait_for(left, 5000) && redis_do("HLEN po:{emil}:at") == 2,
          "who leaves is named no more, the others are");
}

static void test_forget(void)
{
    struct redis_events none = { NULL, NULL, NULL };
    struct redis *listener = redis_new(loop, &config, "listener", &none);

    redis_subscribe(listener, SLICE("po:w:host:1:101"), NULL, NULL);
    while (!redis_is_up(listener)) { /* until it listens */
        redis_flush(listener);
        redis_do("PING");
    }
    mailbox_forget_place(workers[0].mailbox, SLICE("emil"), SLICE("host:1:101"));
    check(append_one("emil", "m2", MAILBOX_STORED) && sent[0].elsewhere == 2,
          "a place where somebody listens is not forgotten");
    redis_free(listener);
    while (redis_do("PUBLISH po:w:host:1:101 x") != 0)
        ; /* until Redis has seen the end of it */
    mailbox_forget_place(workers[0].mailbox, SLICE("emil"), SLICE("host:1:101"));
    check(append_one("emil", "m3", MAILBOX_STORED) && sent[0].elsewhere == 1 &&
              redis_do("HEXISTS po:{emil}:at host:0:100/1") == 1,
          "a silent one is, with all its sessions, and no other");
}

static void test_leases(void)
{
    check(lease(0, false) == 1 && lease(1, false) == 2 && lease(0, false) == 2,
          "workers that live know of each other");
    check(losses == 0 && lease(0, true) == 2 && losses == 1 && lease(1, false) == 2 && losses == 1,
          "that doorbells were lost is counted for all");
    check(redis_do("ZADD po:places 1 host:7:7") == 1 && lease(0, false) == 2 && losses == 2,
          "a lease that has ended is gone, and counts too");
    mailbox_end_lease(workers[0].mailbox, SLICE("host:1:101"));
    check(lease(0, false) == 1 && strcmp(first_live, "host:0:100") == 0 && losses == 2,
          "one that was given back is gone without that");
}

static void test_places(void)
{
    test_order_of_sessions();
    test_forget();
    test_leases();
}

static void test_retention(void)
{
    config.mailbox.messages_max = 100;
    mailbox_configure(workers[0].mailbox, &config);
    mailbox_take_counts(workers[0].mailbox);
    letters_reset();
    append_many(0, "small", 250);
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_STORED), "a full mailbox takes more");
    check(redis_do("XLEN po:{small}:box") == 100, "and keeps as many as it may");
    check(mailbox_take_counts(workers[0].mailbox).trimmed == 150, "the others are counted");
    check(open_now(0, "small", "d") && seq_compare(opened.lost, sent[149].seq) == 0 &&
              seq_compare(opened.first, sent[150].seq) == 0,
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
    check(open_now(0, "old", "d") && seq_compare(opened.first, sent[0].seq) == 0 &&
              opened.lost.ms == 50,
          "what is too old goes when somebody comes");
    config.mailbox.age_s = 2592000;
    mailbox_configure(workers[0].mailbox, &config);
}

static uint64_t calls_of(const char *command)
{
    char what[64];
    const char *at;

    redis_do("INFO commandstats");
    snprintf(what, sizeof what, "cmdstat_%s:calls=", command);
    at = strstr(reply_text, what);
    return at ? strtoull(at + strlen(what), NULL, 10) : 0;
}

static void test_history(void)
{
    char id[32];

    letters_reset();
    append_as(0, "talk", "root", "root");
    for (unsigned i = 1; i < 10000; i++) {
        snprintf(id, sizeof id, "t%u", i);
        append_as(0, "talk", id, i % 200 == 100 && i < 9900 ? "root" : id);
    }
    check(wait_for(all_answered, 20000) && all_are(MAILBOX_STORED), "ten thousand, 50 of a thread");
    redis_do("CONFIG RESETSTAT");
    check(history("talk", "root", (struct seq){ 0, 0 }, 200) == 50 &&
              strcmp(seen_ids[49], "root") == 0 && strcmp(seen_ids[0], "t9700") == 0 && page.end,
          "the thread, newest first, its first message last");
    uint64_t reads = calls_of("xrange");
    check(reads == 50 && calls_of("xrevrange") == 0, "and no more than the thread was read");
    struct seq tenth;
    check(history("talk", "root", (struct seq){ 0, 0 }, 10) == 10 && !page.end, "by pages");
    tenth = seen[9];
    check(history("talk", "root", tenth, 40) == 40 && strcmp(seen_ids[39], "root") == 0,
          "the second page goes on");
    check(history("talk", "nothing", tenth, 40) == 0 && page.ok, "a thread that is not there");
    check(history("talk", NULL, sent[100].seq, 20) == 20 &&
              seq_compare(seen[0], sent[99].seq) == 0 && seq_compare(seen[19], sent[80].seq) == 0,
          "by time");
    check(read_all(0, "talk", 333) == 10000 && stored_in_order("talk"), "pages, in order");
}

static void test_two_workers(void)
{
    letters_reset();
    for (unsigned i = 0; i < 50; i++) {
        append_many(0, "pair", 100);
        append_many(1, "pair", 100);
        wanted = sent_count - 150;
        wait_for(some_answered, 5000);
    }
    check(wait_for(all_answered, 20000) && all_are(MAILBOX_STORED), "two workers, one mailbox");
    unsigned chained = 0;
    check(read_all(1, "pair", 1000) == sent_count, "all are there");
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

/* --- receipts, recall, expiry --- */

static struct {
    bool came, ok, more;
    int64_t outcome;
    unsigned debts;
    char texts[256][300];
    struct seq stored;
} told;

static void take_debts(struct mailbox_debts *debts)
{
    struct mailbox_owed owed;

    for (told.debts = 0; mailbox_debts_next(debts, &owed) && told.debts < 256; told.debts++) {
        snprintf(told.texts[told.debts], sizeof told.texts[0], "%.*s", (int)owed.text.len,
                 owed.text.data);
        told.stored = owed.stored;
    }
    told.came = true;
}

static void on_acked_asked(void *arg, struct mailbox_acked *acked_asked)
{
    (void)arg;
    told.ok = acked_asked->ok;
    told.more = acked_asked->more;
    take_debts(&acked_asked->debts);
}

static void on_due(void *arg, struct mailbox_due *due)
{
    (void)arg;
    told.ok = due->ok;
    told.more = due->more;
    told.outcome = (int64_t)due->expired;
    take_debts(&due->debts);
}

static void on_recalled(void *arg, struct mailbox_recalled *recalled)
{
    (void)arg;
    told.outcome = recalled->outcome;
    take_debts(&recalled->debts);
}

static bool has_been_told(void)
{
    return told.came;
}

static bool ack_asked(struct seq first, struct seq last, struct seq cursor)
{
    struct mailbox_range range = { first, last };

    told.came = false;
    return mailbox_ack_asked(workers[0].mailbox, SLICE("rita"), SLICE("d"), cursor, &range, 1,
                             on_acked_asked, NULL) == OK &&
           wait_for(has_been_told, 5000) && told.ok;
}

static bool due(void)
{
    told.came = false;
    return mailbox_due(workers[0].mailbox, on_due, NULL) == OK && wait_for(has_been_told, 5000) &&
           told.ok;
}

static bool recall(const char *address, const char *id, enum mailbox_recall_outcome outcome)
{
    told.came = false;
    return mailbox_recall(workers[1].mailbox, slice_of(address), SLICE("ann"), slice_of(id),
                          on_recalled, NULL) == OK &&
           wait_for(has_been_told, 5000) && told.outcome == (int64_t)outcome;
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
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_STORED) &&
              redis_do("ZCARD po:{rita}:rq") == 90,
          "who asks for a receipt is remembered");
    redis_do("SCRIPT FLUSH");
    check(ack_asked(sent[5].seq, sent[98].seq, sent[98].seq) && told.more && told.debts == 64,
          "what an ack owes comes in steps");
    check(strncmp(told.texts[0], "2\nann\nrita\nr5\nreceipt-2.", 24) == 0, "in order");
    redis_do("HEXISTS po:{rita}:cur d");
    check(reply_integer == 0, "and the cursor waits for all of them");
    check(ack_asked(sent[5].seq, sent[98].seq, sent[98].seq) && !told.more && told.debts == 21 &&
              redis_do("HEXISTS po:{rita}:cur d") == 1 && redis_do("ZCARD po:owed") == 85,
          "then it moves");
    check(ack_asked(sent[0].seq, sent[98].seq, sent[98].seq) && told.debts == 4,
          "nobody is owed one twice");
    check(due() && told.debts == 0, "what was just given out is not given to another");
    redis_do("DEL po:owed");
    redis_do("ZADD po:owed 1 2\nann\nrita\nr5\nreceipt-2.x\n1700000000");
    check(due() && told.debts == 1 && told.stored.ms == 0, "what was left lying is taken over");
    letters_reset();
    assert(mailbox_append(workers[0].mailbox,
                          &(struct mailbox_letter){ .address = SLICE("ann"),
                                                    .from = SLICE("rita"),
                                                    .id = SLICE("receipt-2.x"),
                                                    .body = SLICE("{}") },
                          on_appended, &sent[sent_count]) == OK);
    sent_count++;
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_STORED), "and sent");
    redis_do("ZADD po:owed 1 2\nann\nrita\nr5\nreceipt-2.x\n1700000000");
    check(due() && told.debts == 1 && seq_compare(told.stored, sent[0].seq) == 0,
          "who was not told that it is, finds it");
    mailbox_settle(workers[0].mailbox, slice_of(told.texts[0]));
    check(due() && told.debts == 0 && redis_do("ZCARD po:owed") == 0, "and settles");
}

static void test_recall(void)
{
    letters_reset();
    append_noted("rex", "x1", 0, 0);
    append_noted("rex", "x2", 2, time(NULL) + 100);
    append_noted("rex", "x3", 0, 0);
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_STORED), "three letters");
    check(recall("rex", "x2", MAILBOX_RECALLED) && told.debts == 1 &&
              strncmp(told.texts[0], "4\nann\nrex\nx2\n", 13) == 0,
          "one is taken back; nobody was there to see it");
    check(recall("rex", "x2", MAILBOX_NOT_THERE) && recall("nobody", "x2", MAILBOX_NOT_THERE),
          "once");
    check(read_all(0, "rex", 10) == 2 && redis_do("ZCARD po:{rex}:rq") == 0, "nothing of it stays");
    check(append_one("rex", "x2", MAILBOX_REPEATED), "but it is known, should it be sent again");
    check(open_now(0, "rex", "d") && opened.lost.ms == 0 && recall("rex", "x3", MAILBOX_RECALLED) &&
              told.debts == 1 && strncmp(told.texts[0], "4\nrex\nann\nx3\n", 13) == 0,
          "a device that may have it is told");
    check(append_one("rex", "x4", MAILBOX_STORED) && ack("rex", "d", sent[0].seq) &&
              recall("rex", "x4", MAILBOX_WAS_READ) && read_all(0, "rex", 10) == 2,
          "what was acknowledged stays");
    letters_reset();
    append_many(0, "svc", 3);
    check(wait_for(all_answered, 5000) && redis_do("XGROUP CREATE po:{svc}:box po 0") == 0 &&
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
    while (due() && told.more)
        ;
    letters_reset();
    append_noted("eve", "e1", 2, 1);
    append_noted("eve", "e2", 0, 1);
    append_noted("eve", "e3", 2, time(NULL) + 1000);
    append_noted("odd", "e4", 2, 1);
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_STORED), "some have expired");
    redis_do("DEL po:{odd}:box");
    redis_do("SET po:{odd}:box x");
    check(due() && told.outcome == 2 && told.debts == 1 &&
              strncmp(told.texts[0], "5\nann\neve\ne1\n", 13) == 0 && read_all(0, "eve", 9) == 1,
          "they are removed, and who asked is told");
    check(due() && told.outcome == 0 && told.debts == 0, "once");
    redis_do("DEL po:{odd}:box po:{odd}:ids");
    redis_do("SET po:{odd}:rq x");
    letters_reset();
    append_noted("odd", "e5", 2, 0);
    check(wait_for(all_answered, 5000) && all_are(MAILBOX_UNAVAILABLE) &&
              redis_do("EXISTS po:{odd}:box") == 0,
          "an error means that nothing was stored, here too");
    redis_do("DEL po:{odd}:rq po:owed");
}

static bool has_fault(void)
{
    return mailbox_fault(workers[0].mailbox)[0] != 0;
}

static void remake(char *durability)
{
    mailbox_free(workers[0].mailbox);
    config.mailbox.durability = durability;
    worker_mailbox(&workers[0], 0);
}

/* --- a replica --- */

static uint16_t free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 &&
           getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* Replication needs a port; the server has one from here on. */
static pid_t replica_start(const char *path)
{
    char words[64], port[8];
    uint16_t number = free_port();
    pid_t pid;

    redis_do("CONFIG SET bind 127.0.0.1");
    snprintf(words, sizeof words, "CONFIG SET port %u", number);
    redis_do(words);
    redis_do("CONFIG SET repl-diskless-sync-delay 0");
    snprintf(port, sizeof port, "%u", number);
    pid = fork();
    if (pid == 0) {
        FILE *quiet = fopen("/dev/null", "w");
        dup2(fileno(quiet), 1);
        dup2(fileno(quiet), 2);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--save", "",
               "--appendonly", "no", "--dir", folder, "--dbfilename", "replica.rdb", "--replicaof",
               "127.0.0.1", port, (char *)NULL);
        _exit(127);
    }
    assert(pid > 0);
    return pid;
}

/* The replica's own word, by an inline command. */
static int64_t replica_len(const char *path, const char *key)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char text[256];
    long long len = -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert(fd >= 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int size = snprintf(text, sizeof text, "XLEN %s\r\n", key);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        write(fd, text, (size_t)size) == size && read(fd, text, sizeof text) > 1 && text[0] == ':')
        len = strtoll(text + 1, NULL, 10);
    close(fd);
    return len;
}

static void test_replica(void)
{
    static char durability[] = "replica";
    char path[160];

    snprintf(path, sizeof path, "%s/replica.sock", folder);
    pid_t replica = replica_start(path);
    check(redis_says("INFO replication", "state=online"), "a replica has come");
    config.mailbox.replica_timeout_ms = 2000;
    remake(durability);
    wait_for(all_up, 5000);
    letters_reset();
    append_many(0, "copied", 100);
    check(wait_for(all_answered, 10000) && all_are(MAILBOX_STORED) &&
              replica_len(path, "po:{copied}:box") == 100,
          "replica: what is accepted the replica has");
    kill(replica, SIGSTOP);
    letters_reset();
    append_many(0, "uncopied", 10);
    check(wait_for(all_answered, 10000) && all_are(MAILBOX_UNAVAILABLE),
          "replica: one that is stopped: not promised");
    kill(replica, SIGCONT);
    letters_reset();
    append_many(0, "uncopied", 10);
    check(wait_for(all_answered, 10000) && all_are(MAILBOX_REPEATED) &&
              replica_len(path, "po:{uncopied}:box") == 10,
          "… goes on: sent again, they were there, and now the replica has them");
    kill(replica, SIGKILL);
    waitpid(replica, NULL, 0);
    redis_do("CONFIG SET port 0");
}

static void test_durability(void)
{
    static char fsync[] = "fsync", replica[] = "replica", memory[] = "memory";

    remake(fsync);
    check(wait_for(all_up, 5000) && append_one("fs", "x", MAILBOX_STORED),
          "fsync: Redis is set so");
    redis_do("CONFIG SET appendfsync everysec");
    remake(fsync);
    check(wait_for(has_fault, 5000) && !mailbox_is_up(workers[0].mailbox) &&
              append_as(0, "fs", "y", "y") == ERR_DOWN,
          "fsync: Redis is not set so");
    redis_do("CONFIG SET appendfsync always");
    check(wait_for(all_up, 5000) && !has_fault(), "and is then");
    config.mailbox.replica_timeout_ms = 50;
    remake(replica);
    check(wait_for(all_up, 5000) && append_one("rep", "x", MAILBOX_UNAVAILABLE),
          "replica: there is none");
    test_replica();
    remake(memory);
    wait_for(all_up, 5000);
    letters_reset();
    append_many(0, "freed", 10);
    hook(NULL);
    mailbox_free(workers[0].mailbox);
    check(answered == 10 && all_are(MAILBOX_UNKNOWN), "freed: all are told");
    worker_mailbox(&workers[0], 0);
    wait_for(all_up, 5000);
    letters_reset();
    append_many(0, "freed", 10);
    mailbox_free(workers[0].mailbox);
    check(answered == 10 && all_are(MAILBOX_UNAVAILABLE), "… what never left is not stored");
    worker_mailbox(&workers[0], 0);
    check(wait_for(all_up, 5000), "another in its place");
}

/* --- how fast --- */

static unsigned bench_left, bench_inflight, bench_done;

static void on_benched(void *arg, const struct mailbox_appended *appended)
{
    (void)arg;
    assert(appended->outcome == MAILBOX_STORED);
    bench_inflight--;
    bench_done++;
}

static bool bench_step(void)
{
    static char body[300] = "{";
    static unsigned number;
    char id[40], address[32];

    for (; bench_left > 0 && bench_inflight < 2000; bench_left--, bench_inflight++, number++) {
        snprintf(id, sizeof id, "0191e1a2-7b1c-7def-8000-%012u", number);
        snprintf(address, sizeof address, "user%u", number % 1000);
        struct mailbox_letter letter = { .address = slice_of(address),
                                         .from = SLICE("ann"),
                                         .id = slice_make(id, 36),
                                         .body = slice_make(body, sizeof body),
                                         .thread = slice_make(id, 36) };
        assert(mailbox_append(workers[0].mailbox, &letter, on_benched, NULL) == OK);
    }
    return bench_left == 0 && bench_inflight == 0;
}

static void on_bench_turn(void *arg)
{
    (void)arg;
    if (bench_left)
        bench_step();
}

static int bench(void)
{
    enum { COUNT = 300000 };
    uint64_t start_ns;

    wait_for(all_up, 5000);
    redis_do("CONFIG RESETSTAT");
    redis_do("INFO cpu");
    double cpu = strtod(strstr(reply_text, "used_cpu_user:") + 14, NULL) +
                 strtod(strstr(reply_text, "used_cpu_sys:") + 13, NULL);
    bench_left = COUNT;
    start_ns = clock_monotonic_ns();
    wait_for(bench_step, 60000);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    redis_do("INFO cpu");
    double used = strtod(strstr(reply_text, "used_cpu_user:") + 14, NULL) +
                  strtod(strstr(reply_text, "used_cpu_sys:") + 13, NULL) - cpu;
    printf("mailbox_append: %.0f a second, Redis CPU %.2f us each (%.0f a second of one core)\n",
           bench_done / seconds, used / bench_done * 1e6, bench_done / used);
    return 0;
}

int main(int argc, char **argv)
{
    static char empty[] = "", prefix[] = "po:", memory[] = "memory", trim[] = "trim";
    bool benching = argc == 3 && strcmp(argv[1], "bench") == 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(folder, sizeof folder, "/tmp/mailbox_live.XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(socket_path, sizeof socket_path, "%s/redis.sock", folder);
    if (benching)
        snprintf(socket_path, sizeof socket_path, "%s", argv[2]);
    log_set_level(argc == 2 ? LOG_DEBUG : LOG_ERROR);
    config.redis.kind = CONFIG_REDIS_UNIX;
    config.redis.path = socket_path;
    config.redis.host = config.redis.user = config.redis.password = empty;
    config.redis_options.prefix = prefix;
    config.redis_options.command_timeout_ms = 5000;
    config.redis_options.reconnect_min_ms = 20;
    config.redis_options.reconnect_max_ms = 100;
    config.mailbox.durability = memory;
    config.mailbox.full = trim;
    config.mailbox.replicas = 1;
    config.mailbox.replica_timeout_ms = 1000;
    config.mailbox.messages_max = 100000;
    config.mailbox.age_s = 2592000;
    config.mailbox.dedupe_s = 300;
    seen = calloc(LETTERS_MAX, sizeof *seen);
    seen_ids = calloc(LETTERS_MAX, sizeof *seen_ids);
    loop = loop_new();
    loop_timer_init(loop, &ticker, on_ticker, NULL);
    if (!benching)
        server_start(true);
    loop_add_hook(loop, on_bench_turn, NULL);
    loop_add_hook(loop, hook, NULL);
    struct redis_events quiet = { NULL, NULL, NULL };
    admin = redis_new(loop, &config, "admin", &quiet);
    worker_start(&workers[0], 0);
    if (benching) {
        failures = bench();
    } else {
        worker_start(&workers[1], 1);
        check(wait_for(all_up, 5000) && strcmp(workers[0].epoch, workers[1].epoch) == 0,
              "both are up, and agree on the epoch");
        test_append();
        test_one_turn();
        test_run();
        test_a_connection_that_never_rests();
        test_script_flush();
        test_client_kill();
        test_kill_9();
        test_given_up();
        test_open_and_ack();
        test_places();
        test_retention();
        test_history();
        test_two_workers();
        test_receipts();
        test_recall();
        test_expiry();
        test_trouble();
        test_busy();
        test_loading();
        test_master_down();
        test_flushall();
        test_tail_lost();
        test_came_back_empty();
        test_durability();
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        mailbox_free(workers[i].mailbox);
        redis_free(workers[i].redis);
    }
    redis_free(admin);
    loop_free(loop);
    free(seen);
    free(seen_ids);
    if (!benching) {
        server_kill();
        remove_tree(folder);
    } else {
        rmdir(folder);
    }
    printf(failures ? "%d FAILED\n" : "all well\n", failures);
    return failures != 0;
}
