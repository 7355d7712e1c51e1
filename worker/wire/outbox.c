/*
 * Frames of the outbox while they wait: how messages enter, what is shed and dropped, and which
 * stored messages still wait.
 */
#include "worker/wire/outbox_parts.h"

#include <assert.h>
#include <string.h>

enum {
    RUN_SIZE_FIRST = 3000,  /* bytes of a run of answers */
    RUN_SIZE_NEXT = 12000,  /* bytes of a run behind a full run */
    RUN_PAYLOAD_MAX = 1000, /* a larger answer waits by itself */
    PONGS_MAX = 16,         /* pongs that wait; at most 2 KiB */
};

static const struct outbox_position nowhere;

/* When PONGS_MAX pongs wait, replaces the newest of them by a newer pong (RFC 6455 5.5.3 allows to
 * answer only the latest ping), so that a flood of pings cannot grow the queue. */
static bool replace_pong(struct outbox *outbox, struct msg *msg)
{
    struct frame *pong;

    if (!outbox->lanes || outbox->lanes->pong_count < PONGS_MAX)
        return false;
    pong = outbox->lanes->pong;
    assert(pong);
    outbox_count(outbox, pong, -1);
    msg_unref(pong->msg);
    pong->msg = msg_ref(msg);
    outbox_count(outbox, pong, +1);
    return true;
}

static inline bool need_lanes(struct outbox *outbox)
{
    return outbox->lanes || (outbox->lanes = outbox_lanes_new());
}

static enum err enqueue(struct outbox *outbox, struct msg *msg, struct outbox_position position)
{
    unsigned lane = outbox_lane_of(msg);
    struct outbox_lanes *lanes;
    struct frame *frame;

    if (!need_lanes(outbox) || !(frame = outbox_frame_new(msg)))
        return ERR_NOMEM;
    if (position.ms || position.n) {
        bool compressed = outbox_is_compressed(msg);
        assert(compressed || (msg->len && msg->data[0] == '{'));
        frame->position = position;
        frame->position_len =
            (uint16_t)(outbox_position_len(&position) + (compressed ? DEFLATE_STORED_HEAD : 0));
        frame->skip = !compressed;
        frame->stored = true;
        if (position.log)
            msg_ref(position.log);
    }
    lanes = outbox->lanes;
    if (lanes->occupied & 1u << lane)
        lanes->tail[lane]->next = frame;
    else
        lanes->head[lane] = frame;
    lanes->tail[lane] = frame;
    lanes->occupied |= 1u << lane;
    if (lane == OUTBOX_LANE_ANSWER)
        lanes->run = NULL;
    if (msg->opcode == WS_PONG) {
        lanes->pong = frame;
        lanes->pong_count++;
    }
    outbox_count(outbox, frame, +1);
    return OK;
}

/* Answers often come by the dozen, and only this connection gets them. So small answers are written
 * one behind the other, with their heads, into one message (a run), which costs as much as one
 * answer. */
static struct msg *run_with_room(struct outbox *outbox, size_t len)
{
    struct outbox_lanes *lanes = outbox->lanes;
    uint32_t size = lanes->run ? RUN_SIZE_NEXT : RUN_SIZE_FIRST;
    struct msg *run = lanes->run;

    if (run && run->len + len <= lanes->run_size)
        return run;
    run = msg_make(size, MSG_ANSWER, 0);
    if (!run)
        return NULL;
    run->opcode = OUTBOX_RAW;
    run->len = 0;
    if (enqueue(outbox, run, nowhere) == OK) {
        lanes->run = run;
        lanes->run_size = size;
    } else {
        lanes->run = NULL;
    }
    msg_unref(run); /* the queue holds the other reference */
    return lanes->run;
}

static enum err run_add(struct outbox *outbox, uint8_t opcode, struct slice payload)
{
    struct msg *run;
    uint8_t *from, *to;

    if (!need_lanes(outbox) || !(run = run_with_room(outbox, WS_HEAD_MAX + payload.len)))
        return ERR_NOMEM;
    from = to = (uint8_t *)run->data + run->len;
    if (opcode != OUTBOX_RAW)
        to += ws_encode_head(to, opcode, payload.len);
    memcpy(to, payload.data, payload.len);
    to += payload.len;
    run->len += (uint32_t)(to - from);
    run->frames = (uint16_t)(run->frames + ((opcode & ~WS_COMPRESSED) == WS_TEXT));
    outbox->bytes += (uint64_t)(to - from);
    outbox->answer_bytes += (uint32_t)(to - from);
    return OK;
}

enum err outbox_answer(struct outbox *outbox, uint8_t opcode, struct slice payload)
{
    struct msg *msg;
    enum err err;

    if (payload.len <= RUN_PAYLOAD_MAX)
        return run_add(outbox, opcode, payload);
    msg = msg_new(payload, MSG_ANSWER, 0);
    if (!msg)
        return ERR_NOMEM;
    msg->opcode = opcode;
    err = enqueue(outbox, msg, nowhere);
    msg_unref(msg);
    return err;
}

enum err outbox_put(struct outbox *outbox, struct msg *msg)
{
    if (msg->opcode == WS_PONG && replace_pong(outbox, msg))
        return OK;
    if (msg->kind == MSG_ANSWER && msg->opcode != WS_PONG && msg->len <= RUN_PAYLOAD_MAX &&
        msg->form != MSG_FORM_LATE)
        return run_add(outbox, msg->opcode, msg_slice(msg));
    return enqueue(outbox, msg, nowhere);
}

enum err outbox_put_at(struct outbox *outbox, struct msg *msg, struct outbox_position position)
{
    if (position.ms || position.n)
        return enqueue(outbox, msg, position);
    return outbox_put(outbox, msg);
}

static unsigned shed_lane(struct outbox *outbox, unsigned lane, uint64_t *bytes)
{
    struct outbox_lanes *lanes = outbox->lanes;
    struct frame *frame, *kept = NULL, **at = &lanes->head[lane];
    unsigned dropped = 0;

    while ((frame = *at)) {
        if (*bytes && frame->msg->kind == MSG_SIGNAL) {
            uint64_t freed = outbox_frame_bytes(frame);
            *at = frame->next;
            *bytes -= freed < *bytes ? freed : *bytes;
            outbox_count(outbox, frame, -1);
            outbox_frame_drop(frame);
            dropped++;
        } else {
            kept = frame;
            at = &frame->next;
        }
    }
    lanes->tail[lane] = kept;
    if (!kept)
        lanes->occupied &= ~(1u << lane);
    return dropped;
}

unsigned outbox_shed(struct outbox *outbox, uint64_t bytes, int level_max)
{
    unsigned dropped = 0;

    for (int level = -OUTBOX_LEVEL_MAX; level <= level_max && bytes && outbox->signal_bytes;
         level++) {
        unsigned lane = (unsigned)(OUTBOX_LANE_TOP + OUTBOX_LEVEL_MAX - level);
        if (outbox->lanes && outbox->lanes->occupied & 1u << lane)
            dropped += shed_lane(outbox, lane, &bytes);
    }
    return dropped;
}

static bool is_of(const struct frame *frame, uint32_t feed)
{
    return frame->stored && frame->position.feed == feed;
}

static void take_older_position(struct outbox_position *oldest, const struct frame *frame)
{
    if (!oldest->ms || frame->position.number < oldest->number)
        *oldest = frame->position;
}

/* Within a lane of one level frames wait in order, so only the feed's first frame of each lane
 * counts. Compressed frames of all levels wait in one lane. */
struct outbox_position outbox_oldest(const struct outbox *outbox, uint32_t feed)
{
    struct outbox_position oldest = { 0 };

    if (outbox->current && is_of(outbox->current, feed))
        take_older_position(&oldest, outbox->current);
    for (uint32_t left = outbox->lanes ? outbox->lanes->occupied : 0; left; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        const struct frame *frame = outbox->lanes->head[lane];
        for (bool found = false; frame && !(found && lane != OUTBOX_LANE_IN_ORDER);
             frame = frame->next) {
            found = is_of(frame, feed);
            if (found)
                take_older_position(&oldest, frame);
        }
    }
    return oldest;
}

static bool has_word_or_mail_of(const struct frame *frame, uint32_t feed)
{
    while (frame && (frame->msg->kind != MSG_MAIL || (frame->position_len && !is_of(frame, feed))))
        frame = frame->next;
    return frame != NULL;
}

int8_t outbox_level_behind(const struct outbox *outbox, uint32_t feed)
{
    uint32_t occupied = outbox->lanes ? outbox->lanes->occupied : 0;

    for (int level = -OUTBOX_LEVEL_MAX; level < OUTBOX_LEVEL_MAX; level++) {
        unsigned lane = (unsigned)(OUTBOX_LANE_TOP + OUTBOX_LEVEL_MAX - level);
        if (occupied & 1u << lane && has_word_or_mail_of(outbox->lanes->head[lane], feed))
            return (int8_t)level;
    }
    return OUTBOX_LEVEL_MAX;
}

static void drop_all(struct outbox *outbox)
{
    while (outbox->lanes->occupied) {
        struct frame *frame = outbox_take_first(outbox->lanes);
        outbox_count(outbox, frame, -1);
        outbox_frame_drop(frame);
    }
}

void outbox_clear(struct outbox *outbox)
{
    if (!outbox->lanes)
        return;
    drop_all(outbox);
    outbox_lanes_drop(outbox->lanes);
    outbox->lanes = NULL;
}

void outbox_clear_messages(struct outbox *outbox)
{
    uint32_t answers = outbox->lanes ? outbox->lanes->occupied & 1u << OUTBOX_LANE_ANSWER : 0;

    if (!answers) {
        outbox_clear(outbox);
        return;
    }
    outbox->lanes->occupied &= ~answers; /* drop_all does not see the lane meanwhile */
    drop_all(outbox);
    outbox->lanes->occupied = answers;
}

void outbox_fini(struct outbox *outbox)
{
    outbox_clear(outbox);
    if (outbox->current)
        outbox_frame_drop(outbox->current);
    *outbox = (struct outbox){ 0 };
}
