/* A letter as the arguments of the append script, and the script's answer. */
#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"
#include "worker/mailbox/mailbox_append.h"
#include "worker/mailbox/mailbox_body.h"
#include "worker/mailbox/mailbox_replica.h"

/* --- the call --- */

static bool id_is_good(struct slice id)
{
    return id.len > 0 && id.len <= 256 && !memchr(id.data, '/', id.len) &&
           !memchr(id.data, 0, id.len);
}

static void add_field(struct call *call, struct slice name, struct slice value)
{
    call_add(call, name);
    call_add(call, value);
}

static void add_number_field(struct call *call, struct slice name, int64_t value)
{
    if (value == 0)
        return;
    call_add(call, name);
    call_add_int(call, value);
}

/* A message that asks for a receipt or expires is noted in further keys; plain mail, which is most
 * of it, does not pay for that. */
static enum script script_for(const struct mailbox_letter *letter)
{
    if (letter->reads.data)
        return SCRIPT_APPEND_READ;
    return letter->receipt || letter->expires_at ? SCRIPT_APPEND_NOTED : SCRIPT_APPEND;
}

static void add_keys(struct call *call, const struct mailbox_letter *letter, bool in_thread)
{
    static const char *const suffixes[] = { ":box", ":ids", ":at", NULL };
    static const char *const thread_suffixes[] = { ":box", ":ids", ":at", ":th", NULL };

    call_keys(call, letter->address, in_thread ? thread_suffixes : suffixes);
    if (letter->reads.data)
        call_keys(call, letter->from, CALL_KEYS(":box"));
}

/* mailbox_batch.c counts on this order: from, id and body first. The append script reads the size
 * of a body that is shared, or that counts for mailbox.maxBytes, from the field behind the body.
 * The name of the first field says whether the address must be known. */
static void add_fields(struct call *call, const struct mailbox_letter *letter, struct slice thread)
{
    add_field(call, letter->if_known ? SLICE("k") : SLICE("f"), letter->from);
    add_field(call, SLICE("i"), letter->id);
    if (letter->shared) {
        add_field(call, SLICE("b"), slice_make(letter->shared->text, sizeof letter->shared->text));
        add_number_field(call, SLICE("s"), letter->shared->bytes);
    } else {
        add_field(call, SLICE("b"), letter->body);
        if (letter->body.len > call->mailbox->counted_min)
            add_number_field(call, SLICE("s"), (int64_t)letter->body.len);
    }
    add_number_field(call, SLICE("x"), letter->expires_at);
    add_number_field(call, SLICE("r"), letter->receipt);
    add_number_field(call, SLICE("l"), letter->level);
    if (letter->skip_device.data)
        add_field(call, SLICE("d"), letter->skip_device);
    if (thread.len) /* the append script reads the thread from the last field */
        add_field(call, SLICE("t"), thread);
    if (letter->reads.data) /* behind the fields of the append script */
        add_field(call, letter->address, letter->reads);
}

/* The first message of a thread is not in the index: its id is the thread's name. */
static bool begins_thread(const struct mailbox_letter *letter)
{
    return letter->thread.data && slice_equal(letter->thread, letter->id);
}

static void on_append_answered(struct op *op, const struct redis_reply *reply);

static enum err put_letter(struct call *call, const struct mailbox_letter *letter,
                           mailbox_appended_cb done, void *arg)
{
    struct msg *kept = letter->shared ? NULL : letter->msg;
    enum err err = call_put_append(call, kept, on_append_answered, (op_done)done, arg);

    if (!err && letter->shared)
        append_of(row_last(call->mailbox))->shared = mailbox_body_ref(letter->shared);
    return err;
}

enum err mailbox_append(struct mailbox *mailbox, const struct mailbox_letter *letter,
                        mailbox_appended_cb done, void *arg)
{
    struct call call;
    struct slice thread = SLICE("");
    char room[THREAD_KEY_MAX];

    if (!id_is_good(letter->id))
        return ERR_BAD;
    if (!begins_thread(letter))
        thread = mailbox_thread_key(letter->thread, room);
    call_script(&call, mailbox, script_for(letter));
    call.lane = letter->lane;
    add_keys(&call, letter, thread.len > 0);
    add_fields(&call, letter, thread);
    return put_letter(&call, letter, done, arg);
}

/* --- the answer --- */

static enum mailbox_outcome outcome_without(const struct append *append)
{
    return append->maybe ? MAILBOX_UNKNOWN : MAILBOX_UNAVAILABLE;
}

/* All but this worker's own. */
static void take_elsewhere(struct mailbox *mailbox, const struct redis_reply *array, size_t count,
                           struct mailbox_appended *appended)
{
    struct slice own = slice_of(mailbox->place);
    struct slice *places;

    if (!mailbox_answer_reserve_places(mailbox, count))
        return;
    places = mailbox->places;
    for (size_t i = 0; i < count; i++) {
        struct redis_reply place = redis_reply_at(array, i);
        if (place.type == REDIS_STRING && !slice_equal(place.text, own))
            places[appended->elsewhere_count++] = place.text;
    }
    appended->elsewhere = places;
}

/* Returns the text before the next space, and cuts both off. */
static struct slice next_word(struct slice *text)
{
    const char *space = text->len ? memchr(text->data, ' ', text->len) : NULL;
    size_t len = space ? (size_t)(space - text->data) : text->len;
    struct slice word = slice_make(text->data, len);

    *text = space ? slice_make(space + 1, text->len - len - 1) : slice_make("", 0);
    return word;
}

/* Returns the text behind the last space, and cuts both off. */
static struct slice last_word(struct slice *text)
{
    const char *space = text->len ? memrchr(text->data, ' ', text->len) : NULL;
    size_t len = space ? (size_t)(space - text->data) : 0;
    struct slice word = slice_make(text->data + len + (space != NULL), text->len - len - !!space);

    *text = slice_make(text->data, len);
    return word;
}

/* BEFORE comes from `:ids`, where anything may stand once somebody has damaged the hash. The letter
 * is stored all the same: without a BEFORE each session takes the letter for one behind a gap, and
 * reads the mailbox. */
bool mailbox_append_parse(struct slice text, struct mailbox_appended *appended, uint64_t *trimmed)
{
    struct slice outcome = next_word(&text), seq = next_word(&text), count_text = last_word(&text);
    struct seq count;

    if (outcome.len != 1 || outcome.data[0] < '0' || outcome.data[0] > '0' + MAILBOX_NOBODY ||
        !seq_parse(seq, &appended->seq) || !seq_parse(count_text, &count) ||
        memchr(count_text.data, '-', count_text.len))
        return false;
    if (!seq_parse(text, &appended->before))
        appended->before = appended->seq;
    appended->outcome = (enum mailbox_outcome)(outcome.data[0] - '0');
    *trimmed = count.ms;
    return true;
}

/* Splits a script's answer: the places come first, the append's own result is the last element. The
 * places of a batch stand apart, in append->places. */
static struct redis_reply split_answer(const struct append *append, const struct redis_reply *reply,
                                       const struct redis_reply **places, size_t *place_count)
{
    *places = append->places ? append->places : reply;
    *place_count = (*places)->type == REDIS_ARRAY ? (*places)->count : 0;
    if (reply->type != REDIS_ARRAY || reply->count == 0)
        return *reply;
    --*place_count;
    return redis_reply_at(reply, *place_count);
}

static struct mailbox_appended take_answer(struct append *append, const struct redis_reply *reply)
{
    struct mailbox *mailbox = append->op.mailbox;
    struct mailbox_appended appended = { .outcome = outcome_without(append) };
    const struct redis_reply *places;
    size_t place_count;
    struct redis_reply result = split_answer(append, reply, &places, &place_count);
    uint64_t trimmed;

    if (result.type == REDIS_ERROR)
        return appended;
    if (result.type != REDIS_STRING || !mailbox_append_parse(result.text, &appended, &trimmed)) {
        /* A repetition of a letter whose seq in `:ids` is damaged: nothing was stored. The script
         * gives no other answer of another shape. */
        appended.outcome =
            slice_starts(result.text, SLICE("1 ")) ? outcome_without(append) : MAILBOX_UNKNOWN;
        mailbox_trouble(mailbox, SLICE("an append was answered with something else"));
        return appended;
    }
    mailbox->counts.trimmed += trimmed;
    if (appended.outcome == MAILBOX_REPEATED && append->maybe)
        appended.outcome = MAILBOX_STORED; /* by the first attempt, whose answer was lost */
    mailbox->counts.repeated += appended.outcome == MAILBOX_REPEATED;
    take_elsewhere(mailbox, places, place_count, &appended);
    return appended;
}

/* mailbox_ready.c asks for this append when Redis has come back: is all that was stored still
 * there?
 */
static void remember_newest(struct append *append)
{
    struct mailbox *mailbox = append->op.mailbox;
    struct slice key = append->op.args[CALL_FIRST_KEY];

    if (append->appended.outcome != MAILBOX_STORED || key.len >= sizeof mailbox->newest_key)
        return;
    memcpy(mailbox->newest_key, key.data, key.len);
    mailbox->newest_key[key.len] = 0;
    mailbox->newest = append->appended.seq;
}

/* The letter's hold on a shared body ends. The entry of a repetition names the first body. */
static void let_body_go(struct append *append)
{
    struct mailbox_body *body = append->shared;

    append->shared = NULL;
    if (append->appended.outcome == MAILBOX_STORED || append->appended.outcome == MAILBOX_UNKNOWN)
        body->used = true;
    mailbox_body_unref(body);
}

static void on_append_answered(struct op *op, const struct redis_reply *reply)
{
    struct append *append = append_of(op);

    if (reply) {
        append->appended = take_answer(append, reply);
        remember_newest(append);
    } else {
        append->appended = (struct mailbox_appended){ .outcome = outcome_without(append) };
    }
    if (append->shared)
        let_body_go(append);
    if (!reply) {
        append_report(append);
        return;
    }
    if (op->mailbox->replica)
        mailbox_replica_hold(append);
    else
        append_report(append);
}
