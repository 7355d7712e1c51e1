/*
 * The command subscribe.
 *
 * subscribe asks each group's log where the log ends and where the device stands in it, all in one
 * write to Redis. When every log has answered, the session gets the `result`, and the replays begin
 * behind the result. The subscriptions exist before the logs are asked, as pending: a post that is
 * stored after a log's answer must find the subscription.
 *
 * A subscribe is an errand: one of a session is under way. The subscriptions are made at once all
 * the same, so that an unsubscribe, which waits for nothing, finds them.
 *
 * The session may close or unsubscribe before the answers come, so a question names the session by
 * its number and holds no pointer.
 */
#include "worker/groups/groups_parts.h"

#include "common/json.h"
#include "worker/envelope/postmaster.h"
#include "worker/mailbox/mailbox_enter.h"
#include "worker/mailbox/standing.h"
#include "worker/session/errands.h"

#include <stdlib.h>

struct subscribing;

enum { JOIN_ANSWER_BYTES = 128 }; /* of the `result`, besides the name of the group */

/* One group of a `subscribe`. */
struct join {
    struct subscribing *subscribing;
    struct mailbox_opened joined;
    struct standing standing;
    struct slice group; /* its address; lies behind `joins` */
    bool asked;         /* false: the client had unsubscribed before the log could be asked */
    bool live;          /* nothing is replayed: neither the client nor a cursor names a position */
};

/* A `subscribe` that waits for answers. */
struct subscribing {
    struct errand errand;
    uint64_t request; /* counts the commands, see struct subscription */
    struct standing_since since;
    uint32_t count;      /* of joins */
    uint32_t waiting;    /* answers to come, and 1 while joins_ask runs */
    struct join joins[]; /* the addresses of the groups follow */
};

/* ---- is the command allowed? ---- */

static bool tag_is_repeated(const struct slice *tags, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (slice_equal(tags[i], tags[j]))
            return true;
    return false;
}

/* One group that is not allowed refuses the whole command. */
static enum err check_subscribe(const struct session *session, const struct envelope *envelope,
                                struct envelope_fault *fault)
{
    int64_t count = 0, most = session->office->config->sessions.groups_per_session;

    if (groups_check_tags(envelope, fault))
        return ERR_BAD;
    for (const struct subscription *s = session->subscriptions; s; s = s->next)
        count += subscription_is_wanted(s);
    for (size_t i = 0; i < envelope->tag_count; i++) {
        if (!groups_may_read(session, envelope->tags[i]))
            return envelope_reject(fault, REJECT_FORBIDDEN_TO, "tags",
                                   "the token does not allow this group");
        if (!subscription_is_wanted(subscription_find_address(session, envelope->tags[i])) &&
            !tag_is_repeated(envelope->tags, i) && ++count > most)
            return envelope_reject(fault, REJECT_BAD_FIELD, "tags",
                                   "more groups than sessions.groupsPerSession allows");
    }
    return OK;
}

/* ---- the answers ---- */

static void add_quoted_seq(struct buf *out, struct seq seq)
{
    char text[SEQ_TEXT_MAX];

    json_add_string(out, slice_make(text, seq_format(text, seq)));
}

static void add_join(struct buf *out, const struct join *join)
{
    json_add_string(out, join->group);
    buf_add_text(out, ":{\"seq\":");
    add_quoted_seq(out, join->standing.last);
    buf_add_text(out, ",\"cursor\":");
    add_quoted_seq(out, join->standing.cursor);
    buf_add_text(out, join->standing.recovered ? ",\"recovered\":true}" : ",\"recovered\":false}");
}

static void say_subscribed(struct session *session, const struct subscribing *subscribing)
{
    struct buf *out =
        postmaster_begin_result(session_address(session), asker_id(&subscribing->errand.asker));
    const char *comma = "";
    struct msg *msg;

    buf_add_text(out, ",\"epoch\":");
    json_add_string(out, slice_of(session->office->epoch));
    buf_add_text(out, ",\"groups\":{");
    for (uint32_t i = 0; i < subscribing->count; i++) {
        if (!subscribing->joins[i].asked)
            continue;
        buf_add_text(out, comma);
        add_join(out, &subscribing->joins[i]);
        comma = ",";
    }
    buf_add_char(out, '}');
    msg = postmaster_end(MSG_ANSWER);
    session_say(session, msg);
}

/* Decides where the subscription starts: as a session in its mailbox, but without a replay when
 * neither the client nor a cursor names a position. */
static void join_judge(struct join *join)
{
    const struct subscribing *subscribing = join->subscribing;

    join->live = !subscribing->since.given && !join->joined.known_device;
    join->standing =
        standing_judge(subscribing->errand.asker.office->epoch, &subscribing->since, &join->joined);
}

/* The `result` is queued. A subscription that was on before the command stays where it is. */
static void join_begin(struct subscription *subscription, const struct join *join)
{
    struct group *group = subscription->group;
    struct seq last = join->joined.last;
    const struct feed *feed = &subscription->reader.feed;

    if (subscription->state != SUBSCRIPTION_PENDING)
        return;
    subscription->state = SUBSCRIPTION_ON;
    if (!group->groups->office->mailbox)
        return;
    group_log_start(group, last);
    if (!join->live) {
        subscription->cursor = join->standing.cursor;
        subscription_start(subscription, join->standing.begin, last);
    } else if (feed->state != FEED_IDLE) { /* was lagging in `#all`: goes on from there */
        subscription_start(subscription, feed->queued, last);
    } else {
        group->kind->start_live(subscription, last);
    }
}

static void joins_begin(struct session *session, const struct subscribing *subscribing)
{
    for (uint32_t i = 0; i < subscribing->count && conn_is_open(&session->conn); i++) {
        struct subscription *subscription =
            subscription_find_address(session, subscribing->joins[i].group);
        /* else the client has unsubscribed meanwhile */
        if (subscription && subscribing->joins[i].asked)
            join_begin(subscription, &subscribing->joins[i]);
    }
}

/* Takes back the subscriptions that were made for this command alone. */
static void joins_undo(struct session *session, const struct subscribing *subscribing)
{
    for (uint32_t i = 0; i < subscribing->count; i++) {
        struct subscription *subscription =
            subscription_find_address(session, subscribing->joins[i].group);
        if (subscription && subscription->state == SUBSCRIPTION_PENDING &&
            subscription->request == subscribing->request)
            subscription->group->kind->leave(subscription);
    }
}

static void say_unavailable(struct session *session, const struct subscribing *subscribing)
{
    struct msg *msg = postmaster_rejected(session_address(session),
                                          &(struct postmaster_rejection){
                                              .code = REJECT_STORAGE_UNAVAILABLE,
                                              .message = "the group's log cannot be read now",
                                              .id = asker_id(&subscribing->errand.asker),
                                              .retry_after_ms = 1000,
                                          });

    stats_add(session->office->stats, STAT_rejected_storage_unavailable, 1);
    session_say(session, msg);
}

static void joins_finish(struct subscribing *subscribing)
{
    struct asker asker = subscribing->errand.asker;
    struct session *session = asker_session(&asker);
    bool ok = true;

    for (uint32_t i = 0; i < subscribing->count; i++) {
        ok = ok && (subscribing->joins[i].joined.ok || !subscribing->joins[i].asked);
        join_judge(&subscribing->joins[i]);
    }
    if (session) {
        if (ok) {
            say_subscribed(session, subscribing);
            joins_begin(session, subscribing);
        } else {
            joins_undo(session, subscribing);
            say_unavailable(session, subscribing);
        }
    }
    free(subscribing);
    errands_done(&asker);
}

static void joins_answered(struct subscribing *subscribing)
{
    if (--subscribing->waiting == 0)
        joins_finish(subscribing);
}

static void join_answered(void *arg, const struct mailbox_opened *joined)
{
    struct join *join = arg;

    join->joined = *joined;
    joins_answered(join->subscribing);
}

/* ---- asking ---- */

static void joins_ask(const struct session *session, struct subscribing *subscribing)
{
    struct mailbox *mailbox = session->office->mailbox;
    struct mailbox_opened nothing = { .ok = !mailbox, .known_device = false };
    char room[GROUP_MEMBER_BYTES_MAX];
    struct slice member = groups_member_name(session, room);

    subscribing->waiting = 1;
    for (uint32_t i = 0; i < subscribing->count; i++) {
        struct join *join = &subscribing->joins[i];
        join->asked = subscription_is_wanted(subscription_find_address(session, join->group));
        join->joined = nothing;
        if (join->asked && mailbox &&
            !mailbox_join(mailbox, join->group, member, join_answered, join))
            subscribing->waiting++;
    }
    joins_answered(subscribing);
}

static void subscribing_begin(struct errand *errand, struct session *session)
{
    joins_ask(session, (struct subscribing *)(void *)errand);
}

static void subscribing_drop(struct errand *errand)
{
    struct subscribing *subscribing = (struct subscribing *)(void *)errand;
    struct session *session = asker_session(&errand->asker);

    if (session)
        joins_undo(session, subscribing);
    free(subscribing);
}

static struct subscribing *subscribing_new(struct session *session, const struct envelope *envelope,
                                           const struct standing_since *since)
{
    size_t joins_size = envelope->tag_count * sizeof(struct join);
    size_t names_len = 0;
    struct subscribing *subscribing;
    size_t bytes;
    char *name;

    for (size_t i = 0; i < envelope->tag_count; i++)
        names_len += envelope->tags[i].len;
    bytes = sizeof *subscribing + joins_size + names_len;
    subscribing = calloc(1, bytes);
    if (!subscribing)
        return NULL;
    subscribing->errand = (struct errand){
        .asker = asker_of(session, envelope->id),
        .bytes = bytes,
        .answer_bytes = (uint32_t)(names_len + envelope->tag_count * JOIN_ANSWER_BYTES),
        .begin = subscribing_begin,
        .drop = subscribing_drop,
    };
    subscribing->request = ++session->office->groups->requests;
    subscribing->since = *since;
    standing_since_epoch(&subscribing->since, envelope->epoch);
    name = (char *)subscribing->joins + joins_size;
    for (size_t i = 0; i < envelope->tag_count; i++) {
        struct slice tag = envelope->tags[i];
        if (tag_is_repeated(envelope->tags, i))
            continue;
        memcpy(name, tag.data, tag.len);
        subscribing->joins[subscribing->count++] =
            (struct join){ .subscribing = subscribing, .group = slice_make(name, tag.len) };
        name += tag.len;
    }
    return subscribing;
}

/* Makes the subscription before the log is asked. A lagging subscription becomes pending. */
static enum err join_prepare(struct session *session, const struct subscribing *subscribing,
                             struct slice address)
{
    struct subscription *subscription = subscription_find_address(session, address);
    struct group *group;
    enum err err;

    if (!subscription) {
        err = group_need(session->office->groups, address, &group);
        if (err)
            return err;
        subscription = subscription_new(session, group, SUBSCRIPTION_PENDING);
        if (!subscription) {
            group_settle(group);
            return ERR_NOMEM;
        }
    }
    if (subscription->state == SUBSCRIPTION_LAGGING)
        subscription->state = SUBSCRIPTION_PENDING;
    if (subscription->state == SUBSCRIPTION_PENDING)
        subscription->request = subscribing->request;
    return OK;
}

static enum err joins_prepare(struct session *session, struct subscribing *subscribing,
                              struct envelope_fault *fault)
{
    for (uint32_t i = 0; i < subscribing->count; i++) {
        enum err err = join_prepare(session, subscribing, subscribing->joins[i].group);
        if (err == OK)
            continue;
        joins_undo(session, subscribing);
        return err == ERR_FULL ? envelope_reject(fault, REJECT_STORAGE_UNAVAILABLE, "tags",
                                                 "this worker has no room for another group")
                               : envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    }
    return OK;
}

enum err groups_subscribe(struct session *session, const struct envelope *envelope,
                          struct envelope_fault *fault)
{
    struct mailbox *mailbox = session->office->mailbox;
    struct subscribing *subscribing;
    struct standing_since since;

    if (check_subscribe(session, envelope, fault))
        return ERR_BAD;
    if (!standing_since_read(&since, envelope->references))
        return envelope_reject(fault, REJECT_BAD_FIELD, "references",
                               "references must be a seq or now");
    if (mailbox && !mailbox_is_up(mailbox))
        return envelope_reject(fault, REJECT_STORAGE_UNAVAILABLE, NULL, "Redis is away");
    subscribing = subscribing_new(session, envelope, &since);
    if (!subscribing)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    if (joins_prepare(session, subscribing, fault)) {
        free(subscribing);
        return ERR_BAD;
    }
    return errands_command(session, &subscribing->errand, fault);
}
