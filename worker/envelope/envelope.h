/*
 * The envelope (docs/protocol.md, section 2): parse once, check, stamp.
 *
 * Parsing gives slices of the text that came; stamping makes the one outgoing message from those
 * very bytes, with only the server's own fields put in and `token` taken out. Nothing carried is
 * printed again.
 */
#ifndef WORKER_ENVELOPE_H
#define WORKER_ENVELOPE_H

#include "common/arena.h"
#include "common/json.h"
#include "common/msg.h"
#include "common/slice.h"

#include <stdint.h>

/* `code` of a `rejected` (section 4). */
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
const char *reject_code_text(enum reject_code code);

enum envelope_type { TYPE_MAIL = 1, TYPE_SIGNAL = 2, TYPE_POST = 3, TYPE_CONTROL = 4 };

enum { ENVELOPE_ID_MAX = 64, ENVELOPE_SUBJECT_MAX = 998, ENVELOPE_DEPTH_MAX = 32 };

struct envelope {
    struct slice text; /* the whole message */
    struct slice from; /* decoded, in the text or the arena, as all below; data NULL when absent */
    struct slice *recipients; /* of to and cc together, in order, each once; in the arena */
    size_t recipient_count;
    struct slice subject, id, in_reply_to, references, subject_id, token, from_tag;
    struct slice epoch; /* a command's */
    struct slice *tags; /* a command's */
    size_t tag_count;
    int64_t type, level, state, create_time, expires_at, receipt, limit;
    bool has_state, has_create_time, has_expires_at, has_receipt, has_limit;
    /* What stamping takes out (a member) or puts brackets around (a lone string's text); private to
     * envelope*.c, in the order of the text. */
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

struct envelope_fault {
    enum reject_code code;
    const char *message; /* static, says what is allowed */
    const char *field;   /* static name of the field at fault; NULL when none */
    struct slice id;     /* the message's id when it could be read; data NULL otherwise */
};
/* Says what is wrong, the id aside, in one statement. Returns ERR_BAD. field NULL: none. */
enum err envelope_reject(struct envelope_fault *fault, enum reject_code code, const char *field,
                         const char *message);

/* Parses and checks everything that needs no knowledge of the session: JSON, the five required
 * fields (unless it is a command to postmaster, of which only from, to, type and subject are
 * required... and content may be absent), types, bounds, base64, addresses, recipients_max. text
 * must be valid UTF-8 when utf8_checked, else that is checked too (binary frames). OK, or ERR_BAD
 * with the fault; ERR_NOMEM with the fault `internal`. recipients_max bounds the entries of to and
 * cc as written, before repetitions are taken out. Of a command alone: `tags` is decoded
 * (recipients_max of them at most; elsewhere they are checked and carried), and `limit` and `epoch`
 * are looked at (elsewhere they are unknown fields, and carried). */
enum err envelope_parse(struct envelope *envelope, struct slice text, bool utf8_checked,
                        size_t recipients_max, struct arena *arena, struct envelope_fault *fault);

/* What the server sets (section 2). */
struct envelope_stamp {
    struct slice id; /* used when the envelope has none */
    struct slice
        from_tag;  /* the session's device; used when the envelope has none and it is not empty */
    int64_t now_s; /* lastUpdateTime; createTime when absent */
    int64_t state; /* 0 new … ; kept as it came when keep_state (a receipt) */
    bool keep_state;
};
/* The outgoing message: one reference, the caller's; NULL when out of memory. Its data begins with
 * '{'. The envelope's text and arena must still be there. */
struct msg *envelope_stamp(const struct envelope *envelope, const struct envelope_stamp *stamp,
                           enum msg_kind kind);

enum { ENVELOPE_UUID_SIZE = 37 }; /* 36 characters and a NUL */
/* Writes a UUIDv7 (RFC 9562 5.7); random: 10 random bytes. */
void envelope_uuid7(char out[ENVELOPE_UUID_SIZE], int64_t unix_ms, const uint8_t random[10]);

#endif
