/* Values of keys, from a file and from the environment. */
#include "config_fixture.h"

#include "config/checks.h"
#include "config/keys.h"

#include <inttypes.h>

/* {"limits":{"burst":VALUE}} of "limits.burst". */
static const char *nest(const char *name, const char *value, char text[2048])
{
    char path[128], *rest = path, *part;
    size_t len = 0, depth = 0;

    snprintf(path, sizeof path, "%s", name);
    while ((part = strsep(&rest, "."))) {
        len += (size_t)snprintf(text + len, 2048 - len, "{\"%s\":", part);
        depth++;
    }
    len += (size_t)snprintf(text + len, 2048 - len, "%s", value);
    while (depth--)
        len += (size_t)snprintf(text + len, 2048 - len, "}");
    return text;
}

/* The value itself; what it means together with others is another test's. */
static void try_int(const struct key *key, int64_t value)
{
    bool good = value >= key->min && value <= key->max;
    char text[2048], number[32], variable[KEY_VARIABLE_MAX];
    struct config *config;

    snprintf(number, sizeof number, "%" PRId64, value);
    for (int environment = 0; environment < 2; environment++) {
        if (environment) {
            assert_true(key_variable(key, variable));
            setenv(variable, number, 1);
        }
        nest(key->name, number, text);
        config = environment ? load_bytes("{}", 2, true) : load_text(text);
        if (environment)
            unsetenv(variable);
        if (config)
            assert_int_equal(*(const int64_t *)key_value(key, config), value);
        if (good) {
            assert_lacks(errors(), "allowed a whole number");
        } else {
            assert_null(config);
            assert_has(errors(), environment ? variable : key->name);
            assert_has(errors(), number);
            assert_lines_whole();
        }
        config_free(config);
    }
}

static void every_number_has_its_bounds(void **state)
{
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < config_key_rows; i++) {
        const struct key *key = &config_keys[i];
        if (!key->help || key->type != KEY_INT)
            continue;
        for (int64_t step = -1; step <= 1; step++) {
            try_int(key, key->min + step);
            try_int(key, key->max + step);
        }
        try_int(key, key->initial);
        assert_true(key->initial >= key->min && key->initial <= key->max);
        count++;
    }
    assert_true(count > 20);
}

static void every_key_refuses_every_other_type(void **state)
{
    static const char *const values[] = { "null", "true", "7", "\"x\"", "[]", "{}" };
    static const int taken[] = {
        [KEY_INT] = 2,  [KEY_BOOL] = 1, [KEY_TEXT] = 3,    [KEY_LIST] = 4,
        [KEY_KEYS] = 4, [KEY_USE] = 3,  [KEY_SOURCES] = 5, [KEY_PAIRS] = 4
    };
    char text[2048];

    (void)state;
    for (size_t i = 0; i < config_key_rows; i++)
        for (int v = 0; v < 6; v++)
            if (config_keys[i].help && v != taken[config_keys[i].type])
                refused(nest(config_keys[i].name, values[v], text), config_keys[i].name);
}

static void every_number_is_whole_and_exact(void **state)
{
    static const char *const bad[] = {
        "7502.0",           "7502.5",           "7.502e3", "1e400",
        "9007199254740993", "1000000000000000", "-0.5",    "7502.00000000000000000001"
    };
    char text[2048];

    (void)state;
    for (size_t i = 0; i < config_key_rows; i++)
        for (size_t v = 0; v < sizeof bad / sizeof *bad; v++)
            if (config_keys[i].help && config_keys[i].type == KEY_INT)
                refused(nest(config_keys[i].name, bad[v], text), config_keys[i].name);
}

static void no_string_holds_control_characters_or_is_endless(void **state)
{
    char text[2048], value[1200];

    (void)state;
    memset(value, 'a', sizeof value);
    value[0] = value[KEY_TEXT_MAX + 2] = '"';
    value[KEY_TEXT_MAX + 3] = 0; /* 1,025 characters */
    for (size_t i = 0; i < config_key_rows; i++) {
        if (!config_keys[i].help || config_keys[i].type != KEY_TEXT)
            continue;
        refused(nest(config_keys[i].name, "\"a\\nb\"", text), config_keys[i].name);
        refused(nest(config_keys[i].name, "\"a\\u007fb\"", text), config_keys[i].name);
        refused(nest(config_keys[i].name, value, text), config_keys[i].name);
    }
    value[KEY_TEXT_MAX + 1] = '"';
    value[KEY_TEXT_MAX + 2] = 0;
    config_free(load_good(nest("auth.audience", value, text)));
}

static void the_defaults_are_the_documented_ones(void **state)
{
    struct config *config = load_good("{}");

    (void)state;
    assert_int_equal(config->socket_port, 7502);
    assert_int_equal(config->connections_max, 20000);
    assert_int_equal(config->workers, 0);
    assert_true(config_worker_count(config) >= 1 && config_worker_count(config) <= 32);
    assert_int_equal(config->listen.count, 1);
    assert_string_equal(config->listen.items[0], "0.0.0.0");
    assert_int_equal(config->redis.kind, CONFIG_REDIS_NONE);
    assert_string_equal(config->redis.host, "");
    assert_has(warnings(), "dataSource.redis");
    assert_has(warnings(), "keygen");
    assert_true(config->auth.required);
    assert_int_equal(config->auth.leeway_s, 5);
    assert_int_equal(config->limits.message_bytes, 1048576);
    assert_string_equal(config->redis_options.prefix, "po:");
    assert_string_equal(config->dir, folder);
    assert_string_equal(config->file, conf_file);
    config_free(config);
}

static void the_seeds_keys_alone_are_enough(void **state)
{
    struct config *config =
        load_good("{\"socketPort\":7502,\"maxWebSocketConnections\":20000,"
                  "\"dataSource\":{\"redis\":{\"zhycit\":{\"uri\":\"127.0.0.1:6379\"}}},"
                  "\"sslCertPath\":\"/no/cert\",\"sslKeyPath\":\"/no/key\"}");

    (void)state;
    assert_int_equal(config->redis.kind, CONFIG_REDIS_TCP);
    assert_string_equal(config->redis.host, "127.0.0.1");
    assert_int_equal(config->redis.port, 6379);
    assert_string_equal(config->ssl_cert_path, "/no/cert");
    assert_has(warnings(), "keygen");
    config_free(config);
}

static void names_are_case_sensitive_and_a_slip_gets_a_hint(void **state)
{
    (void)state;
    refused("{\"socketport\":1}", "did you mean \"socketPort\"");
    refused("{\"SOCKETPORT\":1}", "did you mean \"socketPort\"");
    refused("{\"limits\":{\"brust\":1}}", "did you mean \"limits.burst\"");
    refused("{\"limits.burst\":1}", "limits.burst: found an unknown key");
    refused("{\"limits\":1}", "limits: found a number, allowed an object");
    refused("{\"limits\":{\"burst\":{\"x\":1}}}", "limits.burst");
    refused("{\"something\":1}", "something: found an unknown key");
    assert_lacks(errors(), "did you mean");
    refused("{\"a\\u001b[2J\\n\":1}", "a?[2J?"); /* no terminal is steered from a file */
}

static void every_problem_is_reported(void **state)
{
    (void)state;
    refused("{\"socketPort\":-1,\"workers\":33,\"x\":1,\"log\":{\"level\":\"loud\"},\"limits\":{"
            "\"burst\":1.5}}",
            "socketPort: found -1, allowed a whole number from 0 to 65535");
    assert_has(errors(), "workers: found 33");
    assert_has(errors(), "x: found an unknown key");
    assert_has(errors(), "log.level: found \"loud\", allowed debug, info, warn or error");
    assert_has(errors(), "limits.burst: found 1.5");
}

struct
try {
    const char *key, *value;
    bool good;
};

static void strings_keep_their_rules(void **state)
{
    static const struct try tries[] = {
        { "listen", "127.0.0.1", true },
        { "listen", "::", true },
        { "listen", "localhost", true },
        { "listen", "", false },
        { "listen", "example.org", false },
        { "listen", "1.2.3", false },
        { "listen", "[::1]", false },
        { "redis.prefix", "x", true },
        { "redis.prefix", "", false },
        { "redis.prefix", "a{b", false },
        { "redis.prefix", "a}b", false },
        { "redis.prefix", "a b", false },
        { "redis.prefix", "1234567890123456789012345678901234567890123456789012345678901234",
          true },
        { "redis.prefix", "12345678901234567890123456789012345678901234567890123456789012345",
          false },
        { "log.level", "debug", true },
        { "log.level", "Info", false },
        { "log.level", "", false },
        { "auth.cookie", "po_token", true },
        { "auth.cookie", "a=b", false },
        { "auth.cookie", "a b", false },
        { "node.id", "mail-1.example.org", true },
        { "node.id", "a/b", false },
        { "user", "nobody", true },
        { "user", "no such user", false },
        { "group", "no such group", false },
        { "auth.revoked", "absent.txt", false },
    };
    char text[2048], value[128];

    (void)state;
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        snprintf(value, sizeof value, "\"%s\"", tries[i].value);
        nest(tries[i].key, value, text);
        if (tries[i].good)
            config_free(load_good(text));
        else
            refused(text, tries[i].key);
    }
}

static void origins_are_exact(void **state)
{
    static const char *const good[] = { "https://a.example",       "http://localhost:3000",
                                        "https://[::1]:8443",      "app://x",
                                        "https://*.a.example",     "https://*.a.example:443",
                                        "http://*.localhost:3000", "chrome-extension://abcdefgh" };
    static const char *const bad[] = { "",
                                       "*",
                                       "null",
                                       "https://",
                                       "a.example",
                                       "https://a.example/",
                                       "https://a.example/x",
                                       "https://a.example:",
                                       "https://a.example:0",
                                       "https://a.example:65536",
                                       "https://A.example",
                                       "https://*.example",
                                       "https://*.example:8443",
                                       "https://*",
                                       "https://*.",
                                       "https://*..example",
                                       "https://*a.example",
                                       "https://a.*.example",
                                       "https://*.a.example/",
                                       "https://*.example.",
                                       "https://*.[::1]",
                                       "https://u@a.example",
                                       "https://a?b",
                                       "://a",
                                       "https://[::1",
                                       "1a://b" };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(check_origin(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(check_origin(bad[i]));
    refused("{\"auth\":{\"origins\":[\"https://a.example\",7]}}", "auth.origins");
    refused("{\"auth\":{\"origins\":[\"https://a.example/\"]}}", "auth.origins");
}

static void service_addresses_are_user_addresses_and_prefixes(void **state)
{
    static const char *const good[] = { "bot", "/service/*", "/service/erp/*", "a*" };
    static const char *const bad[] = { "",     "*",  "#group", "#*",     "$x",     "postmaster",
                                       "a*b*", "**", " a",     "a\x7f*", "/a /*/b" };
    struct config *config = load_good("{\"serviceAddresses\":[\"bot\",\"/service/*\"],\"sessions\":"
                                      "{\"serviceCredit\":5,\"perServiceAddress\":3}}");

    (void)state;
    assert_int_equal(config->service_addresses.count, 2);
    assert_string_equal(config->service_addresses.items[1], "/service/*");
    assert_int_equal(config->sessions.service_credit, 5);
    assert_int_equal(config->sessions.per_service, 3);
    config_free(config);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(check_pattern(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(check_pattern(bad[i]));
    refused("{\"serviceAddresses\":[\"*\"]}", "serviceAddresses");
}

static void mail_may_be_for_known_addresses_alone(void **state)
{
    struct config *config = load_good("{}");

    (void)state;
    assert_string_equal(config->mailbox.addresses, "any");
    assert_int_equal(config->mailbox.known_addresses.count, 0);
    config_free(config);
    config =
        load_good("{\"mailbox\":{\"addresses\":\"known\",\"knownAddresses\":[\"ann\",\"/b/*\"]}}");
    assert_string_equal(config->mailbox.addresses, "known");
    assert_true(config_covers(&config->mailbox.known_addresses, SLICE("ann")));
    assert_true(config_covers(&config->mailbox.known_addresses, SLICE("/b/1")));
    assert_false(config_covers(&config->mailbox.known_addresses, SLICE("anna")));
    config_free(config);
    refused("{\"mailbox\":{\"addresses\":\"some\"}}", "any or known");
    refused("{\"mailbox\":{\"knownAddresses\":[\"*\"]}}", "mailbox.knownAddresses");
    refused("{\"mailbox\":{\"knownAddresses\":[\"#all\"]}}", "mailbox.knownAddresses");
}

static void tokens_may_be_waived_on_loopback_only(void **state)
{
    static const struct try tries[] = {
        { "listen", "127.0.0.1", true },  { "listen", "127.9.9.9", true },
        { "listen", "::1", true },        { "listen", "localhost", true },
        { "listen", "0.0.0.0", false },   { "listen", "::", false },
        { "listen", "128.0.0.1", false }, { "listen", "::ffff:10.0.0.1", false },
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        snprintf(text, sizeof text, "{\"listen\":\"%s\",\"auth\":{\"required\":false}}",
                 tries[i].value);
        if (tries[i].good) {
            config_free(load_good(text));
            assert_lacks(warnings(), "keygen");
        } else {
            refused(text, "auth.required: found false");
        }
    }
    refused("{\"auth\":{\"required\":false}}", "auth.required: found false");
}

static void impossible_combinations_are_refused(void **state)
{
    (void)state;
    refused("{\"redis\":{\"reconnectMinMs\":11,\"reconnectMaxMs\":10}}", "redis.reconnectMinMs");
    config_free(load_good("{\"redis\":{\"reconnectMinMs\":10,\"reconnectMaxMs\":10}}"));
    refused("{\"sslPort\":7503}", "sslCertPath");
    refused("{\"sslPort\":7503,\"sslCertPath\":\"/no/cert\",\"sslKeyPath\":\"/no/key\"}",
            "/no/cert");
    assert_has(errors(), "/no/key");
    config_free(load_good("{\"sslCertPath\":\"/no/cert\"}")); /* without the port nothing is read */
    write_text("c.pem", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n");
    config_free(load_good("{\"sslPort\":7503,\"sslCertPath\":\"c.pem\",\"sslKeyPath\":\"c.pem\"}"));
    refused("{\"sslPort\":7502,\"sslCertPath\":\"c.pem\",\"sslKeyPath\":\"c.pem\"}", "sslPort");
    refused("{\"socketPort\":0}", "socketPort");
    config_free(load_good(
        "{\"socketPort\":0,\"sslPort\":7,\"sslCertPath\":\"c.pem\",\"sslKeyPath\":\"c.pem\"}"));
}

static void the_environment_overrides_and_is_named_in_errors(void **state)
{
    struct config *config;

    (void)state;
    setenv("POSTOFFICE_SOCKET_PORT", "8000", 1);
    setenv("POSTOFFICE_LIMITS_CONNECTIONS_PER_IP", "7", 1);
    setenv("POSTOFFICE_MAX_WEB_SOCKET_CONNECTIONS", "9", 1);
    setenv("POSTOFFICE_LISTEN", "::1", 1);
    setenv("POSTOFFICE_AUTH_REQUIRED", "false", 1);
    setenv("POSTOFFICE_AUTH_ORIGINS", "https://a.b, https://c.d", 1);
    setenv("POSTOFFICE_TEST_ANYTHING", "1", 1);
    setenv("POSTOFFICE_NO_SUCH", "1", 1);
    config = load_bytes("{\"socketPort\":1}", 16, true);
    assert_non_null(config);
    assert_int_equal(config->socket_port, 8000);
    assert_int_equal(config->limits.connections_per_ip, 7);
    assert_int_equal(config->connections_max, 9);
    assert_false(config->auth.required);
    assert_int_equal(config->auth.origins.count, 2);
    assert_string_equal(config->auth.origins.items[1], "https://c.d");
    assert_has(warnings(), "POSTOFFICE_NO_SUCH");
    assert_lacks(warnings(), "POSTOFFICE_TEST_ANYTHING");
    config_free(config);
    config = load_good("{\"socketPort\":1}"); /* and only when it is asked for */
    assert_int_equal(config->socket_port, 1);
    config_free(config);

    setenv("POSTOFFICE_SOCKET_PORT", "8000x", 1);
    setenv("POSTOFFICE_AUTH_REQUIRED", "no", 1);
    setenv("POSTOFFICE_AUTH_ORIGINS", "nonsense", 1);
    assert_null(load_bytes("{}", 2, true));
    assert_has(errors(), "POSTOFFICE_SOCKET_PORT: found \"8000x\", allowed a whole number");
    assert_has(errors(), "POSTOFFICE_AUTH_REQUIRED: found \"no\", allowed true or false");
    assert_has(errors(), "POSTOFFICE_AUTH_ORIGINS");
    assert_lines_whole();
    unsetenv("POSTOFFICE_SOCKET_PORT");
    unsetenv("POSTOFFICE_LIMITS_CONNECTIONS_PER_IP");
    unsetenv("POSTOFFICE_MAX_WEB_SOCKET_CONNECTIONS");
    unsetenv("POSTOFFICE_LISTEN");
    unsetenv("POSTOFFICE_AUTH_REQUIRED");
    unsetenv("POSTOFFICE_AUTH_ORIGINS");
    unsetenv("POSTOFFICE_NO_SUCH");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_has_its_bounds),
        cmocka_unit_test(every_key_refuses_every_other_type),
        cmocka_unit_test(every_number_is_whole_and_exact),
        cmocka_unit_test(no_string_holds_control_characters_or_is_endless),
        cmocka_unit_test(the_defaults_are_the_documented_ones),
        cmocka_unit_test(the_seeds_keys_alone_are_enough),
        cmocka_unit_test(names_are_case_sensitive_and_a_slip_gets_a_hint),
        cmocka_unit_test(every_problem_is_reported),
        cmocka_unit_test(strings_keep_their_rules),
        cmocka_unit_test(origins_are_exact),
        cmocka_unit_test(service_addresses_are_user_addresses_and_prefixes),
        cmocka_unit_test(mail_may_be_for_known_addresses_alone),
        cmocka_unit_test(tokens_may_be_waived_on_loopback_only),
        cmocka_unit_test(impossible_combinations_are_refused),
        cmocka_unit_test(the_environment_overrides_and_is_named_in_errors),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
