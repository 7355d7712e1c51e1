/*
 * Parsing an envelope (docs/protocol.md, section 2).
 *
 * One pass over the text checks that it is JSON and notes where each known field's value lies. Then
 * each noted value is checked against the rule of its field (envelope_fields.c,
 * envelope_recipients.c). A value that is only carried is never converted.
 */
#include "worker/envelope/envelope.h"

#include "common/utf8.h"
#include "worker/envelope/envelope_fields.h"

#include <assert.h>

const char *envelope_reject_text(enum reject_code code)
{
    static const char *const texts[REJECT_COUNT] = { [REJECT_NONE] = "none",
#define X(name, text, stat) [REJECT_##name] = text,
                                                     REJECT_CODES(X)
#undef X
    };

    return (unsigned)code < REJECT_COUNT ? texts[code] : "unknown";
}

enum err envelope_reject(struct envelope_fault *fault, enum reject_code code, const char *field,
                         const char *message)
{
    fault->code = code;
    fault->field = field;
    fault->message = message;
    return ERR_BAD;
}

static void add_cut(struct envelope *envelope, enum envelope_field field, struct slice span)
{
    assert(envelope->cut_count < sizeof envelope->cuts / sizeof envelope->cuts[0]);
    envelope->cuts[envelope->cut_count++] =
        (struct envelope_cut){ .span = span, .field = (uint8_t)field };
}

/* Called for each member of the outermost object, before the text behind the member is checked. */
static void note_member(void *context, const struct json_member *member)
{
    struct envelope_parse *parse = context;
    enum envelope_field field = envelope_field_find(&member->key);

    /* Among many members the scan refuses a repeated name only at its end, so a repeated field may
     * come here, and must not be noted (nor cut) twice. */
    if (field == FIELD_UNKNOWN || envelope_has(parse, field))
        return;
    parse->values[field] = member->value;
    parse->present |= (uint32_t)1 << field;
    switch (field) {
    case FIELD_TOKEN:
    case FIELD_SEQ:
    case FIELD_LOG:
    case FIELD_STATE:
    case FIELD_LAST_UPDATE_TIME:
        add_cut(parse->envelope, field, member->span);
        break;
    case FIELD_TO:
    case FIELD_CC:
        if (member->value.type == JSON_STRING)
            add_cut(parse->envelope, field, member->value.text);
        break;
    default:
        break;
    }
}

static enum err parse_text(struct envelope_parse *parse, struct slice text, bool utf8_checked)
{
    struct json_value object;
    struct json_fault fault;
    enum err err;

    if (!utf8_checked && !utf8_valid(text))
        return envelope_fail(parse, REJECT_BAD_JSON, FIELD_UNKNOWN, "must be UTF-8");
    err = json_check_members(text, ENVELOPE_DEPTH_MAX, &object, &fault, note_member, parse);
    if (err == ERR_NOMEM)
        return envelope_fail_nomem(parse);
    if (err)
        return envelope_fail(parse, REJECT_BAD_JSON, FIELD_UNKNOWN, fault.reason);
    if (object.type != JSON_OBJECT)
        return envelope_fail(parse, REJECT_BAD_JSON, FIELD_UNKNOWN, "must be one JSON object");
    parse->envelope->text = object.text;
    return OK;
}

static enum err require_field(struct envelope_parse *parse, enum envelope_field field)
{
    if (envelope_has(parse, field))
        return OK;
    return envelope_fail(parse, REJECT_MISSING_FIELD, field,
                         "from, to, subject, content and type are required");
}

static enum err require_fields(struct envelope_parse *parse)
{
    static const enum envelope_field required[] = { FIELD_FROM, FIELD_TO, FIELD_SUBJECT,
                                                    FIELD_TYPE };
    enum err err = OK;

    for (size_t i = 0; i < sizeof required / sizeof required[0] && !err; i++)
        err = require_field(parse, required[i]);
    return err;
}

/* Takes the fields whose rule needs no other field. The id is taken already. to and cc are checked
 * together; limit and epoch mean something in a command only, which needs to and type to be known.
 */
static enum err take_plain_fields(struct envelope_parse *parse)
{
    const uint32_t later = (uint32_t)1 << FIELD_ID | (uint32_t)1 << FIELD_LIMIT |
                           (uint32_t)1 << FIELD_EPOCH | (uint32_t)1 << FIELD_TO |
                           (uint32_t)1 << FIELD_CC;

    for (uint32_t left = parse->present & ~later; left; left &= left - 1) {
        enum err err = envelope_field_take(parse, (enum envelope_field)__builtin_ctz(left));
        if (err)
            return err;
    }
    return OK;
}

/* Takes the fields that have a meaning in commands only. */
static enum err take_command(struct envelope_parse *parse)
{
    enum err err = OK;

    if (envelope_has(parse, FIELD_TAGS))
        err = envelope_tags_take(parse);
    if (!err && envelope_has(parse, FIELD_LIMIT)) {
        err = envelope_field_take(parse, FIELD_LIMIT);
        parse->envelope->has_limit = !err;
    }
    if (!err && envelope_has(parse, FIELD_EPOCH))
        err = envelope_field_take(parse, FIELD_EPOCH);
    return err;
}

static enum err take_rest(struct envelope_parse *parse)
{
    return envelope_is_command(parse->envelope) ? take_command(parse)
                                                : require_field(parse, FIELD_CONTENT);
}

enum err envelope_parse(struct envelope *envelope, struct slice text, bool utf8_checked,
                        size_t recipients_max, struct arena *arena, struct envelope_fault *fault)
{
    struct envelope_parse parse; /* values is not cleared: `present` has a bit for each valid one */
    enum err err;

    parse.envelope = envelope;
    parse.arena = arena;
    parse.fault = fault;
    parse.recipients_max = recipients_max;
    parse.present = 0;
    *envelope = (struct envelope){ .text = text };
    *fault = (struct envelope_fault){ .code = REJECT_NONE };
    err = parse_text(&parse, text, utf8_checked);
    /* The id comes first, so that a rejection of any other field names the message. */
    if (!err && envelope_has(&parse, FIELD_ID))
        err = envelope_field_take(&parse, FIELD_ID);
    if (!err) {
        fault->id = envelope->id;
        err = require_fields(&parse);
    }
    if (!err)
        err = take_plain_fields(&parse);
    if (!err)
        err = envelope_recipients_take(&parse);
    if (!err)
        err = take_rest(&parse);
    envelope->has_state = envelope_has(&parse, FIELD_STATE);
    envelope->has_create_time = envelope_has(&parse, FIELD_CREATE_TIME);
    envelope->has_expires_at = envelope_has(&parse, FIELD_EXPIRES_AT);
    envelope->has_receipt = envelope_has(&parse, FIELD_RECEIPT);
    return err;
}
