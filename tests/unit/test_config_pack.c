/* What is done with a whole config: pack, compare, reload. */
#include "config_fixture.h"

#include "config/changes.h"
#include "config/keys.h"
#include "config/value.h"

static const char full[] =
    "{\"workers\":3,\"listen\":\"127.0.0.1\",\"dataSource\":{\"redis\":{\"x\":{\"uri\":"
    "\"redis://me:hunter2@h:7/2\"}}},\"auth\":{\"required\":false,\"origins\":[\"https://"
    "a.b\",\"http://c\"],"
    "\"revoked\":\"gone.txt\"},\"limits\":{\"burst\":9},\"log\":{\"level\":\"warn\"}}";

static struct config *load_full(void)
{
    make_folder("keys");
    write_text("keys/a.pub", B32);
    write_text("keys/b.secret", B32_OTHER);
    write_text("gone.txt", "j1\nj2\n");
    return load_good(full);
}

static void a_packed_config_comes_back_the_same(void **state)
{
    struct config *config = load_full(), *back;
    struct buf packed, again;

    (void)state;
    assert_lacks(warnings(), "hunter2");
    buf_init(&packed, 1 << 20);
    buf_init(&again, 1 << 20);
    assert_int_equal(config_pack(config, &packed), OK);
    back = config_unpack(buf_slice(&packed));
    assert_non_null(back);
    assert_int_equal(config_diff(config, back, NULL, 0), 0);
    assert_int_equal(config_pack(back, &again), OK);
    assert_true(slice_equal(buf_slice(&packed), buf_slice(&again)));
    assert_string_equal(back->redis.password, "hunter2");
    assert_string_equal(back->auth.origins.items[1], "http://c");
    assert_string_equal(back->auth.revoked.items[1], "j2");
    assert_string_equal(back->auth.keys[1].kid, "b");
    assert_memory_equal(back->auth.keys[1].bytes, config->auth.keys[1].bytes, 32);
    assert_string_equal(back->dir, folder);
    assert_false(back->auth.required);
    config_free(back);
    config_free(config);
    buf_fini(&packed);
    buf_fini(&again);
}

/* No prefix is a config, nor is one with a byte more; a changed byte is refused or gives a config
 * that packs to those very bytes. */
static void damaged_bytes_are_refused_or_harmless(void **state)
{
    struct config *config = load_full(), *back;
    struct buf packed, again;

    (void)state;
    buf_init(&packed, 1 << 20);
    buf_init(&again, 1 << 20);
    assert_int_equal(config_pack(config, &packed), OK);
    config_free(config);
    for (size_t len = 0; len < packed.len; len++) {
        char *exact = malloc(len ? len : 1);
        memcpy(exact, packed.data, len);
        assert_null(config_unpack(slice_make(exact, len)));
        free(exact);
    }
    for (size_t at = 0; at < packed.len; at++) {
        packed.data[at] = (char)(packed.data[at] ^ 0x81);
        back = config_unpack(buf_slice(&packed));
        if (back) {
            buf_reset(&again);
            assert_int_equal(config_pack(back, &again), OK);
            assert_true(slice_equal(buf_slice(&packed), buf_slice(&again)));
            config_free(back);
        }
        packed.data[at] = (char)(packed.data[at] ^ 0x81);
    }
    buf_add_char(&packed, 0);
    assert_null(config_unpack(buf_slice(&packed)));
    buf_fini(&packed);
    buf_fini(&again);
}

static void a_pack_that_does_not_fit_says_so(void **state)
{
    struct config *config = load_good("{}");
    struct buf small;

    (void)state;
    buf_init(&small, 64);
    assert_int_equal(config_pack(config, &small), ERR_FULL);
    buf_fini(&small);
    config_free(config);
}

/* One key at a time, from the table: the change is named once, with how it applies. */
static void each_changed_key_is_named_alone(void **state)
{
    struct config *before = load_full(), *after;
    struct config_change change;
    struct buf packed;

    (void)state;
    buf_init(&packed, 1 << 20);
    assert_int_equal(config_pack(before, &packed), OK);
    for (size_t i = 0; i < config_key_rows; i++) {
        const struct key *key = &config_keys[i];
        if (!key->name || (key->type != KEY_INT && key->type != KEY_BOOL && key->type != KEY_TEXT))
            continue;
        after = config_unpack(buf_slice(&packed));
        assert_non_null(after);
        if (key->type == KEY_INT)
            *(int64_t *)key_field(key, after) += 1;
        else if (key->type == KEY_BOOL)
            *(bool *)key_field(key, after) ^= true;
        else {
            char **text = key_field(key, after);
            free(*text);
            *text = strdup("changed");
        }
        assert_int_equal(config_diff(before, after, &change, 1), 1);
        assert_string_equal(change.key, key->name);
        assert_int_equal(change.apply, key->apply);
        config_free(after);
    }
    buf_fini(&packed);
    config_free(before);
}

static void changed_files_count_as_the_keys_that_name_them(void **state)
{
    struct config *before = load_full(), *after;
    struct config_change changes[4];

    (void)state;
    write_text("keys/a.pub", B32_OTHER);
    write_text("gone.txt", "j1\nj3\n");
    after = load_good(full);
    assert_int_equal(config_diff(before, after, changes, 4), 2);
    assert_string_equal(changes[0].key, "auth.keyDir");
    assert_string_equal(changes[1].key, "auth.revoked");
    assert_int_equal(changes[0].apply, CONFIG_LIVE);
    assert_int_equal(config_diff(before, after, changes, 1), 2); /* counts past max */
    config_free(after);
    after = load_good("{}");
    assert_true(config_diff(before, after, changes, 4) > 4);
    config_free(after);
    config_free(before);
}

static void a_reload_keeps_what_needs_a_restart(void **state)
{
    struct config *before =
        load_good("{\"socketPort\":1,\"pidFile\":\"p\",\"node\":{\"id\":\"n\"}}");
    struct config *after =
        load_good("{\"socketPort\":2,\"workers\":4,\"redis\":{\"prefix\":\"x:\"},"
                  "\"limits\":{\"burst\":5}}");
    struct config *now = config_reloaded(before, after);

    (void)state;
    assert_non_null(now);
    assert_int_equal(now->socket_port, 1);
    assert_string_equal(now->pid_file, "p");
    assert_string_equal(now->node_id, "n");
    assert_int_equal(now->workers, 4);
    assert_string_equal(now->redis_options.prefix, "x:");
    assert_int_equal(now->limits.burst, 5);
    config_free(now);
    config_free(after);
    config_free(before);
}

/* auth.required false came with a loopback listen, which a reload does not apply. */
static void a_reload_never_waives_tokens_on_an_open_port(void **state)
{
    struct config *before = load_good("{}");
    struct config *after = load_good("{\"listen\":\"127.0.0.1\",\"auth\":{\"required\":false}}");
    struct config *now = config_reloaded(before, after);

    (void)state;
    assert_non_null(now);
    assert_string_equal(now->listen.items[0], "0.0.0.0");
    assert_true(now->auth.required);
    config_free(now);
    now = config_reloaded(after, after);
    assert_non_null(now);
    assert_false(now->auth.required);
    config_free(now);
    config_free(after);
    config_free(before);
}

/* The keys among the changed ones that wait for a restart. */
static size_t waiting(const struct config *before, const struct config *after, const char *keys[4])
{
    struct config_change changes[16];
    size_t count = 0, changed = config_diff(before, after, changes, 16);

    for (size_t i = 0; i < changed && i < 16; i++)
        if (changes[i].apply == CONFIG_RESTART && count < 4)
            keys[count++] = changes[i].key;
    return count;
}

/* The server keeps the old value, so the key waits until the restart, over further reloads. */
static void keys_that_wait_for_a_restart_are_named(void **state)
{
    struct config *before = load_good("{\"socketPort\":1,\"user\":\"nobody\",\"workers\":1}");
    struct config *after = load_good("{\"socketPort\":2,\"workers\":4,\"listen\":\"::1\","
                                     "\"redis\":{\"prefix\":\"x:\"}}");
    struct config *now = config_reloaded(before, after);
    const char *keys[4] = { "", "", "", "" };
    struct buf value;

    (void)state;
    assert_non_null(now);
    assert_int_equal(waiting(before, before, keys), 0);
    assert_int_equal(waiting(before, after, keys), 3);
    assert_string_equal(keys[0], "socketPort");
    assert_string_equal(keys[1], "listen");
    assert_string_equal(keys[2], "user");
    assert_int_equal(waiting(now, after, keys), 3);
    assert_int_equal(waiting(now, before, keys), 0);
    keys[0] = "socketPort";
    buf_init(&value, 100);
    assert_true(config_value(now, keys[0], &value));
    assert_string_equal(buf_text(&value), "1");
    buf_fini(&value);
    config_free(now);
    config_free(after);
    config_free(before);
}

static const char *value_of(const struct config *config, const char *key, struct buf *out)
{
    buf_reset(out);
    return config_value(config, key, out) ? buf_text(out) : NULL;
}

static void a_value_is_told_as_json_and_without_a_password(void **state)
{
    struct config *config = load_full();
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    assert_string_equal(value_of(config, "workers", &out), "3");
    assert_string_equal(value_of(config, "limits.messageBytes", &out), "1048576");
    assert_string_equal(value_of(config, "auth.required", &out), "false");
    assert_string_equal(value_of(config, "log.level", &out), "\"warn\"");
    assert_string_equal(value_of(config, "auth.origins", &out), "[\"https://a.b\", \"http://c\"]");
    assert_string_equal(value_of(config, "dataSource.redis", &out), "\"redis://h:7/2\"");
    assert_null(value_of(config, "auth.keys", &out));
    assert_null(value_of(config, "limits", &out));
    assert_null(value_of(config, "", &out));
    buf_fini(&out);
    config_free(config);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_packed_config_comes_back_the_same),
        TEST(damaged_bytes_are_refused_or_harmless),
        TEST(a_pack_that_does_not_fit_says_so),
        TEST(each_changed_key_is_named_alone),
        TEST(changed_files_count_as_the_keys_that_name_them),
        TEST(a_reload_keeps_what_needs_a_restart),
        TEST(a_reload_never_waives_tokens_on_an_open_port),
        TEST(keys_that_wait_for_a_restart_are_named),
        TEST(a_value_is_told_as_json_and_without_a_password),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
