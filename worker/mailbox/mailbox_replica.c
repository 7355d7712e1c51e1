#include "worker/mailbox/mailbox_replica.h"

#include "worker/mailbox/call.h"

#include <stdlib.h>

/* --- waiting --- */

static size_t held_bytes(const struct mailbox_appended *appended)
{
    size_t bytes = appended->elsewhere_count * sizeof(struct slice);

    for (size_t i = 0; i < appended->elsewhere_count; i++)
        bytes += appended->elsewhere[i].len;
    return bytes;
}

/* No memory: the message is stored all the same, but its doorbells are not rung there. */
static void drop_places(struct append *append)
{
    append->op.mailbox->counts.places_dropped += append->appended.elsewhere_count;
    append->appended.elsewhere_count = 0;
    append->appended.elsewhere = NULL;
}

void mailbox_replica_hold(struct append *append)
{
    struct mailbox_appended *appended = &append->appended;
    size_t bytes = held_bytes(appended);
    struct slice *copies;
    char *at;

    free(append->held);
    append->held = bytes ? malloc(bytes) : NULL;
    if (!append->held) {
        drop_places(append);
        return;
    }
    copies = (struct slice *)(void *)append->held;
    at = append->held + appended->elsewhere_count * sizeof(struct slice);
    for (size_t i = 0; i < appended->elsewhere_count; i++) {
        struct slice place = appended->elsewhere[i];
        memcpy(at, place.data, place.len);
        copies[i] = slice_make(at, place.len);
        at += place.len;
    }
    appended->elsewhere = copies;
}

/* --- WAIT --- */

/* Every append that Redis answered before this answer was sent before the WAIT, and the other way
 * round: this answer decides about all appends that wait now. */
static void on_replicas_answered(struct ask *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;
    bool enough = reply->type == REDIS_INTEGER && reply->integer >= mailbox->replicas;
    struct op *op, *next;

    if (reply->type == REDIS_ERROR)
        mailbox_trouble(mailbox, reply->text);
    for (op = TAILQ_FIRST(&mailbox->row.ops); op; op = next) {
        next = TAILQ_NEXT(op, link);
        if (op->state != OP_ANSWERED)
            continue;
        struct append *append = append_of(op);
        if (reply->type == REDIS_LOST) { /* the repetition finds the message, and WAIT follows */
            append->maybe = true;
            row_requeue(op);
            continue;
        }
        if (!enough && append->appended.outcome < MAILBOX_FULL)
            append->appended.outcome = MAILBOX_UNAVAILABLE;
        row_remove(op);
        append_report(append);
        row_free(op);
    }
}

/* WAIT asks about the writes of this connection only. The INCR is such a write, behind every
 * message that a repetition found and an earlier connection has written. */
static enum err send_tick(struct mailbox *mailbox)
{
    struct call call;

    call_plain(&call, mailbox, SLICE("INCR"));
    call_global_key(&call, "tick");
    return call_tell(&call);
}

void mailbox_replica_ask(struct mailbox *mailbox)
{
    struct call call;

    if (send_tick(mailbox))
        return;
    call_plain(&call, mailbox, SLICE("WAIT"));
    call_add_int(&call, mailbox->replicas);
    call_add_int(&call, mailbox->replica_timeout_ms);
    if (call_ask(&call, on_replicas_answered, 0) == OK)
        mailbox->unconfirmed = false;
}
