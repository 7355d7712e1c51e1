#include "worker/delivery/sent.h"

#include "common/grow.h"
#include "worker/mailbox/mailbox_receipts.h"
#include "worker/mailbox/mailbox.h"

#include <assert.h>
#include <stdlib.h>

enum {
    RECORDS_SOFT_MAX = 64 * 1024, /* bytes of an entry; past this a new entry begins */
    RECORDS_MAX = 16 << 20,       /* bytes; one message with limits.recipients recipients fits */
    KEPT_BYTES = 4096,            /* of memory that an entry keeps for the next turn */
    KEEP_S = 10000,               /* a log's time to live begins anew so often */
};

struct sent_entry {
    struct buf from, records;
    uint64_t count;
    bool keep;
};

struct sent {
    struct sent_entry *entries;
    uint32_t count, size;
    uint32_t turn; /* from 1 on; 0 in a session: none */
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

static bool entry_room(struct sent *sent)
{
    uint32_t size_before = sent->size;

    if (grow_reserve(&sent->entries, &sent->size, sent->count + 1, 16, SIZE_MAX))
        return false;
    for (uint32_t i = size_before; i < sent->size; i++) {
        buf_init(&sent->entries[i].from, 4096);
        buf_init(&sent->entries[i].records, RECORDS_MAX);
    }
    return true;
}

/* Does the log's time to live begin anew with this entry? The session remembers when that was last
 * said for its own log; for the log of another address that it speaks for, each entry says so. */
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

static struct sent_entry *entry_begin(struct sent *sent, struct session *session, struct slice from)
{
    struct sent_entry *entry;

    if (!entry_room(sent))
        return NULL;
    entry = &sent->entries[sent->count];
    buf_reset(&entry->from);
    buf_reset(&entry->records);
    entry->count = 0;
    if (buf_add_slice(&entry->from, from))
        return NULL;
    entry->keep = must_keep(session, from);
    session->sent.turn = sent->turn;
    session->sent.at = sent->count++;
    return entry;
}

static struct sent_entry *entry_for(struct sent *sent, struct session *session, struct slice from)
{
    if (session->sent.turn == sent->turn) {
        assert(sent->entries);
        struct sent_entry *entry = &sent->entries[session->sent.at];
        if (slice_equal(buf_slice(&entry->from), from) && entry->records.len < RECORDS_SOFT_MAX)
            return entry;
    }
    return entry_begin(sent, session, from);
}

void sent_note(struct session *session, struct slice from, struct slice id,
               const struct slice *recipients, size_t recipient_count)
{
    struct sent *sent = sent_need(session->office);
    struct sent_entry *entry = sent ? entry_for(sent, session, from) : NULL;
    size_t before;

    if (!entry) {
        stats_add(session->office->stats, STAT_sent_unnoted, 1);
        return;
    }
    before = entry->records.len;
    buf_add_slice(&entry->records, id);
    buf_add_char(&entry->records, '\n');
    for (size_t i = 0; i < recipient_count; i++) {
        buf_add_slice(&entry->records, recipients[i]);
        buf_add_char(&entry->records, '\n');
    }
    buf_add_char(&entry->records, '\n');
    entry->count++;
    if (!entry->records.failed)
        return;
    entry->records.len = before; /* only whole records leave */
    entry->records.failed = false;
    entry->count--;
    stats_add(session->office->stats, STAT_sent_unnoted, 1);
}

static void flush_entry(struct office *office, struct sent_entry *entry)
{
    if (entry->records.len &&
        (!office->mailbox || mailbox_note_sent(office->mailbox, buf_slice(&entry->from),
                                               buf_slice(&entry->records), entry->keep)))
        stats_add(office->stats, STAT_sent_unnoted, entry->count);
    if (entry->records.size > KEPT_BYTES)
        buf_fini(&entry->records);
}

void sent_flush(struct office *office)
{
    struct sent *sent = office->sent;

    if (!sent || sent->count == 0)
        return;
    for (uint32_t i = 0; i < sent->count; i++)
        flush_entry(office, &sent->entries[i]);
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
        buf_fini(&sent->entries[i].from);
        buf_fini(&sent->entries[i].records);
    }
    free(sent->entries);
    free(sent);
    office->sent = NULL;
}
