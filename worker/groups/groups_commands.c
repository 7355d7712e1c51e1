/*
 * Commands about groups that Redis need not answer first: unsubscribe, ack, and the groups that a
 * new token (renew) does not allow any more. subscribe is in groups_subscribe.c.
 */
#include "worker/groups/groups_parts.h"

#include "common/json.h"
#include "worker/envelope/postmaster.h"

#include <stdlib.h>

bool groups_may_read(const struct session *session, struct slice group)
{
    return slice_equal(group, SLICE("#all")) || grant_may_use_group(session->grant, group);
}

enum err groups_check_tags(const struct envelope *envelope, struct envelope_fault *fault)
{
    if (envelope->tag_count == 0)
        return envelope_reject(fault, REJECT_MISSING_FIELD, "tags", "tags must name the groups");
    for (size_t i = 0; i < envelope->tag_count; i++)
        if (!address_valid(envelope->tags[i]) || !address_is_group(envelope->tags[i]))
            return envelope_reject(fault, REJECT_BAD_FIELD, "tags", "each tag must be a group");
    return OK;
}

struct slice groups_member_name(const struct session *session, char room[GROUP_MEMBER_BYTES_MAX])
{
    struct slice address = session_address(session), device = session_device(session);

    memcpy(room, address.data, address.len);
    room[address.len] = 0; /* which neither the address nor the device can hold */
    memcpy(room + address.len + 1, device.data, device.len);
    return slice_make(room, address.len + 1 + device.len);
}

/* ---- unsubscribe ---- */

static void unsubscribe(struct subscription *subscription)
{
    subscription->group->kind->leave(subscription);
}

/* The `result`, queued behind every post that was queued, so that no post of the groups follows
 * the `result`. */
static enum err say_unsubscribed(struct session *session, struct slice id,
                                 struct envelope_fault *fault)
{
    struct msg *msg;

    postmaster_begin_result(session_address(session), id);
    msg = postmaster_end(MSG_MAIL);
    if (!msg)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    msg->level = -9;
    if (conn_send_at(&session->conn, msg, (struct outbox_position){ 0 }) == ERR_NOMEM)
        conn_abort_no_memory(&session->conn);
    msg_unref(msg);
    return OK;
}

enum err groups_unsubscribe(struct session *session, const struct envelope *envelope,
                            struct envelope_fault *fault)
{
    if (groups_check_tags(envelope, fault))
        return ERR_BAD;
    for (size_t i = 0; i < envelope->tag_count; i++) {
        struct subscription *subscription = subscription_find_address(session, envelope->tags[i]);
        if (subscription_is_wanted(subscription))
            unsubscribe(subscription);
    }
    return say_unsubscribed(session, envelope->id, fault);
}

void groups_check_grant(struct session *session, struct buf *out)
{
    struct subscription *subscription, *next;
    bool any = false;

    for (subscription = session->subscriptions; subscription; subscription = next) {
        next = subscription->next;
        if (groups_may_read(session, group_address(subscription->group)))
            continue;
        buf_add_text(out, any ? "," : ",\"unsubscribed\":[");
        json_add_string(out, group_address(subscription->group));
        any = true;
        unsubscribe(subscription);
    }
    if (any)
        buf_add_char(out, ']');
}

/* ---- ack ---- */

static bool is_recent_in_all(const struct groups *groups, struct seq seq)
{
    for (uint32_t i = 0; i < ALL_RECENT; i++)
        if (seq_compare(groups->all_recent[i], seq) == 0)
            return true;
    return false;
}

bool groups_sent_seq(const struct session *session, struct seq seq)
{
    const struct subscription *subscription = session->subscriptions;

    if (seq_is_zero(seq))
        return false;
    for (; subscription; subscription = subscription->next) {
        const struct feed_acks *acks = &subscription->reader.feed.acks;
        if (feed_acks_find(acks, seq) < acks->count || seq_compare(subscription->cursor, seq) == 0)
            return true;
    }
    return is_recent_in_all(session->office->groups, seq);
}

bool groups_ack(struct session *session, struct slice group, struct seq seq, struct seq *cursor)
{
    struct subscription *subscription = subscription_find_address(session, group);
    char room[GROUP_MEMBER_BYTES_MAX];
    struct outbox_position oldest;

    if (!subscription || subscription->state != SUBSCRIPTION_ON)
        return false;
    oldest = outbox_oldest(&session->conn.outbox, subscription->number);
    *cursor = subscription->cursor;
    if (!feed_acks_take(&subscription->reader.feed.acks, seq, (struct seq){ oldest.ms, oldest.n },
                        cursor))
        return true;
    subscription->cursor = seq_max(subscription->cursor, *cursor);
    *cursor = subscription->cursor;
    /* A cursor that cannot be stored now is made up for by the next ack; until then posts may be
     * replayed again. */
    mailbox_ack(session->office->mailbox, group, groups_member_name(session, room), *cursor, NULL,
                NULL);
    return true;
}
