/*
 * A strict RFC 8259 scanner that gives spans of the text it reads instead of a tree: nothing is
 * converted, so numbers keep their text, and a message that is passed on stays byte for byte as it
 * came.
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
 * checked by the caller. Returns OK with *value, whose text lies in the text given; ERR_BAD with a
 * static reason and the offset of the fault; ERR_NOMEM, which only text with many members can
 * meet. */
struct json_fault {
    const char *reason;
    size_t offset;
};
enum err json_check(struct slice text, unsigned depth_max, struct json_value *value,
                    struct json_fault *fault);

/* As json_check, and calls `tell` for each member of the outermost object on the way, so that one
 * pass both checks and finds. Members count only when OK is returned: until then a key may have
 * come twice, because a large object is searched for repetitions when it closes. */
struct json_member {
    struct json_value key; /* text between the quotes, see json_key_equal */
    struct json_value value;
    struct slice span; /* from the key's quote to the value's last byte */
};
typedef void json_member_fn(void *context, const struct json_member *member);
enum err json_check_members(struct slice text, unsigned depth_max, struct json_value *value,
                            struct json_fault *fault, json_member_fn *tell, void *context);

/* Walks the members of a container that json_check accepted, or that such a walk returned. */
struct json_walk {
    const char *at, *end;
};
void json_walk_begin(struct json_walk *walk, const struct json_value *container);
/* OBJECT: returns the next member; false at the end. key->text is the key between its quotes, still
 * escaped when key->escaped (compare with json_key_equal). *span, when span is not NULL, is the
 * member from its key's quote to its value's last byte. */
bool json_walk_member(struct json_walk *walk, struct json_value *key, struct json_value *value,
                      struct slice *span);
/* ARRAY: returns the next element; false at the end. */
bool json_walk_element(struct json_walk *walk, struct json_value *value);

/* Is name the key, or the STRING, once unescaped? */
bool json_key_equal(const struct json_value *key, struct slice name);

/* Returns the characters of a STRING or a key: within the text itself when nothing is escaped, else
 * unescaped into the arena. data is NULL when out of memory. */
struct slice json_string(const struct json_value *value, struct arena *arena);
/* The same into the caller's memory, which has room for value->text.len bytes. Returns how many
 * were written. */
size_t json_unescape(const struct json_value *value, char *out);
/* True with *out for a NUMBER without fraction or exponent that fits into 64 bits. */
bool json_int(const struct json_value *value, int64_t *out);

/* Appends text as a quoted JSON string; control characters, quotes and backslashes are escaped.
 * ERR_FULL or ERR_NOMEM: the buffer is as it was. */
enum err json_add_string(struct buf *buf, struct slice text);

#endif
