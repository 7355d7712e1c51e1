/*
 * Two workers, each with a Redis connection and a mailbox, against a redis-server that the test
 * starts, kills and starts again; a Redis connection of the test's own (`admin`); letters and
 * pages. A test file is a list of promises, which live_run runs against one Redis. No test sleeps:
 * wait_for runs the loop until a state has come.
 */
#ifndef TESTS_LIVE_MAILBOX_FIXTURE_H
#define TESTS_LIVE_MAILBOX_FIXTURE_H

#include "server.h"

#include "common/clock.h"
#include "common/log.h"
#include "worker/mailbox/mailbox_append.h"
#include "worker/mailbox/mailbox_enter.h"
#include "worker/mailbox/mailbox_places.h"
#include "worker/mailbox/mailbox_read.h"

enum { WORKERS = 2, LETTERS_MAX = 40000, WAIT_MS = 60000 };

static struct loop *loop;
static struct config config;
static int failures;

/* Redis answers a write after the write is in a file: a killed Redis comes back with all data. */
static inline void server_start(void)
{
    static const char *const options[] = {
        "--port", "0", "--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command",
        "local",  NULL
    };

    server_start_with(options);
}

/* --- workers --- */

static struct worker {
    struct redis *redis, *replicas; /* the second for durability "replica" */
    struct mailbox *mailbox;
    unsigned ups, downs, changes;
    char epoch[32];
} workers[WORKERS];

static inline void on_redis_up(void *arg)
{
    struct worker *worker = arg;

    if (worker->mailbox)
        mailbox_redis_up(worker->mailbox);
}

static inline void on_redis_down(void *arg)
{
    struct worker *worker = arg;

    if (worker->mailbox)
        mailbox_redis_down(worker->mailbox);
}

static inline void on_up(void *arg, struct slice epoch, bool changed)
{
    struct worker *worker = arg;

    worker->ups++;
    worker->changes += changed;
    snprintf(worker->epoch, sizeof worker->epoch, "%.*s", (int)epoch.len, epoch.data);
}

static inline void on_down(void *arg)
{
    ((struct worker *)arg)->downs++;
}

static inline void worker_mailbox(struct worker *worker, unsigned number)
{
    struct mailbox_events events = { on_up, on_down, worker };
    char place[32];

    snprintf(place, sizeof place, "host:%u:%u", number, 100 + number);
    worker->mailbox = mailbox_new(worker->redis, &config, slice_of(place), &events);
    assert(worker->mailbox);
    mailbox_confirm_by(worker->mailbox, worker->replicas);
    if (redis_is_up(worker->redis))
        mailbox_redis_up(worker->mailbox);
}

static inline void worker_start(struct worker *worker, unsigned number)
{
    struct redis_events events = { on_redis_up, on_redis_down, worker };

    struct redis_events none = { NULL, NULL, NULL };

    *worker = (struct worker){ .redis = redis_new(loop, &config, "mailbox", &events),
                               .replicas = redis_new(loop, &config, "replicas", &none) };
    worker_mailbox(worker, number);
}

/* --- waiting --- */

static struct loop_timer ticker;
static bool (*awaited)(void);
static uint64_t deadline_ms, tick_ms;
static bool came;

static inline void on_ticker(void *arg)
{
    uint64_t now_ms = clock_monotonic_ms();

    (void)arg;
    if (now_ms >= tick_ms) {
        tick_ms = now_ms + 200; /* the server ticks once a second */
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

static inline bool wait_for(bool (*what)(void), unsigned ms)
{
    awaited = what;
    deadline_ms = clock_monotonic_ms() + ms;
    loop_timer_set(&ticker, 0);
    loop_run(loop);
    return came;
}

static inline void check(bool good, const char *promise)
{
    printf("%s  %s\n", good ? "ok    " : "FAILED", promise);
    failures += !good;
}

static inline bool all_up(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        if (workers[i].mailbox && !mailbox_is_up(workers[i].mailbox))
            return false;
    return true;
}

static inline bool all_down(void)
{
    return !mailbox_is_up(workers[0].mailbox) && !mailbox_is_up(workers[1].mailbox);
}

/* --- the test's own connection, one command at a time --- */

static struct redis *admin;

static inline void flush_all(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < WORKERS; i++) {
        if (workers[i].mailbox)
            mailbox_flush(workers[i].mailbox);
        if (workers[i].redis)
            redis_flush(workers[i].redis);
        if (workers[i].replicas)
            redis_flush(workers[i].replicas);
    }
    if (admin)
        redis_flush(admin);
}

static char reply_text[65536];
static int64_t reply_integer;
static bool replied;

static inline void on_reply(void *arg, const struct redis_reply *reply)
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

static inline bool has_replied(void)
{
    return replied;
}

static inline bool admin_up(void)
{
    return redis_is_up(admin);
}

/* Runs a command, given as words with single spaces. -> the integer of the answer, the count of an
 * array, or -1. reply_text has the text. */
static inline int64_t redis_do(const char *words)
{
    struct slice args[16];
    size_t count = 0;

    if (!wait_for(admin_up, WAIT_MS))
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
    assert(wait_for(has_replied, WAIT_MS));
    return reply_integer;
}

static inline uint64_t calls_of(const char *command)
{
    char what[64];
    const char *at;

    redis_do("INFO commandstats");
    snprintf(what, sizeof what, "cmdstat_%s:calls=", command);
    at = strstr(reply_text, what);
    return at ? strtoull(at + strlen(what), NULL, 10) : 0;
}

static inline bool never(void)
{
    return false;
}

/* Repeats a command until the answer contains `what`: for states that Redis does not announce. */
static inline bool redis_says(const char *words, const char *what)
{
    for (unsigned tries = 0; tries < WAIT_MS / 10; tries++) {
        redis_do(words);
        if (strstr(reply_text, what))
            return true;
        wait_for(never, 10);
    }
    return false;
}

/* --- letters --- */

static struct sent {
    unsigned answers;
    enum mailbox_outcome outcome;
    struct seq seq, before;
    size_t elsewhere;
} sent[LETTERS_MAX];
static unsigned sent_count, answered, wanted;

static inline void on_appended(void *arg, const struct mailbox_appended *appended)
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

static inline void letters_reset(void)
{
    memset(sent, 0, sizeof sent);
    sent_count = answered = 0;
}

static const char *sender = "ann";

static inline enum err append_as(unsigned worker, const char *address, const char *id,
                                 const char *thread)
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

static inline void append_many(unsigned worker, const char *address, unsigned count)
{
    char id[32];

    for (unsigned i = 0; i < count; i++) {
        snprintf(id, sizeof id, "m%u.%u", worker, sent_count);
        assert(append_as(worker, address, id, id) == OK);
    }
}

static inline bool all_answered(void)
{
    return answered >= sent_count;
}

static inline bool some_answered(void)
{
    return answered >= wanted;
}

static inline bool all_are(enum mailbox_outcome outcome)
{
    for (unsigned i = 0; i < sent_count; i++)
        if (sent[i].answers != 1 || sent[i].outcome != outcome) {
            printf("       letter %u: %u answers, outcome %d\n", i, sent[i].answers,
                   (int)sent[i].outcome);
            return false;
        }
    return true;
}

static inline bool append_one(const char *address, const char *id, enum mailbox_outcome outcome)
{
    letters_reset();
    return append_as(0, address, id, id) == OK && wait_for(all_answered, WAIT_MS) &&
           all_are(outcome);
}

/* --- pages --- */

static struct {
    bool came, ok, end;
    unsigned count;
    struct seq last;
} page;
static struct seq *seen; /* the seqs of the pages, in order */
static char (*seen_ids)[32];
static unsigned seen_count;

static inline void on_page(void *arg, const struct mailbox_page *got)
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

static inline bool page_came(void)
{
    return page.came;
}

static inline unsigned read_all(unsigned worker, const char *address)
{
    struct seq after = { 0, 0 };

    seen_count = 0;
    do {
        page.came = false;
        if (mailbox_read(workers[worker].mailbox, slice_of(address), after, on_page, NULL))
            return 0;
        if (!wait_for(page_came, WAIT_MS) || !page.ok)
            return 0;
        after = page.last;
    } while (!page.end);
    return seen_count;
}

static inline unsigned history(const char *address, const char *thread, struct seq before,
                               unsigned count)
{
    seen_count = 0;
    page.came = false;
    if (mailbox_history(workers[0].mailbox, slice_of(address), slice_of(thread), before, count,
                        on_page, NULL))
        return 0;
    return wait_for(page_came, WAIT_MS) && page.ok ? seen_count : 0;
}

/* Whether the mailbox holds exactly the letters that were stored, in the order of sending. */
static inline bool stored_in_order(const char *address)
{
    unsigned at = 0;

    if (read_all(0, address) == 0)
        return false;
    for (unsigned i = 0; i < sent_count; i++)
        if (sent[i].outcome == MAILBOX_STORED &&
            (at >= seen_count || seq_compare(seen[at++], sent[i].seq) != 0)) {
            printf("       letter %u is not at place %u of %u\n", i, at, seen_count);
            return false;
        }
    return at == seen_count;
}

/* --- a session opens --- */

static struct mailbox_opened opened;
static bool opened_came;

static inline void on_opened(void *arg, const struct mailbox_opened *got)
{
    (void)arg;
    opened = *got;
    opened_came = true;
}

static inline bool open_came(void)
{
    return opened_came;
}

static inline bool open_now(unsigned worker, const char *address, const char *device)
{
    const struct mailbox_entrant entrant = { .device = slice_of(device) };

    opened_came = false;
    return mailbox_enter(workers[worker].mailbox, slice_of(address), &entrant, on_opened, NULL) ==
               OK &&
           wait_for(open_came, WAIT_MS) && opened.ok;
}

/* --- the run of a test file --- */

static inline void config_init(void)
{
    static char empty[] = "", prefix[] = "po:", memory[] = "memory", trim[] = "trim", any[] = "any";

    config.redis.kind = CONFIG_REDIS_UNIX;
    config.redis.path = socket_path;
    config.redis.host = config.redis.user = config.redis.password = empty;
    config.redis_options.prefix = prefix;
    config.redis_options.command_timeout_ms = 5000;
    config.redis_options.reconnect_min_ms = 20;
    config.redis_options.reconnect_max_ms = 100;
    config.mailbox.durability = memory;
    config.mailbox.full = trim;
    config.mailbox.addresses = any;
    config.mailbox.replicas = 1;
    config.mailbox.replica_timeout_ms = 1000;
    config.mailbox.messages_max = 100000;
    config.mailbox.bytes_max = 1 << 30;
    config.mailbox.age_s = 2592000;
    config.mailbox.dedupe_s = 300;
    config.sessions.devices_per_address = 64;
}

/* Makes the loop, `admin` and the workers, all on the Redis at socket_path. */
static inline void office_start(unsigned worker_count)
{
    struct redis_events quiet = { NULL, NULL, NULL };

    setvbuf(stdout, NULL, _IOLBF, 0);
    config_init();
    seen = calloc(LETTERS_MAX, sizeof *seen);
    seen_ids = calloc(LETTERS_MAX, sizeof *seen_ids);
    loop = loop_new();
    assert(loop && seen && seen_ids);
    loop_timer_init(loop, &ticker, on_ticker, NULL);
    loop_add_hook(loop, flush_all, NULL);
    admin = redis_new(loop, &config, "admin", &quiet);
    for (unsigned i = 0; i < worker_count; i++)
        worker_start(&workers[i], i);
}

static inline void office_end(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        mailbox_free(workers[i].mailbox);
        redis_free(workers[i].redis);
        redis_free(workers[i].replicas);
    }
    redis_free(admin);
    loop_free(loop);
    free(seen);
    free(seen_ids);
}

/* Runs the promises in order, up to NULL. -> the exit status of the program. */
static inline int live_run(void (*const promises[])(void))
{
    log_set_level(LOG_ERROR);
    folder_make();
    server_start();
    office_start(WORKERS);
    check(wait_for(all_up, WAIT_MS) && strcmp(workers[0].epoch, workers[1].epoch) == 0,
          "both are up, and agree on the epoch");
    for (; *promises; promises++)
        (*promises)();
    office_end();
    server_kill();
    remove_tree(folder);
    if (failures)
        printf("%d FAILED\n", failures);
    else
        printf("all well\n");
    return failures != 0;
}

#endif
