#include "common/users.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

struct passwd *users_find(const char *path, const char *name)
{
    FILE *file = fopen(path, "re");
    struct passwd *entry = NULL;

    if (!file)
        return NULL;
    do
        entry = fgetpwent(file);
    while (entry && strcmp(entry->pw_name, name) != 0);
    fclose(file);
    return entry;
}

struct passwd *users_find_uid(const char *path, uid_t uid)
{
    FILE *file = fopen(path, "re");
    struct passwd *entry = NULL;

    if (!file)
        return NULL;
    do
        entry = fgetpwent(file);
    while (entry && entry->pw_uid != uid);
    fclose(file);
    return entry;
}

struct group *users_find_group(const char *path, const char *name)
{
    FILE *file = fopen(path, "re");
    struct group *entry = NULL;

    if (!file)
        return NULL;
    do
        entry = fgetgrent(file);
    while (entry && strcmp(entry->gr_name, name) != 0);
    fclose(file);
    return entry;
}

static bool has_member(const struct group *group, const char *user)
{
    for (char *const *member = group->gr_mem; *member; member++)
        if (strcmp(*member, user) == 0)
            return true;
    return false;
}

struct group_list {
    gid_t *groups;
    int room, count;
};

static void add_group(struct group_list *list, gid_t gid)
{
    for (int i = 0; i < list->count && i < list->room; i++)
        if (list->groups[i] == gid)
            return;
    if (list->count < list->room)
        list->groups[list->count] = gid;
    list->count++;
}

bool users_list_groups(const char *path, const char *user, gid_t gid, gid_t *groups, int *count)
{
    struct group_list list = { .groups = groups, .room = *count };
    FILE *file = fopen(path, "re");
    const struct group *group;

    add_group(&list, gid);
    while (file && (group = fgetgrent(file)))
        if (has_member(group, user))
            add_group(&list, group->gr_gid);
    if (file)
        fclose(file);
    *count = list.count;
    return list.count <= list.room;
}
