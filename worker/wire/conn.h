/*
 * One WebSocket connection after its upgrade: socket bytes in, whole messages out, and back; ping
 * and pong, the close handshake, back-pressure. A connection knows nothing of envelopes, addresses
 * or Redis; its owner (session, echo) is called through the host.
 *
 * The one idea: an idle connection owns no buffer. Bytes are read into one buffer of the worker and
 * decoded there in place; only the rest of a partial frame or message is kept. Frames to be sent
 * wait in the outbox until the end of the turn, then leave in one sendmsg.
 *
 * A connection is freed only at the end of a turn, never inside its own callbacks.
 */
#ifndef WORKER_CONN_H
#define WORKER_CONN_H

#include "common/msg.h"
#include "common/slice.h"
#include "shm/stats.h"
#include "worker/io/loop.h"
#include "worker/wire/deflate.h"
#include "worker/wire/outbox.h"
#include "worker/io/wheel.h"
#include "worker/wire/ws.h"

#include <stdint.h>

struct conn;

/* The owner's callbacks; each gets the connection. */
struct conn_calls {
    /* A whole message. The bytes are the callee's to read during the call only. */
    void (*message)(struct conn *conn, enum ws_opcode opcode, struct slice payload);
    /* A compressed message has been inflated to so many bytes; `message` follows. The owner may
     * hold the connection: messages behind this one wait then. May be NULL. */
    void (*inflated)(struct conn *conn, uint64_t bytes);
    /* The deadline that the owner set with conn_set_deadline has come. */
    void (*deadline)(struct conn *conn);
    /* A stored message has left whole. Called in the order of leaving. May be NULL. */
    void (*stored_left)(struct conn *conn, struct outbox_position position);
    /* Fewer bytes wait than the mark of conn_ask_for_room. May be NULL. */
    void (*has_room)(struct conn *conn);
    /* Does the owner still owe the peer an answer to an earlier message? Asked when the peer breaks
     * the protocol and by conn_close_answered: the connection is not closed before conn_answered,
     * or close_ms. May be NULL: no answer is ever owed. */
    bool (*owes_answers)(struct conn *conn);
    /* conn_close_answered closes the connection now: the last chance to say why. May be NULL. */
    void (*last_word)(struct conn *conn, uint16_t code, struct slice reason);
    /* Closing has begun, from either side: conn_send fails from now on. Called once, before
     * gone. */
    void (*closing)(struct conn *conn);
    /* The socket is closed; free the memory. Called once, at the end of a turn. */
    void (*gone)(struct conn *conn);
};

/* The part that all connections of a worker share. Limits may be changed at any time. */
struct conn_host {
    struct loop *loop;
    struct wheel wheel; /* holds the one timer of every connection */
    struct stats_row *stats;
    const struct conn_calls *calls;
    void *owner;
    struct deflate_host deflate; /* for connections that compress */

    uint64_t message_bytes_max;
    uint64_t queue_bytes_max;  /* unsent bytes of one connection */
    uint32_t answer_bytes_max; /* unsent answers to one peer; past the limit nothing is read until
                                  half have left */
    uint32_t ping_ms, pong_ms, slow_ms, close_ms;
    bool answers_at_once; /* write after each read instead of at the end of the turn: no frame comes
                             from other connections */

    struct conn *dirty,
        *dead;           /* connections to be flushed, and to be freed, at the end of this turn */
    uint32_t open_count; /* connections that are not yet gone */
    uint64_t waiting_bytes; /* unsent, of all connections, as the last flush of each left them */
};

/* Why a silent peer's connection is closed. */
enum conn_silence {
    CONN_NOT_SILENT,
    CONN_NO_PONG,     /* nothing came for pong_ms after a ping, and the peer's kernel took none of
                         the bytes that left before the ping */
    CONN_NO_PROGRESS, /* something waited for slow_ms, and the peer's kernel took nothing */
};

enum conn_state {
    CONN_OPEN,
    CONN_CLOSING,   /* this side's close frame is queued or sent; the peer's is awaited */
    CONN_LINGERING, /* both sides have closed, or the peer broke the protocol: the peer's end of
                       file is awaited */
    CONN_DEAD,
};

struct conn {
    struct loop_watch watch;
    struct wheel_node timer;
    struct conn_host *host;
    struct ws_decoder decoder;
    struct outbox outbox;
    struct tls *tls;  /* NULL: plain */
    uint8_t *message; /* the pieces of an unfinished message; NULL: none */
    uint32_t message_len, message_size;
    uint8_t *leftover; /* the bytes of an unfinished head or control frame, or, `rested`, all bytes
                          read and not decoded; NULL: none */
    struct deflate *deflate; /* NULL: messages are not compressed */
    struct conn *next_dirty, *next_dead;
    uint64_t last_in_ms;  /* when the peer last sent anything, or showed life otherwise */
    uint64_t progress_ms; /* when a kernel last took anything, or nothing waited */
    uint64_t noted_bytes; /* of this connection in the host's waiting_bytes */
    uint64_t left_bytes;  /* taken by this host's kernel */
    uint64_t taken_bytes; /* of these, taken by the peer's kernel, when last measured */
    uint64_t measured_ms; /* when that was; while something waits */
    union {
        uint64_t ping_at; /* OPEN, ping_sent: as many bytes are ahead of the ping */
        uint64_t ignored; /* after OPEN: the peer's bytes since; over TLS, those before */
    };
    uint64_t deadline_ms;   /* the owner's deadline; UINT64_MAX: none */
    uint64_t room_mark;     /* has_room is called when fewer bytes wait; 0: not wanted */
    uint64_t close_at_ms;   /* CLOSING, LINGERING: when the socket is closed at last; `ending`: when
                               the answers are waited for no longer */
    const char *end_reason; /* `ending`: of the close frame; static text */
    int fd;
    uint32_t leftover_len;
    uint16_t end_code; /* `ending`: of the close frame */
    uint8_t state;
    uint8_t silence; /* enum conn_silence; set before `closing` is called */
    bool is_dirty, ping_sent, write_wanted, end_after_flush;
    bool read_paused; /* too many answers wait unsent */
    bool held;        /* the owner takes no messages yet */
    bool rested;      /* inflating has taken a turn's share: the next turn goes on */
    bool rested_now;  /* `rested`: in this turn */
    bool ending;      /* OPEN: nothing is read any more; closes when the answers have been given */
    bool broken;      /* `ending`: because the peer broke the protocol */
    bool unread;      /* TLS has bytes that the socket will not announce */
};

void conn_host_init(struct conn_host *host, struct loop *loop, struct stats_row *stats,
                    const struct conn_calls *calls, void *owner);
/* The end of a turn: writes the frames of this turn, then frees dead connections. Called by a hook
 * of the loop. */
void conn_host_flush(struct conn_host *host);

/* Starts a connection in the owner's zeroed memory, and takes over fd and tls, whose handshake is
 * over (NULL: plain). ERR_SYSTEM: both are closed, no callback follows, the memory is still the
 * owner's. */
enum err conn_start(struct conn *conn, struct conn_host *host, int fd, struct tls *tls);
/* Messages are compressed on these terms, if any are agreed. Call before any message comes or goes.
 * ERR_NOMEM. */
enum err conn_compress(struct conn *conn, const struct deflate_terms *terms);
/* Decodes bytes that came behind the upgrade request; of a connection that is held, these bytes
 * wait for conn_release. Call before the loop runs again. */
void conn_feed(struct conn *conn, struct slice bytes);
/* Queues a message, with a reference of its own. ERR_FULL: the queue is full and msg is not queued.
 * ERR_NOMEM: the same for want of memory. A signal is then counted as shed; for mail the owner
 * decides whether the connection ends. ERR_DOWN: closing. */
enum err conn_send(struct conn *conn, struct msg *msg);
/* The same for a stored message, which leaves with `position` as its `seq`. The bound of the queue
 * does not apply: the owner keeps the queue short by conn_ask_for_room. */
enum err conn_send_at(struct conn *conn, struct msg *msg, struct outbox_position position);
/* Returns the bytes that wait unsent, heads included. */
static inline uint64_t conn_waiting(const struct conn *conn)
{
    return conn->outbox.bytes;
}
/* Calls has_room once, at the end of a turn, as soon as fewer than `mark` bytes wait. */
void conn_ask_for_room(struct conn *conn, uint64_t mark);
/* Stops reading until conn_release, for an owner that cannot take messages yet. */
void conn_hold(struct conn *conn);
void conn_release(struct conn *conn);
/* Queues a MSG_ANSWER with a copy of payload. ERR_NOMEM, ERR_DOWN. */
enum err conn_answer(struct conn *conn, enum ws_opcode opcode, struct slice payload);
/* Queues bytes that are no frame: the 101 answer. */
enum err conn_send_raw(struct conn *conn, struct slice bytes);
/* Starts the close handshake; queued frames leave first. Does nothing when the connection is
 * closing already. */
void conn_close(struct conn *conn, uint16_t code, struct slice reason);
/* The same, with all waiting frames dropped: for a peer that does not read. */
void conn_close_now(struct conn *conn, uint16_t code, struct slice reason);
/* The same as conn_close, but nothing is read from now on, and the answers that the owner owes for
 * earlier messages leave first, unless they take longer than close_ms. reason is static text. */
void conn_close_answered(struct conn *conn, uint16_t code, const char *reason);
/* The owner owes no answer any more. Does nothing unless the connection waits for that. */
void conn_answered(struct conn *conn);
/* Closes the socket at once; gone follows at the end of the turn. */
void conn_abort(struct conn *conn);
/* The same for want of memory, which is counted: a frame for the peer cannot be queued. The client
 * connects again, and its mailbox has what the client missed. */
void conn_abort_no_memory(struct conn *conn);
/* Sets when calls->deadline is called; UINT64_MAX: never. */
void conn_set_deadline(struct conn *conn, uint64_t at_ms);
/* In CLOSING: sets when the socket is closed even if the peer has not answered. */
void conn_set_patience(struct conn *conn, uint64_t at_ms);
/* Counts a close frame with this code; for one that leaves without a connection, too. stats may be
 * NULL. */
void conn_count_close(struct stats_row *stats, uint16_t code);
/* Can messages still be sent? */
static inline bool conn_is_open(const struct conn *conn)
{
    return conn->state == CONN_OPEN;
}

#endif
