#include "worker/session/session.h"

#include "common/clock.h"
#include "common/grow.h"
#include "worker/envelope/postmaster.h"
#include "worker/mailbox/mailbox.h"
#include "worker/token/revocations.h"

#include <assert.h>
#include <stdlib.h>

static const char text_too_many_errors[] = "too many errors";

enum {
    RETRY_MS = 500, /* with up to RETRY_SPREAD_MS more, so that all do not come back at once */
    RETRY_SPREAD_MS = 2500,
};

/* ---- numbers ---- */

static enum err grow_sessions(struct office *office)
{
    uint32_t sessions_size = office->session_size, free_size = office->session_size;
    size_t count = (size_t)office->session_used + 1;

    if (grow_reserve(&office->sessions, &sessions_size, count, 256, UINT32_MAX) ||
        grow_reserve(&office->free_indexes, &free_size, count, 256, UINT32_MAX))
        return ERR_NOMEM;
    office->session_size = free_size;
    return OK;
}

enum err session_number_take(struct session *session)
{
    struct office *office = session->office;
    uint32_t index;

    if (office->free_count) {
        index = office->free_indexes[--office->free_count];
    } else {
        if (office->session_used == office->session_size && grow_sessions(office))
            return ERR_NOMEM;
        index = office->session_used++;
    }
    office->sessions[index] = session;
    session->number = (uint64_t)++office->next_generation << 32 | index;
    return OK;
}

void session_number_leave(struct session *session)
{
    struct office *office = session->office;
    uint32_t index = (uint32_t)session->number;

    office->sessions[index] = NULL;
    office->free_indexes[office->free_count++] = index;
}

struct session *session_by_number(const struct office *office, uint64_t number)
{
    uint32_t index = (uint32_t)number;
    struct session *session = index < office->session_used ? office->sessions[index] : NULL;

    return session && session->number == number ? session : NULL;
}

struct session *session_open_by_number(const struct office *office, uint64_t number)
{
    struct session *session = session_by_number(office, number);

    return session && conn_is_open(&session->conn) ? session : NULL;
}

/* ---- how the session is found ---- */

enum err session_list(struct session *session, struct slice address)
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

void session_unlist(struct session *session)
{
    struct session **at;

    if (!session->listed)
        return;
    session->listed = false;
    sessions_remove(session->office->table, session->shm_index);
    at = &session->entry->sessions;
    while (*at != session)
        at = &(*at)->next_same;
    *at = session->next_same;
}

/* The row is changed in place. A second row, however short its life, would be counted by another
 * worker (entrance/rivals.c), which may then turn out a session too many. */
void session_relist(struct session *session)
{
    sessions_set_since(session->office->table, session->shm_index, session->since_ns);
}

/* ---- speaking to the session ---- */

void session_say(struct session *session, struct msg *msg)
{
    if (!msg || conn_send(&session->conn, msg) == ERR_NOMEM)
        conn_abort_no_memory(&session->conn);
    msg_unref(msg);
}

void session_say_at_level(struct session *session, struct msg *msg, int8_t level)
{
    if (msg) {
        msg->kind = MSG_MAIL;
        msg->level = level;
    }
    if (!msg || conn_send_at(&session->conn, msg, (struct outbox_position){ 0 }) == ERR_NOMEM)
        conn_abort_no_memory(&session->conn);
    msg_unref(msg);
}

struct msg *session_welcome(const struct session *session, const struct standing *standing)
{
    const struct office *office = session->office;

    return postmaster_welcome(&(struct postmaster_welcome){
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
}

void session_say_welcome(struct session *session, const struct standing *standing)
{
    session_say(session, session_welcome(session, standing));
}

static void enqueue_goodbye(struct session *session, uint16_t code, const char *message,
                            uint32_t retry_after_ms)
{
    struct msg *msg = postmaster_goodbye(session_address(session), code, message, retry_after_ms);

    if (msg)
        conn_send(&session->conn, msg); /* without memory the close code alone must do */
    msg_unref(msg);
}

void session_say_goodbye(struct session *session, uint16_t code, const char *message,
                         uint32_t retry_after_ms)
{
    if (!conn_is_open(&session->conn))
        return;
    enqueue_goodbye(session, code, message, retry_after_ms);
    conn_close(&session->conn, code, slice_of(message));
}

void session_last_word(struct conn *conn, uint16_t code, struct slice reason)
{
    (void)reason;
    if (code == WS_CLOSE_ERRORS)
        enqueue_goodbye(session_of(conn), code, text_too_many_errors, 0);
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
    if (++session->errors <= limit)
        return;
    if (session_owes_answers(&session->conn))
        conn_close_answered(&session->conn, WS_CLOSE_ERRORS, text_too_many_errors);
    else
        session_say_goodbye(session, WS_CLOSE_ERRORS, text_too_many_errors, 0);
}

/* ---- answers that are owed ---- */

bool session_owes_answers(struct conn *conn)
{
    const struct session *session = session_of(conn);

    return session->tickets || session->errands;
}

void session_check_answered(struct session *session)
{
    if (!session_owes_answers(&session->conn))
        conn_answered(&session->conn);
}

/* ---- reading from the session ---- */

void session_stall(struct session *session)
{
    if (session->stalled || !conn_is_open(&session->conn))
        return;
    session->stalled = session->office->stalled = true;
    session->office->stalled_by_load |= mailbox_is_loaded(session->office->mailbox);
    stats_add(session->office->stats, STAT_senders_stalled, 1);
    conn_hold(&session->conn);
}

void session_read_on(struct session *session)
{
    if (!session->stalled && !session->errands_held && !session->inflation_held)
        conn_release(&session->conn);
}

void session_hold_for_errands(struct session *session, bool hold)
{
    if (session->errands_held == hold)
        return;
    session->errands_held = hold;
    if (hold)
        conn_hold(&session->conn);
    else
        session_read_on(session);
}

/* True when the session is still to wait: too much waits in all, or of its address. */
static bool must_stall(const struct session *session)
{
    const struct mailbox *mailbox = session->office->mailbox;

    return conn_is_open(&session->conn) && mailbox_is_up(mailbox) &&
           (mailbox_is_loaded(mailbox) ||
            mailbox_lane_is_long(mailbox, mailbox_lane(session->entry->key.lo)));
}

/* True when a stalled session may perhaps go on: the sessions are worth a look. */
static bool may_resume(struct office *office)
{
    if (mailbox_is_up(office->mailbox) && mailbox_is_loaded(office->mailbox)) {
        office->stalled_by_load = true;
        return false;
    }
    return mailbox_lanes_drained(office->mailbox) || office->stalled_by_load ||
           !mailbox_is_up(office->mailbox);
}

void session_resume_stalled(struct office *office)
{
    if (!office->stalled || !may_resume(office))
        return;
    office->stalled = office->stalled_by_load = false;
    for (uint32_t i = 0; i < office->session_used; i++) {
        struct session *session = office->sessions[i];
        if (!session || !session->stalled)
            continue;
        session->stalled = must_stall(session);
        office->stalled |= session->stalled;
        session_read_on(session);
    }
}

/* ---- the token ---- */

/* The token's end on the monotonic clock. A token that was accepted past its end, within the
 * leeway, lasts for the leeway. */
static uint64_t token_end_ms(const struct session *session)
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

void session_set_deadline(struct session *session)
{
    conn_set_deadline(&session->conn, token_end_ms(session));
}

void session_renew(struct session *session, struct grant *grant)
{
    grant_ref(grant);
    grant_unref(session->grant);
    session->grant = grant;
    session_set_deadline(session);
}

void session_on_deadline(struct conn *conn)
{
    struct session *session = session_of(conn);
    uint64_t end = token_end_ms(session);

    if (end > loop_now_ms(session->office->loop) && clock_unix_s() < session->grant->expires_at) {
        conn_set_deadline(conn, end); /* the wall clock has been set back */
        return;
    }
    stats_add(session->office->stats, STAT_tokens_expired, 1);
    session_say_goodbye(session, WS_CLOSE_TOKEN_EXPIRED, "token expired", 0);
}

void session_end_if_revoked(struct session *session)
{
    struct office *office = session->office;

    if (!conn_is_open(&session->conn) ||
        (!token_grant_revoked(office->config, session->grant) &&
         !revocations_hit(office->revocations, session->grant, loop_unix_s(office->loop))))
        return;
    stats_add(office->stats, STAT_tokens_revoked, 1);
    session_say_goodbye(session, WS_CLOSE_REVOKED, "token revoked", 0);
}

void session_check_revoked(struct office *office)
{
    for (uint32_t i = 0; i < office->session_used; i++)
        if (office->sessions[i])
            session_end_if_revoked(office->sessions[i]);
}

/* ---- leaving ---- */

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
