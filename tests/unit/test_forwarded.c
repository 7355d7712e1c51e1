#include "worker/wire/forwarded.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static char head[16384];
static struct http_parser parser;
static struct hops hops;

/* Puts these header lines into a head. */
static void parse(const char *lines)
{
    struct http_fault fault;
    size_t head_len;

    snprintf(head, sizeof head, "GET / HTTP/1.1\r\n%s\r\n", lines);
    http_parser_init(&parser, sizeof head);
    assert_int_equal(http_parse(&parser, head, strlen(head), &head_len, &fault), HTTP_WHOLE);
}

/* The hops as words: an address, "?" for a hidden one, "!" for a bad one. */
static const char *words(void)
{
    static char text[4096];
    char address[IP_TEXT_MAX];
    uint32_t kept = hops.count < FORWARDED_HOPS_MAX ? hops.count : FORWARDED_HOPS_MAX;

    text[0] = 0;
    for (uint32_t i = hops.count - kept; i < hops.count; i++) {
        const struct hop *hop = &hops.hops[i % FORWARDED_HOPS_MAX];
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s%s", len ? " " : "",
                 hop->kind == HOP_ADDRESS  ? ip_text(&hop->ip, address)
                 : hop->kind == HOP_HIDDEN ? "?"
                                           : "!");
    }
    return text;
}

static void x_forwarded_for_is_a_list_of_addresses(void **state)
{
    static const char *const rows[][2] = {
        { "", "" },
        { "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1" },
        { "x-forwarded-FOR:192.0.2.1 ,\t2001:db8::1\r\n", "192.0.2.1 2001:db8::1" },
        { "X-Forwarded-For: 192.0.2.1:80, [2001:db8::1], [2001:db8::1]:443\r\n",
          "192.0.2.1 2001:db8::1 2001:db8::1" },
        { "X-Forwarded-For: a\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n", "! 192.0.2.1" },
        { "X-Forwarded-For: ,192.0.2.1,, 192.0.2.2,\r\n", "192.0.2.1 192.0.2.2" },
        { "X-Forwarded-For:\r\n", "" },
        { "X-Forwarded-For: unknown, _x, unix:\r\n", "? ? unix" },
        { "X-Forwarded-For: 192.0.2.1:, 192.0.2.1:99999999, 1.2.3, 192.0.2.1 192.0.2.2\r\n",
          "! ! ! !" },
        { "X-Forwarded-For: ::ffff:192.0.2.1\r\n", "192.0.2.1" },
        { "X-Forwarded-For: [::1, [192.0.2.1], [], []:1, [::1]x, localhost\r\n", "! ! ! ! ! !" },
        { "X-Forwarded-For: \"192.0.2.1\"\r\n", "!" },
        { "X-Forwarded-Fo: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        parse(rows[i][0]);
        forwarded_read_for(&parser, head, &hops);
        if (strcmp(words(), rows[i][1]) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", rows[i][0], words(), rows[i][1]);
    }
}

static void forwarded_is_read_as_rfc_7239_writes_it(void **state)
{
    static const char *const rows[][2] = {
        { "", "" },
        { "for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60" }, /* section 4 */
        { "for=192.0.2.43, for=\"[2001:db8:cafe::17]\"", "192.0.2.43 2001:db8:cafe::17" },
        { "For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17" },
        { "for=\"_gazonk\"", "?" },
        { "for=unknown, for=_hidden;by=_SEVKISEK", "? ?" },
        { "for=\"192.0.2.1:_port\", for=\"_a.b-c:1\"", "192.0.2.1 ?" },
        { "by=1.2.3.4", "?" }, /* says nothing about the client */
        { ";;for=192.0.2.1; ;proto=http;", "192.0.2.1" },
        { ", ,for=192.0.2.1 ,", "192.0.2.1" },
        { "host=\"a,b;c=d\";for=192.0.2.1", "192.0.2.1" },
        { "host=\"a\\\"b\";for=192.0.2.1, for=192.0.2.2", "! 192.0.2.2" },
        { "for=192.0.2.1:80", "!" },    /* a colon needs quotes */
        { "for=\"2001:db8::1\"", "!" }, /* and IPv6 brackets */
        { "for=", "!" },
        { "for", "!" },
        { "=a", "!" },
        { "for =192.0.2.1", "!" },
        { "for= 192.0.2.1", "!" },
        { "for=192.0.2.1;for=192.0.2.2", "!" },
        { "for=192.0.2.1 proto=http", "!" },
        { "for=nobody, for=192.0.2.1", "! 192.0.2.1" },
        { "for=\"192.0.2.1, for=192.0.2.2", "!" }, /* a quotation that does not end */
        { "for=\"192.0.2.1\\", "!" },
        { "for=1.1.1.1;x=\", for=\"[2001:db8::1]:4711\"",
          "!" }, /* nor may it end in the next hop's */
        { "for=\"_\", for=_, for=\"_a b\"", "! ! !" },
        { "for=\"192.0.2.1\"x", "!" },
    };
    char line[512];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(line, sizeof line, "Forwarded: %s\r\n", rows[i][0]);
        parse(line);
        forwarded_read(&parser, head, &hops);
        if (strcmp(words(), rows[i][1]) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", rows[i][0], words(), rows[i][1]);
    }
}

/* A client's broken line in front cannot spoil the line of the proxy. */
static void lines_are_joined_and_each_is_read_for_itself(void **state)
{
    (void)state;
    parse("Forwarded: for=\"\r\nX-A: b\r\nFORWARDED: for=192.0.2.1, for=192.0.2.2\r\n");
    forwarded_read(&parser, head, &hops);
    assert_string_equal(words(), "! 192.0.2.1 192.0.2.2");
}

static void host_and_proto_are_of_their_hop(void **state)
{
    (void)state;
    parse("Forwarded: for=192.0.2.1;host=\"a.example:8080\";proto=https, for=192.0.2.2\r\n");
    forwarded_read(&parser, head, &hops);
    assert_true(slice_equal(hops.hops[0].host, SLICE("a.example:8080")));
    assert_true(slice_equal(hops.hops[0].proto, SLICE("https")));
    assert_null(hops.hops[1].host.data);
    assert_null(hops.hops[1].proto.data);
}

__attribute__((format(printf, 3, 4))) static void add_text(char *text, size_t size,
                                                           const char *format, ...)
{
    size_t len = strlen(text);
    va_list args;

    va_start(args, format);
    assert_true(vsnprintf(text + len, size - len, format, args) < (int)(size - len));
    va_end(args);
}

static void only_the_last_hops_are_kept(void **state)
{
    char lines[8192] = "X-Forwarded-For: 192.0.2.255";
    char expected[1024] = "";

    (void)state;
    for (int i = 0; i < 200; i++)
        add_text(lines, sizeof lines, ", 192.0.2.%d", i);
    add_text(lines, sizeof lines, "\r\n");
    for (int i = 200 - FORWARDED_HOPS_MAX; i < 200; i++)
        add_text(expected, sizeof expected, "%s192.0.2.%d", *expected ? " " : "", i);
    parse(lines);
    forwarded_read_for(&parser, head, &hops);
    assert_int_equal(hops.count, 201);
    assert_string_equal(words(), expected);
}

static void the_nearest_proxy_says_host_and_proto(void **state)
{
    (void)state;
    parse("X-Forwarded-Host: evil.example, a.example\r\nX-Forwarded-Host:  b.example ,\r\n");
    assert_true(
        slice_equal(forwarded_last(&parser, head, SLICE("X-Forwarded-Host")), SLICE("b.example")));
    assert_null(forwarded_last(&parser, head, SLICE("X-Forwarded-Proto")).data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x_forwarded_for_is_a_list_of_addresses),
        cmocka_unit_test(forwarded_is_read_as_rfc_7239_writes_it),
        cmocka_unit_test(lines_are_joined_and_each_is_read_for_itself),
        cmocka_unit_test(host_and_proto_are_of_their_hop),
        cmocka_unit_test(only_the_last_hops_are_kept),
        cmocka_unit_test(the_nearest_proxy_says_host_and_proto),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
