/* worker/envelope: what is an envelope, which fault each other text is told, and that what is
 * carried comes out as the bytes that came. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "worker/envelope/envelope.h"

#include <stdio.h>
#include <stdlib.h>

enum { RECIPIENTS_MAX = 100 };

static struct arena arena;
static struct envelope envelope;
static struct envelope_fault fault;
static char
    *copy; /* of the text at its exact size, so that a sanitizer sees one byte read too far */

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 4096);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_fini(&arena);
    free(copy);
    copy = NULL;
    return 0;
}

static enum err parse_slice(struct slice text)
{
    arena_reset(&arena);
    free(copy);
    copy = malloc(text.len ? text.len : 1);
    assert_non_null(copy);
    memcpy(copy, text.data, text.len);
    return envelope_parse(&envelope, slice_make(copy, text.len), true, RECIPIENTS_MAX, &arena,
                          &fault);
}

static enum err parse(const char *text)
{
    return parse_slice(slice_of(text));
}

static void assert_slice(struct slice slice, const char *expected)
{
    if (!expected) {
        assert_null(slice.data);
        return;
    }
    assert_non_null(slice.data);
    if (slice.len != strlen(expected) || memcmp(slice.data, expected, slice.len) != 0)
        fail_msg("\"%.*s\" is not \"%s\"", (int)slice.len, slice.data, expected);
}

/* code NULL: taken. */
static void assert_verdict(const char *text, const char *code, const char *field)
{
    enum err err = parse(text);

    if (!code) {
        if (err)
            fail_msg("%s: %s %s %s", text, envelope_reject_text(fault.code), fault.field,
                     fault.message);
        return;
    }
    if (err != ERR_BAD || strcmp(envelope_reject_text(fault.code), code) != 0)
        fail_msg("%s: %s instead of %s", text, envelope_reject_text(fault.code), code);
    assert_non_null(fault.message);
    if (!field)
        assert_null(fault.field);
    else
        assert_string_equal(fault.field, field);
}

#define REST        "\"subject\":\"s\",\"content\":\"aGk=\",\"type\":1"
#define HEAD        "\"from\":\"alice\",\"to\":[\"bob\"]"
#define WITH(extra) "{" HEAD "," REST "," extra "}"

static void the_five_fields_are_enough(void **state)
{
    (void)state;
    assert_verdict("{" HEAD "," REST "}", NULL, NULL);
    assert_slice(envelope.from, "alice");
    assert_int_equal(envelope.recipient_count, 1);
    assert_slice(envelope.recipients[0], "bob");
    assert_slice(envelope.subject, "s");
    assert_int_equal(envelope.type, TYPE_MAIL);
    assert_int_equal(envelope.level, 0);
    assert_slice(envelope.id, NULL);
    assert_slice(envelope.token, NULL);
    assert_false(envelope.has_state || envelope.has_create_time || envelope.has_expires_at ||
                 envelope.has_receipt || envelope.has_limit);
    assert_verdict("{\"from\":\"a\",\"to\":\"b\",\"subject\":\"\",\"content\":\"\",\"type\":3}",
                   NULL, NULL);
}

static void every_field_is_taken(void **state)
{
    (void)state;
    assert_verdict(" {" HEAD
                   ",\"cc\":[\"carol\",\"d\\u00e9d\\u00e9\"],\"subject\":\"hi \\ud83d\\ude00\","
                   "\"content\":\"aGk=\",\"type\":2,\"contentType\":1000,\"charset\":\"utf-8\","
                   "\"level\":-9,\"tags\":[\"a\",\"\",\"c\\n\"],\"attachments\":[{},{\"a\":[1]}],"
                   "\"references\":\"r\",\"inReplyTo\":\"i\",\"subjectId\":\"s\",\"createTime\":0,"
                   "\"lastUpdateTime\":7,\"state\":3,\"token\":\"t\",\"fromTag\":\"TAB\","
                   "\"id\":\"A.z_0:-\",\"seq\":\"1-0\",\"expiresAt\":1795000000,\"receipt\":3,"
                   "\"limit\":\"carried\",\"own\":{\"to\":[]}} ",
                   NULL, NULL);
    assert_int_equal(envelope.recipient_count, 3);
    assert_slice(envelope.recipients[2], "d\xc3\xa9"
                                         "d\xc3\xa9");
    assert_slice(envelope.subject, "hi \xf0\x9f\x98\x80");
    assert_int_equal(envelope.level, -9);
    assert_int_equal(envelope.tag_count, 0);
    assert_slice(envelope.references, "r");
    assert_slice(envelope.in_reply_to, "i");
    assert_slice(envelope.subject_id, "s");
    assert_slice(envelope.token, "t");
    assert_slice(envelope.from_tag, "TAB");
    assert_slice(envelope.id, "A.z_0:-");
    assert_slice(fault.id, "A.z_0:-");
    assert_true(envelope.has_create_time && envelope.has_state && envelope.has_expires_at &&
                envelope.has_receipt && !envelope.has_limit);
    assert_int_equal(envelope.state, 3);
    assert_int_equal(envelope.expires_at, 1795000000);
    assert_int_equal(envelope.receipt, 3);
    assert_int_equal(envelope.text.data[0], '{');
    assert_int_equal(envelope.text.data[envelope.text.len - 1], '}');
}

static void each_missing_field_is_named(void **state)
{
    (void)state;
    assert_verdict("{\"to\":[\"bob\"]," REST "}", "missing-field", "from");
    assert_verdict("{\"from\":\"a\",\"cc\":[\"b\"]," REST "}", "missing-field", "to");
    assert_verdict("{" HEAD ",\"content\":\"\",\"type\":1}", "missing-field", "subject");
    assert_verdict("{" HEAD ",\"subject\":\"\",\"type\":1}", "missing-field", "content");
    assert_verdict("{" HEAD ",\"subject\":\"\",\"content\":\"\"}", "missing-field", "type");
    assert_verdict("{}", "missing-field", "from");
    assert_verdict("{\"From\":\"a\",\"TO\":\"b\"," REST "}", "missing-field", "from");
    assert_verdict("{\"from \":\"a\",\"to\":\"b\"," REST "}", "missing-field", "from");
}

static void a_command_needs_no_content(void **state)
{
    (void)state;
    assert_verdict("{\"from\":\"a\",\"to\":\"postmaster\",\"subject\":\"ack\",\"type\":4}", NULL,
                   NULL);
    assert_verdict("{\"from\":\"a\",\"to\":[\"postmaster\",\"postmaster\"],\"subject\":\"history\","
                   "\"type\":4,\"limit\":200,\"tags\":[\"#g\"],\"references\":\"1-2\"}",
                   NULL, NULL);
    assert_true(envelope.has_limit);
    assert_int_equal(envelope.limit, 200);
    assert_slice(envelope.references, "1-2");
    assert_verdict("{\"from\":\"a\",\"to\":\"postmaster\",\"subject\":\"s\",\"type\":1}",
                   "missing-field", "content");
    assert_verdict("{\"from\":\"a\",\"to\":\"bob\",\"subject\":\"s\",\"type\":4}", "missing-field",
                   "content");
    assert_verdict("{\"from\":\"a\",\"to\":[\"postmaster\",\"b\"],\"subject\":\"s\",\"type\":4}",
                   "missing-field", "content");
    assert_verdict(
        "{\"from\":\"a\",\"to\":\"postmaster\",\"subject\":\"s\",\"type\":4,\"limit\":0}",
        "bad-field", "limit");
    assert_verdict(
        "{\"from\":\"a\",\"to\":\"postmaster\",\"subject\":\"s\",\"type\":4,\"limit\":\"5\"}",
        "bad-field", "limit");
    assert_verdict("{\"from\":\"a\",\"to\":\"postmaster\",\"subject\":\"s\",\"type\":4,"
                   "\"content\":5}",
                   "bad-field", "content");
}

static void a_command_has_its_tags_decoded_and_counted(void **state)
{
    (void)state;
    for (int count = 0; count <= RECIPIENTS_MAX + 1; count++) {
        struct buf buf;
        buf_init(&buf, 1 << 16);
        buf_add_text(&buf, "{\"from\":\"a\",\"to\":\"postmaster\",\"subject\":\"subscribe\","
                           "\"type\":4,\"tags\":[");
        for (int i = 0; i < count; i++)
            buf_addf(&buf, "%s\"\\u0023g%d\"", i ? "," : "", i);
        buf_add_text(&buf, "]}");
        assert_false(buf.failed);
        assert_verdict(buf_text(&buf), count <= RECIPIENTS_MAX ? NULL : "bad-field",
                       count <= RECIPIENTS_MAX ? NULL : "tags");
        if (count <= RECIPIENTS_MAX)
            assert_int_equal(envelope.tag_count, count);
        if (count > 0 && count <= RECIPIENTS_MAX)
            assert_slice(envelope.tags[0], "#g0");
        buf_fini(&buf);
    }
    assert_verdict("{\"from\":\"a\",\"to\":\"postmaster\",\"subject\":\"s\",\"type\":4,"
                   "\"tags\":[1]}",
                   "bad-field", "tags");
}

static void what_is_not_an_object_is_bad_json(void **state)
{
    (void)state;
    assert_verdict("", "bad-json", NULL);
    assert_verdict("[]", "bad-json", NULL);
    assert_verdict("null", "bad-json", NULL);
    assert_verdict("[{" HEAD "," REST "}]", "bad-json", NULL);
    assert_verdict("{" HEAD "," REST "}{}", "bad-json", NULL);
    assert_verdict("{" HEAD "," REST ",}", "bad-json", NULL);
    assert_verdict("\xef\xbb\xbf{" HEAD "," REST "}", "bad-json", NULL);
}

static void a_field_given_twice_is_bad_json_however_written(void **state)
{
    (void)state;
    assert_verdict(WITH("\"to\":[\"eve\"]"), "bad-json", NULL);
    assert_verdict(WITH("\"t\\u006f\":[\"eve\"]"), "bad-json", NULL);
    assert_verdict(WITH("\"\\u0066rom\":\"eve\""), "bad-json", NULL);
    assert_verdict(WITH("\"x\":1,\"x\":1"), "bad-json", NULL);
    assert_verdict(WITH("\"token\":\"a\",\"tok\\u0065n\":\"b\""), "bad-json", NULL);
    assert_verdict(WITH("\"own\":{\"x\":1,\"x\":1}"), "bad-json", NULL);
}

/* Many members are searched for repetitions at their end only; until then each is told. */
static void fields_repeated_among_many_members_are_bad_json(void **state)
{
    struct buf buf;

    (void)state;
    for (int repeats = 1; repeats <= 40; repeats++) {
        buf_init(&buf, 1 << 16);
        buf_add_text(&buf, "{" HEAD "," REST);
        for (int i = 0; i < 30; i++)
            buf_addf(&buf, ",\"x%d\":0", i);
        for (int i = 0; i < repeats; i++)
            buf_add_text(&buf, ",\"token\":\"t\",\"t\\u006f\":\"b\"");
        buf_add_text(&buf, "}");
        assert_false(buf.failed);
        assert_verdict(buf_text(&buf), "bad-json", NULL);
        assert_string_equal(fault.message, "key given twice");
        buf_fini(&buf);
    }
}

static void nul_and_lone_surrogates_are_bad_json(void **state)
{
    (void)state;
    assert_verdict("{\"from\":\"a\",\"to\":[\"x\\u0000y\"]," REST "}", "bad-json", NULL);
    assert_verdict(WITH("\"own\":[{\"a\":\"\\u0000\"}]"), "bad-json", NULL);
    assert_verdict(WITH("\"own\":\"\\ud800\""), "bad-json", NULL);
    assert_int_equal(parse_slice(SLICE("{" HEAD "," REST "}\0")), ERR_BAD);
}

static void nesting_is_limited_to_32(void **state)
{
    char text[512];

    (void)state;
    for (int depth = 30; depth <= 32; depth++) { /* the envelope itself is one */
        int len = snprintf(text, sizeof text, "{%s,%s,\"own\":", HEAD, REST);
        memset(text + len, '[', (size_t)depth);
        memset(text + len + depth, ']', (size_t)depth);
        snprintf(text + len + 2 * depth, 2, "}");
        assert_verdict(text, depth <= 31 ? NULL : "bad-json", NULL);
    }
}

static void a_binary_message_is_checked_for_utf8(void **state)
{
    struct slice good = SLICE(WITH("\"own\":\"\xc3\xa9\""));
    struct slice bad = SLICE(WITH("\"own\":\"\xc3\""));

    (void)state;
    assert_int_equal(envelope_parse(&envelope, good, false, 10, &arena, &fault), OK);
    assert_int_equal(envelope_parse(&envelope, bad, false, 10, &arena, &fault), ERR_BAD);
    assert_string_equal(envelope_reject_text(fault.code), "bad-json");
}

/* A member, and the field that is at fault; NULL when it is good. */
static const struct {
    const char *member, *field;
} members[] = {
    { "\"cc\":null", "cc" },
    { "\"cc\":[]", NULL },
    { "\"cc\":\"carol\"", NULL },
    { "\"cc\":\"\"", "cc" },
    { "\"cc\":[\"\"]", "cc" },
    { "\"cc\":[1]", "cc" },
    { "\"cc\":[\"a\",null]", "cc" },
    { "\"cc\":[[\"a\"]]", "cc" },
    { "\"cc\":{}", "cc" },
    { "\"cc\":\" carol\"", "cc" },
    { "\"cc\":\"carol\\n\"", "cc" },
    { "\"cc\":\"car\\tol\"", "cc" },
    { "\"cc\":\"car ol\"", NULL },
    { "\"contentType\":-1", "contentType" },
    { "\"contentType\":1.0", "contentType" },
    { "\"contentType\":99999999", NULL },
    { "\"contentType\":null", "contentType" },
    { "\"charset\":5", "charset" },
    { "\"charset\":\"\"", NULL },
    { "\"level\":9", NULL },
    { "\"level\":-9", NULL },
    { "\"level\":10", "level" },
    { "\"level\":-10", "level" },
    { "\"level\":1.0", "level" },
    { "\"level\":1e0", "level" },
    { "\"level\":\"1\"", "level" },
    { "\"level\":true", "level" },
    { "\"level\":99999999999999999999", "level" },
    { "\"tags\":[]", NULL },
    { "\"tags\":\"a\"", "tags" },
    { "\"tags\":[1]", "tags" },
    { "\"tags\":[\"a\",{}]", "tags" },
    { "\"attachments\":[]", NULL },
    { "\"attachments\":{}", "attachments" },
    { "\"attachments\":[{},[]]", "attachments" },
    { "\"references\":null", "references" },
    { "\"inReplyTo\":1", "inReplyTo" },
    { "\"subjectId\":[]", "subjectId" },
    { "\"createTime\":-1", "createTime" },
    { "\"createTime\":1e9", "createTime" },
    { "\"createTime\":\"2026\"", "createTime" },
    { "\"createTime\":9223372036854775807", NULL },
    { "\"createTime\":9223372036854775808", "createTime" },
    { "\"lastUpdateTime\":\"now\"", "lastUpdateTime" },
    { "\"lastUpdateTime\":-1", NULL },
    { "\"state\":0", NULL },
    { "\"state\":6", NULL },
    { "\"state\":-1", NULL },
    { "\"state\":100000000000000000000000000000000000000", NULL },
    { "\"state\":1.0", "state" },
    { "\"state\":1e2", "state" },
    { "\"state\":\"1\"", "state" },
    { "\"state\":null", "state" },
    { "\"token\":null", "token" },
    { "\"token\":\"\"", NULL },
    { "\"fromTag\":{}", "fromTag" },
    { "\"id\":\"\"", "id" },
    { "\"id\":7", "id" },
    { "\"id\":\"a b\"", "id" },
    { "\"id\":\"a/b\"", "id" },
    { "\"id\":\"\xc3\xa9\"", "id" },
    { "\"id\":\"0123456789012345678901234567890123456789012345678901234567890123\"", NULL },
    { "\"id\":\"01234567890123456789012345678901234567890123456789012345678901234\"", "id" },
    { "\"seq\":5", "seq" },
    { "\"seq\":\"5\"", NULL },
    { "\"expiresAt\":0", "expiresAt" },
    { "\"expiresAt\":1", NULL },
    { "\"expiresAt\":-5", "expiresAt" },
    { "\"expiresAt\":1.5", "expiresAt" },
    { "\"receipt\":1", "receipt" },
    { "\"receipt\":2", NULL },
    { "\"receipt\":3", NULL },
    { "\"receipt\":4", "receipt" },
    { "\"receipt\":true", "receipt" },
    { "\"limit\":\"any\"", NULL },
    { "\"Level\":\"any\"", NULL },
    { "\"unknown\":null", NULL },
    { "\"\":null", NULL },
    { "\"l\\u0065vel\":10", "level" },
};

static void each_optional_field_has_its_type_and_bounds(void **state)
{
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        snprintf(text, sizeof text, WITH("%s"), members[i].member);
        assert_verdict(text, members[i].field ? "bad-field" : NULL, members[i].field);
    }
}

static void the_state_of_a_control_message_is_one_of_the_list(void **state)
{
    static const struct {
        const char *value;
        bool good;
    } rows[] = {
        { "0", true },  { "3", true },   { "5", true },   { "9", true },    { "6", false },
        { "8", false }, { "10", false }, { "-1", false }, { "3.0", false },
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        /* Also when `state` stands before `type`. */
        snprintf(text, sizeof text,
                 "{\"state\":%s,%s,\"subject\":\"\",\"content\":\"\",\"type\":4}", rows[i].value,
                 HEAD);
        assert_verdict(text, rows[i].good ? NULL : "bad-field", rows[i].good ? NULL : "state");
    }
}

static void each_required_field_has_its_type_and_bounds(void **state)
{
    (void)state;
    assert_verdict("{\"from\":1,\"to\":\"b\"," REST "}", "bad-field", "from");
    assert_verdict("{\"from\":\"\",\"to\":\"b\"," REST "}", "bad-field", "from");
    assert_verdict("{\"from\":\"a\\u007f\",\"to\":\"b\"," REST "}", "bad-field", "from");
    assert_verdict("{\"from\":[\"a\"],\"to\":\"b\"," REST "}", "bad-field", "from");
    assert_verdict("{\"from\":\"a\",\"to\":[]," REST "}", "bad-field", "to");
    assert_verdict("{\"from\":\"a\",\"to\":[],\"cc\":[\"b\"]," REST "}", "bad-field", "to");
    assert_verdict("{\"from\":\"a\",\"to\":null," REST "}", "bad-field", "to");
    assert_verdict("{\"from\":\"a\",\"to\":[\"b\",\"c \"]," REST "}", "bad-field", "to");
    assert_verdict("{" HEAD ",\"subject\":null,\"content\":\"\",\"type\":1}", "bad-field",
                   "subject");
    assert_verdict("{" HEAD ",\"subject\":\"\",\"content\":\"a\",\"type\":1}", "bad-field",
                   "content");
    assert_verdict("{" HEAD ",\"subject\":\"\",\"content\":\"aGk\",\"type\":1}", "bad-field",
                   "content");
    assert_verdict("{" HEAD ",\"subject\":\"\",\"content\":\"aG\\nk=\",\"type\":1}", "bad-field",
                   "content");
    assert_verdict("{" HEAD ",\"subject\":\"\",\"content\":[],\"type\":1}", "bad-field", "content");
    assert_verdict("{" HEAD ",\"subject\":\"\",\"content\":\"\\/\\/8=\",\"type\":1}", NULL, NULL);
    assert_verdict("{" HEAD ",\"subject\":\"\",\"content\":\"\",\"type\":0}", "bad-field", "type");
    assert_verdict("{" HEAD ",\"subject\":\"\",\"content\":\"\",\"type\":5}", "bad-field", "type");
    assert_verdict("{" HEAD ",\"subject\":\"\",\"content\":\"\",\"type\":1.0}", "bad-field",
                   "type");
    assert_verdict("{" HEAD ",\"subject\":\"\",\"content\":\"\",\"type\":\"1\"}", "bad-field",
                   "type");
}

static void a_subject_has_at_most_998_bytes(void **state)
{
    char text[1200];

    (void)state;
    for (int len = 997; len <= 999; len++) {
        snprintf(text, sizeof text, "{%s,\"subject\":\"%0*d\",\"content\":\"\",\"type\":1}", HEAD,
                 len, 0);
        assert_verdict(text, len <= 998 ? NULL : "bad-field", len <= 998 ? NULL : "subject");
    }
}

static void the_id_is_told_whatever_the_fault(void **state)
{
    (void)state;
    assert_verdict("{\"id\":\"m1\"}", "missing-field", "from");
    assert_slice(fault.id, "m1");
    assert_verdict(WITH("\"level\":50,\"id\":\"m\\u0032\""), "bad-field", "level");
    assert_slice(fault.id, "m2");
    assert_verdict(WITH("\"level\":50,\"id\":\"not good\""), "bad-field", "id");
    assert_slice(fault.id, NULL);
    assert_verdict("{\"id\":\"m1\",\"from\":}", "bad-json", NULL);
    assert_slice(fault.id, NULL);
}

/* {"from":…,"to":[n addresses, each `repeat` times],"cc":"last",…} */
static struct buf many(int count, int repeat, const char *cc)
{
    struct buf buf;

    buf_init(&buf, 1 << 20);
    buf_add_text(&buf, "{\"from\":\"a\",\"to\":[");
    for (int i = 0; i < count * repeat; i++)
        buf_addf(&buf, "%s\"user%d\"", i ? "," : "", i % count);
    buf_addf(&buf, "],%s" REST "}", cc);
    assert_false(buf.failed);
    return buf;
}

static void each_address_is_one_delivery_in_order(void **state)
{
    static const int counts[] = { 1, 2, 8, 15, 16, 17, 33, 49 };

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct buf buf = many(counts[i], 2, "\"cc\":[\"user0\",\"us\\u0065r0\"],");
        assert_int_equal(parse_slice(buf_slice(&buf)), OK);
        assert_int_equal(envelope.recipient_count, counts[i]);
        for (int k = 0; k < counts[i]; k++) {
            char name[16];
            snprintf(name, sizeof name, "user%d", k);
            assert_slice(envelope.recipients[k], name);
        }
        buf_fini(&buf);
    }
}

static void recipients_are_counted_as_written(void **state)
{
    (void)state;
    for (int count = RECIPIENTS_MAX - 1; count <= RECIPIENTS_MAX + 1; count++) {
        struct buf buf = many(count, 1, "");
        assert_int_equal(parse_slice(buf_slice(&buf)), count <= RECIPIENTS_MAX ? OK : ERR_BAD);
        if (count > RECIPIENTS_MAX) {
            assert_string_equal(envelope_reject_text(fault.code), "too-many-recipients");
            assert_string_equal(fault.field, "to");
        }
        buf_fini(&buf);
        buf = many(count, 1, "\"cc\":\"user0\",");
        assert_int_equal(parse_slice(buf_slice(&buf)), count < RECIPIENTS_MAX ? OK : ERR_BAD);
        if (count == RECIPIENTS_MAX) {
            assert_string_equal(envelope_reject_text(fault.code), "too-many-recipients");
            assert_string_equal(fault.field, "cc");
        }
        buf_fini(&buf);
    }
}

static const struct envelope_stamp STAMP = { .id = { "ID-1", 4 }, .now_s = 1795000001, .state = 0 };

static void assert_stamped_with(const char *text, const struct envelope_stamp *stamp,
                                const char *expected)
{
    struct json_value value;
    struct json_fault json_fault;
    struct msg *msg;

    assert_verdict(text, NULL, NULL);
    msg = envelope_stamp(&envelope, stamp, MSG_MAIL);
    assert_non_null(msg);
    assert_slice(msg_slice(msg), expected);
    assert_int_equal(json_check(msg_slice(msg), ENVELOPE_DEPTH_MAX, &value, &json_fault), OK);
    assert_int_equal(msg->kind, MSG_MAIL);
    assert_int_equal(msg->level, envelope.level);
    assert_int_equal(msg->opcode, 1);
    msg_unref(msg);
}

static void assert_stamped(const char *text, const char *expected)
{
    assert_stamped_with(text, &STAMP, expected);
}

#define ALL_NEW                                                                                    \
    "{\"id\":\"ID-1\",\"subjectId\":\"ID-1\",\"createTime\":1795000001,"                           \
    "\"lastUpdateTime\":1795000001,\"state\":0,"
#define NO_ID "{\"createTime\":1795000001,\"lastUpdateTime\":1795000001,\"state\":0,"
#define SOME  "{\"lastUpdateTime\":1795000001,\"state\":0,"

static void the_server_sets_what_is_absent(void **state)
{
    (void)state;
    assert_stamped("{" HEAD "," REST "}", ALL_NEW HEAD "," REST "}");
    assert_stamped(WITH("\"id\":\"m\",\"inReplyTo\":\"x\""),
                   NO_ID HEAD "," REST ",\"id\":\"m\",\"inReplyTo\":\"x\"}");
    assert_stamped(WITH("\"id\":\"m\",\"subjectId\":\"\",\"createTime\":5,\"level\":3"), SOME HEAD
                   "," REST ",\"id\":\"m\",\"subjectId\":\"\",\"createTime\":5,\"level\":3}");
    assert_stamped(WITH("\"id\":\"m\",\"createTime\":5"),
                   "{\"subjectId\":\"m\",\"lastUpdateTime\":1795000001,\"state\":0," HEAD "," REST
                   ",\"id\":\"m\",\"createTime\":5}");
}

static void the_device_is_the_from_tag_when_absent(void **state)
{
    struct envelope_stamp stamp = STAMP;

    (void)state;
    stamp.from_tag = SLICE("T\"A\\B");
    assert_stamped_with(
        WITH("\"id\":\"m\",\"subjectId\":\"s\",\"createTime\":5"), &stamp,
        "{\"lastUpdateTime\":1795000001,\"state\":0,\"fromTag\":\"T\\\"A\\\\B\"," HEAD "," REST
        ",\"id\":\"m\",\"subjectId\":\"s\",\"createTime\":5}");
    assert_stamped_with(
        WITH("\"id\":\"m\",\"subjectId\":\"s\",\"createTime\":5,\"fromTag\":\"\""), &stamp,
        SOME HEAD "," REST ",\"id\":\"m\",\"subjectId\":\"s\",\"createTime\":5,\"fromTag\":\"\"}");
}

static void a_receipt_keeps_its_state(void **state)
{
    struct envelope_stamp stamp = STAMP;

    (void)state;
    stamp.keep_state = true;
    stamp.state = 1;
    assert_stamped_with(
        "{\"state\":3,\"id\":\"m\",\"inReplyTo\":\"x\",\"createTime\":5," HEAD
        ",\"subject\":\"\",\"content\":\"\",\"type\":4}",
        &stamp,
        "{\"lastUpdateTime\":1795000001,\"state\":3,\"id\":\"m\",\"inReplyTo\":\"x\","
        "\"createTime\":5," HEAD ",\"subject\":\"\",\"content\":\"\",\"type\":4}");
    assert_stamped_with(WITH("\"id\":\"m\",\"inReplyTo\":\"x\",\"createTime\":5"), &stamp,
                        "{\"lastUpdateTime\":1795000001,\"state\":1," HEAD "," REST
                        ",\"id\":\"m\",\"inReplyTo\":\"x\",\"createTime\":5}");
}

static void what_is_carried_comes_out_byte_for_byte(void **state)
{
    (void)state;
    assert_stamped(
        " \n{ \"n\" : 9007199254740993 "
        ",\"e\":1e400,\"z\":-0.0,\t\"u\":\"\\u00e9\\/\\ud83d\\ude00\","
        "\"To\":1,\"TOKEN\":\"mine\",\"\\u0074o\":[\"b\\u006fb\"],\"from\":\"alice\", " REST
        " ,\"own\": {\"token\":\"inner\",\"seq\":[ ]}} ",
        ALL_NEW
        " \"n\" : 9007199254740993 ,\"e\":1e400,\"z\":-0.0,\t\"u\":\"\\u00e9\\/\\ud83d\\ude00\","
        "\"To\":1,\"TOKEN\":\"mine\",\"\\u0074o\":[\"b\\u006fb\"],\"from\":\"alice\", " REST
        " ,\"own\": {\"token\":\"inner\",\"seq\":[ ]}}");
}

static void a_lone_address_becomes_an_array(void **state)
{
    (void)state;
    assert_stamped("{\"to\":\"bob\",\"from\":\"alice\"," REST "}",
                   ALL_NEW "\"to\":[\"bob\"],\"from\":\"alice\"," REST "}");
    assert_stamped("{\"from\":\"alice\"," REST ",\"cc\" : \"c\" ,\"token\":\"x\",\"to\":\"b\"}",
                   ALL_NEW "\"from\":\"alice\"," REST ",\"cc\" : [\"c\"] ,\"to\":[\"b\"]}");
}

/* Puts the member at every position among the others, alone and beside others that are taken out.
 */
static void a_taken_member_leaves_from_any_position(void **state)
{
    static const char *const kept[] = { "\"from\":\"a\"", " \"to\":[\"b\"]", "\"subject\":\"s\" ",
                                        "\"content\":\"\"", "\n\"type\":1" };
    static const char *const taken[] = {
        "\"token\":\"SECRET\"",
        "\"t\\u006fken\":\"SECRET\"",
        " \"\\u0074\\u006F\\u006b\\u0065\\u006e\" : \"SECRET,}\" ",
        "\"seq\":\"SECRET\"",
        "\"token\":\"SECRET\",\"seq\":\"SECRET\"",
        "\"log\":[\"SECRET\"]",
        "\"l\\u006fg\":\"SECRET\",\"seq\":\"SECRET\"",
        " \"seq\" : \"SECRET\" , \"state\" : 3 , \"lastUpdateTime\" : 5 , \"token\" : \"SECRET\" ",
        "\"lastUpdateTime\":77777",
        "\"state\":3",
    };
    struct buf text, expected;

    (void)state;
    buf_init(&text, 4096);
    buf_init(&expected, 4096);
    for (size_t t = 0; t < sizeof taken / sizeof taken[0]; t++) {
        for (size_t at = 0; at <= 5; at++) {
            buf_reset(&text);
            buf_reset(&expected);
            buf_add_text(&expected, ALL_NEW);
            for (size_t i = 0; i <= 5; i++) {
                if (i == at)
                    buf_addf(&text, "%s%s", i ? "," : "{", taken[t]);
                if (i == 5)
                    break;
                buf_addf(&text, "%s%s", i || at == 0 ? "," : "{", kept[i]);
                buf_addf(&expected, "%s%s", i ? "," : "", kept[i]);
            }
            buf_add_char(&text, '}');
            buf_add_char(&expected, '}');
            assert_stamped(buf_text(&text), buf_text(&expected));
        }
    }
    buf_fini(&text);
    buf_fini(&expected);
}

static void taken_members_between_kept_ones_leave_no_comma(void **state)
{
    (void)state;
    assert_stamped(
        "{\"seq\":\"1\",\"from\":\"a\",\"token\":\"t\",\"to\":\"b\",\"state\":1,\"subject\":"
        "\"s\",\"lastUpdateTime\":1,\"content\":\"\",\"type\":1}",
        ALL_NEW "\"from\":\"a\",\"to\":[\"b\"],\"subject\":\"s\",\"content\":\"\",\"type\":1}");
}

static void every_prefix_is_refused(void **state)
{
    static const char text[] = WITH("\"token\":\"t\",\"tags\":[\"x\"],\"id\":\"m\"");

    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        assert_int_equal(parse_slice(slice_make(text, len)), ERR_BAD);
        assert_int_equal(fault.code, REJECT_BAD_JSON);
    }
    assert_int_equal(parse(text), OK);
}

/* Many members, most of them unknown or written with escapes, take linear time and no memory. */
static void a_million_bytes_of_members_are_survived(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 2 << 20);
    buf_add_text(&buf, "{" HEAD "," REST);
    for (int i = 0; i < 60000; i++)
        buf_addf(&buf, ",\"\\u0061%d\":0", i);
    buf_add_text(&buf, "}");
    assert_false(buf.failed);
    assert_int_equal(parse_slice(buf_slice(&buf)), OK);
    buf.len--;
    buf_add_text(&buf, ",\"a59999\":0}");
    assert_int_equal(parse_slice(buf_slice(&buf)), ERR_BAD);
    assert_string_equal(fault.message, "key given twice");
    buf_fini(&buf);
}

static void a_uuid7_has_its_time_version_and_variant(void **state)
{
    uint8_t random[10];
    char id[37];

    (void)state;
    memset(random, 0xFF, sizeof random);
    envelope_uuid7(id, 0x017F22E279B0, random);
    assert_string_equal(id, "017f22e2-79b0-7fff-bfff-ffffffffffff");
    memset(random, 0, sizeof random);
    envelope_uuid7(id, 1, random);
    assert_string_equal(id, "00000000-0001-7000-8000-000000000000");
}

static void each_reject_code_has_its_text(void **state)
{
    (void)state;
    assert_string_equal(envelope_reject_text(REJECT_BAD_JSON), "bad-json");
    assert_string_equal(envelope_reject_text(REJECT_INTERNAL), "internal");
    assert_string_equal(envelope_reject_text(REJECT_COUNT), "unknown");
    for (int code = REJECT_NONE; code < REJECT_COUNT; code++)
        assert_non_null(envelope_reject_text((enum reject_code)code));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_five_fields_are_enough),
        cmocka_unit_test(every_field_is_taken),
        cmocka_unit_test(each_missing_field_is_named),
        cmocka_unit_test(a_command_needs_no_content),
        cmocka_unit_test(a_command_has_its_tags_decoded_and_counted),
        cmocka_unit_test(what_is_not_an_object_is_bad_json),
        cmocka_unit_test(a_field_given_twice_is_bad_json_however_written),
        cmocka_unit_test(fields_repeated_among_many_members_are_bad_json),
        cmocka_unit_test(nul_and_lone_surrogates_are_bad_json),
        cmocka_unit_test(nesting_is_limited_to_32),
        cmocka_unit_test(a_binary_message_is_checked_for_utf8),
        cmocka_unit_test(each_optional_field_has_its_type_and_bounds),
        cmocka_unit_test(the_state_of_a_control_message_is_one_of_the_list),
        cmocka_unit_test(each_required_field_has_its_type_and_bounds),
        cmocka_unit_test(a_subject_has_at_most_998_bytes),
        cmocka_unit_test(the_id_is_told_whatever_the_fault),
        cmocka_unit_test(each_address_is_one_delivery_in_order),
        cmocka_unit_test(recipients_are_counted_as_written),
        cmocka_unit_test(the_server_sets_what_is_absent),
        cmocka_unit_test(the_device_is_the_from_tag_when_absent),
        cmocka_unit_test(a_receipt_keeps_its_state),
        cmocka_unit_test(what_is_carried_comes_out_byte_for_byte),
        cmocka_unit_test(a_lone_address_becomes_an_array),
        cmocka_unit_test(a_taken_member_leaves_from_any_position),
        cmocka_unit_test(taken_members_between_kept_ones_leave_no_comma),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(a_million_bytes_of_members_are_survived),
        cmocka_unit_test(a_uuid7_has_its_time_version_and_variant),
        cmocka_unit_test(each_reject_code_has_its_text),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
