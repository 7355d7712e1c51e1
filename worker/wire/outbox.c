#include "worker/wire/outbox.h"

#include "worker/wire/deflate_form.h"
#include "worker/wire/stream.h"
#include "worker/wire/ws.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

enum {
    LEVEL_MAX = 9,
    LANE_IN_ORDER = 0, /* frames that a context has compressed, in the order of leaving */
    LANE_ANSWER,
    LANE_TOP, /* level 9; level -9 is LANE_TOP + 18 */
    LANE_LAST = LANE_TOP + 2 * LEVEL_MAX + 1,
    LANE_COUNT,

    BATCH_FRAMES = 256, /* frames of one sendmsg */
    COPY_MAX = 2048,    /* a payload up to this size is cheaper copied than named in an iovec */
    SCRATCH_SIZE = 64 * 1024,
    RUN_SIZE_FIRST = 3000,   /* bytes of a run of answers */
    RUN_SIZE_NEXT = 12000,   /* bytes of a run behind a full run */
    RUN_PAYLOAD_MAX = 1000,  /* a larger answer waits by itself */
    FAIR_SHARE = 512 * 1024, /* bytes a connection may write in one turn */
    POOL_MAX = 4096,         /* lanes and frames kept for the next use */
    PONGS_MAX = 16,          /* pongs that wait; at most 2 KiB */
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
    struct frame *head[LANE_COUNT], *tail[LANE_COUNT];
    uint32_t occupied;  /* a bit a lane */
    struct frame *pong; /* the newest pong that waits; NULL: none */
    uint32_t pong_count;
    struct msg *run; /* the last waiting answer, when it is a run that may grow; NULL: none */
    uint32_t run_size;
};

/* Shared by all outboxes of the worker, which is one thread: pools, and the bytes of small frames
 * on their way out. */
static struct frame *frame_pool;
static unsigned frame_pool_count;
static struct outbox_lanes *lanes_pool[64];
static unsigned lanes_pool_count;
static uint8_t scratch[SCRATCH_SIZE];

static const struct outbox_position nowhere;

static inline struct frame *frame_new(struct msg *msg)
{
    struct frame *frame = frame_pool;

    if (frame) {
        frame_pool = frame->next;
        frame_pool_count--;
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

static inline void frame_drop(struct frame *frame)
{
    msg_unref(frame->msg);
    if (frame->position.log)
        msg_unref(frame->position.log);
    if (frame_pool_count >= POOL_MAX) {
        free(frame);
        return;
    }
    frame->next = frame_pool;
    frame_pool = frame;
    frame_pool_count++;
}

static struct outbox_lanes *lanes_new(void)
{
    struct outbox_lanes *lanes;

    if (lanes_pool_count)
        return lanes_pool[--lanes_pool_count];
    lanes = calloc(1, sizeof *lanes);
    return lanes;
}

static void lanes_drop(struct outbox_lanes *lanes)
{
    assert(lanes->occupied == 0 && !lanes->pong && lanes->pong_count == 0 && !lanes->run);
    if (lanes_pool_count < sizeof lanes_pool / sizeof lanes_pool[0])
        lanes_pool[lanes_pool_count++] = lanes;
    else
        free(lanes);
}

static inline unsigned lane_of(const struct msg *msg)
{
    switch ((enum msg_kind)msg->kind) {
    case MSG_ANSWER:
        return LANE_ANSWER;
    case MSG_LAST:
        return LANE_LAST;
    case MSG_SIGNAL:
    case MSG_MAIL:
        break;
    }
    return (unsigned)(LANE_TOP + LEVEL_MAX - msg->level);
}

/* ---- {"seq":"MS-N","log":"NAME", ---- */

enum {
    POSITION_MAX = sizeof "{\"seq\":\"18446744073709551615-18446744073709551615\"," - 1 +
                   OUTBOX_LOG_MAX + DEFLATE_STORED_HEAD
};

static unsigned digits_of(uint64_t value)
{
    unsigned count = 1;

    while (value >= 10) {
        value /= 10;
        count++;
    }
    return count;
}

static uint8_t *write_number(uint8_t *to, uint64_t value)
{
    unsigned len = digits_of(value);

    for (unsigned i = len; i-- > 0; value /= 10)
        to[i] = (uint8_t)('0' + value % 10);
    return to + len;
}

static uint16_t position_len(const struct outbox_position *position)
{
    unsigned len =
        (unsigned)sizeof "{\"seq\":\"-\"," - 1 + digits_of(position->ms) + digits_of(position->n);

    return (uint16_t)(len + (position->log ? position->log->len : 0));
}

static uint8_t *write_position(uint8_t *to, const struct outbox_position *position)
{
    static const char before[] = "{\"seq\":\"";

    memcpy(to, before, sizeof before - 1);
    to = write_number(to + sizeof before - 1, position->ms);
    *to++ = '-';
    to = write_number(to, position->n);
    memcpy(to, "\",", 2);
    to += 2;
    if (position->log) {
        memcpy(to, position->log->data, position->log->len);
        to += position->log->len;
    }
    return to;
}

static bool is_compressed(const struct msg *msg)
{
    return msg->opcode != OUTBOX_RAW && msg->opcode & WS_COMPRESSED;
}

/* The head of a stored block that holds `len` bytes: no final block, type 0, the length and its
 * complement (RFC 1951 3.2.4). */
static uint8_t *write_stored_head(uint8_t *to, uint16_t len)
{
    const uint8_t head[DEFLATE_STORED_HEAD] = { 0, (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)~len,
                                                (uint8_t)(~len >> 8) };

    memcpy(to, head, sizeof head);
    return to + sizeof head;
}

/* ---- a frame's bytes: head, position, data ---- */

static inline uint32_t payload_len(const struct frame *frame)
{
    return frame->position_len + frame->msg->len - frame->skip;
}

static inline uint32_t head_len(const struct frame *frame)
{
    uint32_t len = payload_len(frame);

    if (frame->msg->opcode == OUTBOX_RAW)
        return 0;
    return len < 126 ? 2 : len < 65536 ? 4 : 10;
}

static inline uint32_t frame_bytes(const struct frame *frame)
{
    return head_len(frame) + payload_len(frame);
}

/* Writes the frame's head and position, which come before the message's data. */
static inline uint8_t *write_frame_head(uint8_t *to, const struct frame *frame)
{
    if (frame->msg->opcode != OUTBOX_RAW)
        to += ws_encode_head(to, frame->msg->opcode, payload_len(frame));
    if (!frame->position_len)
        return to;
    if (is_compressed(frame->msg))
        to = write_stored_head(to, (uint16_t)(frame->position_len - DEFLATE_STORED_HEAD));
    return write_position(to, &frame->position);
}

/* Counts a frame that enters (sign +1) or leaves (-1). Only a run that grows is counted elsewhere,
 * in run_add. */
static inline void count_frame(struct outbox *outbox, const struct frame *frame, int sign)
{
    int64_t bytes = sign * (int64_t)frame_bytes(frame);

    outbox->bytes += (uint64_t)bytes;
    if (frame->msg->kind == MSG_SIGNAL)
        outbox->signal_bytes += (uint64_t)bytes;
    else if (frame->msg->kind == MSG_MAIL)
        outbox->mail_count += (uint64_t)sign;
    else if (frame->msg->kind == MSG_ANSWER)
        outbox->answer_bytes += (uint32_t)bytes;
}

/* When PONGS_MAX pongs wait, replaces the newest of them by a newer pong (RFC 6455 5.5.3 allows to
 * answer only the latest ping), so that a flood of pings cannot grow the queue. */
static bool replace_pong(struct outbox *outbox, struct msg *msg)
{
    struct frame *pong;

    if (!outbox->lanes || outbox->lanes->pong_count < PONGS_MAX)
        return false;
    pong = outbox->lanes->pong;
    assert(pong);
    count_frame(outbox, pong, -1);
    msg_unref(pong->msg);
    pong->msg = msg_ref(msg);
    count_frame(outbox, pong, +1);
    return true;
}

static inline bool need_lanes(struct outbox *outbox)
{
    return outbox->lanes || (outbox->lanes = lanes_new());
}

static enum err enqueue(struct outbox *outbox, struct msg *msg, struct outbox_position position)
{
    unsigned lane = lane_of(msg);
    struct outbox_lanes *lanes;
    struct frame *frame;

    if (!need_lanes(outbox) || !(frame = frame_new(msg)))
        return ERR_NOMEM;
    if (position.ms || position.n) {
        bool compressed = is_compressed(msg);
        assert(compressed || (msg->len && msg->data[0] == '{'));
        frame->position = position;
        frame->position_len =
            (uint16_t)(position_len(&position) + (compressed ? DEFLATE_STORED_HEAD : 0));
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
    if (lane == LANE_ANSWER)
        lanes->run = NULL;
    if (msg->opcode == WS_PONG) {
        lanes->pong = frame;
        lanes->pong_count++;
    }
    count_frame(outbox, frame, +1);
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

static inline struct frame *take_first(struct outbox_lanes *lanes)
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

static void put_back(struct outbox_lanes *lanes, struct frame *frame)
{
    bool in_order = frame->msg->form == MSG_FORM_IN_ORDER;
    unsigned lane = in_order ? LANE_IN_ORDER : lane_of(frame->msg);

    frame->next = lanes->occupied & 1u << lane ? lanes->head[lane] : NULL;
    lanes->head[lane] = frame;
    if (!frame->next)
        lanes->tail[lane] = frame;
    lanes->occupied |= 1u << lane;
    if (frame->msg->opcode == WS_PONG) {
        lanes->pong_count++;
        if (!lanes->pong)
            lanes->pong = frame;
    }
}

static unsigned shed_lane(struct outbox *outbox, unsigned lane, uint64_t *bytes)
{
    struct outbox_lanes *lanes = outbox->lanes;
    struct frame *frame, *kept = NULL, **at = &lanes->head[lane];
    unsigned dropped = 0;

    while ((frame = *at)) {
        if (*bytes && frame->msg->kind == MSG_SIGNAL) {
            uint64_t freed = frame_bytes(frame);
            *at = frame->next;
            *bytes -= freed < *bytes ? freed : *bytes;
            count_frame(outbox, frame, -1);
            frame_drop(frame);
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

    for (int level = -LEVEL_MAX; level <= level_max && bytes && outbox->signal_bytes; level++) {
        unsigned lane = (unsigned)(LANE_TOP + LEVEL_MAX - level);
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
        for (bool found = false; frame && !(found && lane != LANE_IN_ORDER); frame = frame->next) {
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

    for (int level = -LEVEL_MAX; level < LEVEL_MAX; level++) {
        unsigned lane = (unsigned)(LANE_TOP + LEVEL_MAX - level);
        if (occupied & 1u << lane && has_word_or_mail_of(outbox->lanes->head[lane], feed))
            return (int8_t)level;
    }
    return LEVEL_MAX;
}

static void drop_all(struct outbox *outbox)
{
    while (outbox->lanes->occupied) {
        struct frame *frame = take_first(outbox->lanes);
        count_frame(outbox, frame, -1);
        frame_drop(frame);
    }
}

void outbox_clear(struct outbox *outbox)
{
    if (!outbox->lanes)
        return;
    drop_all(outbox);
    lanes_drop(outbox->lanes);
    outbox->lanes = NULL;
}

void outbox_clear_messages(struct outbox *outbox)
{
    uint32_t answers = outbox->lanes ? outbox->lanes->occupied & 1u << LANE_ANSWER : 0;

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
        frame_drop(outbox->current);
    *outbox = (struct outbox){ 0 };
}

/* The frames of one sendmsg. Small frames are copied one behind the other into the scratch bytes; a
 * large payload is named where it lies. */
struct batch {
    struct frame *frames[BATCH_FRAMES];
    unsigned count;
    struct iovec iov[2 * BATCH_FRAMES + 1];
    unsigned iov_count;
    size_t scratch_used;
    size_t bytes;
};

/* Names the scratch bytes from `from` to scratch_used in the iovec. */
static inline void batch_name_scratch(struct batch *batch, uint8_t *from)
{
    size_t len = (size_t)(scratch + batch->scratch_used - from);
    struct iovec *last = batch->iov_count ? &batch->iov[batch->iov_count - 1] : NULL;

    if (last && (uint8_t *)last->iov_base + last->iov_len == from)
        last->iov_len += len;
    else if (len)
        batch->iov[batch->iov_count++] = (struct iovec){ from, len };
}

/* Adds the rest of a frame of which `skip` bytes have left, or a frame whose data is named, not
 * copied. */
static void batch_add_rest(struct batch *batch, struct frame *frame, uint32_t skip)
{
    uint8_t head[WS_HEAD_MAX + POSITION_MAX], *to = scratch + batch->scratch_used;
    uint32_t head_size = (uint32_t)(write_frame_head(head, frame) - head);
    uint32_t data_at = frame->skip + (skip < head_size ? 0 : skip - head_size);
    struct msg *msg = frame->msg;

    if (skip < head_size) {
        memcpy(to, head + skip, head_size - skip);
        batch->scratch_used += head_size - skip;
        batch_name_scratch(batch, to);
    }
    if (data_at < msg->len)
        batch->iov[batch->iov_count++] = (struct iovec){ msg->data + data_at, msg->len - data_at };
}

static inline void batch_add(struct batch *batch, struct frame *frame, uint32_t skip)
{
    uint8_t *from = scratch + batch->scratch_used, *to = from;
    uint32_t data_at = frame->skip;
    struct msg *msg = frame->msg;

    batch->frames[batch->count++] = frame;
    batch->bytes += frame_bytes(frame) - skip;
    if (skip || msg->len > COPY_MAX || msg->opcode == OUTBOX_RAW) {
        batch_add_rest(batch, frame, skip);
        return;
    }
    to = write_frame_head(to, frame);
    memcpy(to, msg->data + data_at, msg->len - data_at);
    batch->scratch_used += (size_t)(to - from) + msg->len - data_at;
    batch_name_scratch(batch, from);
}

static bool batch_has_room(const struct batch *batch)
{
    return batch->count < BATCH_FRAMES && batch->bytes < FAIR_SHARE &&
           batch->scratch_used + COPY_MAX + WS_HEAD_MAX + POSITION_MAX <= SCRATCH_SIZE;
}

/* The frame is on its way out: what the owner wants to leave instead takes its place. A frame that
 * does not leave now, after all, waits in LANE_IN_ORDER. */
static void pack_frame(struct outbox *outbox, struct frame *frame, const struct outbox_sent *sent)
{
    uint8_t position[POSITION_MAX];
    uint8_t *end = frame->skip ? write_position(position, &frame->position) : position;
    struct msg *packed;

    if (frame->msg->form == MSG_FORM_IN_ORDER || frame->msg->opcode == OUTBOX_RAW)
        return;
    packed = sent->pack(sent->arg, frame->msg, slice_make(position, (size_t)(end - position)));
    if (!packed)
        return;
    assert(packed->form == MSG_FORM_IN_ORDER);
    count_frame(outbox, frame, -1);
    msg_unref(frame->msg);
    frame->msg = packed;
    frame->position_len = 0;
    frame->skip = 0;
    count_frame(outbox, frame, +1);
}

/* Takes frames out of the lanes; the counts stay until the frames have left. */
static void batch_fill(struct batch *batch, struct outbox *outbox, const struct outbox_sent *sent)
{
    struct frame *frame;

    batch->count = batch->iov_count = 0;
    batch->scratch_used = batch->bytes = 0;
    if (outbox->current)
        batch_add(batch, outbox->current, outbox->current_sent);
    while (outbox->lanes && outbox->lanes->occupied && batch_has_room(batch)) {
        frame = take_first(outbox->lanes);
        if (sent->pack)
            pack_frame(outbox, frame, sent);
        batch_add(batch, frame, 0);
    }
}

static inline void tell_sent(struct outbox_sent *sent, const struct frame *frame)
{
    if (frame->msg->kind == MSG_SIGNAL || frame->msg->kind == MSG_MAIL)
        sent->messages++;
    else if (frame->msg->opcode == OUTBOX_RAW)
        sent->answers += frame->msg->frames;
    else if ((frame->msg->opcode & ~WS_COMPRESSED) == WS_TEXT)
        sent->answers++;
    if (frame->stored && sent->stored)
        sent->stored(sent->arg, frame->position);
}

/* Settles the batch after `written` bytes have left: frames that left whole are dropped, a frame
 * that left in part becomes current, the others go back to their lanes. */
static void batch_settle(struct batch *batch, struct outbox *outbox, size_t written,
                         struct outbox_sent *sent)
{
    uint32_t skip = outbox->current ? outbox->current_sent : 0;
    unsigned done = 0;

    sent->bytes += written;
    outbox->current = NULL;
    outbox->current_sent = 0;
    while (done < batch->count && written >= frame_bytes(batch->frames[done]) - skip) {
        struct frame *frame = batch->frames[done++];
        written -= frame_bytes(frame) - skip;
        skip = 0;
        count_frame(outbox, frame, -1);
        tell_sent(sent, frame);
        frame_drop(frame);
    }
    if (done < batch->count && (written || skip)) {
        outbox->current = batch->frames[done++];
        outbox->current_sent = skip + (uint32_t)written;
    }
    for (unsigned i = batch->count; i-- > done;)
        put_back(outbox->lanes, batch->frames[i]);
}

enum outbox_result outbox_flush(struct outbox *outbox, int fd, struct tls *tls,
                                struct outbox_sent *sent)
{
    static struct batch batch;
    uint64_t before = sent->bytes;

    if (tls && tls_finish(tls) < 0)
        return errno == EAGAIN ? OUTBOX_BLOCKED : OUTBOX_BROKEN;
    while (outbox->bytes) {
        ssize_t written;

        batch_fill(&batch, outbox, sent);
        written = stream_write(fd, tls, batch.iov, batch.iov_count);
        batch_settle(&batch, outbox, written < 0 ? 0 : (size_t)written, sent);
        if (written < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? OUTBOX_BLOCKED : OUTBOX_BROKEN;
        if ((size_t)written < batch.bytes || (tls && tls_unsent(tls)))
            return OUTBOX_BLOCKED;
        if (outbox->bytes && sent->bytes - before >= FAIR_SHARE)
            return OUTBOX_MORE;
    }
    assert(!outbox->current);
    assert(outbox->signal_bytes == 0);
    assert(outbox->mail_count == 0);
    assert(outbox->answer_bytes == 0);
    if (outbox->lanes) {
        lanes_drop(outbox->lanes);
        outbox->lanes = NULL;
    }
    return OUTBOX_EMPTY;
}
