#include "office_fixture.h"

#include "worker/entrance/closing.h"
#include "worker/entrance/health.h"
#include "worker/entrance/introduction.h"

static char head[4096];
static struct http_parser parser;

static void parse(const char *lines)
{
    struct http_fault fault;
    size_t head_len;

    snprintf(head, sizeof head, "GET / HTTP/1.1\r\n%s\r\n", lines);
    http_parser_init(&parser, sizeof head);
    assert_int_equal(http_parse(&parser, head, strlen(head), &head_len, &fault), HTTP_WHOLE);
}

static void the_walk_ends_at_the_first_hop_that_is_not_trusted(void **state)
{
    static const struct {
        const char *lines, *peer, *client;
        bool bad;
    } rows[] = {
        { "", "10.0.0.1", "10.0.0.1", false },
        { "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.9", "192.0.2.9", false },
        { "X-Forwarded-For: 192.0.2.9, 192.0.2.1, 10.0.0.2\r\n", "10.0.0.1", "192.0.2.1", false },
        { "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.1", "10.0.0.3", false },
        { "Forwarded: for=192.0.2.9, for=192.0.2.1\r\n", "10.0.0.1", "192.0.2.1", false },
        { "Forwarded: for=192.0.2.9, for=unknown, for=10.0.0.2\r\n", "10.0.0.1", "10.0.0.2",
          false },
        { "X-Forwarded-For: 192.0.2.9, x, 10.0.0.2\r\n", "10.0.0.1", "10.0.0.2", true },
        { "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n", "10.0.0.1", "192.0.2.1",
          false },
        { "Forwarded: for=192.0.2.9\r\nX-Forwarded-For: 192.0.2.1\r\n", "10.0.0.1", "10.0.0.1",
          true },
        { "Forwarded: for=x\r\nX-Forwarded-For: 192.0.2.1\r\n", "10.0.0.1", "10.0.0.1", true },
    };
    struct config *config = office_config("\"trustedProxies\":[\"10.0.0.0/8\"]");

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct introduction introduction;
        char text[IP_TEXT_MAX];
        struct ip peer;

        parse(rows[i].lines);
        assert_true(ip_parse(slice_of(rows[i].peer), &peer));
        introduction_read(config, &peer, &parser, head, &introduction);
        assert_string_equal(ip_text(&introduction.client, text), rows[i].client);
        assert_int_equal(introduction.bad, rows[i].bad);
    }
    config_free(config);
}

static void an_own_origin_has_the_host_and_scheme_that_the_proxy_names(void **state)
{
    struct introduction plain = { .client.kind = IP_V4 };
    struct introduction told = { .host = SLICE("post.example"), .proto = SLICE("wss") };

    (void)state;
    assert_true(introduction_is_own(&plain, SLICE("http://a.example"), SLICE("a.example")));
    assert_true(introduction_is_own(&told, SLICE("https://post.example"), SLICE("a.example")));
    assert_false(introduction_is_own(&told, SLICE("http://post.example"), SLICE("a.example")));
    assert_false(introduction_is_own(&told, SLICE("https://a.example"), SLICE("a.example")));
    assert_false(introduction_is_own(&told, (struct slice){ NULL, 0 }, SLICE("a.example")));
}

/* The byte behind the header belongs to another reader of the socket. */
static void not_a_byte_behind_the_header_is_taken(void **state)
{
    static const char bytes[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n";
    size_t header_len = strlen("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    struct proxy_header header;
    char rest[64], text[IP_TEXT_MAX];
    struct buf kept;
    int ends[2];

    (void)state;
    for (size_t cut = 1; cut < sizeof bytes - 1; cut++) {
        enum proxy_progress progress;

        buf_init(&kept, PROXY_HEADER_MAX);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
        assert_int_equal(introduction_take(ends[0], &kept, &header), PROXY_MORE);
        assert_int_equal(write(ends[1], bytes, cut), cut);
        progress = introduction_take(ends[0], &kept, &header);
        assert_int_equal(progress, cut < header_len ? PROXY_MORE : PROXY_WHOLE);
        assert_int_equal(write(ends[1], bytes + cut, sizeof bytes - 1 - cut),
                         sizeof bytes - 1 - cut);
        if (progress == PROXY_MORE)
            assert_int_equal(introduction_take(ends[0], &kept, &header), PROXY_WHOLE);
        assert_string_equal(ip_text(&header.client, text), "192.0.2.1");
        assert_int_equal(read(ends[0], rest, sizeof rest), sizeof bytes - 1 - header_len);
        assert_memory_equal(rest, bytes + header_len, sizeof bytes - 1 - header_len);
        close(ends[1]);
        assert_int_equal(introduction_take(ends[0], &kept, &header), PROXY_BAD);
        close(ends[0]);
        buf_fini(&kept);
    }
}

static void a_refusal_by_close_frame_has_the_code_twice(void **state)
{
    static const char reason[] = "the token does not cover this clientID";
    struct http_upgrade upgrade = { .key = SLICE("dGhlIHNhbXBsZSBub25jZQ=="),
                                    .client_id = SLICE("alice") };
    struct http_refusal refusal = { .status = 403, .code = "forbidden-address", .message = reason };
    const char *json;
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    closing_answer(&out, &upgrade, &refusal);
    assert_false(out.failed);
    buf_text(&out); /* ends in a NUL */
    assert_memory_equal(out.data, "HTTP/1.1 101 ", 13);
    json = memchr(out.data, '{', out.len); /* behind the frame's head, which has a NUL */
    assert_non_null(json);
    assert_has(json, "\"to\":[\"alice\"],\"subject\":\"goodbye\"");
    assert_has(json, "\"code\":4403,\"message\":\"the token");
    assert_memory_equal(out.data + out.len - (sizeof reason - 1) - 4, "\x88\x28\x11\x33", 4);
    assert_memory_equal(out.data + out.len - (sizeof reason - 1), reason, sizeof reason - 1);
    assert_int_equal(closing_code(405), 0);
    assert_int_equal(closing_code(431), 0);
    assert_int_equal(closing_code(503), WS_CLOSE_OVERLOADED);
    buf_fini(&out);
}

static void a_health_check_is_a_get_or_head_of_exactly_its_path(void **state)
{
    struct buf out;

    (void)state;
    parse("Host: x\r\n");
    assert_true(health_asked(SLICE("/"), &parser, head));
    assert_false(health_asked(SLICE("/healthz"), &parser, head));
    assert_false(health_asked(SLICE(""), &parser, head));
    buf_init(&out, 1024);
    health_answer(&out, &parser, head, HEALTH_WITHOUT_STORAGE, 784111777);
    assert_has(buf_text(&out), "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    assert_has(buf_text(&out), "\r\n\r\n{\"status\":\"serving\",\"redis\":\"away\"}");
    buf_reset(&out);
    health_answer(&out, &parser, head, HEALTH_STARTING, 784111777);
    assert_has(buf_text(&out), "HTTP/1.1 503 Service Unavailable\r\n");
    assert_has(buf_text(&out), "Retry-After: 1\r\n\r\n{\"status\":\"starting\"}");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_walk_ends_at_the_first_hop_that_is_not_trusted),
        cmocka_unit_test(an_own_origin_has_the_host_and_scheme_that_the_proxy_names),
        cmocka_unit_test(not_a_byte_behind_the_header_is_taken),
        cmocka_unit_test(a_refusal_by_close_frame_has_the_code_twice),
        cmocka_unit_test(a_health_check_is_a_get_or_head_of_exactly_its_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
