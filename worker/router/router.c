#include "worker/router/router.h"

#include "common/address.h"
#include "common/clock.h"
#include "worker/router/commands.h"
#include "worker/envelope/envelope.h"
#include "worker/reach/far_signal.h"
#include "worker/reach/nodes.h"
#include "worker/reach/reach.h"
#include "worker/groups/groups.h"
#include "worker/envelope/postmaster.h"
#include "worker/delivery/sent.h"
#include "worker/service/service.h"
#include "worker/session/session.h"
#include "worker/delivery/ticket.h"
#include "worker/token/token.h"
#include "worker/mailbox/mailbox.h"

#include <stdlib.h>

enum { RETRY_STORAGE_MS = 1000 };

/* One message on its way: what the steps below hand to each other. Lives in the arena. */
struct errand {
    struct office *office;
    struct session *session;
    struct envelope envelope;
    const struct grant *grant; /* what counts for this message: the session's, or its own token's */
    struct grant *own_grant;   /* of the message's token; NULL otherwise */
    struct slice id;
    struct address_key *keys; /* a recipient each */
    uint64_t *elsewhere;      /* a recipient each: bit w: has sessions on worker w, not this one */
    uint64_t workers;         /* all of those together */
    bool *heard;              /* of a signal, a recipient each: somebody on this host has it */
    char uuid[37];
};

static bool is_mail(const struct errand *errand)
{
    return errand->envelope.type != TYPE_SIGNAL; /* a receipt is treated as mail */
}

static bool is_post(const struct errand *errand)
{
    return errand->envelope.type == TYPE_POST;
}

/* ---- saying no ---- */

static enum stat_id reject_stat(enum reject_code code)
{
    switch (code) {
#define X(name, text, stat)                                                                        \
    case REJECT_##name:                                                                            \
        return STAT_##stat;
        REJECT_CODES(X)
#undef X
    case REJECT_NONE:
    case REJECT_COUNT:
        break;
    }
    return STAT_rejected_internal;
}

static void reject(struct session *session, const struct envelope_fault *fault,
                   uint32_t retry_after_ms)
{
    struct msg *msg =
        postmaster_rejected(session_address(session), &(struct postmaster_rejection){
                                                          .code = fault->code,
                                                          .message = fault->message,
                                                          .field = fault->field,
                                                          .id = fault->id,
                                                          .retry_after_ms = retry_after_ms,
                                                      });

    stats_add(session->office->stats, reject_stat(fault->code), 1);
    session_say(session, msg);
    if (fault->code != REJECT_RATE_LIMITED && fault->code != REJECT_STORAGE_UNAVAILABLE)
        session_count_error(session);
}

/* ---- may it? ---- */

/* Section 6: the session's own address, what its token relays, or the message's own token. */
static enum err check_from(struct errand *errand, struct envelope_fault *fault)
{
    struct session *session = errand->session;
    const struct envelope *envelope = &errand->envelope;
    enum token_fault wrong;

    errand->grant = session->grant;
    if (slice_equal(envelope->from, session_address(session)) ||
        grant_may_speak_for(session->grant, envelope->from))
        return OK;
    if (!envelope->token.data)
        return envelope_reject(fault, REJECT_FORBIDDEN_FROM, "from",
                               "this session may not speak for this address");
    wrong = token_verify(session->office->config, envelope->token,
                         loop_unix_s(session->office->loop), &errand->own_grant);
    if (wrong != TOKEN_GOOD)
        return envelope_reject(fault, REJECT_BAD_TOKEN, "token", token_fault_text(wrong));
    if (!slice_equal(slice_make(errand->own_grant->sub, errand->own_grant->sub_len),
                     envelope->from))
        return envelope_reject(fault, REJECT_FORBIDDEN_FROM, "from",
                               "the message's token is for another address");
    errand->grant = errand->own_grant;
    return OK;
}

static enum err check_group(const struct errand *errand, struct slice group,
                            struct envelope_fault *fault)
{
    if (errand->envelope.type != TYPE_SIGNAL && errand->envelope.type != TYPE_POST)
        return envelope_reject(fault, REJECT_BAD_FIELD, "to",
                               "a group takes posts (type 3) and signals (type 2)");
    if (!grant_may_use_group(errand->grant, group))
        return envelope_reject(fault, REJECT_FORBIDDEN_TO, "to",
                               "the token does not allow this group");
    return OK;
}

static enum err check_recipient(const struct errand *errand, struct slice address,
                                struct envelope_fault *fault)
{
    if (address_is_group(address))
        return check_group(errand, address, fault);
    if (errand->envelope.type == TYPE_POST)
        return envelope_reject(fault, REJECT_BAD_FIELD, "to",
                               "a post (type 3) goes to group addresses");
    if (address_reserved(address))
        return envelope_reject(
            fault, REJECT_FORBIDDEN_TO, "to",
            "this address is reserved; postmaster takes type 4 with no other recipient");
    if (!grant_may_send_to(errand->grant, address))
        return envelope_reject(fault, REJECT_FORBIDDEN_TO, "to",
                               "the token does not allow this recipient");
    return OK;
}

/* Of receipts a client sends only the one that says "read": the others are the server's to send. */
static enum err check_receipt(const struct envelope *envelope, struct envelope_fault *fault)
{
    if (!envelope->has_state)
        return envelope_reject(fault, REJECT_MISSING_FIELD, "state",
                               "a receipt (type 4) needs state 3");
    if (envelope->state != 3)
        return envelope_reject(fault, REJECT_BAD_FIELD, "state",
                               "a client sends receipts with state 3 (read) only");
    if (!envelope->in_reply_to.data)
        return envelope_reject(fault, REJECT_MISSING_FIELD, "inReplyTo",
                               "a receipt names the message in inReplyTo");
    return OK;
}

static bool is_command(const struct envelope *envelope)
{
    return envelope->type == TYPE_CONTROL && envelope->recipient_count == 1 &&
           slice_equal(envelope->recipients[0], SLICE("postmaster"));
}

/* ---- where is everybody? ---- */

static enum err find_places(struct errand *errand, struct envelope_fault *fault)
{
    struct office *office = errand->office;
    size_t count = errand->envelope.recipient_count;
    uint64_t here = (uint64_t)1 << office->slot;

    errand->keys = arena_take(&office->arena, count * sizeof *errand->keys);
    errand->elsewhere = arena_take(&office->arena, count * sizeof *errand->elsewhere);
    if (!errand->keys || !errand->elsewhere)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    errand->workers = 0;
    for (size_t i = 0; i < count; i++) {
        errand->keys[i] = sessions_key(office->region, errand->envelope.recipients[i]);
        errand->elsewhere[i] = service_is(office, errand->envelope.recipients[i])
                                   ? service_choose(office, errand->keys[i])
                                   : sessions_workers(office->region, errand->keys[i]) & ~here;
        errand->workers |= errand->elsewhere[i];
    }
    return OK;
}

/* ---- handing it over ---- */

static bool deliver_to(struct session *session, struct msg *msg)
{
    struct office *office = session->office;
    enum err err = conn_send(&session->conn, msg);

    if (err == ERR_FULL && msg->kind == MSG_MAIL) {
        /* Mail is never shed. Without Redis there is no mailbox that it could be read from
         * later, so the device is told by the close that it missed something. */
        stats_add(office->stats, STAT_slow_closed, 1);
        stats_add(office->stats, STAT_mail_undelivered, 1);
        conn_close_now(&session->conn, WS_CLOSE_TOO_SLOW, SLICE("too slow"));
    }
    return err == OK;
}

/* To every session of the address here, of a service address to one. Returns how many took it. */
static unsigned deliver_here(struct office *office, struct address_key key, struct slice address,
                             struct msg *msg)
{
    struct directory_entry *entry = directory_find(&office->directory, key, address);
    struct session *session = entry ? entry->sessions : NULL, *next;
    unsigned taken = 0;

    if (address_is_group(address))
        return groups_deliver(office, entry, msg);
    if (session && session->seat)
        return deliver_to(service_turn(entry), msg);
    for (; session; session = next) {
        next = session->next_same; /* the session may leave the list when sending to it fails */
        taken += deliver_to(session, msg);
    }
    return taken;
}

/* Of a service address one session was chosen, and it is on another worker. */
static bool is_only_elsewhere(const struct errand *errand, size_t i)
{
    return errand->elsewhere[i] && service_is(errand->office, errand->envelope.recipients[i]);
}

void router_deliver(struct office *office, const struct slice *recipients, size_t recipient_count,
                    struct msg *msg)
{
    for (size_t i = 0; i < recipient_count; i++)
        if (deliver_here(office, sessions_key(office->region, recipients[i]), recipients[i], msg) ==
            0)
            stats_add(office->stats, STAT_deliveries_missed, 1);
}

/* The recipients that have sessions on this worker: their addresses and indexes, in the arena. */
static size_t select_for(const struct errand *errand, uint32_t slot, struct slice *addresses,
                         uint32_t *indexes)
{
    size_t count = 0;

    for (size_t i = 0; i < errand->envelope.recipient_count; i++)
        if (errand->elsewhere[i] >> slot & 1) {
            addresses[count] = errand->envelope.recipients[i];
            indexes[count++] = (uint32_t)i;
        }
    return count;
}

/* Once to each worker; ticket NULL: nobody waits to hear who was served. */
static void publish_elsewhere(struct errand *errand, struct msg *msg, struct ticket *ticket)
{
    struct office *office = errand->office;
    size_t room = errand->envelope.recipient_count;
    struct slice *addresses = arena_take(&office->arena, room * sizeof *addresses);
    uint32_t *indexes = arena_take(&office->arena, room * sizeof *indexes);

    if (!addresses || !indexes)
        return; /* the ticket says who was not served */
    for (uint64_t left = errand->workers; left; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(left);
        size_t count = select_for(errand, slot, addresses, indexes);
        struct ticket_part *part = ticket ? ticket_wait(ticket, indexes, count) : NULL;
        if (ticket && !part)
            continue;
        if (reach_publish(office->reach, slot, addresses, count, msg, part ? ticket_heard : NULL,
                          part) == OK)
            continue;
        if (part)
            ticket_unsent(part);
        else
            stats_add(office->stats, STAT_publishes_unheard, 1); /* a signal that never left */
    }
}

/* To those here; marks the served ones in the ticket, or counts them. */
static size_t deliver_all_here(struct errand *errand, struct msg *msg, struct ticket *ticket)
{
    size_t served = 0;

    for (size_t i = 0; i < errand->envelope.recipient_count; i++) {
        bool taken =
            !is_only_elsewhere(errand, i) &&
            deliver_here(errand->office, errand->keys[i], errand->envelope.recipients[i], msg) > 0;
        if (!taken && !errand->elsewhere[i] && is_post(errand))
            taken = true; /* all of its subscribers have it: there are none */
        served += taken;
        if (ticket)
            ticket->recipients[i].served = taken;
        if (errand->heard)
            errand->heard[i] = taken || errand->elsewhere[i];
    }
    return served;
}

/* To those on other hosts, should there be any; else it is known who has not heard it. */
static void signal_abroad(struct errand *errand, struct msg *msg)
{
    struct office *office = errand->office;
    const struct envelope *envelope = &errand->envelope;

    if (nodes_any(office->nodes) && mailbox_is_up(office->mailbox)) {
        far_signal(office, envelope->recipients, errand->heard, envelope->recipient_count, msg);
        return;
    }
    for (size_t i = 0; i < envelope->recipient_count; i++)
        if (!errand->heard[i])
            stats_add(office->stats, STAT_signals_unheard, 1);
}

static enum err send_signal(struct errand *errand, struct msg *msg, struct envelope_fault *fault)
{
    /* All or nothing: with a part of the recipients out of reach the sender is told. */
    if (errand->workers &&
        !reach_can_carry(errand->office->reach, errand->workers, errand->envelope.recipients,
                         errand->envelope.recipient_count, msg))
        return envelope_reject(
            fault, REJECT_STORAGE_UNAVAILABLE, NULL,
            "a recipient is on another worker, and without Redis this is too large");
    errand->heard = arena_take(&errand->office->arena, errand->envelope.recipient_count);
    if (!errand->heard)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    deliver_all_here(errand, msg, NULL);
    publish_elsewhere(errand, msg, NULL);
    signal_abroad(errand, msg);
    return OK;
}

/* ---- mail that is stored ---- */

/* A copy for the sender's own other devices, on its way to the sender's mailbox. */
struct copy {
    struct office *office;
    struct msg *msg;
    uint8_t address_len, device_len;
    char text[]; /* address, device */
};

static void copy_appended(void *arg, const struct mailbox_appended *appended)
{
    struct copy *copy = arg;
    struct slice address = slice_make(copy->text, copy->address_len);
    struct slice device = slice_make(copy->text + copy->address_len, copy->device_len);
    struct bus_position position = { appended->seq, appended->before };
    struct doorbell stored = { &address, &position, 1 };
    struct remote remote = { 0 };

    if (appended->outcome == MAILBOX_REPEATED) /* by a worker that may have died before it rang */
        position.before = appended->seq;
    if (appended->outcome == MAILBOX_STORED || appended->outcome == MAILBOX_REPEATED) {
        remote_note(&remote, copy->office, appended->elsewhere, appended->elsewhere_count, address,
                    position);
        copy->office->ring(copy->office, &stored, &remote, device, copy->msg);
        remote_fini(&remote);
    } else {
        stats_add(copy->office->stats, STAT_copies_failed, 1);
    }
    msg_unref(copy->msg);
    free(copy);
}

static bool is_recipient(const struct envelope *envelope, struct slice address)
{
    for (size_t i = 0; i < envelope->recipient_count; i++)
        if (slice_equal(envelope->recipients[i], address))
            return true;
    return false;
}

/* As envelope_stamp says it: what has no thread and answers nothing begins one. */
static struct slice thread_of(const struct errand *errand)
{
    static const struct slice none;
    const struct envelope *envelope = &errand->envelope;

    if (envelope->subject_id.data)
        return envelope->subject_id;
    return envelope->in_reply_to.data ? none : errand->id;
}

static struct mailbox_letter letter_of(const struct errand *errand, struct slice address,
                                       struct msg *msg)
{
    const struct envelope *envelope = &errand->envelope;
    bool is_receipt = envelope->type == TYPE_CONTROL;
    /* Nobody needs to be told what reached oneself; a group is nobody's mailbox. */
    bool may_ask = envelope->type == TYPE_MAIL && !slice_equal(address, envelope->from);

    return (struct mailbox_letter){
        .address = address,
        .from = envelope->from,
        .id = errand->id,
        .body = msg_slice(msg),
        .msg = msg,
        .thread = thread_of(errand),
        .expires_at = envelope->has_expires_at ? envelope->expires_at : 0,
        .reads = is_receipt ? envelope->in_reply_to : (struct slice){ 0 },
        .receipt = envelope->has_receipt && may_ask ? (uint8_t)envelope->receipt : 0,
        .level = (int8_t)envelope->level,
    };
}

/* Known when the session began, or because another session has come since. The other sessions of a
 * service are no devices: a copy would be work for them. */
static bool has_other_devices(struct session *session)
{
    if (session->seat)
        return false;
    if (!session->other_devices)
        session->other_devices =
            sessions_find(session->office->region, session->entry->key, NULL, 0) > 1;
    return session->other_devices;
}

static void copy_to_sender(struct errand *errand, struct msg *msg)
{
    struct session *session = errand->session;
    struct slice address = session_address(session), device = session_device(session);
    struct mailbox_letter letter;
    struct copy *copy;

    if (!has_other_devices(session) || !errand->office->config->sessions.copy_to_sender ||
        errand->envelope.type != TYPE_MAIL || !slice_equal(errand->envelope.from, address) ||
        is_recipient(&errand->envelope, address))
        return;
    copy = malloc(sizeof *copy + address.len + device.len);
    if (!copy)
        return;
    *copy = (struct copy){ .office = errand->office,
                           .msg = msg_ref(msg),
                           .address_len = (uint8_t)address.len,
                           .device_len = (uint8_t)device.len };
    memcpy(copy->text, address.data, address.len);
    memcpy(copy->text + address.len, device.data, device.len);
    letter = letter_of(errand, address, msg);
    letter.receipt = 0;
    letter.skip_device = device;
    if (mailbox_append(errand->office->mailbox, &letter, copy_appended, copy)) {
        stats_add(errand->office->stats, STAT_copies_failed, 1);
        msg_unref(copy->msg);
        free(copy);
    }
}

/* Accepted is what every recipient's mailbox has; who could not be served is named. What has
 * expired already is stored as anything is, and read over by whoever reads it there. */
static enum err store_mail(struct errand *errand, struct msg *msg, struct envelope_fault *fault)
{
    const struct envelope *envelope = &errand->envelope;
    struct mailbox *mailbox = errand->office->mailbox;
    bool expired =
        envelope->has_expires_at && envelope->expires_at <= loop_unix_s(errand->office->loop);
    struct ticket *ticket;

    if (!mailbox_is_up(mailbox))
        return envelope_reject(fault, REJECT_STORAGE_UNAVAILABLE, NULL,
                               "Redis is away: nothing can be stored");
    ticket =
        ticket_new(errand->session, errand->id, envelope->recipients, envelope->recipient_count);
    if (!ticket)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    if (!expired)
        ticket_carry(ticket, msg);
    for (uint32_t i = 0; i < envelope->recipient_count; i++) {
        struct mailbox_letter letter = letter_of(errand, envelope->recipients[i], msg);
        struct ticket_part *part = ticket_wait(ticket, &i, 1);
        if (part && mailbox_append(mailbox, &letter, ticket_appended, part))
            ticket_unsent(part);
    }
    if (!expired)
        copy_to_sender(errand, msg);
    if (envelope->type == TYPE_MAIL)
        sent_note(errand->session, envelope->from, errand->id, envelope->recipients,
                  envelope->recipient_count);
    ticket_settle(ticket);
    if (mailbox_is_loaded(mailbox))
        session_stall(errand->session);
    return OK;
}

/* ---- mail while nothing can be stored ---- */

static bool can_answer_at_once(const struct errand *errand)
{
    return errand->workers == 0 && !errand->session->tickets &&
           errand->envelope.recipient_count == 1;
}

static enum err send_mail(struct errand *errand, struct msg *msg, struct envelope_fault *fault)
{
    struct session *session = errand->session;
    struct ticket *ticket;

    if (can_answer_at_once(errand) && deliver_all_here(errand, msg, NULL) == 1) {
        struct msg *answer =
            postmaster_accepted(session_address(session), errand->id,
                                reach_accepted_state(errand->office->reach), NULL, 0);
        stats_add(errand->office->stats, STAT_accepted, 1);
        session_say(session, answer);
        return OK;
    }
    ticket = ticket_new(session, errand->id, errand->envelope.recipients,
                        errand->envelope.recipient_count);
    if (!ticket)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    deliver_all_here(errand, msg, ticket);
    publish_elsewhere(errand, msg, ticket);
    ticket_settle(ticket);
    return OK;
}

static uint8_t flags_of(const struct envelope *envelope)
{
    bool asks = envelope->type == TYPE_MAIL && envelope->has_receipt;

    return (uint8_t)((asks ? MSG_ASKS : 0) | (envelope->has_expires_at ? MSG_EXPIRES : 0));
}

static struct msg *stamp(struct errand *errand)
{
    const struct envelope *envelope = &errand->envelope;

    if (envelope->id.data) {
        errand->id = envelope->id;
    } else {
        uint8_t random[10];
        token_random(random, sizeof random);
        envelope_uuid7(errand->uuid, clock_unix_ms(), random);
        errand->id = slice_of(errand->uuid);
    }
    return envelope_stamp(envelope,
                          &(struct envelope_stamp){
                              .id = errand->id,
                              .from_tag = session_device(errand->session),
                              .now_s = loop_unix_s(errand->office->loop),
                              .keep_state = envelope->type == TYPE_CONTROL && envelope->has_state,
                          },
                          is_mail(errand) ? MSG_MAIL : MSG_SIGNAL);
}

static enum err route(struct errand *errand, struct envelope_fault *fault)
{
    bool stored = is_mail(errand) && errand->office->mailbox;
    struct msg *msg;
    enum err err;

    err = check_from(errand, fault);
    if (err)
        return err;
    if (is_command(&errand->envelope))
        return command_run(errand->session, &errand->envelope, fault);
    for (size_t i = 0; i < errand->envelope.recipient_count; i++)
        if (check_recipient(errand, errand->envelope.recipients[i], fault))
            return ERR_BAD;
    if (errand->envelope.type == TYPE_CONTROL && check_receipt(&errand->envelope, fault))
        return ERR_BAD;
    /* For stored mail that is asked when the mailboxes have answered (doorbell.c), not before. */
    err = stored ? OK : find_places(errand, fault);
    if (err)
        return err;
    msg = stamp(errand);
    if (!msg)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    msg->flags = flags_of(&errand->envelope);
    if (stored)
        err = store_mail(errand, msg, fault);
    else
        err = is_mail(errand) ? send_mail(errand, msg, fault) : send_signal(errand, msg, fault);
    msg_unref(msg);
    return err;
}

void router_message(struct conn *conn, enum ws_opcode opcode, struct slice payload)
{
    struct session *session = (struct session *)conn;
    struct office *office = session->office;
    const struct config *config = office->config;
    struct errand errand = { .office = office, .session = session };
    struct envelope_fault fault = { 0 };
    uint32_t wait_ms;
    enum err err;

    stats_add(office->stats, STAT_messages_in, 1);
    arena_reset(&office->arena);
    wait_ms = limiter_take(&session->limiter, (uint32_t)config->limits.messages_per_s,
                           (uint32_t)config->limits.burst, loop_now_ms(office->loop));
    err = envelope_parse(&errand.envelope, payload, opcode == WS_TEXT,
                         (size_t)config->limits.recipients, &office->arena, &fault);
    if (wait_ms) {
        /* Parsed all the same, so that the sender learns which message it was. */
        struct slice id = err ? fault.id : errand.envelope.id;
        fault = (struct envelope_fault){ .code = REJECT_RATE_LIMITED,
                                         .message = "too many messages: limits.messagesPerSecond",
                                         .id = id };
        reject(session, &fault, wait_ms);
        return;
    }
    if (!err) {
        fault = (struct envelope_fault){ .id = errand.envelope.id };
        err = route(&errand, &fault);
    }
    if (err)
        reject(session, &fault, fault.code == REJECT_STORAGE_UNAVAILABLE ? RETRY_STORAGE_MS : 0);
    grant_unref(errand.own_grant);
}
