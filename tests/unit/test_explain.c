/* explain-config: the table of keys, as text, JSON and Markdown. */
#include "config_fixture.h"

#include "config/explain.h"
#include "config/keys.h"

#include "common/json.h"

static struct buf out;

static const char *explained(enum config_form form, const char *name)
{
    char copy[128], *names[] = { copy };

    snprintf(copy, sizeof copy, "%s", name ? name : "");
    buf_reset(&out);
    config_explain(&out, form, names, name ? 1 : 0);
    assert_false(out.failed);
    return buf_text(&out);
}

static void every_form_names_every_key(void **state)
{
    (void)state;
    for (int form = CONFIG_FORM_TEXT; form <= CONFIG_FORM_MARKDOWN; form++) {
        const char *text = explained((enum config_form)form, NULL);
        for (size_t i = 0; i < config_key_rows; i++) {
            char variable[KEY_VARIABLE_MAX];
            if (!config_keys[i].help)
                continue;
            assert_has(text, config_keys[i].name);
            if (key_variable(&config_keys[i], variable))
                assert_has(text, variable);
        }
        assert_has(text, "swap");
    }
}

static void a_key_is_found_by_name_by_part_and_by_variable(void **state)
{
    const char *text = explained(CONFIG_FORM_TEXT, "limits.burst");

    (void)state;
    assert_int_equal(strncmp(text, "limits.burst\n", 13), 0);
    assert_lacks(text, "acksBurst");
    assert_has(explained(CONFIG_FORM_TEXT, "POSTOFFICE_LIMITS_BURST"), "limits.burst\n");
    assert_has(explained(CONFIG_FORM_TEXT, "limits"), "limits.acksBurst\n");
    assert_lacks(buf_text(&out), "sessions.");
    assert_has(explained(CONFIG_FORM_TEXT, "redis.tls"), "redis.tls.verify\n");
    assert_lacks(buf_text(&out), "redis.prefix");
    assert_has(explained(CONFIG_FORM_TEXT, "dataSource.redis.main.uri"), "dataSource.redis.<name>");
    assert_has(explained(CONFIG_FORM_TEXT, "auth.keys"), "auth.keys\n");
    assert_lacks(buf_text(&out), "auth.keyDir");
}

static void a_mistyped_key_gets_the_nearest_names(void **state)
{
    static const char *const tries[][2] = {
        { "limits.brust", "limits.burst" },    { "brust", "limits.burst" },
        { "socketport", "socketPort" },        { "limit", "limits" },
        { "messagebytes", "messageBytes" },    { "mailbox.maxmessages", "mailbox.maxMessages" },
        { "sesions.perAddress", "sessions." }, { "queueByte", "limits.queueBytes" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        assert_false(config_explains(tries[i][0]));
        buf_reset(&out);
        config_explain_near(&out, tries[i][0]);
        assert_has(buf_text(&out), tries[i][1]);
    }
    buf_reset(&out);
    config_explain_near(&out, "");
    config_explain_near(&out, "nothing of the kind");
    assert_int_equal(out.len, 0);
    assert_false(config_explains(""));
    assert_false(config_explains("limits."));
    assert_false(config_explains("limits.burs"));
}

static void the_json_is_json_with_the_facts_of_a_key(void **state)
{
    struct json_value array, element, key, value;
    struct json_fault fault;
    struct json_walk walk, members;
    size_t count = 0, keys = 0;
    int64_t number;

    (void)state;
    explained(CONFIG_FORM_JSON, NULL);
    assert_int_equal(json_check(buf_slice(&out), 8, &array, &fault), OK);
    assert_int_equal(array.type, JSON_ARRAY);
    json_walk_begin(&walk, &array);
    while (json_walk_element(&walk, &element))
        count++;
    for (size_t i = 0; i < config_key_rows; i++)
        keys += config_keys[i].help != NULL;
    assert_int_equal(count, keys);

    explained(CONFIG_FORM_JSON, "socketPort");
    assert_int_equal(json_check(buf_slice(&out), 8, &array, &fault), OK);
    json_walk_begin(&walk, &array);
    assert_true(json_walk_element(&walk, &element));
    json_walk_begin(&members, &element);
    while (json_walk_member(&members, &key, &value, NULL))
        if (json_key_equal(&key, SLICE("default")) || json_key_equal(&key, SLICE("max"))) {
            assert_true(json_int(&value, &number));
            assert_int_equal(number, json_key_equal(&key, SLICE("max")) ? 65535 : 7502);
        }
    assert_has(buf_text(&out), "\"applies\": \"restart\"");
    assert_has(buf_text(&out), "\"variable\": \"POSTOFFICE_SOCKET_PORT\"");
    assert_false(json_walk_element(&walk, &element));
}

static int begin(void **state)
{
    buf_init(&out, 1 << 20);
    return folder_make(state);
}

static int end(void **state)
{
    buf_fini(&out);
    return folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_names_every_key),
        cmocka_unit_test(a_key_is_found_by_name_by_part_and_by_variable),
        cmocka_unit_test(a_mistyped_key_gets_the_nearest_names),
        cmocka_unit_test(the_json_is_json_with_the_facts_of_a_key),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
