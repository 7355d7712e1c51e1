#include "worker/session/inflation.h"

#include "worker/session/allowance.h"

static void wake_at(struct office *office, uint64_t wait_ms)
{
    uint64_t at_ms = loop_now_ms(office->loop) + wait_ms;

    if (at_ms < office->inflation_wake_ms)
        office->inflation_wake_ms = at_ms;
}

/* Stops reading from the session when its address must wait. */
static void hold_in_debt(struct session *session)
{
    struct office *office = session->office;
    uint32_t wait_ms = allowance_inflation_wait(office, session->allowance);

    if (wait_ms == 0 || session->inflation_held)
        return;
    if (office->inflation_held == 0)
        office->inflation_wake_ms = UINT64_MAX;
    wake_at(office, wait_ms);
    session->inflation_held = true;
    office->inflation_held++;
    stats_add(office->stats, STAT_deflate_waits, 1);
    conn_hold(&session->conn);
}

void inflation_begin(struct session *session)
{
    if (session->conn.deflate)
        hold_in_debt(session);
}

void inflation_note(struct conn *conn, uint64_t bytes)
{
    struct session *session = session_of(conn);

    allowance_note_inflated(session->office, session->allowance, bytes);
    hold_in_debt(session);
}

void inflation_end(struct session *session)
{
    if (!session->inflation_held)
        return;
    session->inflation_held = false;
    session->office->inflation_held--;
    session_read_on(session);
}

/* The next session that may go on, in a circle, so that each has its turn; NULL: none. Notes when
 * the sessions that were passed over may. */
static struct session *next_to_go_on(struct office *office)
{
    for (uint32_t i = 0; i < office->session_used; i++) {
        uint32_t index = (office->inflation_next + i) % office->session_used, wait_ms;
        struct session *session = office->sessions[index];
        if (!session || !session->inflation_held)
            continue;
        wait_ms = allowance_inflation_wait(office, session->allowance);
        wake_at(office, wait_ms);
        if (wait_ms == 0) {
            office->inflation_next = index + 1;
            return session;
        }
    }
    return NULL;
}

void inflation_turn(struct office *office)
{
    struct session *session;

    if (office->inflation_held == 0 || loop_now_ms(office->loop) < office->inflation_wake_ms)
        return;
    office->inflation_wake_ms = UINT64_MAX;
    session = next_to_go_on(office);
    if (!session)
        return;
    inflation_end(session);
    loop_again(office->loop); /* the text of this session counts before the next one goes on */
}
