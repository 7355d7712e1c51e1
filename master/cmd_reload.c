#include "master/cmd_reload.h"

#include "common/clock.h"
#include "master/find_server.h"
#include "master/server.h"
#include "shm/about.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ANSWER_MS_MAX = 30000, LOOK_MS = 20 };

/* The C library of some targets has no function for this. */
static int process_open(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0U);
}

static int process_signal(int process_fd, int number)
{
    return (int)syscall(SYS_pidfd_send_signal, process_fd, number, NULL, 0U);
}

static void print_list(const char *title, const char *keys)
{
    if (!*keys)
        return;
    printf("%s: ", title);
    for (; *keys; keys++)
        printf(*keys == ',' ? ", " : "%c", *keys);
    putchar('\n');
}

static int print_answer(const struct about *about, bool strict)
{
    if (about->outcome == RELOAD_REFUSED) {
        fprintf(stderr, "%s: refused, everything stays as it was:\n%s", about->config_file,
                about->why);
        return EXIT_USAGE;
    }
    printf("%s: read again\n", about->config_file);
    print_list("in force", about->applied);
    print_list("in force in new workers, which take the place of the old ones", about->swapped);
    print_list("waits for a restart", about->waiting);
    if (!*about->applied && !*about->swapped && !*about->waiting)
        puts("no key has changed");
    if (fflush(stdout))
        return EXIT_FAILED;
    return strict && *about->waiting ? EXIT_WAITING : 0;
}

/* Waits for the end of a reload that began after `begun` was read. */
static int await_answer(const struct region *region, int process_fd, uint32_t begun,
                        struct about *about)
{
    struct pollfd end = { .fd = process_fd, .events = POLLIN };
    uint64_t until_ms = clock_monotonic_ms() + ANSWER_MS_MAX;

    for (;;) {
        bool ended = poll(&end, 1, LOOK_MS) > 0;
        about_read(region, about);
        if ((int32_t)(about->reloads_done - begun) > 0)
            return 0;
        if (ended) {
            fputs("websocket-server: the server has ended\n", stderr);
            return EXIT_FAILED;
        }
        if (clock_monotonic_ms() >= until_ms) {
            fprintf(stderr, "websocket-server: no answer within %d seconds\n",
                    ANSWER_MS_MAX / 1000);
            return EXIT_FAILED;
        }
    }
}

static int reload_and_wait(const struct region *region, int process_fd, bool strict)
{
    static struct about about;
    uint32_t begun;
    int rc;

    about_read(region, &about);
    begun = about.reloads_begun;
    if (process_signal(process_fd, SIGHUP)) {
        fprintf(stderr, "websocket-server: the server gets no signal: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    rc = await_answer(region, process_fd, begun, &about);
    return rc ? rc : print_answer(&about, strict);
}

int cmd_reload(const struct options *options)
{
    struct region *region;
    int rc, process_fd;
    pid_t pid;

    rc = find_server(options, &pid);
    if (rc)
        return rc;
    /* Before the region is looked for: the pid of a server that ends now may become another's. */
    process_fd = process_open(pid);
    if (process_fd < 0) {
        fprintf(stderr, "websocket-server: process %d: %s\n", (int)pid, strerror(errno));
        return errno == ESRCH ? EXIT_NOT_RUNNING : EXIT_FAILED;
    }
    region = find_region(pid, &rc);
    if (region)
        rc = reload_and_wait(region, process_fd, options->strict);
    region_close(region);
    close(process_fd);
    return rc;
}
