/*
 * The records of the room, and the functions that its files share; no other room includes this.
 *
 * From the bottom up; a file calls only files that stand higher in this list:
 *   group.c            the registry: which groups have members here
 *   subscription.c     one subscriber, with a reader of its own
 *   group_members.c    the members: two kinds of group
 *   parcels.c          messages on their way to members
 *   group_log.c        where this worker stands in a group's log
 *   group_refresh.c    asking each log for its end after Redis was away
 *   groups_commands.c  unsubscribe, ack, a new token
 *   groups_subscribe.c subscribe
 *   groups.c           the face of the room
 */
#ifndef WORKER_GROUPS_PARTS_H
#define WORKER_GROUPS_PARTS_H

#include "common/address.h"
#include "worker/groups/groups.h"
#include "worker/mailbox/reader.h"
#include "worker/mailbox/standing.h"

#include <assert.h>
#include <sys/queue.h>

enum {
    GROUP_MEMBER_BYTES_MAX = ADDRESS_BYTES_MAX + 1 + DEVICE_BYTES_MAX,
    ALL_RECENT = 64, /* posts to `#all` that are recognised in an `ack` without tags */
};

/* outbox_position.feed of posts for sessions that have no reader for the group; no subscription's
 * number. */
#define SUBSCRIPTION_NUMBER_PLAIN UINT32_MAX

enum subscription_state {
    SUBSCRIPTION_PENDING, /* `subscribe` waits for the log's answer */
    SUBSCRIPTION_ON,
    SUBSCRIPTION_LAGGING, /* of a session that did not subscribe to `#all` and has fallen behind in
                             `#all`; ends when the session has caught up */
};

struct subscription {
    TAILQ_ENTRY(subscription) link; /* of the group */
    struct subscription *next;      /* of the session */
    struct group *group;
    struct session *session;
    struct reader reader; /* of the group's log; FEED_IDLE: not started, or nothing is stored */
    struct seq cursor;    /* acknowledged */
    uint64_t page_turn;   /* of its latest page: the lowest reads next */
    uint64_t request;     /* the latest `subscribe` that named the group */
    uint32_t number; /* outbox_position.feed; never 0; a new one whenever the reader starts anew */
    uint8_t state;
    bool page_asked;  /* a page is on its way */
    bool page_failed; /* a page could not be had, see group_refresh.c */
};

struct group {
    TAILQ_ENTRY(group) link; /* of groups->list: the group that was refreshed longest ago first */
    TAILQ_HEAD(subscription_list, subscription) subscribers;
    struct groups *groups;
    const struct group_kind *kind;
    struct directory_entry *entry;
    struct msg *log;             /* outbox_position.log of its posts */
    struct reader reader;        /* this worker's, for all members that are in step */
    struct seq newest_unstarted; /* the newest post offered while the reader had not started */
    struct seq delivered;        /* the last post whose delivery has begun */
    uint64_t refresh_round;      /* groups->refresh_round when the group was last refreshed */
    uint32_t data_lost_count;    /* the office's, when the reader started */
    uint32_t subscriber_count;
    uint32_t pins;       /* parcels, questions and calls that point to the group */
    uint32_t generation; /* an answer to a question of an earlier generation is dropped */
    uint32_t shm_index;  /* while listed */
    bool listed;         /* in the shared table */
};

/* A message on its way to the members of a group, or the word of a gap in the group's log. */
struct parcel {
    TAILQ_ENTRY(parcel) link;
    struct group *group;
    struct msg *msg; /* NULL: a gap, see subscription_offer_gap; then seq is `lost` */
    struct seq seq;  /* zero: not stored */
};

struct groups {
    struct office *office;
    const struct group_kind *named, *everybody; /* of `#name`, of `#all` */
    TAILQ_HEAD(group_list, group) list;
    struct group *all; /* `#all`; NULL: not listed for a session yet */
    uint32_t session_count;

    /* Delivered one after the other. */
    TAILQ_HEAD(parcel_list, parcel) parcels;
    uint64_t parcel_bytes;
    /* The latest posts to `#all`, in a circle: a session that did not subscribe has no record of
     * what it was sent. */
    struct seq all_recent[ALL_RECENT];
    uint32_t all_recent_next;

    bool delivering;                      /* the first parcel has begun; then: */
    struct seq delivered_before;          /* group->delivered before that parcel */
    struct subscription *next_subscriber; /* the next to be served; NULL: all have been */
    uint32_t next_session;                /* the same of `#all`: an index in office->sessions */

    uint32_t log_pages; /* on their way to the readers of groups */
    bool some_wait;     /* groups whose reader waits for room for parcels, or for such a page */
    bool refreshing, some_pages_failed;
    uint64_t refresh_round;
    uint64_t page_turns, requests;
    uint32_t last_number;
};

/* How the members of a group are found. */
struct group_kind {
    uint32_t (*member_count)(const struct group *group);
    /* Offers the first parcel to the members whose turn is next, at most *budget of them, and
     * counts *budget down. Returns whether every member has been served. */
    bool (*deliver)(struct groups *groups, const struct parcel *parcel, unsigned *budget);
    /* A subscription without a replay starts; the log ended at `last` when Redis answered. */
    void (*start_live)(struct subscription *subscription, struct seq last);
    /* The client has unsubscribed. The subscription may be gone after. */
    void (*leave)(struct subscription *subscription);
    bool subscription_is_first; /* in the session's list, so that `deliver` needs no search */
};

static inline struct slice group_address(const struct group *group)
{
    return directory_address(group->entry);
}

static inline void group_pin(struct group *group)
{
    group->pins++;
    assert(group->pins);
}

/* ---- group.c ---- */

/* NULL when the group is not listed, and so has no members here. */
struct group *group_find(struct groups *groups, struct slice address);
/* Finds or makes the group, and lists it. ERR_NOMEM; ERR_FULL: the shared table has no room. On an
 * error *group is NULL. */
enum err group_need(struct groups *groups, struct slice address, struct group **group);
/* Takes a group without members off the lists. Frees a group that is not listed, unless pinned. */
void group_settle(struct group *group);
/* The counterpart of group_pin. The group may be gone after. */
static inline void group_unpin(struct group *group)
{
    assert(group->pins);
    group->pins--;
    group_settle(group);
}

/* A question to Redis about a group, which pins the group until the answer. */
struct group_question {
    struct group *group;
    struct seq queued; /* by the group's reader when the question was asked */
    uint32_t generation;
};
/* NULL when out of memory. */
struct group_question *group_question_new(struct group *group);
/* Frees the question. False: the group has started anew meanwhile, or is gone. */
bool group_question_close(struct group_question *question);

/* ---- subscription.c ---- */

/* NULL when out of memory. */
struct subscription *subscription_new(struct session *session, struct group *group,
                                      enum subscription_state state);
/* The group may be gone after. */
void subscription_free(struct subscription *subscription);
struct subscription *subscription_find(const struct session *session, const struct group *group);
struct subscription *subscription_find_address(const struct session *session, struct slice address);
/* Has the client subscribed? NULL is allowed. */
static inline bool subscription_is_wanted(const struct subscription *subscription)
{
    return subscription && subscription->state != SUBSCRIPTION_LAGGING;
}
/* Starts in step with the worker, which has delivered everything up to `at`; nothing is replayed.
 */
void subscription_start_live(struct subscription *subscription, struct seq at);
/* Starts behind `after`, with a replay; the log ends at newest. */
void subscription_start(struct subscription *subscription, struct seq after, struct seq newest);
/* A stored post; before: the post that this worker delivered before. The subscription may be gone
 * after.
 */
void subscription_offer(struct subscription *subscription, struct msg *msg, struct seq seq,
                        struct seq before);
/* The worker's reader has found a gap in the log: posts up to `lost` are gone, or (zero) posts
 * whose shared bodies have vanished. before: the post that this worker delivered before. The client
 * is not told when the subscription has had these posts, nor while the subscription reads the log
 * and so finds the gap for itself. The session may be closing after. */
void subscription_offer_gap(struct subscription *subscription, struct seq lost, struct seq before);
/* Says that posts behind this seq are gone: `replayed` with `recovered: false`, among the mail of
 * this level. The session may be closing after. */
void subscription_say_gap(struct session *session, const struct group *group, struct seq seq,
                          int8_t level);
/* Asks again for a page that could not be had. */
void subscription_retry(struct subscription *subscription);
/* The log's data was lost. log: where the log stands now; at: where the worker's reader stands. */
void subscription_restart(struct subscription *subscription, const struct mailbox_opened *log,
                          struct seq at);
/* Lets the subscription of the session that has waited longest read a page, if there is room. */
void subscription_read_next(struct session *session);
/* A post has left the outbox. */
void subscription_left(struct session *session, struct outbox_position position);
/* Enqueues a message of the group for a session that needs no reader here: the message is not
 * stored (seq zero), or the session is in step in `#all`. The session may be closing after. */
void subscription_enqueue_plain(struct session *session, const struct group *group, struct msg *msg,
                                struct seq seq);

/* ---- group_members.c ---- */

extern const struct group_kind group_members_named;     /* the sessions that subscribed */
extern const struct group_kind group_members_everybody; /* every session of this worker */

/* ---- parcels.c ---- */

/* False: a post is to stay in its log until there is room. */
bool parcels_have_room(const struct groups *groups);
/* Is there room for a whole page? */
bool parcels_are_few(const struct groups *groups);
/* NULL when out of memory. Freed by free, or owned by parcels_put. */
struct parcel *parcels_new(void);
/* Puts a message into the parcel, and appends the parcel. Takes a reference of msg; NULL: a gap. */
void parcels_put(struct parcel *parcel, struct group *group, struct msg *msg, struct seq seq);
/* Delivers, in order, to at most `budget` members. Groups and subscriptions may be gone after. */
void parcels_deliver_some(struct groups *groups, unsigned budget);
/* The worker ends. */
void parcels_drop_all(struct groups *groups);

/* ---- group_log.c ---- */

/* The log's end is known: a reader that has not started yet starts there. */
void group_log_start(struct group *group, struct seq last);
/* The log may hold more than was offered. */
void group_log_check(struct group *group);
/* A post has been stored in the log. */
void group_log_offer(struct group *group, struct bus_position position, struct msg *msg);
/* There is room for parcels again. */
void group_log_read_waiting(struct groups *groups);

/* ---- group_refresh.c ---- */

/* Asks for the end of the group's log, and has the log note that this worker has members. */
void group_refresh(struct group *group);
/* Refreshes at most `count` groups; the others follow in later turns. */
void group_refresh_some(struct groups *groups, unsigned count);

/* ---- groups_commands.c ---- */

/* ERR_BAD: tags does not name groups; the reason is in *fault. */
enum err groups_check_tags(const struct envelope *envelope, struct envelope_fault *fault);
/* Under which name the cursor of the session's device is kept with the log: the address and the
 * device. The slice lies in room. */
struct slice groups_member_name(const struct session *session, char room[GROUP_MEMBER_BYTES_MAX]);

#endif
