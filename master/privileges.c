#include "master/privileges.h"

#include "common/log.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CAPABILITIES_MAX = 64 };

static enum err resolve_group(const char *group, gid_t *gid, char *why, size_t why_size)
{
    const struct group *found = getgrnam(group);

    if (!found) {
        snprintf(why, why_size, "group: there is no group \"%s\"", group);
        return ERR_ABSENT;
    }
    *gid = found->gr_gid;
    return OK;
}

enum err privileges_resolve(const struct config *config, struct privileges *privileges, char *why,
                            size_t why_size)
{
    const char *user = config->user[0] ? config->user : "nobody";
    const struct passwd *found;

    *privileges = (struct privileges){ .drop = geteuid() == 0 };
    if (!privileges->drop)
        return OK;
    found = getpwnam(user);
    if (!found || strlen(user) >= sizeof privileges->user) {
        snprintf(why, why_size, "user: there is no user \"%s\"", user);
        return ERR_ABSENT;
    }
    if (found->pw_uid == 0) {
        snprintf(why, why_size, "user: workers must not run as root");
        return ERR_BAD;
    }
    snprintf(privileges->user, sizeof privileges->user, "%s", user);
    privileges->uid = found->pw_uid;
    privileges->gid = found->pw_gid;
    if (!config->user[0] && config->redis.kind == CONFIG_REDIS_UNIX && !config->redis.folder[0])
        privileges->redis_socket = config->redis.path;
    return config->group[0] ? resolve_group(config->group, &privileges->gid, why, why_size) : OK;
}

/* Empties the bounding set, so that no program this process starts can ever have a capability. A
 * container may forbid that (EPERM); PR_SET_NO_NEW_PRIVS holds all the same. */
static void empty_bounding_set(void)
{
    for (unsigned long cap = 0; cap < CAPABILITIES_MAX; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno == EINVAL)
            break;
}

/* Keeps exactly the capabilities in mask, all of which are among the low 32. glibc has no
 * wrapper. */
static int set_capabilities(uint32_t mask)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
        { .effective = mask, .permitted = mask, .inheritable = 0 }
    };

    return (int)syscall(SYS_capset, &header, data);
}

static enum err become(const struct privileges *privileges, const char **step)
{
    *step = "keepcaps"; /* needed_capabilities decides later which of them stay */
    if (privileges->redis_socket && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
        return ERR_SYSTEM;
    *step = "initgroups";
    if (initgroups(privileges->user, privileges->gid))
        return ERR_SYSTEM;
    *step = "setgid";
    if (setresgid(privileges->gid, privileges->gid, privileges->gid))
        return ERR_SYSTEM;
    *step = "setuid";
    return setresuid(privileges->uid, privileges->uid, privileges->uid) ? ERR_SYSTEM : OK;
}

/* Returns the capabilities that the worker keeps. access(2) checks for the real user without its
 * capabilities, as the worker would be without them. */
static uint32_t needed_capabilities(const struct privileges *privileges)
{
    if (!privileges->redis_socket || access(privileges->redis_socket, R_OK | W_OK) == 0 ||
        errno != EACCES)
        return 0;
    log_warn("privilege_kept",
             "capability=dac_override user=%s socket=%s cure=\"set unixsocketperm in redis.conf, "
             "or name a user that may write to it\"",
             privileges->user, privileges->redis_socket);
    return UINT32_C(1) << CAP_DAC_OVERRIDE;
}

enum err privileges_drop(const struct privileges *privileges, const char **step)
{
    enum err err;

    *step = "no_new_privs";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return ERR_SYSTEM;
    if (!privileges->drop)
        return OK;
    empty_bounding_set(); /* needs the privileges that the next step drops */
    err = become(privileges, step);
    if (err)
        return err;
    *step = "capset";
    if (set_capabilities(needed_capabilities(privileges)))
        return ERR_SYSTEM;
    *step = "check";
    if (setuid(0) == 0 || setgid(0) == 0 || geteuid() == 0)
        return ERR_BAD;
    return OK;
}

void privileges_hide(void)
{
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
