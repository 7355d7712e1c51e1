/* Key files, and the two subcommands over a real folder and a real configuration. */
#include "common/base64.h"
#include "config/config.h"
#include "master/cmd_keygen.h"
#include "master/cmd_token.h"
#include "master/keyfile.h"
#include "worker/token/token.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/po_keyfile_XXXXXX";
static char keys[64], config_path[64], out_path[64], err_path[64];

static void remove_all(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
            unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    if (dir)
        closedir(dir);
    rmdir(path);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int setup(void **state)
{
    (void)state;
    memcpy(folder, "/tmp/po_keyfile_XXXXXX", sizeof folder);
    assert_non_null(mkdtemp(folder));
    assert_int_equal(token_init(), OK);
    snprintf(keys, sizeof keys, "%s/keys", folder);
    snprintf(config_path, sizeof config_path, "%s/config.json", folder);
    snprintf(out_path, sizeof out_path, "%s/out", folder);
    snprintf(err_path, sizeof err_path, "%s/err", folder);
    write_text(config_path, "{\"socketPort\": 7502, \"auth\": {\"audience\": \"po\"}}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_all(keys);
    remove_all(folder);
    return 0;
}

static void read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = 0;
    fclose(file);
}

/* What a subcommand said, and its exit status. */
struct run {
    int status;
    char out[8192], err[8192];
};

/* Standard streams become files for the call: the subcommands are run as the main program runs
 * them. */
static struct run run(int (*command)(int, char **), const char *input, const char *const *words)
{
    int saved[3] = { dup(0), dup(1), dup(2) };
    char *argv[24];
    struct run result;
    int argc = 0;

    while (words[argc]) {
        argv[argc] = strdup(words[argc]);
        argc++;
    }
    argv[argc] = NULL;
    write_text(out_path, "");
    write_text(err_path, input ? input : "");
    fflush(NULL);
    assert_non_null(freopen(err_path, "r", stdin));
    unlink(err_path);
    assert_int_equal(dup2(open(out_path, O_WRONLY | O_TRUNC), 1), 1);
    assert_int_equal(dup2(open(err_path, O_WRONLY | O_CREAT, 0600), 2), 2);
    result.status = command(argc, argv);
    fflush(NULL);
    for (int fd = 0; fd < 3; fd++) {
        dup2(saved[fd], fd);
        close(saved[fd]);
    }
    read_text(out_path, result.out, sizeof result.out);
    read_text(err_path, result.err, sizeof result.err);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return result;
}
#define RUN(command, input, ...) run(command, input, (const char *const[]){ __VA_ARGS__, NULL })

static mode_t mode_of(const char *name)
{
    char path[160];
    struct stat status;

    snprintf(path, sizeof path, "%s/%s", keys, name);
    return stat(path, &status) == 0 ? status.st_mode & 07777 : 0;
}

static void a_kid_is_a_plain_name(void **state)
{
    static const char *const wrong[] = { "",    ".",   "..",  ".k",       "../k",
                                         "a/b", "a b", "k\n", "\xc3\xa9", "k*" };
    char longest[KEYFILE_KID_SIZE + 1] = "";
    char kid[KEYFILE_KID_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(keyfile_kid_valid(wrong[i]));
    memset(longest, 'k', KEYFILE_KID_SIZE);
    assert_false(keyfile_kid_valid(longest));
    assert_true(keyfile_kid_valid(longest + 1));
    assert_true(keyfile_kid_valid("key-1_A.b"));
    keyfile_kid_new(1790000000, kid);
    assert_true(keyfile_kid_valid(kid));
    assert_memory_equal(kid, "key-20260921-", 13);
    assert_int_equal(strlen(kid), 17);
}

static void an_ed25519_key_is_two_files_that_belong_together(void **state)
{
    char text[128];
    uint8_t public_key[32], made[32];
    size_t len;
    struct keyfile key;
    struct run done;

    (void)state;
    umask(077); /* the public half must be readable all the same */
    done = RUN(cmd_keygen, NULL, "keygen", "--dir", keys, "--kid", "k1");
    umask(022);
    assert_int_equal(done.status, 0);
    assert_int_equal(mode_of("k1.pub"), 0644);
    assert_int_equal(mode_of("k1.key"), 0600);
    snprintf(text, sizeof text, "%s/k1.key", keys);
    assert_int_equal(keyfile_read(text, &key), OK);
    assert_string_equal(key.kid, "k1");
    assert_int_equal(token_public_of_seed(key.bytes, made), OK);
    snprintf(text, sizeof text, "%s/k1.pub", keys);
    read_text(text, text, sizeof text);
    assert_true(base64_decode(slice_make(text, strcspn(text, "\n")), public_key, 32, &len));
    assert_memory_equal(made, public_key, 32);
    assert_non_null(strstr(done.out, "k1.pub"));
}

static void a_key_is_never_written_over(void **state)
{
    char path[128], before[128], after[128];

    (void)state;
    assert_int_equal(RUN(cmd_keygen, NULL, "keygen", "--dir", keys, "--kid", "k1").status, 0);
    snprintf(path, sizeof path, "%s/k1.key", keys);
    read_text(path, before, sizeof before);
    assert_int_equal(RUN(cmd_keygen, NULL, "keygen", "--dir", keys, "--kid", "k1").status, 1);
    assert_int_equal(
        RUN(cmd_keygen, NULL, "keygen", "--dir", keys, "--kid", "k1", "--kty", "hmac").status, 1);
    assert_int_equal(mode_of("k1.secret"), 0);
    read_text(path, after, sizeof after);
    assert_string_equal(before, after);
    assert_int_equal(unlink(path), 0); /* a lone public half is somebody's key as well */
    assert_int_equal(RUN(cmd_keygen, NULL, "keygen", "--dir", keys, "--kid", "k1").status, 1);
}

static void what_is_no_key_is_not_read(void **state)
{
    static const char *const texts[] = { "",
                                         "\n",
                                         "AAAA\n",
                                         "not base64 at all",
                                         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" };
    struct keyfile key;
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        snprintf(path, sizeof path, "%s/x.key", folder);
        write_text(path, texts[i]);
        assert_int_equal(keyfile_read(path, &key), ERR_BAD);
    }
    write_text(path, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= \r\n");
    assert_int_equal(keyfile_read(path, &key), OK);
    snprintf(path, sizeof path, "%s/x.pub", folder);
    assert_int_equal(keyfile_read(path, &key), ERR_BAD);
    snprintf(path, sizeof path, "%s/absent.key", folder);
    assert_int_equal(keyfile_read(path, &key), ERR_SYSTEM);
}

static void the_newest_key_is_found(void **state)
{
    static const char *const names[] = { "b.key", "a.secret", "z.pub", ".hidden.key", "c.txt" };
    char name[KEYFILE_NAME_SIZE], path[256];

    (void)state;
    assert_int_equal(keyfile_newest(keys, NULL, false, name), ERR_ABSENT);
    assert_int_equal(mkdir(keys, 0700), 0);
    assert_int_equal(keyfile_newest(keys, NULL, false, name), ERR_ABSENT);
    for (size_t i = 0; i < 5; i++) {
        struct timespec times[2] = { { 1000 + (time_t)i, 0 }, { 1000 + (time_t)i, 0 } };
        snprintf(path, sizeof path, "%s/%s", keys, names[i]);
        write_text(path, "x");
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    assert_int_equal(keyfile_newest(keys, NULL, false, name), OK);
    assert_string_equal(name, "a.secret");
    assert_int_equal(keyfile_newest(keys, NULL, true, name), OK);
    assert_string_equal(name, "b.key");
    assert_int_equal(keyfile_newest(keys, "b", false, name), OK);
    assert_string_equal(name, "b.key");
    assert_int_equal(keyfile_newest(keys, "z", false, name), ERR_ABSENT);
}

static void a_token_made_here_is_good_here(void **state)
{
    static const char *const ktys[] = { "ed25519", "hmac" };
    static const char *const formats[] = { "jwt", "paseto" };
    struct run made, judged;

    (void)state;
    for (int k = 0; k < 2; k++) {
        made = RUN(cmd_keygen, NULL, "keygen", "--config", config_path, "--kty", ktys[k], "--kid",
                   ktys[k]);
        assert_int_equal(made.status, 0);
        for (int f = 0; f < 2 - k; f++) { /* a PASETO needs the Ed25519 key */
            made =
                RUN(cmd_token, NULL, "token", "issue", "--sub", "alice", "--config", config_path,
                    "--kid", ktys[k], "--format", formats[f], "--group", "#team", "--jti", "j-1");
            assert_int_equal(made.status, 0);
            judged = RUN(cmd_token, made.out, "token", "verify", "-", "--config", config_path);
            assert_int_equal(judged.status, 0);
            assert_non_null(strstr(judged.out, "\"sub\":\"alice\",\"jti\":\"j-1\",\"exp\":"));
            assert_non_null(strstr(judged.out, "\"groups\":[\"#team\"]"));
            made.out[strcspn(made.out, "\n")] = 0;
            judged = RUN(cmd_token, NULL, "token", "verify", made.out, "--config", config_path);
            assert_int_equal(judged.status, 0);
            assert_null(strstr(judged.out, made.out));
            made.out[20] = '!';
            judged = RUN(cmd_token, made.out, "token", "verify", "--config", config_path);
            assert_int_equal(judged.status, 1);
            assert_string_equal(judged.err, "token verify: token malformed\n");
        }
    }
}

static void keygen_finds_a_free_name_itself(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(RUN(cmd_keygen, NULL, "keygen", "--config", config_path).status, 0);
}

static void a_token_can_be_made_from_a_key_file_alone(void **state)
{
    char path[128];
    struct run made;

    (void)state;
    RUN(cmd_keygen, NULL, "keygen", "--dir", keys, "--kid", "k1");
    snprintf(path, sizeof path, "%s/k1.key", keys);
    made = RUN(cmd_token, NULL, "token", "issue", "--sub", "bot", "--aud", "po", "--key", path);
    assert_int_equal(made.status, 0);
    assert_int_equal(RUN(cmd_token, made.out, "token", "verify", "--config", config_path).status,
                     0);
    made = RUN(cmd_token, NULL, "token", "issue", "--sub", "bot", "--key", path);
    assert_int_equal(RUN(cmd_token, made.out, "token", "verify", "--config", config_path).status,
                     1);
    made = RUN(cmd_token, NULL, "token", "issue", "--sub", "bot", "--unending", "--config",
               config_path);
    assert_int_equal(made.status, 0);
    assert_int_equal(RUN(cmd_token, made.out, "token", "verify", "--config", config_path).status,
                     1);
}

static void wrong_usage_is_2_and_trouble_is_1(void **state)
{
    char absent[128];

    (void)state;
    snprintf(absent, sizeof absent, "%s/absent.json", folder);
    assert_int_equal(RUN(cmd_token, NULL, "token").status, 2);
    assert_int_equal(RUN(cmd_token, NULL, "token", "mint").status, 2);
    assert_int_equal(RUN(cmd_token, NULL, "token", "issue").status, 2);
    assert_int_equal(RUN(cmd_token, NULL, "token", "issue", "--sub", "a", "--ttl", "1h").status, 2);
    assert_int_equal(RUN(cmd_token, NULL, "token", "issue", "--sub", "a", "--ttl", "0").status, 2);
    assert_int_equal(RUN(cmd_token, NULL, "token", "issue", "--sub", "a", "--nonsense").status, 2);
    assert_int_equal(
        RUN(cmd_token, NULL, "token", "issue", "--sub", "a", "--config", absent).status, 2);
    assert_int_equal(
        RUN(cmd_token, NULL, "token", "issue", "--sub", "a", "--config", config_path).status, 1);
    assert_int_equal(RUN(cmd_token, NULL, "token", "verify", "a", "b").status, 2);
    assert_int_equal(RUN(cmd_token, NULL, "token", "verify", "a", "--config", absent).status, 2);
    assert_int_equal(RUN(cmd_keygen, NULL, "keygen", "surplus").status, 2);
    assert_int_equal(RUN(cmd_keygen, NULL, "keygen", "--kty", "rsa").status, 2);
    assert_int_equal(RUN(cmd_keygen, NULL, "keygen", "--kid", "../k").status, 2);
    assert_int_equal(RUN(cmd_keygen, NULL, "keygen", "--config", absent).status, 2);
    assert_int_equal(RUN(cmd_keygen, NULL, "keygen", "--dir", config_path).status, 1);
    assert_int_equal(RUN(cmd_keygen, NULL, "keygen", "--help").status, 0);
    assert_int_equal(RUN(cmd_token, NULL, "token", "--help").status, 0);
    assert_int_equal(RUN(cmd_token, NULL, "token", "issue", "--help").status, 0);
    assert_int_equal(RUN(cmd_token, NULL, "token", "verify", "--help").status, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_kid_is_a_plain_name),
        TEST(an_ed25519_key_is_two_files_that_belong_together),
        TEST(a_key_is_never_written_over),
        TEST(what_is_no_key_is_not_read),
        TEST(the_newest_key_is_found),
        TEST(a_token_made_here_is_good_here),
        TEST(keygen_finds_a_free_name_itself),
        TEST(a_token_can_be_made_from_a_key_file_alone),
        TEST(wrong_usage_is_2_and_trouble_is_1),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
