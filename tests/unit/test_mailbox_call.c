/* How a command for Redis is put together (worker/mailbox/call.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/mailbox/call.h"

#include <stdlib.h>

static char prefix[] = "po:", place[] = "host:0:7";
static struct mailbox mailbox;
static struct call call;

static int begin(void **state)
{
    (void)state;
    mailbox = (struct mailbox){ .prefix = prefix, .place = place, .state = MAILBOX_DOWN };
    memset(mailbox.shas[SCRIPT_ACK], 'a', SHA_HEX);
    row_init(&mailbox.row);
    buf_init(&mailbox.text, CALL_TEXT_BYTES_MAX);
    return 0;
}

static int end(void **state)
{
    (void)state;
    buf_fini(&mailbox.text);
    return 0;
}

/* Without Redis a call is put together, then refused. */
static void assert_args(const char *const *args, size_t count)
{
    assert_int_equal(call_put(&call, NULL, NULL, NULL), ERR_DOWN);
    assert_int_equal(call.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(call.args[i].len, strlen(args[i]));
        assert_memory_equal(call.args[i].data, args[i], call.args[i].len);
    }
    assert_int_equal(mailbox.row.count, 0);
}
#define ASSERT_ARGS(...)                                                                           \
    assert_args((const char *const[]){ __VA_ARGS__ },                                              \
                sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static void a_script_has_its_keys_before_its_arguments(void **state)
{
    (void)state;
    call_script(&call, &mailbox, SCRIPT_ACK);
    call_keys(&call, SLICE("ann"), CALL_KEYS(":box", ":cur"));
    call_global_key(&call, "places");
    call_key(&call, SLICE("po:{bob}:box"));
    call_add(&call, SLICE("phone"));
    call_add_seq(&call, (struct seq){ 17, 3 });
    call_add_int(&call, -5);
    ASSERT_ARGS("EVALSHA", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "4", "po:{ann}:box",
                "po:{ann}:cur", "po:places", "po:{bob}:box", "phone", "17-3", "-5");
}

static void a_plain_command_has_its_name_first(void **state)
{
    (void)state;
    call_plain(&call, &mailbox, SLICE("HKEYS"));
    call_keys(&call, SLICE("a}b"), CALL_KEYS(":at"));
    ASSERT_ARGS("HKEYS", "po:{a%7Db}:at");
}

static void an_absent_argument_is_an_empty_one(void **state)
{
    (void)state;
    call_plain(&call, &mailbox, SLICE("X"));
    call_add_int(&call, 1);
    call_add(&call, (struct slice){ NULL, 0 });
    call_text(&call);
    call_text_end(&call);
    call_add_int(&call, 2);
    ASSERT_ARGS("X", "1", "", "", "2");
}

static void a_list_of_positions_is_one_argument(void **state)
{
    struct buf *text;

    (void)state;
    call_plain(&call, &mailbox, SLICE("X"));
    text = call_text(&call);
    call_text_seq(text, (struct seq){ 1, 2 });
    call_text_seq(text, (struct seq){ 3, 0 });
    call_text_end(&call);
    ASSERT_ARGS("X", "1-2 3-0 ");
}

/* The buffer moves while it grows. */
static void keys_stay_what_they_are_while_the_text_grows(void **state)
{
    char *address = malloc(100000);

    (void)state;
    memset(address, 'x', 100000);
    call_plain(&call, &mailbox, SLICE("X"));
    call_keys(&call, SLICE("ann"), CALL_KEYS(":box"));
    call_keys(&call, slice_make(address, 100000), CALL_KEYS(":box", ":ids", ":at"));
    call_add_int(&call, 9);
    assert_int_equal(call_put(&call, NULL, NULL, NULL), ERR_DOWN);
    assert_true(slice_equal(call.args[1], SLICE("po:{ann}:box")));
    assert_int_equal(call.args[4].len, 5 + 100000 + 3);
    assert_memory_equal(call.args[4].data + call.args[4].len - 4, "}:at", 4);
    assert_true(slice_equal(call.args[5], SLICE("9")));
    free(address);
    call_plain(&call, &mailbox, SLICE("X")); /* a large buffer is not kept */
    assert_int_equal(mailbox.text.size, 0);
}

static void a_text_past_its_limit_fails_the_whole_call_and_not_the_next(void **state)
{
    char *much = calloc(1, CALL_TEXT_BYTES_MAX);

    (void)state;
    call_plain(&call, &mailbox, SLICE("X"));
    call_keys(&call, SLICE("ann"), CALL_KEYS(":box"));
    buf_add(call_text(&call), much, CALL_TEXT_BYTES_MAX);
    call_text_end(&call);
    call_add_int(&call, 1);
    assert_int_equal(call_put(&call, NULL, NULL, NULL), ERR_NOMEM);
    assert_int_equal(call_tell(&call), ERR_NOMEM);
    assert_int_equal(call_ask(&call, NULL, 0), ERR_NOMEM);
    call_plain(&call, &mailbox, SLICE("X"));
    ASSERT_ARGS("X");
    free(much);
}

static void more_arguments_than_there_is_room_for_are_refused(void **state)
{
    (void)state;
    call_plain(&call, &mailbox, SLICE("X"));
    for (unsigned i = 0; i < 2 * CALL_ARGS_MAX; i++)
        call_add_int(&call, i);
    assert_int_equal(call_put(&call, NULL, NULL, NULL), ERR_BAD);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_script_has_its_keys_before_its_arguments),
        TEST(a_plain_command_has_its_name_first),
        TEST(an_absent_argument_is_an_empty_one),
        TEST(a_list_of_positions_is_one_argument),
        TEST(keys_stay_what_they_are_while_the_text_grows),
        TEST(a_text_past_its_limit_fails_the_whole_call_and_not_the_next),
        TEST(more_arguments_than_there_is_room_for_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
