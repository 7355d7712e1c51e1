/* The work of a service address: what a worker says to the script, and what the script says. */
#include "worker/mailbox/mailbox_parts.h"

#include <stdlib.h>

enum {
    GIVE_MAX = 128,         /* messages a call */
    TAKE_BYTES = 256 << 10, /* of them, to the asking worker's own sessions */
    TEXT_BYTES_MAX = 1 << 20,
    LIST_MAX = 100000, /* elements of an answer */
};

/* ---- what is said ---- */

static void add_consumers(struct buf *out, const struct mailbox_work *work)
{
    for (size_t i = 0; i < work->consumer_count; i++)
        buf_addf(out, "%llu%c", (unsigned long long)work->consumers[i].number,
                 work->consumers[i].room ? '+' : '-');
}

static void add_seqs(struct buf *out, const struct seq *seqs, size_t count)
{
    char text[SEQ_TEXT_MAX];

    for (size_t i = 0; i < count; i++) {
        buf_add(out, text, seq_format(text, seqs[i]));
        buf_add_char(out, ' ');
    }
}

/* Of the arguments; they are copied when the command is put into the row. */
struct texts {
    struct buf places_key, consumers, acks, held;
};

static void on_worked(struct op *op, const struct redis_reply *reply);

static enum err put(struct mailbox *mailbox, const struct mailbox_work *work,
                    const struct texts *texts, mailbox_worked_cb done, void *arg)
{
    static const char *const suffixes[4] = { ":box", ":svc", ":svn", ":cur" };
    const struct op like = { .finish = on_worked, .done = (void (*)(void))done, .arg = arg };
    struct command command;
    struct slice keys[4];

    if (!mailbox_keys(mailbox, work->address, keys, suffixes, 4))
        return ERR_NOMEM;
    command_script(&command, mailbox, SCRIPT_SERVICE, 5);
    for (unsigned i = 0; i < 4; i++)
        command_add(&command, keys[i]);
    command_add(&command, buf_slice(&texts->places_key));
    command_add(&command, slice_of(mailbox->place));
    command_add(&command, slice_of(mailbox->epoch));
    command_add_int(&command, work->credit);
    command_add_int(&command, GIVE_MAX);
    command_add_int(&command, TAKE_BYTES);
    command_add(&command, buf_slice(&texts->consumers));
    command_add(&command, buf_slice(&texts->acks));
    command_add(&command, work->dead);
    command_add(&command, work->alive);
    if (work->again)
        command_add_int(&command, (int64_t)work->again);
    else
        command_add(&command, SLICE(""));
    command_add(&command, buf_slice(&texts->held));
    return mailbox_put(mailbox, &command, &like);
}

enum err mailbox_work(struct mailbox *mailbox, const struct mailbox_work *work,
                      mailbox_worked_cb done, void *arg)
{
    struct texts texts;
    enum err err = ERR_NOMEM;

    buf_init(&texts.places_key, TEXT_BYTES_MAX);
    buf_init(&texts.consumers, TEXT_BYTES_MAX);
    buf_init(&texts.acks, TEXT_BYTES_MAX);
    buf_init(&texts.held, TEXT_BYTES_MAX);
    buf_addf(&texts.places_key, "%splaces", mailbox->prefix);
    add_consumers(&texts.consumers, work);
    add_seqs(&texts.acks, work->acks, work->ack_count);
    add_seqs(&texts.held, work->held, work->held_count);
    if (!texts.places_key.failed && !texts.consumers.failed && !texts.acks.failed &&
        !texts.held.failed)
        err = put(mailbox, work, &texts, done, arg);
    buf_fini(&texts.places_key);
    buf_fini(&texts.consumers);
    buf_fini(&texts.acks);
    buf_fini(&texts.held);
    return err;
}

/* ---- what is answered ---- */

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

static size_t parse_places(const struct redis_reply *array, struct slice *places)
{
    size_t count = 0;

    for (size_t i = 0; i < array->count; i++) {
        struct redis_reply place = redis_reply_at(array, i);
        if (place.type == REDIS_STRING)
            places[count++] = place.text;
    }
    return count;
}

/* number, entry, number, entry, … */
static void parse_given(const struct redis_reply *array, struct mailbox_given *given,
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
        } else if (reply_seq(&entry, 0, &parsed)) {
            unreadable[worked->unreadable_count++] = parsed;
        }
    }
}

static bool is_list(const struct redis_reply *reply)
{
    return reply->type == REDIS_ARRAY && reply->count <= LIST_MAX;
}

static void tell(struct op *op, const struct mailbox_worked *worked)
{
    ((mailbox_worked_cb)op->done)(op->arg, worked);
}

/* The parts of an answer that has the right shape. */
static void tell_parts(struct op *op, struct mailbox_worked *worked, const struct redis_reply *rung,
                       const struct redis_reply *others, const struct redis_reply *given)
{
    struct slice *places = calloc(rung->count + others->count + 1, sizeof *places);
    struct mailbox_given *rows = calloc(given->count / 2 + 1, sizeof *rows);
    struct seq *unreadable = calloc(given->count / 2 + 1, sizeof *unreadable);

    if (places && rows && unreadable) {
        worked->ok = true;
        worked->tell_count = parse_places(rung, places);
        worked->tell = places;
        worked->places = places + worked->tell_count;
        worked->place_count = parse_places(others, places + worked->tell_count);
        parse_given(given, rows, unreadable, worked);
        worked->given = rows;
        worked->unreadable = unreadable;
        op->mailbox->counts.bad += worked->bad + worked->unreadable_count;
    }
    tell(op, worked);
    free(places);
    free(rows);
    free(unreadable);
}

static void on_worked(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_worked worked = { .ok = false };
    struct redis_reply head, rung, others, given;

    if (!reply || reply->type != REDIS_ARRAY || reply->count != 4) {
        tell(op, &worked);
        return;
    }
    head = redis_reply_at(reply, 0);
    rung = redis_reply_at(reply, 1);
    others = redis_reply_at(reply, 2);
    given = redis_reply_at(reply, 3);
    if (head.type == REDIS_STRING && parse_head(head.text, &worked) && is_list(&rung) &&
        is_list(&others) && is_list(&given))
        tell_parts(op, &worked, &rung, &others, &given);
    else
        tell(op, &(struct mailbox_worked){ .ok = false });
}
