#include "worker/groups/groups_parts.h"

#include "common/address.h"
#include "common/log.h"
#include "worker/delivery/carrier.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_enter.h"
#include "worker/mailbox/mailbox_places.h"
#include "worker/mailbox/mailbox_read.h"

#include <assert.h>
#include <stdlib.h>

enum {
    PARCEL_BYTES_MAX = 4 << 20, /* past it a group is read from its log again, when there is room */
    PARCEL_BYTES_ROOM = 1 << 20,
    HAND_OUT_STEP = 2048, /* queueings a turn */
    LOOK_STEP = 256,      /* groups a turn that are asked about */
};

/* A question about a group is on its way. */
struct question {
    struct groups *groups;
    struct group *group;
    struct seq queued; /* when it was asked */
    uint32_t life;
};

static void look(struct groups *groups, struct group *group);

/* ---- the groups that have subscribers here ---- */

struct group *group_find(struct groups *groups, struct slice address)
{
    struct office *office = groups->office;
    struct directory_entry *entry =
        directory_find(&office->directory, sessions_key(office->region, address), address);

    return entry && entry->group && entry->group->listed ? entry->group : NULL;
}

static struct group *make(struct groups *groups, struct slice address)
{
    struct office *office = groups->office;
    struct directory_entry *entry =
        directory_need(&office->directory, sessions_key(office->region, address), address);
    struct group *group;

    if (!entry || entry->group)
        return entry ? entry->group : NULL;
    group = calloc(1, sizeof *group);
    if (group) {
        TAILQ_INIT(&group->subscribers);
        group->entry = entry;
        group->is_all = slice_equal(address, SLICE("#all"));
        entry->group = group;
        entry->holders++;
        TAILQ_INSERT_HEAD(&groups->list, group, link);
    } else {
        directory_release(&office->directory, entry);
    }
    return group;
}

/* One row, by which other workers of this host find it; the place in the log, by which those of
 * other hosts do, comes with the first question to it. */
static enum err list(struct groups *groups, struct group *group)
{
    struct office *office = groups->office;

    if (group->listed)
        return OK;
    group->shm_index = sessions_add_group(office->table, group->entry->key);
    if (group->shm_index == UINT32_MAX) {
        stats_add(office->stats, STAT_groups_full, 1);
        return ERR_FULL;
    }
    group->listed = true;
    group->heard = (struct seq){ 0 };
    group->data_lost_count = office->data_lost_count;
    return OK;
}

enum err group_need(struct groups *groups, struct slice address, struct group **group)
{
    enum err err;

    *group = make(groups, address);
    if (!*group)
        return ERR_NOMEM;
    err = list(groups, *group);
    if (err) {
        group_settle(groups, *group);
        *group = NULL;
    }
    return err;
}

static void unlist(struct groups *groups, struct group *group)
{
    struct office *office = groups->office;

    group->listed = false;
    group->life++;
    sessions_remove_group(office->table, group->shm_index);
    feed_fini(&group->feed);
    group->feed = (struct feed){ 0 };
    if (office->mailbox)
        mailbox_leave(office->mailbox, group_address(group));
}

void group_settle(struct groups *groups, struct group *group)
{
    if (group->subscriber_count || (group->is_all && groups->session_count))
        return;
    if (group->listed)
        unlist(groups, group);
    if (group->pins)
        return;
    if (groups->all == group)
        groups->all = NULL;
    TAILQ_REMOVE(&groups->list, group, link);
    group->entry->group = NULL;
    group->entry->holders--;
    directory_release(&groups->office->directory, group->entry);
    free(group);
}

static void unpin(struct groups *groups, struct group *group)
{
    group->pins--;
    group_settle(groups, group);
}

/* ---- parcels ---- */

static bool has_room(const struct groups *groups)
{
    return groups->parcel_bytes < PARCEL_BYTES_MAX;
}

static uint64_t parcel_bytes(const struct parcel *parcel)
{
    return sizeof *parcel + parcel->msg->len;
}

/* Takes memory for it over. */
static void send_parcel(struct groups *groups, struct parcel *parcel, struct group *group,
                        struct msg *msg, struct seq seq)
{
    assert(parcel);
    *parcel = (struct parcel){ .group = group, .msg = msg_ref(msg), .seq = seq };
    group->pins++;
    groups->parcel_bytes += parcel_bytes(parcel);
    TAILQ_INSERT_TAIL(&groups->parcels, parcel, link);
    loop_again(groups->office->loop);
}

static void drop_parcel(struct groups *groups, struct parcel *parcel)
{
    struct group *group = parcel->group;

    groups->parcel_bytes -= parcel_bytes(parcel);
    TAILQ_REMOVE(&groups->parcels, parcel, link);
    msg_unref(parcel->msg);
    free(parcel);
    unpin(groups, group);
}

void group_hand(struct session *session, struct msg *msg, struct seq seq)
{
    struct office *office = session->office;
    struct outbox_position position = { seq.ms, seq.n, 0, UINT32_MAX };
    enum err err = !seq_is_zero(seq) ? conn_send_at(&session->conn, msg, position)
                                     : conn_send(&session->conn, msg);

    if (msg->kind != MSG_MAIL)
        return;
    if (!err)
        stats_add(office->stats, STAT_group_deliveries, 1);
    else if (err == ERR_NOMEM)
        conn_abort(&session->conn);
    else if (err == ERR_FULL) { /* nothing is stored: the close tells that something was missed */
        stats_add(office->stats, STAT_slow_closed, 1);
        stats_add(office->stats, STAT_mail_undelivered, 1);
        conn_close_now(&session->conn, WS_CLOSE_TOO_SLOW, SLICE("too slow"));
    }
}

static void offer(struct subscription *subscription, const struct parcel *parcel, struct seq before)
{
    if (!seq_is_zero(parcel->seq))
        subscription_offer(subscription, parcel, before);
    else if (subscription->state != SUBSCRIPTION_PENDING)
        group_hand(subscription->session, parcel->msg, parcel->seq);
}

/* To a session that is in `#all` by itself, and has all that was handed out before. */
static void offer_unasked(struct groups *groups, struct session *session,
                          const struct parcel *parcel)
{
    struct subscription *lagging;

    if (seq_is_zero(parcel->seq) || conn_waiting(&session->conn) < LIVE_BYTES) {
        group_hand(session, parcel->msg, parcel->seq);
        return;
    }
    /* From here on it reads for itself, and needs something to remember where it is. */
    lagging = subscription_find(session, parcel->group);
    if (!lagging)
        lagging = subscription_new(session, parcel->group, SUBSCRIPTION_LAGGING);
    if (!lagging) {
        conn_abort(&session->conn);
        return;
    }
    subscription_start_live(lagging, groups->before);
    subscription_offer(lagging, parcel, groups->before);
}

static void offer_all(struct groups *groups, struct session *session, const struct parcel *parcel)
{
    struct subscription *own = session->subscriptions;

    if (!session->listed)
        return;
    if (own && own->group == parcel->group &&
        (own->feed.state != FEED_IDLE || own->state == SUBSCRIPTION_ON))
        offer(own, parcel, groups->before);
    else
        offer_unasked(groups, session, parcel);
}

struct seq group_all_handed(const struct groups *groups, const struct session *session)
{
    bool not_yet = groups->handing && TAILQ_FIRST(&groups->parcels)->group == groups->all &&
                   (uint32_t)session->number >= groups->next_place;

    return not_yet ? groups->before : groups->all->handed_out;
}

/* The first parcel goes to at most *budget sessions. Returns whether everybody has it. */
static bool hand_out(struct groups *groups, const struct parcel *parcel, unsigned *budget)
{
    struct office *office = groups->office;

    if (parcel->group->is_all) {
        while (*budget && groups->next_place < office->session_used) {
            struct session *session = office->sessions[groups->next_place++];
            --*budget;
            if (session)
                offer_all(groups, session, parcel);
        }
        return groups->next_place >= office->session_used;
    }
    while (*budget && groups->next) {
        struct subscription *subscription = groups->next;
        groups->next = TAILQ_NEXT(subscription, link);
        --*budget;
        offer(subscription, parcel, groups->before);
    }
    return !groups->next;
}

static void begin_parcel(struct groups *groups, const struct parcel *parcel)
{
    struct group *group = parcel->group;

    groups->handing = true;
    groups->next = TAILQ_FIRST(&group->subscribers);
    groups->next_place = 0;
    groups->before = group->handed_out;
    if (!seq_is_zero(parcel->seq))
        group->handed_out = parcel->seq;
}

static void hand_out_some(struct groups *groups, unsigned budget)
{
    struct parcel *parcel;

    while (budget && (parcel = TAILQ_FIRST(&groups->parcels))) {
        if (!groups->handing)
            begin_parcel(groups, parcel);
        if (!hand_out(groups, parcel, &budget))
            return;
        groups->handing = false;
        drop_parcel(groups, parcel);
    }
}

/* ---- the worker's place in a log ---- */

static void carry_out(struct groups *groups, struct group *group, enum feed_step step);

static struct question *ask(struct groups *groups, struct group *group)
{
    struct question *question = malloc(sizeof *question);

    if (!question)
        return NULL;
    *question = (struct question){ groups, group, group->feed.queued, group->life };
    group->pins++;
    return question;
}

/* The answer is there, or will not come. Returns whether it is still of interest. */
static bool answered(struct question *question)
{
    bool current = question->group->listed && question->group->life == question->life;

    unpin(question->groups, question->group);
    free(question);
    return current;
}

/* Again, in a while. */
static void failed(struct groups *groups, struct group *group)
{
    feed_failed(&group->feed);
    groups->office->catch_up_again = true;
}

static enum err send_entry(struct groups *groups, struct group *group,
                           const struct mailbox_entry *entry)
{
    struct parcel *parcel = malloc(sizeof *parcel);
    struct msg *msg = msg_new(entry->body, MSG_MAIL, entry->level);

    if (!parcel || !msg) {
        free(parcel);
        msg_unref(msg);
        return ERR_NOMEM;
    }
    send_parcel(groups, parcel, group, msg, entry->seq);
    msg_unref(msg);
    return OK;
}

static void take_page(struct groups *groups, struct group *group, const struct mailbox_page *page)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < page->count; i++) {
        const struct mailbox_entry *entry = &page->entries[i];
        bytes += entry->body.len;
        if (carrier_has_expired(groups->office, entry))
            continue;
        if (send_entry(groups, group, entry)) {
            failed(groups, group); /* the rest is read again */
            return;
        }
        group->feed.queued = entry->seq;
    }
    carry_out(groups, group,
              feed_page(&group->feed, page->last, (unsigned)page->count, page->end, bytes,
                        has_room(groups)));
}

static void on_page(void *arg, const struct mailbox_page *page)
{
    struct question question = *(struct question *)arg;

    if (!answered(arg))
        return;
    if (page->ok)
        take_page(question.groups, question.group, page);
    else
        failed(question.groups, question.group);
}

static void read_on(struct groups *groups, struct group *group)
{
    struct question *question = ask(groups, group);

    if (question && groups->office->mailbox &&
        mailbox_read(groups->office->mailbox, group_address(group), group->feed.queued,
                     group->feed.page_count, on_page, question) == OK) {
        stats_add(groups->office->stats, STAT_group_pages, 1);
        return;
    }
    if (question)
        answered(question);
    failed(groups, group);
}

static void carry_out(struct groups *groups, struct group *group, enum feed_step step)
{
    if (step == FEED_READ)
        read_on(groups, group);
    else if (step == FEED_WAIT)
        groups->some_wait = true;
}

void group_begin(struct groups *groups, struct group *group, struct seq last)
{
    if (group->feed.state != FEED_IDLE)
        return;
    feed_start_live(&group->feed, last);
    group->handed_out = last;
    group->data_lost_count = groups->office->data_lost_count;
    if (seq_compare(group->heard, last) > 0)
        carry_out(groups, group, feed_check(&group->feed, has_room(groups)));
}

/* What is heard of before the place is known lies behind it and is read, or was stored before
 * anybody here could have asked for it. */
static void offer_stored(struct groups *groups, struct group *group, struct bus_position position,
                         struct msg *msg)
{
    struct parcel *parcel;
    enum feed_step step;

    if (group->feed.state == FEED_IDLE) {
        if (seq_compare(position.seq, group->heard) > 0)
            group->heard = position.seq;
        return;
    }
    parcel = malloc(sizeof *parcel);
    if (feed_offer(&group->feed, position.seq, position.before, parcel && has_room(groups), &step))
        send_parcel(groups, parcel, group, msg, position.seq);
    else
        free(parcel);
    carry_out(groups, group, step);
}

bool groups_offer(struct office *office, struct slice address, struct bus_position position,
                  struct msg *msg)
{
    struct group *group = group_find(office->groups, address);

    if (group)
        offer_stored(office->groups, group, position, msg);
    return group != NULL;
}

/* Redis was away, perhaps, when the last one left. */
void groups_unknown(struct office *office, struct slice address)
{
    if (address_is_group(address) && office->mailbox && !group_find(office->groups, address))
        mailbox_leave(office->mailbox, address);
}

unsigned groups_deliver(struct office *office, const struct directory_entry *entry, struct msg *msg)
{
    struct groups *groups = office->groups;
    struct group *group = entry ? entry->group : NULL;
    uint32_t count = !group || !group->listed ? 0
                     : group->is_all          ? groups->session_count
                                              : group->subscriber_count;
    struct parcel *parcel;

    if (count == 0)
        return 0;
    if (!has_room(groups) && msg->kind == MSG_SIGNAL) {
        stats_add(office->stats, STAT_signals_shed, count);
        return count;
    }
    if (!has_room(groups))
        hand_out_some(groups, UINT32_MAX); /* there is no log that it could be read from later */
    parcel = malloc(sizeof *parcel);
    if (!parcel) {
        log_error("group_message_dropped", "reason=no-memory bytes=%u", msg->len);
        return 0;
    }
    send_parcel(groups, parcel, group, msg, (struct seq){ 0 });
    return count;
}

/* ---- looking again ---- */

/* Redis came back empty or older. What was handed out is no more in the log, or lies elsewhere in
 * it; what was posted since lies behind where it ended then, for its clock has gone on. */
static void restart(struct groups *groups, struct group *group, struct seq last)
{
    struct seq at;
    struct subscription *subscription, *next;

    hand_out_some(groups, UINT32_MAX); /* what was heard of the old one */
    at = seq_compare(group->feed.queued, last) < 0 ? group->feed.queued : last;
    group->life++;
    group->data_lost_count = groups->office->data_lost_count;
    feed_start_live(&group->feed, at);
    group->handed_out = at;
    for (subscription = TAILQ_FIRST(&group->subscribers); subscription; subscription = next) {
        next = TAILQ_NEXT(subscription, link);
        subscription_restart(subscription, last, at);
    }
    carry_out(groups, group, feed_check(&group->feed, has_room(groups)));
}

static void retry_failed(struct group *group)
{
    struct subscription *subscription, *next;

    for (subscription = TAILQ_FIRST(&group->subscribers); subscription; subscription = next) {
        next = TAILQ_NEXT(subscription, link);
        if (subscription->failed)
            subscription_retry(subscription);
    }
}

static void take_look(struct groups *groups, struct group *group, struct seq queued_then,
                      struct seq last)
{
    if (group->feed.state == FEED_IDLE)
        group_begin(groups, group, last);
    else if (group->data_lost_count != groups->office->data_lost_count ||
             seq_compare(queued_then, last) > 0)
        restart(groups, group, last);
    else if (seq_compare(last, group->feed.queued) > 0)
        carry_out(groups, group, feed_check(&group->feed, has_room(groups)));
}

static void on_looked(void *arg, const struct mailbox_opened *joined)
{
    struct question question = *(struct question *)arg;

    if (!answered(arg))
        return;
    if (!joined->ok) {
        question.groups->office->catch_up_again = true;
        return;
    }
    question.group->pins++; /* subscribers may leave meanwhile, also the last one */
    take_look(question.groups, question.group, question.queued, joined->last);
    unpin(question.groups, question.group);
}

/* Where its log ends now; and the log learns, or learns again, that this worker has subscribers. */
static void look(struct groups *groups, struct group *group)
{
    struct question *question = ask(groups, group);

    if (question && mailbox_join(groups->office->mailbox, group_address(group), (struct slice){ 0 },
                                 on_looked, question) == OK)
        return;
    if (question)
        answered(question);
    groups->office->catch_up_again = true;
}

static void look_at_some(struct groups *groups, unsigned count)
{
    struct group *group;

    while ((group = TAILQ_FIRST(&groups->list)) && group->looked != groups->looks) {
        if (count-- == 0) {
            loop_again(groups->office->loop);
            return;
        }
        TAILQ_REMOVE(&groups->list, group, link);
        TAILQ_INSERT_TAIL(&groups->list, group, link);
        group->looked = groups->looks;
        if (!group->listed)
            continue;
        group->pins++;
        if (groups->some_failed)
            retry_failed(group);
        look(groups, group);
        unpin(groups, group);
    }
    groups->looking = groups->some_failed = false;
}

void groups_look_again(struct office *office)
{
    struct groups *groups = office->groups;

    groups->looks++;
    groups->looking = true;
}

static void read_where_waited(struct groups *groups)
{
    struct group *group;

    groups->some_wait = false;
    for (group = TAILQ_FIRST(&groups->list); group; group = TAILQ_NEXT(group, link))
        carry_out(groups, group, feed_room(&group->feed));
}

void groups_turn(struct office *office)
{
    struct groups *groups = office->groups;

    if (groups->looking && office->mailbox && mailbox_is_up(office->mailbox))
        look_at_some(groups, LOOK_STEP);
    hand_out_some(groups, HAND_OUT_STEP);
    if (groups->some_wait && groups->parcel_bytes < PARCEL_BYTES_ROOM)
        read_where_waited(groups);
    if (!TAILQ_EMPTY(&groups->parcels))
        loop_again(office->loop);
}

/* ---- `#all` ---- */

void groups_session_opened(struct session *session)
{
    struct office *office = session->office;
    struct groups *groups = office->groups;

    session->in_all = true;
    groups->session_count++;
    if (groups->all && groups->all->listed)
        return;
    if (group_need(groups, SLICE("#all"), &groups->all)) {
        log_warn("all_not_joined", "reason=\"no room\""); /* the next session tries again */
        return;
    }
    if (office->mailbox && mailbox_is_up(office->mailbox))
        look(groups, groups->all);
}

void groups_session_gone(struct session *session)
{
    struct groups *groups = session->office->groups;

    if (!session->in_all)
        return;
    session->in_all = false;
    groups->session_count--;
    if (groups->all)
        group_settle(groups, groups->all);
}

void groups_leave_all(struct session *session)
{
    while (session->subscriptions)
        subscription_free(session->subscriptions);
}

/* ---- life ---- */

struct groups *groups_new(struct office *office)
{
    struct groups *groups = calloc(1, sizeof *groups);

    if (!groups)
        return NULL;
    groups->office = office;
    TAILQ_INIT(&groups->list);
    TAILQ_INIT(&groups->parcels);
    return groups;
}

void groups_free(struct groups *groups)
{
    struct parcel *parcel;

    if (!groups)
        return;
    while ((parcel = TAILQ_FIRST(&groups->parcels)))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see what TAILQ_REMOVE does */
        drop_parcel(groups, parcel);
    free(groups);
}
