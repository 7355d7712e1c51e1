/*
 * The address of a peer, and networks of addresses.
 *
 * An IPv4 address that IPv6 carries (::ffff:a.b.c.d) is the IPv4 address: one host has one form.
 */
#ifndef COMMON_IP_H
#define COMMON_IP_H

#include "common/slice.h"

#include <stdint.h>

struct sockaddr;

enum ip_kind {
    IP_NONE, /* not known */
    IP_UNIX, /* a peer on a unix socket; bytes are unused */
    IP_V4,
    IP_V6,
};

struct ip {
    uint8_t kind;      /* enum ip_kind */
    uint8_t bytes[16]; /* in network order; of IP_V4 the first four */
};

enum { IP_TEXT_MAX = 48 };

/* The address of a socket's peer. IP_NONE for a family that the server does not serve. */
struct ip ip_of_sockaddr(const struct sockaddr *address);
/* The address in these 4 or 16 bytes. */
struct ip ip_of_v4(const void *bytes);
struct ip ip_of_v6(const void *bytes);
/* Reads "192.0.2.1" or "2001:db8::1", without a port, brackets or a zone. */
bool ip_parse(struct slice text, struct ip *ip);
/* Writes the address as ip_parse reads it; "unix" and "-" for the other kinds. Returns text. */
const char *ip_text(const struct ip *ip, char text[IP_TEXT_MAX]);

/* Is text a network: an address, an address with "/BITS", or "unix"? Bits of the address behind the
 * prefix must be 0, because "10.0.0.1/8" is more likely a slip than a wish. */
bool ip_network_good(const char *text);
/* Is the address in the network? False for a text that ip_network_good refuses. */
bool ip_in_network(const struct ip *ip, const char *network);

#endif
