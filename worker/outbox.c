#include "worker/outbox.h"

#include "worker/ws.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    LEVEL_MAX = 9,
    LANE_ANSWER = 0,
    LANE_TOP = 1, /* level 9; level -9 is LANE_TOP + 18 */
    LANE_LAST = LANE_TOP + 2 * LEVEL_MAX + 1,
    LANE_COUNT,

    BATCH_FRAMES = 256, /* of one writev */
    COPY_MAX = 2048,    /* a smaller payload is cheaper copied than named in an iovec */
    SCRATCH_SIZE = 64 * 1024,
    RUN_SIZE_FIRST = 3000,   /* bytes of a run of answers */
    RUN_SIZE_NEXT = 12000,   /* of one behind a full one */
    RUN_PAYLOAD_MAX = 1000,  /* a larger answer waits by itself */
    FAIR_SHARE = 512 * 1024, /* bytes a connection may write in one turn */
    POOL_MAX = 4096,         /* lanes and frames kept for the next use */
};

struct frame {
    struct frame *next;
    struct msg *msg;
};

struct outbox_lanes {
    struct frame *head[LANE_COUNT], *tail[LANE_COUNT];
    uint32_t occupied;  /* a bit a lane */
    struct frame *pong; /* the one pong that waits, if any */
    struct msg *run; /* the last answer that waits, if it is a run: more may be written behind it */
    uint32_t run_size;
};

/* What one worker (one thread) shares: pools, and the bytes of small frames on their way out. */
static struct frame *frame_pool;
static unsigned frame_pool_count;
static struct outbox_lanes *lanes_pool[64];
static unsigned lanes_pool_count;
static uint8_t scratch[SCRATCH_SIZE];

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
    return frame;
}

/* The frame only; its message goes its own way. */
static inline void frame_drop(struct frame *frame)
{
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
    assert(lanes->occupied == 0 && !lanes->pong && !lanes->run);
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

static inline uint32_t head_len(const struct msg *msg)
{
    if (msg->opcode == OUTBOX_RAW)
        return 0;
    return msg->len < 126 ? 2 : msg->len < 65536 ? 4 : 10;
}

static inline uint32_t frame_bytes(const struct msg *msg)
{
    return head_len(msg) + msg->len;
}

/* One place counts what waits, in (+1) and out (-1). */
static inline void count(struct outbox *outbox, const struct msg *msg, int sign)
{
    int64_t bytes = sign * (int64_t)frame_bytes(msg);

    outbox->bytes += (uint64_t)bytes;
    if (msg->kind == MSG_SIGNAL)
        outbox->signal_bytes += (uint64_t)bytes;
    else if (msg->kind == MSG_MAIL)
        outbox->mail_count += (uint64_t)sign;
    else if (msg->kind == MSG_ANSWER)
        outbox->answer_bytes += (uint32_t)bytes;
}

/* A newer pong takes the place of one that still waits (RFC 6455 5.5.3 allows to answer only the
 * latest ping), so a flood of pings cannot grow the queue. */
static bool replace_pong(struct outbox *outbox, struct msg *msg)
{
    struct frame *pong = outbox->lanes ? outbox->lanes->pong : NULL;

    if (!pong)
        return false;
    count(outbox, pong->msg, -1);
    msg_unref(pong->msg);
    pong->msg = msg_ref(msg);
    count(outbox, msg, +1);
    return true;
}

static inline bool need_lanes(struct outbox *outbox)
{
    return outbox->lanes || (outbox->lanes = lanes_new());
}

static enum err enqueue(struct outbox *outbox, struct msg *msg)
{
    unsigned lane = lane_of(msg);
    struct outbox_lanes *lanes;
    struct frame *frame;

    if (!need_lanes(outbox) || !(frame = frame_new(msg)))
        return ERR_NOMEM;
    lanes = outbox->lanes;
    if (lanes->occupied & 1u << lane)
        lanes->tail[lane]->next = frame;
    else
        lanes->head[lane] = frame;
    lanes->tail[lane] = frame;
    lanes->occupied |= 1u << lane;
    if (lane == LANE_ANSWER)
        lanes->run = NULL;
    if (msg->opcode == WS_PONG)
        lanes->pong = frame;
    count(outbox, msg, +1);
    return OK;
}

/* Answers often come by the dozen and are this connection's alone: small ones are written one
 * behind the other, heads and all, into one message, which then costs what one costs. */
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
    if (enqueue(outbox, run) == OK) {
        lanes->run = run;
        lanes->run_size = size;
    } else {
        lanes->run = NULL;
    }
    msg_unref(run); /* the queue's reference stays */
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
        to += ws_encode_head(to, (enum ws_opcode)opcode, payload.len);
    memcpy(to, payload.data, payload.len);
    to += payload.len;
    run->len += (uint32_t)(to - from);
    run->frames = (uint16_t)(run->frames + (opcode == WS_TEXT));
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
    err = enqueue(outbox, msg);
    msg_unref(msg);
    return err;
}

enum err outbox_put(struct outbox *outbox, struct msg *msg)
{
    if (msg->opcode == WS_PONG && replace_pong(outbox, msg))
        return OK;
    if (msg->kind == MSG_ANSWER && msg->opcode != WS_PONG && msg->len <= RUN_PAYLOAD_MAX)
        return run_add(outbox, msg->opcode, msg_slice(msg));
    return enqueue(outbox, msg);
}

static inline struct frame *take_first(struct outbox_lanes *lanes)
{
    unsigned lane = (unsigned)__builtin_ctz(lanes->occupied);
    struct frame *frame = lanes->head[lane];

    lanes->head[lane] = frame->next;
    if (!frame->next)
        lanes->occupied &= ~(1u << lane);
    if (lanes->pong == frame)
        lanes->pong = NULL;
    if (lanes->run == frame->msg)
        lanes->run = NULL;
    return frame;
}

static void put_back(struct outbox_lanes *lanes, struct frame *frame)
{
    unsigned lane = lane_of(frame->msg);

    frame->next = lanes->occupied & 1u << lane ? lanes->head[lane] : NULL;
    lanes->head[lane] = frame;
    if (!frame->next)
        lanes->tail[lane] = frame;
    lanes->occupied |= 1u << lane;
    if (frame->msg->opcode == WS_PONG && !lanes->pong)
        lanes->pong = frame;
}

static unsigned shed_lane(struct outbox *outbox, unsigned lane, uint64_t *bytes)
{
    struct outbox_lanes *lanes = outbox->lanes;
    struct frame *frame, *kept = NULL, **at = &lanes->head[lane];
    unsigned dropped = 0;

    while ((frame = *at)) {
        if (*bytes && frame->msg->kind == MSG_SIGNAL) {
            uint64_t freed = frame_bytes(frame->msg);
            *at = frame->next;
            *bytes -= freed < *bytes ? freed : *bytes;
            count(outbox, frame->msg, -1);
            msg_unref(frame->msg);
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

void outbox_clear(struct outbox *outbox)
{
    if (!outbox->lanes)
        return;
    while (outbox->lanes->occupied) {
        struct frame *frame = take_first(outbox->lanes);
        count(outbox, frame->msg, -1);
        msg_unref(frame->msg);
        frame_drop(frame);
    }
    lanes_drop(outbox->lanes);
    outbox->lanes = NULL;
}

void outbox_fini(struct outbox *outbox)
{
    outbox_clear(outbox);
    msg_unref(outbox->current);
    *outbox = (struct outbox){ 0 };
}

/* What goes into one writev. Small frames are copied one behind the other into the scratch bytes; a
 * large payload is named where it lies. */
struct batch {
    struct msg *msgs[BATCH_FRAMES];
    unsigned count;
    struct iovec iov[2 * BATCH_FRAMES + 1];
    unsigned iov_count;
    size_t scratch_used;
    size_t bytes;
};

/* Bytes that lie in the scratch from `from` to its end as it now is. */
static inline void batch_name_scratch(struct batch *batch, uint8_t *from)
{
    size_t len = (size_t)(scratch + batch->scratch_used - from);
    struct iovec *last = batch->iov_count ? &batch->iov[batch->iov_count - 1] : NULL;

    if (last && (uint8_t *)last->iov_base + last->iov_len == from)
        last->iov_len += len;
    else if (len)
        batch->iov[batch->iov_count++] = (struct iovec){ from, len };
}

/* What is left of a frame of which `skip` bytes of head and data have left before. */
static void batch_add_rest(struct batch *batch, struct msg *msg, uint32_t skip)
{
    uint8_t head[WS_HEAD_MAX], *to = scratch + batch->scratch_used;
    uint32_t head_size = head_len(msg), data_skip = skip < head_size ? 0 : skip - head_size;

    if (skip < head_size) {
        ws_encode_head(head, (enum ws_opcode)msg->opcode, msg->len);
        memcpy(to, head + skip, head_size - skip);
        batch->scratch_used += head_size - skip;
        batch_name_scratch(batch, to);
    }
    if (data_skip < msg->len)
        batch->iov[batch->iov_count++] =
            (struct iovec){ msg->data + data_skip, msg->len - data_skip };
}

static inline void batch_add(struct batch *batch, struct msg *msg, uint32_t skip)
{
    uint8_t *from = scratch + batch->scratch_used, *to = from;

    batch->msgs[batch->count++] = msg;
    batch->bytes += frame_bytes(msg) - skip;
    if (skip || msg->len > COPY_MAX || msg->opcode == OUTBOX_RAW) {
        batch_add_rest(batch, msg, skip);
        return;
    }
    to += ws_encode_head(to, (enum ws_opcode)msg->opcode, msg->len);
    memcpy(to, msg->data, msg->len);
    batch->scratch_used += (size_t)(to - from) + msg->len;
    batch_name_scratch(batch, from);
}

static bool batch_has_room(const struct batch *batch)
{
    return batch->count < BATCH_FRAMES && batch->bytes < FAIR_SHARE &&
           batch->scratch_used + COPY_MAX + WS_HEAD_MAX <= SCRATCH_SIZE;
}

/* Takes frames out of the outbox; their messages' references and their count stay with the batch.
 */
static void batch_fill(struct batch *batch, struct outbox *outbox)
{
    batch->count = batch->iov_count = 0;
    batch->scratch_used = batch->bytes = 0;
    if (outbox->current)
        batch_add(batch, outbox->current, outbox->current_sent);
    while (outbox->lanes && outbox->lanes->occupied && batch_has_room(batch)) {
        struct frame *frame = take_first(outbox->lanes);
        batch_add(batch, frame->msg, 0);
        frame_drop(frame);
    }
}

static void count_sent(struct outbox_sent *sent, const struct msg *msg)
{
    if (msg->kind == MSG_SIGNAL || msg->kind == MSG_MAIL)
        sent->messages++;
    else if (msg->opcode == OUTBOX_RAW)
        sent->answers += msg->frames;
    else if (msg->opcode == WS_TEXT)
        sent->answers++;
}

/* Settles the batch after `written` bytes have left: what left whole is done with, the one that
 * left in part becomes current, the rest goes back where it was. */
static void batch_settle(struct batch *batch, struct outbox *outbox, size_t written,
                         struct outbox_sent *sent)
{
    uint32_t skip = outbox->current ? outbox->current_sent : 0;
    unsigned done = 0;

    sent->bytes += written;
    outbox->current = NULL;
    outbox->current_sent = 0;
    while (done < batch->count && written >= frame_bytes(batch->msgs[done]) - skip) {
        struct msg *msg = batch->msgs[done++];
        written -= frame_bytes(msg) - skip;
        skip = 0;
        count(outbox, msg, -1);
        count_sent(sent, msg);
        msg_unref(msg);
    }
    if (done < batch->count && (written || skip)) {
        outbox->current = batch->msgs[done++];
        outbox->current_sent = skip + (uint32_t)written;
    }
    for (unsigned i = batch->count; i-- > done;) {
        struct frame *frame =
            frame_new(batch->msgs[i]); /* from the pool: it was dropped there just now */
        if (!frame)
            abort();
        msg_unref(batch->msgs[i]);
        put_back(outbox->lanes, frame);
    }
}

static ssize_t batch_send(struct batch *batch, int fd)
{
    struct msghdr header = { .msg_iov = batch->iov, .msg_iovlen = batch->iov_count };
    ssize_t written;

    do /* one piece is the usual case, and cheaper without a list */
        written = batch->iov_count == 1
                      ? send(fd, batch->iov[0].iov_base, batch->iov[0].iov_len, MSG_NOSIGNAL)
                      : sendmsg(fd, &header, MSG_NOSIGNAL);
    while (written < 0 && errno == EINTR);
    return written;
}

enum outbox_result outbox_flush(struct outbox *outbox, int fd, struct outbox_sent *sent)
{
    static struct batch batch;
    uint64_t before = sent->bytes;

    while (outbox->bytes) {
        ssize_t written;

        batch_fill(&batch, outbox);
        written = batch_send(&batch, fd);
        batch_settle(&batch, outbox, written < 0 ? 0 : (size_t)written, sent);
        if (written < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? OUTBOX_BLOCKED : OUTBOX_BROKEN;
        if ((size_t)written < batch.bytes)
            return OUTBOX_BLOCKED;
        if (outbox->bytes && sent->bytes - before >= FAIR_SHARE)
            return OUTBOX_MORE;
    }
    if (outbox->lanes) {
        lanes_drop(outbox->lanes);
        outbox->lanes = NULL;
    }
    return OUTBOX_EMPTY;
}
