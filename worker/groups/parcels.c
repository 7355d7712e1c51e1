/*
 * Parcels: messages on their way to the members of groups.
 *
 * Parcels are delivered one after the other, by reference, a bounded number of members a turn:
 * 100,000 members must not stop the loop. While too many bytes lie in parcels, posts stay in their
 * logs (group_log.c) and signals are shed (groups.c).
 */
#include "worker/groups/groups_parts.h"

#include <stdlib.h>

enum {
    PARCEL_BYTES_MAX = 4 << 20, /* from here on there is no room */
    PARCEL_BYTES_FEW = 1 << 20, /* below, groups that wait read on */
};

bool parcels_have_room(const struct groups *groups)
{
    return groups->parcel_bytes < PARCEL_BYTES_MAX;
}

bool parcels_are_few(const struct groups *groups)
{
    return groups->parcel_bytes < PARCEL_BYTES_FEW;
}

static uint64_t parcel_bytes(const struct parcel *parcel)
{
    return sizeof *parcel + (parcel->msg ? parcel->msg->len : 0);
}

struct parcel *parcels_new(void)
{
    return malloc(sizeof(struct parcel));
}

void parcels_put(struct parcel *parcel, struct group *group, struct msg *msg, struct seq seq)
{
    struct groups *groups = group->groups;

    assert(parcel);
    *parcel = (struct parcel){ .group = group, .msg = msg ? msg_ref(msg) : NULL, .seq = seq };
    group_pin(group);
    groups->parcel_bytes += parcel_bytes(parcel);
    TAILQ_INSERT_TAIL(&groups->parcels, parcel, link);
    loop_again(groups->office->loop);
}

static void parcel_drop(struct groups *groups, struct parcel *parcel)
{
    struct group *group = parcel->group;

    assert(groups->parcel_bytes >= parcel_bytes(parcel));
    groups->parcel_bytes -= parcel_bytes(parcel);
    TAILQ_REMOVE(&groups->parcels, parcel, link);
    assert(!TAILQ_EMPTY(&groups->parcels) || groups->parcel_bytes == 0);
    msg_unref(parcel->msg);
    free(parcel);
    group_unpin(group);
}

static void parcel_begin(struct groups *groups, const struct parcel *parcel)
{
    struct group *group = parcel->group;

    groups->delivering = true;
    groups->next_subscriber = TAILQ_FIRST(&group->subscribers);
    groups->next_session = 0;
    groups->delivered_before = group->delivered;
    if (seq_is_zero(parcel->seq))
        return;
    group->delivered = parcel->seq;
    if (group == groups->all && parcel->msg)
        groups->all_recent[groups->all_recent_next++ % ALL_RECENT] = parcel->seq;
}

void parcels_deliver_some(struct groups *groups, unsigned budget)
{
    struct parcel *parcel;

    while (budget && (parcel = TAILQ_FIRST(&groups->parcels))) {
        if (!groups->delivering)
            parcel_begin(groups, parcel);
        if (!parcel->group->kind->deliver(groups, parcel, &budget))
            return;
        groups->delivering = false;
        parcel_drop(groups, parcel);
    }
}

void parcels_drop_all(struct groups *groups)
{
    struct parcel *parcel;

    while ((parcel = TAILQ_FIRST(&groups->parcels)))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the analyzer does not see TAILQ_REMOVE */
        parcel_drop(groups, parcel);
}
