/*
 * The rule of each field of the envelope (docs/protocol.md, section 2.2), as one table: its JSON
 * type, its bounds, and the member of struct envelope that takes its value.
 *
 * to and cc are checked together, in a file of their own (envelope_recipients.c).
 */
#include "worker/envelope/envelope_fields.h"

#include "common/address.h"
#include "common/base64.h"

#include <assert.h>

enum kind { CARRIED, INTEGER, STATE, REPLACED, STRING, ID, ADDRESS, BASE64, STRINGS, OBJECTS };

enum { NOWHERE = 0 }; /* as an offset: the value is checked and carried, but not taken */

struct rule {
    enum kind kind;
    int64_t low, high;   /* of an INTEGER; a STRING's bytes are at most high */
    size_t offset;       /* in struct envelope, of an int64_t or a slice */
    const char *message; /* of the fault: what is allowed */
};

#define KEEP(member) offsetof(struct envelope, member)

static const char text_string[] = "must be a string";
static const char text_time[] = "must be a time in whole Unix seconds";

static const struct rule rules[FIELD_COUNT] = {
    [FIELD_ID] = { ID, 1, ENVELOPE_ID_MAX, KEEP(id), "must be 1 to 64 of A-Z a-z 0-9 . _ : -" },
    [FIELD_SEQ] = { STRING, 0, INT64_MAX, NOWHERE, text_string },
    [FIELD_LOG] = { CARRIED, 0, 0, NOWHERE, NULL }, /* never carried: the server sets it */
    [FIELD_FROM] = { ADDRESS, 1, ADDRESS_BYTES_MAX, KEEP(from),
                     "must be an address: 1 to 255 bytes, no control characters, no white space at "
                     "either end" },
    [FIELD_TYPE] = { INTEGER, TYPE_MAIL, TYPE_CONTROL, KEEP(type), "must be an integer, 1 to 4" },
    [FIELD_TAGS] = { STRINGS, 0, 0, NOWHERE, "must be an array of strings" },
    [FIELD_LEVEL] = { INTEGER, -9, 9, KEEP(level), "must be an integer, -9 to 9" },
    [FIELD_STATE] = { STATE, 0, 9, KEEP(state),
                      "must be an integer; on type 4 one of 0, 1, 2, 3, 4, 5, 9" },
    [FIELD_TOKEN] = { STRING, 0, INT64_MAX, KEEP(token), text_string },
    [FIELD_LIMIT] = { INTEGER, 1, INT64_MAX, KEEP(limit), "must be an integer, 1 or more" },
    [FIELD_EPOCH] = { STRING, 0, INT64_MAX, KEEP(epoch), text_string },
    [FIELD_SUBJECT] = { STRING, 0, ENVELOPE_SUBJECT_MAX, KEEP(subject),
                        "must be a string of at most 998 bytes" },
    [FIELD_CONTENT] = { BASE64, 0, 0, NOWHERE,
                        "must be a string of standard base64 with padding (RFC 4648 section 4)" },
    [FIELD_CHARSET] = { STRING, 0, INT64_MAX, NOWHERE, text_string },
    [FIELD_FROM_TAG] = { STRING, 0, INT64_MAX, KEEP(from_tag), text_string },
    [FIELD_RECEIPT] = { INTEGER, 2, 3, KEEP(receipt), "must be 2 or 3" },
    [FIELD_IN_REPLY_TO] = { STRING, 0, INT64_MAX, KEEP(in_reply_to), text_string },
    [FIELD_SUBJECT_ID] = { STRING, 0, INT64_MAX, KEEP(subject_id), text_string },
    [FIELD_EXPIRES_AT] = { INTEGER, 1, INT64_MAX, KEEP(expires_at), text_time },
    [FIELD_REFERENCES] = { STRING, 0, INT64_MAX, KEEP(references), text_string },
    [FIELD_CREATE_TIME] = { INTEGER, 0, INT64_MAX, KEEP(create_time), text_time },
    [FIELD_CONTENT_TYPE] = { INTEGER, 0, INT64_MAX, NOWHERE, "must be an integer, 0 or more" },
    [FIELD_ATTACHMENTS] = { OBJECTS, 0, 0, NOWHERE, "must be an array of objects" },
    [FIELD_LAST_UPDATE_TIME] = { REPLACED, 0, 0, NOWHERE, "must be an integer" },
};

static const struct slice names[FIELD_COUNT] = {
#define X(name, text) [FIELD_##name] = { text, sizeof(text) - 1 },
    ENVELOPE_FIELDS(X)
#undef X
};

enum { NAME_LEN_MAX = 14, ESCAPE_LEN = 6 }; /* \u0041 */

/* by_len[n]: the first and the last field whose names have n bytes; both 0: there are none. */
static const struct {
    uint8_t first, last;
} by_len[NAME_LEN_MAX + 1] = {
    [2] = { FIELD_ID, FIELD_CC },
    [3] = { FIELD_SEQ, FIELD_LOG },
    [4] = { FIELD_FROM, FIELD_TAGS },
    [5] = { FIELD_LEVEL, FIELD_EPOCH },
    [7] = { FIELD_SUBJECT, FIELD_RECEIPT },
    [9] = { FIELD_IN_REPLY_TO, FIELD_EXPIRES_AT },
    [10] = { FIELD_REFERENCES, FIELD_CREATE_TIME },
    [11] = { FIELD_CONTENT_TYPE, FIELD_ATTACHMENTS },
    [14] = { FIELD_LAST_UPDATE_TIME, FIELD_LAST_UPDATE_TIME },
};

/* Fields are taken in the order of their numbers, and the rule of `state` depends on `type`. */
_Static_assert((int)FIELD_TYPE < (int)FIELD_STATE, "type is taken before state");

const char *envelope_field_text(enum envelope_field field)
{
    return names[field].data;
}

static enum envelope_field find_unescaped(struct slice name)
{
    if (name.len > NAME_LEN_MAX || by_len[name.len].last == 0)
        return FIELD_UNKNOWN;
    for (unsigned i = by_len[name.len].first; i <= by_len[name.len].last; i++)
        if (names[i].data[0] == name.data[0] && memcmp(names[i].data, name.data, name.len) == 0)
            return (enum envelope_field)i;
    return FIELD_UNKNOWN;
}

/* Names are compared unescaped: "t\u006fken" is the token too, and must not reach a recipient. */
enum envelope_field envelope_field_find(const struct json_value *key)
{
    char plain[NAME_LEN_MAX * ESCAPE_LEN];

    if (!key->escaped)
        return find_unescaped(key->text);
    if (key->text.len > sizeof plain)
        return FIELD_UNKNOWN;
    return find_unescaped(slice_make(plain, json_unescape(key, plain)));
}

enum err envelope_fail(struct envelope_parse *parse, enum reject_code code,
                       enum envelope_field field, const char *message)
{
    parse->fault->code = code;
    parse->fault->message = message;
    parse->fault->field = envelope_field_text(field);
    return ERR_BAD;
}

enum err envelope_fail_nomem(struct envelope_parse *parse)
{
    envelope_fail(parse, REJECT_INTERNAL, FIELD_UNKNOWN, "out of memory");
    return ERR_NOMEM;
}

static bool id_valid(struct slice id)
{
    static const bool allowed[256] = {
        ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['.'] = true,
        ['_'] = true,         [':'] = true,         ['-'] = true,
    };
    bool good = id.len >= 1 && id.len <= ENVELOPE_ID_MAX;

    for (size_t i = 0; good && i < id.len; i++)
        good = allowed[(unsigned char)id.data[i]];
    return good;
}

static bool string_keeps_rule(const struct rule *rule, struct slice string)
{
    switch (rule->kind) {
    case ID:
        return id_valid(string);
    case ADDRESS:
        return address_valid(string);
    case BASE64:
        return base64_valid(string);
    default:
        return string.len <= (uint64_t)rule->high;
    }
}

static bool take_integer(const struct rule *rule, const struct json_value *value,
                         struct envelope *envelope)
{
    int64_t number;

    if (!json_int(value, &number) || number < rule->low || number > rule->high)
        return false;
    if (rule->kind == STATE && number > 5 && number < 9)
        return false;
    if (rule->offset != NOWHERE)
        memcpy((char *)envelope + rule->offset, &number, sizeof number);
    return true;
}

/* An integer of any size: the server replaces the value, so the value needs no bounds. */
static bool is_integer(const struct json_value *value)
{
    struct slice text = value->text;

    if (value->type != JSON_NUMBER)
        return false;
    for (size_t i = text.data[0] == '-'; i < text.len; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return true;
}

/* Only a message of type 4 keeps the state of its sender; of other types any integer is taken. */
static bool take_state(const struct rule *rule, const struct json_value *value,
                       struct envelope *envelope)
{
    return take_integer(rule, value, envelope) ||
           (envelope->type != TYPE_CONTROL && is_integer(value));
}

/* Counts the array's elements; false when value is no array, or an element is of another type. */
static bool count_elements(const struct json_value *array, enum json_type type, size_t *count)
{
    struct json_walk walk;
    struct json_value element;

    *count = 0;
    if (array->type != JSON_ARRAY)
        return false;
    json_walk_begin(&walk, array);
    for (; json_walk_element(&walk, &element); ++*count)
        if (element.type != type)
            return false;
    return true;
}

static enum err bad_field(struct envelope_parse *parse, enum envelope_field field)
{
    return envelope_fail(parse, REJECT_BAD_FIELD, field, rules[field].message);
}

static enum err take_string(struct envelope_parse *parse, enum envelope_field field)
{
    const struct rule *rule = &rules[field];
    const struct json_value *value = &parse->values[field];
    struct slice string;

    if (value->type != JSON_STRING)
        return bad_field(parse, field);
    string = json_string(value, parse->arena);
    if (!string.data)
        return envelope_fail_nomem(parse);
    if (!string_keeps_rule(rule, string))
        return bad_field(parse, field);
    if (rule->offset != NOWHERE)
        memcpy((char *)parse->envelope + rule->offset, &string, sizeof string);
    return OK;
}

enum err envelope_field_take(struct envelope_parse *parse, enum envelope_field field)
{
    const struct rule *rule = &rules[field];
    const struct json_value *value = &parse->values[field];
    size_t count;

    switch (rule->kind) {
    case CARRIED:
        return OK;
    case INTEGER:
        return take_integer(rule, value, parse->envelope) ? OK : bad_field(parse, field);
    case STATE:
        return take_state(rule, value, parse->envelope) ? OK : bad_field(parse, field);
    case REPLACED:
        return is_integer(value) ? OK : bad_field(parse, field);
    case STRINGS:
        return count_elements(value, JSON_STRING, &count) ? OK : bad_field(parse, field);
    case OBJECTS:
        return count_elements(value, JSON_OBJECT, &count) ? OK : bad_field(parse, field);
    default:
        return take_string(parse, field);
    }
}

enum err envelope_tags_take(struct envelope_parse *parse)
{
    struct envelope *envelope = parse->envelope;
    struct json_walk walk;
    struct json_value element;
    size_t count;

    count_elements(&parse->values[FIELD_TAGS], JSON_STRING, &count); /* checked: cannot fail */
    if (count > parse->recipients_max)
        return envelope_fail(parse, REJECT_BAD_FIELD, FIELD_TAGS,
                             "a command takes no more tags than a message takes recipients");
    envelope->tags = arena_take(parse->arena, (count ? count : 1) * sizeof *envelope->tags);
    if (!envelope->tags)
        return envelope_fail_nomem(parse);
    json_walk_begin(&walk, &parse->values[FIELD_TAGS]);
    while (json_walk_element(&walk, &element)) {
        struct slice tag = json_string(&element, parse->arena);
        if (!tag.data)
            return envelope_fail_nomem(parse);
        assert(envelope->tag_count < count);
        envelope->tags[envelope->tag_count++] = tag;
    }
    return OK;
}
