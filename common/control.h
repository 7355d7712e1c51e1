/*
 * The frames between master and worker on their socketpair: a type, a length, a payload, and with
 * CONTROL_LOG a descriptor. Each side sees the other's death as end of file.
 */
#ifndef COMMON_CONTROL_H
#define COMMON_CONTROL_H

#include "common/buf.h"

enum control_type {
    CONTROL_CONFIG = 1,  /* to the worker: a packed config, apply its live keys */
    CONTROL_DRAIN = 2,   /* to the worker: struct control_drain; leave when done */
    CONTROL_LOG = 3,     /* to the worker: the new log descriptor rides along */
    CONTROL_READY = 4,   /* to the master: accepting */
    CONTROL_APPLIED = 5, /* to the master: CONTROL_CONFIG has been applied */
};

enum { CONTROL_BYTES_MAX = 64 << 20 };

struct control_drain {
    uint16_t close_code;  /* WS_CLOSE_GOING_AWAY, WS_CLOSE_DRAINING or WS_CLOSE_RESTARTING */
    uint32_t deadline_ms; /* from now on; past the deadline sessions are closed at once */
};

/* Sends one frame, and fd_pass with the first byte unless fd_pass is -1. Waits at most 2 s while
 * the other side takes nothing, then returns ERR_FULL: a part of the frame may have left, so the
 * connection is of no more use. ERR_DOWN: the other side is gone. ERR_SYSTEM: poll failed. */
enum err control_send(int fd, enum control_type type, struct slice payload, int fd_pass);

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
/* The descriptor that came with CONTROL_LOG, now the caller's; -1 when none came. */
int control_take_fd(struct control_reader *reader);

#endif
