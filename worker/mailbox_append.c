/* Appending: a letter as the arguments of the script, and what the script says. */
#include "worker/mailbox_parts.h"

#include <stdio.h>
#include <stdlib.h>

enum { PLACES_MAX = 4096 };

static bool id_is_good(struct slice id)
{
    return id.len > 0 && id.len <= 256 && !memchr(id.data, '/', id.len) &&
           !memchr(id.data, 0, id.len);
}

static void add_field(struct command *command, struct slice name, struct slice value)
{
    command_add(command, name);
    command_add(command, value);
}

static void add_number(struct command *command, struct slice name, int64_t value)
{
    if (value == 0)
        return;
    command_add(command, name);
    command_add_int(command, value);
}

static void encode(struct mailbox *mailbox, struct command *command,
                   const struct mailbox_letter *letter, const struct slice keys[3],
                   struct slice thread)
{
    command_script(command, mailbox, SCRIPT_APPEND, 3);
    for (unsigned i = 0; i < 3; i++)
        command_add(command, keys[i]);
    command_add_int(command, mailbox->messages_max);
    command_add(command, mailbox->reject_full ? SLICE("1") : SLICE("0"));
    command_add_int(command, mailbox->age_s);
    command_add_int(command, mailbox->dedupe_s);
    command_add(command, thread);
    add_field(command, SLICE("f"), letter->from);
    add_field(command, SLICE("i"), letter->id);
    add_field(command, SLICE("b"), letter->body);
    add_number(command, SLICE("x"), letter->expires_at);
    add_number(command, SLICE("r"), letter->receipt);
    add_number(command, SLICE("l"), letter->level);
    if (letter->skip_device.data)
        add_field(command, SLICE("d"), letter->skip_device);
    if (thread.len)
        add_field(command, SLICE("t"), thread);
}

/* --- the answer --- */

static enum mailbox_outcome outcome_without(const struct op *op)
{
    return op->maybe ? MAILBOX_UNKNOWN : MAILBOX_UNAVAILABLE;
}

static bool places_reserve(struct mailbox *mailbox, size_t count)
{
    struct slice *places;

    if (count > PLACES_MAX)
        return false;
    if (count <= mailbox->places_size)
        return true;
    places = realloc(mailbox->places, count * sizeof *places);
    if (!places)
        return false;
    mailbox->places = places;
    mailbox->places_size = count;
    return true;
}

static void take_places(struct mailbox *mailbox, const struct redis_reply *array,
                        struct mailbox_appended *appended)
{
    struct slice own = slice_of(mailbox->place);
    struct slice *places;

    if (!places_reserve(mailbox, array->count))
        return;
    places = mailbox->places;
    for (size_t i = 0; i < array->count; i++) {
        struct redis_reply place = redis_reply_at(array, i);
        if (place.type == REDIS_STRING && !slice_equal(place.text, own))
            places[appended->elsewhere_count++] = place.text;
    }
    appended->elsewhere = places;
}

static struct mailbox_appended parse(struct op *op, const struct redis_reply *reply)
{
    struct mailbox *mailbox = op->mailbox;
    struct mailbox_appended appended = { .outcome = outcome_without(op) };
    struct redis_reply code = redis_reply_at(reply, 0), trimmed = redis_reply_at(reply, 3),
                       places = redis_reply_at(reply, 4);

    if (reply->type == REDIS_ERROR)
        return appended;
    if (code.type != REDIS_INTEGER || code.integer < 0 || code.integer > MAILBOX_FULL ||
        !reply_seq(reply, 1, &appended.seq) || !reply_seq(reply, 2, &appended.before)) {
        appended.outcome = MAILBOX_UNKNOWN; /* who answers like this? */
        mailbox_trouble(mailbox, SLICE("an append was answered with something else"));
        return appended;
    }
    appended.outcome = (enum mailbox_outcome)code.integer;
    if (trimmed.type == REDIS_INTEGER && trimmed.integer > 0)
        mailbox->counts.trimmed += (uint64_t)trimmed.integer;
    if (appended.outcome == MAILBOX_REPEATED && op->maybe)
        appended.outcome = MAILBOX_STORED; /* by our first attempt, whose answer was lost */
    mailbox->counts.repeated += appended.outcome == MAILBOX_REPEATED;
    take_places(mailbox, &places, &appended);
    return appended;
}

/* By it we will know whether Redis came back with all that it said was stored. */
static void remember(struct op *op, const struct mailbox_appended *appended)
{
    struct mailbox *mailbox = op->mailbox;
    struct slice key = op->args[3];

    if (appended->outcome != MAILBOX_STORED || key.len >= sizeof mailbox->newest_key)
        return;
    memcpy(mailbox->newest_key, key.data, key.len);
    mailbox->newest_key[key.len] = 0;
    mailbox->newest = appended->seq;
}

/* A copy of the places, for as long as the op waits for the replicas. */
static void hold_places(struct op *op)
{
    struct mailbox_appended *appended = &op->appended;
    size_t bytes = appended->elsewhere_count * sizeof(struct slice);
    struct slice *copies;
    char *at;

    for (size_t i = 0; i < appended->elsewhere_count; i++)
        bytes += appended->elsewhere[i].len;
    free(op->held);
    op->held = bytes ? malloc(bytes) : NULL;
    if (!op->held)
        appended->elsewhere_count = 0;
    copies = (struct slice *)(void *)op->held;
    at = op->held + appended->elsewhere_count * sizeof(struct slice);
    for (size_t i = 0; i < appended->elsewhere_count; i++) {
        struct slice place = appended->elsewhere[i];
        memcpy(at, place.data, place.len);
        copies[i] = slice_make(at, place.len);
        at += place.len;
    }
    appended->elsewhere = copies;
}

void append_told(struct op *op)
{
    ((mailbox_appended_cb)op->done)(op->arg, &op->appended);
}

static void on_appended(struct op *op, const struct redis_reply *reply)
{
    if (!reply) {
        op->appended = (struct mailbox_appended){ .outcome = outcome_without(op) };
        append_told(op);
        return;
    }
    op->appended = parse(op, reply);
    remember(op, &op->appended);
    if (op->mailbox->replica)
        hold_places(op);
    else
        append_told(op);
}

enum err mailbox_append(struct mailbox *mailbox, const struct mailbox_letter *letter,
                        mailbox_appended_cb done, void *arg)
{
    static const char *const suffixes[3] = { ":box", ":ids", ":at" };
    const struct op like = {
        .finish = on_appended, .done = (void (*)(void))done, .arg = arg, .is_append = true
    };
    struct command command;
    struct slice keys[3], thread;
    char room[THREAD_KEY_MAX];

    if (!id_is_good(letter->id))
        return ERR_BAD;
    if (!mailbox_keys(mailbox, letter->address, keys, suffixes, 3))
        return ERR_NOMEM;
    /* The first of its thread is found by its id. */
    thread = letter->thread.data && slice_equal(letter->thread, letter->id)
                 ? SLICE("")
                 : mailbox_thread_key(letter->thread, room);
    encode(mailbox, &command, letter, keys, thread);
    return mailbox_put(mailbox, &command, &like);
}
