/*
 * The life of a session: a claim that was granted becomes a session; the mailbox says where the
 * session stands; the session begins, and ends with its connection.
 *
 * A session begins held: nothing is read from it until its mailbox has answered. So nothing falls
 * between the replay and the doorbells.
 */
#ifndef WORKER_LIFE_H
#define WORKER_LIFE_H

#include "worker/session/session.h"

/* Who a connection may be. All borrowed for the call of life_open. */
struct session_claim {
    struct slice address, device;
    struct grant *grant; /* the session takes a reference of its own */
    struct ip ip;
    uint64_t origin_key;          /* counted in origins already; the session gives it back */
    struct slice answer;          /* the 101 */
    struct slice early;           /* bytes that came behind the request */
    struct tls *tls;              /* the session takes it over, as fd; NULL: plain */
    struct slice since, epoch;    /* as the client gave them; data NULL: not given */
    struct deflate_terms deflate; /* how messages are compressed, as the answer says */
};

/* Takes fd over; the caller has taken a seat (slot_seat_take), which the session gives back. Sends
 * the answer and asks the mailbox where the session stands. NULL: fd is closed and nothing is left
 * behind. */
struct session *life_open(struct office *office, int fd, const struct session_claim *claim);

/* A session of no device, for the clerk: the session cannot be found, gets no mail, and begins at
 * once; what the router answers leaves at fd, which the session takes over. grant: what the session
 * may do; its sub is the session's address. is_free: no limits.messagesPerSecond and no budget of
 * stored bytes holds. NULL: fd is closed and nothing is left behind. */
struct session *life_open_desk(struct office *office, int fd, struct grant *grant, bool is_free);

/* For the host's conn_calls. */
void life_on_stored_left(struct conn *conn, struct outbox_position position);
void life_on_room(struct conn *conn);
void life_on_closing(struct conn *conn);
void life_on_gone(struct conn *conn);

#endif
