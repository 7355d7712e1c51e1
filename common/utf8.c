/*
 * UTF-8 checking as it streams.
 *
 * A lead byte allows one range for the second byte, and 80-BF for the rest (Unicode 15, table 3-7).
 * So the state of a sequence that is cut anywhere is the number of bytes still needed and the range
 * of the next byte. Only sequences cut by an end of the data go through the state: ASCII is passed
 * 32 bytes a step, and sequences that lie whole in the data are judged whole.
 */
#include "common/utf8.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)

static inline uint64_t load8(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

/* Returns the first byte at or behind `at` that is not ASCII; end when there is none. */
static const uint8_t *skip_ascii(const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= 32; at += 32)
        if ((load8(at) | load8(at + 8) | load8(at + 16) | load8(at + 24)) & HIGH_BITS)
            break;
    for (; end - at >= 8; at += 8)
        if (load8(at) & HIGH_BITS)
            break;
    while (at < end && *at < 0x80)
        at++;
    return at;
}

/* Takes a lead byte into the state; false when no sequence begins with lead. The narrow ranges keep
 * out overlong forms (E0, F0), surrogates (ED) and code points past U+10FFFF (F4). */
static inline bool begin_sequence(struct utf8_state *state, uint8_t lead)
{
    state->low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    state->high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    state->need = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    return lead >= 0xc2 && lead <= 0xf4;
}

static inline bool is_tail(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Returns the length of the sequence of two to four bytes at `at`; 0 when the sequence is bad. Four
 * bytes can be read. Most text beyond ASCII has three-byte characters with plain leads, so these
 * are tested first. */
static inline size_t whole_sequence(const uint8_t *at)
{
    struct utf8_state begun;
    bool two_tails =
        (((at[1] ^ 0x80) | (at[2] ^ 0x80)) & 0xc0) == 0; /* one test, no branch between */

    if (at[0] > 0xe0 && at[0] < 0xf0 && at[0] != 0xed)
        return two_tails ? 3 : 0;
    if (!begin_sequence(&begun, at[0]) || at[1] < begun.low || at[1] > begun.high)
        return 0;
    if (begun.need == 1)
        return 2;
    if (!two_tails)
        return 0;
    if (begun.need == 2)
        return 3;
    return is_tail(at[3]) ? 4 : 0;
}

/* Takes one byte into the state. */
static inline bool step(struct utf8_state *state, uint8_t byte)
{
    if (state->need == 0)
        return byte < 0x80 || begin_sequence(state, byte);
    if (byte < state->low || byte > state->high)
        return false;
    state->need--;
    state->low = 0x80;
    state->high = 0xbf;
    return true;
}

bool utf8_feed(struct utf8_state *state, const uint8_t *data, size_t len)
{
    const uint8_t *at = data, *end = data + len;

    while (at < end && state->need)
        if (!step(state, *at++))
            return false;
    while (end - at >= 4) {
        if (*at < 0x80) {
            at = skip_ascii(at, end);
            continue;
        }
        size_t sequence_len = whole_sequence(at);
        if (!sequence_len)
            return false;
        at += sequence_len;
    }
    while (at < end)
        if (!step(state, *at++))
            return false;
    return true;
}

bool utf8_valid(struct slice text)
{
    struct utf8_state state = { 0 };

    return text.len == 0 ||
           (utf8_feed(&state, (const uint8_t *)text.data, text.len) && utf8_done(&state));
}
