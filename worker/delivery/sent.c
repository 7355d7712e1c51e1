#include "worker/delivery/sent.h"

#include "worker/mailbox/mailbox_receipts.h"
#include "worker/mailbox/mailbox.h"

#include <assert.h>
#include <stdlib.h>

enum {
    RECORDS_SOFT_MAX = 64 * 1024, /* past this a new entry begins */
    RECORDS_MAX = 16 << 20,       /* one message with limits.recipients recipients fits */
    KEPT_BYTES = 4096,            /* of memory for the next turn, an entry */
    KEEP_S = 10000,               /* a log's life begins anew so often */
};

struct batch {
    struct buf from, records;
    uint64_t count;
    bool keep;
};

struct sent {
    struct batch *batches;
    uint32_t count, size;
    uint32_t turn; /* from 1 on: a session's 0 is none */
};

static struct sent *sent_need(struct office *office)
{
    if (!office->sent) {
        office->sent = calloc(1, sizeof *office->sent);
        if (office->sent)
            office->sent->turn = 1;
    }
    return office->sent;
}

static bool batch_room(struct sent *sent)
{
    uint32_t size = sent->size ? sent->size * 2 : 16;
    struct batch *batches;

    if (sent->count < sent->size)
        return true;
    batches = realloc(sent->batches, size * sizeof *batches);
    if (!batches)
        return false;
    for (uint32_t i = sent->size; i < size; i++) {
        buf_init(&batches[i].from, 4096);
        buf_init(&batches[i].records, RECORDS_MAX);
    }
    sent->batches = batches;
    sent->size = size;
    return true;
}

/* Of the session's own log it is known when its life began anew; of others it speaks for, not. */
static bool must_keep(struct session *session, struct slice from)
{
    uint32_t now = (uint32_t)(loop_unix_s(session->office->loop) / KEEP_S);

    if (!slice_equal(from, session_address(session)))
        return true;
    if (session->sent.kept == now)
        return false;
    session->sent.kept = now;
    return true;
}

static struct batch *batch_begin(struct sent *sent, struct session *session, struct slice from)
{
    struct batch *batch;

    if (!batch_room(sent))
        return NULL;
    batch = &sent->batches[sent->count];
    buf_reset(&batch->from);
    buf_reset(&batch->records);
    batch->count = 0;
    if (buf_add_slice(&batch->from, from))
        return NULL;
    batch->keep = must_keep(session, from);
    session->sent.turn = sent->turn;
    session->sent.at = sent->count++;
    return batch;
}

static struct batch *batch_for(struct sent *sent, struct session *session, struct slice from)
{
    if (session->sent.turn == sent->turn) {
        assert(sent->batches);
        struct batch *batch = &sent->batches[session->sent.at];
        if (slice_equal(buf_slice(&batch->from), from) && batch->records.len < RECORDS_SOFT_MAX)
            return batch;
    }
    return batch_begin(sent, session, from);
}

void sent_note(struct session *session, struct slice from, struct slice id,
               const struct slice *recipients, size_t recipient_count)
{
    struct sent *sent = sent_need(session->office);
    struct batch *batch = sent ? batch_for(sent, session, from) : NULL;
    size_t before;

    if (!batch) {
        stats_add(session->office->stats, STAT_sent_unnoted, 1);
        return;
    }
    before = batch->records.len;
    buf_add_slice(&batch->records, id);
    buf_add_char(&batch->records, '\n');
    for (size_t i = 0; i < recipient_count; i++) {
        buf_add_slice(&batch->records, recipients[i]);
        buf_add_char(&batch->records, '\n');
    }
    buf_add_char(&batch->records, '\n');
    batch->count++;
    if (!batch->records.failed)
        return;
    batch->records.len = before; /* whole records only */
    batch->records.failed = false;
    batch->count--;
    stats_add(session->office->stats, STAT_sent_unnoted, 1);
}

static void flush_batch(struct office *office, struct batch *batch)
{
    if (batch->records.len &&
        (!office->mailbox || mailbox_note_sent(office->mailbox, buf_slice(&batch->from),
                                               buf_slice(&batch->records), batch->keep)))
        stats_add(office->stats, STAT_sent_unnoted, batch->count);
    if (batch->records.size > KEPT_BYTES)
        buf_fini(&batch->records);
}

void sent_flush(struct office *office)
{
    struct sent *sent = office->sent;

    if (!sent || sent->count == 0)
        return;
    for (uint32_t i = 0; i < sent->count; i++)
        flush_batch(office, &sent->batches[i]);
    sent->count = 0;
    if (++sent->turn == 0)
        sent->turn = 1;
}

void sent_free(struct office *office)
{
    struct sent *sent = office->sent;

    if (!sent)
        return;
    for (uint32_t i = 0; i < sent->size; i++) {
        buf_fini(&sent->batches[i].from);
        buf_fini(&sent->batches[i].records);
    }
    free(sent->batches);
    free(sent);
    office->sent = NULL;
}
