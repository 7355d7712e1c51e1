/*
 * Users and groups as /etc/passwd and /etc/group have them, without the name service switch of
 * glibc, which a statically linked program cannot load. The dynamically linked server asks glibc,
 * which also knows the users of LDAP or systemd.
 */
#ifndef COMMON_USERS_H
#define COMMON_USERS_H

#include <stdbool.h>
#include <sys/types.h>

struct passwd;
struct group;

/* The entry of the name, or of the number, in a file in the form of passwd(5) or group(5); NULL
 * when there is none, or no such file. Valid until the next call of the same function. */
struct passwd *users_find(const char *path, const char *name);
struct passwd *users_find_uid(const char *path, uid_t uid);
struct group *users_find_group(const char *path, const char *name);
/* Writes gid, and the groups that the file at path has the user in, each once, at most *count.
 * Sets *count to the number of groups there are. False: not all had room. */
bool users_list_groups(const char *path, const char *user, gid_t gid, gid_t *groups, int *count);

#endif
