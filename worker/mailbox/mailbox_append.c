/* Appending: a letter as the arguments of the script, and what the script says. */
#include "worker/mailbox/mailbox_parts.h"

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

/* What may be asked of a message later is noted; what is plain, and that is most, pays nothing. */
static enum script script_for(const struct mailbox_letter *letter)
{
    if (letter->reads.data)
        return SCRIPT_APPEND_READ;
    return letter->receipt || letter->expires_at ? SCRIPT_APPEND_NOTED : SCRIPT_APPEND;
}

static void encode(struct mailbox *mailbox, struct command *command,
                   const struct mailbox_letter *letter, const struct slice keys[4],
                   struct slice thread, struct slice reader)
{
    unsigned key_count = thread.len ? 4 : 3;

    command_script(command, mailbox, script_for(letter), key_count + (reader.len > 0));
    for (unsigned i = 0; i < key_count; i++)
        command_add(command, keys[i]);
    if (reader.len)
        command_add(command, reader);
    add_field(command, SLICE("f"), letter->from);
    add_field(command, SLICE("i"), letter->id);
    add_field(command, SLICE("b"), letter->body);
    add_number(command, SLICE("x"), letter->expires_at);
    add_number(command, SLICE("r"), letter->receipt);
    add_number(command, SLICE("l"), letter->level);
    if (letter->skip_device.data)
        add_field(command, SLICE("d"), letter->skip_device);
    if (thread.len) /* the last: the script looks there */
        add_field(command, SLICE("t"), thread);
    if (reader.len) /* behind the append's own */
        add_field(command, letter->address, letter->reads);
}

/* --- the answer --- */

static enum mailbox_outcome outcome_without(const struct op *op)
{
    return op->maybe ? MAILBOX_UNKNOWN : MAILBOX_UNAVAILABLE;
}

bool places_reserve(struct mailbox *mailbox, size_t count)
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

static void take_places(struct mailbox *mailbox, const struct redis_reply *array, size_t count,
                        struct mailbox_appended *appended)
{
    struct slice own = slice_of(mailbox->place);
    struct slice *places;

    if (!places_reserve(mailbox, count))
        return;
    places = mailbox->places;
    for (size_t i = 0; i < count; i++) {
        struct redis_reply place = redis_reply_at(array, i);
        if (place.type == REDIS_STRING && !slice_equal(place.text, own))
            places[appended->elsewhere_count++] = place.text;
    }
    appended->elsewhere = places;
}

/* Cuts off what is before the next space. */
static struct slice word(struct slice *text)
{
    const char *space = text->len ? memchr(text->data, ' ', text->len) : NULL;
    size_t len = space ? (size_t)(space - text->data) : text->len;
    struct slice cut = slice_make(text->data, len);

    *text = space ? slice_make(space + 1, text->len - len - 1) : slice_make("", 0);
    return cut;
}

bool append_parse(struct slice text, struct mailbox_appended *appended, uint64_t *trimmed)
{
    struct slice outcome = word(&text), seq = word(&text), before = word(&text);
    struct seq count;

    if (outcome.len != 1 || outcome.data[0] < '0' || outcome.data[0] > '0' + MAILBOX_UNASKED ||
        !seq_parse(seq, &appended->seq) || !seq_parse(before, &appended->before) ||
        !seq_parse(text, &count))
        return false;
    appended->outcome = (enum mailbox_outcome)(outcome.data[0] - '0');
    *trimmed = count.ms;
    return true;
}

/* What is said of it, which is behind the places, and how many of these there are. */
static struct redis_reply said_of(const struct op *op, const struct redis_reply *reply,
                                  const struct redis_reply **places, size_t *place_count)
{
    *places = op->places ? op->places : reply;
    *place_count = (*places)->type == REDIS_ARRAY ? (*places)->count : 0;
    if (reply->type != REDIS_ARRAY || reply->count == 0)
        return *reply;
    --*place_count;
    return redis_reply_at(reply, *place_count);
}

static struct mailbox_appended parse(struct op *op, const struct redis_reply *reply)
{
    struct mailbox *mailbox = op->mailbox;
    struct mailbox_appended appended = { .outcome = outcome_without(op) };
    const struct redis_reply *places;
    size_t place_count;
    struct redis_reply said = said_of(op, reply, &places, &place_count);
    uint64_t trimmed;

    if (said.type == REDIS_ERROR)
        return appended;
    if (said.type != REDIS_STRING || !append_parse(said.text, &appended, &trimmed)) {
        appended.outcome = MAILBOX_UNKNOWN; /* who answers like this? */
        mailbox_trouble(mailbox, SLICE("an append was answered with something else"));
        return appended;
    }
    mailbox->counts.trimmed += trimmed;
    if (appended.outcome == MAILBOX_REPEATED && op->maybe)
        appended.outcome = MAILBOX_STORED; /* by our first attempt, whose answer was lost */
    mailbox->counts.repeated += appended.outcome == MAILBOX_REPEATED;
    take_places(mailbox, places, place_count, &appended);
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
    if (!op->held) {
        appended->elsewhere_count = 0;
        appended->elsewhere = NULL;
        return;
    }
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

/* The box of who has read, whose keys mailbox_keys would overwrite; failed: no memory. */
static void reader_box(struct mailbox *mailbox, const struct mailbox_letter *letter,
                       struct buf *key)
{
    buf_init(key, 4096);
    if (letter->reads.data)
        mailbox_key(key, slice_of(mailbox->prefix), letter->from, ":box");
}

enum err mailbox_append(struct mailbox *mailbox, const struct mailbox_letter *letter,
                        mailbox_appended_cb done, void *arg)
{
    static const char *const suffixes[4] = { ":box", ":ids", ":at", ":th" };
    const struct op like = { .finish = on_appended,
                             .done = (void (*)(void))done,
                             .arg = arg,
                             .is_append = true,
                             .kept = letter->msg };
    struct command command;
    struct slice keys[4], thread;
    char room[THREAD_KEY_MAX];
    struct buf reader;
    enum err err = ERR_NOMEM;

    if (!id_is_good(letter->id))
        return ERR_BAD;
    reader_box(mailbox, letter, &reader);
    if (mailbox_keys(mailbox, letter->address, keys, suffixes, 4) && !reader.failed) {
        /* The first of its thread is found by its id. */
        thread = letter->thread.data && slice_equal(letter->thread, letter->id)
                     ? SLICE("")
                     : mailbox_thread_key(letter->thread, room);
        encode(mailbox, &command, letter, keys, thread, buf_slice(&reader));
        err = mailbox_put(mailbox, &command, &like);
    }
    buf_fini(&reader);
    return err;
}
