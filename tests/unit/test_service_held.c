#include "worker/service/service_held.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

static struct seq at(uint64_t ms)
{
    return (struct seq){ ms, 0 };
}

/* What was acknowledged, one digit each. */
static char told[64];

static void tell(void *arg, const struct service_letter *letter)
{
    size_t len = strlen(told);

    (void)arg;
    told[len] = (char)('0' + letter->seq.ms);
    told[len + 1] = 0;
}

static bool ack(struct service_held *held, uint64_t ms)
{
    told[0] = 0;
    return service_held_ack(held, at(ms), tell, NULL);
}

static void add(struct service_held *held, uint64_t ms, bool leaves)
{
    assert_int_equal(service_held_add(held, at(ms), 0), OK);
    if (leaves)
        service_held_left(held, at(ms));
}

static void an_ack_covers_what_left_up_to_it_and_no_more(void **state)
{
    struct service_held held = { 0 };

    (void)state;
    for (uint64_t i = 1; i <= 6; i++)
        add(&held, i, i <= 5);
    assert_false(ack(&held, 6)); /* it waits in the queue */
    assert_false(ack(&held, 7));
    assert_true(ack(&held, 3));
    assert_string_equal(told, "123");
    assert_false(ack(&held, 2)); /* long covered */
    assert_true(ack(&held, 5));
    assert_string_equal(told, "45");
    assert_true(service_held_has(&held, at(6)));
    service_held_left(&held, at(6));
    assert_true(ack(&held, 6));
    assert_null(held.letters); /* nothing is kept when nothing is unacknowledged */
}

/* What another session left behind is older than what this one has had. */
static void the_order_is_that_of_leaving_not_of_seqs(void **state)
{
    struct service_held held = { 0 };

    (void)state;
    add(&held, 5, true);
    add(&held, 2, true);
    add(&held, 7, false);
    add(&held, 9, true); /* of a higher level: it overtook 7 */
    assert_true(ack(&held, 5));
    assert_string_equal(told, "5");
    assert_true(ack(&held, 9));
    assert_string_equal(told, "29");
    assert_true(service_held_has(&held, at(7)));
    service_held_clear(&held);
    assert_false(service_held_has(&held, at(7)));
}

static void there_is_a_bound(void **state)
{
    struct service_held held = { 0 };

    (void)state;
    for (uint64_t i = 0; i < SERVICE_HELD_MAX; i++)
        add(&held, i, false);
    assert_int_equal(service_held_add(&held, at(SERVICE_HELD_MAX), 0), ERR_FULL);
    service_held_clear(&held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ack_covers_what_left_up_to_it_and_no_more),
        cmocka_unit_test(the_order_is_that_of_leaving_not_of_seqs),
        cmocka_unit_test(there_is_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
