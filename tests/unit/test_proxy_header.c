#include "worker/wire/proxy_header.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4        "\xc0\0\2\1\xc6\x33\x64\1\x1f\x90\1\xbb" /* 192.0.2.1:8080 to 198.51.100.1:443 */
#define V6                                                                                         \
    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\x1f\x90\1\xbb"
#define BYTES(literal) literal, sizeof(literal) - 1

struct row {
    const char *data;
    size_t len; /* of the header; of a bad one, of all */
    const char *client;
};

static const char *client_text(const struct proxy_header *header)
{
    static char text[IP_TEXT_MAX];

    return ip_text(&header->client, text);
}

/* Every prefix of a good header asks for more, and bytes behind the header change nothing. */
static void expect_whole(const struct row *row)
{
    static const char *const behind[] = { "", "GET / HTTP/1.1\r\n", "\x16\x03\x01", "\n",
                                          "PROXY " };
    struct proxy_header header;
    uint8_t data[PROXY_HEADER_MAX + 64];

    for (size_t len = 0; len < row->len; len++)
        if (proxy_header_read((const uint8_t *)row->data, len, &header) != PROXY_MORE)
            fail_msg("%s: %zu bytes are not a beginning", row->data, len);
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++) {
        memcpy(data, row->data, row->len);
        memcpy(data + row->len, behind[i], strlen(behind[i]));
        if (proxy_header_read(data, row->len + strlen(behind[i]), &header) != PROXY_WHOLE)
            fail_msg("%s: %s", row->data, header.fault);
        assert_int_equal(header.len, row->len);
        assert_string_equal(client_text(&header), row->client);
    }
}

static void expect_bad(const char *data, size_t len)
{
    enum proxy_progress progress = PROXY_MORE;
    struct proxy_header header;

    for (size_t n = 0; n <= len && progress == PROXY_MORE; n++)
        progress = proxy_header_read((const uint8_t *)data, n, &header);
    if (progress != PROXY_BAD)
        fail_msg("taken: %.*s", (int)len, data);
    assert_non_null(header.fault);
    assert_int_equal(proxy_header_read((const uint8_t *)data, len, &header), PROXY_BAD);
    assert_int_equal(header.client.kind, IP_NONE);
}

static void a_line_of_version_1_names_the_client(void **state)
{
    static const struct row rows[] = {
        { BYTES("PROXY TCP4 192.0.2.1 198.51.100.1 8080 443\r\n"), "192.0.2.1" },
        { BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255" },
        { BYTES("PROXY TCP4 1.2.3.4 1.2.3.4 0 0\r\n"), "1.2.3.4" },
        { BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 8080 443\r\n"), "2001:db8::1" },
        { BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), "192.0.2.1" },
        { BYTES("PROXY UNKNOWN\r\n"), "-" },
        { BYTES("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), "-" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_whole(&rows[i]);
}

static void a_line_of_version_1_is_read_strictly(void **state)
{
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4\t1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY\n",
        "\n",
    };
    char line[256] = "PROXY UNKNOWN ";

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        expect_bad(lines[i], strlen(lines[i]));
    expect_bad(BYTES("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n"));
    memset(line + strlen(line), 'x', sizeof line - strlen(line));
    memcpy(line + PROXY_V1_MAX - 2, "\r\n", 2);
    expect_whole(&(struct row){ line, PROXY_V1_MAX, "-" });
    line[PROXY_V1_MAX - 2] = line[PROXY_V1_MAX - 1] = 'x';
    memcpy(line + PROXY_V1_MAX - 1, "\r\n", 2);
    expect_bad(line, PROXY_V1_MAX + 1);
}

static void version_2_names_the_client(void **state)
{
    static const struct row rows[] = {
        { BYTES(SIGNATURE "\x21\x11\0\x0c" V4), "192.0.2.1" },
        { BYTES(SIGNATURE "\x21\x21\0\x24" V6), "2001:db8::1" },
        { BYTES(SIGNATURE "\x21\x12\0\x0c" V4), "-" },      /* a datagram */
        { BYTES(SIGNATURE "\x21\0\0\0"), "-" },             /* UNSPEC */
        { BYTES(SIGNATURE "\x21\0\0\3\xff\xff\xff"), "-" }, /* whatever follows UNSPEC */
        { BYTES(SIGNATURE "\x20\0\0\0"), "-" },             /* LOCAL: a health check */
        { BYTES(SIGNATURE "\x20\x11\0\x0c" V4), "-" },      /* LOCAL names nobody */
        { BYTES(SIGNATURE "\x20\xff\0\2\1\2"), "-" },       /* nor has it a family */
        { BYTES(SIGNATURE "\x21\x11\0\x13" V4 "\4\0\4abcd"), "192.0.2.1" }, /* a TLV */
        { BYTES(SIGNATURE "\x21\x11\0\x12" V4 "\xe0\0\0\xe1\0\0"),
          "192.0.2.1" }, /* two empty ones */
    };
    char local[16 + 216];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_whole(&rows[i]);
    memset(local, 0, sizeof local);
    memcpy(local, SIGNATURE "\x21\x31\0\xd8/run/client", sizeof SIGNATURE - 1 + 4 + 11);
    expect_whole(&(struct row){ local, sizeof local, "unix" });
}

static void version_2_is_read_strictly(void **state)
{
    (void)state;
    expect_bad(BYTES("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c" V4));
    expect_bad(BYTES("\r\nGET"));
    expect_bad(BYTES(SIGNATURE "\x11\x11\0\x0c" V4)); /* version 1 */
    expect_bad(BYTES(SIGNATURE "\x31\x11\0\x0c" V4)); /* version 3 */
    expect_bad(BYTES(SIGNATURE "\x22\x11\0\x0c" V4)); /* a command that is none */
    expect_bad(BYTES(SIGNATURE "\x21\x41\0\x0c" V4)); /* a family that is none */
    expect_bad(BYTES(SIGNATURE "\x21\x13\0\x0c" V4)); /* a transport that is none */
    expect_bad(BYTES(SIGNATURE "\x21\x11\0\x0b" V4)); /* the addresses do not fit */
    expect_bad(BYTES(SIGNATURE "\x21\x21\0\x0c" V4));
    expect_bad(BYTES(SIGNATURE "\x21\x31\0\x0c" V4));
    expect_bad(BYTES(SIGNATURE "\x21\x11\0\x0e" V4 "\4\0"));    /* a TLV without its length */
    expect_bad(BYTES(SIGNATURE "\x21\x11\0\x10" V4 "\4\0\2a")); /* a TLV that is cut */
    expect_bad(BYTES(SIGNATURE "\x21\x11\xff\xff" V4));         /* endless, from its head alone */
    expect_bad(BYTES(SIGNATURE "\x20\0\x0f\xf1"));              /* 4,097 bytes */
}

/* The CRC-32C below is another program's, of the header with zeros in its place. */
static void a_checksum_is_verified(void **state)
{
    char header[] = SIGNATURE "\x21\x11\0\x13" V4 "\3\0\4\0\0\0\0";
    size_t len = sizeof header - 1;

    (void)state;
    memcpy(header + len - 4, "\x8f\x34\xca\xeb", 4);
    expect_whole(&(struct row){ header, len, "192.0.2.1" });
    for (size_t bit = 0; bit < 32; bit++) {
        header[len - 4 + bit / 8] = (char)(header[len - 4 + bit / 8] ^ (1 << bit % 8));
        expect_bad(header, len);
        header[len - 4 + bit / 8] = (char)(header[len - 4 + bit / 8] ^ (1 << bit % 8));
    }
    header[16] ^= 1; /* another client */
    expect_bad(header, len);
    expect_bad(BYTES(SIGNATURE "\x21\x11\0\x12" V4 "\3\0\3\0\0\0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_version_1_names_the_client),
        cmocka_unit_test(a_line_of_version_1_is_read_strictly),
        cmocka_unit_test(version_2_names_the_client),
        cmocka_unit_test(version_2_is_read_strictly),
        cmocka_unit_test(a_checksum_is_verified),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
