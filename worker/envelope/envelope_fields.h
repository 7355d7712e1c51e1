/* The envelope's fields by name (docs/protocol.md, section 2); private to worker/envelope*.c. */
#ifndef WORKER_ENVELOPE_FIELDS_H
#define WORKER_ENVELOPE_FIELDS_H

#include "worker/envelope/envelope.h"

/* In the order of their names' lengths: a name is looked for among those of its length. */
#define ENVELOPE_FIELDS(X)                                                                         \
    X(ID, "id")                                                                                    \
    X(TO, "to")                                                                                    \
    X(CC, "cc")                                                                                    \
    X(SEQ, "seq")                                                                                  \
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

const char *envelope_field_text(enum envelope_field field);
enum envelope_field envelope_field_find(const struct json_value *key);

/* One parse at work. */
struct envelope_parse {
    struct envelope *envelope;
    struct arena *arena;
    struct envelope_fault *fault;
    size_t recipients_max;
    uint32_t present; /* one bit a field */
    struct json_value values[FIELD_COUNT];
};

static inline bool envelope_has(const struct envelope_parse *parse, enum envelope_field field)
{
    return parse->present >> field & 1;
}

/* Fills the fault; returns ERR_BAD. */
enum err envelope_fail(struct envelope_parse *parse, enum reject_code code,
                       enum envelope_field field, const char *message);
enum err envelope_fail_nomem(struct envelope_parse *parse);
/* Checks a field that is present against its rule and takes its value into the envelope. */
enum err envelope_field_take(struct envelope_parse *parse, enum envelope_field field);
/* Decodes the tags of a command, which have been checked. Elsewhere they are only carried, and a
 * million of them must cost no memory. */
enum err envelope_tags_take(struct envelope_parse *parse);
/* to and cc: checked, decoded, each address once. */
enum err envelope_recipients_take(struct envelope_parse *parse);

#endif
