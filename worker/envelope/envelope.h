/*
 * The envelope (docs/protocol.md, section 2): parse once, check, stamp.
 *
 * Parsing gives slices of the text that came. Stamping makes the one outgoing message from the same
 * bytes: the server's fields are put in, `token` is taken out, and no other member is written anew.
 * So a field that the server does not know is carried byte for byte.
 *
 * Nothing here knows a session: the router decides who may send what to whom.
 */
#ifndef WORKER_ENVELOPE_H
#define WORKER_ENVELOPE_H

#include "common/arena.h"
#include "common/json.h"
#include "common/msg.h"
#include "common/slice.h"

#include <stdint.h>

/* `code` of a `rejected` (section 4.4), and the counter of each. */
#define REJECT_CODES(X)                                                                            \
    X(BAD_JSON, "bad-json", rejected_bad_json)                                                     \
    X(MISSING_FIELD, "missing-field", rejected_missing_field)                                      \
    X(BAD_FIELD, "bad-field", rejected_bad_field)                                                  \
    X(TOO_LARGE, "too-large", rejected_too_large)                                                  \
    X(TOO_MANY_RECIPIENTS, "too-many-recipients", rejected_too_many_recipients)                    \
    X(FORBIDDEN_FROM, "forbidden-from", rejected_forbidden_from)                                   \
    X(FORBIDDEN_TO, "forbidden-to", rejected_forbidden_to)                                         \
    X(BAD_TOKEN, "bad-token", rejected_bad_token)                                                  \
    X(RATE_LIMITED, "rate-limited", rejected_rate_limited)                                         \
    X(MAILBOX_FULL, "mailbox-full", rejected_mailbox_full)                                         \
    X(STORAGE_UNAVAILABLE, "storage-unavailable", rejected_storage_unavailable)                    \
    X(UNKNOWN_COMMAND, "unknown-command", rejected_unknown_command)                                \
    X(NOT_FOUND, "not-found", rejected_not_found)                                                  \
    X(INTERNAL, "internal", rejected_internal)

enum reject_code {
    REJECT_NONE,
#define X(name, text, stat) REJECT_##name,
    REJECT_CODES(X)
#undef X
        REJECT_COUNT
};
const char *envelope_reject_text(enum reject_code code);

enum envelope_type { TYPE_MAIL = 1, TYPE_SIGNAL = 2, TYPE_POST = 3, TYPE_CONTROL = 4 };

enum { ENVELOPE_ID_MAX = 64, ENVELOPE_SUBJECT_MAX = 998, ENVELOPE_DEPTH_MAX = 32 };

/* A message, parsed. Every slice is decoded and lies in the text or in the arena; data NULL: the
 * field is absent. */
struct envelope {
    struct slice text; /* the whole message */
    struct slice from;
    struct slice *recipients; /* of to and cc together, in order, each address once; in the arena */
    size_t recipient_count;
    struct slice subject, id, in_reply_to, references, subject_id, token, from_tag;
    struct slice epoch; /* of a command only */
    struct slice *tags; /* of a command only; in the arena */
    size_t tag_count;
    int64_t type, level, state, create_time, expires_at, receipt, limit; /* 0 when absent */
    bool has_state, has_create_time, has_expires_at, has_receipt, has_limit;
    /* The pieces of the text that stamping changes, in the order of the text: a member that is
     * taken out, or the text of a lone string in to or cc that gets brackets. Private to
     * envelope*.c. */
    struct envelope_cut {
        struct slice span;
        uint8_t field;
    } cuts[12];
    size_t cut_count;
    bool to_is_string, cc_is_string;
};

/* A command to the server: of type 4, to postmaster and to nobody else. */
static inline bool envelope_is_command(const struct envelope *envelope)
{
    return envelope->type == TYPE_CONTROL && envelope->recipient_count == 1 &&
           slice_equal(envelope->recipients[0], SLICE("postmaster"));
}

/* Why a message is rejected. */
struct envelope_fault {
    enum reject_code code;
    const char *message;     /* static: what is allowed */
    const char *field;       /* static name of the field at fault; NULL: no field is */
    struct slice id;         /* of the message; data NULL: absent, or it could not be read */
    uint32_t retry_after_ms; /* 0: waiting does not help, or the code says how long */
};
/* Fills in all of the fault but the id and the time. Returns ERR_BAD. message and field must be
 * static; field may be NULL. */
enum err envelope_reject(struct envelope_fault *fault, enum reject_code code, const char *field,
                         const char *message);

/* Parses text and checks what can be checked without a session: JSON, required fields, types,
 * bounds, base64, addresses.
 *
 * utf8_checked: text is known to be valid UTF-8 (a text frame); otherwise this is checked too.
 * recipients_max: bounds the entries of to and cc as written, before repetitions are dropped; also
 * the tags of a command.
 * arena: has whatever is decoded; envelope must not be used after its reset.
 *
 * A command differs: content may be absent, `tags` is decoded, `limit` and `epoch` are checked and
 * taken. In any other message `tags` is checked and carried, and `limit` and `epoch` are unknown
 * fields, carried as they came.
 *
 * Returns OK; ERR_BAD with the fault; ERR_NOMEM with the fault `internal`. */
enum err envelope_parse(struct envelope *envelope, struct slice text, bool utf8_checked,
                        size_t recipients_max, struct arena *arena, struct envelope_fault *fault);

/* The server's fields of a message (section 2.2). */
struct envelope_stamp {
    struct slice id;       /* used when the envelope has no id */
    struct slice from_tag; /* used when the envelope has no fromTag; empty: none */
    int64_t now_s;         /* Unix seconds: lastUpdateTime, and createTime when absent */
    int64_t state;         /* section 2.2; not used when keep_state */
    bool keep_state;       /* the sender's state stays (a receipt) */
};
/* Makes the outgoing message: one reference, the caller's; NULL when out of memory. Its data begins
 * with '{'. The envelope's text and arena must still be there. */
struct msg *envelope_stamp(const struct envelope *envelope, const struct envelope_stamp *stamp,
                           enum msg_kind kind);

enum { ENVELOPE_UUID_SIZE = 37 }; /* 36 characters and a NUL */
/* Writes a UUIDv7 (RFC 9562 5.7); random: 10 random bytes. */
void envelope_uuid7(char out[ENVELOPE_UUID_SIZE], int64_t unix_ms, const uint8_t random[10]);

#endif
