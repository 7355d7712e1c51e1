/* The report of `status`. The counters come from the one list in shm/stats.h, so a new counter
 * appears in the report by itself. */
#include "master/status.h"

#include "common/clock.h"
#include "common/json.h"
#include "shm/about.h"
#include "shm/certs.h"
#include "shm/slots.h"
#include "shm/stats.h"
#include "shm/storage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DAY_S = 24 * 3600 };

static const char rejected[] = "rejected_";

static const char *state_name(enum worker_state state)
{
    static const char *const names[] = { "absent", "starting", "serving", "draining" };

    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

/* Returns how many ms ago then_ms was; 0 for a later time, which a row may have because the clock
 * is read first. */
static int64_t ago_ms(uint64_t now_ms, uint64_t then_ms)
{
    return then_ms && now_ms > then_ms ? (int64_t)(now_ms - then_ms) : 0;
}

/* Makes bad-json, the code that a client sees, of rejected_bad_json. False for another counter. */
static bool reject_code(enum stat_id stat, char *code, size_t code_size)
{
    const char *name = stats_name(stat);
    size_t len = strlen(name), head = sizeof rejected - 1;

    if (strncmp(name, rejected, head) != 0 || len - head >= code_size)
        return false;
    for (size_t i = head; i <= len; i++)
        code[i - head] = (char)(name[i] == '_' ? '-' : name[i]);
    return true;
}

/* stats_row wants a writable region; the row is only read, as the mapping is read-only. */
static uint64_t worker_stat(const struct region *region, uint32_t slot, enum stat_id stat)
{
    union {
        const struct region *given;
        struct region *wanted;
    } view = { .given = region };

    return stats_get(stats_row(view.wanted, slot), stat);
}

/* ---- JSON ---- */

static void member(struct buf *out, const char *name, uint64_t value)
{
    if (out->len && out->data[out->len - 1] != '{')
        buf_add_char(out, ',');
    json_add_string(out, slice_of(name));
    buf_addf(out, ":%llu", (unsigned long long)value);
}

static void member_text(struct buf *out, const char *name, const char *value)
{
    if (out->len && out->data[out->len - 1] != '{')
        buf_add_char(out, ',');
    json_add_string(out, slice_of(name));
    buf_add_char(out, ':');
    json_add_string(out, slice_of(value));
}

static const char *redis_name(enum worker_redis redis)
{
    return redis == WORKER_REDIS_UP ? "up" : redis == WORKER_REDIS_AWAY ? "away" : "none";
}

static void worker_json(const struct region *region, uint32_t slot, const struct worker_view *view,
                        uint64_t now_ms, struct buf *out)
{
    buf_add_char(out, '{');
    member(out, "slot", slot);
    member(out, "pid", (uint64_t)view->pid);
    member_text(out, "state", state_name(view->state));
    member_text(out, "redis", redis_name(view->redis));
    member(out, "incarnation", view->incarnation);
    member(out, "sessions", view->sessions);
    member(out, "pending", view->pending);
    member(out, "heartbeatAgeMs", (uint64_t)ago_ms(now_ms, view->heartbeat_ms));
    member(out, "uptimeSeconds", (uint64_t)ago_ms(now_ms, view->started_ms) / 1000);
    member(out, "messagesIn", worker_stat(region, slot, STAT_messages_in));
    member(out, "messagesOut", worker_stat(region, slot, STAT_messages_out));
    member(out, "rateIn", worker_stat(region, slot, STAT_rate_in));
    member(out, "rateOut", worker_stat(region, slot, STAT_rate_out));
    member(out, "workersElsewhere", worker_stat(region, slot, STAT_workers_elsewhere));
    buf_add_char(out, '}');
}

static void workers_json(const struct region *region, uint64_t now_ms, struct buf *out)
{
    struct worker_view view;
    bool first = true;

    buf_add_text(out, ",\"workers\":[");
    for (uint32_t slot = 0; slot < WORKERS_MAX; slot++) {
        slot_view(region, slot, &view);
        if (view.incarnation == 0 || view.is_clerk)
            continue;
        if (!first)
            buf_add_char(out, ',');
        first = false;
        worker_json(region, slot, &view, now_ms, out);
    }
    buf_add_char(out, ']');
}

/* ---- certificates ---- */

static const char *time_text(int64_t unix_s, char text[32])
{
    time_t time = (time_t)unix_s;
    struct tm tm;

    if (!gmtime_r(&time, &tm) || strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        text[0] = 0;
    return text;
}

static long long days_left(const struct cert_view *cert)
{
    return (long long)((cert->ends_s - clock_unix_s()) / DAY_S);
}

static void names_json(const char *names, struct buf *out)
{
    buf_add_text(out, "\"names\":[");
    while (*names) {
        size_t len = strcspn(names, ",");
        json_add_string(out, slice_make(names, len));
        names += len;
        if (*names) {
            buf_add_char(out, ',');
            names++;
        }
    }
    buf_add_char(out, ']');
}

static void certificates_json(const struct region *region, struct buf *out)
{
    static struct cert_view certs[CERTS_MAX];
    uint32_t count = certs_read(region, certs);
    char text[32];

    buf_add_text(out, ",\"certificates\":[");
    for (uint32_t i = 0; i < count; i++) {
        buf_add_text(out, i ? ",{" : "{");
        names_json(certs[i].names, out);
        member_text(out, "endsAt", time_text(certs[i].ends_s, text));
        buf_addf(out, ",\"daysLeft\":%lld}", days_left(&certs[i]));
    }
    buf_add_char(out, ']');
}

/* ---- storage ---- */

static const char *storage_state(const struct storage_view *storage)
{
    return storage->ready ? "ready" : storage->pid ? "starting" : "down";
}

/* Returns the memory that the process has in use now; 0 when unknown. */
static uint64_t resident_bytes(int32_t pid)
{
    char path[32], text[64] = "", *end;
    uint64_t pages = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    file = pid > 0 ? fopen(path, "re") : NULL;
    if (!file)
        return 0;
    if (fgets(text, sizeof text, file) && strtoull(text, &end, 10) > 0) /* the size comes first */
        pages = strtoull(end, NULL, 10);
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void storage_json(const struct region *region, uint64_t now_ms, struct buf *out)
{
    struct storage_view storage;

    if (!storage_read(region, &storage)) {
        buf_add_text(out, ",\"storage\":null");
        return;
    }
    buf_add_text(out, ",\"storage\":{");
    member_text(out, "folder", storage.folder);
    member_text(out, "program", storage.program);
    member_text(out, "version", storage.version);
    member_text(out, "state", storage_state(&storage));
    member(out, "pid", (uint64_t)storage.pid);
    member(out, "uptimeSeconds",
           storage.pid ? (uint64_t)ago_ms(now_ms, storage.started_ms) / 1000 : 0);
    member(out, "restarts", storage.restarts);
    member(out, "memoryBytes", resident_bytes(storage.pid));
    member(out, "memoryBytesMax", (uint64_t)storage.memory_max);
    buf_add_char(out, '}');
}

static void storage_text(const struct region *region, uint64_t now_ms, struct buf *out)
{
    struct storage_view storage;

    if (!storage_read(region, &storage))
        return;
    buf_addf(out, "storage in %s: %s, %s %s", storage.folder, storage_state(&storage),
             storage.program, storage.version);
    if (storage.pid)
        buf_addf(out, ", pid %d, up %lld s, memory %llu MiB of %lld MiB for its data", storage.pid,
                 (long long)ago_ms(now_ms, storage.started_ms) / 1000,
                 (unsigned long long)resident_bytes(storage.pid) >> 20,
                 (long long)storage.memory_max >> 20);
    buf_addf(out, ", restarts %llu\n", (unsigned long long)storage.restarts);
}

/* ---- certificates ---- */

static void certificates_text(const struct region *region, struct buf *out)
{
    static struct cert_view certs[CERTS_MAX];
    uint32_t count = certs_read(region, certs);
    char text[32];

    for (uint32_t i = 0; i < count; i++)
        buf_addf(out, "certificate %s: ends %s, %lld days left\n", certs[i].names,
                 time_text(certs[i].ends_s, text), days_left(&certs[i]));
}

/* ---- the server ---- */

static void list_json(const char *name, const char *items, struct buf *out)
{
    buf_addf(out, ",\"%s\":[", name);
    while (*items) {
        size_t len = strcspn(items, ",");
        json_add_string(out, slice_make(items, len));
        items += len + (items[len] != 0);
        if (*items)
            buf_add_char(out, ',');
    }
    buf_add_char(out, ']');
}

static void about_json(const struct about *about, struct buf *out)
{
    static const char *const outcomes[] = { "none", "applied", "refused" };
    unsigned outcome = about->outcome;
    char text[32];

    member_text(out, "version", about->version);
    member_text(out, "configFile", about->config_file);
    list_json("listen", about->listen, out);
    member(out, "socketPort", (uint64_t)about->port);
    member(out, "sslPort", (uint64_t)about->ssl_port);
    member_text(out, "startedAt", time_text(about->started_s, text));
    buf_add_text(out, ",\"reload\":{");
    member_text(out, "outcome", outcome < 3 ? outcomes[outcome] : "unknown");
    if (about->outcome != RELOAD_NONE)
        member_text(out, "at", time_text(about->reloaded_s, text));
    list_json("needsRestart", about->waiting, out);
    if (about->outcome == RELOAD_REFUSED)
        member_text(out, "why", about->why);
    buf_add_char(out, '}');
}

static void about_text(const struct about *about, struct buf *out)
{
    char text[32];

    buf_addf(out, "websocket-server %s, since %s\n", about->version,
             time_text(about->started_s, text));
    buf_addf(out, "configuration %s\n", about->config_file);
    if (about->outcome == RELOAD_APPLIED)
        buf_addf(out, "  read again %s\n", time_text(about->reloaded_s, text));
    if (about->outcome == RELOAD_REFUSED)
        buf_addf(out, "  the reload of %s was refused: %.*s\n", time_text(about->reloaded_s, text),
                 (int)strcspn(about->why, "\n"), about->why);
    if (*about->waiting)
        buf_addf(out, "  waits for a restart: %s\n", about->waiting);
    buf_addf(out, "listens on %s", about->listen);
    if (about->port)
        buf_addf(out, ", port %d", about->port);
    if (about->ssl_port)
        buf_addf(out, ", TLS port %d", about->ssl_port);
    buf_add_char(out, '\n');
}

static void counters_json(const struct region *region, struct buf *out)
{
    char code[64];

    buf_add_text(out, ",\"totals\":{");
    for (int i = 0; i < STAT_COUNT; i++)
        member(out, stats_name((enum stat_id)i), stats_sum(region, (enum stat_id)i));
    buf_add_text(out, "},\"rejected\":{");
    for (int i = 0; i < STAT_COUNT; i++)
        if (reject_code((enum stat_id)i, code, sizeof code))
            member(out, code, stats_sum(region, (enum stat_id)i));
    buf_add_char(out, '}');
}

void status_json(const struct region *region, struct buf *out)
{
    uint64_t now_ms = clock_monotonic_ms();
    static struct about about;
    struct server_view server;

    slots_server(region, &server);
    about_read(region, &about);
    buf_add_char(out, '{');
    member(out, "pid", (uint64_t)server.master_pid);
    member_text(out, "node", server.node);
    about_json(&about, out);
    member(out, "uptimeSeconds", (uint64_t)ago_ms(now_ms, server.started_ms) / 1000);
    member(out, "configGeneration", server.config_generation);
    member(out, "restarts", server.restarts);
    member(out, "maxWebSocketConnections", server.sessions_max);
    member(out, "connections", slots_sessions(region));
    workers_json(region, now_ms, out);
    storage_json(region, now_ms, out);
    certificates_json(region, out);
    counters_json(region, out);
    buf_add_text(out, "}\n");
}

/* ---- text ---- */

static void worker_text(const struct region *region, uint32_t slot, const struct worker_view *view,
                        uint64_t now_ms, struct buf *out)
{
    buf_addf(out, "%6u %8d %-9s %-5s %10u %8u %8lld ms %12llu %12llu %9llu %9llu\n", slot,
             view->pid, state_name(view->state), redis_name(view->redis), view->sessions,
             view->pending, (long long)ago_ms(now_ms, view->heartbeat_ms),
             (unsigned long long)worker_stat(region, slot, STAT_messages_in),
             (unsigned long long)worker_stat(region, slot, STAT_messages_out),
             (unsigned long long)worker_stat(region, slot, STAT_rate_in),
             (unsigned long long)worker_stat(region, slot, STAT_rate_out));
}

static void workers_text(const struct region *region, uint64_t now_ms, struct buf *out)
{
    struct worker_view view;

    buf_addf(out, "%6s %8s %-9s %-5s %10s %8s %11s %12s %12s %9s %9s\n", "worker", "pid", "state",
             "redis", "sessions", "pending", "heartbeat", "messages in", "out", "in/s", "out/s");
    for (uint32_t slot = 0; slot < WORKERS_MAX; slot++) {
        slot_view(region, slot, &view);
        if (view.incarnation != 0 && !view.is_clerk)
            worker_text(region, slot, &view, now_ms, out);
    }
}

/* Ends a line; " none" when every counter of the line is zero and was left out. */
static void line_end(struct buf *out, bool none)
{
    buf_add_text(out, none ? " none\n" : "\n");
}

static void rejects_text(const struct region *region, struct buf *out)
{
    char code[64];
    bool none = true;

    buf_add_text(out, "rejected:");
    for (int i = 0; i < STAT_COUNT; i++) {
        uint64_t count = stats_sum(region, (enum stat_id)i);
        if (!count || !reject_code((enum stat_id)i, code, sizeof code))
            continue;
        none = false;
        buf_addf(out, " %s %llu", code, (unsigned long long)count);
    }
    line_end(out, none);
    none = true;
    buf_add_text(out, "handshakes refused:");
    for (int i = STAT_handshake_400; i <= STAT_handshake_cut; i++) {
        uint64_t count = stats_sum(region, (enum stat_id)i);
        if (!count)
            continue;
        none = false;
        buf_addf(out, " %s %llu", stats_name((enum stat_id)i) + sizeof "handshake",
                 (unsigned long long)count);
    }
    line_end(out, none);
}

/* Workers of a host learn of other nodes within a second; the worker that knows most is right. */
static uint64_t workers_elsewhere(const struct region *region)
{
    uint64_t most = 0;

    for (uint32_t slot = 0; slot < WORKERS_MAX; slot++) {
        uint64_t known = worker_stat(region, slot, STAT_workers_elsewhere);
        if (slot_incarnation(region, slot) && known > most)
            most = known;
    }
    return most;
}

void status_text(const struct region *region, struct buf *out)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t to_workers = stats_sum(region, STAT_publishes) + stats_sum(region, STAT_relayed);
    static struct about about;
    struct server_view server;

    slots_server(region, &server);
    about_read(region, &about);
    about_text(&about, out);
    buf_addf(out, "node %s, master pid %d, up %lld s, config generation %llu, restarts %llu\n",
             server.node, server.master_pid, (long long)ago_ms(now_ms, server.started_ms) / 1000,
             (unsigned long long)server.config_generation, (unsigned long long)server.restarts);
    buf_addf(out, "connections %u of %u, workers on other nodes %llu\n", slots_sessions(region),
             server.sessions_max, (unsigned long long)workers_elsewhere(region));
    workers_text(region, now_ms, out);
    storage_text(region, now_ms, out);
    certificates_text(region, out);
    buf_addf(out,
             "messages in %llu (%llu/s), out %llu (%llu/s), accepted %llu, to other workers %llu\n",
             (unsigned long long)stats_sum(region, STAT_messages_in),
             (unsigned long long)stats_sum(region, STAT_rate_in),
             (unsigned long long)stats_sum(region, STAT_messages_out),
             (unsigned long long)stats_sum(region, STAT_rate_out),
             (unsigned long long)stats_sum(region, STAT_accepted), (unsigned long long)to_workers);
    rejects_text(region, out);
}
