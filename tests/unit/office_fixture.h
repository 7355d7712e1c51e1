/*
 * A whole office in one process: a real region, loop, directory and bus (without Redis), rings, and
 * sessions whose clients are the other ends of socketpairs. The fixture wires the callbacks as
 * worker.c does.
 */
#ifndef TESTS_UNIT_OFFICE_FIXTURE_H
#define TESTS_UNIT_OFFICE_FIXTURE_H

#include "wire_fixture.h"

#include "common/log.h"
#include "config/parts.h"
#include "shm/origins.h"
#include "shm/ring.h"
#include "shm/slots.h"
#include "worker/groups/groups.h"
#include "worker/reach/bus.h"
#include "worker/reach/reach.h"
#include "worker/session/office.h"
#include "worker/router/live.h"
#include "worker/router/router.h"
#include "worker/entrance/life.h"
#include "worker/session/allowance.h"
#include "worker/session/session.h"
#include "worker/token/token.h"
#include "worker/entrance/visitor.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_101 "HTTP/1.1 101 Switching Protocols\r\n\r\n"

enum { SLOT = 0, OTHER_SLOT = 1, SESSIONS_MAX = 64 };

static struct office office;
static struct visitors visitors;
static struct sessions_writer *elsewhere; /* the session table's writer of another worker */
static bool tick_wanted;
/* Set by office_redis_fixture.h: the events of the bus, and the mailbox's part of a turn's end. */
static struct bus_events office_bus_events;
static void (*office_turn_stored)(void);

static inline void office_deliver(void *arg, const struct slice *recipients, size_t count,
                                  struct msg *msg)
{
    (void)arg;
    live_deliver(&office, recipients, count, msg);
}

static inline void office_turn_end(void *arg)
{
    (void)arg;
    if (tick_wanted) {
        wheel_run(&office.host.wheel, loop_now_ms(loop));
        wheel_run(&visitors.wheel, loop_now_ms(loop));
    }
    tick_wanted = false;
    groups_turn(&office);
    if (office_turn_stored)
        office_turn_stored();
    reach_flush(office.reach);
    visitors_go_on(&visitors);
    conn_host_flush(&office.host);
    visitors_flush(&visitors);
}

static inline void pass_ms(uint64_t ms)
{
    for (uint64_t end = clock_ms + ms; clock_ms < end;) {
        clock_ms += end - clock_ms < WHEEL_TICK_MS ? end - clock_ms : WHEEL_TICK_MS;
        tick_wanted = true;
        turns(1);
    }
}

/* A config of these members, without keys; sessions need no token. */
static inline struct config *office_config(const char *members)
{
    struct config_report report;
    struct config *config;
    struct buf text;

    config_report_init(&report);
    buf_init(&text, 65536);
    buf_addf(&text, "{\"listen\":\"127.0.0.1\",\"auth\":{\"required\":false,\"keyDir\":\"\"}%s%s}",
             *members ? "," : "", members);
    config = config_from_text(buf_slice(&text), "office.json", false, &report);
    if (!config)
        print_error("%s", buf_text(&report.errors));
    assert_non_null(config);
    buf_fini(&text);
    config_report_fini(&report);
    return config;
}

static inline void office_open(const char *members)
{
    static const struct conn_calls calls = {
        .message = router_message,
        .deadline = session_on_deadline,
        .owes_answers = session_owes_answers,
        .last_word = session_last_word,
        .closing = life_on_closing,
        .gone = life_on_gone,
    };
    static const struct bus_events relay_events = { .deliver = office_deliver };
    char why[256];

    clock_ms += 1000 - clock_ms % 1000; /* times in tokens are whole seconds */
    log_set_level(LOG_ERROR);
    assert_int_equal(token_init(), OK);
    loop = loop_new();
    office = (struct office){ .loop = loop, .config = office_config(members), .node = "node-1" };
    office.slot = SLOT;
    office.region = region_create(SESSIONS_MAX, why, sizeof why);
    assert_non_null(office.region);
    slots_master_set(office.region, getpid(), office.node);
    office.incarnation = slot_begin(office.region, SLOT);
    slot_begin(office.region, OTHER_SLOT);
    office.stats = stats_row(office.region, SLOT);
    office.table = sessions_writer_new(office.region, SLOT);
    elsewhere = sessions_writer_new(office.region, OTHER_SLOT);
    office.groups = groups_new(&office);
    assert_non_null(office.groups);
    arena_init(&office.arena, 256 * 1024);
    assert_int_equal(directory_init(&office.directory), OK);
    conn_host_init(&office.host, loop, office.stats, &calls, &office);
    office.host.message_bytes_max = (uint64_t)office.config->limits.message_bytes;
    office.host.queue_bytes_max = (uint64_t)office.config->limits.queue_bytes;
    office.host.answer_bytes_max = 256 * 1024;
    office.host.ping_ms = office.host.pong_ms = office.host.slow_ms = 100000000;
    office.host.close_ms = 5000;
    office.bus = bus_new(loop, office.config, office.region, office.stats, office.node, SLOT,
                         office.incarnation, &office_bus_events);
    assert_non_null(office.bus);
    office.reach = reach_new(loop, office.region, office.stats, SLOT, office.bus, &relay_events);
    assert_non_null(office.reach);
    visitors_init(&visitors, &office);
    loop_add_hook(loop, office_turn_end, NULL);
    loop_add_hook(loop, count_turn, NULL);
}

/* Ends the sessions of a test, and asserts that no session, row or memory stays behind. */
static inline void office_close(void)
{
    for (uint32_t i = 0; i < office.session_used; i++)
        if (office.sessions[i])
            conn_abort(&office.sessions[i]->conn);
    conn_host_flush(&office.host);
    visitors_fini(&visitors);
    reach_free(office.reach);
    bus_free(office.bus);
    groups_free(office.groups);
    allowances_free(&office);
    assert_int_equal(office.host.open_count, 0);
    assert_int_equal(office.directory.entry_count, 0);
    assert_int_equal(slots_sessions(office.region), 0);
    assert_int_equal(office.free_count, office.session_used);
    assert_int_equal(stats_get(office.stats, STAT_sessions_opened),
                     stats_get(office.stats, STAT_sessions_closed));
    sessions_writer_free(office.table);
    sessions_writer_free(elsewhere);
    directory_fini(&office.directory);
    arena_fini(&office.arena);
    free(office.sessions);
    free(office.free_indexes);
    config_free(office.config);
    region_close(office.region);
    loop_free(loop);
}

static inline int office_setup(void **state)
{
    (void)state;
    office_open("");
    return 0;
}

static inline int office_teardown(void **state)
{
    (void)state;
    office_close();
    return 0;
}

static inline uint64_t counted(enum stat_id stat)
{
    return stats_get(office.stats, stat);
}

/* ---- tokens ---- */

static const uint8_t hmac_secret[32] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

/* Adds the key of issue() to the config, which owns the key: tokens of issue() are good now. */
static inline void office_trust_key(bool required)
{
    struct config_key *key = calloc(1, sizeof *key);

    snprintf(key->kid, sizeof key->kid, "k1");
    key->kty = CONFIG_KTY_HMAC;
    key->bytes = secret_new(hmac_secret, sizeof hmac_secret);
    assert_non_null(key->bytes);
    key->len = sizeof hmac_secret;
    key->not_after = INT64_MAX;
    office.config->auth.keys = key;
    office.config->auth.key_count = 1;
    office.config->auth.required = required;
}

/* A token in *out, which the caller frees. The request sets the claims. */
static inline struct slice issue(struct buf *out, struct token_request request)
{
    request.format = TOKEN_JWT_HS256;
    request.kid = "k1";
    request.now_s = clock_unix_s();
    buf_init(out, TOKEN_BYTES_MAX);
    assert_int_equal(token_issue(&request, hmac_secret, sizeof hmac_secret, out), OK);
    return buf_slice(out);
}

static inline struct grant *grant_of(struct token_request request)
{
    struct grant *grant = NULL;
    struct buf token;

    issue(&token, request);
    assert_int_equal(token_verify(office.config, buf_slice(&token), clock_unix_s(), &grant),
                     TOKEN_GOOD);
    buf_fini(&token);
    return grant;
}

/* ---- clients ---- */

struct client {
    struct peer peer;
    struct session *session; /* valid until the session has gone */
    uint64_t number;
    char said[128 * 1024]; /* the frame that was read last */
};

/* Takes over the caller's reference to the grant. */
static inline void client_open_as(struct client *client, struct grant *grant, const char *address,
                                  const char *device)
{
    struct session_claim claim = { .address = slice_of(address),
                                   .device = slice_of(device),
                                   .grant = grant,
                                   .answer = SLICE(ANSWER_101) };

    assert_int_equal(slot_seat_take(office.region, SLOT), OK);
    client->session = life_open(&office, peer_open(&client->peer), &claim);
    grant_unref(grant);
    assert_non_null(client->session);
    client->number = client->session->number;
}

static inline void client_open(struct client *client, const char *address, const char *device)
{
    client_open_as(client, grant_default(slice_of(address)), address, device);
}

static inline bool client_is_there(const struct client *client)
{
    return session_by_number(&office, client->number) != NULL;
}

/* May the session still be sent to? */
static inline bool client_is_open(const struct client *client)
{
    return client_is_there(client) && conn_is_open(&client->session->conn);
}

/* The next text frame; "" when there is none. */
static inline const char *hear(struct client *client)
{
    struct slice payload = { 0 };

    client->said[0] = 0;
    if (peer_next(&client->peer, &payload) != WS_TEXT)
        return "";
    assert_true(payload.len < sizeof client->said);
    memcpy(client->said, payload.data, payload.len);
    client->said[payload.len] = 0;
    return client->said;
}

static inline void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        print_error("\"%s\" is not in: %s\n", part, text);
    assert_non_null(strstr(text, part));
}

static inline void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        print_error("\"%s\" is in: %s\n", part, text);
    assert_null(strstr(text, part));
}

/* Asserts that the next text frame is of the postmaster, with this subject. Returns the frame. */
static inline const char *hear_subject(struct client *client, const char *subject)
{
    char part[64];

    snprintf(part, sizeof part, "\"subject\":\"%s\"", subject);
    assert_has(hear(client), "{\"from\":\"postmaster\"");
    assert_has(client->said, part);
    return client->said;
}

/* Reads the 101 and `welcome`, the beginning of every session. */
static inline void hear_welcome(struct client *client)
{
    peer_read(&client->peer);
    assert_true(client->peer.in.len >= sizeof ANSWER_101 - 1);
    assert_memory_equal(client->peer.in.data, ANSWER_101, sizeof ANSWER_101 - 1);
    client->peer.at = sizeof ANSWER_101 - 1;
    hear_subject(client, "welcome");
}

/* Opens a session and reads its greeting. */
static inline void client_enter(struct client *client, const char *address, const char *device)
{
    client_open(client, address, device);
    turns(1);
    hear_welcome(client);
}

static inline void client_enter_as(struct client *client, struct grant *grant, const char *address,
                                   const char *device)
{
    client_open_as(client, grant, address, device);
    turns(1);
    hear_welcome(client);
}

static inline void client_leave(struct client *client)
{
    peer_close(&client->peer);
    turns(1);
    assert_false(client_is_there(client));
}

/* The members of an envelope between braces; %s and the like as in printf. */
__attribute__((format(printf, 2, 3))) static inline void say(struct client *client,
                                                             const char *format, ...)
{
    char text[8192];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_in_range(len, 1, sizeof text - 1);
    peer_text(&client->peer, text);
    turns(1);
}

/* "subject" and "content" of every letter in these tests. */
#define LETTER "\"subject\":\"s\",\"content\":\"aGk=\""

/* A config member: a Redis that nobody runs. */
#define AWAY "\"dataSource\":{\"redis\":{\"r\":{\"uri\":\"unix:/nonexistent/redis.sock\"}}}"

/* The next frame for the other worker in its ring; false when the ring is empty. The slices are
 * valid until the next call. */
static inline bool elsewhere_hears(struct bus_frame *frame)
{
    static struct slice recipients[16];
    static struct bus_position positions[16];
    static char bytes[RING_RECORD_MAX];
    struct slice record;

    *frame = (struct bus_frame){ 0 };
    if (!ring_peek(office.region, SLOT, OTHER_SLOT, &record))
        return false;
    memcpy(bytes, record.data, record.len);
    record = slice_make(bytes, record.len);
    ring_drop(office.region, SLOT, OTHER_SLOT);
    assert_int_equal(bus_decode(record, recipients, positions, 16, frame), OK);
    return true;
}

/* Another worker has a session of this address.
 * Returns its index for elsewhere_remove. */
static inline uint32_t elsewhere_add(const char *address, const char *device)
{
    uint32_t index = sessions_add(elsewhere, sessions_key(office.region, slice_of(address)), 77,
                                  slice_of(device), clock_monotonic_ns());

    assert_int_not_equal(index, UINT32_MAX);
    return index;
}

static inline void elsewhere_remove(uint32_t index)
{
    sessions_remove(elsewhere, index);
}

#endif
