/*
 * Entries of a stream as answers hold them. Whoever can write to Redis can have put anything there:
 * an entry of a foreign shape is left out and counted. A body becomes the payload of a text frame,
 * so a body that is not UTF-8 would make every client break the connection.
 */
#include "common/grow.h"
#include "common/utf8.h"
#include "worker/mailbox/mailbox_answer.h"

#include <stdlib.h>

static bool parse_field_number(struct slice text, int64_t low, int64_t high, int64_t *value)
{
    char digits[24], *end;

    if (text.len == 0 || text.len >= sizeof digits)
        return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = 0;
    *value = strtoll(digits, &end, 10);
    return *end == 0 && *value >= low && *value <= high;
}

static bool take_field(struct mailbox_entry *entry, struct slice name, struct slice value)
{
    int64_t number;

    if (name.len != 1)
        return true; /* a field of a later version */
    switch (name.data[0]) {
    case 'b':
        entry->body = value;
        return value.len > 0 &&
               (value.data[0] == '@' || (value.data[0] == '{' && utf8_valid(value)));
    case 'f':
        entry->from = value;
        return true;
    case 'i':
        entry->id = value;
        return true;
    case 'd':
        entry->skip_device = value;
        return true;
    case 'x':
        return parse_field_number(value, 0, INT64_MAX, &entry->expires_at);
    case 'r':
        if (!parse_field_number(value, 0, 9, &number))
            return false;
        entry->receipt = (uint8_t)number;
        return true;
    case 'l':
        if (!parse_field_number(value, -9, 9, &number))
            return false;
        entry->level = (int8_t)number;
        return true;
    default:
        return true;
    }
}

bool mailbox_entry_parse(const struct redis_reply *reply, struct mailbox_entry *entry)
{
    struct redis_reply fields = redis_reply_at(reply, 1);

    *entry = (struct mailbox_entry){ .level = 0 };
    if (!mailbox_answer_seq(reply, 0, &entry->seq) || fields.type != REDIS_ARRAY)
        return false;
    for (size_t i = 0; i + 1 < fields.count; i += 2) {
        struct redis_reply name = redis_reply_at(&fields, i),
                           value = redis_reply_at(&fields, i + 1);
        if (name.type != REDIS_STRING || value.type != REDIS_STRING ||
            !take_field(entry, name.text, value.text))
            return false;
    }
    return entry->body.data && entry->from.data && entry->id.data;
}

/* The shared body of a whole entry has vanished: the script could not put the body in. */
static bool body_is_gone(const struct mailbox_entry *entry)
{
    return entry->body.data[0] == '@';
}

/* The last element of a page that shows a gap is a position, and no entry. */
static bool parse_lost(const struct redis_reply *reply, struct seq *lost)
{
    return reply->count > 2 && mailbox_answer_seq(reply, reply->count - 1, lost);
}

/* MORE, LAST, then the entries, then perhaps LOST. */
bool mailbox_page_parse(struct mailbox *mailbox, const struct redis_reply *reply,
                        struct mailbox_page *page)
{
    int64_t more = mailbox_answer_number(reply, 0);
    size_t end;

    *page = (struct mailbox_page){ .ok = false };
    if (more < 0 || reply->count < 2 ||
        grow_reserve(&mailbox->entries, &mailbox->entries_size, reply->count - 2, 1, SIZE_MAX))
        return false;
    (void)mailbox_answer_seq(reply, 1, &page->last); /* "": stays zero */
    end = reply->count - parse_lost(reply, &page->lost);
    for (size_t i = 2; i < end; i++) {
        struct redis_reply element = redis_reply_at(reply, i);
        struct mailbox_entry *entry = &mailbox->entries[page->count];
        if (!mailbox_entry_parse(&element, entry))
            mailbox->counts.bad++;
        else if (body_is_gone(entry))
            page->gone++;
        else
            page->count++;
    }
    mailbox->counts.bodies_gone += page->gone;
    page->entries = mailbox->entries;
    page->end = more == 0;
    page->vain = more > 0 ? (size_t)more - 1 : 0;
    page->ok = true;
    return true;
}
