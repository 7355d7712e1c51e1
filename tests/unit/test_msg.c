/* common/msg: one message, shared by reference. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/msg.h"

static void a_message_copies_its_payload(void **state)
{
    char payload[] = "{\"a\":1}";
    struct msg *msg = msg_new(slice_of(payload), MSG_SIGNAL, -9);

    (void)state;
    assert_non_null(msg);
    payload[0] = 'x';
    assert_true(slice_equal(msg_slice(msg), SLICE("{\"a\":1}")));
    assert_int_equal(msg->level, -9);
    assert_int_equal(msg->kind, MSG_SIGNAL);
    assert_int_equal(msg->opcode, 1);
    assert_int_equal(msg->refs, 1);
    msg_unref(msg);
}

/* Memory is used again: whatever size it had before, a message is whole and nobody else's. */
static void messages_of_all_sizes_do_not_touch_each_other(void **state)
{
    enum { COUNT = 300 };
    static struct msg *msgs[COUNT];

    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            size_t len = (i * 97 + round * 31) % 20000;
            msgs[i] = msg_make(len, MSG_ANSWER, 0);
            assert_non_null(msgs[i]);
            memset(msgs[i]->data, (int)i, len);
        }
        for (unsigned i = 0; i < COUNT; i++) {
            assert_int_equal(msgs[i]->len, (i * 97 + round * 31) % 20000);
            for (size_t at = 0; at < msgs[i]->len; at++)
                if (msgs[i]->data[at] != (char)i)
                    fail();
            msg_unref(msgs[i]);
        }
    }
}

/* What is freed too early or never, the sanitizer tells. */
static void the_last_reference_frees(void **state)
{
    struct msg *msg = msg_make(3, MSG_MAIL, 9);

    (void)state;
    assert_non_null(msg);
    memcpy(msg->data, "abc", 3);
    for (int i = 0; i < 100; i++)
        assert_ptr_equal(msg_ref(msg), msg);
    for (int i = 0; i < 100; i++)
        msg_unref(msg);
    assert_int_equal(msg->refs, 1);
    assert_true(slice_equal(msg_slice(msg), SLICE("abc")));
    msg_unref(msg);
    msg_unref(NULL);
}

static void empty_is_allowed_and_huge_is_not(void **state)
{
    struct msg *msg = msg_new((struct slice){ NULL, 0 }, MSG_LAST, 0);

    (void)state;
    assert_non_null(msg);
    assert_int_equal(msg->len, 0);
    msg_unref(msg);
    assert_null(msg_make((size_t)UINT32_MAX + 1, MSG_MAIL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_copies_its_payload),
        cmocka_unit_test(messages_of_all_sizes_do_not_touch_each_other),
        cmocka_unit_test(the_last_reference_frees),
        cmocka_unit_test(empty_is_allowed_and_huge_is_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
