#include "worker/mailbox/place.h"

#include "common/utf8.h"

static bool parse_number(struct slice text, unsigned base, uint64_t *number)
{
    uint64_t value = 0;

    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        unsigned digit = c >= '0' && c <= '9'   ? c - (unsigned)'0'
                         : c >= 'a' && c <= 'f' ? c - (unsigned)'a' + 10
                                                : base;
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *number = value;
    return true;
}

/* Splits at the last `mark`. */
static bool split_at_last(struct slice text, char mark, struct slice *before, struct slice *after)
{
    const char *at = text.len ? memrchr(text.data, mark, text.len) : NULL;
    size_t len = at ? (size_t)(at - text.data) : 0;

    if (!at)
        return false;
    *before = slice_make(text.data, len);
    *after = slice_make(at + 1, text.len - len - 1);
    return true;
}

bool place_parse(struct slice text, struct place *place)
{
    struct slice rest, slot, incarnation;
    uint64_t number;

    if (!split_at_last(text, ':', &rest, &incarnation) ||
        !split_at_last(rest, ':', &place->node, &slot))
        return false;
    if (!parse_number(slot, 10, &number) || number > UINT32_MAX || place->node.len == 0)
        return false;
    place->slot = (uint32_t)number;
    return parse_number(incarnation, 10, &place->incarnation);
}

struct slice place_of_field(struct slice field)
{
    struct slice place, number;

    return split_at_last(field, '/', &place, &number) ? place : field;
}

bool place_session_parse(struct slice field, struct slice value, struct at_session *session)
{
    struct slice number;
    const char *space = value.len ? memchr(value.data, ' ', value.len) : NULL;
    size_t len = space ? (size_t)(space - value.data) : 0;

    if (!space || !split_at_last(field, '/', &session->place, &number))
        return false;
    session->device = slice_make(space + 1, value.len - len - 1);
    /* `presence` names the device in a text frame. */
    return utf8_valid(session->device) && parse_number(number, 16, &session->number) &&
           parse_number(slice_make(value.data, len), 10, &session->opened_us);
}

void place_session_add_field(struct buf *out, struct slice place, uint64_t number)
{
    buf_add_slice(out, place);
    buf_addf(out, "/%llx", (unsigned long long)number);
}
