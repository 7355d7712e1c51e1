/*
 * One WebSocket connection after its upgrade: socket bytes in, whole messages out, and back; ping
 * and pong, the close handshake, back-pressure. It knows nothing of envelopes, addresses or Redis;
 * whoever owns it (session, echo) is called through its host.
 *
 * The one idea: it owns nothing while idle. Bytes are read into one buffer of the worker and
 * decoded there in place; only what a partial frame or message leaves over is kept. What is to be
 * sent waits in the outbox until the end of the turn, then leaves in one writev.
 *
 * A connection is freed only at the end of a turn, never inside its own callbacks.
 */
#ifndef WORKER_CONN_H
#define WORKER_CONN_H

#include "common/msg.h"
#include "common/slice.h"
#include "shm/stats.h"
#include "worker/io/loop.h"
#include "worker/wire/outbox.h"
#include "worker/io/wheel.h"
#include "worker/wire/ws.h"

#include <stdint.h>

struct conn;

/* What is called; each gets the connection. */
struct conn_calls {
    /* A whole message. The bytes are the callee's to read during the call only. */
    void (*message)(struct conn *conn, enum ws_opcode opcode, struct slice payload);
    /* The deadline that the owner set with conn_set_deadline has come. */
    void (*deadline)(struct conn *conn);
    /* A stored message has left whole; in the order of leaving. NULL: nobody asks. */
    void (*stored_left)(struct conn *conn, struct outbox_position position);
    /* What waits has fallen under the mark that conn_ask_for_room named. May be NULL. */
    void (*has_room)(struct conn *conn);
    /* It can no longer be sent to: closing has begun, from either side. Called once, before gone.
     */
    void (*closing)(struct conn *conn);
    /* The socket is closed; free the memory. Called once, at the end of a turn. */
    void (*gone)(struct conn *conn);
};

/* What all connections of a worker share. Limits may be changed at any time. */
struct conn_host {
    struct loop *loop;
    struct wheel wheel; /* every conn's only timer */
    struct stats_row *stats;
    const struct conn_calls *calls;
    void *owner;

    uint64_t message_bytes_max;
    uint64_t queue_bytes_max;  /* unsent bytes of one connection */
    uint32_t answer_bytes_max; /* of the peer's own answers; past it nothing is read until half has
                                  left */
    uint32_t ping_ms, pong_ms, slow_ms, close_ms;
    bool answers_at_once; /* nothing comes from other connections: do not gather, write after each
                             read */

    struct conn *dirty, *dead; /* to be flushed, to be freed at the end of this turn */
    uint32_t open_count;       /* conns not yet gone */
};

enum conn_state {
    CONN_OPEN,
    CONN_CLOSING,   /* our close frame is queued or sent; waiting for the peer's */
    CONN_LINGERING, /* both have closed, or the peer broke the protocol: we wait for its end of file
                     */
    CONN_DEAD,
};

struct conn {
    struct loop_watch watch;
    struct wheel_node timer;
    struct conn_host *host;
    struct ws_decoder decoder;
    struct outbox outbox;
    uint8_t *message; /* of a message that came in pieces; NULL otherwise */
    uint32_t message_len, message_size;
    uint8_t *leftover; /* bytes of a frame's head, or of a control frame, that is not whole; NULL
                          otherwise */
    struct conn *next_dirty, *next_dead;
    uint64_t last_in_ms;  /* something came */
    uint64_t progress_ms; /* the socket took something, or nothing waited */
    uint64_t deadline_ms; /* the owner's; UINT64_MAX: none */
    uint64_t room_mark;   /* call has_room when fewer bytes wait; 0: nobody asks */
    uint64_t close_at_ms; /* CLOSING, LINGERING: the end of patience */
    int fd;
    uint8_t leftover_len;
    uint8_t state;
    bool is_dirty, ping_sent, write_wanted, end_after_flush;
    bool read_paused; /* its answers wait unread */
    bool held;        /* the owner takes no messages yet */
};

void conn_host_init(struct conn_host *host, struct loop *loop, struct stats_row *stats,
                    const struct conn_calls *calls, void *owner);
/* The end of a turn: writes what the turn has queued, then frees what has gone. A loop hook. */
void conn_host_flush(struct conn_host *host);

/* Takes fd over and starts; conn is the owner's zeroed memory. ERR_SYSTEM: fd is closed, nothing
 * started. */
enum err conn_start(struct conn *conn, struct conn_host *host, int fd);
/* Bytes that came behind the upgrade request, before conn reads by itself. */
void conn_feed(struct conn *conn, struct slice bytes);
/* Queues a message (adds its own reference). ERR_FULL: the queue is full and msg was not taken: a
 * signal is dropped and counted; whether mail that finds no room ends the connection is the owner's
 * decision. ERR_DOWN: closing. */
enum err conn_send(struct conn *conn, struct msg *msg);
/* The same for a stored message; `position` is told in front of it. It is the owner's to see to
 * that not too much waits (conn_ask_for_room): the queue's bound is not held against it. */
enum err conn_send_at(struct conn *conn, struct msg *msg, struct outbox_position position);
/* Bytes that wait unsent. */
static inline uint64_t conn_waiting(const struct conn *conn)
{
    return conn->outbox.bytes;
}
/* Calls has_room once, at the end of a turn, as soon as fewer than `mark` bytes wait. */
void conn_ask_for_room(struct conn *conn, uint64_t mark);
/* Stops reading until conn_release; for an owner that cannot take messages yet. */
void conn_hold(struct conn *conn);
void conn_release(struct conn *conn);
/* Queues a MSG_ANSWER with a copy of payload. ERR_NOMEM, ERR_DOWN. */
enum err conn_answer(struct conn *conn, enum ws_opcode opcode, struct slice payload);
/* Queues bytes that are no frame: the 101 answer. */
enum err conn_send_raw(struct conn *conn, struct slice bytes);
/* Starts the close handshake; what is queued leaves first. Does nothing when it is closing already.
 */
void conn_close(struct conn *conn, uint16_t code, struct slice reason);
/* The same, with everything that waits dropped: for a peer that does not read. */
void conn_close_now(struct conn *conn, uint16_t code, struct slice reason);
/* Closes the socket at once; gone follows at the end of the turn. */
void conn_abort(struct conn *conn);
/* When calls->deadline is to be called; UINT64_MAX: never. */
void conn_set_deadline(struct conn *conn, uint64_t at_ms);
/* In CLOSING: how long the peer may take, from now on. */
void conn_set_patience(struct conn *conn, uint64_t at_ms);
/* May still be sent to. */
static inline bool conn_is_open(const struct conn *conn)
{
    return conn->state == CONN_OPEN;
}

#endif
