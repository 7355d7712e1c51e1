#include "master/admin_doors.h"

#include "common/log.h"
#include "master/listener.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 64 };

bool admin_doors_path(const char *pid_file, char path[LISTEN_PATH_MAX])
{
    static const char ending[] = ".pid";
    size_t len = strlen(pid_file);

    if (len > sizeof ending - 1 && strcmp(pid_file + len - (sizeof ending - 1), ending) == 0)
        len -= sizeof ending - 1;
    return snprintf(path, LISTEN_PATH_MAX, "%.*s.admin", (int)len, pid_file) < LISTEN_PATH_MAX;
}

/* ERR_ABSENT: the item has no place here. */
static enum err read_item(const char *text, const char *pid_file, struct listen_item *item)
{
    if (!listen_is_beside(text))
        return listen_parse(text, item) ? OK : ERR_BAD;
    *item = (struct listen_item){ .is_unix = true, .mode = LISTEN_ADMIN_MODE };
    return pid_file && pid_file[0] == '/' && admin_doors_path(pid_file, item->path) ? OK
                                                                                    : ERR_ABSENT;
}

static enum err open_door(struct admin_doors *doors, const char *text, const char *pid_file,
                          char *why, size_t why_size)
{
    struct listen_item item;
    enum err err = read_item(text, pid_file, &item);
    int fd;

    if (err == ERR_ABSENT) {
        log_warn("admin_not_served",
                 "reason=\"there is no pid file to put the socket beside: set admin.listen\"");
        return OK;
    }
    if (err) {
        snprintf(why, why_size, "admin.listen %s: not understood", text);
        return err;
    }
    if (item.is_unix && !item.names_mode)
        item.mode = LISTEN_ADMIN_MODE;
    if (item.is_unix)
        fd = unix_socket_open(&item, BACKLOG, &doors->files[doors->file_count], why, why_size);
    else
        fd = listener_open_ip(item.host, item.port, BACKLOG, why, why_size);
    if (fd < 0)
        return ERR_SYSTEM;
    doors->file_count += item.is_unix;
    doors->doors[doors->count++] = (struct worker_door){ fd, item.is_unix, listen_is_far(&item) };
    return OK;
}

enum err admin_doors_open(struct admin_doors *doors, const struct config *config,
                          const char *pid_file, char *why, size_t why_size)
{
    const struct config_list *listen = &config->admin.listen;
    enum err err = OK;

    *doors = (struct admin_doors){ .count = 0 };
    for (size_t i = 0; !err && i < listen->count && i < LISTEN_MAX; i++)
        err = open_door(doors, listen->items[i], pid_file, why, why_size);
    if (err)
        admin_doors_close(doors);
    return err;
}

void admin_doors_close(struct admin_doors *doors)
{
    while (doors->count)
        close(doors->doors[--doors->count].fd);
    while (doors->file_count)
        unix_socket_remove(&doors->files[--doors->file_count]);
}
