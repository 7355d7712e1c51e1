#include "common/utf8.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

/* Another way to say what UTF-8 is: decode the number, then ask whether it may be written so. */
static bool naive_valid(const uint8_t *text, size_t len)
{
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };

    for (size_t i = 0; i < len;) {
        uint8_t lead = text[i];
        size_t n = lead < 0x80       ? 1
                   : lead >> 5 == 6  ? 2
                   : lead >> 4 == 14 ? 3
                   : lead >> 3 == 30 ? 4
                                     : 0;
        uint32_t point = n == 1 ? lead : lead & (0x7fu >> n);

        if (n == 0 || n > len - i)
            return false;
        for (size_t k = 1; k < n; k++) {
            if (text[i + k] >> 6 != 2)
                return false;
            point = point << 6 | (text[i + k] & 0x3f);
        }
        if (n > 1 && point < least[n])
            return false;
        if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
            return false;
        i += n;
    }
    return true;
}

static bool fed_by_bytes(const uint8_t *text, size_t len)
{
    struct utf8_state utf8 = { 0 };

    for (size_t i = 0; i < len; i++)
        if (!utf8_feed(&utf8, text + i, 1))
            return false;
    return utf8_done(&utf8);
}

static void compare(const uint8_t *text, size_t len)
{
    bool expected = naive_valid(text, len);

    if (utf8_valid(slice_make(text, len)) != expected)
        fail_msg("whole: %02x %02x %02x %02x", text[0], text[1], text[2], text[3]);
    if (fed_by_bytes(text, len) != expected)
        fail_msg("bytewise: %02x %02x %02x %02x", text[0], text[1], text[2], text[3]);
}

static void every_one_two_and_three_byte_text_is_judged_as_the_naive_checker_does(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 1u << 24; i++) {
        uint8_t text[8] = {
            (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 'a', 'b', 'c', 'd', 'e'
        };
        bool expected = naive_valid(text, 3);

        if (utf8_valid(slice_make(text, 8)) != expected ||
            utf8_valid(slice_make(text, 3)) != expected)
            fail_msg("%06x", i);
        if ((i & 0xff) == 0) {
            compare(text, 1);
            compare(text, 2);
        }
        if (expected || (i & 0x3f) == 0x3f)
            compare(text, 3);
    }
}

static void every_four_byte_text_at_the_edges_is_judged_as_the_naive_checker_does(void **state)
{
    static const uint8_t edges[] = { 0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0,
                                     0xbf, 0xc0, 0xc2, 0xe0, 0xf0, 0xff };
    enum { N = sizeof edges };
    (void)state;
    for (unsigned lead = 0; lead < 256; lead++)
        for (unsigned second = 0; second < 256; second++)
            for (unsigned k = 0; k < N * N; k++) {
                uint8_t text[4] = { (uint8_t)lead, (uint8_t)second, edges[k / N], edges[k % N] };
                compare(text, 4);
            }
}

/* The cases of Markus Kuhn's "UTF-8 decoder capability and stress test", by its section numbers. */
static const struct {
    const char *text;
    bool good;
} kuhn[] = {
    { "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", true }, /* 1 */
    { "\xc2\x80", true },                                     /* 2.1 first of each length */
    { "\xe0\xa0\x80", true },
    { "\xf0\x90\x80\x80", true },
    { "\xf8\x88\x80\x80\x80", false },
    { "\xfc\x84\x80\x80\x80\x80", false },
    { "\x7f", true }, /* 2.2 last of each length */
    { "\xdf\xbf", true },
    { "\xef\xbf\xbf", true },
    { "\xf7\xbf\xbf\xbf", false },
    { "\xfb\xbf\xbf\xbf\xbf", false },
    { "\xed\x9f\xbf", true }, /* 2.3 other boundaries */
    { "\xee\x80\x80", true },
    { "\xef\xbf\xbd", true },
    { "\xf4\x8f\xbf\xbf", true },
    { "\xf4\x90\x80\x80", false },
    { "\x80", false }, /* 3.1 unexpected continuation bytes */
    { "\xbf", false },
    { "\x80\xbf\x80\xbf", false },
    { "\xc0 \xc1 \xc2 ", false }, /* 3.2 lonely starts */
    { "\xe0 \xe1 ", false },
    { "\xf0 \xf1 ", false },
    { "\xc3", false }, /* 3.3 last byte missing */
    { "\xe0\xa0", false },
    { "\xf0\x90\x80", false },
    { "\xdf", false },
    { "\xef\xbf", false },
    { "\xfe", false }, /* 3.5 impossible bytes */
    { "\xff", false },
    { "\xfe\xfe\xff\xff", false },
    { "\xc0\xaf", false }, /* 4 overlong */
    { "\xe0\x80\xaf", false },
    { "\xf0\x80\x80\xaf", false },
    { "\xc1\xbf", false },
    { "\xe0\x9f\xbf", false },
    { "\xf0\x8f\xbf\xbf", false },
    { "\xed\xa0\x80", false }, /* 5 surrogates */
    { "\xed\xad\xbf", false },
    { "\xed\xbf\xbf", false },
    { "\xed\xa0\x80\xed\xb0\x80", false },
    { "\xef\xbf\xbe", true }, /* 5.3: noncharacters are characters to UTF-8 */
};

/* At every place in a long ASCII text, so that each way through the fast paths meets each case. */
static void kuhns_cases_hold_at_every_alignment(void **state)
{
    uint8_t text[80];
    (void)state;
    for (size_t i = 0; i < sizeof kuhn / sizeof kuhn[0]; i++) {
        size_t len = strlen(kuhn[i].text);
        assert_int_equal(naive_valid((const uint8_t *)kuhn[i].text, len), kuhn[i].good);
        for (size_t at = 0; at + len <= sizeof text; at++) {
            memset(text, 'a', sizeof text);
            memcpy(text + at, kuhn[i].text, len);
            assert_int_equal(utf8_valid(slice_make(text, sizeof text)), kuhn[i].good);
            assert_int_equal(utf8_valid(slice_make(text, at + len)), kuhn[i].good);
        }
    }
}

static const char mixed[] =
    "abc \xc3\xa9 \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x98\x80\xf4\x8f\xbf\xbf 0123456789 "
    "0123456789012345678901234567890123456789 \xd0\x96";

static void a_good_text_is_good_in_every_three_pieces(void **state)
{
    const uint8_t *text = (const uint8_t *)mixed;
    size_t len = sizeof mixed - 1;
    (void)state;
    for (size_t a = 0; a <= len; a++)
        for (size_t b = a; b <= len; b++) {
            struct utf8_state utf8 = { 0 };
            assert_true(utf8_feed(&utf8, text, a));
            assert_true(utf8_feed(&utf8, text + a, b - a));
            assert_true(utf8_feed(&utf8, text + b, len - b));
            assert_true(utf8_done(&utf8));
        }
}

static void a_bad_byte_is_refused_when_it_comes_and_not_later(void **state)
{
    static const char *const prefixes[] = { "a\xe0", "\xed", "\xf0", "\xf4", "\xe1\x80", "" };
    static const uint8_t offending[] = { 0x9f, 0xa0, 0x8f, 0x90, 0x41, 0xff };
    (void)state;
    for (size_t i = 0; i < sizeof offending; i++) {
        struct utf8_state utf8 = { 0 };
        assert_true(utf8_feed(&utf8, (const uint8_t *)prefixes[i], strlen(prefixes[i])));
        assert_false(utf8_feed(&utf8, &offending[i], 1));
    }
}

static void the_empty_text_is_good_and_nothing_is_read(void **state)
{
    struct utf8_state utf8 = { 0 };
    (void)state;
    assert_true(utf8_valid(slice_make(NULL, 0)));
    assert_true(utf8_feed(&utf8, (const uint8_t *)"", 0));
    assert_true(utf8_done(&utf8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_one_two_and_three_byte_text_is_judged_as_the_naive_checker_does),
        cmocka_unit_test(every_four_byte_text_at_the_edges_is_judged_as_the_naive_checker_does),
        cmocka_unit_test(kuhns_cases_hold_at_every_alignment),
        cmocka_unit_test(a_good_text_is_good_in_every_three_pieces),
        cmocka_unit_test(a_bad_byte_is_refused_when_it_comes_and_not_later),
        cmocka_unit_test(the_empty_text_is_good_and_nothing_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
