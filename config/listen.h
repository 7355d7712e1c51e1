/*
 * An item of `listen`: an address with or without a port, or a unix socket. The table of keys
 * checks items with it, and the master opens them.
 */
#ifndef CONFIG_LISTEN_H
#define CONFIG_LISTEN_H

#include "config/config.h"

enum {
    LISTEN_MAX = 16,          /* items of `listen` */
    LISTEN_PATH_MAX = 108,    /* of a unix socket, its NUL included (sun_path) */
    LISTEN_MODE = 0660,       /* of a unix socket whose item names none */
    LISTEN_ADMIN_MODE = 0600, /* the same in admin.listen */
};

struct listen_item {
    bool is_unix;
    bool is_v6;
    char host[48];              /* numeric */
    uint16_t port;              /* 0: socketPort */
    char path[LISTEN_PATH_MAX]; /* is_unix: absolute */
    uint32_t mode;
    bool names_mode; /* the item says mode=, so `mode` is not the default */
    char group[65];  /* "": the master's own */
};

/* Reads "ADDRESS", "ADDRESS:PORT" (an IPv6 address in brackets then; "localhost" is 127.0.0.1) or
 * "unix:/PATH?mode=0660&group=NAME", mode and group each optional. False for any other text. */
bool listen_parse(const char *text, struct listen_item *item);
/* Is the item of admin.listen "unix:" alone, the socket beside the pid file? */
bool listen_is_beside(const char *text);
/* Is the text an item of admin.listen: "unix:", a unix socket, or an address with a port? */
bool listen_is_admin(const char *text);
/* Can other machines connect to the item: an address that is not loopback? Then admin.listen speaks
 * TLS there. */
bool listen_is_far(const struct listen_item *item);
/* Does the configuration need certificates: for sslPort, or for an address of admin.listen? */
bool listen_needs_certificates(const struct config *config);
/* Can only this machine connect to every item: loopback addresses and unix sockets? */
bool listen_is_local(const struct config_list *items);
/* Are a and b one socket: the same address and port, or the same path? port: of an item without
 * one. */
bool listen_same(const struct listen_item *a, const struct listen_item *b, uint16_t port);

#endif
