#include "worker/router/store.h"

#include "worker/delivery/budget.h"
#include "worker/delivery/sent.h"
#include "worker/delivery/ticket.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_append.h"
#include "worker/mailbox/mailbox_body.h"
#include "worker/router/copies.h"
#include "worker/session/service_turn.h"

/* The thread that the stamped message is in: without a subjectId it begins one, unless it answers
 * another message (envelope_stamp puts the same rule into the message). */
static struct slice thread_of(const struct envelope *envelope)
{
    static const struct slice none;

    if (envelope->subject_id.data)
        return envelope->subject_id;
    return envelope->in_reply_to.data ? none : envelope->id;
}

/* A sender is told of a mistyped recipient (mailbox.addresses). */
static bool must_be_known(const struct office *office, const struct envelope *envelope,
                          struct slice address)
{
    return envelope->type == TYPE_MAIL && strcmp(office->config->mailbox.addresses, "known") == 0 &&
           !service_or_known(office, address);
}

static struct mailbox_letter letter_for(const struct envelope *envelope, struct slice address,
                                        struct msg *msg, uint16_t lane)
{
    bool is_receipt = envelope->type == TYPE_CONTROL;
    /* Mail to oneself needs no receipt; a post may not ask: a group is nobody's mailbox. */
    bool may_ask = envelope->type == TYPE_MAIL && !slice_equal(address, envelope->from);

    return (struct mailbox_letter){
        .address = address,
        .from = envelope->from,
        .id = envelope->id,
        .body = msg_slice(msg),
        .msg = msg,
        .thread = thread_of(envelope),
        .expires_at = envelope->has_expires_at ? envelope->expires_at : 0,
        .lane = lane,
        .reads = is_receipt ? envelope->in_reply_to : (struct slice){ 0 },
        .receipt = envelope->has_receipt && may_ask ? (uint8_t)envelope->receipt : 0,
        .level = (int8_t)envelope->level,
    };
}

static bool is_shared(const struct msg *msg, size_t copies)
{
    return copies > 1 && msg->len >= BODY_SHARED_BYTES_MIN;
}

/* The sender's address pays for each stored body. */
static enum err charge(struct session *session, const struct envelope *envelope,
                       const struct msg *msg, struct budget **budget, struct envelope_fault *fault)
{
    size_t count = envelope->recipient_count;
    uint64_t bytes = (uint64_t)msg->len * (is_shared(msg, count) ? 1 : count);

    fault->retry_after_ms = budget_take(session, bytes, count, budget);
    return fault->retry_after_ms == 0
               ? OK
               : envelope_reject(fault, REJECT_RATE_LIMITED, NULL,
                                 "too much to store: limits.storedBytesPerSecond, "
                                 "limits.newMailboxesPerMinute");
}

/* A large body for several mailboxes is stored once. Without memory for that, each letter has the
 * body. */
static struct mailbox_body *share_body(struct mailbox *mailbox, struct msg *msg, size_t copies,
                                       uint16_t lane)
{
    return is_shared(msg, copies) ? mailbox_body_put(mailbox, msg, lane) : NULL;
}

static void append_to_all(struct session *session, struct ticket *ticket,
                          const struct envelope *envelope, struct msg *msg,
                          struct mailbox_body *body, uint16_t lane)
{
    struct mailbox *mailbox = session->office->mailbox;

    for (uint32_t i = 0; i < envelope->recipient_count; i++) {
        struct mailbox_letter letter = letter_for(envelope, envelope->recipients[i], msg, lane);
        struct ticket_part *part = ticket_wait(ticket, &i, 1);
        letter.if_known = must_be_known(session->office, envelope, envelope->recipients[i]);
        letter.shared = body;
        if (part && mailbox_append(mailbox, &letter, ticket_appended, part))
            ticket_unsent(part);
    }
}

enum err store_message(struct session *session, const struct envelope *envelope, struct msg *msg,
                       struct envelope_fault *fault)
{
    struct office *office = session->office;
    /* An expired message is stored as any other, and skipped by every reader; but it must not reach
     * a session live. */
    uint16_t lane = mailbox_lane(session->entry->key.lo);
    bool expired = envelope->has_expires_at && envelope->expires_at <= loop_unix_s(office->loop);
    struct mailbox_body *body;
    struct budget *budget;
    struct ticket *ticket;
    bool copied;

    if (!mailbox_is_up(office->mailbox))
        return envelope_reject(fault, REJECT_STORAGE_UNAVAILABLE, NULL,
                               "Redis is away: nothing can be stored");
    if (charge(session, envelope, msg, &budget, fault))
        return ERR_BAD;
    ticket = ticket_new(session, envelope->id, envelope->recipients, envelope->recipient_count);
    if (!ticket) {
        budget_release(budget);
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    }
    ticket->budget = budget;
    if (!expired)
        ticket_carry(ticket, msg);
    copied = !expired && copies_wanted(session, envelope);
    body = share_body(office->mailbox, msg, envelope->recipient_count + copied, lane);
    append_to_all(session, ticket, envelope, msg, body, lane);
    if (copied) {
        struct mailbox_letter letter = letter_for(envelope, session_address(session), msg, lane);
        letter.shared = body;
        copies_send(session, letter);
    }
    mailbox_body_unref(body);
    if (envelope->type == TYPE_MAIL)
        sent_note(session, envelope->from, envelope->id, envelope->recipients,
                  envelope->recipient_count);
    ticket_settle(ticket);
    if (mailbox_is_loaded(office->mailbox) || mailbox_lane_is_long(office->mailbox, lane))
        session_stall(session);
    return OK;
}
