/*
 * The members of a group, and how a parcel goes round to the members: two kinds of group.
 *
 * A named group (`#name`) has the sessions that subscribed. `#all` has every session of the worker,
 * subscribed or not, and keeps no record for a session that is in step: a parcel goes round
 * office->sessions. Only a session that is too slow for a parcel gets a subscription (lagging),
 * which remembers where the session stands until the session has caught up.
 */
#include "worker/groups/groups_parts.h"

#include "worker/delivery/carrier.h"

static void offer_to_subscriber(struct subscription *subscription, const struct parcel *parcel,
                                struct seq before)
{
    if (!parcel->msg)
        subscription_offer_gap(subscription, parcel->seq, before);
    else if (!seq_is_zero(parcel->seq))
        subscription_offer(subscription, parcel->msg, parcel->seq, before);
    else if (subscription->state != SUBSCRIPTION_PENDING)
        subscription_enqueue_plain(subscription->session, parcel->group, parcel->msg, parcel->seq);
}

/* ---- `#name` ---- */

static uint32_t named_member_count(const struct group *group)
{
    return group->subscriber_count;
}

static bool named_deliver(struct groups *groups, const struct parcel *parcel, unsigned *budget)
{
    struct subscription *subscription;
    unsigned left = *budget;

    while (left && (subscription = groups->next_subscriber)) {
        /* Moved on first: the offer may free the subscription. */
        groups->next_subscriber = TAILQ_NEXT(subscription, link);
        left--;
        offer_to_subscriber(subscription, parcel, groups->delivered_before);
    }
    *budget = left;
    return !groups->next_subscriber;
}

static void named_start_live(struct subscription *subscription, struct seq last)
{
    struct seq delivered = subscription->group->delivered;

    if (seq_compare(delivered, last) <= 0)
        subscription_start_live(subscription, last);
    else /* posts behind `last` have passed the subscription by, and are read */
        subscription_start(subscription, last, delivered);
}

const struct group_kind group_members_named = {
    .member_count = named_member_count,
    .deliver = named_deliver,
    .start_live = named_start_live,
    .leave = subscription_free,
};

/* ---- `#all` ---- */

static uint32_t everybody_member_count(const struct group *group)
{
    return group->groups->session_count;
}

/* The word of a gap is short, and is queued also where no post finds room. The session gets a
 * reader with the next post, when that post finds no room either. */
static void say_gap_to_unsubscribed(const struct groups *groups, struct session *session,
                                    const struct group *group)
{
    int8_t level = outbox_level_behind(&session->conn.outbox, SUBSCRIPTION_NUMBER_PLAIN);

    subscription_say_gap(session, group, groups->delivered_before, level);
}

/* To a session without a reader, which has everything that was delivered before. */
static void offer_to_unsubscribed(struct groups *groups, struct session *session,
                                  const struct parcel *parcel)
{
    struct subscription *lagging;

    if (!parcel->msg) {
        say_gap_to_unsubscribed(groups, session, parcel->group);
        return;
    }
    if (seq_is_zero(parcel->seq) || conn_waiting(&session->conn) < LIVE_BYTES) {
        subscription_enqueue_plain(session, parcel->group, parcel->msg, parcel->seq);
        return;
    }
    lagging = subscription_find(session, parcel->group);
    if (!lagging)
        lagging = subscription_new(session, parcel->group, SUBSCRIPTION_LAGGING);
    if (!lagging) {
        conn_abort_no_memory(&session->conn);
        return;
    }
    subscription_start_live(lagging, groups->delivered_before);
    subscription_offer(lagging, parcel->msg, parcel->seq, groups->delivered_before);
}

static void offer_to_session(struct groups *groups, struct session *session,
                             const struct parcel *parcel)
{
    struct subscription *own = session->subscriptions;

    if (!session->listed)
        return;
    /* A signal needs no reader, whatever the session's subscription waits for. */
    if (!seq_is_zero(parcel->seq) && own && own->group == parcel->group &&
        (own->reader.feed.state != FEED_IDLE || own->state == SUBSCRIPTION_ON))
        offer_to_subscriber(own, parcel, groups->delivered_before);
    else
        offer_to_unsubscribed(groups, session, parcel);
}

static bool everybody_deliver(struct groups *groups, const struct parcel *parcel, unsigned *budget)
{
    const struct office *office = groups->office;
    unsigned left = *budget;

    while (left && groups->next_session < office->session_used) {
        struct session *session = office->sessions[groups->next_session++];
        left--;
        if (session)
            offer_to_session(groups, session, parcel);
    }
    *budget = left;
    return groups->next_session >= office->session_used;
}

/* Up to which post the session has been served. A parcel that is going round may not have reached
 * the session's index yet. */
static struct seq everybody_delivered(const struct group *group, const struct session *session)
{
    const struct groups *groups = group->groups;
    bool is_ahead = groups->delivering && TAILQ_FIRST(&groups->parcels)->group == group &&
                    (uint32_t)session->number >= groups->next_session;

    return is_ahead ? groups->delivered_before : group->delivered;
}

static void everybody_start_live(struct subscription *subscription, struct seq last)
{
    (void)last;
    subscription_start_live(subscription,
                            everybody_delivered(subscription->group, subscription->session));
}

/* The session stays a member. A subscription that still has to read stays until the session has
 * caught up, so that no post is lost and no post comes out of order. */
static void everybody_leave(struct subscription *subscription)
{
    if (subscription->reader.feed.state > FEED_IDLE)
        subscription->state = SUBSCRIPTION_LAGGING;
    else
        subscription_free(subscription);
}

const struct group_kind group_members_everybody = {
    .member_count = everybody_member_count,
    .deliver = everybody_deliver,
    .start_live = everybody_start_live,
    .leave = everybody_leave,
    .subscription_is_first = true,
};
