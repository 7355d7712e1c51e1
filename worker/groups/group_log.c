/*
 * Where this worker stands in the log of a group: one reader for all members that are in step.
 *
 * A post that comes next becomes a parcel at once; a gap is read from the log once, for all
 * members. The reader starts at the end of the log when that end is known. Posts that are offered
 * before are not lost: group_log_start reads up to the newest of these posts.
 */
#include "worker/groups/groups_parts.h"

#include "worker/delivery/carrier.h"

#include <stddef.h>
#include <stdlib.h>

/* Pages at a time, over all groups of the worker. A page becomes parcels, and may be one message of
 * limits.messageBytes: without this bound a thousand groups that read on at once would pass the
 * bound on parcels by a thousand such messages. */
enum { LOG_PAGES_MAX = 8 };

static struct group *reader_group(struct reader *reader)
{
    return (struct group *)((char *)reader - offsetof(struct group, reader));
}

static void group_log_wait(struct reader *reader)
{
    reader_group(reader)->groups->some_wait = true;
}

static bool group_log_has_room(struct reader *reader)
{
    return parcels_have_room(reader_group(reader)->groups);
}

static bool group_log_wants(struct reader *reader, const struct mailbox_entry *entry)
{
    return !carrier_has_expired(reader_group(reader)->groups->office, entry);
}

static void group_log_failed(struct reader *reader)
{
    reader_group(reader)->groups->office->catch_up_again = true;
}

static enum err group_log_ask(struct reader *reader);
static bool group_log_take(struct reader *reader, const struct mailbox_entry *entry,
                           struct msg *msg);
static bool group_log_gap(struct reader *reader, struct seq lost);

/* `replayed` is NULL: the reader starts at the end of the log and has no backlog. */
static const struct reader_kind group_log_reader = {
    .ask = group_log_ask,
    .wait = group_log_wait,
    .has_room = group_log_has_room,
    .wants = group_log_wants,
    .take = group_log_take,
    .gap = group_log_gap,
    .failed = group_log_failed,
};

static bool group_log_take(struct reader *reader, const struct mailbox_entry *entry,
                           struct msg *msg)
{
    struct parcel *parcel = msg ? parcels_new() : NULL;

    if (!parcel) {
        reader_fail(&group_log_reader, reader); /* the rest is read again */
        return false;
    }
    parcels_put(parcel, reader_group(reader), msg, entry->seq);
    reader->feed.queued = entry->seq; /* else the next page would hold the entry again */
    return true;
}

static bool group_log_gap(struct reader *reader, struct seq lost)
{
    struct parcel *parcel = parcels_new();

    if (!parcel) {
        reader_fail(&group_log_reader, reader); /* the page, and the gap in it, is read again */
        return false;
    }
    parcels_put(parcel, reader_group(reader), NULL, lost);
    return true;
}

static void group_log_page_arrived(void *arg, const struct mailbox_page *page)
{
    struct group_question *question = arg;
    struct group *group = question->group;
    struct groups *groups = group->groups;

    assert(groups->log_pages);
    groups->log_pages--;
    if (group_question_close(question)) /* a group that is listed has members and stays */
        reader_page(&group_log_reader, &group->reader, page);
}

static enum err group_log_ask(struct reader *reader)
{
    struct group *group = reader_group(reader);
    struct groups *groups = group->groups;
    struct office *office = groups->office;
    struct group_question *question;
    enum err err;

    if (!office->mailbox)
        return ERR_DOWN;
    if (groups->log_pages == LOG_PAGES_MAX) {
        reader->feed.state = FEED_WAITING; /* until group_log_read_waiting */
        groups->some_wait = true;
        return OK;
    }
    question = group_question_new(group);
    if (!question)
        return ERR_NOMEM;
    err = mailbox_read(office->mailbox, group_address(group), reader->feed.queued,
                       group_log_page_arrived, question);
    if (err) {
        group_question_close(question);
        return err;
    }
    groups->log_pages++;
    stats_add(office->stats, STAT_group_pages, 1);
    return OK;
}

void group_log_check(struct group *group)
{
    reader_check(&group_log_reader, &group->reader, parcels_have_room(group->groups));
}

void group_log_start(struct group *group, struct seq last)
{
    if (group->reader.feed.state != FEED_IDLE)
        return;
    feed_start_live(&group->reader.feed, last);
    group->delivered = last;
    group->data_lost_count = group->groups->office->data_lost_count;
    if (seq_compare(group->newest_unstarted, last) > 0)
        group_log_check(group);
}

void group_log_offer(struct group *group, struct bus_position position, struct msg *msg)
{
    struct parcel *parcel;

    if (group->reader.feed.state == FEED_IDLE) {
        group->newest_unstarted = seq_max(group->newest_unstarted, position.seq);
        return;
    }
    parcel = parcels_new(); /* first: a post that the reader has accepted cannot be given back */
    if (reader_offer(&group_log_reader, &group->reader, position.seq, position.before,
                     parcel && parcels_have_room(group->groups)))
        parcels_put(parcel, group, msg, position.seq);
    else
        free(parcel);
}

void group_log_read_waiting(struct groups *groups)
{
    struct group *group;

    if (groups->log_pages == LOG_PAGES_MAX)
        return;
    groups->some_wait = false;
    for (group = TAILQ_FIRST(&groups->list); group; group = TAILQ_NEXT(group, link))
        reader_room(&group_log_reader, &group->reader);
}
