/*
 * What the files of the outbox share: frames, their lanes, and the pools of both. No other file
 * includes this header.
 *
 * A frame stays counted from outbox_count(+1), when it enters, to outbox_count(-1), when its last
 * byte has left or it is dropped.
 */
#ifndef WORKER_OUTBOX_PARTS_H
#define WORKER_OUTBOX_PARTS_H

#include "worker/wire/deflate_form.h"
#include "worker/wire/outbox.h"
#include "worker/wire/ws.h"

#include <stdlib.h>

enum {
    OUTBOX_LEVEL_MAX = 9,
    OUTBOX_LANE_IN_ORDER = 0, /* frames that a context has compressed, in the order of leaving */
    OUTBOX_LANE_ANSWER,
    OUTBOX_LANE_TOP, /* level 9; level -9 is OUTBOX_LANE_TOP + 18 */
    OUTBOX_LANE_LAST = OUTBOX_LANE_TOP + 2 * OUTBOX_LEVEL_MAX + 1,
    OUTBOX_LANE_COUNT,
    OUTBOX_POOL_MAX = 4096, /* lanes and frames kept for the next use */
};

struct frame {
    struct frame *next;
    struct msg *msg;
    struct outbox_position position;
    uint16_t position_len; /* of {"seq":"MS-N", and the log's name, in place of the first '{', with
                              the head of a stored block before a compressed message; 0: none */
    uint8_t skip; /* bytes of the data that are left out: 1, when a position stands for the '{' */
    bool stored;  /* position counts, and position.log is a reference */
};

struct outbox_lanes {
    struct frame *head[OUTBOX_LANE_COUNT], *tail[OUTBOX_LANE_COUNT];
    uint32_t occupied;  /* a bit a lane */
    struct frame *pong; /* the newest pong that waits; NULL: none */
    uint32_t pong_count;
    struct msg *run; /* the last waiting answer, when it is a run that may grow; NULL: none */
    uint32_t run_size;
};

/* ---- outbox_frame.c ---- */

/* Shared by all outboxes of the worker, which is one thread. */
extern struct frame *outbox_frame_pool;
extern unsigned outbox_frame_pool_count;

/* Returns lanes without a frame, the caller's until outbox_lanes_drop; NULL: out of memory. */
struct outbox_lanes *outbox_lanes_new(void);
void outbox_lanes_drop(struct outbox_lanes *lanes);
/* Bytes of {"seq":"MS-N", and the log's name. */
uint16_t outbox_position_len(const struct outbox_position *position);
/* Writes them; returns the end. */
uint8_t *outbox_write_position(uint8_t *to, const struct outbox_position *position);
/* Puts back a frame that was taken out of its lane, before all others there. */
void outbox_put_back(struct outbox_lanes *lanes, struct frame *frame);

/* ---- frames ---- */

/* Takes a reference. NULL: out of memory. */
static inline struct frame *outbox_frame_new(struct msg *msg)
{
    struct frame *frame = outbox_frame_pool;

    if (frame) {
        outbox_frame_pool = frame->next;
        outbox_frame_pool_count--;
    } else if (!(frame = malloc(sizeof *frame))) {
        return NULL;
    }
    frame->msg = msg_ref(msg);
    frame->next = NULL;
    frame->position.log = NULL; /* the rest is valid for a stored message */
    frame->position_len = 0;
    frame->skip = 0;
    frame->stored = false;
    return frame;
}

static inline void outbox_frame_drop(struct frame *frame)
{
    msg_unref(frame->msg);
    if (frame->position.log)
        msg_unref(frame->position.log);
    if (outbox_frame_pool_count >= OUTBOX_POOL_MAX) {
        free(frame);
        return;
    }
    frame->next = outbox_frame_pool;
    outbox_frame_pool = frame;
    outbox_frame_pool_count++;
}

static inline unsigned outbox_lane_of(const struct msg *msg)
{
    switch ((enum msg_kind)msg->kind) {
    case MSG_ANSWER:
        return OUTBOX_LANE_ANSWER;
    case MSG_LAST:
        return OUTBOX_LANE_LAST;
    case MSG_SIGNAL:
    case MSG_MAIL:
        break;
    }
    return (unsigned)(OUTBOX_LANE_TOP + OUTBOX_LEVEL_MAX - msg->level);
}

static inline bool outbox_is_compressed(const struct msg *msg)
{
    return msg->opcode != OUTBOX_RAW && msg->opcode & WS_COMPRESSED;
}

static inline uint32_t outbox_payload_len(const struct frame *frame)
{
    return frame->position_len + frame->msg->len - frame->skip;
}

static inline uint32_t outbox_head_len(const struct frame *frame)
{
    uint32_t len = outbox_payload_len(frame);

    if (frame->msg->opcode == OUTBOX_RAW)
        return 0;
    return len < 126 ? 2 : len < 65536 ? 4 : 10;
}

static inline uint32_t outbox_frame_bytes(const struct frame *frame)
{
    return outbox_head_len(frame) + outbox_payload_len(frame);
}

/* Counts a frame that enters (sign +1) or leaves (-1). Only a run that grows is counted elsewhere,
 * in run_add. */
static inline void outbox_count(struct outbox *outbox, const struct frame *frame, int sign)
{
    int64_t bytes = sign * (int64_t)outbox_frame_bytes(frame);

    outbox->bytes += (uint64_t)bytes;
    if (frame->msg->kind == MSG_SIGNAL)
        outbox->signal_bytes += (uint64_t)bytes;
    else if (frame->msg->kind == MSG_MAIL)
        outbox->mail_count += (uint64_t)sign;
    else if (frame->msg->kind == MSG_ANSWER)
        outbox->answer_bytes += (uint32_t)bytes;
}

/* Takes out the frame that leaves next; some lane is occupied. */
static inline struct frame *outbox_take_first(struct outbox_lanes *lanes)
{
    unsigned lane = (unsigned)__builtin_ctz(lanes->occupied);
    struct frame *frame = lanes->head[lane];

    lanes->head[lane] = frame->next;
    if (!frame->next)
        lanes->occupied &= ~(1u << lane);
    if (lanes->pong && frame->msg->opcode == WS_PONG) {
        lanes->pong_count--;
        if (lanes->pong == frame) /* the newest leaves last */
            lanes->pong = NULL;
    }
    if (lanes->run == frame->msg)
        lanes->run = NULL;
    return frame;
}

#endif
