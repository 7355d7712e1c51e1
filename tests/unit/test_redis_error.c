/* worker/redis/redis_error: what Redis complains about is told, whom it names is not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "worker/redis/redis_error.h"

static void assert_clean(struct slice error, const char *expected)
{
    char clean[120];

    redis_error_clean(clean, sizeof clean, error);
    assert_string_equal(clean, expected);
}

/* The texts are those of Redis 5 to 7.2, as they were read from servers. */
static void no_error_names_an_address(void **state)
{
    (void)state;
    assert_clean(SLICE("NOGROUP No such key 'po:{alice}:box' or consumer group 'po' in XREADGROUP"),
                 "NOGROUP No such key ...");
    assert_clean(SLICE("ERR unknown command `AUTH`, with args beginning with: `secret`, "),
                 "ERR unknown command ...");
    assert_clean(SLICE("ERR unknown command 'x', with args beginning with: 'o'neil' "),
                 "ERR unknown command ...");
    assert_clean(SLICE("ERR user_script:1: alice@example.org script: 9e, on @user_script:1."),
                 "ERR user_script:1: *** script: 9e, on @user_script:1.");
    assert_clean(SLICE("NOPERM key po:{alice}:box"), "NOPERM key ***");
    assert_clean(SLICE("ERR {a b} c"), "ERR *** *** c");
}

static void an_error_without_names_stays_as_it_is(void **state)
{
    static const char text[] = "NOPERM this user has no permissions to access one of the keys";
    struct log_text quoted;

    (void)state;
    assert_clean(slice_of(text), text);
    assert_clean(SLICE(""), "");
    assert_string_equal(redis_error_quote(&quoted, SLICE("OOM command not allowed\r\n")),
                        "\"OOM command not allowed\\x0d\\x0a\"");
}

static void a_long_error_is_cut_within_its_room(void **state)
{
    char clean[8];

    (void)state;
    redis_error_clean(clean, sizeof clean, SLICE("0123456789 'x'"));
    assert_string_equal(clean, "0123456");
    redis_error_clean(clean, sizeof clean, SLICE("a@b a@b a@b"));
    assert_string_equal(clean, "*** ***");
    redis_error_clean(clean, 1, SLICE("a"));
    assert_string_equal(clean, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_error_names_an_address),
        cmocka_unit_test(an_error_without_names_stays_as_it_is),
        cmocka_unit_test(a_long_error_is_cut_within_its_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
