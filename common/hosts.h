/*
 * The addresses of a host's name, without the name service switch of glibc.
 *
 * A statically linked program cannot load the modules of NSS. Names are therefore looked up here as
 * "hosts: files dns" of nsswitch.conf would have them: /etc/hosts first, then DNS by
 * /etc/resolv.conf. The dynamically linked server uses getaddrinfo, and this file is in its tests
 * alone.
 */
#ifndef COMMON_HOSTS_H
#define COMMON_HOSTS_H

#include "common/err.h"
#include "common/ip.h"

#include <stddef.h>

enum { HOSTS_ADDRESSES_MAX = 32 };

struct hosts_found {
    struct ip addresses[HOSTS_ADDRESSES_MAX];
    size_t count;
};

/* Looks the name up; may block for the time-outs of resolv.conf. OK with at least one address.
 * ERR_ABSENT: there is no such name, or the name has no address. ERR_DOWN: no server of DNS has
 * answered. */
enum err hosts_find(const char *name, struct hosts_found *found);

/* The two halves of hosts_find that read strangers' text. Each half adds to found. */

/* Adds the addresses that a file in the form of hosts(5) has for the name. A file that cannot be
 * read has none. */
void hosts_read_file(const char *path, const char *name, struct hosts_found *found);
/* Adds the addresses of the answer section of a DNS message (RFC 1035 section 4.1): A and AAAA
 * records of class IN, whatever their owner's name, as a resolver puts the end of a chain of
 * aliases there. A damaged message gives the addresses before the damage. */
void hosts_read_answer(const unsigned char *message, size_t message_len, struct hosts_found *found);

#endif
