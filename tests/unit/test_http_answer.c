/* The answers to a request. */
#include "worker/wire/http.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

static void assert_answer(struct buf *out, const char *expected)
{
    assert_false(out->failed);
    assert_string_equal(buf_text(out), expected);
    buf_fini(out);
}

static void the_sample_key_gets_the_sample_answer(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 4096);
    http_answer_upgrade(&out, SLICE(KEY), "postoffice.v1", NULL);
    assert_answer(&out,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                  "Sec-WebSocket-Protocol: postoffice.v1\r\n\r\n");
    http_answer_upgrade(&out, SLICE(KEY), NULL, NULL);
    assert_null(strstr(buf_text(&out), "Protocol:"));
    buf_fini(&out);
}

static void a_refusal_carries_what_its_status_demands(void **state)
{
    struct buf out;
    (void)state;
    buf_init(&out, 4096);
    http_answer_refusal(
        &out, &(struct http_refusal){ 401, "bad-token", "it \"expired\"\r\n", "invalid_token", 0 },
        false, 784111777);
    assert_answer(&out, "HTTP/1.1 401 Unauthorized\r\nDate: Sun, 06 Nov 1994 08:49:37 "
                        "GMT\r\nContent-Type: application/json\r\n"
                        "Content-Length: 47\r\nConnection: close\r\n"
                        "WWW-Authenticate: Bearer error=\"invalid_token\", "
                        "error_description=\"it 'expired'''\"\r\n\r\n"
                        "{\"code\":\"bad-token\",\"message\":\"it 'expired'''\"}");
    http_answer_refusal(&out, &(struct http_refusal){ .status = 405, .code = "c", .message = "m" },
                        false, 0);
    assert_answer(&out, "HTTP/1.1 405 Method Not Allowed\r\nDate: Thu, 01 Jan 1970 00:00:00 "
                        "GMT\r\nContent-Type: application/json\r\n"
                        "Content-Length: 26\r\nConnection: close\r\nAllow: GET\r\n\r\n"
                        "{\"code\":\"c\",\"message\":\"m\"}");
    http_answer_refusal(&out, &(struct http_refusal){ .status = 426, .code = "c", .message = "m" },
                        true, 0);
    assert_non_null(
        strstr(buf_text(&out), "\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"));
    assert_non_null(strstr(buf_text(&out), "\r\nContent-Length: 26\r\n"));
    assert_null(strchr(buf_text(&out), '{'));
    buf_reset(&out);
    http_answer_refusal(&out, &(struct http_refusal){ 503, "c", "m", NULL, 7 }, false, 0);
    assert_non_null(strstr(buf_text(&out), "\r\nRetry-After: 7\r\n"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sample_key_gets_the_sample_answer),
        cmocka_unit_test(a_refusal_carries_what_its_status_demands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
