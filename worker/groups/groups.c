#include "worker/groups/groups_parts.h"

#include "common/log.h"
#include "worker/mailbox/mailbox_places.h"

#include <stdlib.h>

enum {
    DELIVER_STEP = 2048, /* members a turn */
    REFRESH_STEP = 256,  /* groups a turn */
};

/* ---- messages for a group ---- */

bool groups_offer(struct office *office, struct slice address, struct bus_position position,
                  struct msg *msg)
{
    struct group *group = group_find(office->groups, address);

    if (group)
        group_log_offer(group, position, msg);
    return group != NULL;
}

void groups_unknown(struct office *office, struct slice address)
{
    /* Redis may have been away when the last member left: the log still names this worker. */
    if (address_is_group(address) && office->mailbox && !group_find(office->groups, address))
        mailbox_leave(office->mailbox, address);
}

uint32_t groups_subscribers(struct office *office, struct slice address)
{
    struct group *group = group_find(office->groups, address);

    return group ? group->kind->member_count(group) : 0;
}

unsigned groups_deliver(struct office *office, const struct directory_entry *entry, struct msg *msg)
{
    struct groups *groups = office->groups;
    struct group *group = entry ? entry->group : NULL;
    uint32_t count = group && group->listed ? group->kind->member_count(group) : 0;
    struct parcel *parcel;

    if (count == 0)
        return 0;
    if (!parcels_have_room(groups) && msg->kind == MSG_SIGNAL) {
        stats_add(office->stats, STAT_signals_shed, count);
        return count;
    }
    if (!parcels_have_room(groups))
        parcels_deliver_some(groups, UINT32_MAX); /* no log holds the post for later */
    parcel = parcels_new();
    if (!parcel) {
        log_rarely(LOG_ERROR, "", "group_message_dropped", "reason=no-memory bytes=%u", msg->len);
        return 0;
    }
    parcels_put(parcel, group, msg, (struct seq){ 0 });
    return count;
}

void groups_turn(struct office *office)
{
    struct groups *groups = office->groups;

    if (groups->refreshing && office->mailbox && mailbox_is_up(office->mailbox))
        group_refresh_some(groups, REFRESH_STEP);
    parcels_deliver_some(groups, DELIVER_STEP);
    if (groups->some_wait && parcels_are_few(groups))
        group_log_read_waiting(groups);
    if (!TAILQ_EMPTY(&groups->parcels))
        loop_again(office->loop);
}

void groups_refresh(struct office *office)
{
    office->groups->refresh_round++;
    office->groups->refreshing = true;
}

/* ---- sessions ---- */

void groups_session_opened(struct session *session)
{
    struct office *office = session->office;
    struct groups *groups = office->groups;

    session->in_all = true;
    groups->session_count++;
    if (groups->all && groups->all->listed)
        return;
    if (group_need(groups, SLICE("#all"), &groups->all)) {
        log_rarely(LOG_WARN, "", "all_not_joined",
                   "reason=\"no room\""); /* the next session tries again */
        return;
    }
    if (office->mailbox && mailbox_is_up(office->mailbox))
        group_refresh(groups->all);
}

void groups_session_closing(struct session *session)
{
    while (session->subscriptions)
        subscription_free(session->subscriptions);
}

void groups_session_gone(struct session *session)
{
    struct groups *groups = session->office->groups;

    if (!session->in_all)
        return;
    assert(groups->session_count);
    session->in_all = false;
    groups->session_count--;
    if (groups->all)
        group_settle(groups->all);
}

void groups_on_room(struct session *session)
{
    subscription_read_next(session);
}

void groups_on_stored_left(struct session *session, struct outbox_position position)
{
    subscription_left(session, position);
}

/* ---- a worker's groups ---- */

struct groups *groups_new(struct office *office)
{
    struct groups *groups = calloc(1, sizeof *groups);

    if (!groups)
        return NULL;
    groups->office = office;
    groups->named = &group_members_named;
    groups->everybody = &group_members_everybody;
    TAILQ_INIT(&groups->list);
    TAILQ_INIT(&groups->parcels);
    return groups;
}

void groups_free(struct groups *groups)
{
    if (!groups)
        return;
    parcels_drop_all(groups);
    free(groups);
}
