#include "master/supervisor.h"

static uint32_t next_backoff(uint32_t backoff_ms, bool fatal)
{
    uint32_t next = backoff_ms ? backoff_ms * 2 : BACKOFF_MIN_MS;

    if (fatal && next < BACKOFF_FATAL_MS)
        next = BACKOFF_FATAL_MS;
    return next < BACKOFF_MAX_MS ? next : BACKOFF_MAX_MS;
}

struct exit_decision supervisor_decide(const struct exit_report *report)
{
    struct exit_decision decision = { .restart = !report->asked, .backoff_ms = report->backoff_ms };

    if (report->asked)
        return decision;
    if (report->life_ms >= LIFE_GOOD_MS)
        decision.backoff_ms = 0;
    if (report->life_ms >= LIFE_SHORT_MS && !report->fatal)
        return decision;
    decision.backoff_ms = next_backoff(decision.backoff_ms, report->fatal);
    decision.delay_ms = decision.backoff_ms;
    return decision;
}

static bool counts(const struct seat_view *seat)
{
    return !seat->leaving && seat->state != SEAT_EMPTY && seat->state != SEAT_DRAINING;
}

void supervisor_balance(const struct seat_view *seats, size_t count, uint32_t wanted,
                        enum seat_action *actions)
{
    size_t have = 0;

    for (size_t i = 0; i < count; i++) {
        actions[i] = SEAT_KEEP;
        have += counts(&seats[i]);
    }
    for (size_t i = 0; i < count && have < wanted; i++)
        if (seats[i].state == SEAT_EMPTY) {
            actions[i] = SEAT_OPEN;
            have++;
        }
    for (size_t i = count; i-- > 0 && have > wanted;)
        if (counts(&seats[i])) {
            actions[i] = SEAT_LEAVE;
            have--;
        }
}

bool supervisor_may_leave(enum seat_state replacement, uint64_t waited_ms)
{
    switch (replacement) {
    case SEAT_WAITING:
        return false;
    case SEAT_STARTING:
        return waited_ms >= REPLACE_WAIT_MS;
    default: /* the replacement serves; or has itself left, and nothing replaces the old worker any
                more */
        return true;
    }
}

enum watchdog_action supervisor_watch(const struct pulse *pulse)
{
    uint64_t heard_ms = pulse->beat_ms > pulse->since_ms ? pulse->beat_ms : pulse->since_ms;

    if (pulse->aborted_ms)
        return pulse->now_ms - pulse->aborted_ms >= ABORT_GRACE_MS ? WATCHDOG_KILL : WATCHDOG_FINE;
    /* A beat later than now_ms came after the clock was read. */
    if (!pulse->limit_ms || heard_ms >= pulse->now_ms)
        return WATCHDOG_FINE;
    return pulse->now_ms - heard_ms > pulse->limit_ms ? WATCHDOG_ABORT : WATCHDOG_FINE;
}
