#include "master/signals.h"

#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

static sigset_t ours(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    return set;
}

void signals_block(void)
{
    sigset_t set = ours();

    signal(SIGPIPE, SIG_IGN);
    /* The parent may have left these signals ignored (nohup, a shell's background jobs): an ignored
     * signal never reaches the signalfd, and the kernel would reap children by itself. */
    signal(SIGCHLD, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

void signals_unblock(void)
{
    sigset_t set = ours();

    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int signals_open(void)
{
    sigset_t set = ours();

    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

struct signals_seen signals_read(int fd)
{
    struct signals_seen seen = { 0 };
    struct signalfd_siginfo info;

    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
        switch (info.ssi_signo) {
        case SIGCHLD:
            seen.child = true;
            break;
        case SIGHUP:
            seen.reload = true;
            break;
        case SIGUSR1:
            seen.reopen_log = true;
            break;
        default:
            seen.stop++;
        }
    }
    return seen;
}

void signals_reset_in_worker(void)
{
    sigset_t none;

    /* Ctrl-C goes to the whole foreground group; the master alone answers, and tells its
     * workers. */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}
