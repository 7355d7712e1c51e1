#include "worker/router/router.h"

#include "common/clock.h"
#include "worker/envelope/envelope.h"
#include "worker/envelope/postmaster.h"
#include "worker/router/commands.h"
#include "worker/router/live.h"
#include "worker/router/permission.h"
#include "worker/router/store.h"
#include "worker/session/allowance.h"
#include "worker/token/token.h"

enum { RETRY_MS = 1000 };

/* ---- rejecting ---- */

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

/* A sender is not to blame for its rate, for Redis or for the worker's memory: these count no error
 * of the session. */
static bool is_senders_error(enum reject_code code)
{
    return code != REJECT_RATE_LIMITED && code != REJECT_STORAGE_UNAVAILABLE &&
           code != REJECT_INTERNAL;
}

static bool waiting_helps(enum reject_code code)
{
    return code == REJECT_RATE_LIMITED || code == REJECT_STORAGE_UNAVAILABLE;
}

/* 0: waiting does not help. */
static uint32_t fault_retry_ms(const struct envelope_fault *fault)
{
    if (fault->retry_after_ms)
        return fault->retry_after_ms;
    return waiting_helps(fault->code) ? RETRY_MS : 0;
}

static void reject_message(struct session *session, const struct envelope_fault *fault,
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
    if (is_senders_error(fault->code))
        session_count_error(session);
}

/* ---- a message that can be read ---- */

static enum err check_permission(const struct session *session, const struct envelope *envelope,
                                 struct envelope_fault *fault)
{
    bool remembered = false;
    const struct permission_session from = {
        .address = session_address(session),
        .grant = session->grant,
        .config = session->office->config,
        .now_s = loop_unix_s(session->office->loop),
        .tokens = session->office->tokens,
        .remembered = &remembered,
    };
    struct grant *own;
    enum err err = permission_check_from(&from, envelope, &own, fault);

    if (!err && !envelope_is_command(envelope))
        err = permission_check_message(own ? own : session->grant, envelope, fault);
    if (remembered)
        stats_add(session->office->stats, STAT_tokens_remembered, 1);
    grant_unref(own);
    return err;
}

/* The id that the message gets when its sender gave it none; data NULL: out of memory. */
static struct slice make_id(struct arena *arena)
{
    uint8_t random[10];
    char *text = arena_take(arena, ENVELOPE_UUID_SIZE);

    if (!text)
        return (struct slice){ 0 };
    token_random(random, sizeof random);
    envelope_uuid7(text, clock_unix_ms(), random);
    return slice_make(text, ENVELOPE_UUID_SIZE - 1);
}

static uint8_t flags_of(const struct envelope *envelope)
{
    bool asks = envelope->type == TYPE_MAIL && envelope->has_receipt;

    return (uint8_t)((asks ? MSG_ASKS : 0) | (envelope->has_expires_at ? MSG_EXPIRES : 0));
}

/* The outgoing message; NULL when out of memory. From here on the envelope has an id. */
static struct msg *stamp_message(const struct session *session, struct envelope *envelope)
{
    struct office *office = session->office;
    struct slice id = envelope->id.data ? envelope->id : make_id(&office->arena);
    struct msg *msg;

    if (!id.data)
        return NULL;
    msg = envelope_stamp(envelope,
                         &(struct envelope_stamp){
                             .id = id,
                             .from_tag = session_device(session),
                             .now_s = loop_unix_s(office->loop),
                             .keep_state = envelope->type == TYPE_CONTROL && envelope->has_state,
                         },
                         envelope->type == TYPE_SIGNAL ? MSG_SIGNAL : MSG_MAIL);
    if (!msg)
        return NULL;
    msg->flags = flags_of(envelope);
    envelope->id = id;
    return msg;
}

static enum err send_message(struct session *session, struct envelope *envelope,
                             struct envelope_fault *fault)
{
    struct msg *msg = stamp_message(session, envelope);
    enum err err;

    if (!msg)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    if (envelope->type == TYPE_SIGNAL)
        err = live_send_signal(session, envelope, msg, fault);
    else if (session->office->mailbox)
        err = store_message(session, envelope, msg, fault);
    else
        err = live_send_mail(session, envelope, msg, fault);
    msg_unref(msg);
    return err;
}

static enum err route_message(struct session *session, struct envelope *envelope,
                              struct envelope_fault *fault)
{
    if (check_permission(session, envelope, fault))
        return ERR_BAD;
    if (envelope_is_command(envelope))
        return command_run(session, envelope, fault);
    return send_message(session, envelope, fault);
}

/* Acknowledgements have a bucket of their own: a reader that acknowledges each message of a replay
 * must still be able to send. */
static uint32_t take_allowance(struct session *session, const struct envelope *envelope,
                               struct envelope_fault *limited)
{
    struct office *office = session->office;
    bool is_ack =
        envelope && envelope_is_command(envelope) && slice_equal(envelope->subject, SLICE("ack"));
    uint32_t wait_ms = is_ack ? allowance_take_ack(office, session->allowance)
                              : allowance_take_message(office, session->allowance);

    if (wait_ms == 0)
        return 0;
    if (is_ack)
        stats_add(office->stats, STAT_acks_limited, 1);
    *limited = (struct envelope_fault){
        .code = REJECT_RATE_LIMITED,
        .message = is_ack ? "too many acknowledgements: limits.acksPerSecond"
                          : "too many messages: limits.messagesPerSecond",
    };
    return wait_ms;
}

void router_message(struct conn *conn, enum ws_opcode opcode, struct slice payload)
{
    struct session *session = session_of(conn);
    struct office *office = session->office;
    const struct config *config = office->config;
    struct envelope envelope;
    struct envelope_fault fault, limited;
    uint32_t wait_ms;
    enum err err;

    stats_add(office->stats, STAT_messages_in, 1);
    arena_reset(&office->arena);
    err = envelope_parse(&envelope, payload, opcode == WS_TEXT, (size_t)config->limits.recipients,
                         &office->arena, &fault);
    /* Behind the parsing, which tells acknowledgements apart and finds the id of what is rejected.
     */
    wait_ms = take_allowance(session, err ? NULL : &envelope, &limited);
    if (wait_ms) {
        limited.id = err ? fault.id : envelope.id;
        reject_message(session, &limited, wait_ms);
        return;
    }
    if (!err) {
        fault = (struct envelope_fault){ .id = envelope.id };
        err = route_message(session, &envelope, &fault);
    }
    if (err)
        reject_message(session, &fault, fault_retry_ms(&fault));
}
