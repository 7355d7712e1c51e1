#include "worker/delivery/carrier.h"

#include "common/log.h"
#include "worker/groups/groups.h"
#include "worker/envelope/postmaster.h"
#include "worker/delivery/receipts.h"
#include "worker/entrance/rivals.h"
#include "worker/service/service.h"
#include "worker/entrance/whereabouts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* What is asked of Redis carries this, not the session: its number, where a pointer is expected. */
static void *name_of(const struct session *session)
{
    void *name;

    static_assert(sizeof name == sizeof session->number, "a number fits into a pointer");
    memcpy(&name, &session->number, sizeof name);
    return name;
}

/* One worker, one office: callbacks of the mailbox find it here. */
static struct office *the_office;

static struct session *by_name(void *arg)
{
    struct session *session = session_by_number(the_office, (uint64_t)(uintptr_t)arg);

    return session && conn_is_open(&session->conn) ? session : NULL;
}

void *carrier_name(const struct session *session)
{
    return name_of(session);
}

struct session *carrier_session(void *name)
{
    return by_name(name);
}

struct office *carrier_office(void)
{
    return the_office;
}

static bool has_room(const struct session *session)
{
    return conn_waiting(&session->conn) < ROOM_BYTES;
}

/* ---- reading ---- */

static void on_page(void *arg, const struct mailbox_page *page);

static void say_replayed(struct session *session)
{
    struct msg *msg = postmaster_replayed(session_address(session), session->feed.queued);

    /* Queued as mail is, at the lowest level that the backlog had, so that it comes behind all of
     * it and before what is live and no more urgent. */
    if (msg)
        msg->level = session->feed.level;
    if (!msg || conn_send_at(&session->conn, msg, (struct outbox_position){ 0 }))
        conn_abort(&session->conn);
    msg_unref(msg);
}

static void carry_out(struct session *session, enum feed_step step)
{
    struct feed *feed = &session->feed;

    switch (step) {
    case FEED_READ:
        if (mailbox_read(session->office->mailbox, session_address(session), feed->queued,
                         feed->page_count, on_page, name_of(session))) {
            feed_failed(feed);
            session->office->catch_up_again = true;
        }
        break;
    case FEED_WAIT:
        conn_ask_for_room(&session->conn, ROOM_BYTES);
        break;
    case FEED_REPLAYED:
        say_replayed(session);
        break;
    case FEED_NOTHING:
        break;
    }
}

static void hand_over(struct session *session, struct msg *msg, struct seq seq)
{
    struct outbox_position position = { seq.ms, seq.n, ++session->feed.numbers, 0 };

    if (msg->flags & MSG_ASKS)
        receipts_expect(session, seq);
    if (conn_send_at(&session->conn, msg, position) == ERR_NOMEM)
        conn_abort(&session->conn); /* it comes again after a reconnect */
}

bool carrier_has_expired(const struct office *office, const struct mailbox_entry *entry)
{
    if (!entry->expires_at || entry->expires_at > loop_unix_s(office->loop))
        return false;
    stats_add(office->stats, STAT_mail_expired, 1);
    return true;
}

static bool is_for(struct session *session, const struct mailbox_entry *entry)
{
    if (carrier_has_expired(session->office, entry)) {
        session->feed.numbers++; /* an ack of what is sent around it does not cover it */
        return false;
    }
    return !entry->skip_device.data || !slice_equal(entry->skip_device, session_device(session));
}

static void hand_over_entry(struct session *session, const struct mailbox_entry *entry)
{
    struct msg *msg;

    if (!is_for(session, entry))
        return;
    if (!session->feed.said_replayed && entry->level < session->feed.level)
        session->feed.level = entry->level;
    msg = msg_new(entry->body, MSG_MAIL, entry->level);
    if (!msg) {
        conn_abort(&session->conn);
        return;
    }
    msg->flags = entry->receipt ? MSG_ASKS : 0;
    hand_over(session, msg, entry->seq);
    msg_unref(msg);
}

static void on_page(void *arg, const struct mailbox_page *page)
{
    struct session *session = by_name(arg);
    uint64_t bytes = 0;

    if (!session)
        return;
    if (session->stale_pages) {
        session->stale_pages--; /* answers come in the order of the questions */
        return;
    }
    if (!page->ok) {
        feed_failed(&session->feed);
        session->office->catch_up_again = true;
        return;
    }
    for (size_t i = 0; i < page->count && conn_is_open(&session->conn); i++) {
        hand_over_entry(session, &page->entries[i]);
        bytes += page->entries[i].body.len;
    }
    if (conn_is_open(&session->conn))
        carry_out(session, feed_page(&session->feed, page->last, (unsigned)page->count, page->end,
                                     bytes, has_room(session)));
}

void carrier_on_room(struct conn *conn)
{
    struct session *session = (struct session *)conn;

    if (session->seat)
        service_has_room(session);
    else
        carry_out(session, feed_room(&session->feed));
    groups_on_room(session);
}

void carrier_offer(struct session *session, struct seq seq, struct seq before,
                   struct slice skip_device, struct msg *msg)
{
    bool room = conn_waiting(&session->conn) < LIVE_BYTES;
    enum feed_step step;

    if (session->seat) { /* by a worker that does not know what this address is */
        service_news(session->office, session_address(session));
        return;
    }
    if (msg->flags & MSG_EXPIRES)
        before = seq; /* it is read from the mailbox, which knows whether it still may be */
    if (feed_offer(&session->feed, seq, before, room, &step) &&
        !(skip_device.data && slice_equal(skip_device, session_device(session))))
        hand_over(session, msg, seq);
    carry_out(session, step);
}

/* ---- where the session stands ---- */

struct opening {
    struct carrier_since since;
};

void carrier_since_epoch(struct carrier_since *since, struct slice epoch)
{
    if (epoch.len < sizeof since->epoch)
        snprintf(since->epoch, sizeof since->epoch, "%.*s", (int)epoch.len,
                 epoch.data ? epoch.data : "");
    else
        memcpy(since->epoch, "?", 2); /* none of ours */
}

struct carrier_standing carrier_judge(const struct office *office,
                                      const struct carrier_since *since,
                                      const struct mailbox_opened *opened)
{
    struct carrier_standing standing = { .last = opened->last,
                                         .epoch = office->epoch,
                                         .recovered = true };
    bool epoch_known = since->given ? !*since->epoch || strcmp(since->epoch, office->epoch) == 0
                                    : !opened->known_device || opened->cursor_epoch_ok;

    standing.cursor = since->given ? since->seq : opened->cursor;
    if (!epoch_known || seq_compare(standing.cursor, opened->last) > 0) {
        standing.recovered = false; /* the data is not the one in which that position was */
        standing.cursor = (struct seq){ 0 };
    } else if (seq_compare(opened->lost, standing.cursor) > 0) {
        standing.recovered = false; /* retention has taken what came next */
    }
    return standing;
}

static void on_opened(void *arg, const struct mailbox_opened *opened)
{
    struct session *session = by_name(arg);
    struct carrier_standing standing;
    struct opening *opening;

    if (!session || !session->opening)
        return;
    opening = session->opening;
    session->opening = NULL;
    if (!opened->ok && session->office->mailbox && mailbox_is_up(session->office->mailbox))
        session->office->catch_up_again = true; /* out of memory, read-only */
    if (opened->ok) {
        whereabouts_entered(session, opened);
        standing = carrier_judge(session->office, &opening->since, opened);
        if (service_is(session->office, session->wanted_address)) /* nothing is replayed to it */
            standing = (struct carrier_standing){ .last = opened->last,
                                                  .epoch = standing.epoch,
                                                  .recovered = true };
        standing.others = opened->others;
        standing.other_count = opened->other_count;
        session->other_devices = opened->device_count > 1;
        session->cursor = standing.cursor;
        session->newest = standing.last;
    }
    session_begin(session, opened->ok ? &standing : NULL, opening->since.given);
    free(opening);
}

void carrier_open(struct session *session, const struct carrier_since *since)
{
    struct office *office = session->office;
    struct mailbox_opened unavailable = { .ok = false };

    the_office = office;
    groups_session_opened(session); /* before the mailbox is asked: by `welcome` it has joined */
    session->opening = malloc(sizeof *session->opening);
    if (!session->opening) {
        conn_abort(&session->conn);
        return;
    }
    session->opening->since = *since;
    if (!office->mailbox || !mailbox_is_up(office->mailbox) ||
        whereabouts_enter(session, on_opened, name_of(session)))
        on_opened(name_of(session), &unavailable);
}

void carrier_start(struct session *session)
{
    if (session->seat) {
        say_replayed(session);
        service_start(session);
        return;
    }
    carry_out(session, feed_start(&session->feed, session->cursor, session->newest));
}

void carrier_close(struct session *session)
{
    free(session->opening);
    session->opening = NULL;
    receipts_forget(session);
    feed_fini(&session->feed);
    groups_session_gone(session);
}

/* ---- acknowledging ---- */

void carrier_on_stored_left(struct conn *conn, struct outbox_position position)
{
    struct session *session = (struct session *)conn;

    if (position.feed) {
        groups_on_stored_left(session, position);
        return;
    }
    if (session->seat)
        service_left(session, (struct seq){ position.ms, position.n });
    else
        feed_acks_sent(&session->feed.acks, (struct seq){ position.ms, position.n },
                       position.number);
}

bool carrier_ack(struct session *session, struct seq seq)
{
    struct outbox_position oldest = outbox_oldest(&session->conn.outbox, 0);
    struct seq cursor;

    if (session->seat)
        return service_ack(session, seq);
    receipts_note_ack(session, seq);
    if (!conn_is_open(&session->conn) ||
        !feed_acks_take(&session->feed.acks, seq, (struct seq){ oldest.ms, oldest.n }, &cursor))
        return false;
    if (seq_compare(cursor, session->cursor) > 0)
        session->cursor = cursor;
    receipts_store_cursor(session);
    return true;
}

/* ---- Redis was away ---- */

void carrier_mailbox_up(struct office *office, struct slice epoch, bool lost)
{
    the_office = office;
    snprintf(office->epoch, sizeof office->epoch, "%.*s", (int)epoch.len, epoch.data);
    if (lost)
        office->data_lost_count++;
    carrier_look_again(office);
}

void carrier_look_again(struct office *office)
{
    office->catch_up_at = 0;
    office->catch_up_lightly = false;
    groups_look_again(office);
}

void carrier_read_on(struct office *office)
{
    /* One that does more, and is still going on, begins anew as it was. */
    bool lightly = office->catch_up_at == UINT32_MAX || office->catch_up_lightly;

    carrier_look_again(office);
    office->catch_up_lightly = lightly;
}

/* What was queued when the mailbox was asked must be in it. (What has been queued since may
 * have come through the other connection, faster than this answer.) */
static bool is_as_it_was(const struct session *session, const struct mailbox_opened *opened)
{
    return session->feed.state != FEED_IDLE &&
           session->data_lost_count == session->office->data_lost_count &&
           seq_compare(session->newest, opened->last) <= 0;
}

/* The session was open when Redis went, or before there was one: its place, its device and its
 * position are told again; what it missed is read; and it is told when data was lost. */
static void on_reopened(void *arg, const struct mailbox_opened *opened)
{
    struct session *session = by_name(arg);
    struct office *office = the_office;
    struct carrier_standing standing;

    if (session)
        session->reopening--;
    if (!opened->ok)
        office->catch_up_again = true;
    if (!session || !session->listed || !opened->ok)
        return;
    whereabouts_entered(session, opened);
    if (!rivals_meet(session, opened->others, opened->other_count))
        return;
    if (session->seat) {
        service_reopened(session, opened->last);
        return;
    }
    session->other_devices = opened->device_count > 1;
    if (session->data_lost_count == office->data_lost_count)
        receipts_retry(session);
    if (is_as_it_was(session, opened)) {
        carry_out(session, feed_check(&session->feed, has_room(session)));
        return;
    }
    standing = (struct carrier_standing){ .last = opened->last, .epoch = office->epoch };
    if (session->feed.state == FEED_IDLE) { /* it began while Redis was away: now it is known */
        standing.cursor = opened->cursor;
        standing.recovered = opened->cursor_epoch_ok || !opened->known_device;
    }
    session->data_lost_count = office->data_lost_count;
    session->cursor = standing.cursor;
    session->newest = standing.last;
    receipts_forget(session);
    if (session->feed.state == FEED_READING)
        session->stale_pages++;
    feed_fini(&session->feed);
    session_say_welcome(session, &standing);
    if (conn_is_open(&session->conn))
        carrier_start(session);
}

/* False: not now, or too much is under way. */
static bool catch_up(struct session *session)
{
    struct office *office = session->office;

    if (office->catch_up_lightly) {
        if (session->seat)
            service_news(office, session_address(session));
        else
            carry_out(session, feed_check(&session->feed, has_room(session)));
        return true;
    }
    if (session->reopening == UINT8_MAX ||
        whereabouts_enter(session, on_reopened, name_of(session)))
        return false;
    if (session->reopening++ == 0)
        session->newest = session->feed.queued; /* of several questions the oldest counts */
    return true;
}

bool carrier_catch_up_some(struct office *office, unsigned count)
{
    if (!mailbox_is_up(office->mailbox))
        return false;
    for (; count && office->catch_up_at < office->session_used; office->catch_up_at++) {
        struct session *session = office->sessions[office->catch_up_at];
        if (!session || !session->listed)
            continue;
        if (!catch_up(session))
            return false; /* from here on in a later turn; or away again: the next up begins
                             anew */
        count--;
    }
    if (office->catch_up_at < office->session_used)
        return true;
    office->catch_up_at = UINT32_MAX;
    return false;
}
