/*
 * One subscriber: where a session stands in the log of a group.
 *
 * A subscription that is in step with the worker takes each post as it is delivered. A subscription
 * that replays, or that was too slow, reads the log alone until it is in step again. Of a
 * session's subscriptions only that which has waited longest reads a page, so that a slow client
 * costs memory for one page, however many its groups.
 */
#include "worker/groups/groups_parts.h"

#include "common/json.h"
#include "worker/delivery/carrier.h"
#include "worker/envelope/postmaster.h"

#include <stddef.h>
#include <stdlib.h>

/* A page that was asked for. The session and the subscription may be gone when the page comes, and
 * a subscription that has started anew has another number. */
struct page_question {
    struct office *office;
    uint64_t session;
    uint32_t number;
};

static const struct reader_kind subscription_reader;

static struct subscription *reader_subscription(struct reader *reader)
{
    return (struct subscription *)((char *)reader - offsetof(struct subscription, reader));
}

static struct groups *subscription_groups(const struct subscription *subscription)
{
    return subscription->group->groups;
}

static bool page_fits(const struct session *session)
{
    return conn_waiting(&session->conn) < ROOM_BYTES;
}

/* ---- the record ---- */

static uint32_t next_number(struct groups *groups)
{
    do
        groups->last_number++;
    while (groups->last_number == 0 || groups->last_number == SUBSCRIPTION_NUMBER_PLAIN);
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
    subscription->number = next_number(group->groups);
    at = &session->subscriptions;
    if (!group->kind->subscription_is_first && *at && (*at)->group->kind->subscription_is_first)
        at = &(*at)->next;
    subscription->next = *at;
    *at = subscription;
    /* In front: the parcel that is being delivered passes the subscription by, which reads that
     * post for itself. */
    TAILQ_INSERT_HEAD(&group->subscribers, subscription, link);
    group->subscriber_count++;
    return subscription;
}

void subscription_free(struct subscription *subscription)
{
    struct group *group = subscription->group;
    struct groups *groups = group->groups;
    struct subscription **at = &subscription->session->subscriptions;

    while (*at != subscription)
        at = &(*at)->next;
    *at = subscription->next;
    if (groups->next_subscriber == subscription)
        groups->next_subscriber = TAILQ_NEXT(subscription, link);
    TAILQ_REMOVE(&group->subscribers, subscription, link);
    assert(group->subscriber_count);
    group->subscriber_count--;
    reader_fini(&subscription->reader);
    free(subscription);
    group_settle(group);
}

struct subscription *subscription_find(const struct session *session, const struct group *group)
{
    struct subscription *subscription = session->subscriptions;

    while (subscription && subscription->group != group)
        subscription = subscription->next;
    return subscription;
}

struct subscription *subscription_find_address(const struct session *session, struct slice address)
{
    struct subscription *subscription = session->subscriptions;

    while (subscription && !slice_equal(group_address(subscription->group), address))
        subscription = subscription->next;
    return subscription;
}

static struct subscription *find_by_number(const struct session *session, uint32_t number)
{
    struct subscription *subscription = session->subscriptions;

    while (subscription && subscription->number != number)
        subscription = subscription->next;
    return subscription;
}

/* ---- the turn to read ---- */

static bool some_page_is_on_its_way(const struct session *session)
{
    const struct subscription *subscription = session->subscriptions;

    while (subscription && !subscription->page_asked)
        subscription = subscription->next;
    return subscription != NULL;
}

static struct subscription *waited_longest(const struct session *session)
{
    struct subscription *found = NULL;

    for (struct subscription *s = session->subscriptions; s; s = s->next)
        if (s->reader.feed.state == FEED_WAITING && (!found || s->page_turn < found->page_turn))
            found = s;
    return found;
}

void subscription_read_next(struct session *session)
{
    struct subscription *subscription = waited_longest(session);

    if (!subscription || some_page_is_on_its_way(session))
        return; /* the page that is on its way calls this function */
    if (page_fits(session))
        reader_room(&subscription_reader, &subscription->reader);
    else
        conn_ask_for_room(&session->conn, ROOM_BYTES);
}

/* ---- the acts of the reader ---- */

static void subscription_wait(struct reader *reader)
{
    conn_ask_for_room(&reader_subscription(reader)->session->conn, ROOM_BYTES);
}

/* Another subscription of the session that waits reads the next page. */
static bool subscription_may_go_on(struct reader *reader)
{
    const struct session *session = reader_subscription(reader)->session;

    return page_fits(session) && !waited_longest(session);
}

static bool subscription_wants(struct reader *reader, const struct mailbox_entry *entry)
{
    return !carrier_has_expired(reader_subscription(reader)->session->office, entry);
}

static void subscription_enqueue(struct subscription *subscription, struct msg *msg, struct seq seq)
{
    struct session *session = subscription->session;
    struct outbox_position position = { .ms = seq.ms,
                                        .n = seq.n,
                                        .number = ++subscription->reader.feed.numbers,
                                        .feed = subscription->number,
                                        .log = subscription->group->log };

    stats_add(session->office->stats, STAT_group_deliveries, 1);
    if (conn_send_at(&session->conn, msg, position) == ERR_NOMEM)
        conn_abort_no_memory(&session->conn);
}

static bool subscription_take(struct reader *reader, const struct mailbox_entry *entry,
                              struct msg *msg)
{
    struct subscription *subscription = reader_subscription(reader);
    struct session *session = subscription->session;

    if (msg)
        subscription_enqueue(subscription, msg, entry->seq);
    else
        conn_abort_no_memory(&session->conn);
    return conn_is_open(&session->conn);
}

static struct msg *replayed_of(const struct session *session, const struct group *group,
                               struct seq seq, bool recovered)
{
    struct buf *out = postmaster_begin(session_address(session), "replayed");
    char text[SEQ_TEXT_MAX];

    buf_add_text(out, ",\"tags\":[");
    json_add_string(out, group_address(group));
    buf_add_text(out, "],\"seq\":");
    json_add_string(out, slice_make(text, seq_format(text, seq)));
    if (!recovered)
        buf_add_text(out, ",\"recovered\":false");
    return postmaster_end(MSG_MAIL);
}

/* Up to where the reader stands; behind the whole backlog. */
static void say_replayed(struct subscription *subscription)
{
    const struct feed *feed = &subscription->reader.feed;
    struct session *session = subscription->session;
    struct msg *msg = replayed_of(session, subscription->group, feed->queued, true);

    session_say_at_level(session, msg, feed->level);
}

void subscription_say_gap(struct session *session, const struct group *group, struct seq seq,
                          int8_t level)
{
    stats_add(session->office->stats, STAT_gaps_told, 1);
    session_say_at_level(session, replayed_of(session, group, seq, false), level);
}

/* Says that the posts behind the reader's position are gone. A `replayed` that is still to come
 * stays behind this word. number: of the posts that wait. The subscription may be gone after. */
static void say_gap(struct subscription *subscription, uint32_t number)
{
    struct feed *feed = &subscription->reader.feed;
    int8_t level = outbox_level_behind(&subscription->session->conn.outbox, number);

    if (level < feed->level)
        feed->level = level;
    subscription_say_gap(subscription->session, subscription->group, feed->queued, level);
}

static void subscription_replayed(struct reader *reader)
{
    struct subscription *subscription = reader_subscription(reader);

    if (subscription->state == SUBSCRIPTION_ON)
        say_replayed(subscription);
}

static bool subscription_gap(struct reader *reader, struct seq lost)
{
    struct subscription *subscription = reader_subscription(reader);
    struct session *session = subscription->session;

    (void)lost;
    say_gap(subscription, subscription->number);
    return conn_is_open(&session->conn);
}

static void subscription_failed(struct reader *reader)
{
    struct subscription *subscription = reader_subscription(reader);

    subscription->page_failed = true;
    subscription_groups(subscription)->some_pages_failed = true;
    subscription->session->office->catch_up_again = true;
}

static void subscription_page_arrived(void *arg, const struct mailbox_page *page)
{
    struct page_question question = *(struct page_question *)arg;
    struct session *session = session_open_by_number(question.office, question.session);
    struct subscription *subscription;

    free(arg);
    if (!session)
        return;
    subscription = find_by_number(session, question.number);
    if (subscription) {
        subscription->page_asked = false;
        reader_page(&subscription_reader, &subscription->reader, page);
    }
    if (conn_is_open(&session->conn))
        subscription_read_next(session);
}

static enum err subscription_ask(struct reader *reader)
{
    struct subscription *subscription = reader_subscription(reader);
    struct session *session = subscription->session;
    struct office *office = session->office;
    struct page_question *question;
    enum err err;

    if (some_page_is_on_its_way(session)) {
        reader->feed.state = FEED_WAITING; /* until subscription_read_next */
        return OK;
    }
    if (!office->mailbox)
        return ERR_DOWN;
    question = malloc(sizeof *question);
    if (!question)
        return ERR_NOMEM;
    *question = (struct page_question){ office, session->number, subscription->number };
    err = mailbox_read(office->mailbox, group_address(subscription->group), reader->feed.queued,
                       subscription_page_arrived, question);
    if (err) {
        free(question);
        return err;
    }
    subscription->page_asked = true;
    subscription->page_turn = ++subscription_groups(subscription)->page_turns;
    stats_add(office->stats, STAT_group_replays, 1);
    return OK;
}

static const struct reader_kind subscription_reader = {
    .ask = subscription_ask,
    .wait = subscription_wait,
    .has_room = subscription_may_go_on,
    .wants = subscription_wants,
    .take = subscription_take,
    .replayed = subscription_replayed,
    .gap = subscription_gap,
    .failed = subscription_failed,
};

/* ---- starting ---- */

/* Posts that were queued under the old number can be acknowledged no longer, and a page that is on
 * its way is dropped. */
static void start_anew(struct subscription *subscription)
{
    if (subscription->reader.feed.state != FEED_IDLE)
        subscription->number = next_number(subscription_groups(subscription));
    reader_fini(&subscription->reader);
    subscription->page_asked = subscription->page_failed = false;
}

void subscription_start_live(struct subscription *subscription, struct seq at)
{
    start_anew(subscription);
    feed_start_live(&subscription->reader.feed, at);
    if (subscription->state == SUBSCRIPTION_ON)
        say_replayed(subscription);
}

void subscription_start(struct subscription *subscription, struct seq after, struct seq newest)
{
    start_anew(subscription);
    reader_start(&subscription_reader, &subscription->reader, after, newest);
}

void subscription_retry(struct subscription *subscription)
{
    subscription->page_failed = false;
    reader_check(&subscription_reader, &subscription->reader, page_fits(subscription->session));
}

void subscription_restart(struct subscription *subscription, const struct mailbox_opened *log,
                          struct seq at)
{
    struct feed *feed = &subscription->reader.feed;
    struct seq queued = standing_begin(seq_min(feed->queued, log->last), log);
    bool had_replayed = feed->has_replayed;
    uint32_t number = subscription->number;
    enum feed_step step = FEED_NOTHING;

    if (feed->state == FEED_IDLE)
        return; /* starts when `subscribe` is answered */
    subscription->cursor = (struct seq){ 0 };
    start_anew(subscription);
    if (seq_compare(queued, at) < 0) {
        step = feed_start(feed, queued, log->last);
        feed->has_replayed = had_replayed;
    } else {
        feed_start_live(feed, queued);
    }
    reader_carry_out(&subscription_reader, &subscription->reader, step);
    if (subscription->state == SUBSCRIPTION_ON)
        say_gap(subscription, number); /* before the page that was asked for */
}

/* ---- posts ---- */

void subscription_enqueue_plain(struct session *session, const struct group *group, struct msg *msg,
                                struct seq seq)
{
    struct office *office = session->office;
    struct outbox_position position = {
        .ms = seq.ms, .n = seq.n, .feed = SUBSCRIPTION_NUMBER_PLAIN, .log = group->log
    };
    enum err err = !seq_is_zero(seq) ? conn_send_at(&session->conn, msg, position)
                                     : conn_send(&session->conn, msg);

    if (msg->kind != MSG_MAIL)
        return;
    if (!err)
        stats_add(office->stats, STAT_group_deliveries, 1);
    else if (err == ERR_NOMEM)
        conn_abort_no_memory(&session->conn);
    else if (err == ERR_FULL) { /* not stored: the close tells the client that a post was missed */
        stats_add(office->stats, STAT_slow_closed, 1);
        stats_add(office->stats, STAT_mail_undelivered, 1);
        conn_close_now(&session->conn, WS_CLOSE_TOO_SLOW, SLICE("too slow"));
    }
}

void subscription_offer(struct subscription *subscription, struct msg *msg, struct seq seq,
                        struct seq before)
{
    struct session *session = subscription->session;
    bool room = conn_waiting(&session->conn) < LIVE_BYTES;

    if (!reader_offer(&subscription_reader, &subscription->reader, seq, before, room))
        return;
    if (subscription->state != SUBSCRIPTION_LAGGING) {
        subscription_enqueue(subscription, msg, seq);
        return;
    }
    /* caught up: the session needs no reader now */
    subscription_enqueue_plain(session, subscription->group, msg, seq);
    if (conn_is_open(&session->conn))
        subscription_free(subscription);
}

void subscription_offer_gap(struct subscription *subscription, struct seq lost, struct seq before)
{
    struct feed *feed = &subscription->reader.feed;
    bool missed = seq_is_zero(lost) ? seq_compare(feed->queued, before) >= 0
                                    : seq_compare(feed->queued, lost) < 0;

    if (feed->state != FEED_LIVE || !missed)
        return;
    feed->newest = seq_max(feed->newest, lost);
    if (subscription_gap(&subscription->reader, lost))
        feed->queued = seq_max(feed->queued, lost);
}

void subscription_left(struct session *session, struct outbox_position position)
{
    struct subscription *subscription = find_by_number(session, position.feed);

    if (subscription && subscription->state == SUBSCRIPTION_ON)
        feed_acks_sent(&subscription->reader.feed.acks, (struct seq){ position.ms, position.n },
                       position.number);
}
