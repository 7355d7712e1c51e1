#include "worker/entrance/turnstile.h"

#include "common/clock.h"

enum {
    SHARE_NS = 250000,       /* of a turn, for visitors */
    ACCEPT_SHARE_NS = 40000, /* of these, for accepting: visitors inside go on first */
    CROWD_MAX = 64,          /* places in the rows that keep the door shut */
    PAUSE_PART = 3,          /* the pause after a dear step is this part of its time */
};

void turnstile_init(struct turnstile *turnstile)
{
    *turnstile = (struct turnstile){ 0 };
    TAILQ_INIT(&turnstile->rows[false]);
    TAILQ_INIT(&turnstile->rows[true]);
}

void turnstile_enter(struct turnstile *turnstile, struct turnstile_place *place)
{
    if (place->waits)
        return;
    place->waits = true;
    place->stayed = false;
    TAILQ_INSERT_TAIL(&turnstile->rows[place->dear], place, entry);
    turnstile->count++;
}

void turnstile_leave(struct turnstile *turnstile, struct turnstile_place *place)
{
    if (!place->waits)
        return;
    place->waits = false;
    TAILQ_REMOVE(&turnstile->rows[place->dear], place, entry);
    turnstile->count--;
}

/* The last step is over: learns what a dear step costs. */
static void note_step(struct turnstile *turnstile, uint64_t now_ns)
{
    uint64_t cost_ns = now_ns - turnstile->step_ns;

    if (!turnstile->dear)
        return;
    turnstile->dear = false;
    turnstile->dear_ns += cost_ns / 8 - turnstile->dear_ns / 8;
    turnstile->pause_ns = now_ns + cost_ns / PAUSE_PART;
}

/* Whether a step may begin in this turn; the first step always may. */
static bool fits(const struct turnstile *turnstile, bool dear, uint64_t now_ns)
{
    uint64_t spent_ns = turnstile->spent_ns + now_ns - turnstile->since_ns;

    return turnstile->since_ns == 0 || spent_ns + (dear ? turnstile->dear_ns : 0) < SHARE_NS;
}

/* The pause after a dear step leaves the steps of the other row at least one turn. */
static struct turnstile_place *choose(const struct turnstile *turnstile, uint64_t now_ns)
{
    struct turnstile_place *cheap = TAILQ_FIRST(&turnstile->rows[false]),
                           *dear = TAILQ_FIRST(&turnstile->rows[true]);

    if (dear && now_ns >= turnstile->pause_ns && fits(turnstile, true, now_ns))
        return dear;
    return cheap && fits(turnstile, false, now_ns) ? cheap : NULL;
}

struct turnstile_place *turnstile_next(struct turnstile *turnstile)
{
    struct turnstile_place *place;
    uint64_t now_ns;

    if (turnstile->count == 0 && !turnstile->dear)
        return NULL;
    now_ns = clock_monotonic_ns();
    note_step(turnstile, now_ns);
    place = choose(turnstile, now_ns);
    if (!place)
        return NULL;
    if (turnstile->since_ns == 0)
        turnstile->since_ns = now_ns;
    turnstile->step_ns = now_ns;
    turnstile->dear = place->dear;
    turnstile_leave(turnstile, place);
    return place;
}

void turnstile_settle(struct turnstile *turnstile, void (*stays)(struct turnstile_place *place))
{
    for (unsigned i = 0; i < 2; i++) {
        struct turnstile_place *place = TAILQ_LAST(&turnstile->rows[i], turnstile_row), *before;
        /* The newest places stand last: all places before one that has stayed have stayed too. */
        for (; place && !place->stayed; place = before) {
            before = TAILQ_PREV(place, turnstile_row, entry);
            place->stayed = true;
            stays(place);
        }
    }
    turnstile->spent_ns = turnstile->since_ns = 0;
}

bool turnstile_admits(const struct turnstile *turnstile)
{
    return turnstile->count < CROWD_MAX && turnstile->spent_ns < ACCEPT_SHARE_NS;
}
