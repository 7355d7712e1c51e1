/*
 * A redis-server of the test's own, on a unix socket in a folder of its own under /tmp. The server
 * ends with the test, however the test ends.
 */
#ifndef TESTS_LIVE_SERVER_H
#define TESTS_LIVE_SERVER_H

#include <assert.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SERVER_OPTIONS_MAX = 32 };

static char folder[64], socket_path[128];
static pid_t server;

/* Starts a program that says nothing and dies with this one. `words` ends with NULL. */
static inline pid_t quiet_start(const char *const *words)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        FILE *quiet = fopen("/dev/null", "w");
        if (!quiet)
            _exit(127);
        dup2(fileno(quiet), 1);
        dup2(fileno(quiet), 2);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            execvp(words[0], (char *const *)(uintptr_t)words);
        _exit(127);
    }
    assert(pid > 0);
    return pid;
}

/* `options` ends with NULL; they follow the socket and the folder. */
static inline void server_start_with(const char *const *options)
{
    const char *words[SERVER_OPTIONS_MAX] = { "redis-server", "--unixsocket", socket_path, "--dir",
                                              folder,         "--save",       "" };
    size_t count = 7;

    for (; *options; options++) {
        assert(count < SERVER_OPTIONS_MAX - 1);
        words[count++] = *options;
    }
    server = quiet_start(words);
}

static inline void server_kill(void)
{
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

static inline void remove_tree(const char *path)
{
    const char *words[] = { "rm", "-rf", path, NULL };
    int status = -1;
    pid_t pid = quiet_start(words);

    assert(waitpid(pid, &status, 0) == pid && status == 0);
}

static inline void folder_make(void)
{
    snprintf(folder, sizeof folder, "/tmp/postoffice_live.XXXXXX");
    if (!mkdtemp(folder))
        abort();
    snprintf(socket_path, sizeof socket_path, "%s/redis.sock", folder);
}

#endif
