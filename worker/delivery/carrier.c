#include "worker/delivery/carrier.h"

#include "worker/envelope/postmaster.h"
#include "worker/delivery/receipts.h"
#include "worker/mailbox/mailbox.h"

#include <stddef.h>
#include <stdlib.h>

/* ---- reading: the session's reader follows its mailbox ---- */

static struct session *reader_session(struct reader *reader)
{
    return (struct session *)((char *)reader - offsetof(struct session, reader));
}

static bool mail_has_room(struct reader *reader)
{
    return conn_waiting(&reader_session(reader)->conn) < ROOM_BYTES;
}

static void mail_wait(struct reader *reader)
{
    conn_ask_for_room(&reader_session(reader)->conn, ROOM_BYTES);
}

static void mail_failed(struct reader *reader)
{
    reader_session(reader)->office->catch_up_again = true;
}

static void mail_enqueue(struct session *session, struct msg *msg, struct seq seq, bool live)
{
    struct outbox_position position = {
        .ms = seq.ms, .n = seq.n, .number = ++session->reader.feed.numbers, .live = live
    };

    if (msg->flags & MSG_ASKS)
        receipts_expect(session, seq);
    if (conn_send_at(&session->conn, msg, position) == ERR_NOMEM)
        conn_abort_no_memory(&session->conn); /* the message is replayed after a reconnect */
}

bool carrier_has_expired(const struct office *office, const struct mailbox_entry *entry)
{
    if (!entry->expires_at || entry->expires_at > loop_unix_s(office->loop))
        return false;
    stats_add(office->stats, STAT_mail_expired, 1);
    return true;
}

static bool mail_wants(struct reader *reader, const struct mailbox_entry *entry)
{
    struct session *session = reader_session(reader);

    if (carrier_has_expired(session->office, entry)) {
        /* The gap in the numbers ends a run: an ack of the messages around this entry must not
         * cause a receipt for a message that has never left. */
        reader->feed.numbers++;
        return false;
    }
    return !entry->skip_device.data || !slice_equal(entry->skip_device, session_device(session));
}

static bool mail_take(struct reader *reader, const struct mailbox_entry *entry, struct msg *msg)
{
    struct session *session = reader_session(reader);

    if (!msg) {
        conn_abort_no_memory(&session->conn);
        return false;
    }
    msg->flags = entry->receipt ? MSG_ASKS : 0;
    stats_add(session->office->stats, STAT_deliveries_read, 1);
    mail_enqueue(session, msg, entry->seq, false);
    return conn_is_open(&session->conn);
}

static void mail_replayed(struct reader *reader)
{
    struct session *session = reader_session(reader);
    struct msg *msg = postmaster_replayed(session_address(session), reader->feed.queued);

    stats_add(session->office->stats, STAT_replays, 1);
    /* Queued as mail of the lowest level that the backlog had: behind the whole backlog, and before
     * live mail that is no more urgent. */
    session_say_at_level(session, msg, reader->feed.level);
}

/* The second `welcome` stands at the point of the gap: behind all that was queued before. The kept
 * messages are a replay of their own, so `replayed` follows again. */
static bool mail_gap(struct reader *reader, struct seq lost)
{
    struct session *session = reader_session(reader);
    struct feed *feed = &reader->feed;
    int8_t level = outbox_level_behind(&session->conn.outbox, 0);
    const struct standing standing = { .last = feed->newest,
                                       .cursor = feed->queued,
                                       .epoch = session->office->epoch };

    (void)lost;
    stats_add(session->office->stats, STAT_gaps_told, 1);
    session_say_at_level(session, session_welcome(session, &standing), level);
    feed_begin_replay(feed, level);
    return conn_is_open(&session->conn);
}

static enum err mail_ask(struct reader *reader);

static const struct reader_kind mail_reader = {
    .ask = mail_ask,
    .wait = mail_wait,
    .has_room = mail_has_room,
    .wants = mail_wants,
    .take = mail_take,
    .replayed = mail_replayed,
    .gap = mail_gap,
    .failed = mail_failed,
};

/* A page that was asked for; the session may be gone when the page comes. */
struct page_question {
    struct office *office;
    uint64_t number;
};

static void mail_page_arrived(void *arg, const struct mailbox_page *page)
{
    struct page_question question = *(struct page_question *)arg;
    struct session *session = session_open_by_number(question.office, question.number);

    free(arg);
    if (session)
        reader_page(&mail_reader, &session->reader, page);
}

static enum err mail_ask(struct reader *reader)
{
    struct session *session = reader_session(reader);
    struct page_question *question = malloc(sizeof *question);
    enum err err;

    if (!question)
        return ERR_NOMEM;
    *question = (struct page_question){ session->office, session->number };
    err = mailbox_read(session->office->mailbox, session_address(session), reader->feed.queued,
                       mail_page_arrived, question);
    if (err)
        free(question);
    return err;
}

static void carrier_has_room(struct session *session)
{
    reader_room(&mail_reader, &session->reader);
}

static void carrier_offer(struct session *session, struct seq seq, struct seq before,
                          struct slice skip_device, struct msg *msg)
{
    bool room = conn_waiting(&session->conn) < LIVE_BYTES;

    if (msg->flags & MSG_EXPIRES)
        before = seq; /* looks like a gap: read from the mailbox, where expiresAt is known */
    if (reader_offer(&mail_reader, &session->reader, seq, before, room) &&
        !(skip_device.data && slice_equal(skip_device, session_device(session)))) {
        session_count_delivery(session->office);
        mail_enqueue(session, msg, seq, true);
    }
}

static void carrier_read_on(struct session *session)
{
    reader_check(&mail_reader, &session->reader, mail_has_room(&session->reader));
}

static void carrier_start(struct session *session, struct seq after, struct seq newest)
{
    reader_start(&mail_reader, &session->reader, after, newest);
}

/* ---- acknowledging ---- */

static void carrier_left(struct session *session, struct outbox_position position)
{
    feed_acks_sent(&session->reader.feed.acks, (struct seq){ position.ms, position.n },
                   position.number);
}

static bool carrier_ack(struct session *session, struct seq seq)
{
    struct outbox_position oldest = outbox_oldest(&session->conn.outbox, 0);
    struct seq cursor;

    receipts_note_ack(session, seq);
    if (!conn_is_open(&session->conn) ||
        !feed_acks_take(&session->reader.feed.acks, seq, (struct seq){ oldest.ms, oldest.n },
                        &cursor))
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
    return session->reader.feed.state != FEED_IDLE &&
           session->data_lost_count == session->office->data_lost_count &&
           seq_compare(queued, opened->last) <= 0;
}

/* The data is not what it was, or the session began while Redis was away: the reader begins anew.
 */
static void begin_anew(struct session *session, const struct mailbox_opened *opened)
{
    struct office *office = session->office;
    struct standing standing = { .last = opened->last, .epoch = office->epoch };

    if (session->reader.feed.state == FEED_IDLE)
        standing = standing_judge(office->epoch, &(struct standing_since){ 0 }, opened);
    else
        standing.begin = standing_begin(standing.cursor, opened);
    session->data_lost_count = office->data_lost_count;
    session->cursor = standing.cursor;
    receipts_forget(session);
    reader_reset(&session->reader);
    session_say_welcome(session, &standing);
    if (conn_is_open(&session->conn))
        carrier_start(session, standing.begin, standing.last);
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
