#include "worker/entrance/catch_up.h"

#include "worker/entrance/rivals.h"
#include "worker/entrance/whereabouts.h"
#include "worker/groups/groups.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_enter.h"

#include <stdio.h>
#include <stdlib.h>

/* A mailbox is being opened again. */
struct reopening {
    struct office *office;
    uint64_t number;   /* the session's */
    struct seq queued; /* by the session's reader, when the mailbox was asked */
};

void catch_up_mailbox_up(struct office *office, struct slice epoch, bool lost)
{
    snprintf(office->epoch, sizeof office->epoch, "%.*s", (int)epoch.len, epoch.data);
    if (lost)
        office->data_lost_count++;
    catch_up_all(office);
}

void catch_up_all(struct office *office)
{
    office->catch_up_at = 0;
    office->catch_up_lightly = false;
    groups_refresh(office);
}

void catch_up_lightly(struct office *office)
{
    /* A round that opens mailboxes and is not over begins anew as such. */
    bool lightly = office->catch_up_at == UINT32_MAX || office->catch_up_lightly;

    catch_up_all(office);
    office->catch_up_lightly = lightly;
}

static void on_reopened(void *arg, const struct mailbox_opened *opened)
{
    struct reopening reopening = *(struct reopening *)arg;
    struct session *session = session_open_by_number(reopening.office, reopening.number);

    free(arg);
    if (session)
        session->reopenings--;
    if (!opened->ok)
        reopening.office->catch_up_again = true;
    if (!session || !session->listed || !opened->ok)
        return;
    whereabouts_entered(session, opened);
    if (rivals_meet(session, opened->others, opened->other_count))
        session->supply->reopened(session, opened, reopening.queued);
}

/* False: not now, or too many questions are under way. */
static bool reopen(struct session *session)
{
    struct reopening *reopening;

    if (session->reopenings == UINT8_MAX)
        return false;
    reopening = malloc(sizeof *reopening);
    if (!reopening)
        return false;
    *reopening =
        (struct reopening){ session->office, session->number, session->reader.feed.queued };
    if (whereabouts_enter(session, on_reopened, reopening)) {
        free(reopening);
        return false;
    }
    session->reopenings++;
    return true;
}

static bool catch_up(struct session *session)
{
    if (!session->office->catch_up_lightly)
        return reopen(session);
    session->supply->read_on(session);
    return true;
}

bool catch_up_some(struct office *office, unsigned count)
{
    if (!mailbox_is_up(office->mailbox))
        return false;
    for (; count && office->catch_up_at < office->session_used; office->catch_up_at++) {
        struct session *session = office->sessions[office->catch_up_at];
        if (!session || !session->listed)
            continue;
        if (!catch_up(session))
            return false; /* a later turn goes on here; or Redis is away, and its return begins
                             anew */
        count--;
    }
    if (office->catch_up_at < office->session_used)
        return true;
    office->catch_up_at = UINT32_MAX;
    return false;
}
