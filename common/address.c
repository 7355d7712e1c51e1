/*
 * Addresses (docs/protocol.md, section 1.6).
 *
 * An address can be shown in a log and typed again: no control characters, and no white space at
 * either end, where nobody would see the difference. Nothing is folded or normalised: two addresses
 * are equal when their bytes are.
 */
#include "common/address.h"

#include "common/utf8.h"

enum { DEVICE_BYTES_MAX = 64 };

/* Unicode's White_Space beyond ASCII, as UTF-8. U+0085 is a control character, which has_control
 * refuses before. */
static bool is_wide_space(const unsigned char *c, size_t len)
{
    if (len == 2)
        return c[0] == 0xC2 && c[1] == 0xA0; /* U+00A0 */
    if (len != 3)
        return false;
    if (c[0] == 0xE1)
        return c[1] == 0x9A && c[2] == 0x80; /* U+1680 */
    if (c[0] == 0xE3)
        return c[1] == 0x80 && c[2] == 0x80; /* U+3000 */
    if (c[0] != 0xE2)
        return false;
    if (c[1] == 0x81)
        return c[2] == 0x9F; /* U+205F */
    return c[1] == 0x80 && (c[2] <= 0x8A || c[2] == 0xA8 || c[2] == 0xA9 || c[2] == 0xAF);
}

/* text is valid UTF-8, not empty. */
static bool has_space_at_end(struct slice text)
{
    const unsigned char *bytes = (const unsigned char *)text.data;
    size_t first = 1, last = text.len - 1;

    while (first < text.len && (bytes[first] & 0xC0) == 0x80)
        first++;
    while (last > 0 && (bytes[last] & 0xC0) == 0x80)
        last--;
    return bytes[0] == ' ' || bytes[text.len - 1] == ' ' || is_wide_space(bytes, first) ||
           is_wide_space(bytes + last, text.len - last);
}

/* Does text hold C0, DEL or C1 (U+0080 to U+009F, in UTF-8 C2 80 to C2 9F)? *wide is false when all
 * bytes are ASCII. */
static bool has_control(struct slice text, bool *wide)
{
    const unsigned char *bytes = (const unsigned char *)text.data;

    *wide = false;
    for (size_t i = 0; i < text.len; i++) {
        if (bytes[i] < 0x20 || bytes[i] == 0x7F)
            return true;
        if (bytes[i] == 0xC2 && i + 1 < text.len && bytes[i + 1] < 0xA0)
            return true;
        *wide |= bytes[i] >= 0x80;
    }
    return false;
}

static bool text_valid(struct slice text)
{
    bool wide;

    if (has_control(text, &wide) || (wide && !utf8_valid(text)))
        return false;
    return !has_space_at_end(text);
}

bool address_valid(struct slice address)
{
    return address.len >= 1 && address.len <= ADDRESS_BYTES_MAX && text_valid(address);
}

bool address_is_group(struct slice address)
{
    return address.len > 0 && address.data[0] == '#';
}

bool address_reserved(struct slice address)
{
    return slice_equal(address, SLICE("postmaster")) || slice_equal(address, SLICE("#all")) ||
           slice_starts(address, SLICE("$"));
}

bool address_may_speak(struct slice address)
{
    return address_valid(address) && !address_is_group(address) && !address_reserved(address);
}

bool address_device_valid(struct slice device)
{
    return device.len == 0 || (device.len <= DEVICE_BYTES_MAX && text_valid(device));
}

bool address_pattern_covers(struct slice pattern, struct slice address)
{
    if (pattern.len > 0 && pattern.data[pattern.len - 1] == '*')
        return slice_starts(address, slice_make(pattern.data, pattern.len - 1));
    return pattern.len > 0 && slice_equal(pattern, address);
}
