#include "worker/delivery/carrier.h"

#include "worker/envelope/postmaster.h"
#include "worker/delivery/receipts.h"
#include "worker/mailbox/mailbox.h"

#include <assert.h>
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
        the_office = session->office;
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

static void carrier_has_room(struct session *session)
{
    carry_out(session, feed_room(&session->feed));
}

static void carrier_offer(struct session *session, struct seq seq, struct seq before,
                          struct slice skip_device, struct msg *msg)
{
    bool room = conn_waiting(&session->conn) < LIVE_BYTES;
    enum feed_step step;

    if (msg->flags & MSG_EXPIRES)
        before = seq; /* it is read from the mailbox, which knows whether it still may be */
    if (feed_offer(&session->feed, seq, before, room, &step) &&
        !(skip_device.data && slice_equal(skip_device, session_device(session))))
        hand_over(session, msg, seq);
    carry_out(session, step);
}

static void carrier_read_on(struct session *session)
{
    carry_out(session, feed_check(&session->feed, has_room(session)));
}

static void carrier_start(struct session *session, struct seq after, struct seq newest)
{
    carry_out(session, feed_start(&session->feed, after, newest));
}

/* ---- acknowledging ---- */

static void carrier_left(struct session *session, struct outbox_position position)
{
    feed_acks_sent(&session->feed.acks, (struct seq){ position.ms, position.n }, position.number);
}

static bool carrier_ack(struct session *session, struct seq seq)
{
    struct outbox_position oldest = outbox_oldest(&session->conn.outbox, 0);
    struct seq cursor;

    receipts_note_ack(session, seq);
    if (!conn_is_open(&session->conn) ||
        !feed_acks_take(&session->feed.acks, seq, (struct seq){ oldest.ms, oldest.n }, &cursor))
        return false;
    session->cursor = seq_max(cursor, session->cursor);
    receipts_store_cursor(session);
    return true;
}

/* ---- Redis was away ---- */

/* The messages that were queued when the mailbox was asked must still be in the mailbox. (Messages
 * that were queued since may be newer than this answer: they come through the other connection.) */
static bool has_lost_nothing(const struct session *session, const struct mailbox_opened *opened,
                             struct seq queued)
{
    return session->feed.state != FEED_IDLE &&
           session->data_lost_count == session->office->data_lost_count &&
           seq_compare(queued, opened->last) <= 0;
}

/* The data is not what it was, or the session began while Redis was away: the feed begins anew. */
static void begin_anew(struct session *session, const struct mailbox_opened *opened)
{
    struct office *office = session->office;
    struct standing standing = { .last = opened->last, .epoch = office->epoch };

    if (session->feed.state == FEED_IDLE) {
        standing.cursor = opened->cursor;
        standing.recovered = opened->cursor_epoch_ok || !opened->known_device;
    }
    session->data_lost_count = office->data_lost_count;
    session->cursor = standing.cursor;
    receipts_forget(session);
    if (session->feed.state == FEED_READING)
        session->stale_pages++;
    feed_fini(&session->feed);
    session_say_welcome(session, &standing);
    if (conn_is_open(&session->conn))
        carrier_start(session, standing.cursor, standing.last);
}

static void carrier_reopened(struct session *session, const struct mailbox_opened *opened,
                             struct seq queued)
{
    session->other_devices = opened->device_count > 1;
    if (session->data_lost_count == session->office->data_lost_count)
        receipts_retry(session);
    if (has_lost_nothing(session, opened, queued))
        carrier_read_on(session);
    else
        begin_anew(session, opened);
}

const struct session_supply carrier_supply = {
    .start = carrier_start,
    .reopened = carrier_reopened,
    .read_on = carrier_read_on,
    .offer = carrier_offer,
    .ack = carrier_ack,
    .left = carrier_left,
    .has_room = carrier_has_room,
};
