#include "worker/wire/http.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD_MAX 8192
#define KEY      "dGhlIHNhbXBsZSBub25jZQ=="
#define REST                                                                                       \
    "Host: example.com:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                      \
    "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n"
#define GOOD         "GET /ws HTTP/1.1\r\n" REST "\r\n"
#define WITH(line)   "GET / HTTP/1.1\r\n" REST line "\r\n\r\n"
#define QUERY(query) "GET /ws?" query " HTTP/1.1\r\n" REST "\r\n"

static char root[] = "/", ws[] = "/ws";
static char *const path_items[] = { root, ws };
static const struct http_paths paths = { path_items, 2 };

struct judged {
    int status; /* 101, the fault's, or 0 when the head is not whole */
    struct http_upgrade upgrade;
    char *head;
    struct arena arena;
};

/* Gives the head in two pieces, then asks what it says. */
static void judge_split(struct judged *judged, const char *text, size_t len, size_t cut)
{
    struct http_parser parser;
    struct http_fault fault = { 0 };
    size_t head_len = 0;
    enum http_progress progress;

    memset(judged, 0, sizeof *judged);
    arena_init(&judged->arena, 1024);
    judged->head = malloc(len ? len : 1);
    assert_non_null(judged->head);
    memcpy(judged->head, text, len);
    http_parser_init(&parser, HEAD_MAX);
    progress = http_parse(&parser, judged->head, cut, &head_len, &fault);
    if (progress == HTTP_MORE)
        progress = http_parse(&parser, judged->head, len, &head_len, &fault);
    if (progress == HTTP_WHOLE) {
        assert_memory_equal(judged->head + head_len - 4, "\r\n\r\n", 4);
        judged->status = 101;
        if (http_check_upgrade(&parser, judged->head, &paths, &judged->arena, &judged->upgrade,
                               &fault))
            progress = HTTP_BROKEN;
    }
    if (progress == HTTP_BROKEN) {
        assert_non_null(fault.code);
        assert_non_null(fault.message);
        judged->status = fault.status;
    }
}

static void judged_fini(struct judged *judged)
{
    arena_fini(&judged->arena);
    free(judged->head);
}

static void expect_bytes(const char *text, size_t len, int status)
{
    for (size_t cut = 0; cut <= len && cut < 600; cut++) {
        struct judged judged;
        judge_split(&judged, text, len, cut);
        if (judged.status != status)
            fail_msg("%d, not %d, cut at %zu: %s", judged.status, status, cut, text);
        judged_fini(&judged);
    }
}

static void expect(const char *text, int status)
{
    expect_bytes(text, strlen(text), status);
}

static void a_good_request_is_taken_at_every_split(void **state)
{
    (void)state;
    expect(GOOD, 101);
    expect(WITH("X-Empty:"), 101);
    expect(WITH("X-Blank: \t "), 101);
    expect(WITH("X-Latin: caf\xe9"), 101);
    expect(WITH("Content-Length: 0"), 101);
    expect("GET / HTTP/1.2\r\n" REST "\r\n", 101);
    expect(QUERY("since=18446744073709551615-18446744073709551615"), 101);
    expect(QUERY("since=1"), 101);
    expect(QUERY("since=now"), 101);
}

#define H "Host: a\r\n"
#define U "Upgrade: websocket\r\n"
#define C "Connection: Upgrade\r\n"
#define K "Sec-WebSocket-Key: " KEY "\r\n"
#define V "Sec-WebSocket-Version: 13\r\n"

static void an_empty_line_before_the_request_is_ignored(void **state)
{
    (void)state;
    expect("\r\n" GOOD, 101);
    expect("\r\n\r\n\r\n" GOOD, 101);
    expect("\r\nPOST /ws HTTP/1.1\r\n" REST "\r\n", 405);
}

static void the_absolute_form_names_the_host_itself(void **state)
{
    static const struct {
        const char *target, *host;
    } rows[] = {
        { "http://a.example/ws", "a.example" },
        { "HTTP://a.example:80/", "a.example:80" },
        { "https://a.example", "a.example" },
        { "https://[::1]:7502/ws?clientID=x", "[::1]:7502" },
        { "http://a.example?clientID=x", "a.example" },
    };
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct judged judged;
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" H U C K V "\r\n", rows[i].target);
        expect(text, 101);
        judge_split(&judged, text, strlen(text), 9);
        assert_true(slice_equal(judged.upgrade.host, slice_of(rows[i].host)));
        if (strchr(rows[i].target, '?'))
            assert_true(slice_equal(judged.upgrade.client_id, SLICE("x")));
        judged_fini(&judged);
    }
}

static void every_prefix_asks_for_more_and_no_more_is_read(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof GOOD - 1; len++) {
        struct judged judged;
        judge_split(&judged, GOOD, len, len / 2);
        assert_int_equal(judged.status, 0);
        judged_fini(&judged);
    }
}

static void frames_behind_the_head_are_left_alone(void **state)
{
    static const char text[] = GOOD "\x81\x80 mask";
    struct http_parser parser;
    struct http_fault fault;
    (void)state;
    for (size_t cut = 0; cut < sizeof text; cut++) {
        size_t head_len = 0;
        http_parser_init(&parser, HEAD_MAX);
        http_parse(&parser, text, cut, &head_len, &fault);
        assert_int_equal(http_parse(&parser, text, sizeof text - 1, &head_len, &fault), HTTP_WHOLE);
        assert_int_equal(head_len, sizeof GOOD - 1);
    }
}

static const struct {
    const char *text;
    int status;
} mutants[] = {
    { "\n" GOOD, 400 },
    { "\r" GOOD, 400 },
    { "\r\n\n" GOOD, 400 },
    { "\r\n " GOOD, 400 },
    { " " GOOD, 400 },
    { "GET  / HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET /  HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET\t/ HTTP/1.1\r\n" REST "\r\n", 400 },
    { "G(T / HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET / HTTP/1.1\n" REST "\r\n", 400 },
    { "GET / HTTP/1.1\r" REST "\r\n", 400 },
    { "GET / HTTP/1.1 \r\n" REST "\r\n", 400 },
    { "GET / HTTP/1.0\r\n" REST "\r\n", 400 },
    { "GET / HTTP/2.0\r\n" REST "\r\n", 505 },
    { "GET / HTTP/0.9\r\n" REST "\r\n", 505 },
    { "GET / http/1.1\r\n" REST "\r\n", 400 },
    { "GET / HTTP/1.11\r\n" REST "\r\n", 400 },
    { "GET /\r\n" REST "\r\n", 400 },
    { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
    { "OPTIONS * HTTP/1.1\r\n" REST "\r\n", 405 },
    { "CONNECT a:443 HTTP/1.1\r\n" REST "\r\n", 405 },
    { "GET * HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET a:443 HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET /ws% HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET /ws%0g HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET /ws%00 HTTP/1.1\r\n" REST "\r\n", 400 },
    { "\x16\x03\x01\x02", 400 },
    { "GET http:/ws HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET http:///ws HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET http://?a HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET http://u@a/ws HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET http://a/ws#b HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET ftp://a/ws HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET http HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET http://a/other HTTP/1.1\r\n" REST "\r\n", 404 },
    { "GET http://a//ws HTTP/1.1\r\n" REST "\r\n", 404 },
    { "GET http://a/ws?since=- HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET http://a/ws HTTP/1.1\r\n" U C K V "\r\n", 400 }, /* no Host */
    { "GET ws HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET /ws# HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET /w\x7fs HTTP/1.1\r\n" REST "\r\n", 400 },
    { "GET /\xc3\xa9 HTTP/1.1\r\n" REST "\r\n", 400 },
    { "POST /ws HTTP/1.1\r\n" REST "\r\n", 405 },
    { "get /ws HTTP/1.1\r\n" REST "\r\n", 405 },
    { "GET //ws HTTP/1.1\r\n" REST "\r\n", 404 },
    { "GET /ws/ HTTP/1.1\r\n" REST "\r\n", 404 },
    { "GET /%77s HTTP/1.1\r\n" REST "\r\n", 404 },
    { WITH("X: a\r\n folded"), 400 },
    { WITH(" X: a"), 400 },
    { WITH("X : a"), 400 },
    { WITH("X"), 400 },
    { WITH(": a"), 400 },
    { WITH("X\xe9: a"), 400 },
    { WITH("X: a\nY: b"), 400 },
    { WITH("X: a\rY: b"), 400 },
    { WITH("X: a\x01"), 400 },
    { WITH("X: a\x7f"), 400 },
    { WITH("X: a\x1b[2J"), 400 },
    { WITH("Transfer-Encoding: chunked"), 400 },
    { WITH("Transfer-Encoding: identity"), 400 },
    { WITH("transfer-encoding:"), 400 },
    { WITH("Content-Length: 1"), 400 },
    { WITH("Content-Length: -1"), 400 },
    { WITH("Content-Length: 1000000000000000000000000000000"), 400 },
    { WITH("Content-Length: 0\r\nContent-Length: 0"), 400 },
    { WITH("Content-Length: 0, 0"), 400 },
    { WITH("Content-Length:"), 400 },
    { WITH("Host: example.com:8080"), 400 },
    { WITH("Sec-WebSocket-Key: " KEY), 400 },
    { WITH("Sec-WebSocket-Version: 13"), 426 },
    { WITH("Expect: 100-continue"), 417 },
    { WITH("Sec-WebSocket-Version: 8"), 426 },
    { WITH("Authorization: Bearer a\r\nAuthorization: Bearer b"), 400 },
    { WITH("Origin: http://a\r\nOrigin: http://b"), 400 },
    { WITH("Sec-WebSocket-Protocol: a b"), 400 },
    { WITH("Sec-WebSocket-Protocol: bearer.a, bearer.b, postoffice.v1"), 400 },
    { WITH("Sec-WebSocket-Protocol: bearer.a"), 400 },
    { WITH("Sec-WebSocket-Protocol: bearer."), 400 },
    { WITH("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: bearer.a"), 400 },
    { QUERY("clientID=a&clientID=a"), 400 },
    { QUERY("clientID=a&client%49D=b"), 400 },
    { QUERY("clientID=%00"), 400 },
    { QUERY("clientID=%"), 400 },
    { QUERY("clientID=%4"), 400 },
    { QUERY("clientID=%4g"), 400 },
    { QUERY("clientID=%ff"), 400 },
    { QUERY("clientID=%ed%a0%80"), 400 },
    { QUERY("x=%zz"), 400 },
    { QUERY("since="), 400 },
    { QUERY("since"), 400 },
    { QUERY("since=1.5"), 400 },
    { QUERY("since=-"), 400 },
    { QUERY("since=--"), 400 },
    { QUERY("since=-1"), 400 },
    { QUERY("since=1-"), 400 },
    { QUERY("since=1-1-1"), 400 },
    { QUERY("since=18446744073709551616"), 400 },
    { QUERY("since=1-18446744073709551616"), 400 },
    { QUERY("since=NOW"), 400 },
    { QUERY("since=now-1"), 400 },
    { QUERY("since=12345678901234567890123456789012345678901234567890123456789012345"), 400 },
};

static void no_mutant_of_a_good_request_is_upgraded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mutants / sizeof mutants[0]; i++)
        expect(mutants[i].text, mutants[i].status);
}

static void a_nul_or_control_character_anywhere_is_refused(void **state)
{
    static const char bad[] = { 0, 1, 8, 11, 27, 127 };
    char text[sizeof GOOD];
    (void)state;
    for (size_t i = 0; i < sizeof GOOD - 1; i++)
        for (size_t k = 0; k < sizeof bad; k++) {
            struct judged judged;
            memcpy(text, GOOD, sizeof text);
            text[i] = bad[k];
            judge_split(&judged, text, sizeof GOOD - 1, i);
            assert_int_equal(judged.status, 400);
            judged_fini(&judged);
        }
}

/* Leaves one header out, or changes it. */
static void expect_lines(const char *host, const char *upgrade, const char *connection,
                         const char *key, const char *version, int status)
{
    char text[1024];

    snprintf(text, sizeof text, "GET / HTTP/1.1\r\n%s%s%s%s%s\r\n", host, upgrade, connection, key,
             version);
    expect(text, status);
}

static const struct {
    const char *host;
    int status;
} hosts[] = {
    { "[::1]:80", 101 },
    { "[::ffff:1.2.3.4]", 101 },
    { "a:", 101 },
    { "a:0", 101 },
    { "a:65535", 101 },
    { "a_b-c.d~", 101 },
    { "%61", 101 },
    { "a:65536", 400 },
    { "a:b", 400 },
    { "a:1:2", 400 },
    { ":80", 400 },
    { "::1", 400 },
    { "[::1", 400 },
    { "[]", 400 },
    { "[::1]80", 400 },
    { "[::1]:x", 400 },
    { "[a.b]c", 400 },
    { "u@a", 400 },
    { "a%", 400 },
    { "a%00", 400 },
    { "a]", 400 },
    { "a:99999999999999", 400 },
    { "[fe80::1%25e]", 400 },
};

static void a_missing_or_odd_header_gets_its_answer(void **state)
{
    (void)state;
    expect_lines(H, U, C, K, V, 101);
    expect_lines("", U, C, K, V, 400);
    expect_lines("Host:\r\n", U, C, K, V, 400);
    expect_lines("Host: a, b\r\n", U, C, K, V, 400);
    expect_lines("Host: a/b\r\n", U, C, K, V, 400);
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        char line[128];
        snprintf(line, sizeof line, "Host: %s\r\n", hosts[i].host);
        expect_lines(line, U, C, K, V, hosts[i].status);
    }
    expect_lines(H, "", C, K, V, 426);
    expect_lines(H, "Upgrade: h2c\r\n", C, K, V, 426);
    expect_lines(H, "Upgrade: websockets\r\n", C, K, V, 426);
    expect_lines(H, "Upgrade: h2c, WebSocket\r\n", C, K, V, 101);
    expect_lines(H, "Upgrade: h2c\r\nUpgrade: websocket\r\n", C, K, V, 101);
    expect_lines(H, U, "", K, V, 426);
    expect_lines(H, U, "Connection: keep-alive\r\n", K, V, 426);
    expect_lines(H, U, "Connection: upgraded\r\n", K, V, 426);
    expect_lines(H, U, "Connection: up grade\r\n", K, V, 426);
    expect_lines(H, U, "Connection: keep-alive, UPGRADE\r\n", K, V, 101);
    expect_lines(H, U, "connection: ,,upgrade ,\r\n", K, V, 101);
    expect_lines(H, U, "Connection: close\r\nConnection:\tupgrade\t\r\n", K, V, 101);
    expect_lines(H, U, C, "", V, 400);
    expect_lines(H, U, C, "Sec-WebSocket-Key: \r\n", V, 400);
    expect_lines(H, U, C, "Sec-WebSocket-Key: AAAA\r\n", V, 400);
    expect_lines(H, U, C, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n", V, 400);
    expect_lines(H, U, C, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n", V, 400);
    expect_lines(H, U, C, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-Q==\r\n", V, 400);
    expect_lines(H, U, C, K, "", 426);
    expect_lines(H, U, C, K, "Sec-WebSocket-Version: 12\r\n", 426);
    expect_lines(H, U, C, K, "Sec-WebSocket-Version: 13, 8\r\n", 426);
    expect_lines(H, U, C, K, "Sec-WebSocket-Version: 013\r\n", 426);
}

static void the_count_of_headers_is_limited(void **state)
{
    char text[4096];
    (void)state;
    for (int extra = HTTP_HEADERS_MAX - 6; extra <= HTTP_HEADERS_MAX - 4; extra++) {
        struct judged judged;
        size_t len = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" REST);
        for (int i = 0; i < extra; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, "X: %d\r\n", i);
        len += (size_t)snprintf(text + len, sizeof text - len, "\r\n");
        judge_split(&judged, text, len, len / 3);
        assert_int_equal(judged.status, extra <= HTTP_HEADERS_MAX - 5 ? 101 : 431);
        judged_fini(&judged);
    }
}

static void the_length_of_the_head_is_limited_to_the_byte(void **state)
{
    struct http_parser parser;
    struct http_fault fault;
    size_t head_len, len = sizeof GOOD - 1;
    (void)state;
    http_parser_init(&parser, (uint32_t)len);
    assert_int_equal(http_parse(&parser, GOOD, len, &head_len, &fault), HTTP_WHOLE);
    http_parser_init(&parser, (uint32_t)len - 1);
    assert_int_equal(http_parse(&parser, GOOD, len - 2, &head_len, &fault), HTTP_MORE);
    assert_int_equal(http_parse(&parser, GOOD, len - 1, &head_len, &fault), HTTP_BROKEN);
    assert_int_equal(fault.status, 431);
    assert_int_equal(http_parse(&parser, GOOD, len, &head_len, &fault), HTTP_BROKEN);
}

static void a_target_that_fills_the_head_is_too_long_itself(void **state)
{
    static const char text[] = "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct http_parser parser;
    struct http_fault fault;
    size_t head_len;

    (void)state;
    http_parser_init(&parser, 32);
    assert_int_equal(http_parse(&parser, text, 31, &head_len, &fault), HTTP_MORE);
    assert_int_equal(http_parse(&parser, text, 32, &head_len, &fault), HTTP_BROKEN);
    assert_int_equal(fault.status, 414);
    assert_false(http_asks_head(&parser, text));
    http_parser_init(&parser, 32);
    assert_int_equal(http_parse(&parser, "HEAD /", 6, &head_len, &fault), HTTP_MORE);
    assert_true(http_asks_head(&parser, "HEAD /"));
}

static void assert_slice(struct slice slice, const char *expected)
{
    if (!expected) {
        assert_null(slice.data);
        return;
    }
    assert_non_null(slice.data);
    assert_true(slice_equal(slice, slice_of(expected)));
}

static void what_the_request_says_is_told(void **state)
{
    struct judged judged;
    static const char text[] =
        "GET "
        "/ws?clientID=%2Fservice%2f%E4%B8%AD+x&device=TAB&since=170-3&epoch=&token=a.b=c&&n&u=%20 "
        "HTTP/1.1\r\n" REST "Origin: https://a\r\nAuthorization: Bearer  T \r\nCookie: a=1\r\n"
        "Cookie: b=2\r\nSec-WebSocket-Protocol: x, bearer.T.u\r\n"
        "Sec-WebSocket-Protocol: postoffice.v1\r\nSec-WebSocket-Extensions: foo; a=\"1, 2\"\r\n"
        "Sec-WebSocket-Extensions: bar\r\n\r\n";
    (void)state;
    judge_split(&judged, text, sizeof text - 1, 40);
    assert_int_equal(judged.status, 101);
    assert_slice(judged.upgrade.client_id, "/service/\xe4\xb8\xad+x");
    assert_slice(judged.upgrade.device, "TAB");
    assert_slice(judged.upgrade.since, "170-3");
    assert_slice(judged.upgrade.epoch, "");
    assert_slice(judged.upgrade.query_token, "a.b=c");
    assert_slice(judged.upgrade.key, KEY);
    assert_slice(judged.upgrade.host, "example.com:8080");
    assert_slice(judged.upgrade.origin, "https://a");
    assert_slice(judged.upgrade.authorization, "Bearer  T");
    assert_slice(judged.upgrade.cookie, "a=1; b=2");
    assert_slice(judged.upgrade.bearer_protocol, "T.u");
    assert_slice(judged.upgrade.extensions, "foo; a=\"1, 2\", bar");
    assert_true(judged.upgrade.offers_v1);
    judged_fini(&judged);
}

static void what_is_absent_is_told_as_absent(void **state)
{
    struct judged judged;
    (void)state;
    judge_split(&judged, GOOD, sizeof GOOD - 1, 0);
    assert_int_equal(judged.status, 101);
    assert_slice(judged.upgrade.client_id, NULL);
    assert_slice(judged.upgrade.since, NULL);
    assert_slice(judged.upgrade.origin, NULL);
    assert_slice(judged.upgrade.cookie, NULL);
    assert_slice(judged.upgrade.bearer_protocol, NULL);
    assert_slice(judged.upgrade.extensions, NULL);
    assert_false(judged.upgrade.offers_v1);
    judged_fini(&judged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_request_is_taken_at_every_split),
        cmocka_unit_test(an_empty_line_before_the_request_is_ignored),
        cmocka_unit_test(the_absolute_form_names_the_host_itself),
        cmocka_unit_test(every_prefix_asks_for_more_and_no_more_is_read),
        cmocka_unit_test(frames_behind_the_head_are_left_alone),
        cmocka_unit_test(no_mutant_of_a_good_request_is_upgraded),
        cmocka_unit_test(a_nul_or_control_character_anywhere_is_refused),
        cmocka_unit_test(a_missing_or_odd_header_gets_its_answer),
        cmocka_unit_test(the_count_of_headers_is_limited),
        cmocka_unit_test(the_length_of_the_head_is_limited_to_the_byte),
        cmocka_unit_test(a_target_that_fills_the_head_is_too_long_itself),
        cmocka_unit_test(what_the_request_says_is_told),
        cmocka_unit_test(what_is_absent_is_told_as_absent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
