/*
 * A worker's rings: frames to other workers are written at once, or as soon as their ring has room;
 * frames from other workers are taken at the end of a turn.
 *
 * Both sides ring: the writer after it has put records, the reader after it has made room for a
 * writer that wants some. A writer that wants room says so first and tries once more after, at the
 * end of the turn, so no moment lies between the two in which the reader could miss the wish.
 *
 * Memory that another worker writes is not trusted: a record is copied out before any byte is
 * decoded, and the ring's room is free again before the frame is delivered. The relay knows neither
 * sessions nor Redis.
 */
#include "worker/reach/relay.h"

#include "common/log.h"
#include "shm/ring.h"
#include "shm/slots.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RECORDS_A_TURN = 256,
    RECORDS_A_RING = 32,      /* then the next ring has its turn */
    CATCH_UP_RECORDS = 32768, /* more than the rings usually hold */
    WAITING_KICKS_MAX = 65536,
};

/* A frame that waits for room in a ring. */
struct waiting_frame {
    struct waiting_frame *next;
    uint64_t incarnation; /* of the reader */
    uint32_t len;
    bool is_kick;
    char bytes[];
};

/* The frames that wait for one reader, oldest first. */
struct waiting_row {
    struct waiting_frame *first, *last;
    uint64_t bytes; /* of messages, not of kicks */
};

struct relay {
    struct loop *loop;
    struct region *region;
    struct stats_row *stats;
    struct bus_events events;
    struct loop_watch doorbell;
    uint32_t slot;
    uint32_t next_from; /* the slot whose ring is read first */
    bool looking;       /* a ring may hold records */
    uint64_t to_ring;   /* bit w: worker w is to be rung at the end of this turn */
    struct buf frame;   /* of the record that is being written; kept for reuse */

    uint64_t waiting; /* bit w: rows[w] is not empty */
    uint64_t wait_bytes, wait_bytes_max;
    uint32_t waiting_kicks;
    struct waiting_row rows[WORKERS_MAX];

    struct slice recipients[BUS_RECIPIENTS_MAX]; /* of the record that is being delivered */
    struct bus_position positions[BUS_RECIPIENTS_MAX];
    char record[RING_RECORD_MAX];
};

/* --- frames that wait for room --- */

static uint64_t frame_cost(const struct waiting_frame *frame)
{
    return frame->is_kick ? 0 : sizeof *frame + frame->len;
}

static bool row_has_room(const struct relay *relay, uint32_t slot, const struct waiting_frame *like)
{
    uint64_t cost = frame_cost(like);

    if (like->is_kick)
        return relay->waiting_kicks < WAITING_KICKS_MAX;
    return relay->wait_bytes + cost <= relay->wait_bytes_max &&
           relay->rows[slot].bytes + cost <= relay->wait_bytes_max / 2;
}

/* Puts relay->frame behind what waits for the slot. ERR_FULL; ERR_NOMEM. */
static enum err row_append(struct relay *relay, uint32_t slot, const struct waiting_frame *like)
{
    struct waiting_row *row = &relay->rows[slot];
    struct waiting_frame *frame;

    if (!row_has_room(relay, slot, like))
        return ERR_FULL;
    frame = malloc(sizeof *frame + like->len);
    if (!frame)
        return ERR_NOMEM;
    *frame = *like;
    memcpy(frame->bytes, relay->frame.data, like->len);
    if (row->last)
        row->last->next = frame;
    else
        row->first = frame;
    row->last = frame;
    row->bytes += frame_cost(frame);
    relay->wait_bytes += frame_cost(frame);
    relay->waiting_kicks += frame->is_kick;
    if (!(relay->waiting >> slot & 1))
        ring_want_room(relay->region, relay->slot, slot, true); /* relay_flush tries once more */
    relay->waiting |= (uint64_t)1 << slot;
    if (!frame->is_kick)
        stats_add(relay->stats, STAT_ring_waited, 1);
    return OK;
}

static struct waiting_frame *row_take_first(struct relay *relay, uint32_t slot)
{
    struct waiting_row *row = &relay->rows[slot];
    struct waiting_frame *frame = row->first;

    row->first = frame->next;
    row->bytes -= frame_cost(frame);
    relay->wait_bytes -= frame_cost(frame);
    relay->waiting_kicks -= frame->is_kick;
    if (!row->first) {
        row->last = NULL;
        relay->waiting &= ~((uint64_t)1 << slot);
        ring_want_room(relay->region, relay->slot, slot, false);
    }
    return frame;
}

static void count_put(struct relay *relay, bool is_kick)
{
    stats_add(relay->stats, is_kick ? STAT_kicks_sent : STAT_relayed, 1);
}

/* The first frame of the row has gone into the ring, or its reader or this relay has ended. */
static void row_settle_first(struct relay *relay, uint32_t slot, bool is_put)
{
    struct waiting_frame *frame = row_take_first(relay, slot);

    if (is_put)
        count_put(relay, frame->is_kick);
    else if (!frame->is_kick)
        stats_add(relay->stats, STAT_ring_dropped, 1);
    free(frame);
}

static void row_send(struct relay *relay, uint32_t slot)
{
    const struct waiting_frame *frame;

    while ((frame = relay->rows[slot].first)) {
        enum err err = ring_put(relay->region, relay->slot, slot, frame->incarnation,
                                slice_make(frame->bytes, frame->len));
        if (err == ERR_FULL)
            return; /* the reader rings when the reader has made room */
        if (!err)
            relay->to_ring |= (uint64_t)1 << slot;
        row_settle_first(relay, slot, err == OK);
    }
}

/* --- out --- */

/* Puts the frame into the ring, or behind what waits for the ring already. ERR_FULL: neither has
 * room, or the frame is too large. ERR_DOWN: the incarnation has ended. ERR_NOMEM. */
static enum err put_frame(struct relay *relay, uint32_t slot, uint64_t incarnation,
                          const struct bus_frame *frame)
{
    struct waiting_frame like = { .incarnation = incarnation, .is_kick = frame->kind == BUS_KICK };
    enum err err;

    if (slot >= WORKERS_MAX || incarnation == 0)
        return ERR_DOWN;
    buf_reset(&relay->frame);
    err = bus_encode(&relay->frame, frame);
    if (err)
        return err;
    like.len = (uint32_t)relay->frame.len;
    if (relay->waiting >> slot & 1 && relay->rows[slot].first->incarnation != incarnation)
        row_send(relay, slot); /* drops what waits for a predecessor */
    if (relay->waiting >> slot & 1)
        err = slot_incarnation(relay->region, slot) == incarnation ? ERR_FULL : ERR_DOWN;
    else
        err = ring_put(relay->region, relay->slot, slot, incarnation, buf_slice(&relay->frame));
    if (!err || err == ERR_FULL) /* full: a damaged ring is mended by its reader */
        relay->to_ring |= (uint64_t)1 << slot;
    if (err == ERR_FULL)
        return row_append(relay, slot, &like);
    if (!err)
        count_put(relay, like.is_kick);
    return err;
}

void relay_set_wait_bytes(struct relay *relay, uint64_t bytes)
{
    relay->wait_bytes_max = bytes;
}

bool relay_waits(const struct relay *relay, uint32_t slot)
{
    return slot < WORKERS_MAX && relay->waiting >> slot & 1;
}

enum err relay_publish(struct relay *relay, uint32_t slot, const struct slice *recipients,
                       size_t recipient_count, const struct msg *msg)
{
    struct bus_frame frame = {
        .kind = BUS_DELIVER,
        .level = msg->level,
        .msg_kind = msg->kind,
        .recipients = recipients,
        .recipient_count = recipient_count,
        .body = msg_slice(msg),
    };
    enum err err;

    if (slot >= WORKERS_MAX)
        return ERR_DOWN;
    err = put_frame(relay, slot, slot_incarnation(relay->region, slot), &frame);
    if (err == ERR_FULL || err == ERR_NOMEM)
        stats_add(relay->stats, STAT_ring_full, 1);
    return err;
}

bool relay_can_carry(const struct slice *recipients, size_t recipient_count, const struct msg *msg)
{
    enum { HEAD_BYTES = 16 }; /* more than a frame has beside addresses and body (bus_frame.c) */
    size_t len = HEAD_BYTES + msg_slice(msg).len;

    for (size_t i = 0; i < recipient_count; i++)
        len += 1 + recipients[i].len;
    return len <= RING_RECORD_MAX;
}

enum err relay_kick(struct relay *relay, uint32_t slot, uint64_t incarnation,
                    uint64_t session_number, uint16_t close_code)
{
    struct bus_frame frame = { .kind = BUS_KICK,
                               .session_number = session_number,
                               .close_code = close_code };
    enum err err = put_frame(relay, slot, incarnation, &frame);

    return err == ERR_FULL ? ERR_NOMEM : err;
}

enum err relay_send(struct relay *relay, uint32_t slot, uint64_t incarnation,
                    const struct bus_frame *frame)
{
    return put_frame(relay, slot, incarnation, frame);
}

/* --- in --- */

static unsigned take_from_ring(struct relay *relay, uint32_t from, unsigned limit)
{
    unsigned taken = 0;
    struct slice record;

    for (; taken < limit && ring_peek(relay->region, from, relay->slot, &record); taken++) {
        memcpy(relay->record, record.data, record.len);
        record = slice_make(relay->record, record.len);
        ring_drop(relay->region, from, relay->slot);
        stats_add(relay->stats, STAT_relay_in, 1);
        if (bus_dispatch(record, relay->recipients, relay->positions, &relay->events))
            stats_add(relay->stats, STAT_bus_bad, 1);
    }
    /* Also when nothing was taken: a damaged ring has been emptied. */
    if (ring_room_wanted(relay->region, from, relay->slot))
        relay->to_ring |= (uint64_t)1 << from;
    return taken;
}

/* Reads the rings by turns, at most `limit` records. Returns whether a ring may hold more. */
static bool take_records(struct relay *relay, unsigned limit)
{
    uint64_t waiting = rings_waiting(relay->region, relay->slot);

    while (waiting && limit) {
        uint64_t ahead = waiting & ~(uint64_t)0 << relay->next_from;
        uint32_t from = (uint32_t)__builtin_ctzll(ahead ? ahead : waiting);
        unsigned share = limit < RECORDS_A_RING ? limit : RECORDS_A_RING;
        unsigned taken = take_from_ring(relay, from, share);

        limit -= taken;
        if (taken < share) /* the ring is empty; its writer rings for the next record */
            waiting &= ~((uint64_t)1 << from);
        relay->next_from = (from + 1) % WORKERS_MAX;
    }
    return waiting != 0;
}

static void on_ring_doorbell(void *arg, int fd, unsigned events)
{
    struct relay *relay = arg;
    uint64_t rung;

    (void)events;
    /* Read before the rings are: a record that comes after they were read rings again. */
    if (read(fd, &rung, sizeof rung) == (ssize_t)sizeof rung)
        relay->looking = true;
}

void relay_catch_up(struct relay *relay)
{
    if (take_records(relay, CATCH_UP_RECORDS))
        relay->looking = true;
}

void relay_flush(struct relay *relay)
{
    if (relay->looking)
        relay->looking = take_records(relay, RECORDS_A_TURN);
    if (relay->looking)
        loop_again(relay->loop);
    for (uint64_t left = relay->waiting; left; left &= left - 1)
        row_send(relay, (uint32_t)__builtin_ctzll(left));
    for (; relay->to_ring; relay->to_ring &= relay->to_ring - 1)
        ring_ring(relay->region, (uint32_t)__builtin_ctzll(relay->to_ring));
}

/* --- making it --- */

struct relay *relay_new(struct loop *loop, struct region *region, struct stats_row *stats,
                        uint32_t slot, const struct bus_events *events)
{
    struct relay *relay = calloc(1, sizeof *relay);

    if (!relay)
        return NULL;
    relay->loop = loop;
    relay->region = region;
    relay->stats = stats;
    relay->slot = slot;
    relay->events = *events;
    relay->looking = true; /* a predecessor in this slot may have read the doorbell and died */
    buf_init(&relay->frame, RING_RECORD_MAX);
    if (loop_watch(loop, &relay->doorbell, ring_doorbell(region, slot), LOOP_READ, on_ring_doorbell,
                   relay)) {
        free(relay);
        return NULL;
    }
    return relay;
}

void relay_free(struct relay *relay)
{
    if (!relay)
        return;
    loop_unwatch(&relay->doorbell);
    while (relay->waiting)
        row_settle_first(relay, (uint32_t)__builtin_ctzll(relay->waiting), false);
    buf_fini(&relay->frame);
    free(relay);
}
