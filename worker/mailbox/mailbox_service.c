/* The call of the service script, and its answer. */
#include "worker/mailbox/mailbox_service.h"

#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"

#include <stdlib.h>

enum {
    GIVE_MAX = 128,         /* messages a call gives to sessions */
    TAKE_BYTES = 256 << 10, /* of them, to the sessions of the calling worker */
    LIST_MAX = 100000,      /* elements of a list in an answer */
};

/* ---- the call ---- */

/* "NUMBER+" for a session with room, "NUMBER-" for one without. */
static void add_consumers(struct call *call, const struct mailbox_work *work)
{
    struct buf *text = call_text(call);

    for (size_t i = 0; i < work->consumer_count; i++) {
        buf_addf(text, "%llu%c", (unsigned long long)work->consumers[i].number,
                 work->consumers[i].room ? '+' : '-');
    }
    call_text_end(call);
}

static void add_seqs(struct call *call, const struct seq *seqs, size_t count)
{
    struct buf *text = call_text(call);

    for (size_t i = 0; i < count; i++)
        call_text_seq(text, seqs[i]);
    call_text_end(call);
}

static void on_worked(struct op *op, const struct redis_reply *reply);

enum err mailbox_work(struct mailbox *mailbox, const struct mailbox_work *work,
                      mailbox_worked_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_SERVICE);
    call_keys(&call, work->address, CALL_KEYS(":box", ":svc", ":svn", ":cur"));
    call_global_key(&call, "places");
    call_add(&call, slice_of(mailbox->place));
    call_add(&call, slice_of(mailbox->epoch));
    call_add_int(&call, work->credit);
    call_add_int(&call, GIVE_MAX);
    call_add_int(&call, TAKE_BYTES);
    add_consumers(&call, work);
    add_seqs(&call, work->acks, work->ack_count);
    call_add(&call, work->dead);
    call_add(&call, work->alive);
    if (work->again)
        call_add_int(&call, (int64_t)work->again);
    else
        call_add(&call, SLICE(""));
    add_seqs(&call, work->held, work->held_count);
    return call_put(&call, on_worked, (op_done)done, arg);
}

/* ---- the answer ---- */

/* "MORE BUSY EXPIRED GONE BAD MOVED" */
static bool parse_head(struct slice text, struct mailbox_worked *worked)
{
    uint64_t numbers[6] = { 0 };
    size_t field = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(unsigned char)text.data[i] - '0';
        if (text.data[i] == ' ' && field < 5)
            field++;
        else if (digit <= 9)
            numbers[field] = numbers[field] * 10 + digit;
        else
            return false;
    }
    worked->more = numbers[0] != 0;
    worked->busy = numbers[1] != 0;
    worked->expired = numbers[2];
    worked->gone = numbers[3];
    worked->bad = numbers[4];
    worked->moved = numbers[5];
    return field == 5;
}

static size_t take_places(const struct redis_reply *array, struct slice *places)
{
    size_t count = 0;

    for (size_t i = 0; i < array->count; i++) {
        struct redis_reply place = redis_reply_at(array, i);
        if (place.type == REDIS_STRING)
            places[count++] = place.text;
    }
    return count;
}

/* A session's number, an entry, a number, an entry, … */
static void take_given(const struct redis_reply *array, struct mailbox_given *given,
                       struct seq *unreadable, struct mailbox_worked *worked)
{
    for (size_t i = 0; i + 1 < array->count; i += 2) {
        struct redis_reply number = redis_reply_at(array, i), entry = redis_reply_at(array, i + 1);
        struct mailbox_given *one = &given[worked->given_count];
        struct seq parsed;
        if (number.type == REDIS_STRING && seq_parse(number.text, &parsed) &&
            mailbox_entry_parse(&entry, &one->entry)) {
            one->number = parsed.ms;
            worked->given_count++;
        } else if (mailbox_answer_seq(&entry, 0, &parsed)) {
            unreadable[worked->unreadable_count++] = parsed;
        }
    }
}

static bool is_list(const struct redis_reply *reply)
{
    return reply->type == REDIS_ARRAY && reply->count <= LIST_MAX;
}

/* MORE…, places to ring, places with sessions, what was given. */
static bool parse_worked(const struct redis_reply *reply, struct redis_reply lists[3],
                         struct mailbox_worked *worked)
{
    struct redis_reply head = redis_reply_at(reply, 0);

    for (size_t i = 0; i < 3; i++)
        lists[i] = redis_reply_at(reply, i + 1);
    return head.type == REDIS_STRING && parse_head(head.text, worked) && is_list(&lists[0]) &&
           is_list(&lists[1]) && is_list(&lists[2]);
}

static void report_worked(struct op *op, const struct mailbox_worked *worked)
{
    ((mailbox_worked_cb)op->done)(op->arg, worked);
}

static void report_lists(struct op *op, struct mailbox_worked *worked,
                         const struct redis_reply lists[3])
{
    const struct redis_reply *rung = &lists[0], *others = &lists[1], *given = &lists[2];
    struct slice *places = calloc(rung->count + others->count + 1, sizeof *places);
    struct mailbox_given *rows = calloc(given->count / 2 + 1, sizeof *rows);
    struct seq *unreadable = calloc(given->count / 2 + 1, sizeof *unreadable);

    if (places && rows && unreadable) {
        worked->ok = true;
        worked->tell_count = take_places(rung, places);
        worked->tell = places;
        worked->places = places + worked->tell_count;
        worked->place_count = take_places(others, places + worked->tell_count);
        take_given(given, rows, unreadable, worked);
        worked->given = rows;
        worked->unreadable = unreadable;
        op->mailbox->counts.bad += worked->bad + worked->unreadable_count;
    }
    report_worked(op, worked);
    free(places);
    free(rows);
    free(unreadable);
}

static void on_worked(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_worked worked = { .ok = false };
    struct redis_reply lists[3];

    if (reply && reply->type == REDIS_ARRAY && reply->count == 4 &&
        parse_worked(reply, lists, &worked))
        report_lists(op, &worked, lists);
    else
        report_worked(op, &(struct mailbox_worked){ .ok = false });
}
