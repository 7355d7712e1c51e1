/*
 * A socket is made for each message: messages are rare, and a descriptor that is open only within
 * one call can reach no worker.
 */
#include "master/notify.h"

#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_BYTES_MAX = NOTIFY_STATUS_SIZE + 128 };

/* Writes the address that NOTIFY_SOCKET holds: a path, or with @ in front an abstract name. False
 * when the text is neither, or too long. */
static bool read_address(struct notify *notify, const char *text)
{
    size_t len = strlen(text);

    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof notify->address.sun_path)
        return false;
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, text, len);
    if (text[0] == '@')
        notify->address.sun_path[0] = 0;
    notify->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

/* Returns the number in text, or 0 when text is absent or no number. */
static uint64_t read_number(const char *text)
{
    char *end = NULL;
    unsigned long long number;

    if (!text || *text < '0' || *text > '9')
        return 0;
    errno = 0;
    number = strtoull(text, &end, 10);
    return *end || errno ? 0 : number;
}

/* WATCHDOG_PID names the process that the manager watches. A sign of life leaves twice within the
 * manager's time, so that one late turn of the loop does not end the server. */
static uint64_t read_watchdog_ms(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    uint64_t period_ms = read_number(getenv("WATCHDOG_USEC")) / 2000;

    return pid && read_number(pid) != (uint64_t)getpid() ? 0 : period_ms;
}

void notify_init(struct notify *notify)
{
    const char *socket_name = getenv("NOTIFY_SOCKET");

    *notify = (struct notify){ 0 };
    if (socket_name && *socket_name) {
        if (read_address(notify, socket_name))
            notify->watchdog_ms = read_watchdog_ms();
        else
            log_warn("notify_impossible",
                     "cause=\"NOTIFY_SOCKET is no path and no @name of a unix socket\"");
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static void send_message(const struct notify *notify, const char *message)
{
    int fd;

    if (!notify->address_len)
        return;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || sendto(fd, message, strlen(message), MSG_NOSIGNAL,
                         (const struct sockaddr *)&notify->address, notify->address_len) < 0)
        log_warn("notify_failed", "error=\"%s\"", strerror(errno));
    if (fd >= 0)
        close(fd);
}

void notify_ready(const struct notify *notify, const char *status)
{
    char message[MESSAGE_BYTES_MAX];

    snprintf(message, sizeof message, "READY=1\nSTATUS=%s", status);
    send_message(notify, message);
}

/* Type=notify-reload (systemd 253) tells an answer from an older one by the time. */
void notify_reloading(const struct notify *notify)
{
    char message[MESSAGE_BYTES_MAX];
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(message, sizeof message, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading",
             (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
    send_message(notify, message);
}

void notify_stopping(const struct notify *notify, uint64_t timeout_ms)
{
    char message[MESSAGE_BYTES_MAX];

    snprintf(message, sizeof message,
             "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu\nSTATUS=stopping: clients are asked to leave",
             (unsigned long long)timeout_ms * 1000);
    send_message(notify, message);
}

void notify_status(const struct notify *notify, const char *status)
{
    char message[MESSAGE_BYTES_MAX];

    snprintf(message, sizeof message, "STATUS=%s", status);
    send_message(notify, message);
}

void notify_tick(struct notify *notify, uint64_t now_ms)
{
    if (!notify->watchdog_ms || now_ms < notify->watchdog_due_ms)
        return;
    notify->watchdog_due_ms = now_ms + notify->watchdog_ms;
    send_message(notify, "WATCHDOG=1");
}

int notify_wait_ms(const struct notify *notify, uint64_t now_ms, int wait_ms)
{
    uint64_t left_ms;

    if (!notify->watchdog_ms)
        return wait_ms;
    left_ms = notify->watchdog_due_ms > now_ms ? notify->watchdog_due_ms - now_ms : 0;
    return wait_ms >= 0 && (uint64_t)wait_ms < left_ms ? wait_ms
           : left_ms > 60000                           ? 60000
                                                       : (int)left_ms;
}
