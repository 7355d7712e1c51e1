/*
 * Any bytes as an envelope. An envelope that parses is stamped. The stamped text must be good JSON,
 * keep every other member byte for byte, and hold no token. A text that the strict scanner accepts
 * must have the same members for the scanner's walk.
 */
#include "worker/envelope/envelope.h"

#include "common/utf8.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert: NDEBUG must not switch the check off. */
#define promise(what)                                                                              \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #what);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct seen {
    struct json_member members[64];
    size_t count;
};

static void remember(void *context, const struct json_member *member)
{
    struct seen *seen = context;

    if (seen->count < 64)
        seen->members[seen->count] = *member;
    seen->count++;
}

static void walk_all(const struct json_value *value, struct arena *arena)
{
    struct json_value key, inner;
    struct json_walk walk;
    struct slice span;
    int64_t number;

    switch (value->type) {
    case JSON_OBJECT:
        json_walk_begin(&walk, value);
        while (json_walk_member(&walk, &key, &inner, &span)) {
            promise(json_key_equal(&key, json_string(&key, arena)));
            promise(span.data + span.len == inner.text.data + inner.text.len);
            walk_all(&inner, arena);
        }
        break;
    case JSON_ARRAY:
        json_walk_begin(&walk, value);
        while (json_walk_element(&walk, &inner))
            walk_all(&inner, arena);
        break;
    case JSON_STRING: {
        struct slice string = json_string(value, arena);
        promise(string.data && string.len <= value->text.len);
        promise(!memchr(string.data, 0, string.len));
        break;
    }
    default:
        json_int(value, &number);
    }
}

static void check_json(struct slice text, struct arena *arena)
{
    static struct seen seen;
    struct json_value value, again, key, member;
    struct json_fault fault;
    struct json_walk walk;
    struct slice span;
    size_t count = 0;

    seen.count = 0;
    if (json_check_members(text, 32, &value, &fault, remember, &seen)) {
        promise(fault.reason && fault.offset <= text.len);
        return;
    }
    promise(json_check(value.text, 32, &again, &fault) == OK);
    promise(slice_equal(again.text, value.text) && again.type == value.type);
    walk_all(&value, arena);
    if (value.type != JSON_OBJECT)
        return;
    json_walk_begin(&walk, &value);
    for (; json_walk_member(&walk, &key, &member, &span); count++)
        if (count < 64) {
            promise(span.data == seen.members[count].span.data);
            promise(span.len == seen.members[count].span.len);
            promise(member.type == seen.members[count].value.type);
            promise(member.escaped == seen.members[count].value.escaped);
        }
    promise(count == seen.count);
}

static bool is_one_of(const struct json_value *key, const char *const *names)
{
    for (; *names; names++)
        if (json_key_equal(key, slice_of(*names)))
            return true;
    return false;
}

/* The first member with this key; false when there is none. */
static bool find(const struct json_value *object, const struct json_value *wanted,
                 struct json_value *found)
{
    struct json_walk walk;
    struct json_value key;

    json_walk_begin(&walk, object);
    while (json_walk_member(&walk, &key, found, NULL))
        if (slice_equal(key.text, wanted->text))
            return true;
    return false;
}

static void check_carried(const struct json_value *before, const struct json_value *after)
{
    static const char *const taken[] = { "token", "seq", "log", "lastUpdateTime", "state", NULL };
    static const char *const wrapped[] = { "to", "cc", NULL };
    struct json_walk walk;
    struct json_value key, value, now;
    int budget = 64; /* the comparison below is quadratic */

    json_walk_begin(&walk, before);
    while (budget-- > 0 && json_walk_member(&walk, &key, &value, NULL)) {
        if (is_one_of(&key, taken))
            continue;
        promise(find(after, &key, &now));
        if (is_one_of(&key, wrapped) && value.type == JSON_STRING) {
            promise(now.type == JSON_ARRAY && now.text.len == value.text.len + 2);
            now.text = slice_make(now.text.data + 1, now.text.len - 2);
        }
        promise(slice_equal(now.text, value.text));
    }
}

static void check_stamp(const struct envelope *envelope, bool keep_state)
{
    const struct envelope_stamp stamp = { .id = SLICE("server-id"),
                                          .from_tag = SLICE("T\"\\\n\xc3\xa9"),
                                          .now_s = 1795000001,
                                          .keep_state = keep_state };
    static const char *const never[] = { "token", "seq", "log", NULL };
    static const char *const always[] = { "id",    "lastUpdateTime", "createTime",
                                          "state", "fromTag",        NULL };
    struct msg *msg = envelope_stamp(envelope, &stamp, MSG_MAIL);
    struct json_value before = { .type = JSON_OBJECT, .text = envelope->text }, after, key, value;
    struct json_fault fault;
    struct json_walk walk;
    int set = 0;

    promise(msg && msg->data[0] == '{');
    promise(json_check(msg_slice(msg), ENVELOPE_DEPTH_MAX, &after, &fault) == OK);
    promise(after.text.len == msg->len);
    json_walk_begin(&walk, &after);
    while (json_walk_member(&walk, &key, &value, NULL)) {
        promise(!is_one_of(&key, never));
        set += is_one_of(&key, always);
    }
    promise(set == 5);
    check_carried(&before, &after);
    msg_unref(msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct envelope envelope;
    struct envelope_fault fault;
    struct arena arena;
    enum err err;

    arena_init(&arena, 1024);
    if (utf8_valid(text))
        check_json(text, &arena);
    err = envelope_parse(&envelope, text, false, 20, &arena, &fault);
    promise(err == OK || (err == ERR_BAD && fault.code != REJECT_NONE && fault.message));
    if (err == OK) {
        promise(envelope.from.data && envelope.subject.data && envelope.recipient_count > 0);
        check_stamp(&envelope, false);
        check_stamp(&envelope, true);
    }
    arena_fini(&arena);
    return 0;
}
