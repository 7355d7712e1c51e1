/* Connections per address of origin: who counts as the same, and a sum over all workers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "shm/layout.h"
#include "shm/origins.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static struct region *region;

static int make_region(void **state)
{
    char why[256];

    (void)state;
    region = region_create(100, why, sizeof why);
    return region ? 0 : -1;
}

static int drop_region(void **state)
{
    (void)state;
    region_close(region);
    return 0;
}

static uint64_t key4(const char *text)
{
    struct sockaddr_in peer = { .sin_family = AF_INET };
    struct ip ip;

    assert_int_equal(inet_pton(AF_INET, text, &peer.sin_addr), 1);
    ip = ip_of_sockaddr((const struct sockaddr *)&peer);
    return origins_key(region, &ip);
}

static uint64_t key6(const char *text)
{
    struct sockaddr_in6 peer = { .sin6_family = AF_INET6 };
    struct ip ip;

    assert_int_equal(inet_pton(AF_INET6, text, &peer.sin6_addr), 1);
    ip = ip_of_sockaddr((const struct sockaddr *)&peer);
    return origins_key(region, &ip);
}

static void ipv4_counts_by_address_and_ipv6_by_its_64_bits(void **state)
{
    struct ip local = { .kind = IP_UNIX };

    (void)state;
    assert_true(key4("192.0.2.1") == key4("192.0.2.1"));
    assert_true(key4("192.0.2.1") != key4("192.0.2.2"));
    assert_true(key6("::ffff:192.0.2.1") == key4("192.0.2.1"));
    assert_true(key6("2001:db8::1") == key6("2001:db8::ffff:1"));
    assert_true(key6("2001:db8::1") != key6("2001:db8:0:1::1"));
    assert_true(origins_key(region, &local) == 0);
    assert_int_equal(origins_add(region, 0, 0), OK);
    assert_int_equal(origins_count(region, 0), 0);
}

static void all_workers_are_summed_and_the_dead_count_nothing(void **state)
{
    uint64_t key = key4("192.0.2.1");

    (void)state;
    slot_begin(region, 0);
    slot_begin(region, 5);
    origins_add(region, 0, key);
    origins_add(region, 5, key);
    origins_add(region, 5, key);
    assert_int_equal(origins_count(region, key), 3);
    origins_remove(region, 5, key);
    assert_int_equal(origins_count(region, key), 2);
    slot_end(region, 5);
    assert_int_equal(origins_count(region, key), 1);
    slot_begin(region, 5);
    assert_int_equal(origins_count(region, key), 1);
}

static void a_column_without_room_says_so_and_is_empty_again_after_removal(void **state)
{
    uint32_t places = UINT32_C(1) << region->layout.origin_bits;

    (void)state;
    slot_begin(region, 0);
    /* 1 .. 128 collide at place 1 and the ones behind it. */
    for (uint32_t n = 1; n <= 128; n++)
        assert_int_equal(origins_add(region, 0, (uint64_t)n * places + 1), OK);
    assert_int_equal(origins_add(region, 0, (uint64_t)129 * places + 1), ERR_FULL);
    origins_remove(region, 0, (uint64_t)3 * places + 1);
    assert_int_equal(origins_add(region, 0, (uint64_t)129 * places + 1), OK);
    assert_int_equal(origins_count(region, (uint64_t)129 * places + 1), 1);
    assert_int_equal(origins_count(region, (uint64_t)3 * places + 1), 0);
    for (uint32_t n = 1; n <= 129; n++)
        if (n != 3)
            origins_remove(region, 0, (uint64_t)n * places + 1);
    for (uint32_t i = 0; i < places; i++)
        assert_true(region_origins(region, 0)[i].count == 0);
}

#define WITH_REGION(test) cmocka_unit_test_setup_teardown(test, make_region, drop_region)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REGION(ipv4_counts_by_address_and_ipv6_by_its_64_bits),
        WITH_REGION(all_workers_are_summed_and_the_dead_count_nothing),
        WITH_REGION(a_column_without_room_says_so_and_is_empty_again_after_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
