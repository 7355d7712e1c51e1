/*
 * Groups (docs/protocol.md, sections 3 to 5): `#name` and `#all`, and who here is subscribed.
 *
 * The log of a group is the mailbox of its address: a post is stored and its doorbells are rung as
 * mail's are, once for each worker that has subscribers, however many. The worker keeps one place
 * in that log for all of its subscribers (a struct feed, with its rules): what comes next is handed
 * to them by reference, a bounded number of them a turn; a gap is read from the log once, for all.
 * A subscriber that is too slow, or is still replaying, reads the log for itself (group_feed.c)
 * until it is where the others are. In `#all` is every session by itself, which costs it nothing as
 * long as it keeps up.
 */
#ifndef WORKER_GROUPS_H
#define WORKER_GROUPS_H

#include "worker/envelope/envelope.h"
#include "worker/reach/bus.h"
#include "worker/session/session.h"

struct group;
struct groups; /* a worker's */

/* NULL when out of memory. */
struct groups *groups_new(struct office *office);
/* When all sessions have gone and the mailbox has told everybody. NULL is allowed. */
void groups_free(struct groups *groups);

/* ---- what comes for a group ---- */

/* A post has been stored in the group's log. False when nobody here is subscribed. */
bool groups_offer(struct office *office, struct slice group, struct bus_position position,
                  struct msg *msg);
/* Another worker believes that somebody here is subscribed to the group; nobody is. */
void groups_unknown(struct office *office, struct slice address);
/* What is not stored: a signal, or a post where there is no mailbox. entry: of the group's address,
 * NULL: none. Returns to how many subscribers here it goes. */
unsigned groups_deliver(struct office *office, const struct directory_entry *entry,
                        struct msg *msg);
/* The end of a turn, before Redis and the sockets are flushed: a bounded part of what is to be
 * done.
 */
void groups_turn(struct office *office);
/* Doorbells may have been missed, or data was lost: each group's log is looked at again, once. */
void groups_look_again(struct office *office);

/* ---- sessions ---- */

/* A session begins, before its mailbox is asked for: from here on it is in `#all`. */
void groups_session_opened(struct session *session);
void groups_session_gone(struct session *session);
/* It can be sent to no longer. */
void groups_leave_all(struct session *session);
/* Its connection has room for a page; a stored message of one of its groups has left. */
void groups_on_room(struct session *session);
void groups_on_stored_left(struct session *session, struct outbox_position position);

/* ---- commands (group_commands.c) ---- */

/* Answered with `result`, perhaps later; or the reason is left in *fault (ERR_BAD). */
enum err groups_subscribe(struct session *session, const struct envelope *envelope,
                          struct envelope_fault *fault);
enum err groups_unsubscribe(struct session *session, const struct envelope *envelope,
                            struct envelope_fault *fault);
/* `ack` in a group: false when the session is not subscribed to it. *cursor: up to where all is
 * acknowledged. */
bool groups_ack(struct session *session, struct slice group, struct seq seq, struct seq *cursor);
/* May it read the group's log, and subscribe to it? */
bool groups_may_read(const struct session *session, struct slice group);
/* The session has a new token: what that does not allow any more is dropped, and named in the
 * answer at hand. */
void groups_check_grant(struct session *session, struct buf *out);

#endif
