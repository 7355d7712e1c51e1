#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/seq.h"

static void a_position_is_two_numbers_of_64_bits(void **state)
{
    static const struct {
        const char *text;
        bool good;
        struct seq seq;
    } cases[] = {
        { "0-0", true, { 0, 0 } },
        { "1700000000000-7", true, { 1700000000000, 7 } },
        { "5", true, { 5, 0 } },
        { "18446744073709551615-18446744073709551615", true, { UINT64_MAX, UINT64_MAX } },
        { "18446744073709551616-0", false, { 0, 0 } },
        { "99999999999999999999", false, { 0, 0 } },
        { "", false, { 0, 0 } },
        { "-", false, { 0, 0 } },
        { "1-", false, { 0, 0 } },
        { "-1", false, { 0, 0 } },
        { "1-2-3", false, { 0, 0 } },
        { " 1", false, { 0, 0 } },
        { "+1-1", false, { 0, 0 } },
        { "0x1-1", false, { 0, 0 } },
        { "$", false, { 0, 0 } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct seq seq = { 1, 1 };
        assert_int_equal(seq_parse(slice_of(cases[i].text), &seq), cases[i].good);
        if (cases[i].good)
            assert_int_equal(seq_compare(seq, cases[i].seq), 0);
        else
            assert_int_equal(seq_compare(seq, (struct seq){ 1, 1 }), 0);
    }
}

static void the_longest_position_fits(void **state)
{
    char text[SEQ_TEXT_MAX];
    struct seq most = { UINT64_MAX, UINT64_MAX }, back;

    (void)state;
    assert_int_equal(seq_format(text, most), SEQ_TEXT_MAX - 1);
    assert_true(seq_parse(slice_of(text), &back));
    assert_int_equal(seq_compare(most, back), 0);
}

static void next_and_previous_are_neighbours(void **state)
{
    struct seq edge = seq_next((struct seq){ 5, UINT64_MAX });
    struct seq most = { UINT64_MAX, UINT64_MAX };

    (void)state;
    assert_int_equal(seq_compare(edge, (struct seq){ 6, 0 }), 0);
    assert_int_equal(seq_compare(seq_previous(edge), (struct seq){ 5, UINT64_MAX }), 0);
    assert_int_equal(seq_compare(seq_next(most), most), 0);
    assert_int_equal(seq_compare(seq_previous((struct seq){ 0, 0 }), (struct seq){ 0, 0 }), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_position_is_two_numbers_of_64_bits),
        cmocka_unit_test(the_longest_position_fits),
        cmocka_unit_test(next_and_previous_are_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
