/*
 * What groups.c (who is subscribed, the place in the log, handing out), group_feed.c (one
 * subscriber at its own pace) and group_commands.c share, and nobody else sees.
 */
#ifndef WORKER_GROUPS_PARTS_H
#define WORKER_GROUPS_PARTS_H

#include "worker/groups/groups.h"

#include <sys/queue.h>

enum subscription_state {
    SUBSCRIPTION_PENDING, /* asked for, and not yet answered: a stranger, but for `#all` */
    SUBSCRIPTION_ON,
    SUBSCRIPTION_LAGGING, /* a session that is in `#all` by itself and is behind; ends when it has
                             caught up */
};

struct subscription {
    TAILQ_ENTRY(subscription) link; /* of the group */
    struct subscription *next;      /* of the session */
    struct group *group;
    struct session *session;
    struct feed feed;  /* FEED_IDLE: it has no place of its own in the log (yet) */
    struct seq cursor; /* acknowledged */
    uint64_t turn;     /* when it last read a page: the one that waited longest reads next */
    uint64_t request;  /* the latest `subscribe` that asked for it */
    uint32_t number;   /* never 0; outbox_position.feed. A new one whenever the feed starts anew */
    uint8_t state;
    bool asked;  /* a page is on its way */
    bool failed; /* a page could not be had: look again */
};

struct group {
    TAILQ_ENTRY(group) link; /* all of them, the one that was looked at longest ago first */
    TAILQ_HEAD(subscription_list, subscription) subscribers;
    struct directory_entry *entry;
    struct feed feed;      /* this worker's place in the log */
    struct seq heard;      /* the newest that a doorbell told of while there was no place yet */
    struct seq handed_out; /* of the last post whose handing out has begun */
    uint64_t looked;       /* groups.looks, when it was last asked about */
    uint32_t data_lost_count;
    uint32_t subscriber_count;
    uint32_t pins;      /* parcels and questions that name it */
    uint32_t life;      /* answers to what was asked in an earlier one are of no interest */
    uint32_t shm_index; /* while listed */
    bool is_all;
    bool listed; /* in the shared table, and its log knows this worker */
};

/* A message on its way to the subscribers of a group. */
struct parcel {
    TAILQ_ENTRY(parcel) link;
    struct group *group;
    struct msg *msg;
    struct seq seq; /* zero: not stored */
};

struct groups {
    struct office *office;
    TAILQ_HEAD(group_list, group) list;
    struct group *all; /* `#all`; NULL while there is no session here */
    uint32_t session_count;

    TAILQ_HEAD(parcel_list, parcel) parcels; /* handed out one after the other */
    uint64_t parcel_bytes;
    bool handing;              /* the first of them is on its way: */
    struct seq before;         /* what was handed out before it */
    struct subscription *next; /* whose turn it is */
    uint32_t next_place;       /* the same, of a parcel for `#all`: a place in office->sessions */
    bool some_wait;            /* groups that are to read on when there is room for parcels */

    uint64_t looks;
    bool looking;
    bool some_failed; /* subscribers whose page could not be had */
    uint64_t turns, requests;
    uint32_t last_number;
};

static inline struct slice group_address(const struct group *group)
{
    return directory_address(group->entry);
}

/* ---- groups.c ---- */

/* NULL when nobody here is subscribed. */
struct group *group_find(struct groups *groups, struct slice address);
/* Finds or makes, and lists it. ERR_NOMEM; ERR_FULL: the shared table has no room. */
enum err group_need(struct groups *groups, struct slice address, struct group **group);
/* Frees it, or takes it off the lists, when it has no subscribers. */
void group_settle(struct groups *groups, struct group *group);
/* The log's end is known: the worker's place begins here, if it has none yet. */
void group_begin(struct groups *groups, struct group *group, struct seq last);
/* What the session has been handed of `#all`. */
struct seq group_all_handed(const struct groups *groups, const struct session *session);
/* Hands a message over that is not stored, or that no feed is kept for. */
void group_hand(struct session *session, struct msg *msg, struct seq seq);

/* ---- group_feed.c ---- */

/* NULL when out of memory. */
struct subscription *subscription_new(struct session *session, struct group *group,
                                      enum subscription_state state);
void subscription_free(struct subscription *subscription);
struct subscription *subscription_find(const struct session *session, const struct group *group);
/* It stands at the log's end as the others here do, or behind `after` with a replay before it. */
void subscription_start_live(struct subscription *subscription, struct seq at);
void subscription_start(struct subscription *subscription, struct seq after, struct seq newest);
/* A stored post. before: what the others here were handed before it. */
void subscription_offer(struct subscription *subscription, const struct parcel *parcel,
                        struct seq before);
/* A page could not be had: again. */
void subscription_retry(struct subscription *subscription);
/* The log's data was lost; it ends at `last` now, and the worker's place is `at`. */
void subscription_restart(struct subscription *subscription, struct seq last, struct seq at);

#endif
