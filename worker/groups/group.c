/*
 * The registry: which groups have members on this worker.
 *
 * A group with members is listed: the group has one row in the shared table, by which the other
 * workers of this host find this worker. The group's log notes this worker too (`:at`), by which
 * the workers of other hosts do; that note is made by the first question to the log (mailbox_join),
 * and taken back here when the last member leaves.
 *
 * The registry must not free a group that a parcel or a question points to: both pin the group.
 */
#include "worker/groups/groups_parts.h"

#include "common/json.h"
#include "worker/mailbox/mailbox_places.h"

#include <stdlib.h>

struct group *group_find(struct groups *groups, struct slice address)
{
    struct office *office = groups->office;
    struct directory_entry *entry =
        directory_find(&office->directory, sessions_key(office->region, address), address);

    return entry && entry->group && entry->group->listed ? entry->group : NULL;
}

/* The member that names the group's log beside the `seq` of each post: outbox_position.log. */
static struct msg *make_log_member(struct slice address)
{
    char storage[OUTBOX_LOG_MAX];
    struct buf text = { .data = storage, .size = sizeof storage, .size_max = sizeof storage };

    buf_add_text(&text, "\"log\":");
    json_add_string(&text, address);
    buf_add_char(&text, ',');
    assert(!text.failed);
    return msg_new(buf_slice(&text), MSG_MAIL, 0);
}

static struct group *group_find_or_make(struct groups *groups, struct slice address)
{
    struct office *office = groups->office;
    struct directory_entry *entry =
        directory_need(&office->directory, sessions_key(office->region, address), address);
    struct group *group;

    if (!entry || entry->group)
        return entry ? entry->group : NULL;
    group = calloc(1, sizeof *group);
    if (group && !(group->log = make_log_member(address))) {
        free(group);
        group = NULL;
    }
    if (group) {
        TAILQ_INIT(&group->subscribers);
        group->groups = groups;
        group->kind = slice_equal(address, SLICE("#all")) ? groups->everybody : groups->named;
        group->entry = entry;
        entry->group = group;
        entry->holders++;
        TAILQ_INSERT_HEAD(&groups->list, group, link);
    } else {
        directory_release(&office->directory, entry);
    }
    return group;
}

static enum err group_list(struct group *group)
{
    struct office *office = group->groups->office;

    if (group->listed)
        return OK;
    group->shm_index = sessions_add_group(office->table, group->entry->key);
    if (group->shm_index == UINT32_MAX) {
        stats_add(office->stats, STAT_groups_full, 1);
        return ERR_FULL;
    }
    group->listed = true;
    group->newest_unstarted = (struct seq){ 0 };
    group->data_lost_count = office->data_lost_count;
    return OK;
}

enum err group_need(struct groups *groups, struct slice address, struct group **group)
{
    enum err err;

    *group = group_find_or_make(groups, address);
    if (!*group)
        return ERR_NOMEM;
    err = group_list(*group);
    if (err) {
        group_settle(*group);
        *group = NULL;
    }
    return err;
}

static void group_unlist(struct group *group)
{
    struct office *office = group->groups->office;

    group->listed = false;
    group->generation++;
    sessions_remove_group(office->table, group->shm_index);
    reader_fini(&group->reader);
    if (office->mailbox)
        mailbox_leave(office->mailbox, group_address(group));
}

static void group_free(struct group *group)
{
    struct groups *groups = group->groups;

    if (groups->all == group)
        groups->all = NULL;
    TAILQ_REMOVE(&groups->list, group, link);
    group->entry->group = NULL;
    group->entry->holders--;
    directory_release(&groups->office->directory, group->entry);
    msg_unref(group->log);
    free(group);
}

void group_settle(struct group *group)
{
    if (group->subscriber_count || (group->listed && group->kind->member_count(group)))
        return;
    assert(TAILQ_EMPTY(&group->subscribers));
    if (group->listed)
        group_unlist(group);
    if (group->pins == 0)
        group_free(group);
}

struct group_question *group_question_new(struct group *group)
{
    struct group_question *question = malloc(sizeof *question);

    if (!question)
        return NULL;
    *question = (struct group_question){ group, group->reader.feed.queued, group->generation };
    group_pin(group);
    return question;
}

bool group_question_close(struct group_question *question)
{
    struct group *group = question->group;
    bool is_current = group->listed && group->generation == question->generation;

    group_unpin(group);
    free(question);
    return is_current;
}
