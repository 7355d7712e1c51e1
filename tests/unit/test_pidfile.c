#include "master/pidfile.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/po-pidfile-XXXXXX";
static char path[64], other[64], why[256];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/server.pid", dir);
    snprintf(other, sizeof other, "%s/other", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(dir);
}

static void write_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void assert_file(const char *name, const char *text)
{
    char got[64] = "";
    int fd = open(name, O_RDONLY);

    assert_true(fd >= 0);
    assert_true(read(fd, got, sizeof got - 1) >= 0);
    close(fd);
    assert_string_equal(got, text);
}

static void it_names_us_while_we_hold_it_and_is_gone_after(void **state)
{
    struct pidfile pidfile;
    struct stat stat_buf;
    pid_t pid;

    (void)state;
    assert_int_equal(pidfile_read(path, &pid), ERR_ABSENT);
    assert_int_equal(pidfile_take(&pidfile, path, why, sizeof why), OK);
    assert_int_equal(pidfile_read(path, &pid), OK);
    assert_int_equal(pid, getpid());
    assert_int_equal(fcntl(pidfile.fd, F_GETFD), FD_CLOEXEC);
    pidfile_leave(&pidfile);
    assert_int_not_equal(stat(path, &stat_buf), 0);
    pidfile_leave(&pidfile); /* again is harmless */
}

static void two_servers_cannot_share_it(void **state)
{
    struct pidfile first, second;

    (void)state;
    assert_int_equal(pidfile_take(&first, path, why, sizeof why), OK);
    assert_int_equal(pidfile_take(&second, path, why, sizeof why), ERR_EXISTS);
    assert_non_null(strstr(why, path));
    pidfile_leave(&second);
    assert_int_equal(pidfile_take(&second, path, why, sizeof why), ERR_EXISTS);
    pidfile_leave(&first);
    assert_int_equal(pidfile_take(&second, path, why, sizeof why), OK);
    pidfile_leave(&second);
}

/* A number left by a dead server, here even that of a living process, is not taken for a server. */
static void a_stale_one_is_told_apart_and_taken_over(void **state)
{
    struct pidfile pidfile;
    char text[16];
    pid_t pid;

    (void)state;
    snprintf(text, sizeof text, "%d\n", (int)getppid());
    write_file(path, text);
    assert_int_equal(pidfile_read(path, &pid), ERR_DOWN);
    assert_int_equal(pidfile_take(&pidfile, path, why, sizeof why), OK);
    assert_int_equal(pidfile_read(path, &pid), OK);
    assert_int_equal(pid, getpid());
    pidfile_leave(&pidfile);
}

static void a_killed_server_leaves_no_lock(void **state)
{
    int ready[2];
    char byte;
    pid_t child, pid;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        struct pidfile pidfile;
        if (pidfile_take(&pidfile, path, why, sizeof why) == OK && write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(pidfile_read(path, &pid), OK);
    assert_int_equal(pid, child);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(pidfile_read(path, &pid), ERR_DOWN);
    unlink(path);
    close(ready[0]);
    close(ready[1]);
}

static void a_symbolic_link_is_not_followed(void **state)
{
    struct pidfile pidfile;
    pid_t pid;

    (void)state;
    write_file(other, "");
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(pidfile_take(&pidfile, path, why, sizeof why), ERR_BAD);
    assert_int_equal(pidfile_read(path, &pid), ERR_SYSTEM);
    assert_file(other, "");
    unlink(path);
}

static void a_file_that_is_no_pid_file_is_not_touched(void **state)
{
    static const char *const texts[] = { "precious\n", "12 34\n", "12\n\n", "123456789012345678\n",
                                         "-1\n" };
    struct pidfile pidfile;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_file(path, texts[i]);
        assert_int_equal(pidfile_take(&pidfile, path, why, sizeof why), ERR_BAD);
        assert_file(path, texts[i]);
        unlink(path);
    }
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pidfile_take(&pidfile, path, why, sizeof why), ERR_BAD);
    unlink(path);
}

/* The file of a server that has taken our place is not ours to remove. */
static void leaving_removes_only_our_own(void **state)
{
    struct pidfile pidfile;

    (void)state;
    assert_int_equal(pidfile_take(&pidfile, path, why, sizeof why), OK);
    unlink(path);
    write_file(path, "1234\n");
    pidfile_leave(&pidfile);
    assert_file(path, "1234\n");
    unlink(path);
}

static void a_missing_directory_is_an_error_with_its_name(void **state)
{
    struct pidfile pidfile;

    (void)state;
    assert_int_equal(pidfile_take(&pidfile, "/nowhere/x.pid", why, sizeof why), ERR_SYSTEM);
    assert_non_null(strstr(why, "/nowhere/x.pid"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_names_us_while_we_hold_it_and_is_gone_after),
        cmocka_unit_test(two_servers_cannot_share_it),
        cmocka_unit_test(a_stale_one_is_told_apart_and_taken_over),
        cmocka_unit_test(a_killed_server_leaves_no_lock),
        cmocka_unit_test(a_symbolic_link_is_not_followed),
        cmocka_unit_test(a_file_that_is_no_pid_file_is_not_touched),
        cmocka_unit_test(leaving_removes_only_our_own),
        cmocka_unit_test(a_missing_directory_is_an_error_with_its_name),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
