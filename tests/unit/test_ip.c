#include "common/ip.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static struct ip parsed(const char *text)
{
    struct ip ip = { 0 };

    if (!ip_parse(slice_of(text), &ip))
        fail_msg("%s is not read", text);
    return ip;
}

static void an_address_is_read_and_written_in_one_form(void **state)
{
    static const char *const forms[][2] = {
        { "192.0.2.1", "192.0.2.1" },
        { "0.0.0.0", "0.0.0.0" },
        { "2001:DB8::1", "2001:db8::1" },
        { "2001:0db8:0:0:0:0:0:1", "2001:db8::1" },
        { "::", "::" },
        { "::ffff:192.0.2.1", "192.0.2.1" }, /* one host, one form */
        { "::ffff:c000:201", "192.0.2.1" },
    };
    char text[IP_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct ip ip = parsed(forms[i][0]);
        assert_string_equal(ip_text(&ip, text), forms[i][1]);
    }
    assert_string_equal(ip_text(&(struct ip){ .kind = IP_UNIX }, text), "unix");
    assert_string_equal(ip_text(&(struct ip){ .kind = IP_NONE }, text), "-");
}

static void other_text_is_no_address(void **state)
{
    static const char *const texts[] = { "",
                                         "1.2.3",
                                         "1.2.3.4.5",
                                         "1.2.3.256",
                                         "1.2.3.4:80",
                                         "[::1]",
                                         "::1%lo",
                                         "fe80::1%1",
                                         " 1.2.3.4",
                                         "1.2.3.4 ",
                                         "localhost",
                                         "unix",
                                         ":::",
                                         "1.2.3.4/32",
                                         "0x7f.0.0.1",
                                         "1:2:3:4:5:6:7",
                                         "::ffff:1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19" };
    struct ip ip;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (ip_parse(slice_of(texts[i]), &ip))
            fail_msg("%s is read", texts[i]);
    assert_false(ip_parse(slice_make("1.2.3.4\0", 8), &ip));
}

static void a_sockets_peer_has_the_same_form(void **state)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    struct sockaddr_un local = { .sun_family = AF_UNIX };
    struct sockaddr other = { .sa_family = AF_PACKET };
    struct ip ip = ip_of_sockaddr((struct sockaddr *)&v4);
    char text[IP_TEXT_MAX];

    (void)state;
    assert_string_equal(ip_text(&ip, text), "192.0.2.1");
    assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &v6.sin6_addr), 1);
    ip = ip_of_sockaddr((struct sockaddr *)&v6);
    assert_string_equal(ip_text(&ip, text), "192.0.2.1");
    assert_int_equal(ip_of_sockaddr((struct sockaddr *)&local).kind, IP_UNIX);
    assert_int_equal(ip_of_sockaddr(&other).kind, IP_NONE);
}

static void a_network_holds_its_addresses_and_no_other(void **state)
{
    static const struct {
        const char *network, *address;
        bool holds;
    } rows[] = {
        { "192.0.2.1", "192.0.2.1", true },
        { "192.0.2.1", "192.0.2.2", false },
        { "10.0.0.0/8", "10.255.255.255", true },
        { "10.0.0.0/8", "11.0.0.0", false },
        { "10.0.0.0/9", "10.127.0.1", true },
        { "10.0.0.0/9", "10.128.0.1", false },
        { "192.0.2.4/31", "192.0.2.5", true },
        { "192.0.2.4/31", "192.0.2.6", false },
        { "0.0.0.0/0", "8.8.8.8", true },
        { "0.0.0.0/0", "2001:db8::1", false },
        { "::/0", "2001:db8::1", true },
        { "::/0", "8.8.8.8", false },
        { "2001:db8::/33", "2001:db8:7fff::1", true },
        { "2001:db8::/33", "2001:db8:8000::1", false },
        { "::1", "::1", true },
        { "::1", "127.0.0.1", false },
        { "10.0.0.0/8", "::ffff:10.1.2.3", true },
        { "::ffff:10.0.0.0/104", "10.1.2.3", true },
        { "::ffff:10.0.0.0/104", "11.1.2.3", false },
        { "unix", "10.0.0.1", false },
        { "nonsense", "10.0.0.1", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip ip = parsed(rows[i].address);
        if (ip_in_network(&ip, rows[i].network) != rows[i].holds)
            fail_msg("%s in %s", rows[i].address, rows[i].network);
    }
    assert_true(ip_in_network(&(struct ip){ .kind = IP_UNIX }, "unix"));
    assert_false(ip_in_network(&(struct ip){ .kind = IP_UNIX }, "0.0.0.0/0"));
    assert_false(ip_in_network(&(struct ip){ .kind = IP_NONE }, "0.0.0.0/0"));
    assert_false(ip_in_network(&(struct ip){ .kind = IP_NONE }, "unix"));
}

static void a_network_with_a_slip_is_refused(void **state)
{
    static const char *const good[] = {
        "10.0.0.0/8", "10.1.2.3", "10.1.2.3/32", "0.0.0.0/0", "::/0",
        "fd00::/8",   "::1/128",  "unix",        "::1",       "::ffff:10.0.0.0/104"
    };
    static const char *const bad[] = { "",
                                       "10.0.0.1/8",
                                       "10.0.0.0/33",
                                       "10.0.0.0/",
                                       "10.0.0.0/08",
                                       "10.0.0.0/-1",
                                       "10.0.0.0/8 ",
                                       "fd00::1/8",
                                       "::/129",
                                       "/8",
                                       "unix/8",
                                       "unix:/x",
                                       "*",
                                       "::ffff:10.0.0.0/8",
                                       "10.0.0.0/1000" };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!ip_network_good(good[i]))
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ip_network_good(bad[i]))
            fail_msg("%s is taken", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_read_and_written_in_one_form),
        cmocka_unit_test(other_text_is_no_address),
        cmocka_unit_test(a_sockets_peer_has_the_same_form),
        cmocka_unit_test(a_network_holds_its_addresses_and_no_other),
        cmocka_unit_test(a_network_with_a_slip_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
