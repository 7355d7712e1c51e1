/* worker/token/revocations.h: the table of revocations, and its text. */
#include "tests/unit/token_fixture.h"
#include "worker/token/revocations.h"

#include <stdio.h>

static struct revocations *table_new(void **state)
{
    struct revocations *table = revocations_new(true);

    assert_non_null(table);
    *state = table;
    return table;
}

static int table_free(void **state)
{
    revocations_free(*state);
    return 0;
}

static enum err put(struct revocations *table, const char *what, int64_t until, int64_t before,
                    uint64_t version)
{
    return revocations_put(table,
                           &(struct revocation_news){ .what = slice_of(what),
                                                      .until = until,
                                                      .before = before,
                                                      .version = version,
                                                      .note = SLICE("1\nann\nwhy") },
                           NULL);
}

static bool hits_sub(const struct revocations *table, const char *sub, int64_t issued_at)
{
    return revocations_hit_sub(table, slice_of(sub), issued_at, 1000);
}

static void no_table_and_an_empty_one_revoke_nothing(void **state)
{
    struct revocations *table = table_new(state);
    struct grant *grant = grant_default(SLICE("ann"));

    assert_non_null(grant);
    assert_false(revocations_hit(NULL, grant, 1000));
    assert_false(revocations_hit(table, grant, 1000));
    assert_false(revocations_remove(table, SLICE("sub:ann")));
    assert_null(revocations_find(table, SLICE("sub:ann")));
    grant_unref(grant);
}

static void an_address_is_out_for_tokens_of_an_age_until_the_end(void **state)
{
    struct revocations *table = table_new(state);

    assert_int_equal(put(table, "sub:all", REVOCATION_FOR_EVER, INT64_MAX, 1), OK);
    assert_int_equal(put(table, "sub:old", 1001, 500, 2), OK);
    assert_int_equal(put(table, "sub:ended", 1000, INT64_MAX, 3), OK);
    assert_int_equal(put(table, "sub:back", 0, INT64_MAX, 0), OK);
    assert_true(hits_sub(table, "all", INT64_MAX));
    assert_true(hits_sub(table, "all", INT64_MIN));
    assert_true(hits_sub(table, "old", 499));
    assert_true(hits_sub(table, "old", INT64_MIN));
    assert_false(hits_sub(table, "old", 500));
    assert_false(hits_sub(table, "ended", 1));
    assert_false(hits_sub(table, "back", 1));
    assert_false(hits_sub(table, "al", 1));
    assert_false(hits_sub(table, "", 1));
}

static void a_jti_is_no_address(void **state)
{
    struct revocations *table = table_new(state);
    struct grant *grant = grant_default(SLICE("ann"));
    char jti[] = "ann";

    assert_non_null(grant);
    assert_int_equal(put(table, "jti:ann", REVOCATION_FOR_EVER, INT64_MAX, 1), OK);
    assert_false(revocations_hit(table, grant, 1000));
    grant_unref(grant);
    grant = &(struct grant){ .sub = (char[]){ "bob" }, .sub_len = 3, .jti = jti };
    assert_true(revocations_hit(table, grant, 1000));
}

static void names_are_checked(void **state)
{
    static const char *const good[] = { "jti:x", "jti:sub:x", "sub:ann", "sub:a b/c" };
    static const char *const bad[] = { "",    "jti:",     "sub:",          "sub:#all", "ann",
                                       "sub", "jti:a\nb", "jti:\xff",      "sub: ann", "Jti:x",
                                       "jt",  "sub:$x",   "sub:postmaster" };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(revocation_what_valid(slice_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(revocation_what_valid(slice_of(bad[i])));
}

static void ten_thousand_are_found_listed_in_order_and_taken_back(void **state)
{
    struct revocations *table = table_new(state);
    struct revocation *entries[100];
    struct slice after = SLICE("");
    char what[32];
    size_t count, all = 0;

    for (int i = 0; i < 10000; i++) {
        snprintf(what, sizeof what, "sub:u%05d", i * 7919 % 10000);
        assert_int_equal(put(table, what, REVOCATION_FOR_EVER, INT64_MAX, 1), OK);
    }
    assert_int_equal(revocations_count(table), 10000);
    while ((count = revocations_list(table, after, 1000, entries, 100))) {
        for (size_t i = 0; i < count; i++) {
            snprintf(what, sizeof what, "sub:u%05zu", all++);
            assert_string_equal(entries[i]->text, what);
        }
        after = revocation_what(entries[count - 1]);
    }
    assert_int_equal(all, 10000);
    for (int i = 0; i < 10000; i++) {
        snprintf(what, sizeof what, "sub:u%05d", i);
        assert_true(revocations_remove(table, slice_of(what)));
    }
    assert_int_equal(revocations_count(table), 0);
}

static void what_a_round_does_not_find_goes_unless_redis_never_had_it(void **state)
{
    struct revocations *table = table_new(state);

    put(table, "sub:stays", REVOCATION_FOR_EVER, INT64_MAX, 1);
    put(table, "sub:goes", REVOCATION_FOR_EVER, INT64_MAX, 2);
    put(table, "sub:unsaved", REVOCATION_FOR_EVER, INT64_MAX, 0);
    assert_int_equal(revocations_unsaved(table), 1);
    revocations_begin_round(table);
    put(table, "sub:stays", REVOCATION_FOR_EVER, INT64_MAX, 1);
    revocations_end_round(table);
    assert_true(hits_sub(table, "stays", 1));
    assert_false(hits_sub(table, "goes", 1));
    assert_true(hits_sub(table, "unsaved", 1));
    revocations_forget_versions(table);
    assert_int_equal(revocations_unsaved(table), 2);
    put(table, "sub:stays", REVOCATION_FOR_EVER, INT64_MAX, 9);
    assert_int_equal(revocations_unsaved(table), 1);
}

static void ended_ones_are_swept_in_a_minute(void **state)
{
    struct revocations *table = table_new(state);
    char what[32];

    for (int i = 0; i < 1000; i++) {
        snprintf(what, sizeof what, "jti:%d", i);
        put(table, what, i % 2 ? 1000 : 1001, INT64_MAX, 1);
    }
    put(table, "sub:back", 0, INT64_MAX, 0);
    for (int i = 0; i < 65; i++)
        revocations_sweep(table, 1000);
    assert_int_equal(revocations_count(table), 501);
}

static void the_text_says_the_same_back(void **state)
{
    struct revocation_news news = { .version = 7,
                                    .until = INT64_MAX,
                                    .before = 5,
                                    .what = SLICE("sub:a b"),
                                    .note = SLICE("1\nann\nwhy not") },
                           again;
    struct buf text;
    struct slice rest;

    (void)state;
    buf_init(&text, 1024);
    revocation_write(&text, &news);
    revocation_write(&text, &(struct revocation_news){ .what = SLICE("jti:x") });
    assert_false(text.failed);
    rest = buf_slice(&text);
    assert_true(revocation_read(&rest, &again));
    assert_true(again.version == 7 && again.until == INT64_MAX && again.before == 5);
    assert_true(slice_equal(again.what, news.what) && slice_equal(again.note, news.note));
    assert_true(revocation_read(&rest, &again));
    assert_true(again.until == 0 && slice_equal(again.what, SLICE("jti:x")));
    assert_int_equal(rest.len, 0);
    buf_fini(&text);
}

static void broken_text_is_refused_wherever_it_is_cut(void **state)
{
    static const char whole[] = "1 -1 -1\nsub:ann\n1\nann\nwhy\n";
    static const char *const bad[] = {
        "",
        "x -1 -1\nsub:ann\n\n\n\n",
        "1 -2 -1\nsub:ann\n\n\n\n",
        "1 -1\nsub:ann\n\n\n\n",
        "1 -1 -1 1\nsub:ann\n\n\n\n",
        "1 -1 -1\n#ann\n\n\n\n",
        "99999999999999999999 -1 -1\nsub:ann\n\n\n\n",
    };
    struct revocation_news news;
    struct slice text;

    (void)state;
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        text = slice_make(whole, len);
        assert_false(revocation_read(&text, &news));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        text = slice_of(bad[i]);
        assert_false(revocation_read(&text, &news));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(no_table_and_an_empty_one_revoke_nothing, table_free),
        cmocka_unit_test_teardown(an_address_is_out_for_tokens_of_an_age_until_the_end, table_free),
        cmocka_unit_test_teardown(a_jti_is_no_address, table_free),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test_teardown(ten_thousand_are_found_listed_in_order_and_taken_back,
                                  table_free),
        cmocka_unit_test_teardown(what_a_round_does_not_find_goes_unless_redis_never_had_it,
                                  table_free),
        cmocka_unit_test_teardown(ended_ones_are_swept_in_a_minute, table_free),
        cmocka_unit_test(the_text_says_the_same_back),
        cmocka_unit_test(broken_text_is_refused_wherever_it_is_cut),
    };

    if (token_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
