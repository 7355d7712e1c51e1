#include "worker/session/session.h"

#include "common/clock.h"
#include "common/log.h"
#include "shm/origins.h"
#include "shm/slots.h"
#include "worker/delivery/carrier.h"
#include "worker/groups/groups.h"
#include "worker/envelope/postmaster.h"
#include "worker/entrance/rivals.h"
#include "worker/service/service.h"
#include "worker/delivery/ticket.h"
#include "worker/entrance/whereabouts.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    RETRY_MS = 500, /* with up to RETRY_SPREAD_MS more, so that all do not come back at once */
    RETRY_SPREAD_MS = 2500,
};

static struct session *of_conn(struct conn *conn)
{
    return (struct session *)conn;
}

/* ---- places: session numbers ---- */

static enum err grow_places(struct office *office)
{
    uint32_t size = office->session_size ? office->session_size * 2 : 256;
    struct session **sessions = realloc(office->sessions, size * sizeof(struct session *));
    uint32_t *free_places;

    if (!sessions)
        return ERR_NOMEM;
    office->sessions = sessions;
    free_places = realloc(office->free_places, size * sizeof *free_places);
    if (!free_places)
        return ERR_NOMEM;
    office->free_places = free_places;
    office->session_size = size;
    return OK;
}

static enum err take_place(struct office *office, struct session *session)
{
    uint32_t place;

    if (office->free_count) {
        place = office->free_places[--office->free_count];
    } else {
        if (office->session_used == office->session_size && grow_places(office))
            return ERR_NOMEM;
        place = office->session_used++;
    }
    office->sessions[place] = session;
    session->number = (uint64_t)++office->next_generation << 32 | place;
    return OK;
}

static void leave_place(struct session *session)
{
    struct office *office = session->office;
    uint32_t place = (uint32_t)session->number;

    office->sessions[place] = NULL;
    office->free_places[office->free_count++] = place;
}

struct session *session_by_number(const struct office *office, uint64_t number)
{
    uint32_t place = (uint32_t)number;
    struct session *session = place < office->session_used ? office->sessions[place] : NULL;

    return session && session->number == number ? session : NULL;
}

/* ---- being found ---- */

static enum err list(struct session *session, struct slice address)
{
    struct office *office = session->office;
    struct address_key key = sessions_key(office->region, address);
    struct directory_entry *entry = directory_need(&office->directory, key, address);

    if (!entry)
        return ERR_NOMEM;
    session->entry = entry;
    entry->holders++;
    session->shm_index = sessions_add(office->table, key, session->number, session_device(session),
                                      session->since_ns);
    if (session->shm_index == UINT32_MAX)
        return ERR_FULL;
    session->next_same = entry->sessions;
    entry->sessions = session;
    session->listed = true;
    return OK;
}

static void unlist(struct session *session)
{
    struct session **at;

    if (!session->listed)
        return;
    session->listed = false;
    service_leave(session);
    sessions_remove(session->office->table, session->shm_index);
    at = &session->entry->sessions;
    while (*at != session)
        at = &(*at)->next_same;
    *at = session->next_same;
}

/* The new row first, so that the session can be found at every moment. */
void session_relist(struct session *session)
{
    struct office *office = session->office;
    uint32_t index = sessions_add(office->table, session->entry->key, session->number,
                                  session_device(session), session->since_ns);

    if (index == UINT32_MAX)
        return; /* no room for a moment: the old row tells nearly the same */
    sessions_remove(office->table, session->shm_index);
    session->shm_index = index;
}

/* ---- life ---- */

/* The token's end on the monotonic clock; a token that is accepted past its end, within the leeway,
 * lasts as long as the leeway does. */
static uint64_t end_ms(const struct session *session)
{
    struct office *office = session->office;
    int64_t left_ms, unix_ms = clock_unix_ms();

    if (session->grant->expires_at > INT64_MAX / 2000)
        return UINT64_MAX;
    left_ms = session->grant->expires_at * 1000 - unix_ms;
    if (left_ms <= 0)
        left_ms += office->config->auth.leeway_s * 1000;
    return loop_now_ms(office->loop) + (left_ms > 0 ? (uint64_t)left_ms : 0);
}

static struct session *make(struct office *office, const struct session_claim *claim)
{
    struct session *session = calloc(1, sizeof *session + claim->device.len);

    if (!session)
        return NULL;
    session->office = office;
    session->grant = grant_ref(claim->grant);
    session->began_ns = clock_monotonic_ns();
    session->since_ns = whereabouts_since_ns(session);
    session->origin_key = claim->origin_key;
    session->device_len = (uint8_t)claim->device.len;
    memcpy(session->device, claim->device.data, claim->device.len);
    limiter_init(&session->limiter, (uint32_t)office->config->limits.burst,
                 loop_now_ms(office->loop));
    return session;
}

void session_say_welcome(struct session *session, const struct carrier_standing *standing)
{
    struct office *office = session->office;
    struct msg *msg = postmaster_welcome(&(struct postmaster_welcome){
        .address = session_address(session),
        .device = session_device(session),
        .node = office->node,
        .worker = office->slot,
        .session = session->number,
        .config = office->config,
        .last = standing->last,
        .cursor = standing->cursor,
        .epoch = standing->epoch,
        .recovered = standing->recovered,
        .service = session->seat != NULL,
    });

    if (!msg || conn_send(&session->conn, msg))
        conn_abort(&session->conn);
    msg_unref(msg);
}

static void free_session(struct session *session)
{
    struct office *office = session->office;

    if (session->entry) {
        session->entry->holders--;
        directory_release(&office->directory, session->entry);
    }
    if (session->number)
        leave_place(session);
    if (session->origin_key)
        origins_remove(office->region, office->slot, session->origin_key);
    slot_seat_leave(office->region, office->slot);
    carrier_close(session);
    free(session->claim);
    grant_unref(session->grant);
    free(session);
}

static void log_life(const struct session *session, const char *event)
{
    struct log_text address, device;

    if (log_threshold > LOG_DEBUG)
        return;
    log_debug(event, "session=%llx address=%s device=%s", (unsigned long long)session->number,
              log_quote(&address, session_address(session)),
              log_quote(&device, session_device(session)));
}

/* What is needed when the mailbox has answered; the claim's own bytes are gone by then. */
static enum err keep_claim(struct session *session, const struct session_claim *claim)
{
    session->claim = malloc(claim->address.len + claim->early.len + 1);
    if (!session->claim)
        return ERR_NOMEM;
    memcpy(session->claim, claim->address.data, claim->address.len);
    if (claim->early.len)
        memcpy(session->claim + claim->address.len, claim->early.data, claim->early.len);
    session->wanted_address = slice_make(session->claim, claim->address.len);
    session->early = slice_make(session->claim + claim->address.len, claim->early.len);
    return OK;
}

static struct carrier_since since_of(const struct session_claim *claim)
{
    struct carrier_since since = { .given =
                                       claim->since.data && seq_parse(claim->since, &since.seq) };

    carrier_since_epoch(&since, claim->epoch);
    return since;
}

struct session *session_open(struct office *office, int fd, const struct session_claim *claim)
{
    struct session *session = make(office, claim);
    struct carrier_since since = since_of(claim);

    if (!session) {
        close(fd);
        slot_seat_leave(office->region, office->slot);
        if (claim->origin_key)
            origins_remove(office->region, office->slot, claim->origin_key);
        return NULL;
    }
    if (take_place(office, session) || keep_claim(session, claim)) {
        log_error("session_not_opened", "reason=\"no room\"");
        close(fd);
        free_session(session);
        return NULL;
    }
    if (conn_start(&session->conn, &office->host, fd)) {
        free_session(session);
        return NULL;
    }
    stats_add(office->stats, STAT_sessions_opened, 1);
    conn_hold(&session->conn);
    if (conn_send_raw(&session->conn, claim->answer))
        conn_abort(&session->conn);
    else
        carrier_open(session, &since);
    return session;
}

/* The claim's bytes are not needed any more: the directory has the address. */
static void forget_claim(struct session *session)
{
    free(session->claim);
    session->claim = NULL;
    session->wanted_address = session->early = (struct slice){ 0 };
}

void session_begin(struct session *session, const struct carrier_standing *standing,
                   bool asked_replay)
{
    struct carrier_standing unknown = { .epoch = "", .recovered = !asked_replay };
    struct office *office = session->office;

    session->data_lost_count = office->data_lost_count;
    if (list(session, session->wanted_address) ||
        (service_is(office, session_address(session)) && service_sit(session))) {
        log_error("session_not_opened", "reason=\"no room\"");
        conn_abort(&session->conn);
        return;
    }
    log_life(session, "session_opened");
    session_say_welcome(session, standing ? standing : &unknown);
    conn_set_deadline(&session->conn, end_ms(session));
    rivals_meet(session, standing ? standing->others : NULL, standing ? standing->other_count : 0);
    if (standing && conn_is_open(&session->conn))
        rivals_greet(session, standing->others, standing->other_count);
    if (standing && conn_is_open(&session->conn))
        carrier_start(session);
    conn_release(&session->conn);
    conn_feed(&session->conn, session->early);
    forget_claim(session);
}

void session_say_goodbye(struct session *session, uint16_t code, const char *message,
                         uint32_t retry_after_ms)
{
    struct msg *msg;

    if (!conn_is_open(&session->conn))
        return;
    msg = postmaster_goodbye(session_address(session), code, message, retry_after_ms);
    if (msg)
        conn_send(&session->conn, msg); /* without memory the close code alone must do */
    msg_unref(msg);
    conn_close(&session->conn, code, slice_of(message));
}

void session_renew(struct session *session, struct grant *grant)
{
    grant_ref(grant);
    grant_unref(session->grant);
    session->grant = grant;
    conn_set_deadline(&session->conn, end_ms(session));
}

void session_stall(struct session *session)
{
    if (session->stalled || !conn_is_open(&session->conn))
        return;
    session->stalled = session->office->stalled = true;
    stats_add(session->office->stats, STAT_senders_stalled, 1);
    conn_hold(&session->conn);
}

void session_stalled_go_on(struct office *office)
{
    if (!office->stalled || (mailbox_is_up(office->mailbox) && mailbox_is_loaded(office->mailbox)))
        return;
    office->stalled = false;
    for (uint32_t i = 0; i < office->session_used; i++) {
        struct session *session = office->sessions[i];
        if (!session || !session->stalled)
            continue;
        session->stalled = false;
        conn_release(&session->conn);
    }
}

void session_count_error(struct session *session)
{
    int64_t limit = session->office->config->limits.errors_per_minute;
    uint64_t now_ms = loop_now_ms(session->office->loop);

    if (limit == 0)
        return;
    if (now_ms - session->errors_at_ms >= 60000) {
        session->errors_at_ms = now_ms;
        session->errors = 0;
    }
    if (++session->errors > limit)
        session_say_goodbye(session, WS_CLOSE_ERRORS, "too many errors", 0);
}

void session_on_deadline(struct conn *conn)
{
    struct session *session = of_conn(conn);
    uint64_t end = end_ms(session);

    if (end > loop_now_ms(session->office->loop) && clock_unix_s() < session->grant->expires_at) {
        conn_set_deadline(conn, end); /* the wall clock was set back meanwhile */
        return;
    }
    stats_add(session->office->stats, STAT_tokens_expired, 1);
    session_say_goodbye(session, WS_CLOSE_TOKEN_EXPIRED, "token expired", 0);
}

void session_on_closing(struct conn *conn)
{
    struct session *session = of_conn(conn);

    unlist(session);
    whereabouts_leave(session);
    groups_leave_all(session);
    tickets_orphan(session);
}

void session_on_gone(struct conn *conn)
{
    struct session *session = of_conn(conn);

    stats_add(session->office->stats, STAT_sessions_closed, 1);
    log_life(session, "session_closed");
    free_session(session);
}

/* ---- all sessions of the worker ---- */

void session_check_revoked(struct office *office)
{
    for (uint32_t i = 0; i < office->session_used; i++) {
        struct session *session = office->sessions[i];
        if (!session || !conn_is_open(&session->conn) || !*session->grant->jti ||
            !token_revoked(office->config, session->grant->jti))
            continue;
        stats_add(office->stats, STAT_tokens_revoked, 1);
        session_say_goodbye(session, WS_CLOSE_REVOKED, "token revoked", 0);
    }
}

void session_check_replaced(struct office *office)
{
    for (uint32_t i = 0; i < office->session_used; i++) {
        struct session *session = office->sessions[i];
        if (!session || !session->listed || !rivals_replaced(session))
            continue;
        stats_add(office->stats, STAT_replaced, 1);
        session_say_goodbye(session, WS_CLOSE_REPLACED,
                            "a newer session of this device took its place", 0);
    }
}

bool session_drain_some(struct office *office, uint32_t *cursor, unsigned count, uint16_t code,
                        uint64_t patience_at_ms)
{
    const char *why = code == WS_CLOSE_GOING_AWAY ? "the server is shutting down"
                                                  : "this worker is leaving; please reconnect";

    for (; count && *cursor < office->session_used; (*cursor)++) {
        struct session *session = office->sessions[*cursor];
        if (!session || !conn_is_open(&session->conn))
            continue;
        session_say_goodbye(session, code, why,
                            RETRY_MS + (uint32_t)(session->since_ns / 1000 % RETRY_SPREAD_MS));
        conn_set_patience(&session->conn, patience_at_ms);
        count--;
    }
    return *cursor < office->session_used;
}
