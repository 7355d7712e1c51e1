/* Names of workers, and what an address's `:at` says of its sessions. */
#include "worker/mailbox/place.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

static struct place parsed(const char *text)
{
    struct place place = { { NULL, 0 }, 0, 0 };

    assert_true(place_parse(slice_of(text), &place));
    return place;
}

static void a_place_is_node_slot_and_incarnation(void **state)
{
    struct place place = parsed("mail-1.example:63:18446744073709551615");

    (void)state;
    assert_true(slice_equal(place.node, SLICE("mail-1.example")));
    assert_int_equal(place.slot, 63);
    assert_true(place.incarnation == UINT64_MAX);
    assert_true(slice_equal(parsed("a:b:c:1:2").node, SLICE("a:b:c"))); /* node.id may have it */
}

static void what_is_no_place_is_refused(void **state)
{
    static const char *const wrong[] = { "",
                                         ":",
                                         "a",
                                         "a:1",
                                         ":1:2",
                                         "a::2",
                                         "a:1:",
                                         "a:x:2",
                                         "a:1:2x",
                                         "a:-1:2",
                                         "a:1:0xf",
                                         "a:1:2/3f",
                                         "a:4294967296:1",
                                         "a:1:18446744073709551616" };
    struct place place;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(place_parse(slice_of(wrong[i]), &place));
}

static void a_host_is_one_run_of_one_node(void **state)
{
    struct place here = parsed("a:0:4294967297"); /* run 1, the first worker */
    struct place fellow = parsed("a:1:4294967298"), later = parsed("a:0:8589934593"),
                 other = parsed("b:0:4294967297");

    (void)state;
    assert_true(place_same_host(&here, &fellow));
    assert_false(place_same_host(&here, &later));
    assert_false(place_same_host(&here, &other));
}

static void a_session_of_an_address_is_a_field_and_its_value(void **state)
{
    struct at_session session;
    struct buf field;

    (void)state;
    buf_init(&field, 512);
    place_session_add_field(&field, SLICE("a:1:2"), 0xfedcba9876543210);
    assert_string_equal(buf_text(&field), "a:1:2/fedcba9876543210");
    assert_true(
        place_session_parse(buf_slice(&field), SLICE("1700000000000001 my phone"), &session));
    assert_true(slice_equal(session.place, SLICE("a:1:2")));
    assert_true(session.number == 0xfedcba9876543210);
    assert_true(session.opened_us == 1700000000000001);
    assert_true(slice_equal(session.device, SLICE("my phone")));
    assert_true(place_session_parse(SLICE("a:1:2/1"), SLICE("7 "), &session));
    assert_int_equal(session.device.len, 0);
    buf_fini(&field);
}

static void a_workers_own_field_is_no_session(void **state)
{
    struct at_session session;

    (void)state;
    assert_false(place_session_parse(SLICE("a:1:2"), SLICE("1"), &session));
    assert_false(place_session_parse(SLICE("a:1:2"), SLICE("1 x"), &session));
    assert_false(place_session_parse(SLICE("a:1:2/1"), SLICE("1"), &session));
    assert_false(place_session_parse(SLICE("a:1:2/"), SLICE("1 x"), &session));
    assert_false(place_session_parse(SLICE("a:1:2/1"), SLICE(" x"), &session));
    assert_true(slice_equal(place_of_field(SLICE("a:1:2")), SLICE("a:1:2")));
    assert_true(slice_equal(place_of_field(SLICE("a:1:2/ff")), SLICE("a:1:2")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_is_node_slot_and_incarnation),
        cmocka_unit_test(what_is_no_place_is_refused),
        cmocka_unit_test(a_host_is_one_run_of_one_node),
        cmocka_unit_test(a_session_of_an_address_is_a_field_and_its_value),
        cmocka_unit_test(a_workers_own_field_is_no_session),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
