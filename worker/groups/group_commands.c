/*
 * Commands about groups: subscribe, unsubscribe, ack.
 *
 * A `subscribe` asks each group's log where it ends and where the device stands in it, in one
 * write; when all have answered the result is said, and the replays begin behind it. Meanwhile the
 * session may have gone, or have unsubscribed again: what is asked names the session by its number.
 */
#include "worker/groups/groups_parts.h"

#include "common/address.h"
#include "common/json.h"
#include "worker/delivery/carrier.h"
#include "worker/envelope/postmaster.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_enter.h"
#include "worker/mailbox/mailbox_read.h"

#include <stdlib.h>

enum { MEMBER_BYTES_MAX = ADDRESS_BYTES_MAX + 1 + DEVICE_BYTES_MAX };

struct subscribing;

/* One group of a `subscribe`. */
struct join {
    struct subscribing *subscribing;
    struct mailbox_opened joined;
    struct standing standing;
    struct slice group; /* in the command's own memory */
    bool live;          /* from now on: nothing said where else to begin */
};

/* A `subscribe` that waits for answers. */
struct subscribing {
    struct office *office;
    uint64_t session, request;
    struct standing_since since;
    uint32_t count, waiting;
    uint8_t id_len;
    char id[ENVELOPE_ID_MAX];
    struct join joins[]; /* the groups' names follow */
};

/* ---- may it? ---- */

bool groups_may_read(const struct session *session, struct slice group)
{
    return slice_equal(group, SLICE("#all")) || grant_may_use_group(session->grant, group);
}

static enum err check_tags(const struct envelope *envelope, struct envelope_fault *fault)
{
    if (envelope->tag_count == 0)
        return envelope_reject(fault, REJECT_MISSING_FIELD, "tags", "tags must name the groups");
    for (size_t i = 0; i < envelope->tag_count; i++)
        if (!address_valid(envelope->tags[i]) || !address_is_group(envelope->tags[i]))
            return envelope_reject(fault, REJECT_BAD_FIELD, "tags", "each tag must be a group");
    return OK;
}

static struct subscription *find(const struct session *session, struct slice group)
{
    struct subscription *subscription = session->subscriptions;

    while (subscription && !slice_equal(group_address(subscription->group), group))
        subscription = subscription->next;
    return subscription;
}

static bool is_wanted(const struct subscription *subscription)
{
    return subscription && subscription->state != SUBSCRIPTION_LAGGING;
}

static bool said_before(const struct slice *tags, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (slice_equal(tags[i], tags[j]))
            return true;
    return false;
}

/* All or nothing. */
static enum err check_subscribe(const struct session *session, const struct envelope *envelope,
                                struct envelope_fault *fault)
{
    int64_t count = 0, most = session->office->config->sessions.groups_per_session;

    if (check_tags(envelope, fault))
        return ERR_BAD;
    for (const struct subscription *s = session->subscriptions; s; s = s->next)
        count += is_wanted(s);
    for (size_t i = 0; i < envelope->tag_count; i++) {
        if (!groups_may_read(session, envelope->tags[i]))
            return envelope_reject(fault, REJECT_FORBIDDEN_TO, "tags",
                                   "the token does not allow this group");
        if (!is_wanted(find(session, envelope->tags[i])) && !said_before(envelope->tags, i) &&
            ++count > most)
            return envelope_reject(fault, REJECT_BAD_FIELD, "tags",
                                   "more groups than sessions.groupsPerSession allows");
    }
    return OK;
}

/* ---- the answers ---- */

static void add_seq(struct buf *out, const char *name, struct seq seq)
{
    char text[SEQ_TEXT_MAX];

    buf_addf(out, "%s\"%s\":", *name == 's' ? "{" : ",", name);
    json_add_string(out, slice_make(text, seq_format(text, seq)));
}

static void add_join(struct buf *out, const struct join *join)
{
    json_add_string(out, join->group);
    buf_add_char(out, ':');
    add_seq(out, "seq", join->standing.last);
    add_seq(out, "cursor", join->standing.cursor);
    buf_add_text(out, join->standing.recovered ? ",\"recovered\":true}" : ",\"recovered\":false}");
}

static void say_result(struct session *session, const struct subscribing *subscribing)
{
    struct slice id = slice_make(subscribing->id_len ? subscribing->id : NULL, subscribing->id_len);
    struct buf *out = postmaster_begin_result(session_address(session), id);
    struct msg *msg;

    buf_add_text(out, ",\"epoch\":");
    json_add_string(out, slice_of(subscribing->office->epoch));
    buf_add_text(out, ",\"groups\":{");
    for (uint32_t i = 0; i < subscribing->count; i++) {
        if (i)
            buf_add_char(out, ',');
        add_join(out, &subscribing->joins[i]);
    }
    buf_add_char(out, '}');
    msg = postmaster_end(MSG_ANSWER);
    session_say(session, msg);
}

/* Where it begins: as a session in its mailbox, but live where nobody has said otherwise. */
static void judge(struct join *join)
{
    const struct subscribing *subscribing = join->subscribing;

    join->live = !subscribing->since.given && !join->joined.known_device;
    join->standing = standing_judge(subscribing->office->epoch, &subscribing->since, &join->joined);
}

/* `result` has been said. A subscription that was on already stays as it is. */
static void begin(struct subscription *subscription, const struct join *join)
{
    struct groups *groups = join->subscribing->office->groups;
    struct group *group = subscription->group;
    struct seq last = join->joined.last;
    bool reads = subscription->feed.state != FEED_IDLE; /* `#all`, and behind */

    if (subscription->state != SUBSCRIPTION_PENDING)
        return;
    subscription->state = SUBSCRIPTION_ON;
    if (!groups->office->mailbox)
        return;
    group_begin(groups, group, last);
    if (!join->live) {
        subscription->cursor = join->standing.cursor;
        subscription_start(subscription, join->standing.cursor, last);
    } else if (reads) {
        subscription_start(subscription, subscription->feed.queued, last);
    } else if (group->is_all) {
        subscription_start_live(subscription, group_all_handed(groups, subscription->session));
    } else if (seq_compare(group->handed_out, last) <= 0) {
        subscription_start_live(subscription, last);
    } else {
        subscription_start(subscription, last, group->handed_out);
    }
}

static void begin_all(struct session *session, const struct subscribing *subscribing)
{
    for (uint32_t i = 0; i < subscribing->count && conn_is_open(&session->conn); i++) {
        struct subscription *subscription = find(session, subscribing->joins[i].group);
        if (subscription) /* not unsubscribed meanwhile */
            begin(subscription, &subscribing->joins[i]);
    }
}

/* It was only made for this command: as if it had not been. */
static void take_back(struct session *session, const struct subscribing *subscribing)
{
    for (uint32_t i = 0; i < subscribing->count; i++) {
        struct subscription *subscription = find(session, subscribing->joins[i].group);
        if (!subscription || subscription->state != SUBSCRIPTION_PENDING ||
            subscription->request != subscribing->request)
            continue;
        if (subscription->feed.state != FEED_IDLE)
            subscription->state = SUBSCRIPTION_LAGGING;
        else
            subscription_free(subscription);
    }
}

static void refuse(struct session *session, const struct subscribing *subscribing)
{
    struct slice id = slice_make(subscribing->id_len ? subscribing->id : NULL, subscribing->id_len);
    struct msg *msg = postmaster_rejected(session_address(session),
                                          &(struct postmaster_rejection){
                                              .code = REJECT_STORAGE_UNAVAILABLE,
                                              .message = "the group's log cannot be read now",
                                              .id = id,
                                              .retry_after_ms = 1000,
                                          });

    stats_add(session->office->stats, STAT_rejected_storage_unavailable, 1);
    session_say(session, msg);
}

static void finish(struct subscribing *subscribing)
{
    struct session *session = session_by_number(subscribing->office, subscribing->session);
    bool ok = true;

    for (uint32_t i = 0; i < subscribing->count; i++) {
        ok = ok && subscribing->joins[i].joined.ok;
        judge(&subscribing->joins[i]);
    }
    if (session && conn_is_open(&session->conn)) {
        if (ok) {
            say_result(session, subscribing);
            begin_all(session, subscribing);
        } else {
            take_back(session, subscribing);
            refuse(session, subscribing);
        }
    }
    free(subscribing);
}

static void settle(struct subscribing *subscribing)
{
    if (--subscribing->waiting == 0)
        finish(subscribing);
}

static void on_joined(void *arg, const struct mailbox_opened *joined)
{
    struct join *join = arg;

    join->joined = *joined;
    settle(join->subscribing);
}

/* ---- asking ---- */

static struct subscribing *subscribing_new(struct session *session, const struct envelope *envelope,
                                           struct seq after)
{
    size_t joins_size = envelope->tag_count * sizeof(struct join);
    size_t names_len = 0;
    struct subscribing *subscribing;
    char *name;

    for (size_t i = 0; i < envelope->tag_count; i++)
        names_len += envelope->tags[i].len;
    subscribing = calloc(1, sizeof *subscribing + joins_size + names_len);
    if (!subscribing)
        return NULL;
    subscribing->office = session->office;
    subscribing->session = session->number;
    subscribing->request = ++session->office->groups->requests;
    subscribing->since =
        (struct standing_since){ .given = envelope->references.data != NULL, .seq = after };
    standing_since_epoch(&subscribing->since, envelope->epoch);
    subscribing->id_len = (uint8_t)envelope->id.len;
    if (envelope->id.len)
        memcpy(subscribing->id, envelope->id.data, envelope->id.len);
    name = (char *)subscribing->joins + joins_size;
    for (size_t i = 0; i < envelope->tag_count; i++) {
        struct slice tag = envelope->tags[i];
        if (said_before(envelope->tags, i))
            continue;
        memcpy(name, tag.data, tag.len);
        subscribing->joins[subscribing->count++] =
            (struct join){ .subscribing = subscribing, .group = slice_make(name, tag.len) };
        name += tag.len;
    }
    return subscribing;
}

/* Before the log is asked: a post that is stored after its answer finds the subscription here. */
static enum err want(struct session *session, const struct subscribing *subscribing,
                     struct slice address)
{
    struct subscription *subscription = find(session, address);
    struct group *group;
    enum err err;

    if (!subscription) {
        err = group_need(session->office->groups, address, &group);
        if (err)
            return err;
        subscription = subscription_new(session, group, SUBSCRIPTION_PENDING);
        if (!subscription) {
            group_settle(session->office->groups, group);
            return ERR_NOMEM;
        }
    }
    if (subscription->state == SUBSCRIPTION_LAGGING)
        subscription->state = SUBSCRIPTION_PENDING;
    if (subscription->state == SUBSCRIPTION_PENDING)
        subscription->request = subscribing->request;
    return OK;
}

static enum err want_all(struct session *session, struct subscribing *subscribing,
                         struct envelope_fault *fault)
{
    for (uint32_t i = 0; i < subscribing->count; i++) {
        enum err err = want(session, subscribing, subscribing->joins[i].group);
        if (err == OK)
            continue;
        take_back(session, subscribing);
        return err == ERR_FULL ? envelope_reject(fault, REJECT_STORAGE_UNAVAILABLE, "tags",
                                                 "this worker has no room for another group")
                               : envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    }
    return OK;
}

/* Whose cursor: the address's and the device's. Neither can hold a NUL. */
static struct slice member_of(const struct session *session, char room[MEMBER_BYTES_MAX])
{
    struct slice address = session_address(session), device = session_device(session);

    memcpy(room, address.data, address.len);
    room[address.len] = 0;
    memcpy(room + address.len + 1, device.data, device.len);
    return slice_make(room, address.len + 1 + device.len);
}

static void ask(const struct session *session, struct subscribing *subscribing)
{
    struct mailbox *mailbox = session->office->mailbox;
    struct mailbox_opened nothing = { .ok = !mailbox, .known_device = false };
    char room[MEMBER_BYTES_MAX];
    struct slice member = member_of(session, room);

    subscribing->waiting = subscribing->count + 1;
    for (uint32_t i = 0; i < subscribing->count; i++) {
        struct join *join = &subscribing->joins[i];
        if (!mailbox || mailbox_join(mailbox, join->group, member, on_joined, join)) {
            join->joined = nothing;
            subscribing->waiting--;
        }
    }
    settle(subscribing);
}

enum err groups_subscribe(struct session *session, const struct envelope *envelope,
                          struct envelope_fault *fault)
{
    struct mailbox *mailbox = session->office->mailbox;
    struct subscribing *subscribing;
    struct seq after = { 0 };

    if (check_subscribe(session, envelope, fault))
        return ERR_BAD;
    if (envelope->references.data && !seq_parse(envelope->references, &after))
        return envelope_reject(fault, REJECT_BAD_FIELD, "references", "references must be a seq");
    if (mailbox && !mailbox_is_up(mailbox))
        return envelope_reject(fault, REJECT_STORAGE_UNAVAILABLE, NULL, "Redis is away");
    subscribing = subscribing_new(session, envelope, after);
    if (!subscribing)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    if (want_all(session, subscribing, fault)) {
        free(subscribing);
        return ERR_BAD;
    }
    ask(session, subscribing);
    return OK;
}

/* ---- leaving ---- */

/* What waits for the session in `#all` it gets all the same, in order: a subscription to that which
 * still has something to read stays until it has. */
static void drop(struct subscription *subscription)
{
    if (subscription->group->is_all && subscription->feed.state > FEED_IDLE)
        subscription->state = SUBSCRIPTION_LAGGING;
    else
        subscription_free(subscription);
}

/* Behind everything that was queued, so that nothing of the groups comes after it. */
static enum err say_left(struct session *session, struct envelope_fault *fault)
{
    struct msg *msg = postmaster_end(MSG_MAIL);

    if (!msg)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    msg->level = -9;
    if (conn_send_at(&session->conn, msg, (struct outbox_position){ 0 }) == ERR_NOMEM)
        conn_abort(&session->conn);
    msg_unref(msg);
    return OK;
}

enum err groups_unsubscribe(struct session *session, const struct envelope *envelope,
                            struct envelope_fault *fault)
{
    if (check_tags(envelope, fault))
        return ERR_BAD;
    for (size_t i = 0; i < envelope->tag_count; i++) {
        struct subscription *subscription = find(session, envelope->tags[i]);
        if (is_wanted(subscription))
            drop(subscription);
    }
    postmaster_begin_result(session_address(session), envelope->id);
    return say_left(session, fault);
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
        drop(subscription);
    }
    if (any)
        buf_add_char(out, ']');
}

/* ---- acknowledging ---- */

bool groups_ack(struct session *session, struct slice group, struct seq seq, struct seq *cursor)
{
    struct subscription *subscription = find(session, group);
    char room[MEMBER_BYTES_MAX];
    struct outbox_position oldest;

    if (!subscription || subscription->state != SUBSCRIPTION_ON)
        return false;
    oldest = outbox_oldest(&session->conn.outbox, subscription->number);
    *cursor = subscription->cursor;
    if (!feed_acks_take(&subscription->feed.acks, seq, (struct seq){ oldest.ms, oldest.n }, cursor))
        return true;
    if (seq_compare(*cursor, subscription->cursor) > 0)
        subscription->cursor = *cursor;
    *cursor = subscription->cursor;
    /* One that cannot be stored now is made up for by the next; until then posts may come again. */
    mailbox_ack(session->office->mailbox, group, member_of(session, room), *cursor, NULL, NULL);
    return true;
}
