#include "common/hosts.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char hosts_text[] = "# 192.0.2.9 redis\n"
                                 "127.0.0.1\tlocalhost\n"
                                 "192.0.2.1  redis.example.org   redis # the first\n"
                                 "2001:db8::1 redis\r\n"
                                 "192.0.2.1 redis\n"
                                 "not-an-address redis\n"
                                 "192.0.2.7\n"
                                 "\n"
                                 "192.0.2.2 REDIS2.Example.org";

static int write_hosts(void **state)
{
    static char path[] = "/tmp/postoffice-hosts-XXXXXX";
    int fd = mkstemp(path);

    if (fd < 0 || write(fd, hosts_text, sizeof hosts_text - 1) != sizeof hosts_text - 1)
        return -1;
    close(fd);
    *state = path;
    return 0;
}

static int remove_hosts(void **state)
{
    return unlink(*state);
}

static void assert_found(const struct hosts_found *found, size_t at, const char *address)
{
    char text[IP_TEXT_MAX];

    assert_true(at < found->count);
    assert_string_equal(ip_text(&found->addresses[at], text), address);
}

static void a_name_has_all_addresses_of_its_lines_once(void **state)
{
    struct hosts_found found = { .count = 0 };

    hosts_read_file(*state, "redis", &found);
    assert_int_equal(found.count, 2);
    assert_found(&found, 0, "192.0.2.1");
    assert_found(&found, 1, "2001:db8::1");
}

static void names_are_compared_without_case_and_without_a_last_dot(void **state)
{
    struct hosts_found found = { .count = 0 };

    hosts_read_file(*state, "redis2.example.ORG.", &found);
    assert_int_equal(found.count, 1);
    assert_found(&found, 0, "192.0.2.2");
}

static void a_part_of_a_name_is_another_name(void **state)
{
    static const char *const names[] = { "redi", "redis.example", "example.org", "#", "" };
    struct hosts_found found = { .count = 0 };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        hosts_read_file(*state, names[i], &found);
    assert_int_equal(found.count, 0);
    hosts_read_file("/nonexistent/hosts", "redis", &found);
    assert_int_equal(found.count, 0);
}

static void more_addresses_than_there_is_room_for_are_left_out(void **state)
{
    char path[] = "/tmp/postoffice-hosts-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    struct hosts_found found = { .count = 0 };

    (void)state;
    assert_non_null(file);
    for (int i = 0; i < 2 * HOSTS_ADDRESSES_MAX; i++)
        fprintf(file, "192.0.2.%d many\n", i);
    fclose(file);
    hosts_read_file(path, "many", &found);
    unlink(path);
    assert_int_equal(found.count, HOSTS_ADDRESSES_MAX);
}

static void localhost_needs_no_server(void **state)
{
    struct hosts_found found;

    (void)state;
    assert_int_equal(hosts_find("localhost", &found), OK);
    assert_true(found.count >= 1);
    for (size_t i = 0; i < found.count; i++)
        assert_true(ip_in_network(&found.addresses[i], "127.0.0.0/8") ||
                    ip_in_network(&found.addresses[i], "::1"));
}

/* An answer to "a.example": an alias for b.example, an address of each kind, a record of another
 * class, one of a wrong length, and an address in the additional section. */
static const unsigned char answer[] =
    "\x12\x34\x81\x80\x00\x01\x00\x05\x00\x00\x00\x01"
    "\x01"
    "a\x07"
    "example\x00\x00\x01\x00\x01"
    "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01"
    "b\xc0\x0e"
    "\xc0\x27\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01"
    "\xc0\x27\x00\x1c\x00\x01\x00\x00\x00\x3c\x00\x10\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00"
    "\x00"
    "\x00\x00\x00\x05"
    "\xc0\x27\x00\x01\x00\x03\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x02"
    "\xc0\x27\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x03\xc0\x00\x02"
    "\xc0\x27\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x03";
enum { ANSWER_LEN = sizeof answer - 1 };

static void an_answer_gives_its_addresses_and_nothing_else(void **state)
{
    struct hosts_found found = { .count = 0 };

    (void)state;
    hosts_read_answer(answer, ANSWER_LEN, &found);
    assert_int_equal(found.count, 2);
    assert_found(&found, 0, "192.0.2.1");
    assert_found(&found, 1, "2001:db8::5");
}

/* The copy is exactly as long as the message, so that a sanitizer sees each step behind the end. */
static void a_cut_answer_is_read_to_its_end_at_most(void **state)
{
    (void)state;
    for (size_t len = 0; len < ANSWER_LEN; len++) {
        struct hosts_found found = { .count = 0 };
        unsigned char *copy = malloc(len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, answer, len);
        hosts_read_answer(copy, len, &found);
        assert_true(found.count <= 2);
        free(copy);
    }
}

static void a_damaged_answer_is_read_to_its_end_at_most(void **state)
{
    (void)state;
    for (size_t at = 0; at < ANSWER_LEN; at++)
        for (unsigned value = 0; value < 256; value += 5) {
            struct hosts_found found = { .count = 0 };
            unsigned char *copy = malloc(ANSWER_LEN);
            assert_non_null(copy);
            memcpy(copy, answer, ANSWER_LEN);
            copy[at] = (unsigned char)value;
            hosts_read_answer(copy, ANSWER_LEN, &found);
            assert_true(found.count <= 4);
            free(copy);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_all_addresses_of_its_lines_once),
        cmocka_unit_test(names_are_compared_without_case_and_without_a_last_dot),
        cmocka_unit_test(a_part_of_a_name_is_another_name),
        cmocka_unit_test(more_addresses_than_there_is_room_for_are_left_out),
        cmocka_unit_test(localhost_needs_no_server),
        cmocka_unit_test(an_answer_gives_its_addresses_and_nothing_else),
        cmocka_unit_test(a_cut_answer_is_read_to_its_end_at_most),
        cmocka_unit_test(a_damaged_answer_is_read_to_its_end_at_most),
    };

    return cmocka_run_group_tests(tests, write_hosts, remove_hosts);
}
