/*
 * The recipients of a message stand in the sender's log (sent.c). Each recipient's mailbox is then
 * asked, a few at a time; one script removes the message and says what it found. The session is
 * named by its number: the recall goes on when the session has ended meanwhile.
 */
#include "worker/delivery/recall.h"

#include "common/json.h"
#include "worker/envelope/postmaster.h"
#include "worker/delivery/payment.h"
#include "worker/delivery/sent.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_receipts.h"

#include <stdlib.h>

enum { AT_ONCE = 32 }; /* mailboxes that are asked at a time */

struct recall;

struct target {
    struct recall *recall;
    struct slice address;
    enum mailbox_recall_outcome outcome;
};

struct recall {
    struct office *office;
    uint64_t number; /* of the session that asks, which may have ended by the answer */
    struct buf text; /* the command's id, the message's id, the sender, the recipients */
    struct slice command_id, id, from, addresses;
    struct target *targets;
    size_t count; /* of targets; behind them stands the sender itself, whose devices got copies */
    size_t next, waiting;
};

static void recall_free(struct recall *recall)
{
    buf_fini(&recall->text);
    free(recall->targets);
    free(recall);
}

/* ---- the answer ---- */

/* The session that asked; NULL: it has ended, or is closing. */
static struct session *recall_session(const struct recall *recall)
{
    return session_open_by_number(recall->office, recall->number);
}

static void say_rejected(const struct recall *recall, enum reject_code code, const char *message)
{
    struct session *session = recall_session(recall);

    stats_add(
        recall->office->stats,
        code == REJECT_NOT_FOUND ? STAT_rejected_not_found : STAT_rejected_storage_unavailable, 1);
    if (!session)
        return;
    session_say(session,
                postmaster_rejected(session_address(session),
                                    &(struct postmaster_rejection){
                                        .code = code,
                                        .message = message,
                                        .field = code == REJECT_NOT_FOUND ? "inReplyTo" : NULL,
                                        .id = recall->command_id,
                                        .retry_after_ms = code == REJECT_NOT_FOUND ? 0 : 1000,
                                    }));
    if (code == REJECT_NOT_FOUND)
        session_count_error(session);
}

static const char *code_of(enum mailbox_recall_outcome outcome)
{
    switch (outcome) {
    case MAILBOX_WAS_READ:
        return "delivered";
    case MAILBOX_NOT_THERE:
        return "not-found";
    default:
        return "storage-unavailable";
    }
}

static void add_targets(struct buf *out, const struct recall *recall, bool recalled)
{
    bool any = false;

    for (size_t i = 0; i < recall->count; i++) {
        const struct target *target = &recall->targets[i];
        if ((target->outcome == MAILBOX_RECALLED) != recalled)
            continue;
        if (any)
            buf_add_char(out, ',');
        any = true;
        if (!recalled)
            buf_add_text(out, "{\"address\":");
        json_add_string(out, target->address);
        if (!recalled)
            buf_addf(out, ",\"code\":\"%s\"}", code_of(target->outcome));
    }
}

static void say_result(const struct recall *recall)
{
    struct session *session = recall_session(recall);
    struct buf *out;

    if (!session)
        return;
    out = postmaster_begin_result(session_address(session), recall->command_id);
    buf_add_text(out, ",\"recalled\":[");
    add_targets(out, recall, true);
    buf_add_text(out, "],\"notRecalled\":[");
    add_targets(out, recall, false);
    buf_add_char(out, ']');
    session_say(session, postmaster_end(MSG_ANSWER));
}

/* ---- the mailboxes ---- */

static void on_recall_answered(void *arg, struct mailbox_recalled *recalled);

static void take_outcome(struct recall *recall, struct target *target,
                         enum mailbox_recall_outcome outcome)
{
    target->outcome = outcome;
    if (outcome == MAILBOX_RECALLED)
        stats_add(recall->office->stats, STAT_mail_recalled, 1);
}

static void go_on(struct recall *recall)
{
    while (recall->waiting < AT_ONCE && recall->next <= recall->count) {
        struct target *target = &recall->targets[recall->next++];
        if (recall->office->mailbox &&
            mailbox_recall(recall->office->mailbox, target->address, recall->from, recall->id,
                           on_recall_answered, target) == OK)
            recall->waiting++;
        else
            take_outcome(recall, target, MAILBOX_RECALL_UNKNOWN);
    }
    if (recall->waiting)
        return;
    say_result(recall);
    recall_free(recall);
}

static void on_recall_answered(void *arg, struct mailbox_recalled *recalled)
{
    struct target *target = arg;
    struct recall *recall = target->recall;

    take_outcome(recall, target, recalled->outcome);
    payment_pay_all(recall->office, &recalled->debts);
    recall->waiting--;
    go_on(recall);
}

/* ---- the sender's log ---- */

static void on_sent(void *arg, const struct mailbox_sent *sent);

static size_t count_lines(struct slice text)
{
    size_t count = text.len > 0;

    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == '\n';
    return count;
}

/* Copies the recipients behind the other texts. Only then the slices are made: the buffer may move
 * while it grows. */
static bool take_recipients(struct recall *recall, struct slice lines)
{
    size_t room = count_lines(lines), at = recall->text.len;
    const char *data;

    buf_add_slice(&recall->text, lines);
    recall->targets = calloc(room + 1, sizeof *recall->targets);
    if (recall->text.failed || !recall->targets)
        return false;
    data = recall->text.data;
    recall->command_id = slice_make(data, recall->command_id.len);
    recall->id = slice_make(data + recall->command_id.len, recall->id.len);
    recall->from = slice_make(recall->id.data + recall->id.len, recall->from.len);
    for (size_t from = at; from < recall->text.len; from++) {
        const char *end = memchr(data + from, '\n', recall->text.len - from);
        size_t len = end ? (size_t)(end - data) - from : recall->text.len - from;
        if (len)
            recall->targets[recall->count++] =
                (struct target){ .recall = recall, .address = slice_make(data + from, len) };
        from += len;
    }
    recall->targets[recall->count] = (struct target){ .recall = recall, .address = recall->from };
    return true;
}

static bool read_log(struct recall *recall, struct seq before)
{
    return recall->office->mailbox && mailbox_find_sent(recall->office->mailbox, recall->from,
                                                        recall->id, before, on_sent, recall) == OK;
}

static void on_sent(void *arg, const struct mailbox_sent *sent)
{
    struct recall *recall = arg;

    if (sent->ok && sent->found && take_recipients(recall, sent->recipients)) {
        go_on(recall);
        return;
    }
    if (sent->ok && !sent->found && sent->more && read_log(recall, sent->last))
        return;
    if (sent->ok && !sent->found && !sent->more)
        say_rejected(recall, REJECT_NOT_FOUND, "no message with this id was sent");
    else
        say_rejected(recall, REJECT_STORAGE_UNAVAILABLE, "Redis is away");
    recall_free(recall);
}

/* ---- the command ---- */

static struct recall *recall_new(struct session *session, const struct envelope *envelope)
{
    struct recall *recall = calloc(1, sizeof *recall);

    if (!recall)
        return NULL;
    recall->office = session->office;
    recall->number = session->number;
    buf_init(&recall->text, 1 << 20);
    buf_add_slice(&recall->text, envelope->id);
    buf_add_slice(&recall->text, envelope->in_reply_to);
    buf_add_slice(&recall->text, envelope->from);
    if (recall->text.failed) {
        recall_free(recall);
        return NULL;
    }
    recall->command_id = slice_make(recall->text.data, envelope->id.len);
    recall->id = slice_make(recall->text.data + envelope->id.len, envelope->in_reply_to.len);
    recall->from = slice_make(recall->id.data + recall->id.len, envelope->from.len);
    return recall;
}

/* Could a message have this id? */
static bool is_id(struct slice text)
{
    if (text.len == 0 || text.len > ENVELOPE_ID_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] <= ' ')
            return false;
    return true;
}

enum err recall_command(struct session *session, const struct envelope *envelope,
                        struct envelope_fault *fault)
{
    struct office *office = session->office;
    struct recall *recall;

    if (!envelope->in_reply_to.data)
        return envelope_reject(fault, REJECT_MISSING_FIELD, "inReplyTo",
                               "recall names the message in inReplyTo");
    if (!office->mailbox)
        return envelope_reject(fault, REJECT_STORAGE_UNAVAILABLE, NULL,
                               "nothing is stored without Redis");
    if (!is_id(envelope->in_reply_to))
        return envelope_reject(fault, REJECT_NOT_FOUND, "inReplyTo",
                               "no message with this id was sent");
    if (!mailbox_is_up(office->mailbox))
        return envelope_reject(fault, REJECT_STORAGE_UNAVAILABLE, NULL, "Redis is away");
    sent_flush(office); /* the message may have been sent in this turn */
    recall = recall_new(session, envelope);
    if (!recall)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    if (read_log(recall, (struct seq){ 0, 0 }))
        return OK;
    recall_free(recall);
    return envelope_reject(fault, REJECT_STORAGE_UNAVAILABLE, NULL, "Redis is away");
}
