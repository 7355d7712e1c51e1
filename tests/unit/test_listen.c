#include "config_fixture.h"

#include "config/listen.h"

static void an_item_is_an_address_with_a_port_or_not(void **state)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool v6;
    } rows[] = {
        { "0.0.0.0", "0.0.0.0", 0, false },
        { "::", "::", 0, true },
        { "localhost", "127.0.0.1", 0, false },
        { "127.0.0.1:7502", "127.0.0.1", 7502, false },
        { "localhost:1", "127.0.0.1", 1, false },
        { "[::]:65535", "::", 65535, true },
        { "[2001:db8::1]:80", "2001:db8::1", 80, true },
        { "::1:7502", "::1:7502", 0, true }, /* without brackets no port can be told */
    };
    struct listen_item item;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(listen_parse(rows[i].text, &item));
        assert_false(item.is_unix);
        assert_string_equal(item.host, rows[i].host);
        assert_int_equal(item.port, rows[i].port);
        assert_int_equal(item.is_v6, rows[i].v6);
    }
}

static void an_item_is_a_unix_socket_with_mode_and_group(void **state)
{
    static const struct {
        const char *text, *path, *group;
        uint32_t mode;
    } rows[] = {
        { "unix:/run/x.sock", "/run/x.sock", "", 0660 },
        { "unix:/x?mode=0600", "/x", "", 0600 },
        { "unix:/x?mode=666", "/x", "", 0666 },
        { "unix:/x?group=www-data", "/x", "www-data", 0660 },
        { "unix:/x?mode=0640&group=www-data", "/x", "www-data", 0640 },
        { "unix:/x?group=a&mode=0777", "/x", "a", 0777 },
    };
    struct listen_item item;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(listen_parse(rows[i].text, &item));
        assert_true(item.is_unix);
        assert_string_equal(item.path, rows[i].path);
        assert_string_equal(item.group, rows[i].group);
        assert_int_equal(item.mode, rows[i].mode);
    }
}

static void a_malformed_item_is_an_error_that_names_it(void **state)
{
    static const char *const items[] = { "",
                                         "example.org",
                                         "example.org:80",
                                         "1.2.3",
                                         "1.2.3.4:",
                                         "1.2.3.4:0",
                                         "1.2.3.4:080",
                                         "1.2.3.4:65536",
                                         "1.2.3.4:80a",
                                         "1.2.3.4:80:80",
                                         ":80",
                                         "[::1]",
                                         "[::1]:",
                                         "[::1",
                                         "[1.2.3.4]:80",
                                         "[]:80",
                                         "unix:",
                                         "unix:relative.sock",
                                         "unix:/",
                                         "unix:/folder/",
                                         "unix:/x?",
                                         "unix:/x?mode=",
                                         "unix:/x?mode=8",
                                         "unix:/x?mode=0999",
                                         "unix:/x?mode=4755",
                                         "unix:/x?mode=00660",
                                         "unix:/x?group=",
                                         "unix:/x?group=a&group=b",
                                         "unix:/x?group=a&",
                                         "unix:/x?user=a",
                                         "tcp://0.0.0.0:80" };
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        snprintf(text, sizeof text, "{\"listen\":[\"127.0.0.1\",\"%s\"]}", items[i]);
        refused(text, "listen[1]: found \"");
        assert_has(errors(), items[i]);
        assert_has(errors(),
                   "allowed a string, or a list of strings, each an IPv4 or IPv6 address");
    }
    snprintf(text, sizeof text, "{\"listen\":\"unix:/%0*d\"}", LISTEN_PATH_MAX, 0);
    refused(text, "listen: found \"unix:/0000");
    refused("{\"listen\":[]}", "listen: found an empty list, allowed");
    refused("{\"listen\":[7502]}", "listen[0]: found a number, allowed");
    refused("{\"listen\":7502}", "listen: found a number, allowed");
    refused("{\"listen\":[\"unix:/x?group=no-such-group\"]}", "listen: found \"unix:/x?group=no-");
    refused("{\"socketPort\":80,\"listen\":[\"127.0.0.1\",\"localhost:80\"]}",
            "listen: found \"localhost:80\", which is listed already");
    refused("{\"listen\":[\"unix:/x\",\"unix:/x?mode=0600\"]}", "which is listed already");
    refused("{\"listen\":[\"127.0.0.1:1\",\"127.0.0.1:2\",\"127.0.0.1:3\",\"127.0.0.1:4\","
            "\"127.0.0.1:5\",\"127.0.0.1:6\",\"127.0.0.1:7\",\"127.0.0.1:8\",\"127.0.0.1:9\","
            "\"127.0.0.1:10\",\"127.0.0.1:11\",\"127.0.0.1:12\",\"127.0.0.1:13\","
            "\"127.0.0.1:14\",\"127.0.0.1:15\",\"127.0.0.1:16\",\"127.0.0.1:17\"]}",
            "listen[16]: found too many, allowed 16");
}

static void tokens_may_be_waived_only_when_every_item_is_local(void **state)
{
    (void)state;
    config_free(load_good("{\"listen\":[\"127.0.0.1:80\",\"[::1]:80\",\"unix:/x\",\"localhost\"],"
                          "\"auth\":{\"required\":false}}"));
    refused("{\"listen\":[\"127.0.0.1:80\",\"[::]:81\"],\"auth\":{\"required\":false}}",
            "auth.required: found false");
    refused("{\"listen\":[\"unix:/x\",\"10.0.0.1\"],\"auth\":{\"required\":false}}",
            "auth.required: found false");
}

static void lists_have_defaults_and_a_lone_string_is_a_list_of_one(void **state)
{
    struct config *config = load_good("{}");

    (void)state;
    assert_int_equal(config->paths.count, 2);
    assert_string_equal(config->paths.items[0], "/");
    assert_string_equal(config->paths.items[1], "/ws");
    assert_string_equal(config->health_path, "/healthz");
    assert_int_equal(config->trusted_proxies.count, 0);
    config_free(config);
    config =
        load_good("{\"path\":\"/live/*\",\"trustedProxies\":\"10.0.0.0/8\",\"healthPath\":\"\"}");
    assert_int_equal(config->paths.count, 1);
    assert_string_equal(config->paths.items[0], "/live/*");
    assert_int_equal(config->trusted_proxies.count, 1);
    config_free(config);
}

static void paths_and_proxies_keep_their_rules(void **state)
{
    static const char *const paths[] = { "",      "ws",   "/w s",      "/ws?x",
                                         "/ws#x", "/*/x", "/\xc3\xbc", "*" };
    static const char *const networks[] = { "", "10.0.0.1/8", "localhost", "unix:/x",
                                            "10.0.0.0/33" };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        snprintf(text, sizeof text, "{\"path\":[\"%s\"]}", paths[i]);
        refused(text, "path[0]: found \"");
        snprintf(text, sizeof text, "{\"healthPath\":\"%s\"}", paths[i]);
        if (*paths[i])
            refused(text, "healthPath: found \"");
    }
    refused("{\"path\":[]}", "path: found an empty list");
    refused("{\"healthPath\":\"/h*\"}", "healthPath: found \"/h*\", allowed empty, or a path");
    refused("{\"path\":[\"/a\"],\"healthPath\":\"/a\"}",
            "healthPath: found \"/a\", which path serves");
    config_free(load_good("{\"path\":[\"/*\"],\"healthPath\":\"/a\"}"));
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        snprintf(text, sizeof text, "{\"trustedProxies\":[\"%s\"]}", networks[i]);
        refused(text, "trustedProxies[0]: found \"");
    }
    config_free(load_good("{\"trustedProxies\":[\"10.0.0.0/8\",\"::1\",\"unix\"],"
                          "\"proxyProtocol\":\"required\"}"));
    refused("{\"proxyProtocol\":\"required\"}",
            "proxyProtocol: found required without trustedProxies");
    refused("{\"proxyProtocol\":\"on\"}", "proxyProtocol: found \"on\", allowed off or required");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_is_an_address_with_a_port_or_not),
        cmocka_unit_test(an_item_is_a_unix_socket_with_mode_and_group),
        cmocka_unit_test(a_malformed_item_is_an_error_that_names_it),
        cmocka_unit_test(tokens_may_be_waived_only_when_every_item_is_local),
        cmocka_unit_test(lists_have_defaults_and_a_lone_string_is_a_list_of_one),
        cmocka_unit_test(paths_and_proxies_keep_their_rules),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
