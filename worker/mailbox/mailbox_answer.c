#include "worker/mailbox/mailbox_answer.h"

#include "common/grow.h"

enum { PLACES_MAX = 4096 };

bool mailbox_answer_seq(const struct redis_reply *reply, size_t i, struct seq *seq)
{
    struct redis_reply element = redis_reply_at(reply, i);

    return element.type == REDIS_STRING && seq_parse(element.text, seq);
}

int64_t mailbox_answer_number(const struct redis_reply *reply, size_t i)
{
    struct redis_reply element;

    if (!reply || reply->type != REDIS_ARRAY || i >= reply->count)
        return -1;
    element = redis_reply_at(reply, i);
    return element.type == REDIS_INTEGER && element.integer >= 0 ? element.integer : -1;
}

bool mailbox_answer_cursor(const struct mailbox *mailbox, struct slice text,
                           struct mailbox_opened *opened)
{
    const char *at = text.len ? memchr(text.data, '@', text.len) : NULL;
    size_t len = at ? (size_t)(at - text.data) : 0;

    if (!at || !seq_parse(slice_make(text.data, len), &opened->cursor))
        return false;
    opened->cursor_epoch_ok =
        slice_equal(slice_make(at + 1, text.len - len - 1), slice_of(mailbox->epoch));
    return true;
}

/* --- places --- */

bool mailbox_answer_reserve_places(struct mailbox *mailbox, size_t count)
{
    if (!grow_reserve(&mailbox->places, &mailbox->places_size, count, 1, PLACES_MAX))
        return true;
    mailbox->counts.places_dropped += count;
    return false;
}

size_t mailbox_answer_places(struct mailbox *mailbox, const struct redis_reply *reply, size_t count)
{
    if (!mailbox_answer_reserve_places(mailbox, count))
        return 0;
    for (size_t i = 0; i < count; i++)
        mailbox->places[i] = redis_reply_at(reply, i).text;
    return count;
}

/* --- sessions --- */

size_t mailbox_answer_sessions(struct mailbox *mailbox, const struct redis_reply *reply,
                               const struct at_session **sessions)
{
    size_t count = 0;

    *sessions = NULL;
    if (reply->type != REDIS_ARRAY ||
        grow_reserve(&mailbox->at, &mailbox->at_size, reply->count / 2, 1, SIZE_MAX))
        return 0;
    for (size_t i = 0; i + 1 < reply->count; i += 2) {
        struct redis_reply field = redis_reply_at(reply, i), value = redis_reply_at(reply, i + 1);
        if (field.type == REDIS_STRING && value.type == REDIS_STRING &&
            place_session_parse(field.text, value.text, &mailbox->at[count]))
            count++;
    }
    *sessions = mailbox->at;
    return count;
}
