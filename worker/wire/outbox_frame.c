/*
 * Frames of the outbox at rest: pools, lanes, and the position in front of a stored message.
 */
#include "worker/wire/outbox_parts.h"

#include <assert.h>
#include <string.h>

struct frame *outbox_frame_pool;
unsigned outbox_frame_pool_count;
static struct outbox_lanes *lanes_pool[64];
static unsigned lanes_pool_count;

struct outbox_lanes *outbox_lanes_new(void)
{
    struct outbox_lanes *lanes;

    if (lanes_pool_count)
        return lanes_pool[--lanes_pool_count];
    lanes = calloc(1, sizeof *lanes);
    return lanes;
}

void outbox_lanes_drop(struct outbox_lanes *lanes)
{
    assert(lanes->occupied == 0 && !lanes->pong && lanes->pong_count == 0 && !lanes->run);
    if (lanes_pool_count < sizeof lanes_pool / sizeof lanes_pool[0])
        lanes_pool[lanes_pool_count++] = lanes;
    else
        free(lanes);
}

void outbox_put_back(struct outbox_lanes *lanes, struct frame *frame)
{
    bool in_order = frame->msg->form == MSG_FORM_IN_ORDER;
    unsigned lane = in_order ? OUTBOX_LANE_IN_ORDER : outbox_lane_of(frame->msg);

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

/* ---- {"seq":"MS-N","log":"NAME", ---- */

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

uint16_t outbox_position_len(const struct outbox_position *position)
{
    unsigned len =
        (unsigned)sizeof "{\"seq\":\"-\"," - 1 + digits_of(position->ms) + digits_of(position->n);

    return (uint16_t)(len + (position->log ? position->log->len : 0));
}

uint8_t *outbox_write_position(uint8_t *to, const struct outbox_position *position)
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
