/*
 * Turns: letters that wait before the row, so that nobody's letter waits for a neighbour's pile.
 *
 * Letters stand in lanes, by the address of their sender. A lane has only a share of Redis's time
 * in the row; what a sender puts beyond the share waits in its lane, where the order of each
 * sender's letters is kept. As Redis answers, lanes take turns: deficit round robin by cost. A
 * letter's cost is its bytes and what Redis's work on any letter is worth in bytes.
 *
 * There is a fixed number of lanes, and a keyed hash of the address chooses: two senders may share
 * a lane, and nobody can aim at a neighbour's. Most letters meet an empty lane and never wait.
 *
 * An op that waits was never sent. The turns neither send nor free: row.c is the one caller.
 */
#ifndef WORKER_TURNS_H
#define WORKER_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
    TURNS_LANES = 1024,
    /* Redis works some 20 to 30 microseconds on a small letter, and as long on copying so many
     * bytes. */
    TURNS_LETTER_COST = 16 << 10,
    /* Of a lane in the row: some 20 small letters, half a millisecond of Redis. A sender with up to
     * 16 messages under way does not wait. */
    TURNS_SHARE = 320 << 10,
    /* Of all lanes in the row, some 1,900 small letters: past this the lanes take turns even within
     * their shares. A turn is a whole share, because neighbouring letters for one mailbox cost
     * Redis much less than as many for several. */
    TURNS_ROW_COST = 32 << 20,
    TURNS_QUANTUM = TURNS_SHARE,
    /* So much waits in a lane that its senders are not read from; half of this: they are again. */
    TURNS_LONG = 4 << 20,
};

struct op;
TAILQ_HEAD(op_list, op);

struct lane {
    TAILQ_ENTRY(lane) link; /* in turns->open */
    struct op_list waiting; /* made with the first op that waits */
    size_t waiting_cost, row_cost;
    size_t credit; /* of the deficit round robin */
    bool is_open;  /* in turns->open: letters wait, and the share has room */
    bool is_long;
};
TAILQ_HEAD(lane_list, lane);

struct turns {
    struct lane lanes[TURNS_LANES];
    struct lane_list open;
    size_t count;    /* of ops that wait */
    size_t row_cost; /* of all lanes */
    bool drained;    /* a lane that was long is short again: turns_take_drained */
};

void turns_init(struct turns *turns);
/* The lane of an address, by its keyed hash; never 0, which is no lane. */
static inline uint16_t turns_lane(uint64_t key)
{
    return (uint16_t)(1 + key % TURNS_LANES);
}
/* May an op of this lane go into the row at once? Not while another lane may go on: that lane has
 * waited longer. */
static inline bool turns_admit(const struct turns *turns, uint16_t lane)
{
    return TAILQ_EMPTY(&turns->open) && turns->lanes[lane - 1].row_cost < TURNS_SHARE &&
           turns->row_cost < TURNS_ROW_COST;
}
/* The op goes into the row. */
void turns_enter(struct turns *turns, struct op *op);
/* Redis has answered the op, or the op leaves the row: its cost is the lane's again. A second call
 * changes nothing. */
void turns_leave(struct turns *turns, struct op *op);
/* The op waits, at the end of its lane. */
void turns_wait(struct turns *turns, struct op *op);
/* Takes an op that waits out of its lane. */
void turns_remove(struct turns *turns, struct op *op);
/* Takes the op whose turn it is to go into the row; NULL: none may. */
struct op *turns_next(struct turns *turns);
/* The oldest op of a lane, linked to the next one; NULL: none waits. */
struct op *turns_first(const struct turns *turns, uint16_t lane);

bool turns_is_long(const struct turns *turns, uint16_t lane);
/* True once after a lane that was long has become short. */
bool turns_take_drained(struct turns *turns);

#endif
