#include "worker/entrance/life.h"

#include "common/clock.h"
#include "common/log.h"
#include "shm/histograms.h"
#include "shm/origins.h"
#include "shm/slots.h"
#include "worker/delivery/carrier.h"
#include "worker/delivery/receipts.h"
#include "worker/delivery/ticket.h"
#include "worker/entrance/openings.h"
#include "worker/entrance/rivals.h"
#include "worker/entrance/whereabouts.h"
#include "worker/groups/groups.h"
#include "worker/mailbox/mailbox_enter.h"
#include "worker/service/service.h"
#include "worker/session/allowance.h"
#include "worker/session/errands.h"
#include "worker/session/inflation.h"
#include "worker/session/service_turn.h"
#include "worker/mailbox/mailbox.h"
#include "worker/wire/stream.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

static void log_life(const struct session *session, const char *event)
{
    struct log_text address, device;

    if (log_threshold > LOG_DEBUG)
        return;
    log_debug(event, "session=%llx address=%s device=%s", (unsigned long long)session->number,
              log_quote(&address, session_address(session)),
              log_quote(&device, session_device(session)));
}

/* ---- making ---- */

/* The claim's own bytes are gone by the time at which the mailbox answers. */
static struct session_opening *opening_new(struct session *session,
                                           const struct session_claim *claim)
{
    struct session_opening *opening =
        malloc(sizeof *opening + claim->address.len + claim->early.len);

    if (!opening)
        return NULL;
    *opening = (struct session_opening){
        .session = session,
        .address = slice_make(opening->text, claim->address.len),
        .early = slice_make(opening->text + claim->address.len, claim->early.len),
    };
    memcpy(opening->text, claim->address.data, claim->address.len);
    if (claim->early.len)
        memcpy(opening->text + claim->address.len, claim->early.data, claim->early.len);
    standing_since_read(&opening->since, claim->since); /* the door has checked the text */
    standing_since_epoch(&opening->since, claim->epoch);
    return opening;
}

/* While Redis has a question about the opening, the answer frees it. */
static void opening_free(struct session *session)
{
    struct session_opening *opening = session->opening;

    session->opening = NULL;
    if (opening && opening->asked) {
        opening->session = NULL;
    } else if (opening) {
        openings_leave(opening); /* an opening that waited; nobody waits for its turn */
        free(opening);
    }
}

static struct session *make(struct office *office, const struct session_claim *claim)
{
    struct session *session = calloc(1, sizeof *session + claim->device.len);

    if (!session)
        return NULL;
    session->opening = opening_new(session, claim);
    if (!session->opening) {
        free(session);
        return NULL;
    }
    session->allowance = allowance_hold(office, sessions_key(office->region, claim->address),
                                        service_is(office, claim->address));
    if (!session->allowance) {
        free(session->opening);
        free(session);
        return NULL;
    }
    session->office = session->opening->office = office;
    session->supply = &carrier_supply;
    session->grant = grant_ref(claim->grant);
    session->began_ns = clock_monotonic_ns();
    session->since_ns = whereabouts_since_ns(session);
    session->device_len = (uint8_t)claim->device.len;
    memcpy(session->device, claim->device.data, claim->device.len);
    return session;
}

static void session_free(struct session *session)
{
    struct office *office = session->office;

    if (session->entry) {
        session->entry->holders--;
        directory_release(&office->directory, session->entry);
    }
    if (session->number)
        session_number_leave(session);
    if (session->origin_key)
        origins_remove(office->region, office->slot, session->origin_key);
    if (!session->is_desk)
        slot_seat_leave(office->region, office->slot);
    opening_free(session);
    if (session->allowance)
        allowance_release(office, session->allowance);
    receipts_forget(session);
    errands_free(session);
    reader_fini(&session->reader);
    groups_session_gone(session);
    grant_unref(session->grant);
    free(session);
}

/* ---- beginning ---- */

/* A service session is replayed nothing: Redis shares the work out. */
static struct standing judge(const struct session *session, const struct mailbox_opened *opened)
{
    const struct office *office = session->office;

    if (service_is(office, session_address(session)))
        return (struct standing){ .last = opened->last, .epoch = office->epoch, .recovered = true };
    return standing_judge(office->epoch, &session->opening->since, opened);
}

static enum err enter_tables(struct session *session)
{
    struct office *office = session->office;
    enum err err = session_list(session, session->opening->address);

    if (!err && service_is(office, session_address(session)))
        err = service_sit(session);
    return err;
}

/* The session can be found before the first page is asked for, so nothing falls between pages and
 * doorbells. opened NULL: nothing is stored, or Redis is away. */
static void begin(struct session *session, const struct mailbox_opened *opened)
{
    struct standing standing = {
        .epoch = "", .recovered = !session->opening->since.given || session->opening->since.now
    };
    struct office *office = session->office;

    session->data_lost_count = office->data_lost_count;
    if (opened) {
        whereabouts_entered(session, opened);
        standing = judge(session, opened);
        session->other_devices = opened->device_count > 1;
        session->cursor = standing.cursor;
    }
    if (enter_tables(session)) {
        log_rarely(LOG_ERROR, "", "session_not_opened", "reason=\"no room\"");
        conn_abort(&session->conn);
        return;
    }
    log_life(session, "session_opened");
    session_say_welcome(session, &standing);
    session_set_deadline(session);
    rivals_meet(session, opened ? opened->others : NULL, opened ? opened->other_count : 0);
    if (opened && conn_is_open(&session->conn))
        rivals_greet(session, opened->others, opened->other_count);
    if (opened && conn_is_open(&session->conn))
        session->supply->start(session, standing.begin, standing.last);
    inflation_begin(session);
    session_read_on(session);
    conn_feed(&session->conn, session->opening->early);
    opening_free(session);
}

static void take_opened(struct session_opening *opening, const struct mailbox_opened *opened)
{
    struct session *session = opening->session;
    struct office *office = opening->office;

    opening->asked = false;
    if (!session) {
        free(opening);
        return;
    }
    if (!conn_is_open(&session->conn))
        return;
    if (!opened->ok && office->mailbox && mailbox_is_up(office->mailbox))
        office->catch_up_again = true; /* Redis is out of memory, or read-only */
    begin(session, opened->ok ? opened : NULL);
}

static void on_standing(void *arg, const struct mailbox_opened *opened);

/* False: Redis is away, or takes no more. */
static bool ask_to_open(struct session_opening *opening)
{
    const struct office *office = opening->office;

    opening->asked = office->mailbox && mailbox_is_up(office->mailbox) &&
                     whereabouts_enter(opening->session, on_standing, opening) == OK;
    return opening->asked;
}

/* The session begins first: the next opening of the address then finds the session in the tables.
 */
static void on_standing(void *arg, const struct mailbox_opened *opened)
{
    static const struct mailbox_opened unavailable = { .ok = false };
    struct session_opening *opening = arg, *next = openings_leave(opening);

    take_opened(opening, opened);
    while (next && !ask_to_open(next)) {
        opening = next;
        next = openings_leave(opening);
        take_opened(opening, &unavailable);
    }
}

static void ask_standing(struct session *session)
{
    const struct mailbox_opened unavailable = { .ok = false };

    groups_session_opened(session); /* first: by `welcome` the session is in "#all" */
    if (openings_enter(session->opening) && !ask_to_open(session->opening))
        on_standing(session->opening, &unavailable);
}

struct session *life_open(struct office *office, int fd, const struct session_claim *claim)
{
    struct session *session = make(office, claim);

    if (!session) {
        stats_add(office->stats, STAT_out_of_memory, 1);
        stream_close(fd, claim->tls);
        slot_seat_leave(office->region, office->slot);
        if (claim->origin_key)
            origins_remove(office->region, office->slot, claim->origin_key);
        return NULL;
    }
    session->origin_key = claim->origin_key;
    session->ip = claim->ip;
    if (session_number_take(session)) {
        stats_add(office->stats, STAT_out_of_memory, 1);
        stream_close(fd, claim->tls);
        session_free(session);
        return NULL;
    }
    if (conn_start(&session->conn, &office->host, fd, claim->tls)) {
        session_free(session);
        return NULL;
    }
    stats_add(office->stats, STAT_sessions_opened, 1);
    conn_hold(&session->conn);
    if (conn_send_raw(&session->conn, claim->answer) ||
        conn_compress(&session->conn, &claim->deflate))
        conn_abort_no_memory(&session->conn);
    else
        ask_standing(session);
    return session;
}

/* ---- the clerk's sessions ---- */

static void desk_start(struct session *session, struct seq after, struct seq newest)
{
    (void)session, (void)after, (void)newest;
}

static void desk_reopened(struct session *session, const struct mailbox_opened *opened,
                          struct seq queued)
{
    (void)session, (void)opened, (void)queued;
}

static void desk_offer(struct session *session, struct seq seq, struct seq before,
                       struct slice skip_device, struct msg *msg)
{
    (void)session, (void)seq, (void)before, (void)skip_device, (void)msg;
}

static bool desk_ack(struct session *session, struct seq seq)
{
    (void)session, (void)seq;
    return false;
}

static void desk_left(struct session *session, struct outbox_position position)
{
    (void)session, (void)position;
}

static void desk_hears(struct session *session)
{
    (void)session;
}

/* Nothing is stored for a session that cannot be found. */
static const struct session_supply desk_supply = {
    .start = desk_start,
    .reopened = desk_reopened,
    .read_on = desk_hears,
    .offer = desk_offer,
    .ack = desk_ack,
    .left = desk_left,
    .has_room = desk_hears,
};

/* The address has an entry in the directory, so that its letters take turns as a sender's. */
static enum err fill_desk(struct session *session, bool is_free)
{
    struct office *office = session->office;
    struct slice address = slice_make(session->grant->sub, session->grant->sub_len);
    struct address_key key = sessions_key(office->region, address);

    session->entry = directory_need(&office->directory, key, address);
    if (!session->entry)
        return ERR_NOMEM;
    session->entry->holders++;
    if (!is_free && !(session->allowance = allowance_hold(office, key, false)))
        return ERR_NOMEM;
    return session_number_take(session);
}

struct session *life_open_desk(struct office *office, int fd, struct grant *grant, bool is_free)
{
    struct session *session = calloc(1, sizeof *session);

    if (!session) {
        close(fd);
        return NULL;
    }
    session->office = office;
    session->is_desk = true;
    session->supply = &desk_supply;
    session->grant = grant_ref(grant);
    session->began_ns = session->since_ns = clock_monotonic_ns();
    if (fill_desk(session, is_free)) {
        close(fd);
        session_free(session);
        return NULL;
    }
    if (conn_start(&session->conn, &office->host, fd, NULL)) {
        session_free(session);
        return NULL;
    }
    return session;
}

/* ---- what the connection tells ---- */

/* The seq of a message has the milliseconds of Redis' clock at the append. */
static uint64_t since_append_ns(const struct office *office, struct outbox_position position)
{
    int64_t now_ns = (int64_t)loop_now_ns(office->loop) + office->clock_ahead_ns;
    int64_t since_ns = now_ns - (int64_t)position.ms * 1000000;

    return since_ns > 0 ? (uint64_t)since_ns
                        : 0; /* the two clocks agree on milliseconds, not more */
}

void life_on_stored_left(struct conn *conn, struct outbox_position position)
{
    struct session *session = session_of(conn);
    struct office *office = session->office;

    if (position.live)
        histogram_add(office->stats, HISTOGRAM_DELIVERY, since_append_ns(office, position));
    if (position.feed)
        groups_on_stored_left(session, position);
    else
        session->supply->left(session, position);
}

void life_on_room(struct conn *conn)
{
    struct session *session = session_of(conn);

    session->supply->has_room(session);
    groups_on_room(session);
    errands_on_room(session);
}

/* Many sessions go silent at once when a network fails: past SILENCE_LINES a second the counters
 * alone say so. */
static void log_silence(const struct session *session)
{
    enum { SILENCE_LINES = 16 };
    struct office *office = session->office;
    uint64_t now_s = loop_now_ms(office->loop) / 1000;
    bool no_pong = session->conn.silence == CONN_NO_PONG;
    struct log_text address, device;

    assert(session->entry || session->opening); /* one of them has the address */
    if (office->silence_log_s != now_s) {
        office->silence_log_s = now_s;
        office->silence_log_count = 0;
    }
    if (office->silence_log_count++ >= SILENCE_LINES)
        return;
    log_info("session_silent", "session=%llx address=%s device=%s why=%s code=%u seconds=%lld",
             (unsigned long long)session->number, log_quote(&address, session_address(session)),
             log_quote(&device, session_device(session)), no_pong ? "no-pong" : "no-progress",
             no_pong ? WS_CLOSE_GOING_AWAY : WS_CLOSE_TOO_SLOW,
             (long long)(no_pong ? office->config->limits.ping_s + office->config->limits.pong_s
                                 : office->config->limits.slow_consumer_s));
}

void life_on_closing(struct conn *conn)
{
    struct session *session = session_of(conn);

    if (session->opening && !session->opening->asked)
        openings_leave(session->opening); /* a closed session must not ask when its turn comes */
    if (conn->silence != CONN_NOT_SILENT)
        log_silence(session);
    service_leave(session);
    session_unlist(session);
    whereabouts_leave(session);
    groups_session_closing(session);
    tickets_orphan(session);
    errands_close(session);
    inflation_end(session);
}

void life_on_gone(struct conn *conn)
{
    struct session *session = session_of(conn);

    if (!session->is_desk)
        stats_add(session->office->stats, STAT_sessions_closed, 1);
    log_life(session, "session_closed");
    session_free(session);
}
