/* The master looks at the ends of certificates once a day, and warns in the log. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/log.h"
#include "config/parts.h"
#include "master/certificates.h"
#include "tls_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { DAY_S = 24 * 3600 };
#define DAY_MS UINT64_C(86400000)

static int ends[2], fd_before;
static struct made_pair young, old;
static struct config *config;
static struct config_pair pairs[2];

static struct config_pair pair_of(char *file, const struct made_pair *made)
{
    return (struct config_pair){ .cert_file = file,
                                 .key_file = file,
                                 .chain = made->cert,
                                 .chain_len = strlen(made->cert),
                                 .key = (uint8_t *)made->key,
                                 .key_len = strlen(made->key) };
}

static int setup(void **state)
{
    static char young_file[] = "young.crt", old_file[] = "old.crt";

    (void)state;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return -1;
    fd_before = log_set_fd(ends[1]);
    pair_make(&young, "young.example", 90);
    pair_make(&old, "old.example", 20);
    config = calloc(1, sizeof *config);
    if (!config)
        return -1;
    pairs[0] = pair_of(young_file, &young);
    pairs[1] = pair_of(old_file, &old);
    config->tls.pairs = pairs;
    config->tls.pair_count = 2;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_set_fd(fd_before);
    close(ends[0]);
    close(ends[1]);
    pair_fini(&young);
    pair_fini(&old);
    free(config);
    return 0;
}

/* A look after so many days; returns the lines of the log. */
static const char *look(uint64_t *due_ms, uint64_t now_ms, int64_t now_s)
{
    static char text[4096];
    ssize_t len;

    *due_ms = certificates_look(config, *due_ms, now_ms, now_s);
    len = read(ends[0], text, sizeof text - 1);
    text[len > 0 ? len : 0] = 0;
    return text;
}

static void a_certificate_that_grows_old_is_warned_of_each_day(void **state)
{
    int64_t start_s = time(NULL) - 3600; /* no look is within seconds of the fourteenth day */
    uint64_t start_ms = 5000, due_ms = 0;
    unsigned warnings = 0;

    (void)state;
    for (unsigned hour = 0; hour < 19 * 24; hour++) { /* a fresh certificate for 20 days */
        const char *text = look(&due_ms, start_ms + hour * 3600000u, start_s + hour * 3600);
        assert_null(strstr(text, "young"));
        if (!*text)
            continue;
        assert_int_equal(hour % 24, 0);
        assert_true(hour / 24 > 6);
        assert_non_null(strstr(text, "warn "));
        assert_non_null(strstr(text, "event=certificate_ends what=ends-soon file=\"old.crt\" "
                                     "names=\"old.example\""));
        warnings++;
    }
    assert_int_equal(warnings, 12);
    assert_non_null(strstr(look(&due_ms, start_ms + 21 * DAY_MS, start_s + 21 * DAY_S),
                           "what=ended file=\"old.crt\""));
}

static void the_first_look_is_at_once_and_the_next_a_day_later(void **state)
{
    int64_t now_s = time(NULL) + 10 * DAY_S;
    uint64_t due_ms = 0;

    (void)state;
    assert_non_null(strstr(look(&due_ms, 1000, now_s), "what=ends-soon"));
    assert_int_equal(due_ms, 1000 + DAY_MS);
    assert_string_equal(look(&due_ms, 1000 + DAY_MS - 1, now_s + DAY_S), "");
    assert_non_null(strstr(look(&due_ms, 1000 + DAY_MS, now_s + DAY_S), "what=ends-soon"));
    due_ms = 0; /* a reload */
    assert_non_null(strstr(look(&due_ms, 1000 + DAY_MS + 1, now_s + DAY_S), "what=ends-soon"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_certificate_that_grows_old_is_warned_of_each_day, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_first_look_is_at_once_and_the_next_a_day_later, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
