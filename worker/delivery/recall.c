/*
 * The recipients of a message stand in the sender's log (sent.c). The log is searched from its
 * newest entry on, a bounded part at a time and in all: a recall of an id that was never sent must
 * not read a log of any size. Each recipient's mailbox is then asked, a few at a time; one script
 * removes the message and says what it found.
 *
 * A recall is an errand: one of a session is under way. The session is named by its number: a
 * recall that is under way goes on when the session has ended meanwhile.
 */
#include "worker/delivery/recall.h"

#include "common/json.h"
#include "worker/envelope/postmaster.h"
#include "worker/delivery/payment.h"
#include "worker/delivery/sent.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_receipts.h"
#include "worker/session/errands.h"

#include <stdlib.h>

enum {
    AT_ONCE = 16,             /* mailboxes that are asked at a time: within a share of turns.h */
    SEARCH_BYTES = 16 << 20,  /* of the sender's log, in all */
    ANSWER_BYTES = 64 * 1024, /* expected of the result */
};

struct recall;

struct target {
    struct recall *recall;
    struct slice address;
    enum mailbox_recall_outcome outcome;
};

struct recall {
    struct errand errand;
    struct office *office;
    struct buf text; /* the message's id, the sender, the recipients */
    struct slice id, from;
    uint64_t entries_searched, bytes_searched;
    struct target *targets;
    size_t count; /* of targets; behind them stands the sender itself, whose devices got copies */
    size_t next, waiting;
    uint16_t lane; /* of the session's address: its messages wait there */
};

static void recall_free(struct recall *recall)
{
    buf_fini(&recall->text);
    free(recall->targets);
    free(recall);
}

static void recall_drop(struct errand *errand)
{
    recall_free((struct recall *)(void *)errand);
}

/* The answer has been queued. */
static void recall_end(struct recall *recall)
{
    struct asker asker = recall->errand.asker;

    recall_free(recall);
    errands_done(&asker);
}

/* ---- the answer ---- */

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
    struct session *session = asker_session(&recall->errand.asker);
    struct buf *out;

    if (!session)
        return;
    out = postmaster_begin_result(session_address(session), asker_id(&recall->errand.asker));
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

static void recall_go_on(struct recall *recall)
{
    while (recall->waiting < AT_ONCE && recall->next <= recall->count) {
        struct target *target = &recall->targets[recall->next++];
        if (recall->office->mailbox &&
            mailbox_recall(recall->office->mailbox, target->address, recall->from, recall->id,
                           recall->lane, on_recall_answered, target) == OK)
            recall->waiting++;
        else
            take_outcome(recall, target, MAILBOX_RECALL_UNKNOWN);
    }
    if (recall->waiting)
        return;
    say_result(recall);
    recall_end(recall);
}

static void on_recall_answered(void *arg, struct mailbox_recalled *recalled)
{
    struct target *target = arg;
    struct recall *recall = target->recall;

    take_outcome(recall, target, recalled->outcome);
    payment_pay_all(recall->office, &recalled->debts);
    recall->waiting--;
    recall_go_on(recall);
}

/* ---- the sender's log ---- */

static void log_searched(void *arg, const struct mailbox_sent *sent);

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
    recall->id = slice_make(data, recall->id.len);
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
    return recall->office->mailbox &&
           mailbox_find_sent(recall->office->mailbox, recall->from, recall->id, before,
                             log_searched, recall) == OK;
}

static bool may_search_on(struct recall *recall, const struct mailbox_sent *sent)
{
    recall->entries_searched += sent->entries;
    recall->bytes_searched += sent->bytes;
    return sent->more && recall->bytes_searched < SEARCH_BYTES &&
           recall->entries_searched < (uint64_t)recall->office->config->limits.recall_entries;
}

static void say_not_found(struct recall *recall, const struct mailbox_sent *sent)
{
    errands_reject(&recall->errand.asker, REJECT_NOT_FOUND, "inReplyTo",
                   sent->more ? "no message with this id is among the latest that were sent"
                              : "no message with this id was sent");
}

static void log_searched(void *arg, const struct mailbox_sent *sent)
{
    struct recall *recall = arg;
    bool searched;

    if (sent->ok && sent->found && take_recipients(recall, sent->recipients)) {
        recall_go_on(recall);
        return;
    }
    searched = sent->ok && !sent->found && !may_search_on(recall, sent);
    if (sent->ok && !sent->found && !searched && read_log(recall, sent->last))
        return;
    if (searched)
        say_not_found(recall, sent);
    else
        errands_reject(&recall->errand.asker, REJECT_STORAGE_UNAVAILABLE, NULL, "Redis is away");
    recall_end(recall);
}

/* ---- the command ---- */

static void recall_begin(struct errand *errand, struct session *session)
{
    struct recall *recall = (struct recall *)(void *)errand;

    sent_flush(session->office); /* the message may have been sent in this turn */
    if (read_log(recall, (struct seq){ 0, 0 }))
        return;
    errands_reject(&errand->asker, REJECT_STORAGE_UNAVAILABLE, NULL, "Redis is away");
    recall_end(recall);
}

static struct recall *recall_new(struct session *session, const struct envelope *envelope)
{
    struct recall *recall = calloc(1, sizeof *recall);

    if (!recall)
        return NULL;
    recall->office = session->office;
    recall->lane = mailbox_lane(session->entry->key.lo);
    buf_init(&recall->text, 1 << 24);
    buf_add_slice(&recall->text, envelope->in_reply_to);
    buf_add_slice(&recall->text, envelope->from);
    if (recall->text.failed) {
        recall_free(recall);
        return NULL;
    }
    recall->id = slice_make(recall->text.data, envelope->in_reply_to.len);
    recall->from = slice_make(recall->id.data + recall->id.len, envelope->from.len);
    recall->errand = (struct errand){ .asker = asker_of(session, envelope->id),
                                      .bytes = sizeof *recall + recall->text.size,
                                      .answer_bytes = ANSWER_BYTES,
                                      .begin = recall_begin,
                                      .drop = recall_drop };
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
    recall = recall_new(session, envelope);
    if (!recall)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    return errands_command(session, &recall->errand, fault);
}
