/*
 * Groups (docs/protocol.md, sections 3 to 5): `#name` and `#all`, and their members on this worker.
 *
 * The log of a group is the mailbox of its address. A post is stored in the log as mail is, and
 * doorbells are rung once for each worker with members, however many members the worker has. The
 * worker keeps one reader in that log for all of its members: the next post goes to them by
 * reference, to a bounded number of members a turn; a gap is read from the log once, for all.
 * A member that is too slow, or is still replaying, reads the log for itself until it is in step
 * with the others. Every session is a member of `#all`, which costs a session nothing as long as
 * the session keeps up.
 */
#ifndef WORKER_GROUPS_H
#define WORKER_GROUPS_H

#include "worker/envelope/envelope.h"
#include "worker/reach/bus.h"
#include "worker/session/session.h"

struct group;
struct groups; /* of one worker */

/* NULL when out of memory. */
struct groups *groups_new(struct office *office);
/* When all sessions have gone, and every question to the mailbox has been answered. NULL is
 * allowed. */
void groups_free(struct groups *groups);

/* ---- messages for a group ---- */

/* A post has been stored in the group's log. False: the group has no members here. */
bool groups_offer(struct office *office, struct slice group, struct bus_position position,
                  struct msg *msg);
/* Another worker rang for this address, and no group of this address has members here: tells the
 * log so. */
void groups_unknown(struct office *office, struct slice address);
/* A message that is not stored: a signal, or a post where there is no mailbox. entry: of the
 * group's address; NULL: none. Returns the number of members here; 0 also when out of memory. */
unsigned groups_deliver(struct office *office, const struct directory_entry *entry,
                        struct msg *msg);
/* Returns the number of sessions here that get the group's posts. */
uint32_t groups_subscribers(struct office *office, struct slice group);
/* The end of a turn, before Redis and the sockets are flushed: does a bounded part of the work. */
void groups_turn(struct office *office);
/* Doorbells may have been missed, or data was lost: each group's log is asked for its end, in the
 * next turns. */
void groups_refresh(struct office *office);

/* ---- sessions ---- */

/* A session begins: a member of `#all` from here on. To be called before its mailbox is asked. */
void groups_session_opened(struct session *session);
/* Nothing can be sent to the session any more: ends its subscriptions. */
void groups_session_closing(struct session *session);
/* The session is no longer a member of `#all`. */
void groups_session_gone(struct session *session);
/* The connection has room for a page. */
void groups_on_room(struct session *session);
/* A stored post has left the outbox. */
void groups_on_stored_left(struct session *session, struct outbox_position position);

/* ---- commands ---- */

/* Queues the `result`, perhaps later. ERR_BAD: the reason is in *fault. */
enum err groups_subscribe(struct session *session, const struct envelope *envelope,
                          struct envelope_fault *fault);
enum err groups_unsubscribe(struct session *session, const struct envelope *envelope,
                            struct envelope_fault *fault);
/* `ack` in a group. False: the session is not subscribed to the group. *cursor: every post up to
 * there is acknowledged. */
bool groups_ack(struct session *session, struct slice group, struct seq seq, struct seq *cursor);
/* Has the session been sent a post with this seq, from whichever log? False also for what is long
 * past: a post to `#all` is known among the latest 64 only. */
bool groups_sent_seq(const struct session *session, struct seq seq);
/* May the session read the group's log, and subscribe to the group? */
bool groups_may_read(const struct session *session, struct slice group);
/* The session has a new token: ends the subscriptions that the token does not allow, and adds their
 * names to the `result` in the making. */
void groups_check_grant(struct session *session, struct buf *out);

#endif
