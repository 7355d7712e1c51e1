/*
 * What master and worker say to each other over their socketpair: typed, length-prefixed frames, a
 * descriptor riding along where one is named. Either side sees the other's death as end of file.
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
    uint16_t close_code;  /* 1001 the server stops; 4000 this worker leaves; 1012 it is replaced */
    uint32_t deadline_ms; /* from now; then close at once */
};

/* Waits for at most 2 s while the other side takes nothing, then ERR_FULL: a part may have gone, so
 * the connection is of no more use. fd_pass -1: none. ERR_DOWN: the other side is gone. */
enum err control_send(int fd, enum control_type type, struct slice payload, int fd_pass);

struct control_reader {
    struct buf input;
    size_t taken;  /* bytes at the front of input that belong to the frame handed out last */
    int fd_passed; /* -1, or a descriptor that came and has not been taken */
};
void control_reader_init(struct control_reader *reader);
void control_reader_fini(struct control_reader *reader);
/* Reads what is there (non-blocking). ERR_DOWN at end of file, ERR_BAD for nonsense. */
enum err control_fill(struct control_reader *reader, int fd);
/* The next whole frame: OK, or ERR_AGAIN. The payload lives until the next call of control_fill or
 * control_next. */
enum err control_next(struct control_reader *reader, enum control_type *type,
                      struct slice *payload);
/* The descriptor that came with CONTROL_LOG, now the caller's; -1 when none came. */
int control_take_fd(struct control_reader *reader);

#endif
