/*
 * One subscriber at its own pace: it is replaying, or it was too slow for what came live. It reads
 * the group's log by the rules of feed.c, as a session reads its mailbox, until it stands where the
 * others on this worker do. Of a session's subscriptions one reads at a time, the one that waited
 * longest, so that a slow client costs a page however many groups it is in.
 */
#include "worker/groups/groups_parts.h"

#include "common/json.h"
#include "worker/delivery/carrier.h"
#include "worker/envelope/postmaster.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_read.h"

#include <stdlib.h>

/* A page that was asked for; the session and the subscription may be gone when it comes. */
struct page_question {
    struct office *office;
    uint64_t session;
    uint32_t number;
};

static void carry_out(struct subscription *subscription, enum feed_step step);

static struct groups *groups_of(const struct subscription *subscription)
{
    return subscription->session->office->groups;
}

static bool has_room(const struct session *session)
{
    return conn_waiting(&session->conn) < ROOM_BYTES;
}

/* ---- life ---- */

static uint32_t next_number(struct groups *groups)
{
    do
        groups->last_number++;
    while (groups->last_number == 0 || groups->last_number == UINT32_MAX);
    return groups->last_number;
}

struct subscription *subscription_new(struct session *session, struct group *group,
                                      enum subscription_state state)
{
    struct subscription *subscription = calloc(1, sizeof *subscription), **at;

    if (!subscription)
        return NULL;
    subscription->session = session;
    subscription->group = group;
    subscription->state = (uint8_t)state;
    subscription->number = next_number(session->office->groups);
    at = &session->subscriptions;
    if (!group->is_all && *at && (*at)->group->is_all)
        at = &(*at)->next; /* that one stays the first */
    subscription->next = *at;
    *at = subscription;
    /* In front: what is being handed out now does not come to it; it reads that for itself. */
    TAILQ_INSERT_HEAD(&group->subscribers, subscription, link);
    group->subscriber_count++;
    return subscription;
}

void subscription_free(struct subscription *subscription)
{
    struct groups *groups = groups_of(subscription);
    struct group *group = subscription->group;
    struct subscription **at = &subscription->session->subscriptions;

    while (*at != subscription)
        at = &(*at)->next;
    *at = subscription->next;
    if (groups->next == subscription)
        groups->next = TAILQ_NEXT(subscription, link);
    TAILQ_REMOVE(&group->subscribers, subscription, link);
    group->subscriber_count--;
    feed_fini(&subscription->feed);
    free(subscription);
    group_settle(groups, group);
}

struct subscription *subscription_find(const struct session *session, const struct group *group)
{
    struct subscription *subscription = session->subscriptions;

    while (subscription && subscription->group != group)
        subscription = subscription->next;
    return subscription;
}

static struct subscription *find_number(const struct session *session, uint32_t number)
{
    struct subscription *subscription = session->subscriptions;

    while (subscription && subscription->number != number)
        subscription = subscription->next;
    return subscription;
}

/* ---- reading ---- */

static bool some_page_is_on_its_way(const struct session *session)
{
    const struct subscription *subscription = session->subscriptions;

    while (subscription && !subscription->asked)
        subscription = subscription->next;
    return subscription != NULL;
}

static struct subscription *waited_longest(const struct session *session)
{
    struct subscription *found = NULL;

    for (struct subscription *s = session->subscriptions; s; s = s->next)
        if (s->feed.state == FEED_WAITING && (!found || s->turn < found->turn))
            found = s;
    return found;
}

void groups_on_room(struct session *session)
{
    struct subscription *subscription = waited_longest(session);

    if (!subscription || some_page_is_on_its_way(session))
        return; /* the page comes back here */
    if (has_room(session))
        carry_out(subscription, feed_room(&subscription->feed));
    else
        conn_ask_for_room(&session->conn, ROOM_BYTES);
}

static void hand_over(struct subscription *subscription, struct msg *msg, struct seq seq)
{
    struct session *session = subscription->session;
    struct outbox_position position = { seq.ms, seq.n, ++subscription->feed.numbers,
                                        subscription->number };

    stats_add(session->office->stats, STAT_group_deliveries, 1);
    if (conn_send_at(&session->conn, msg, position) == ERR_NOMEM)
        conn_abort(&session->conn);
}

static void hand_over_entry(struct subscription *subscription, const struct mailbox_entry *entry)
{
    struct feed *feed = &subscription->feed;
    struct session *session = subscription->session;
    struct msg *msg;

    if (carrier_has_expired(session->office, entry))
        return;
    if (!feed->said_replayed && entry->level < feed->level)
        feed->level = entry->level;
    msg = msg_new(entry->body, MSG_MAIL, entry->level);
    if (msg)
        hand_over(subscription, msg, entry->seq);
    else
        conn_abort(&session->conn);
    msg_unref(msg);
}

static void failed(struct subscription *subscription)
{
    subscription->failed = groups_of(subscription)->some_failed = true;
    subscription->session->office->catch_up_again = true;
    feed_failed(&subscription->feed);
}

/* False when the session did not live through it, and the subscription with it. */
static bool hand_over_page(struct subscription *subscription, const struct mailbox_page *page,
                           uint64_t *bytes)
{
    struct session *session = subscription->session;

    for (size_t i = 0; i < page->count; i++) {
        hand_over_entry(subscription, &page->entries[i]);
        if (!conn_is_open(&session->conn))
            return false;
        *bytes += page->entries[i].body.len;
    }
    return true;
}

static void take_page(struct subscription *subscription, const struct mailbox_page *page)
{
    struct session *session = subscription->session;
    uint64_t bytes = 0;
    bool room;

    subscription->asked = false;
    if (!page->ok) {
        failed(subscription);
        return;
    }
    if (!hand_over_page(subscription, page, &bytes))
        return;
    room = has_room(session) && !waited_longest(session); /* or it is the others' turn */
    carry_out(subscription, feed_page(&subscription->feed, page->last, (unsigned)page->count,
                                      page->end, bytes, room));
}

static void on_page(void *arg, const struct mailbox_page *page)
{
    struct page_question question = *(struct page_question *)arg;
    struct session *session = session_by_number(question.office, question.session);
    struct subscription *subscription;

    free(arg);
    if (!session || !conn_is_open(&session->conn))
        return;
    subscription = find_number(session, question.number);
    if (subscription)
        take_page(subscription, page);
    if (conn_is_open(&session->conn))
        groups_on_room(session);
}

static void read_on(struct subscription *subscription)
{
    struct session *session = subscription->session;
    struct office *office = session->office;
    struct page_question *question = malloc(sizeof *question);

    if (question)
        *question = (struct page_question){ office, session->number, subscription->number };
    if (question && office->mailbox &&
        mailbox_read(office->mailbox, group_address(subscription->group), subscription->feed.queued,
                     subscription->feed.page_count, on_page, question) == OK) {
        subscription->asked = true;
        subscription->turn = ++office->groups->turns;
        stats_add(office->stats, STAT_group_replays, 1);
        return;
    }
    free(question);
    failed(subscription);
}

/* ---- what the client is told ---- */

/* The backlog has been sent; or (lost) the log is not what it was, and this is where it goes on.
 * Queued as mail is, at the lowest level of the backlog, so that it comes behind all of it. */
static void say_replayed(struct subscription *subscription, bool lost)
{
    struct session *session = subscription->session;
    struct buf *out = postmaster_begin(session_address(session), "replayed");
    char text[SEQ_TEXT_MAX];
    struct msg *msg;

    buf_add_text(out, ",\"tags\":[");
    json_add_string(out, group_address(subscription->group));
    buf_add_text(out, "],\"seq\":");
    json_add_string(out, slice_make(text, seq_format(text, subscription->feed.queued)));
    if (lost)
        buf_add_text(out, ",\"recovered\":false");
    msg = postmaster_end(MSG_MAIL);
    if (msg)
        msg->level = subscription->feed.level;
    if (!msg || conn_send_at(&session->conn, msg, (struct outbox_position){ 0 }))
        conn_abort(&session->conn);
    msg_unref(msg);
}

static void carry_out(struct subscription *subscription, enum feed_step step)
{
    struct session *session = subscription->session;

    switch (step) {
    case FEED_READ:
        if (some_page_is_on_its_way(session))
            subscription->feed.state = FEED_WAITING; /* its turn comes when that page has */
        else
            read_on(subscription);
        break;
    case FEED_WAIT:
        conn_ask_for_room(&session->conn, ROOM_BYTES);
        break;
    case FEED_REPLAYED:
        if (subscription->state == SUBSCRIPTION_ON)
            say_replayed(subscription, false);
        break;
    case FEED_NOTHING:
        break;
    }
}

/* ---- where it stands ---- */

/* What was queued before is not acknowledged under the new number. */
static void start_anew(struct subscription *subscription)
{
    feed_fini(&subscription->feed);
    if (subscription->feed.state != FEED_IDLE)
        subscription->number = next_number(groups_of(subscription));
    subscription->asked = subscription->failed = false;
}

void subscription_start_live(struct subscription *subscription, struct seq at)
{
    start_anew(subscription);
    feed_start_live(&subscription->feed, at);
    if (subscription->state == SUBSCRIPTION_ON)
        say_replayed(subscription, false);
}

void subscription_start(struct subscription *subscription, struct seq after, struct seq newest)
{
    start_anew(subscription);
    carry_out(subscription, feed_start(&subscription->feed, after, newest));
}

void subscription_offer(struct subscription *subscription, const struct parcel *parcel,
                        struct seq before)
{
    struct feed *feed = &subscription->feed;
    bool room = conn_waiting(&subscription->session->conn) < LIVE_BYTES;
    enum feed_step step;

    if (!feed_offer(feed, parcel->seq, before, room, &step)) {
        carry_out(subscription, step);
    } else if (subscription->state == SUBSCRIPTION_LAGGING) { /* it has caught up */
        group_hand(subscription->session, parcel->msg, parcel->seq);
        if (conn_is_open(&subscription->session->conn))
            subscription_free(subscription);
    } else {
        hand_over(subscription, parcel->msg, parcel->seq);
    }
}

void subscription_retry(struct subscription *subscription)
{
    subscription->failed = false;
    carry_out(subscription, feed_check(&subscription->feed, has_room(subscription->session)));
}

void subscription_restart(struct subscription *subscription, struct seq last, struct seq at)
{
    struct feed *feed = &subscription->feed;
    struct seq queued = seq_min(feed->queued, last);
    bool had_replayed = feed->said_replayed;
    enum feed_step step = FEED_NOTHING;

    if (feed->state == FEED_IDLE)
        return; /* its question is still on its way */
    subscription->cursor = (struct seq){ 0 };
    start_anew(subscription);
    if (seq_compare(queued, at) < 0) {
        step = feed_start(feed, queued, last);
        feed->said_replayed = had_replayed;
    } else {
        feed_start_live(feed, queued);
    }
    carry_out(subscription, step);
    if (subscription->state == SUBSCRIPTION_ON)
        say_replayed(subscription, true); /* before the page that was asked for */
}

/* ---- acknowledging ---- */

void groups_on_stored_left(struct session *session, struct outbox_position position)
{
    struct subscription *subscription = find_number(session, position.feed);

    if (subscription && subscription->state == SUBSCRIPTION_ON)
        feed_acks_sent(&subscription->feed.acks, (struct seq){ position.ms, position.n },
                       position.number);
}
