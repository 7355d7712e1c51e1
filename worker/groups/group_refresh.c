/*
 * Refreshing groups after doorbells may have been missed, or data was lost: each group's log is
 * asked once for its end, a bounded number of groups a turn.
 *
 * A log that ends behind the reader is read on. A log that ends before the reader, or a Redis that
 * has lost data, makes the group start anew from the end of the log.
 */
#include "worker/groups/groups_parts.h"

#include "worker/mailbox/mailbox_enter.h"

#include <stdlib.h>

/* Redis came back empty or older. Posts that were delivered are gone from the log, or lie at
 * another seq. A post that was stored since then lies behind the end of the old log, because seqs
 * follow the clock. */
static void group_restart(struct group *group, const struct mailbox_opened *log)
{
    struct groups *groups = group->groups;
    struct subscription *subscription, *next;
    struct seq at;

    parcels_deliver_some(groups, UINT32_MAX); /* the posts of the old log */
    at = standing_begin(seq_min(group->reader.feed.queued, log->last), log);
    group->generation++;
    group->data_lost_count = groups->office->data_lost_count;
    feed_start_live(&group->reader.feed, at);
    group->delivered = at;
    for (subscription = TAILQ_FIRST(&group->subscribers); subscription; subscription = next) {
        next = TAILQ_NEXT(subscription, link);
        subscription_restart(subscription, log, at);
    }
    group_log_check(group);
}

static void group_apply_end(struct group *group, struct seq queued_when_asked,
                            const struct mailbox_opened *log)
{
    struct seq last = log->last;

    if (group->reader.feed.state == FEED_IDLE)
        group_log_start(group, last);
    else if (group->data_lost_count != group->groups->office->data_lost_count ||
             seq_compare(queued_when_asked, last) > 0)
        group_restart(group, log);
    else if (seq_compare(last, group->reader.feed.queued) > 0)
        group_log_check(group);
}

static void group_end_arrived(void *arg, const struct mailbox_opened *joined)
{
    struct group_question *question = arg;
    struct group *group = question->group;
    struct seq queued_when_asked = question->queued;

    if (!group_question_close(question))
        return;
    if (!joined->ok) {
        group->groups->office->catch_up_again = true;
        return;
    }
    group_pin(group); /* members may leave meanwhile, also the last one */
    group_apply_end(group, queued_when_asked, joined);
    group_unpin(group);
}

void group_refresh(struct group *group)
{
    struct office *office = group->groups->office;
    struct group_question *question = group_question_new(group);

    if (question && mailbox_join(office->mailbox, group_address(group), (struct slice){ 0 },
                                 group_end_arrived, question) == OK)
        return;
    if (question)
        group_question_close(question);
    office->catch_up_again = true;
}

static void group_retry_failed(struct group *group)
{
    struct subscription *subscription, *next;

    for (subscription = TAILQ_FIRST(&group->subscribers); subscription; subscription = next) {
        next = TAILQ_NEXT(subscription, link);
        if (subscription->page_failed)
            subscription_retry(subscription);
    }
}

void group_refresh_some(struct groups *groups, unsigned count)
{
    struct group *group;

    while ((group = TAILQ_FIRST(&groups->list)) && group->refresh_round != groups->refresh_round) {
        if (count-- == 0) {
            loop_again(groups->office->loop);
            return;
        }
        TAILQ_REMOVE(&groups->list, group, link);
        TAILQ_INSERT_TAIL(&groups->list, group, link);
        group->refresh_round = groups->refresh_round;
        if (!group->listed)
            continue;
        group_pin(group);
        if (groups->some_pages_failed)
            group_retry_failed(group);
        group_refresh(group);
        group_unpin(group);
    }
    groups->refreshing = groups->some_pages_failed = false;
}
