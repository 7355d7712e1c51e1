#include "common/users.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char users_text[] = "root:x:0:0:root:/root:/bin/sh\n"
                                 "damaged:x\n"
                                 "\n"
                                 "post:x:990:991:Post,,,:/var/lib/post:/usr/sbin/nologin\n";
static const char groups_text[] = "root:x:0:\n"
                                  "post:x:991:\n"
                                  "redis:x:120:alice,post\n"
                                  "www-data:x:33:post\n"
                                  "postmen:x:34:poster\n"
                                  "again:x:991:post";

static char users_path[] = "/tmp/postoffice-users-XXXXXX",
            groups_path[] = "/tmp/postoffice-groups-XXXXXX";

static int write_file(char *path, const char *text)
{
    int fd = mkstemp(path);
    size_t len = strlen(text);

    if (fd < 0 || write(fd, text, len) != (ssize_t)len)
        return -1;
    return close(fd);
}

static int write_files(void **state)
{
    (void)state;
    return write_file(users_path, users_text) || write_file(groups_path, groups_text) ? -1 : 0;
}

static int remove_files(void **state)
{
    (void)state;
    return unlink(users_path) || unlink(groups_path) ? -1 : 0;
}

static void a_user_is_found_by_the_whole_name(void **state)
{
    const struct passwd *user = users_find(users_path, "post");

    (void)state;
    assert_non_null(user);
    assert_int_equal(user->pw_uid, 990);
    assert_int_equal(user->pw_gid, 991);
    assert_null(users_find(users_path, "pos"));
    assert_null(users_find(users_path, "damaged"));
    assert_null(users_find(users_path, ""));
    assert_null(users_find("/nonexistent/passwd", "root"));
}

static void a_user_is_found_by_number(void **state)
{
    const struct passwd *user = users_find_uid(users_path, 990);

    (void)state;
    assert_non_null(user);
    assert_string_equal(user->pw_name, "post");
    assert_null(users_find_uid(users_path, 991));
}

static void a_group_is_found_by_the_whole_name(void **state)
{
    const struct group *group = users_find_group(groups_path, "redis");

    (void)state;
    assert_non_null(group);
    assert_int_equal(group->gr_gid, 120);
    assert_null(users_find_group(groups_path, "redi"));
    assert_null(users_find_group("/nonexistent/group", "root"));
}

static void a_user_has_the_own_group_and_each_that_lists_the_user_once(void **state)
{
    gid_t groups[8];
    int count = 8;

    (void)state;
    assert_true(users_list_groups(groups_path, "post", 991, groups, &count));
    assert_int_equal(count, 3);
    assert_int_equal(groups[0], 991);
    assert_int_equal(groups[1], 120);
    assert_int_equal(groups[2], 33);
}

static void groups_without_room_are_counted(void **state)
{
    gid_t groups[2] = { 0, 77 };
    int count = 1;

    (void)state;
    assert_false(users_list_groups(groups_path, "post", 991, groups, &count));
    assert_true(count > 1);
    assert_int_equal(groups[0], 991);
    assert_int_equal(groups[1], 77);
}

static void without_a_file_the_own_group_is_left(void **state)
{
    gid_t groups[2];
    int count = 2;

    (void)state;
    assert_true(users_list_groups("/nonexistent/group", "post", 991, groups, &count));
    assert_int_equal(count, 1);
    assert_int_equal(groups[0], 991);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_is_found_by_the_whole_name),
        cmocka_unit_test(a_user_is_found_by_number),
        cmocka_unit_test(a_group_is_found_by_the_whole_name),
        cmocka_unit_test(a_user_has_the_own_group_and_each_that_lists_the_user_once),
        cmocka_unit_test(groups_without_room_are_counted),
        cmocka_unit_test(without_a_file_the_own_group_is_left),
    };

    return cmocka_run_group_tests(tests, write_files, remove_files);
}
