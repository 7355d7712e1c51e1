/* UTF-8 checking as it streams: RFC 3629, no overlong forms, no surrogates, nothing past U+10FFFF.
 */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include "common/slice.h"

#include <stdint.h>

struct utf8_state {
    uint8_t need;      /* continuation bytes still to come */
    uint8_t low, high; /* bounds of the next one */
};

/* Takes the next bytes of a text; the first call has a zeroed state. Returns false at the first
 * byte that cannot be, after which the state must not be used. */
bool utf8_feed(struct utf8_state *state, const uint8_t *data, size_t len);
/* True when no sequence is unfinished. */
static inline bool utf8_done(const struct utf8_state *state)
{
    return state->need == 0;
}
bool utf8_valid(struct slice text);

#endif
