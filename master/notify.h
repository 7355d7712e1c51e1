/*
 * Tells a service manager (systemd, Type=notify) in which state the server is, as sd_notify(3)
 * describes: datagrams of lines NAME=VALUE to the unix socket that $NOTIFY_SOCKET names.
 *
 * Without NOTIFY_SOCKET every function does nothing. A manager that does not read loses the
 * message: the master never waits for the manager.
 */
#ifndef MASTER_NOTIFY_H
#define MASTER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Room for a line of status, with its end: a list of struct about fits beside some words. */
enum { NOTIFY_STATUS_SIZE = 1280 };

struct notify {
    struct sockaddr_un address;
    socklen_t address_len; /* 0: nobody wants to be told */
    uint64_t watchdog_ms;  /* the time between two signs of life; 0: none are wanted */
    uint64_t watchdog_due_ms;
};

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that no child of
 * the server speaks for the server. A socket that cannot be used is logged, and is no error. */
void notify_init(struct notify *notify);

/* The server accepts connections, or has ended a reload. status is one line for a person. */
void notify_ready(const struct notify *notify, const char *status);
/* A reload begins; notify_ready ends it, whatever came of the reload. */
void notify_reloading(const struct notify *notify);
/* The server ends within timeout_ms. The manager waits so long, also when its own limit is
 * shorter. */
void notify_stopping(const struct notify *notify, uint64_t timeout_ms);
void notify_status(const struct notify *notify, const char *status);

/* Call in each turn of the master's loop: sends a sign of life when one is due. */
void notify_tick(struct notify *notify, uint64_t now_ms);
/* Returns how long the loop may wait: wait_ms (-1: for ever), or less when a sign of life is due
 * sooner. */
int notify_wait_ms(const struct notify *notify, uint64_t now_ms, int wait_ms);

#endif
