/* permessage-deflate: which offer is taken, and what the answer says (RFC 7692 7.1). */
#include "worker/wire/deflate_offer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define NONE  "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
#define QUOTE "\""

struct row {
    const char *offers;
    const char *answer; /* NULL: nothing is agreed */
};

static const struct deflate_policy plain = { false, 15 }, lasting = { true, 15 },
                                   narrow = { true, 11 };

static void expect_rows(const struct row *rows, size_t count, const struct deflate_policy *policy)
{
    for (size_t i = 0; i < count; i++) {
        char answer[DEFLATE_ANSWER_MAX];
        struct deflate_terms terms = deflate_choose(slice_of(rows[i].offers), policy);
        const char *got = deflate_answer(&terms, answer);
        if (rows[i].answer && got && strcmp(got, rows[i].answer) == 0)
            continue;
        if (!rows[i].answer && !got)
            continue;
        print_error("offers: %s\nanswer: %s\nwanted: %s\n", rows[i].offers, got ? got : "(none)",
                    rows[i].answer ? rows[i].answer : "(none)");
        fail();
    }
}

static void without_takeover_neither_side_keeps_a_context(void **state)
{
    static const struct row rows[] = {
        { NULL, NULL },
        { "", NULL },
        { " ", NULL },
        { ",", NULL },
        { " , ,, ", NULL },
        { "permessage-deflate", NONE },
        { "  permessage-deflate\t", NONE },
        { ", permessage-deflate,", NONE },
        { "permessage-deflate; server_no_context_takeover", NONE },
        { "permessage-deflate; client_no_context_takeover", NONE },
        { "permessage-deflate; server_no_context_takeover; client_no_context_takeover", NONE },
        { "permessage-deflate;client_max_window_bits", NONE },
        { "permessage-deflate ; client_max_window_bits = 10", NONE },
        { "permessage-deflate; client_max_window_bits=8", NONE },
        { "permessage-deflate; client_max_window_bits=15", NONE },
        { "permessage-deflate; server_max_window_bits=9", NONE "; server_max_window_bits=9" },
        { "permessage-deflate; server_max_window_bits=15", NONE "; server_max_window_bits=15" },
        { "permessage-deflate; server_max_window_bits=" QUOTE "12" QUOTE,
          NONE "; server_max_window_bits=12" },
        { "permessage-deflate; server_max_window_bits=" QUOTE "1\\0" QUOTE,
          NONE "; server_max_window_bits=10" },
    };

    (void)state;
    expect_rows(rows, sizeof rows / sizeof rows[0], &plain);
}

static void with_takeover_both_sides_keep_what_the_client_allows(void **state)
{
    static const struct row rows[] = {
        { "permessage-deflate", "permessage-deflate" },
        { "permessage-deflate; server_no_context_takeover",
          "permessage-deflate; server_no_context_takeover" },
        { "permessage-deflate; client_no_context_takeover",
          "permessage-deflate; client_no_context_takeover" },
        { "permessage-deflate; client_no_context_takeover; server_no_context_takeover", NONE },
        { "permessage-deflate; client_max_window_bits",
          "permessage-deflate; client_max_window_bits=15" },
        { "permessage-deflate; client_max_window_bits=8",
          "permessage-deflate; client_max_window_bits=8" },
        { "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
          "permessage-deflate; server_max_window_bits=10; client_max_window_bits=15" },
        { "permessage-deflate; client_max_window_bits; client_no_context_takeover",
          "permessage-deflate; client_no_context_takeover" },
    };
    static const struct row narrow_rows[] = {
        { "permessage-deflate", "permessage-deflate" },
        { "permessage-deflate; client_max_window_bits",
          "permessage-deflate; client_max_window_bits=11" },
        { "permessage-deflate; client_max_window_bits=9",
          "permessage-deflate; client_max_window_bits=9" },
        { "permessage-deflate; server_max_window_bits=15",
          "permessage-deflate; server_max_window_bits=11" },
        { "permessage-deflate; server_max_window_bits=15; server_no_context_takeover",
          "permessage-deflate; server_no_context_takeover; server_max_window_bits=15" },
    };

    (void)state;
    expect_rows(rows, sizeof rows / sizeof rows[0], &lasting);
    expect_rows(narrow_rows, sizeof narrow_rows / sizeof narrow_rows[0], &narrow);
}

static void a_bad_offer_is_declined(void **state)
{
    static const struct row rows[] = {
        { "permessage-deflated", NULL },
        { "Permessage-Deflate", NULL },
        { "x-webkit-deflate-frame", NULL },
        { "permessage-bzip2", NULL },
        { "permessage-deflate; unknown", NULL },
        { "permessage-deflate; constructor", NULL },
        { "permessage-deflate; __proto__=1", NULL },
        { "permessage-deflate; server_no_context_takeover; server_no_context_takeover", NULL },
        { "permessage-deflate; client_no_context_takeover; client_no_context_takeover", NULL },
        { "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", NULL },
        { "permessage-deflate; client_max_window_bits; client_max_window_bits", NULL },
        { "permessage-deflate; server_no_context_takeover=1", NULL },
        { "permessage-deflate; client_no_context_takeover=true", NULL },
        { "permessage-deflate; server_max_window_bits", NULL },
        { "permessage-deflate; server_max_window_bits=8", NULL }, /* zlib cannot */
        { "permessage-deflate; server_max_window_bits=7", NULL },
        { "permessage-deflate; server_max_window_bits=16", NULL },
        { "permessage-deflate; server_max_window_bits=0", NULL },
        { "permessage-deflate; server_max_window_bits=09", NULL },
        { "permessage-deflate; server_max_window_bits=015", NULL },
        { "permessage-deflate; server_max_window_bits=100", NULL },
        { "permessage-deflate; server_max_window_bits=4294967305", NULL },
        { "permessage-deflate; server_max_window_bits=-9", NULL },
        { "permessage-deflate; server_max_window_bits=+9", NULL },
        { "permessage-deflate; server_max_window_bits=9.0", NULL },
        { "permessage-deflate; server_max_window_bits=0x9", NULL },
        { "permessage-deflate; client_max_window_bits=7", NULL },
        { "permessage-deflate; client_max_window_bits=16", NULL },
        { "permessage-deflate; client_max_window_bits=08", NULL },
        { "permessage-deflate; client_max_window_bits=x", NULL },
        { "permessage-deflate; Server_Max_Window_Bits=9", NULL },
    };

    (void)state;
    expect_rows(rows, sizeof rows / sizeof rows[0], &plain);
    expect_rows(rows, sizeof rows / sizeof rows[0], &lasting);
}

static void text_that_breaks_the_grammar_offers_nothing(void **state)
{
    static const struct row rows[] = {
        { ";", NULL },
        { "=", NULL },
        { "\"permessage-deflate\"", NULL },
        { "permessage-deflate;", NULL },
        { "permessage-deflate; ;", NULL },
        { "permessage-deflate; =9", NULL },
        { "permessage-deflate; server_max_window_bits=", NULL },
        { "permessage-deflate; server_max_window_bits=;", NULL },
        { "permessage-deflate; server_max_window_bits=\"\"", NULL },
        { "permessage-deflate; server_max_window_bits=\"9", NULL },
        { "permessage-deflate; server_max_window_bits=\"9\\", NULL },
        { "permessage-deflate; server_max_window_bits=\"1 0\"", NULL },
        { "permessage-deflate; server_max_window_bits=\"10\"x", NULL },
        { "permessage-deflate; server_max_window_bits=10 11", NULL },
        { "permessage-deflate client_max_window_bits", NULL },
        { "permessage-deflate; client_max_window_bits permessage-deflate", NULL },
        { "permessage-deflate; a=(b)", NULL },
        { "foo; a=\"b, permessage-deflate", NULL },
        { "foo bar, permessage-deflate", NULL },
        { "permessage-deflate\x7f", NULL },
        { "permessage-d\xc3\xa9"
          "flate",
          NULL },
    };

    (void)state;
    expect_rows(rows, sizeof rows / sizeof rows[0], &plain);
}

static void the_first_offer_that_can_be_taken_is_taken(void **state)
{
    static const struct row rows[] = {
        { "foo, permessage-deflate", NONE },
        { "foo; a; b=c; d=\"e\", permessage-deflate", NONE },
        { "permessage-deflate; unknown, permessage-deflate", NONE },
        { "permessage-deflate; server_max_window_bits=8, permessage-deflate", NONE },
        { "permessage-deflate; server_max_window_bits=10, permessage-deflate",
          NONE "; server_max_window_bits=10" },
        { "permessage-deflate, permessage-deflate; server_max_window_bits=10", NONE },
        { "permessage-deflate; client_max_window_bits; server_max_window_bits=10, "
          "permessage-deflate; client_max_window_bits",
          NONE "; server_max_window_bits=10" },
        { "permessage-deflate, foo bar", NONE },
        { "permessage-deflate; a, permessage-deflate; b, permessage-deflate; c", NULL },
    };

    (void)state;
    expect_rows(rows, sizeof rows / sizeof rows[0], &plain);
}

/* Each text is looked at in a copy of exactly its length, so that a sanitizer sees a byte too many.
 */
static void no_byte_behind_the_offers_is_read(void **state)
{
    static const char offers[] = "foo; a=\"b\\c\", permessage-deflate; "
                                 "server_max_window_bits=\"1\\0\"; x, permessage-deflate";

    unsigned agreed = 0;

    (void)state;
    for (size_t len = 0; len < sizeof offers; len++) {
        char *copy = malloc(len ? len : 1);
        memcpy(copy, offers, len);
        if (deflate_choose(slice_make(copy, len), &plain).agreed)
            agreed++;
        free(copy);
    }
    /* After the first name, after the number, and the whole. */
    assert_int_equal(agreed, 3);
}

static void offers_of_any_length_take_time_in_proportion(void **state)
{
    size_t len = 64 * 1024;
    char *offers = malloc(len);

    (void)state;
    memset(offers, ',', len);
    assert_false(deflate_choose(slice_make(offers, len), &plain).agreed);
    for (size_t i = 0; i < len; i++)
        offers[i] = "\\"[0];
    memcpy(offers, "permessage-deflate; a=\"", 23);
    assert_false(deflate_choose(slice_make(offers, len), &plain).agreed);
    free(offers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_takeover_neither_side_keeps_a_context),
        cmocka_unit_test(with_takeover_both_sides_keep_what_the_client_allows),
        cmocka_unit_test(a_bad_offer_is_declined),
        cmocka_unit_test(text_that_breaks_the_grammar_offers_nothing),
        cmocka_unit_test(the_first_offer_that_can_be_taken_is_taken),
        cmocka_unit_test(no_byte_behind_the_offers_is_read),
        cmocka_unit_test(offers_of_any_length_take_time_in_proportion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
