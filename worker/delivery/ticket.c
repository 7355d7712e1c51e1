#include "worker/delivery/ticket.h"

#include "worker/delivery/budget.h"
#include "shm/histograms.h"
#include "worker/envelope/postmaster.h"
#include "worker/reach/reach.h"
#include "worker/session/service_turn.h"

#include <assert.h>
#include <stdlib.h>

enum { FEW = 8 }; /* recipients; most messages have no more */

struct ticket_part {
    struct ticket *ticket;
    uint32_t count;
    uint32_t indexes[];
};

static size_t addresses_len(const struct slice *addresses, size_t count)
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++)
        len += addresses[i].len;
    return len;
}

static void ticket_queue(struct session *session, struct ticket *ticket)
{
    if (session->tickets_last)
        session->tickets_last->next = ticket;
    else
        session->tickets = ticket;
    session->tickets_last = ticket;
}

struct ticket *ticket_new(struct session *session, struct slice id, const struct slice *recipients,
                          size_t recipient_count)
{
    size_t rows_size = recipient_count * sizeof(struct ticket_recipient);
    struct ticket *ticket;
    char *text;

    assert(id.len <= ENVELOPE_ID_MAX);
    ticket = malloc(sizeof *ticket + rows_size + addresses_len(recipients, recipient_count));
    if (!ticket)
        return NULL;
    *ticket = (struct ticket){ .session = session,
                               .office = session->office,
                               .came_ns = loop_now_ns(session->office->loop),
                               .waiting = 1, /* the maker's hold, until ticket_settle */
                               .recipient_count = (uint32_t)recipient_count,
                               .id_len = (uint8_t)id.len };
    memcpy(ticket->id, id.data, id.len);
    text = (char *)ticket->recipients + rows_size;
    for (size_t i = 0; i < recipient_count; i++) {
        memcpy(text, recipients[i].data, recipients[i].len);
        ticket->recipients[i] =
            (struct ticket_recipient){ .address = slice_make(text, recipients[i].len),
                                       .refusal = REJECT_STORAGE_UNAVAILABLE };
        text += recipients[i].len;
    }
    ticket_queue(session, ticket);
    return ticket;
}

struct ticket_part *ticket_wait(struct ticket *ticket, const uint32_t *indexes, size_t count)
{
    struct ticket_part *part = malloc(sizeof *part + count * sizeof *indexes);

    if (!part)
        return NULL;
    part->ticket = ticket;
    part->count = (uint32_t)count;
    memcpy(part->indexes, indexes, count * sizeof *indexes);
    ticket->waiting++;
    return part;
}

static const char *refusal_text(const struct ticket *ticket, enum reject_code code)
{
    switch (code) {
    case REJECT_MAILBOX_FULL:
        return "the mailbox is full";
    case REJECT_NOT_FOUND:
        if (ticket->nobody)
            return "nobody has had a session with that address: is it spelt right?";
        return "no message with that id, from that address, asked to hear that it was read";
    default:
        return "no recipient can be reached now, and nothing can be stored";
    }
}

static enum stat_id refusal_stat(enum reject_code code)
{
    switch (code) {
    case REJECT_MAILBOX_FULL:
        return STAT_rejected_mailbox_full;
    case REJECT_NOT_FOUND:
        return STAT_rejected_not_found;
    default:
        return STAT_rejected_storage_unavailable;
    }
}

static struct msg *accepted(const struct ticket *ticket, const struct postmaster_refusal *refused,
                            size_t refused_count)
{
    struct office *office = ticket->session->office;

    stats_add(office->stats, STAT_accepted, 1);
    histogram_add(office->stats, HISTOGRAM_ACCEPT, loop_now_ns(office->loop) - ticket->came_ns);
    return postmaster_accepted(session_address(ticket->session),
                               slice_make(ticket->id, ticket->id_len),
                               reach_accepted_state(office->reach), refused, refused_count);
}

static struct msg *rejected(const struct ticket *ticket, const struct postmaster_refusal *refused,
                            size_t refused_count)
{
    enum reject_code code = refused[0].code; /* a message has at least one recipient */

    stats_add(ticket->session->office->stats, refusal_stat(code), 1);
    return postmaster_rejected(session_address(ticket->session),
                               &(struct postmaster_rejection){
                                   .code = code,
                                   .message = refusal_text(ticket, code),
                                   .id = slice_make(ticket->id, ticket->id_len),
                                   .retry_after_ms = code == REJECT_NOT_FOUND ? 0 : 1000,
                                   .refused = refused,
                                   .refused_count = refused_count,
                               });
}

static uint32_t count_unserved(const struct ticket *ticket)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < ticket->recipient_count; i++)
        count += !ticket->recipients[i].served;
    return count;
}

/* The recipients that were not served, and why; the caller frees them. NULL: no memory. */
static struct postmaster_refusal *refusals_of(const struct ticket *ticket, uint32_t count)
{
    struct postmaster_refusal *refused = calloc(count, sizeof *refused);
    uint32_t at = 0;

    for (uint32_t i = 0; refused && i < ticket->recipient_count; i++)
        if (!ticket->recipients[i].served)
            refused[at++] = (struct postmaster_refusal){ ticket->recipients[i].address,
                                                         ticket->recipients[i].refusal };
    return refused;
}

static struct msg *ticket_result(const struct ticket *ticket)
{
    uint32_t count = count_unserved(ticket);
    struct postmaster_refusal *refused = count ? refusals_of(ticket, count) : NULL;
    struct msg *msg;

    if (count == 0)
        return accepted(ticket, NULL, 0);
    if (!refused)
        return NULL;
    stats_add(ticket->session->office->stats, STAT_recipients_refused, count);
    msg = count < ticket->recipient_count ? accepted(ticket, refused, count)
                                          : rejected(ticket, refused, count);
    free(refused);
    return msg;
}

static void ticket_answer(const struct ticket *ticket)
{
    if (ticket->unknown) {
        /* Neither `accepted` nor `rejected` would be true. The close tells the sender to send the
         * message again, under the same id. */
        session_say_goodbye(ticket->session, WS_CLOSE_OVERLOADED, "storage did not answer", 1000);
        return;
    }
    session_say(ticket->session, ticket_result(ticket));
}

static void ticket_free(struct ticket *ticket)
{
    msg_unref(ticket->msg);
    budget_release(ticket->budget);
    remote_fini(&ticket->remote);
    free(ticket);
}

static void answer_ready(struct session *session)
{
    struct ticket *ticket;

    while ((ticket = session->tickets) && ticket->waiting == 0) {
        session->tickets = ticket->next;
        if (!session->tickets)
            session->tickets_last = NULL;
        ticket_answer(ticket);
        ticket_free(ticket);
    }
    session_check_answered(session);
}

static void ring_recipients(const struct ticket *ticket, struct doorbell *stored,
                            struct remote *remote)
{
    for (uint32_t i = 0; i < ticket->recipient_count; i++)
        if (ticket->recipients[i].to_deliver) {
            stored->addresses[stored->count] = ticket->recipients[i].address;
            stored->positions[stored->count++] = ticket->recipients[i].position;
        }
    ticket->office->ring(ticket->office, stored, remote, (struct slice){ 0 }, ticket->msg);
}

/* The recipients that have the message now are told. */
static void ring_stored(struct ticket *ticket)
{
    struct slice few_addresses[FEW];
    struct bus_position few_positions[FEW];
    struct doorbell stored = { few_addresses, few_positions, 0 };

    if (ticket->recipient_count <= FEW) {
        ring_recipients(ticket, &stored, &ticket->remote);
        return;
    }
    stored.addresses = malloc(ticket->recipient_count * sizeof *stored.addresses);
    stored.positions = malloc(ticket->recipient_count * sizeof *stored.positions);
    if (stored.addresses && stored.positions)
        ring_recipients(ticket, &stored, &ticket->remote);
    else /* every worker of this host, this one included, sees the counter and reads on */
        stats_add(ticket->office->stats, STAT_doorbells_lost, 1);
    free(stored.addresses);
    free(stored.positions);
}

/* A part has answered, or the maker is done. The last one keeps its hold while the doorbells ring:
 * the sender's connection may break in there, and tickets_orphan frees tickets that nothing holds.
 * The doorbells ring before the answer, so a sender that reads `accepted` has been delivered. */
static void ticket_release(struct ticket *ticket)
{
    assert(ticket->waiting);
    if (ticket->waiting > 1) {
        ticket->waiting--;
        return;
    }
    if (ticket->msg)
        ring_stored(ticket);
    ticket->waiting = 0;
    if (ticket->session)
        answer_ready(ticket->session);
    else
        ticket_free(ticket);
}

void ticket_carry(struct ticket *ticket, struct msg *msg)
{
    ticket->msg = msg_ref(msg);
}

static void take_outcome(struct ticket *ticket, struct ticket_recipient *recipient,
                         const struct mailbox_appended *appended)
{
    switch (appended->outcome) {
    case MAILBOX_STORED:
        recipient->served = recipient->to_deliver = true;
        recipient->position = (struct bus_position){ appended->seq, appended->before };
        break;
    case MAILBOX_REPEATED:
        /* Answered as the first was. The doorbell is rung once more: the worker that stored the
         * message may have died before it could ring. A session that has the message does not take
         * it again. */
        recipient->served = recipient->to_deliver = true;
        recipient->position = (struct bus_position){ appended->seq, appended->seq };
        break;
    case MAILBOX_FULL:
        recipient->refusal = REJECT_MAILBOX_FULL;
        break;
    case MAILBOX_UNASKED:
        recipient->refusal = REJECT_NOT_FOUND;
        break;
    case MAILBOX_NOBODY:
        recipient->refusal = REJECT_NOT_FOUND;
        ticket->nobody = true;
        break;
    case MAILBOX_UNAVAILABLE:
        recipient->refusal = REJECT_STORAGE_UNAVAILABLE;
        break;
    case MAILBOX_UNKNOWN:
        ticket->unknown = true;
        break;
    }
}

/* The first message of a mailbox whose address has no session. */
static bool begins_mailbox(const struct office *office, struct slice address,
                           const struct mailbox_appended *appended)
{
    return appended->outcome == MAILBOX_STORED && seq_is_zero(appended->before) &&
           appended->elsewhere_count == 0 &&
           !directory_find(&office->directory, sessions_key(office->region, address), address);
}

void ticket_appended(void *arg, const struct mailbox_appended *appended)
{
    struct ticket_part *part = arg;
    struct ticket *ticket = part->ticket;
    struct ticket_recipient *recipient = &ticket->recipients[part->indexes[0]];

    take_outcome(ticket, recipient, appended);
    if (ticket->budget && begins_mailbox(ticket->office, recipient->address, appended))
        budget_note_mailbox(ticket->budget);
    if (recipient->to_deliver && service_is(ticket->office, recipient->address)) {
        recipient->to_deliver = false; /* Redis chooses the one session that gets the message */
        ticket->office->work(ticket->office, recipient->address);
    }
    if (recipient->to_deliver && ticket->msg)
        remote_note(&ticket->remote, ticket->office, appended->elsewhere, appended->elsewhere_count,
                    recipient->address, recipient->position);
    free(part);
    ticket_release(ticket);
}

void ticket_settle(struct ticket *ticket)
{
    ticket_release(ticket);
}

void ticket_heard(void *arg, bool heard)
{
    struct ticket_part *part = arg;
    struct ticket *ticket = part->ticket;

    for (uint32_t i = 0; heard && i < part->count; i++)
        ticket->recipients[part->indexes[i]].served = true;
    free(part);
    ticket_release(ticket);
}

void ticket_unsent(struct ticket_part *part)
{
    ticket_heard(part, false);
}

void tickets_orphan(struct session *session)
{
    struct ticket *ticket;

    while ((ticket = session->tickets)) {
        session->tickets = ticket->next;
        ticket->session = NULL;
        ticket->next = NULL;
        if (ticket->waiting == 0)
            ticket_free(ticket);
    }
    session->tickets_last = NULL;
}
