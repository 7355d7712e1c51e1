#include "master/spawn.h"

#include "common/log.h"
#include "master/privileges.h"
#include "master/signals.h"
#include "shm/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static bool become_unprivileged(const struct config *config)
{
    struct privileges privileges;
    const char *step = "resolve";
    char why[256] = "";
    enum err err = privileges_resolve(config, &privileges, why, sizeof why);

    if (!err)
        err = privileges_drop(&privileges, &step);
    if (err)
        log_error("privileges_not_dropped", "step=%s error=%s %s", step,
                  err == ERR_SYSTEM ? strerror(errno) : err_name(err), why);
    return err == OK;
}

static _Noreturn void run_child(const struct worker_start *start, const int *private_fds,
                                size_t private_count)
{
    signals_reset_in_worker();
    for (size_t i = 0; i < private_count; i++)
        if (private_fds[i] >= 0)
            close(private_fds[i]);
    log_set_worker((int)start->slot);
    if (!become_unprivileged(start->config))
        exit(WORKER_EXIT_FATAL);
    privileges_hide();
    exit(worker_run(start));
}

enum err spawn_worker(const struct worker_start *template, const int *private_fds,
                      size_t private_count, struct spawned *spawned)
{
    struct worker_start start = *template;
    int ends[2], errno_kept;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends))
        return ERR_SYSTEM;
    start.control_fd = ends[1];
    start.incarnation = start.admin_count ? slot_begin_clerk(start.region, start.slot)
                                          : slot_begin(start.region, start.slot);
    spawned->pid = fork();
    if (spawned->pid == 0) {
        close(ends[0]);
        run_child(&start, private_fds, private_count);
    }
    errno_kept = errno;
    close(ends[1]);
    if (spawned->pid < 0) {
        close(ends[0]);
        slot_end(start.region, start.slot);
        errno = errno_kept;
        return ERR_SYSTEM;
    }
    slot_set_pid(start.region, start.slot, spawned->pid);
    spawned->control_fd = ends[0];
    return OK;
}
