/*
 * Stamping: makes the one outgoing message from the bytes that came.
 *
 *   {"id":"...","lastUpdateTime":1,"state":0,"from":"alice", and the rest as it came }
 *    the server's members ..................,the sender's, minus token, seq, log, lastUpdateTime,
 * state
 *
 * The server's members come first, and there is always at least one. So each of the sender's
 * members has a comma before it, and a member is taken out together with that comma, wherever the
 * member stands. The message is first a list of pieces, so its size is known before the one
 * allocation.
 */
#include "worker/envelope/envelope.h"

#include "worker/envelope/envelope_fields.h"

#include <assert.h>

/* Room for the server's members. The longest need under 700 bytes: two ids of 64, three numbers of
 * 20, a device of 64 bytes that are escaped as 6 each, and the names. */
enum { HEAD_SIZE = 1024 };

enum { PIECE_HEAD, PIECE_COMMA, PIECES_MAX = 64 };

/* The outgoing message, piece by piece: the server's members, a comma, the sender's. */
struct pieces {
    struct slice list[PIECES_MAX];
    size_t count, len;
};

static void add_piece(struct pieces *pieces, const char *from, const char *to)
{
    assert(from <= to);
    assert(pieces->count < PIECES_MAX);
    pieces->list[pieces->count++] = slice_make(from, (size_t)(to - from));
    pieces->len += (size_t)(to - from);
}

static void add_member_name(struct buf *head, enum envelope_field field)
{
    buf_add_text(head, head->len > 1 ? ",\"" : "\"");
    buf_add_text(head, envelope_field_text(field));
    buf_add_text(head, "\":");
}

static void add_text_field(struct buf *head, enum envelope_field field, struct slice text)
{
    add_member_name(head, field);
    json_add_string(head, text);
}

static void add_number_field(struct buf *head, enum envelope_field field, int64_t number)
{
    add_member_name(head, field);
    buf_add_int(head, number);
}

static void add_server_fields(struct buf *head, const struct envelope *envelope,
                              const struct envelope_stamp *stamp)
{
    struct slice id = envelope->id.data ? envelope->id : stamp->id;

    buf_add_char(head, '{');
    if (!envelope->id.data)
        add_text_field(head, FIELD_ID, id);
    if (!envelope->subject_id.data && !envelope->in_reply_to.data)
        add_text_field(head, FIELD_SUBJECT_ID, id);
    if (!envelope->has_create_time)
        add_number_field(head, FIELD_CREATE_TIME, stamp->now_s);
    add_number_field(head, FIELD_LAST_UPDATE_TIME, stamp->now_s);
    if (!stamp->keep_state || !envelope->has_state)
        add_number_field(head, FIELD_STATE, stamp->state);
    if (!envelope->from_tag.data && stamp->from_tag.len > 0)
        add_text_field(head, FIELD_FROM_TAG, stamp->from_tag);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Where to cut before a member: at its comma. The first member has no comma: there, right behind
 * the opening bracket. */
static const char *member_start(const char *at)
{
    while (is_space(at[-1]))
        at--;
    return at[-1] == ',' ? at - 1 : at;
}

/* Where to cut behind a member: at the next member's comma, or at the closing bracket. */
static const char *member_end(const char *at)
{
    while (is_space(*at))
        at++;
    return at;
}

/* The text behind its opening bracket, without the members that are taken out. */
static void add_sender_fields(struct pieces *pieces, const struct envelope *envelope,
                              bool keep_state)
{
    const char *begin = envelope->text.data + 1, *from = begin;

    for (size_t i = 0; i < envelope->cut_count; i++) {
        const struct envelope_cut *cut = &envelope->cuts[i];
        const char *at = cut->span.data, *end = at + cut->span.len;
        static const char brackets[] = "[]";
        if (cut->field == FIELD_STATE && keep_state)
            continue;
        if (cut->field == FIELD_TO || cut->field == FIELD_CC) {
            add_piece(pieces, from, at);
            add_piece(pieces, brackets, brackets + 1);
            add_piece(pieces, at, end);
            add_piece(pieces, brackets + 1, brackets + 2);
            from = end;
            continue;
        }
        at = member_start(at);
        add_piece(pieces, from, at);
        from = member_end(end);
        if (at == begin) { /* the first member: the next one brings its own comma */
            pieces->len -= pieces->list[PIECE_COMMA].len;
            pieces->list[PIECE_COMMA].len = 0;
        }
    }
    add_piece(pieces, from, envelope->text.data + envelope->text.len);
}

struct msg *envelope_stamp(const struct envelope *envelope, const struct envelope_stamp *stamp,
                           enum msg_kind kind)
{
    static const char comma[] = ",";
    char storage[HEAD_SIZE];
    struct buf head = { .data = storage, .size = sizeof storage, .size_max = sizeof storage };
    struct pieces pieces;
    struct msg *msg;
    char *to;

    add_server_fields(&head, envelope, stamp);
    if (head.failed)
        return NULL; /* longer than an id or a device can be */
    pieces.count = pieces.len = 0;
    add_piece(&pieces, head.data, head.data + head.len);
    add_piece(&pieces, comma, comma + 1);
    add_sender_fields(&pieces, envelope, stamp->keep_state);
    msg = msg_make(pieces.len, kind, (int)envelope->level);
    if (!msg)
        return NULL;
    to = msg->data;
    for (size_t i = 0; i < pieces.count; i++) {
        memcpy(to, pieces.list[i].data, pieces.list[i].len);
        to += pieces.list[i].len;
    }
    assert((size_t)(to - msg->data) == msg->len);
    return msg;
}

/* RFC 9562 5.7: 48 bits of milliseconds, so that ids sort by time, then random bits. */
void envelope_uuid7(char out[ENVELOPE_UUID_SIZE], int64_t unix_ms, const uint8_t random[10])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t bytes[16];
    char *to = out;

    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)((uint64_t)unix_ms >> (40 - 8 * i));
    memcpy(bytes + 6, random, 10);
    bytes[6] = (uint8_t)((bytes[6] & 0x0F) | 0x70); /* version 7 */
    bytes[8] = (uint8_t)((bytes[8] & 0x3F) | 0x80); /* variant 10 */
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = hex[bytes[i] >> 4];
        *to++ = hex[bytes[i] & 15];
    }
    *to = 0;
}
