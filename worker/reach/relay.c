/*
 * A worker's rings: frames to other workers are written at once, frames from them are taken at the
 * end of a turn.
 *
 * Memory that another worker writes is not trusted: a record is copied out before any byte is
 * decoded, and the ring's room is free again before the frame is delivered. The relay knows neither
 * sessions nor Redis.
 */
#include "worker/reach/relay.h"

#include "common/grow.h"
#include "common/log.h"
#include "shm/ring.h"
#include "shm/slots.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RECORDS_A_TURN = 256,
    RECORDS_A_RING = 32,     /* then the next ring has its turn */
    CATCH_UP_RECORDS = 8192, /* more than the rings usually hold */
    LATE_KICKS_MAX = 65536,
};

/* A kick that waits for room in a ring. */
struct late_kick {
    uint32_t slot;
    uint16_t close_code;
    uint64_t incarnation, session_number;
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
    uint64_t to_ring;   /* bit w: the ring to slot w was written to in this turn */
    struct buf frame;   /* of the record that is being written; kept for reuse */
    struct late_kick *late_kicks;
    uint32_t late_count, late_size;
    struct slice recipients[BUS_RECIPIENTS_MAX]; /* of the record that is being delivered */
    struct bus_position positions[BUS_RECIPIENTS_MAX];
    char record[RING_RECORD_MAX];
};

/* --- out --- */

static enum err put_frame(struct relay *relay, uint32_t slot, uint64_t incarnation,
                          const struct bus_frame *frame)
{
    enum err err;

    if (slot >= WORKERS_MAX || incarnation == 0)
        return ERR_DOWN;
    buf_reset(&relay->frame);
    err = bus_encode(&relay->frame, frame);
    if (!err)
        err = ring_put(relay->region, relay->slot, slot, incarnation, buf_slice(&relay->frame));
    if (!err || err == ERR_FULL)
        relay->to_ring |= (uint64_t)1 << slot;
    return err;
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
    if (!err)
        stats_add(relay->stats, STAT_relayed, 1);
    else if (err == ERR_FULL)
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

/* --- kicks --- */

static enum err put_kick(struct relay *relay, const struct late_kick *kick)
{
    struct bus_frame frame = { .kind = BUS_KICK,
                               .session_number = kick->session_number,
                               .close_code = kick->close_code };
    enum err err = put_frame(relay, kick->slot, kick->incarnation, &frame);

    if (!err)
        stats_add(relay->stats, STAT_kicks_sent, 1);
    return err;
}

static enum err keep_kick(struct relay *relay, const struct late_kick *kick)
{
    if (grow_reserve(&relay->late_kicks, &relay->late_size, relay->late_count + 1, 64,
                     LATE_KICKS_MAX))
        return ERR_NOMEM;
    relay->late_kicks[relay->late_count++] = *kick;
    return OK;
}

enum err relay_kick(struct relay *relay, uint32_t slot, uint64_t incarnation,
                    uint64_t session_number, uint16_t close_code)
{
    struct late_kick kick = { .slot = slot,
                              .close_code = close_code,
                              .incarnation = incarnation,
                              .session_number = session_number };
    enum err err = put_kick(relay, &kick);

    return err == ERR_FULL ? keep_kick(relay, &kick) : err;
}

static void send_late_kicks(struct relay *relay)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < relay->late_count; i++) {
        struct late_kick kick = relay->late_kicks[i];
        if (put_kick(relay, &kick) == ERR_FULL)
            relay->late_kicks[kept++] = kick;
    }
    relay->late_count = kept;
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
    if (relay->late_count)
        send_late_kicks(relay);
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
    buf_fini(&relay->frame);
    free(relay->late_kicks);
    free(relay);
}
