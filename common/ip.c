#include "common/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

struct ip ip_of_v4(const void *bytes)
{
    struct ip ip = { .kind = IP_V4 };

    memcpy(ip.bytes, bytes, 4);
    return ip;
}

struct ip ip_of_v6(const void *bytes)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    struct ip ip = { .kind = IP_V6 };

    if (memcmp(bytes, mapped, sizeof mapped) == 0)
        return ip_of_v4((const uint8_t *)bytes + sizeof mapped);
    memcpy(ip.bytes, bytes, 16);
    return ip;
}

struct ip ip_of_sockaddr(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    switch (address->sa_family) {
    case AF_INET:
        memcpy(&v4, address, sizeof v4);
        return ip_of_v4(&v4.sin_addr);
    case AF_INET6:
        memcpy(&v6, address, sizeof v6);
        return ip_of_v6(&v6.sin6_addr);
    case AF_UNIX:
        return (struct ip){ .kind = IP_UNIX };
    default:
        return (struct ip){ .kind = IP_NONE };
    }
}

bool ip_parse(struct slice text, struct ip *ip)
{
    char copy[IP_TEXT_MAX];
    uint8_t bytes[16];

    if (text.len == 0 || text.len >= sizeof copy || memchr(text.data, 0, text.len))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    if (inet_pton(AF_INET, copy, bytes) == 1)
        *ip = ip_of_v4(bytes);
    else if (inet_pton(AF_INET6, copy, bytes) == 1)
        *ip = ip_of_v6(bytes);
    else
        return false;
    return true;
}

const char *ip_text(const struct ip *ip, char text[IP_TEXT_MAX])
{
    if (ip->kind == IP_V4)
        inet_ntop(AF_INET, ip->bytes, text, IP_TEXT_MAX);
    else if (ip->kind == IP_V6)
        inet_ntop(AF_INET6, ip->bytes, text, IP_TEXT_MAX);
    else
        snprintf(text, IP_TEXT_MAX, "%s", ip->kind == IP_UNIX ? "unix" : "-");
    return text;
}

/* ---- networks ---- */

struct network {
    struct ip ip;
    unsigned bits;
};

static bool read_bits(const char *text, unsigned *bits)
{
    *bits = 0;
    if (!*text || strlen(text) > 3 || (text[0] == '0' && text[1]))
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        *bits = *bits * 10 + (unsigned)(*text - '0');
    }
    return true;
}

static bool network_read(const char *text, struct network *network)
{
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    unsigned most;

    if (strcmp(text, "unix") == 0) {
        *network = (struct network){ .ip = { .kind = IP_UNIX } };
        return true;
    }
    if (!ip_parse(slice_make(text, len), &network->ip))
        return false;
    most = network->ip.kind == IP_V4 ? 32 : 128;
    network->bits = most;
    if (!slash)
        return true;
    if (!read_bits(slash + 1, &network->bits))
        return false;
    /* ::ffff:10.0.0.0/104 is a network of IPv4 addresses, too. */
    if (most == 32 && memchr(text, ':', len)) {
        if (network->bits < 96)
            return false;
        network->bits -= 96;
    }
    return network->bits <= most;
}

/* Are the first bits of both equal? */
static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned rest = bits % 8;

    if (memcmp(a, b, bits / 8) != 0)
        return false;
    return rest == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - rest) == 0;
}

bool ip_network_good(const char *text)
{
    struct network network;
    unsigned most;

    if (!network_read(text, &network))
        return false;
    most = network.ip.kind == IP_V4 ? 32 : network.ip.kind == IP_V6 ? 128 : 0;
    for (unsigned bit = network.bits; bit < most; bit++)
        if (network.ip.bytes[bit / 8] >> (7 - bit % 8) & 1)
            return false;
    return true;
}

bool ip_in_network(const struct ip *ip, const char *text)
{
    struct network network;

    return network_read(text, &network) && network.ip.kind == ip->kind &&
           bits_equal(network.ip.bytes, ip->bytes, network.bits);
}
