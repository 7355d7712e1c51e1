/* common/address: what can be an address, which are the server's own, and what a pattern covers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/address.h"

#include <stdlib.h>

/* In memory of its exact size, so that a sanitizer sees one byte read too far. */
static bool valid(struct slice text)
{
    char *copy = malloc(text.len ? text.len : 1);
    bool result;

    assert_non_null(copy);
    memcpy(copy, text.data, text.len);
    result = address_valid(slice_make(copy, text.len));
    assert_int_equal(text.len > 64 ? result : address_device_valid(slice_make(copy, text.len)),
                     text.len == 0 ? true : result);
    free(copy);
    return result;
}

#define good(literal) assert_true(valid(SLICE(literal)))
#define bad(literal)  assert_false(valid(SLICE(literal)))

static void takes_users_groups_and_services(void **state)
{
    (void)state;
    good("a");
    good("alice");
    good("#team");
    good("/service/erp/company/001");
    good("alice@example.org");
    good("two words");
    good("*?[]{}%s");
    good("r\xc3\xa9sum\xc3\xa9");
    good("\xe5\xbc\xa0\xe4\xb8\x89");
    good("\xf0\x9f\x98\x80");
    good("x\xc2\xa0y");
    good("x\xe2\x80\xa8y");
    good("\xc3\x80");
}

static void takes_1_to_255_bytes(void **state)
{
    char text[256];

    (void)state;
    memset(text, 'a', sizeof text);
    assert_false(address_valid(slice_make(text, 0)));
    assert_false(address_valid((struct slice){ NULL, 0 }));
    assert_true(address_valid(slice_make(text, 254)));
    assert_true(address_valid(slice_make(text, 255)));
    assert_false(address_valid(slice_make(text, 256)));
}

static void refuses_every_control_character_anywhere(void **state)
{
    char text[3] = "abc";

    (void)state;
    for (int c = 0; c < 0x20; c++)
        for (int at = 0; at < 3; at++) {
            memcpy(text, "abc", 3);
            text[at] = (char)c;
            assert_false(valid(slice_make(text, 3)));
        }
    bad("a\x7f");
    for (int c = 0x80; c < 0xA0; c++) { /* C1 */
        char wide[4] = { 'a', (char)0xC2, (char)c, 'b' };
        assert_false(valid(slice_make(wide, 4)));
    }
}

static void refuses_white_space_at_either_end(void **state)
{
    static const char *const spaces[] = {
        " ",
        "\t",
        "\n",
        "\xc2\x85",
        "\xc2\xa0",
        "\xe1\x9a\x80",
        "\xe2\x80\x80",
        "\xe2\x80\x8a",
        "\xe2\x80\xa8",
        "\xe2\x80\xa9",
        "\xe2\x80\xaf",
        "\xe2\x81\x9f",
        "\xe3\x80\x80",
    };
    char text[8];

    (void)state;
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        size_t len = strlen(spaces[i]);
        memcpy(text, spaces[i], len);
        assert_false(valid(slice_make(text, len)));
        text[len] = 'a';
        assert_false(valid(slice_make(text, len + 1)));
        text[0] = 'a';
        memcpy(text + 1, spaces[i], len);
        assert_false(valid(slice_make(text, len + 1)));
    }
    good("\xe2\x80\x8b");  /* zero width space is not White_Space */
    good("a\xe2\x80\x90"); /* a hyphen, next to them */
    good("\xe1\x9a\x81\xe3\x80\x81");
}

static void refuses_what_is_not_utf8(void **state)
{
    (void)state;
    bad("\xff");
    bad("a\xc3");
    bad("\xc3");
    bad("\x80");
    bad("\xbf\xbf\xbf\xbf");
    bad("\xc0\xaf");
    bad("\xed\xa0\x80");
    bad("\xf4\x90\x80\x80");
    bad("\xe2\x80");
}

static void knows_the_servers_own(void **state)
{
    (void)state;
    assert_true(address_reserved(SLICE("postmaster")));
    assert_true(address_reserved(SLICE("#all")));
    assert_true(address_reserved(SLICE("$")));
    assert_true(address_reserved(SLICE("$x")));
    assert_false(address_reserved(SLICE("postmasters")));
    assert_false(address_reserved(SLICE("#alles")));
    assert_false(address_reserved(SLICE("a$")));
    assert_false(address_reserved(SLICE("")));
    assert_true(address_is_group(SLICE("#a")));
    assert_false(address_is_group(SLICE("a#")));
    assert_false(address_is_group(SLICE("")));
}

static void only_users_may_speak(void **state)
{
    (void)state;
    assert_true(address_may_speak(SLICE("alice")));
    assert_false(address_may_speak(SLICE("#team")));
    assert_false(address_may_speak(SLICE("#all")));
    assert_false(address_may_speak(SLICE("postmaster")));
    assert_false(address_may_speak(SLICE("$sys")));
    assert_false(address_may_speak(SLICE("")));
    assert_false(address_may_speak(SLICE(" alice")));
}

static void a_device_may_be_empty_and_has_at_most_64_bytes(void **state)
{
    char text[65];

    (void)state;
    memset(text, 'A', sizeof text);
    assert_true(address_device_valid((struct slice){ NULL, 0 }));
    assert_true(address_device_valid(SLICE("")));
    assert_true(address_device_valid(SLICE("TAB")));
    assert_true(address_device_valid(slice_make(text, 64)));
    assert_false(address_device_valid(slice_make(text, 65)));
    assert_false(address_device_valid(SLICE("a\nb")));
    assert_false(address_device_valid(SLICE("TAB ")));
}

static void a_pattern_is_exact_or_a_prefix(void **state)
{
    static const struct {
        const char *pattern, *address;
        bool covers;
    } table[] = {
        { "alice", "alice", true },  { "alice", "alice2", false },
        { "alice", "Alice", false }, { "alice", "alic", false },
        { "*", "anyone", true },     { "*", "", true },
        { "bot-*", "bot-1", true },  { "bot-*", "bot-", true },
        { "bot-*", "bot", false },   { "bot-*", "a-bot-1", false },
        { "a*c", "abc", false },     { "a*c", "a*c", true },
        { "a**", "a*b", true },      { "a**", "ab", false },
        { "", "", false },           { "", "a", false },
        { "#*", "#team", true },     { "#*", "team", false },
        { "?", "a", false },         { "[a]", "a", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_int_equal(
            address_pattern_covers(slice_of(table[i].pattern), slice_of(table[i].address)),
            table[i].covers);
    assert_false(address_pattern_covers((struct slice){ NULL, 0 }, SLICE("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_users_groups_and_services),
        cmocka_unit_test(takes_1_to_255_bytes),
        cmocka_unit_test(refuses_every_control_character_anywhere),
        cmocka_unit_test(refuses_white_space_at_either_end),
        cmocka_unit_test(refuses_what_is_not_utf8),
        cmocka_unit_test(knows_the_servers_own),
        cmocka_unit_test(only_users_may_speak),
        cmocka_unit_test(a_device_may_be_empty_and_has_at_most_64_bytes),
        cmocka_unit_test(a_pattern_is_exact_or_a_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
