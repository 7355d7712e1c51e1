#include "common/base64.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* RFC 4648 section 10. */
static const struct {
    const char *plain, *coded;
} vectors[] = {
    { "", "" },
    { "f", "Zg==" },
    { "fo", "Zm8=" },
    { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" },
    { "fooba", "Zm9vYmE=" },
    { "foobar", "Zm9vYmFy" },
};

static void the_vectors_of_the_rfc_hold_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct slice plain = slice_of(vectors[i].plain), coded = slice_of(vectors[i].coded);
        char text[16], bytes[16];
        size_t len = base64_encode(text, plain.data, plain.len);

        assert_true(slice_equal(slice_make(text, len), coded));
        assert_true(base64_valid(coded));
        assert_true(base64_decode(coded, bytes, sizeof bytes, &len));
        assert_true(slice_equal(slice_make(bytes, len), plain));
    }
}

/* The obvious checker, written another way, to hold the fast one against. */
static bool naive_valid(const char *text, size_t len)
{
    size_t pad = 0;

    if (len % 4)
        return false;
    while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < len - pad; i++)
        if (!text[i] || !strchr(alphabet, text[i]))
            return false;
    if (pad) {
        long value = strchr(alphabet, text[len - 1 - pad]) - alphabet;
        return value % (pad == 1 ? 4 : 16) == 0;
    }
    return true;
}

static void every_byte_at_every_place_is_judged_as_the_naive_checker_does(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 72; len++) {
        char *text =
            malloc(len ? len : 1); /* exact, so that a sanitizer sees a read past the end */
        assert_non_null(text);
        for (size_t i = 0; i < len; i++)
            text[i] = alphabet[(len + i) % 64];
        assert_int_equal(base64_valid(slice_make(text, len)), len % 4 == 0);
        for (size_t i = 0; i < len; i++) {
            char kept = text[i];
            for (int byte = 0; byte < 256; byte++) {
                text[i] = (char)byte;
                if (base64_valid(slice_make(text, len)) != naive_valid(text, len))
                    fail_msg("byte %d at %zu of %zu", byte, i, len);
            }
            text[i] = kept;
        }
        free(text);
    }
}

static void every_ending_is_judged_as_the_naive_checker_does(void **state)
{
    static const char some[] = "AQgwBCDEPx/+=- \n";
    char text[20] = "AbCd+/09AbCd+/09";
    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        for (unsigned k = 0; k < 4; k++)
            text[16 + k] = some[i >> 4 * k & 15];
        assert_int_equal(base64_valid(slice_make(text, 20)), naive_valid(text, 20));
        assert_int_equal(base64_valid(slice_make(text + 16, 4)), naive_valid(text + 16, 4));
    }
}

static void what_was_encoded_decodes_to_itself(void **state)
{
    uint8_t bytes[100], back[100];
    char text[136];
    size_t back_len;
    (void)state;
    for (size_t len = 0; len <= sizeof bytes; len++) {
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)(i * 91 + len);
        size_t text_len = base64_encode(text, bytes, len);
        assert_int_equal(text_len, 4 * ((len + 2) / 3));
        assert_true(base64_valid(slice_make(text, text_len)));
        assert_true(base64_decode(slice_make(text, text_len), back, len, &back_len));
        assert_int_equal(back_len, len);
        assert_true(slice_equal(slice_make(back, len), slice_make(bytes, len)));
    }
}

static void too_little_room_is_refused(void **state)
{
    char room[3];
    size_t len = 9;
    (void)state;
    assert_false(base64_decode(SLICE("Zm9vYg=="), room, sizeof room, &len));
    assert_int_equal(len, 0);
    assert_false(base64_decode(SLICE("Zg=="), room, 0, &len));
    assert_true(base64_decode(SLICE("Zm9v"), room, sizeof room, &len));
    assert_int_equal(len, 3);
}

static void bad_text_is_not_decoded(void **state)
{
    static const char *const bad[] = { "Z",    "Zg",   "Zg=",      "Zh==",   "Zm9=",      "====",
                                       "Z===", "=Zg=", "Zg==Zg==", "Zm9v\n", " Zm9vYg==", "Zm-_" };
    char room[32];
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(base64_valid(slice_of(bad[i])));
        assert_false(base64_decode(slice_of(bad[i]), room, sizeof room, &len));
    }
    assert_true(base64_valid(slice_make(NULL, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_rfc_hold_both_ways),
        cmocka_unit_test(every_byte_at_every_place_is_judged_as_the_naive_checker_does),
        cmocka_unit_test(every_ending_is_judged_as_the_naive_checker_does),
        cmocka_unit_test(what_was_encoded_decodes_to_itself),
        cmocka_unit_test(too_little_room_is_refused),
        cmocka_unit_test(bad_text_is_not_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
