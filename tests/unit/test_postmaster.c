#include "worker/envelope/postmaster.h"

#include "common/json.h"
#include "office_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const struct slice odd = { "a\"b\\\n\xc3\xa9", 7 }; /* what must be escaped, and what not */
#define ODD_JSON "\"a\\\"b\\\\\\n\xc3\xa9\""

/* Checks what every word of the server has; returns its text, valid until the next call. */
static const char *text_of(struct msg *msg, const char *subject)
{
    static char text[1 << 20];
    struct json_value value;
    struct json_fault fault;
    char part[64];

    assert_non_null(msg);
    assert_int_equal(msg->opcode, WS_TEXT);
    assert_int_equal(json_check(msg_slice(msg), 32, &value, &fault), OK);
    assert_true(msg->len < sizeof text);
    memcpy(text, msg->data, msg->len);
    text[msg->len] = 0;
    assert_has(text, "{\"from\":\"postmaster\",\"to\":[" ODD_JSON "]");
    assert_has(text, "\"type\":4");
    assert_has(text, "\"content\":\"\"");
    assert_has(text, "\"createTime\":17");
    snprintf(part, sizeof part, "\"subject\":\"%s\"", subject);
    assert_has(text, part);
    msg_unref(msg);
    return text;
}

static void welcome_says_who_where_and_how_much(void **state)
{
    struct config *config = office_config("");
    const char *text;

    (void)state;
    text = text_of(postmaster_welcome(&(struct postmaster_welcome){ .address = odd,
                                                                    .device = SLICE("APP"),
                                                                    .node = "n\"1",
                                                                    .worker = 3,
                                                                    .session = 0x100000002,
                                                                    .config = config,
                                                                    .epoch = "" }),
                   "welcome");
    assert_has(text, "\"session\":\"3-100000002\"");
    assert_has(text, "\"node\":\"n\\\"1\"");
    assert_has(text, "\"worker\":3");
    assert_has(text, "\"address\":" ODD_JSON);
    assert_has(text, "\"device\":\"APP\"");
    assert_has(text, "\"seq\":\"0-0\",\"cursor\":\"0-0\",\"epoch\":\"\",\"recovered\":false");
    assert_has(text, "\"queueBytes\":1048576}");
    config_free(config);
}

static void result_names_the_command_that_has_an_id(void **state)
{
    const char *text;

    (void)state;
    buf_add_text(postmaster_begin_result(odd, SLICE("c1")), ",\"cursor\":\"1-0\"");
    text = text_of(postmaster_end(MSG_ANSWER), "result");
    assert_has(text, ",\"inReplyTo\":\"c1\",\"cursor\":\"1-0\"}");
    postmaster_begin_result(odd, (struct slice){ 0 });
    text = text_of(postmaster_end(MSG_ANSWER), "result");
    assert_lacks(text, "inReplyTo");
}

static void accepted_names_whom_it_could_not_serve(void **state)
{
    struct postmaster_refusal refused[] = { { odd, REJECT_STORAGE_UNAVAILABLE },
                                            { SLICE("bob"), REJECT_MAILBOX_FULL } };
    const char *text = text_of(postmaster_accepted(odd, SLICE("m1"), 1, refused, 2), "accepted");

    (void)state;
    assert_has(
        text,
        "\"inReplyTo\":\"m1\",\"state\":1,\"refused\":[{\"address\":" ODD_JSON
        ",\"code\":\"storage-unavailable\"},{\"address\":\"bob\",\"code\":\"mailbox-full\"}]}");
    assert_lacks(text_of(postmaster_accepted(odd, SLICE("m1"), 1, NULL, 0), "accepted"), "refused");
}

static void rejected_has_every_code_and_only_what_is_known(void **state)
{
    const char *text;

    (void)state;
    for (int code = REJECT_NONE + 1; code < REJECT_COUNT; code++) {
        struct postmaster_rejection rejection = { .code = (enum reject_code)code,
                                                  .message = "why" };
        char part[64];
        text = text_of(postmaster_rejected(odd, &rejection), "rejected");
        snprintf(part, sizeof part, "\"code\":\"%s\",\"message\":\"why\",\"state\":9}",
                 envelope_reject_text((enum reject_code)code));
        assert_has(text, part);
    }
    text =
        text_of(postmaster_rejected(odd, &(struct postmaster_rejection){ .code = REJECT_BAD_FIELD,
                                                                         .message = "w",
                                                                         .field = "to",
                                                                         .id = odd,
                                                                         .retry_after_ms = 7 }),
                "rejected");
    assert_has(text, "\"inReplyTo\":" ODD_JSON ",\"field\":\"to\",\"retryAfter\":7,\"state\":9}");
}

static void goodbye_leaves_last(void **state)
{
    struct msg *msg = postmaster_goodbye(odd, 4001, "token expired", 0);
    const char *text;

    (void)state;
    assert_non_null(msg);
    assert_int_equal(msg->kind, MSG_LAST);
    text = text_of(msg, "goodbye");
    assert_has(text, "\"code\":4001,\"message\":\"token expired\"}");
    assert_lacks(text, "retryAfter");
    assert_has(text_of(postmaster_goodbye(odd, 4000, "x", 900), "goodbye"), "\"retryAfter\":900}");
}

static void a_large_answer_spoils_no_later_one(void **state)
{
    static char long_text[1000];
    struct postmaster_refusal *refused = calloc(500, sizeof *refused);
    struct buf *out;

    (void)state;
    memset(long_text, 'x', sizeof long_text);
    for (size_t i = 0; i < 500; i++)
        refused[i] = (struct postmaster_refusal){ slice_make(long_text, 255), REJECT_NOT_FOUND };
    text_of(postmaster_accepted(odd, SLICE("m1"), 1, refused, 500), "accepted");
    out = postmaster_begin(odd, "result");
    for (int i = 0; i < 72000; i++)
        buf_add(out, long_text, sizeof long_text);
    assert_null(postmaster_end(MSG_ANSWER)); /* larger than any answer may be */
    text_of(postmaster_accepted(odd, SLICE("m1"), 1, NULL, 0), "accepted");
    free(refused);
}

/* Runs misuse in a child; it must die of the assertion. */
static void assert_aborts(void (*misuse)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        static const struct rlimit no_core = { 0, 0 };
        setrlimit(RLIMIT_CORE, &no_core);
        close(STDERR_FILENO);
        misuse();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void begin_twice(void)
{
    postmaster_begin(odd, "result");
    postmaster_begin(odd, "result");
}

static void answer_inside_another(void)
{
    postmaster_begin(odd, "result");
    postmaster_replayed(odd, (struct seq){ 1, 0 });
}

static void end_without_begin(void)
{
    postmaster_end(MSG_ANSWER);
}

static void end_twice(void)
{
    postmaster_begin(odd, "result");
    postmaster_end(MSG_ANSWER);
    postmaster_end(MSG_ANSWER);
}

static void answers_are_made_one_behind_the_other(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        buf_add_text(postmaster_begin(odd, "result"), ",\"x\":1");
        assert_has(text_of(postmaster_end(MSG_ANSWER), "result"), ",\"x\":1}");
        text_of(postmaster_replayed(odd, (struct seq){ 1, 0 }), "replayed");
    }
}

static void an_answer_inside_another_is_our_mistake(void **state)
{
    (void)state;
    assert_aborts(begin_twice);
    assert_aborts(answer_inside_another);
    assert_aborts(end_without_begin);
    assert_aborts(end_twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(welcome_says_who_where_and_how_much),
        cmocka_unit_test(result_names_the_command_that_has_an_id),
        cmocka_unit_test(accepted_names_whom_it_could_not_serve),
        cmocka_unit_test(rejected_has_every_code_and_only_what_is_known),
        cmocka_unit_test(goodbye_leaves_last),
        cmocka_unit_test(a_large_answer_spoils_no_later_one),
        cmocka_unit_test(answers_are_made_one_behind_the_other),
        cmocka_unit_test(an_answer_inside_another_is_our_mistake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
