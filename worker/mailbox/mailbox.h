/*
 * Mailboxes in Redis (docs/protocol.md, section 5): every address has a log, a stream. `struct
 * mailbox` is a worker's access to all of them; this header has its life and its state. The
 * commands stand in a header for each subject: mailbox_append.h (store a message), mailbox_enter.h
 * (a session begins, a worker joins a group), mailbox_read.h (pages, history, acknowledgements),
 * mailbox_places.h (sessions and workers of all hosts), mailbox_receipts.h (receipts, recall,
 * expiry), mailbox_service.h (work of service addresses), mailbox_admin.h
 * (an operator's).
 *
 * The mailbox knows keys, scripts and their answers. The mailbox does not know sessions or tickets,
 * and knows of other workers only what an answer says. All commands are asynchronous, over one
 * struct redis that the bus owns; the commands of one turn leave in one write. A callback is called
 * once, from a turn of the Redis connection, from mailbox_flush, mailbox_tick or mailbox_free,
 * never from inside the call that named the callback.
 */
#ifndef WORKER_MAILBOX_H
#define WORKER_MAILBOX_H

#include "common/slice.h"
#include "config/config.h"
#include "worker/redis/redis.h"

#include <stdbool.h>
#include <stdint.h>

struct mailbox;

struct mailbox_events {
    /* Commands are taken (again); every append without an answer has been sent again before this
     * call. epoch names the stored data. changed: Redis came back empty or with older data than
     * this worker knew, so every session must get the new epoch. */
    void (*up)(void *arg, struct slice epoch, bool changed);
    void (*down)(void *arg);
    void *arg;
};

/* redis is borrowed and must outlive the mailbox: answers may still come after mailbox_free. place
 * names this worker, "NODE:SLOT:INCARNATION", and is copied. NULL when out of memory. */
struct mailbox *mailbox_new(struct redis *redis, const struct config *config, struct slice place,
                            const struct mailbox_events *events);
/* The connection that asks the replicas (durability "replica"): WAIT blocks its connection, so no
 * other command may use this one. Borrowed, as redis is. Without it no append is ever confirmed. */
void mailbox_confirm_by(struct mailbox *mailbox, struct redis *redis);
/* Every waiting callback is called: UNAVAILABLE, or UNKNOWN for an append that was sent. Must not
 * be called from one of these callbacks. NULL is allowed. */
void mailbox_free(struct mailbox *mailbox);
/* The owner of redis passes on its events. */
void mailbox_redis_up(struct mailbox *mailbox);
void mailbox_redis_down(struct mailbox *mailbox);
bool mailbox_is_up(const struct mailbox *mailbox);
/* True when so many commands wait that senders should not be read from now. */
bool mailbox_is_loaded(const struct mailbox *mailbox);
/* The lane in which letters of an address wait for their turn, by the keyed hash of the address
 * (turns.h). */
uint16_t mailbox_lane(uint64_t address_key);
/* True when so much waits in the lane that its senders should not be read from now. */
bool mailbox_lane_is_long(const struct mailbox *mailbox, uint16_t lane);
/* True once after a lane that was long has become short. */
bool mailbox_lanes_drained(struct mailbox *mailbox);
/* The end of a turn, before redis_flush: sends the commands of the turn. With durability "replica"
 * also asks the replicas about appends, unless they are being asked. */
void mailbox_flush(struct mailbox *mailbox);
/* True when commands were put after the flush, or were left by the flush and can leave now: the
 * loop must turn again at once. */
bool mailbox_flush_again(const struct mailbox *mailbox);
/* Milliseconds until the loop must turn, so that what waits for a time leaves; 0: nothing does. */
uint64_t mailbox_wait_ms(const struct mailbox *mailbox);
/* Once a second: notices lost data, gives up commands that have waited too long. */
void mailbox_tick(struct mailbox *mailbox);
/* Why the mailbox is not up though Redis is, for a person; "" when there is no such reason. The one
 * reason is durability "fsync" with a Redis that does not fsync: such a start must fail. */
const char *mailbox_fault(const struct mailbox *mailbox);
struct mailbox_counts {
    uint64_t trimmed, repeated, retried, errors, bad; /* as STAT_mailbox_* */
    uint64_t places_dropped, devices_forgotten, pages_waited;
    uint64_t bodies_shared, bodies_gone;
    uint64_t turns_waited;
};
/* Since the last call. */
struct mailbox_counts mailbox_take_counts(struct mailbox *mailbox);
/* Is there any? Asked at the end of each turn, and nearly always false. */
bool mailbox_has_counts(const struct mailbox *mailbox);
/* New limits from a reload: mailbox.maxMessages, maxAgeSeconds, dedupeSeconds and full. */
void mailbox_configure(struct mailbox *mailbox, const struct config *config);

/* ok: Redis carried the command out. False: refused, or not known. */
typedef void (*mailbox_done_cb)(void *arg, bool ok);

#endif
