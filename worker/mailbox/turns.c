#include "worker/mailbox/turns.h"

#include "worker/mailbox/row.h"

static struct lane *lane_of(struct turns *turns, const struct op *op)
{
    assert(op->lane >= 1 && op->lane <= TURNS_LANES);
    return &turns->lanes[op->lane - 1];
}

void turns_init(struct turns *turns)
{
    TAILQ_INIT(&turns->open);
}

/* ---- which lanes may go on ---- */

static void lane_open(struct turns *turns, struct lane *lane)
{
    if (lane->is_open || lane->waiting_cost == 0 || lane->row_cost >= TURNS_SHARE)
        return;
    lane->is_open = true;
    TAILQ_INSERT_TAIL(&turns->open, lane, link);
}

static void lane_close(struct turns *turns, struct lane *lane)
{
    if (!lane->is_open)
        return;
    lane->is_open = false;
    lane->credit = 0;
    TAILQ_REMOVE(&turns->open, lane, link);
}

/* ---- in the row ---- */

void turns_enter(struct turns *turns, struct op *op)
{
    lane_of(turns, op)->row_cost += op->cost;
    turns->row_cost += op->cost;
    op->is_charged = true;
}

void turns_leave(struct turns *turns, struct op *op)
{
    struct lane *lane;

    if (!op->is_charged)
        return;
    op->is_charged = false;
    lane = lane_of(turns, op);
    assert(lane->row_cost >= op->cost && turns->row_cost >= op->cost);
    lane->row_cost -= op->cost;
    turns->row_cost -= op->cost;
    lane_open(turns, lane);
}

/* ---- waiting ---- */

void turns_wait(struct turns *turns, struct op *op)
{
    struct lane *lane = lane_of(turns, op);

    if (lane->waiting_cost == 0)
        TAILQ_INIT(&lane->waiting);
    TAILQ_INSERT_TAIL(&lane->waiting, op, link);
    lane->waiting_cost += op->cost;
    lane->is_long |= lane->waiting_cost >= TURNS_LONG;
    turns->count++;
    lane_open(turns, lane);
}

void turns_remove(struct turns *turns, struct op *op)
{
    struct lane *lane = lane_of(turns, op);

    assert(turns->count > 0 && lane->waiting_cost >= op->cost);
    TAILQ_REMOVE(&lane->waiting, op, link);
    turns->count--;
    lane->waiting_cost -= op->cost;
    if (lane->is_long && lane->waiting_cost <= TURNS_LONG / 2) {
        lane->is_long = false;
        turns->drained = true;
    }
    if (lane->waiting_cost == 0)
        lane_close(turns, lane);
}

/* ---- taking turns ---- */

/* The lane that stands first keeps its turn while its credit lasts. */
static void next_lane(struct turns *turns, struct lane *lane)
{
    lane->credit += TURNS_QUANTUM;
    TAILQ_REMOVE(&turns->open, lane, link);
    TAILQ_INSERT_TAIL(&turns->open, lane, link);
}

struct op *turns_next(struct turns *turns)
{
    struct lane *lane;

    while (turns->row_cost < TURNS_ROW_COST && (lane = TAILQ_FIRST(&turns->open))) {
        struct op *op = TAILQ_FIRST(&lane->waiting);
        if (lane->row_cost >= TURNS_SHARE) {
            lane_close(turns, lane);
        } else if (lane->credit < op->cost) {
            next_lane(turns, lane);
        } else {
            lane->credit -= op->cost;
            turns_remove(turns, op);
            return op;
        }
    }
    return NULL;
}

struct op *turns_first(const struct turns *turns, uint16_t lane)
{
    const struct lane *its = &turns->lanes[lane - 1];

    return its->waiting_cost ? TAILQ_FIRST(&its->waiting) : NULL;
}

/* ---- pausing senders ---- */

bool turns_is_long(const struct turns *turns, uint16_t lane)
{
    return turns->lanes[lane - 1].is_long;
}

bool turns_take_drained(struct turns *turns)
{
    bool drained = turns->drained;

    turns->drained = false;
    return drained;
}
