/* The envelope's fields by name (docs/protocol.md, section 2.2); private to worker/envelope*.c. */
#ifndef WORKER_ENVELOPE_FIELDS_H
#define WORKER_ENVELOPE_FIELDS_H

#include "worker/envelope/envelope.h"

/* In the order of the names' lengths: envelope_field_find compares a name with those of its length
 * (by_len in envelope_fields.c). */
#define ENVELOPE_FIELDS(X)                                                                         \
    X(ID, "id")                                                                                    \
    X(TO, "to")                                                                                    \
    X(CC, "cc")                                                                                    \
    X(SEQ, "seq")                                                                                  \
    X(LOG, "log")                                                                                  \
    X(FROM, "from")                                                                                \
    X(TYPE, "type")                                                                                \
    X(TAGS, "tags")                                                                                \
    X(LEVEL, "level")                                                                              \
    X(STATE, "state")                                                                              \
    X(TOKEN, "token")                                                                              \
    X(LIMIT, "limit")                                                                              \
    X(EPOCH, "epoch")                                                                              \
    X(SUBJECT, "subject")                                                                          \
    X(CONTENT, "content")                                                                          \
    X(CHARSET, "charset")                                                                          \
    X(FROM_TAG, "fromTag")                                                                         \
    X(RECEIPT, "receipt")                                                                          \
    X(IN_REPLY_TO, "inReplyTo")                                                                    \
    X(SUBJECT_ID, "subjectId")                                                                     \
    X(EXPIRES_AT, "expiresAt")                                                                     \
    X(REFERENCES, "references")                                                                    \
    X(CREATE_TIME, "createTime")                                                                   \
    X(CONTENT_TYPE, "contentType")                                                                 \
    X(ATTACHMENTS, "attachments")                                                                  \
    X(LAST_UPDATE_TIME, "lastUpdateTime")

enum envelope_field {
    FIELD_UNKNOWN,
#define X(name, text) FIELD_##name,
    ENVELOPE_FIELDS(X)
#undef X
        FIELD_COUNT
};

/* The field's name; NULL for FIELD_UNKNOWN. */
const char *envelope_field_text(enum envelope_field field);
/* The field with this name; FIELD_UNKNOWN when the server knows none. */
enum envelope_field envelope_field_find(const struct json_value *key);

/* The state of one envelope_parse: its arguments, and where the fields lie. */
struct envelope_parse {
    struct envelope *envelope;
    struct arena *arena;
    struct envelope_fault *fault;
    size_t recipients_max;
    uint32_t present;                      /* bit f: field f is there */
    struct json_value values[FIELD_COUNT]; /* valid where `present` has the bit */
};
_Static_assert(FIELD_COUNT <= 32, "one bit a field");

static inline bool envelope_has(const struct envelope_parse *parse, enum envelope_field field)
{
    return parse->present >> field & 1;
}

/* Fills in the fault. Returns ERR_BAD. field FIELD_UNKNOWN: no field is at fault. */
enum err envelope_fail(struct envelope_parse *parse, enum reject_code code,
                       enum envelope_field field, const char *message);
/* Fills in the fault `internal`. Returns ERR_NOMEM. */
enum err envelope_fail_nomem(struct envelope_parse *parse);

/* Each of the following returns OK, or ERR_BAD or ERR_NOMEM with the fault filled in. */

/* Checks a field that is present against its rule, and takes its value into the envelope. */
enum err envelope_field_take(struct envelope_parse *parse, enum envelope_field field);
/* Decodes the tags of a command; envelope_field_take has checked them. The tags of other messages
 * are not decoded: a million of them must cost no memory. */
enum err envelope_tags_take(struct envelope_parse *parse);
/* Checks and decodes to and cc, and takes each address once. */
enum err envelope_recipients_take(struct envelope_parse *parse);

#endif
