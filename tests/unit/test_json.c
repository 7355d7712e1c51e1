/* common/json: what is one JSON value, what is refused, and that spans give the text back as it
 * was. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/json.h"

#include <stdio.h>
#include <stdlib.h>

enum { DEPTH = 32 };

/* In memory of its exact size, so that a sanitizer sees one byte read too far. */
static enum err check(struct slice text, struct json_value *value, struct json_fault *fault)
{
    char *copy = malloc(text.len ? text.len : 1);
    enum err err;

    assert_non_null(copy);
    memcpy(copy, text.data, text.len);
    *fault = (struct json_fault){ NULL, 0 };
    err = json_check(slice_make(copy, text.len), DEPTH, value, fault);
    if (err)
        assert_non_null(fault->reason);
    assert_true(fault->offset <= text.len);
    free(copy);
    return err;
}

static enum err verdict(struct slice text)
{
    struct json_value value;
    struct json_fault fault;

    return check(text, &value, &fault);
}

#define good(literal) assert_int_equal(verdict(SLICE(literal)), OK)
#define bad(literal)  assert_int_equal(verdict(SLICE(literal)), ERR_BAD)

static void takes_every_kind_of_value(void **state)
{
    (void)state;
    good("null");
    good("true");
    good("false");
    good("0");
    good("-0");
    good("-12.5e+10");
    good("1E400");
    good("9007199254740993");
    good("\"\"");
    good("\"a\"");
    good("[]");
    good("{}");
    good(" [ ] ");
    good("\t{\r\n}\n");
    good("[1,2 , 3,[],{},\"\"]");
    good("{\"a\":1,\"b\":[{\"a\":{}}],\"\":null}");
    good("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"");
    good("\"\\ud83d\\ude00\"");
    good("\"\x7f\xc3\xa9\"");
    good("\"\xf4\x8f\xbf\xbf\"");
}

static void refuses_what_is_not_one_value(void **state)
{
    (void)state;
    bad("");
    bad(" ");
    bad("\xef\xbb\xbf{}");
    bad("{} {}");
    bad("{}x");
    bad("1 2");
    bad("\"a\"\"b\"");
    bad("nul");
    bad("nulll");
    bad("True");
    bad("NaN");
    bad("Infinity");
    bad("'a'");
    bad("// c\n1");
    bad("\f1");
    bad("\v1");
    bad("\xc2\xa0"
        "1");
    bad("1\0");
    bad("\0");
}

static void refuses_bad_numbers(void **state)
{
    (void)state;
    bad("01");
    bad("-01");
    bad("-");
    bad("+1");
    bad("1.");
    bad(".5");
    bad("1.e5");
    bad("1e");
    bad("1e+");
    bad("1e5.5");
    bad("0x10");
    bad("--1");
    bad("1_000");
    bad("00");
    bad("[-]");
    bad("-a");
}

static void refuses_bad_structure(void **state)
{
    (void)state;
    bad("[");
    bad("]");
    bad("{");
    bad("}");
    bad("[}");
    bad("{]");
    bad("[1}");
    bad("[1 2]");
    bad("[1,]");
    bad("[,1]");
    bad("[,]");
    bad("[1,,2]");
    bad("{,}");
    bad("{\"a\"}");
    bad("{\"a\":}");
    bad("{\"a\":1,}");
    bad("{\"a\" 1}");
    bad("{\"a\"::1}");
    bad("{\"a\":1 \"b\":2}");
    bad("{\"a\":1,,\"b\":2}");
    bad("{a:1}");
    bad("{1:1}");
    bad("{[]:1}");
    bad("{\"a\":1");
    bad("[\"a\"");
    bad("[[]");
    bad("[]]");
}

static void refuses_bad_strings(void **state)
{
    (void)state;
    bad("\"");
    bad("\"a");
    bad("\"\\");
    bad("\"\\\"");
    bad("\"\\x\"");
    bad("\"\\0\"");
    bad("\"\\'\"");
    bad("\"\\U0041\"");
    bad("\"\\u\"");
    bad("\"\\u004\"");
    bad("\"\\u004g\"");
    bad("\"\\u 041\"");
    bad("\"\t\"");
    bad("\"\n\"");
    bad("\"\x1f\"");
    bad("\"a\0b\"");
    bad("\"0123456789abcdef0123456789\x01\"");
    bad("{\"a\tb\":1}");
}

static void refuses_nul_and_lone_surrogates_anywhere(void **state)
{
    (void)state;
    bad("\"x\\u0000y\"");
    bad("{\"\\u0000\":1}");
    bad("{\"a\":{\"b\":[\"\\u0000\"]}}");
    bad("\"\\ud800\"");
    bad("\"\\udc00\"");
    bad("\"\\ud800x\"");
    bad("\"\\ud800\\n\"");
    bad("\"\\ud800\\u0041\"");
    bad("\"\\ud800\\ud800\"");
    bad("\"\\udc00\\ud800\"");
    bad("\"\\ud800\\udc0\"");
    bad("{\"\\ud800\":1}");
}

static void refuses_a_key_given_twice(void **state)
{
    (void)state;
    bad("{\"to\":1,\"to\":2}");
    bad("{\"to\":1,\"t\\u006f\":2}");
    bad("{\"t\\u006f\":1,\"\\u0074\\u006F\":2}");
    bad("{\"\":1,\"\":2}");
    bad("{\"a\":{\"b\":1,\"c\":2,\"b\":3}}");
    bad("[{\"a\":1,\"a\":1}]");
    bad("{\"\xc3\xa9\":1,\"\\u00e9\":2}");
    bad("{\"\\u00e9\":1,\"\xc3\xa9\":2}");
    bad("{\"x\xf0\x9f\x98\x80y\":1,\"x\\ud83d\\ude00y\":2}");
    bad("{\"a\\/b\":1,\"a/b\":2}");
    bad("{\"a\\\\b\":1,\"a\\u005cb\":2}");
    bad("{\"a long key of many words\":1,\"a long key of many word\\u0073\":2}");
    good("{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1}}");
    good("[{\"a\":1},{\"a\":1}]");
    good("{\"to\":1,\"To\":2,\"TO\":3}");
    good("{\"a\\\\u006f\":1,\"ao\":2}");
    good("{\"ab\":1,\"a\":2,\"abc\":3,\"abcdefgh\":4,\"abcdefghi\":5}");
}

/* Objects small and large are checked in different ways. */
static void finds_a_repeated_key_among_any_number(void **state)
{
    (void)state;
    for (int count = 1; count < 3000; count += count < 150 ? 1 : 997) {
        for (int repeat = -1; repeat < count; repeat += repeat < 2 ? 1 : count / 3 + 1) {
            struct buf buf;
            buf_init(&buf, 1 << 20);
            buf_add_text(&buf, "[{\"before\":1,\"deep\":{");
            for (int i = 0; i < count; i++)
                buf_addf(&buf, "\"key%d\":{\"x\":%d},", i, i);
            if (repeat < 0)
                buf_add_text(&buf, "\"last\":1}}]");
            else
                buf_addf(&buf, "\"\\u006bey%d\":1}}]", repeat);
            assert_false(buf.failed);
            assert_int_equal(verdict(buf_slice(&buf)), repeat < 0 ? OK : ERR_BAD);
            buf_fini(&buf);
        }
    }
}

static enum err nested(char open, char close, unsigned depth, unsigned depth_max)
{
    char text[400];
    struct json_value value;
    struct json_fault fault;

    memset(text, open, depth);
    memset(text + depth, close, depth);
    return json_check(slice_make(text, (size_t)depth * 2), depth_max, &value, &fault);
}

static void bounds_nesting_exactly(void **state)
{
    struct json_value value;
    struct json_fault fault;
    char *deep;

    (void)state;
    assert_int_equal(nested('[', ']', 31, 32), OK);
    assert_int_equal(nested('[', ']', 32, 32), OK);
    assert_int_equal(nested('[', ']', 33, 32), ERR_BAD);
    assert_int_equal(nested('[', ']', 1, 0), ERR_BAD);
    assert_int_equal(nested('[', ']', 64, 1000), OK);
    assert_int_equal(nested('[', ']', 65, 1000), ERR_BAD);
    deep = malloc(300000);
    assert_non_null(deep);
    memset(deep, '[', 300000);
    assert_int_equal(json_check(slice_make(deep, 300000), 32, &value, &fault), ERR_BAD);
    assert_string_equal(fault.reason, "nested too deeply");
    assert_int_equal(fault.offset, 32);
    free(deep);
}

static struct slice sample(void)
{
    return SLICE(" {\"n\": [1e400, -0, {\"k\\u00e9y\" : \"v\\ud83d\\ude00 and a longer text behind "
                 "it\"} ,[ ]],"
                 "\"t\":true,\"f\":false,\"z\":null, "
                 "\"s\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"i\":9007199254740993 } ");
}

static void every_prefix_is_refused(void **state)
{
    struct slice text = sample();

    (void)state;
    for (size_t len = 0; len < text.len - 1; len++) /* the last byte is a space */
        assert_int_equal(verdict(slice_make(text.data, len)), ERR_BAD);
    assert_int_equal(verdict(text), OK);
}

/* Whatever single byte is put anywhere, nothing but a verdict comes of it. */
static void every_byte_anywhere_is_survived(void **state)
{
    struct slice text = sample();
    char copy[512];

    (void)state;
    for (size_t at = 0; at < text.len; at++) {
        memcpy(copy, text.data, text.len);
        for (int byte = 0; byte < 256; byte++) {
            copy[at] = (char)byte;
            verdict(slice_make(copy, text.len));
        }
    }
}

struct told {
    struct json_member members[16];
    size_t count;
};

static void remember(void *context, const struct json_member *member)
{
    struct told *told = context;

    assert_true(told->count < 16);
    told->members[told->count++] = *member;
}

static void assert_slice(struct slice slice, const char *expected)
{
    assert_int_equal(slice.len, strlen(expected));
    assert_memory_equal(slice.data, expected, slice.len);
}

static void tells_the_outermost_members_with_their_very_text(void **state)
{
    struct told told = { .count = 0 };
    struct json_value value;
    struct json_fault fault;

    (void)state;
    assert_int_equal(json_check_members(sample(), DEPTH, &value, &fault, remember, &told), OK);
    assert_int_equal(value.type, JSON_OBJECT);
    assert_int_equal(value.text.len, sample().len - 2);
    assert_int_equal(told.count, 6);
    assert_slice(told.members[0].key.text, "n");
    assert_slice(
        told.members[0].value.text,
        "[1e400, -0, {\"k\\u00e9y\" : \"v\\ud83d\\ude00 and a longer text behind it\"} ,[ ]]");
    assert_int_equal(told.members[0].value.type, JSON_ARRAY);
    assert_slice(told.members[1].span, "\"t\":true");
    assert_int_equal(told.members[1].value.type, JSON_TRUE);
    assert_int_equal(told.members[2].value.type, JSON_FALSE);
    assert_int_equal(told.members[3].value.type, JSON_NULL);
    assert_int_equal(told.members[4].value.type, JSON_STRING);
    assert_true(told.members[4].value.escaped);
    assert_slice(told.members[5].span, "\"i\":9007199254740993");
    assert_int_equal(told.members[5].value.type, JSON_NUMBER);
}

static void a_walk_sees_what_the_check_told(void **state)
{
    struct told told = { .count = 0 };
    struct json_value value, key, member;
    struct json_fault fault;
    struct json_walk walk;
    struct slice span;
    size_t count = 0;

    (void)state;
    assert_int_equal(json_check_members(sample(), DEPTH, &value, &fault, remember, &told), OK);
    json_walk_begin(&walk, &value);
    while (json_walk_member(&walk, &key, &member, &span)) {
        struct json_member *expected = &told.members[count++];
        assert_true(slice_equal(key.text, expected->key.text));
        assert_true(slice_equal(member.text, expected->value.text));
        assert_true(slice_equal(span, expected->span));
        assert_int_equal(member.type, expected->value.type);
        assert_int_equal(member.escaped, expected->value.escaped);
    }
    assert_int_equal(count, told.count);
    json_walk_begin(&walk, &told.members[0].value);
    for (count = 0; json_walk_element(&walk, &value); count++)
        ;
    assert_int_equal(count, 4);
}

static void a_walk_of_nothing_ends_at_once(void **state)
{
    struct json_value value, key;
    struct json_fault fault;
    struct json_walk walk;

    (void)state;
    assert_int_equal(json_check(SLICE("{ }"), DEPTH, &value, &fault), OK);
    json_walk_begin(&walk, &value);
    assert_false(json_walk_member(&walk, &key, &value, NULL));
    assert_int_equal(json_check(SLICE("[\n]"), DEPTH, &value, &fault), OK);
    json_walk_begin(&walk, &value);
    assert_false(json_walk_element(&walk, &value));
}

static void strings_are_unescaped(void **state)
{
    static const struct {
        const char *text, *expected;
    } table[] = {
        { "\"\"", "" },
        { "\"plain\"", "plain" },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
        { "\"a\\u00e9b\"", "a\xc3\xa9"
                           "b" },
        { "\"\\u20AC\"", "\xe2\x82\xac" },
        { "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80" },
        { "\"\\udbff\\udfff!\"", "\xf4\x8f\xbf\xbf!" },
        { "\"\\\\u0041\"", "\\u0041" },
        { "\"\\u005cn\"", "\\n" },
        { "\"x\\u0041\"", "xA" },
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, 4096);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct json_value value;
        struct json_fault fault;
        assert_int_equal(json_check(slice_of(table[i].text), DEPTH, &value, &fault), OK);
        assert_slice(json_string(&value, &arena), table[i].expected);
        assert_true(json_key_equal(&value, slice_of(table[i].expected)));
        assert_false(json_key_equal(&value, SLICE("something else")));
        assert_false(json_key_equal(&value, SLICE("x")));
    }
    arena_fini(&arena);
}

static void integers_are_exact_or_none(void **state)
{
    static const struct {
        const char *text;
        bool good;
        int64_t expected;
    } table[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "9007199254740993", true, 9007199254740993 },
        { "9223372036854775807", true, INT64_MAX },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775808", true, INT64_MIN },
        { "-9223372036854775809", false, 0 },
        { "18446744073709551616", false, 0 },
        { "99999999999999999999", false, 0 },
        { "100000000000000000000000", false, 0 },
        { "1.0", false, 0 },
        { "1e3", false, 0 },
        { "\"1\"", false, 0 },
        { "true", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct json_value value;
        struct json_fault fault;
        int64_t number = 0;
        assert_int_equal(json_check(slice_of(table[i].text), DEPTH, &value, &fault), OK);
        assert_int_equal(json_int(&value, &number), table[i].good);
        assert_true(number == table[i].expected);
    }
}

static void a_written_string_reads_back_the_same(void **state)
{
    char text[256];
    struct arena arena;
    struct buf buf;

    (void)state;
    for (int i = 0; i < 127; i++)
        text[i] = (char)(i + 1);
    memcpy(text + 127, "\xc3\xa9", 2);
    arena_init(&arena, 4096);
    buf_init(&buf, 4096);
    for (size_t from = 0; from < 127; from++) {
        struct json_value value;
        struct json_fault fault;
        buf_reset(&buf);
        assert_int_equal(json_add_string(&buf, slice_make(text + from, 129 - from)), OK);
        assert_int_equal(json_check(buf_slice(&buf), DEPTH, &value, &fault), OK);
        assert_true(slice_equal(json_string(&value, &arena), slice_make(text + from, 129 - from)));
    }
    buf_reset(&buf);
    json_add_string(&buf, SLICE(""));
    json_add_string(&buf, (struct slice){ NULL, 0 });
    json_add_string(&buf, SLICE("\0\x1f"));
    assert_slice(buf_slice(&buf), "\"\"\"\"\"\\u0000\\u001f\"");
    buf_fini(&buf);
    arena_fini(&arena);
}

static void a_string_that_does_not_fit_leaves_nothing(void **state)
{
    struct buf buf;

    (void)state;
    for (size_t room = 0; room < 10; room++) {
        buf_init(&buf, room);
        assert_int_equal(json_add_string(&buf, SLICE("abc\nd\x01")), ERR_FULL);
        assert_int_equal(buf.len, 0);
        assert_true(buf.failed);
        buf_fini(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_kind_of_value),
        cmocka_unit_test(refuses_what_is_not_one_value),
        cmocka_unit_test(refuses_bad_numbers),
        cmocka_unit_test(refuses_bad_structure),
        cmocka_unit_test(refuses_bad_strings),
        cmocka_unit_test(refuses_nul_and_lone_surrogates_anywhere),
        cmocka_unit_test(refuses_a_key_given_twice),
        cmocka_unit_test(finds_a_repeated_key_among_any_number),
        cmocka_unit_test(bounds_nesting_exactly),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(every_byte_anywhere_is_survived),
        cmocka_unit_test(tells_the_outermost_members_with_their_very_text),
        cmocka_unit_test(a_walk_sees_what_the_check_told),
        cmocka_unit_test(a_walk_of_nothing_ends_at_once),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(integers_are_exact_or_none),
        cmocka_unit_test(a_written_string_reads_back_the_same),
        cmocka_unit_test(a_string_that_does_not_fit_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
