/* Cookies and origins in the head of a request. */
#include "worker/wire/http.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

static void assert_slice(struct slice slice, const char *expected)
{
    if (!expected) {
        assert_null(slice.data);
        return;
    }
    assert_non_null(slice.data);
    assert_true(slice_equal(slice, slice_of(expected)));
}

static void cookies_are_found_by_their_whole_name(void **state)
{
    struct slice header = SLICE("xtoken=1; token=2.3=4;empty=; token=5");
    (void)state;
    assert_slice(http_cookie(header, SLICE("token")), "2.3=4");
    assert_slice(http_cookie(header, SLICE("xtoken")), "1");
    assert_slice(http_cookie(header, SLICE("empty")), "");
    assert_slice(http_cookie(header, SLICE("tok")), NULL);
    assert_slice(http_cookie(slice_make(NULL, 0), SLICE("tok")), NULL);
}

static void only_an_origin_of_this_very_host_is_its_host(void **state)
{
    static const struct {
        const char *origin, *host;
        bool same;
    } cases[] = {
        { "http://a.com", "a.com", true },
        { "https://a.com", "A.COM", true },
        { "https://a.com", "a.com:443", true },
        { "https://a.com:443", "a.com", true },
        { "http://a.com:80", "a.com", true },
        { "http://a.com:8080", "a.com:8080", true },
        { "http://[::1]:8080", "[::1]:8080", true },
        { "http://[::1]", "[::1]:80", true },
        { "https://a.com", "a.com:80", false },
        { "http://a.com:8080", "a.com", false },
        { "http://a.com", "a.com:8080", false },
        { "https://good.com.evil.com", "good.com", false },
        { "https://evilgood.com", "good.com", false },
        { "https://good.com@evil.com", "good.com", false },
        { "https://a.com/", "a.com", false },
        { "ftp://a.com", "a.com", false },
        { "null", "null", false },
        { "a.com", "a.com", false },
        { "https://", "", false },
        { "", "", false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(http_origin_is_host(slice_of(cases[i].origin), slice_of(cases[i].host)),
                         cases[i].same);
    assert_false(http_origin_is_host(slice_make(NULL, 0), SLICE("a")));
}

static void an_origin_is_compared_with_its_default_port_and_below_a_host(void **state)
{
    static const struct {
        const char *item, *origin;
        bool allowed;
    } rows[] = {
        { "https://a.com", "https://a.com", true },
        { "https://a.com:443", "https://a.com", true },
        { "https://a.com", "https://a.com:443", true },
        { "http://a.com:80", "http://a.com", true },
        { "http://[::1]:80", "http://[::1]", true },
        { "https://a.com:80", "https://a.com", false },
        { "http://a.com:443", "http://a.com", false },
        { "https://a.com", "http://a.com", false },
        { "https://a.com:8443", "https://a.com", false },
        { "app://x:80", "app://x", false },
        { "app://x", "app://x", true },
        { "https://*.a.com", "https://b.a.com", true },
        { "https://*.a.com:443", "https://b.a.com", true },
        { "https://*.a.com", "https://c.b.a.com", true },
        { "https://*.a.com:8443", "https://b.a.com:8443", true },
        { "https://*.a.com", "https://a.com", false },
        { "https://*.a.com", "https://.a.com", false },
        { "https://*.a.com", "https://ba.com", false },
        { "https://*.a.com", "https://b.a.com.evil", false },
        { "https://*.a.com", "https://b.a.com:8443", false },
        { "https://*.a.com", "http://b.a.com", false },
        { "https://*.a.com", "https://evil/b.a.com", false },
        { "https://*.a.com", "https://u@b.a.com", false },
        { "https://*.a.com", "https://evil:1.a.com", false },
        { "https://*.a.com", "null", false },
        { "https://a.com", "", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (http_origin_matches(slice_of(rows[i].item), slice_of(rows[i].origin)) !=
            rows[i].allowed)
            fail_msg("%s by %s", rows[i].origin, rows[i].item);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_is_compared_with_its_default_port_and_below_a_host),
        cmocka_unit_test(cookies_are_found_by_their_whole_name),
        cmocka_unit_test(only_an_origin_of_this_very_host_is_its_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
