#include "master/daemon.h"

#include "master/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the process that the user started: waits until the daemon calls daemon_tell, or dies. */
static _Noreturn void wait_for(int fd)
{
    unsigned char status = 1;
    ssize_t n;

    signals_unblock(); /* Ctrl-C ends the wait */
    do
        n = read(fd, &status, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        fprintf(stderr, "websocket-server: ended before it was accepting connections\n");
    else if (status)
        fputs("websocket-server: did not start; the log says why\n", stderr);
    _exit(n == 1 ? status : 1);
}

int daemon_start(void)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC))
        return -1;
    pid = fork();
    if (pid < 0)
        return -1;
    if (pid > 0) {
        close(ends[1]);
        waitpid(pid, NULL, 0); /* the intermediate process, which exits at once */
        wait_for(ends[0]);
    }
    close(ends[0]);
    /* The daemon gets a session of its own and, by the second fork, can never get a terminal
     * again. */
    if (setsid() < 0)
        _exit(1);
    pid = fork();
    if (pid != 0)
        _exit(pid < 0);
    return ends[1];
}

void daemon_detach(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return;
    for (int fd = 0; fd <= 2; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
}

void daemon_tell(int *fd, int status)
{
    unsigned char byte = (unsigned char)status;

    if (*fd < 0)
        return;
    if (write(*fd, &byte, 1) != 1)
        errno = 0; /* the waiting process is gone: nothing is to be done */
    close(*fd);
    *fd = -1;
}
