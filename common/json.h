/*
 * A strict RFC 8259 scanner that gives spans of the text it reads instead of a tree: nothing is
 * converted, so numbers keep their text and what is carried stays the bytes that came.
 *
 * Stricter than the RFC where a mail server must be: no key twice in any object (compared
 * unescaped), no NUL (\u0000) and no lone surrogate in any string, a bound on nesting, nothing
 * after the value.
 */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/slice.h"

#include <stdint.h>

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_value {
    enum json_type type;
    struct slice text; /* as written, quotes and brackets included (a key's: without quotes) */
    bool escaped;      /* STRING: has a backslash */
};

enum { JSON_DEPTH_LIMIT = 64 };

/* Checks that text is one JSON value with nothing but white space around it, nested at most
 * depth_max (itself at most JSON_DEPTH_LIMIT; a lone [] is nested once), valid UTF-8 assumed
 * checked by the caller. OK with *value; ERR_BAD with a static reason and the offset of the fault;
 * ERR_NOMEM, which an object of very many members can meet. */
struct json_fault {
    const char *reason;
    size_t offset;
};
enum err json_check(struct slice text, unsigned depth_max, struct json_value *value,
                    struct json_fault *fault);

/* json_check, which tells the outermost object's members as it passes them, so that one pass both
 * checks and finds. What was told counts only when OK comes back; until then it may hold a key
 * twice, for a large object is searched for repetitions when it closes. */
struct json_member {
    struct json_value key; /* text between the quotes, see json_key_equal */
    struct json_value value;
    struct slice span; /* from the key's quote to the value's last byte */
};
typedef void json_member_fn(void *context, const struct json_member *member);
enum err json_check_members(struct slice text, unsigned depth_max, struct json_value *value,
                            struct json_fault *fault, json_member_fn *tell, void *context);

/* Walks the members of a value that json_check found good (or of a value that came from such a
 * walk). */
struct json_walk {
    const char *at, *end;
};
void json_walk_begin(struct json_walk *walk, const struct json_value *container);
/* OBJECT: the next member; false at the end. key is its text between the quotes, still escaped when
 * key->escaped (compare with json_key_equal). span, when not NULL, is the member from its key's
 * quote to the value's last byte. */
bool json_walk_member(struct json_walk *walk, struct json_value *key, struct json_value *value,
                      struct slice *span);
/* ARRAY: the next element; false at the end. */
bool json_walk_element(struct json_walk *walk, struct json_value *value);

/* Is name what the key (or the STRING) says once unescaped? */
bool json_key_equal(const struct json_value *key, struct slice name);

/* A STRING's (or a key's) characters: within the text itself when nothing is escaped, else
 * unescaped into the arena. data NULL when out of memory. */
struct slice json_string(const struct json_value *value, struct arena *arena);
/* The same into the caller's memory: room for value->text.len bytes. Returns how many were written.
 */
size_t json_unescape(const struct json_value *value, char *out);
/* An integer written without fraction or exponent that fits; false otherwise. */
bool json_int(const struct json_value *value, int64_t *out);

/* Appends text as a quoted JSON string; control characters, quote and backslash escaped. */
enum err json_add_string(struct buf *buf, struct slice text);

#endif
