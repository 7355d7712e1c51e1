/*
 * Frames of the outbox on their way out: as many as leave in one sendmsg are gathered, written, and
 * settled by how many bytes the socket has taken.
 */
#include "worker/wire/outbox_parts.h"

#include "worker/wire/stream.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

enum {
    BATCH_FRAMES = 256, /* frames of one sendmsg */
    COPY_MAX = 2048,    /* a payload up to this size is cheaper copied than named in an iovec */
    SCRATCH_SIZE = 64 * 1024,
    FAIR_SHARE = 512 * 1024, /* bytes a connection may write in one turn */
};

/* The bytes of small frames on their way out. One buffer for all outboxes of the worker, which is
 * one thread. */
static uint8_t scratch[SCRATCH_SIZE];

enum {
    OUTBOX_POSITION_MAX = sizeof "{\"seq\":\"18446744073709551615-18446744073709551615\"," - 1 +
                          OUTBOX_LOG_MAX + DEFLATE_STORED_HEAD
};

/* The head of a stored block that holds `len` bytes: no final block, type 0, the length and its
 * complement (RFC 1951 3.2.4). */
static uint8_t *outbox_write_stored_head(uint8_t *to, uint16_t len)
{
    const uint8_t head[DEFLATE_STORED_HEAD] = { 0, (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)~len,
                                                (uint8_t)(~len >> 8) };

    memcpy(to, head, sizeof head);
    return to + sizeof head;
}

/* Writes the frame's head and position, which come before the message's data. */
static inline uint8_t *write_frame_head(uint8_t *to, const struct frame *frame)
{
    if (frame->msg->opcode != OUTBOX_RAW)
        to += ws_encode_head(to, frame->msg->opcode, outbox_payload_len(frame));
    if (!frame->position_len)
        return to;
    if (outbox_is_compressed(frame->msg))
        to = outbox_write_stored_head(to, (uint16_t)(frame->position_len - DEFLATE_STORED_HEAD));
    return outbox_write_position(to, &frame->position);
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
    uint8_t head[WS_HEAD_MAX + OUTBOX_POSITION_MAX], *to = scratch + batch->scratch_used;
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
    batch->bytes += outbox_frame_bytes(frame) - skip;
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
           batch->scratch_used + COPY_MAX + WS_HEAD_MAX + OUTBOX_POSITION_MAX <= SCRATCH_SIZE;
}

/* The frame is on its way out: what the owner wants to leave instead takes its place. A frame that
 * does not leave now, after all, waits in OUTBOX_LANE_IN_ORDER. */
static void pack_frame(struct outbox *outbox, struct frame *frame, const struct outbox_sent *sent)
{
    uint8_t position[OUTBOX_POSITION_MAX];
    uint8_t *end = frame->skip ? outbox_write_position(position, &frame->position) : position;
    struct msg *packed;

    if (frame->msg->form == MSG_FORM_IN_ORDER || frame->msg->opcode == OUTBOX_RAW)
        return;
    packed = sent->pack(sent->arg, frame->msg, slice_make(position, (size_t)(end - position)));
    if (!packed)
        return;
    assert(packed->form == MSG_FORM_IN_ORDER);
    outbox_count(outbox, frame, -1);
    msg_unref(frame->msg);
    frame->msg = packed;
    frame->position_len = 0;
    frame->skip = 0;
    outbox_count(outbox, frame, +1);
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
        frame = outbox_take_first(outbox->lanes);
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
    while (done < batch->count && written >= outbox_frame_bytes(batch->frames[done]) - skip) {
        struct frame *frame = batch->frames[done++];
        written -= outbox_frame_bytes(frame) - skip;
        skip = 0;
        outbox_count(outbox, frame, -1);
        tell_sent(sent, frame);
        outbox_frame_drop(frame);
    }
    if (done < batch->count && (written || skip)) {
        outbox->current = batch->frames[done++];
        outbox->current_sent = skip + (uint32_t)written;
    }
    for (unsigned i = batch->count; i-- > done;)
        outbox_put_back(outbox->lanes, batch->frames[i]);
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
        outbox_lanes_drop(outbox->lanes);
        outbox->lanes = NULL;
    }
    return OUTBOX_EMPTY;
}
