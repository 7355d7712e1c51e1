#include "worker/entrance/whereabouts.h"
#include "worker/mailbox/mailbox.h"

#include "common/clock.h"
#include "worker/mailbox/mailbox_places.h"

#include <stdlib.h>

/* Sessions that ended while Redis was away, and are remembered. Past this number an entry stays in
 * `:at` as a ghost (counted): each ghost costs a needless PUBLISH a message, and `presence` shows
 * the ghost until this worker ends. */
enum { LEAVING_MAX = 100000 };

/* A session that has ended, and whose entry may still be in `:at`. */
struct leaving {
    struct leaving *next;
    struct office *office;
    uint64_t number;
    uint8_t address_len;
    char address[];
};

static uint64_t age_us(const struct session *session)
{
    return (clock_monotonic_ns() - session->began_ns) / 1000;
}

uint64_t whereabouts_since_ns(const struct session *session)
{
    return session->began_ns + (uint64_t)session->office->clock_ahead_ns;
}

enum err whereabouts_enter(struct session *session, mailbox_opened_cb done, void *arg)
{
    const struct mailbox_entrant entrant = {
        .device = session_device(session),
        .number = session->number,
        .opened_us = session->ordered ? session->since_ns / 1000 : 0,
        .late = session->listed && !session->ordered,
        .age_us = age_us(session),
    };
    enum err err =
        mailbox_enter(session->office->mailbox, session_address(session), &entrant, done, arg);

    session->entered |= !err;
    return err;
}

void whereabouts_entered(struct session *session, const struct mailbox_opened *opened)
{
    if (!opened->opened_us || (session->ordered && session->since_ns == opened->opened_us * 1000))
        return;
    session->ordered = true;
    session->since_ns = opened->opened_us * 1000;
    if (session->listed)
        session_relist(session);
}

/* ---- leaving ---- */

static void on_left(void *arg, bool ok);

static void leaving_keep(struct leaving *leaving)
{
    struct office *office = leaving->office;

    if (office->leaving_count >= LEAVING_MAX) {
        stats_add(office->stats, STAT_ghosts_left, 1);
        free(leaving);
        return;
    }
    leaving->next = office->leaving;
    office->leaving = leaving;
    office->leaving_count++;
}

static void leaving_ask(struct leaving *leaving)
{
    if (mailbox_leave_session(leaving->office->mailbox,
                              slice_make(leaving->address, leaving->address_len), leaving->number,
                              on_left, leaving))
        leaving_keep(leaving);
}

static void on_left(void *arg, bool ok)
{
    struct leaving *leaving = arg;

    if (ok || leaving->office->closed)
        free(leaving);
    else
        leaving_keep(leaving);
}

void whereabouts_leave(struct session *session)
{
    struct slice address = session_address(session);
    struct leaving *leaving;

    if (!session->entered || !session->office->mailbox)
        return;
    session->entered = false;
    leaving = malloc(sizeof *leaving + address.len);
    if (!leaving) {
        stats_add(session->office->stats, STAT_ghosts_left, 1);
        return;
    }
    *leaving = (struct leaving){ .office = session->office,
                                 .number = session->number,
                                 .address_len = (uint8_t)address.len };
    memcpy(leaving->address, address.data, address.len);
    leaving_ask(leaving);
}

void whereabouts_up(struct office *office)
{
    struct leaving *leaving = office->leaving;

    office->leaving = NULL;
    office->leaving_count = 0;
    while (leaving) {
        struct leaving *next = leaving->next;
        leaving_ask(leaving);
        leaving = next;
    }
}

void whereabouts_fini(struct office *office)
{
    struct leaving *leaving;

    while ((leaving = office->leaving)) {
        office->leaving = leaving->next;
        free(leaving);
    }
}
