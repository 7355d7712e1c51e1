#include "worker/mailbox/reader.h"

void reader_carry_out(const struct reader_kind *kind, struct reader *reader, enum feed_step step)
{
    switch (step) {
    case FEED_READ:
        if (kind->ask(reader))
            reader_fail(kind, reader);
        break;
    case FEED_WAIT:
        kind->wait(reader);
        break;
    case FEED_REPLAYED:
        if (kind->replayed)
            kind->replayed(reader);
        break;
    case FEED_NOTHING:
        break;
    }
}

void reader_start(const struct reader_kind *kind, struct reader *reader, struct seq after,
                  struct seq newest)
{
    reader_carry_out(kind, reader, feed_start(&reader->feed, after, newest));
}

void reader_check(const struct reader_kind *kind, struct reader *reader, bool has_room)
{
    reader_carry_out(kind, reader, feed_check(&reader->feed, has_room));
}

static bool take_entry(const struct reader_kind *kind, struct reader *reader,
                       const struct mailbox_entry *entry)
{
    struct feed *feed = &reader->feed;
    struct msg *msg;
    bool taken;

    if (!kind->wants(reader, entry))
        return true;
    if (!feed->has_replayed && entry->level < feed->level)
        feed->level = entry->level;
    msg = msg_new(entry->body, MSG_MAIL, entry->level);
    taken = kind->take(reader, entry, msg);
    msg_unref(msg);
    return taken;
}

/* The reader goes on behind the removed messages, so the next page does not show the same gap. */
static bool tell_gap(const struct reader_kind *kind, struct reader *reader,
                     const struct mailbox_page *page)
{
    struct feed *feed = &reader->feed;
    bool removed = seq_compare(page->lost, feed->queued) > 0;

    if (!removed && !page->gone)
        return true;
    feed->newest = seq_max(feed->newest, seq_max(page->last, page->lost));
    if (!kind->gap(reader, removed ? page->lost : (struct seq){ 0 }))
        return false;
    feed->queued = seq_max(feed->queued, page->lost);
    return true;
}

void reader_page(const struct reader_kind *kind, struct reader *reader,
                 const struct mailbox_page *page)
{
    if (reader->stale_pages) {
        reader->stale_pages--;
        return;
    }
    if (!page->ok) {
        reader_fail(kind, reader);
        return;
    }
    if (!tell_gap(kind, reader, page))
        return;
    for (size_t i = 0; i < page->count; i++)
        if (!take_entry(kind, reader, &page->entries[i]))
            return; /* the reader may be gone */
    reader_carry_out(kind, reader,
                     feed_page(&reader->feed, page->last, page->end, kind->has_room(reader)));
}

void reader_room(const struct reader_kind *kind, struct reader *reader)
{
    reader_carry_out(kind, reader, feed_room(&reader->feed));
}

void reader_fail(const struct reader_kind *kind, struct reader *reader)
{
    feed_failed(&reader->feed);
    kind->failed(reader);
}

void reader_fini(struct reader *reader)
{
    feed_fini(&reader->feed);
    reader->feed = (struct feed){ 0 };
}

void reader_reset(struct reader *reader)
{
    if (reader->feed.state == FEED_READING)
        reader->stale_pages++;
    reader_fini(reader);
}
