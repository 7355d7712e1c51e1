/*
 * The frames between master and worker on their socketpair: a type, a length, a payload, and with
 * CONTROL_LOG a descriptor. Each side sees the other's death as end of file.
 */
#ifndef COMMON_CONTROL_H
#define COMMON_CONTROL_H

#include "common/buf.h"

#include <stdbool.h>

enum control_type {
    CONTROL_CONFIG = 1,   /* to the worker: a packed config, apply its live keys */
    CONTROL_DRAIN = 2,    /* to the worker: struct control_drain; leave when done */
    CONTROL_LOG = 3,      /* to the worker: the new log descriptor rides along */
    CONTROL_RELOADED = 4, /* to the clerk: struct control_reloaded, and members of a JSON object */
    CONTROL_READY = 5,    /* to the master: accepting */
    CONTROL_APPLIED = 6,  /* to the master: CONTROL_CONFIG or CONTROL_LOG has been dealt with */
    CONTROL_RELOAD = 7,   /* to the master, from the clerk alone: struct control_reload */
};

enum { CONTROL_BYTES_MAX = 64 << 20 };

struct control_drain {
    uint16_t close_code;  /* WS_CLOSE_GOING_AWAY, WS_CLOSE_DRAINING or WS_CLOSE_RESTARTING */
    uint32_t deadline_ms; /* from now on; past the deadline sessions are closed at once */
};

/* The clerk asks for a reload, or only what a reload would do. */
struct control_reload {
    uint32_t number; /* comes back with the answer */
    uint32_t is_plan;
};
struct control_reloaded {
    uint32_t number;
    uint32_t outcome; /* enum control_outcome */
};
enum control_outcome { CONTROL_DONE, CONTROL_REFUSED, CONTROL_STOPPING };

/* Sends one small frame at once, or not at all. OK; ERR_FULL: the payload is longer than
 * CONTROL_SMALL_MAX, or the socket has no room; ERR_DOWN: the other side is gone. */
enum { CONTROL_SMALL_MAX = 1024 };
enum err control_send(int fd, enum control_type type, struct slice payload);

/* ---- the master's side: frames that wait for a worker ---- */

/* The bytes of a frame, shared by the queues of all workers. The bytes may hold secrets: a child of
 * fork does not get them, and they are overwritten before they are freed. */
struct control_payload;
/* Returns a payload with one reference, owned by the caller; NULL when out of memory, or when bytes
 * is longer than CONTROL_BYTES_MAX. */
struct control_payload *control_payload_new(struct slice bytes);
void control_payload_unref(struct control_payload *payload); /* NULL is allowed */

struct control_frame {
    enum control_type type; /* 0: no frame */
    struct control_payload *payload;
    int fd_pass; /* -1, or a descriptor that goes with the frame; owned by the frame */
};

enum { CONTROL_QUEUE_KINDS = 4 }; /* CONTROL_CONFIG to CONTROL_RELOADED */

/*
 * The frames that the master has for one worker. The master never waits for a worker: of each type
 * one frame waits, the newest, and a CONTROL_CONFIG or CONTROL_LOG leaves only after the worker has
 * answered the one before (CONTROL_APPLIED). So a worker that does not read costs at most one frame
 * of each type, and has one reload to apply when the worker reads again.
 */
struct control_queue {
    struct control_frame leaving;                      /* a part may have left */
    size_t sent;                                       /* bytes of `leaving`, head included */
    struct control_frame waiting[CONTROL_QUEUE_KINDS]; /* at type - 1 */
    bool unanswered; /* a CONTROL_CONFIG or CONTROL_LOG has left, and no CONTROL_APPLIED has come */
    bool blocked;    /* the socket took less than was offered: flush again when it is writable */
};
void control_queue_init(struct control_queue *queue);
void control_queue_fini(struct control_queue *queue);
/* Queues a frame in place of a waiting one of the same type. Holds a reference to payload, NULL for
 * an empty one, and a duplicate of fd_pass unless that is -1. ERR_SYSTEM: no descriptor is left. */
enum err control_queue_put(struct control_queue *queue, enum control_type type,
                           struct control_payload *payload, int fd_pass);
/* Sends as much as may leave, without waiting. OK, also when something still waits; ERR_DOWN: the
 * other side is gone. */
enum err control_queue_flush(struct control_queue *queue, int fd);
/* Notes a CONTROL_APPLIED; the caller flushes. */
void control_queue_applied(struct control_queue *queue);
/* Fills fds with the descriptors that the queue owns, -1 for none. */
void control_queue_fds(const struct control_queue *queue, int fds[CONTROL_QUEUE_KINDS + 1]);

/* ---- reading ---- */

struct control_reader {
    struct buf input;
    size_t taken; /* bytes at the front of input that belong to the frame that control_next returned
                     last */
    int fd_passed; /* -1, or a descriptor that came and has not been taken */
};
void control_reader_init(struct control_reader *reader);
void control_reader_fini(struct control_reader *reader);
/* Reads without blocking, at most until a whole frame is there. OK, ERR_DOWN at end of file,
 * ERR_BAD for a head that cannot be, ERR_NOMEM. */
enum err control_fill(struct control_reader *reader, int fd);
/* Returns OK with the next whole frame, or ERR_AGAIN. The payload lives until the next call of
 * control_fill or control_next. */
enum err control_next(struct control_reader *reader, enum control_type *type,
                      struct slice *payload);
/* Overwrites the payload that control_next returned last: the payload held secrets. */
void control_wipe(struct control_reader *reader);
/* The descriptor that came with CONTROL_LOG, now the caller's; -1 when none came. */
int control_take_fd(struct control_reader *reader);

#endif
