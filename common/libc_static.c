/*
 * The functions of glibc that load shared libraries at run time, for the statically linked server.
 *
 * In a static program glibc's own getaddrinfo, getpwnam and so on need the NSS modules of exactly
 * the glibc that was linked, and fail, or crash, where the system has another one or none. The
 * definitions here take their place for the whole program, libraries included, so that the linker
 * does not take glibc's: a name that this file lacks shows as the linker's warning "Using '…' in
 * statically linked applications". The Makefile links this file with STATIC=1 alone.
 *
 * Hosts come from common/hosts.c, users and groups from common/users.c. Functions that only unused
 * parts of OpenSSL and libevent call find nothing: modules (OpenSSL's default provider is built
 * in), the names of addresses, services and protocols, and gethostbyname.
 */
#include "common/hosts.h"
#include "common/users.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- hosts ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* An element of the list and its address in one allocation. */
struct entry {
    struct addrinfo info;
    union address address;
};

static bool read_port(const char *service, in_port_t *port)
{
    char *end = NULL;
    unsigned long value = service ? strtoul(service, &end, 10) : 0;

    if (service && (end == service || *end || value > UINT16_MAX))
        return false;
    *port = htons((uint16_t)value);
    return true;
}

/* Reads "192.0.2.1", "2001:db8::1" or "fe80::1%eth0". */
static bool read_number(const char *node, union address *address)
{
    const char *zone = strchr(node, '%');
    char copy[INET6_ADDRSTRLEN];
    size_t len = zone ? (size_t)(zone - node) : strlen(node);

    memset(address, 0, sizeof *address);
    if (len >= sizeof copy)
        return false;
    memcpy(copy, node, len);
    copy[len] = 0;
    if (!zone && inet_pton(AF_INET, copy, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, copy, &address->v6.sin6_addr) != 1)
        return false;
    address->v6.sin6_family = AF_INET6;
    address->v6.sin6_scope_id = zone ? if_nametoindex(zone + 1) : 0;
    return !zone || address->v6.sin6_scope_id != 0;
}

static void address_of_ip(const struct ip *ip, union address *address)
{
    memset(address, 0, sizeof *address);
    if (ip->kind == IP_V4) {
        address->v4.sin_family = AF_INET;
        memcpy(&address->v4.sin_addr, ip->bytes, 4);
    } else {
        address->v6.sin6_family = AF_INET6;
        memcpy(&address->v6.sin6_addr, ip->bytes, 16);
    }
}

/* Puts the address behind *last. An address of a family that hints exclude is left out. */
static int append_entry(const struct addrinfo *hints, union address address, in_port_t port,
                        struct addrinfo ***last)
{
    struct entry *entry;
    bool is_v4 = address.any.sa_family == AF_INET;

    if (hints->ai_family != AF_UNSPEC && hints->ai_family != address.any.sa_family)
        return 0;
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return EAI_MEMORY;
    if (is_v4)
        address.v4.sin_port = port;
    else
        address.v6.sin6_port = port;
    entry->address = address;
    entry->info = (struct addrinfo){
        .ai_family = address.any.sa_family,
        .ai_socktype = hints->ai_socktype ? hints->ai_socktype : SOCK_STREAM,
        .ai_protocol = hints->ai_protocol,
        .ai_addrlen = is_v4 ? sizeof address.v4 : sizeof address.v6,
        .ai_addr = &entry->address.any,
    };
    **last = &entry->info;
    *last = &entry->info.ai_next;
    return 0;
}

/* Without a node: every address of this host for a listener (AI_PASSIVE), else the loopback. */
static int append_own(const struct addrinfo *hints, in_port_t port, struct addrinfo ***last)
{
    bool passive = (hints->ai_flags & AI_PASSIVE) != 0;
    union address address;
    int rc;

    (void)read_number(passive ? "0.0.0.0" : "127.0.0.1", &address);
    rc = append_entry(hints, address, port, last);
    (void)read_number(passive ? "::" : "::1", &address);
    return rc ? rc : append_entry(hints, address, port, last);
}

static int append_named(const char *node, const struct addrinfo *hints, in_port_t port,
                        struct addrinfo ***last)
{
    struct hosts_found found;
    union address address;
    enum err err = hosts_find(node, &found);
    int rc = 0;

    if (err)
        return err == ERR_DOWN ? EAI_AGAIN : EAI_NONAME;
    for (size_t i = 0; !rc && i < found.count; i++) {
        address_of_ip(&found.addresses[i], &address);
        rc = append_entry(hints, address, port, last);
    }
    return rc;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    static const struct addrinfo no_hints = { .ai_family = AF_UNSPEC };
    struct addrinfo *first = NULL, **last = &first;
    union address address;
    in_port_t port;
    int rc;

    if (!hints)
        hints = &no_hints;
    if (!read_port(service, &port))
        return EAI_SERVICE;
    if (!node)
        rc = append_own(hints, port, &last);
    else if (read_number(node, &address))
        rc = append_entry(hints, address, port, &last);
    else
        rc = hints->ai_flags & AI_NUMERICHOST ? EAI_NONAME : append_named(node, hints, port, &last);
    if (rc) {
        freeaddrinfo(first);
        return rc;
    }
    *list = first;
    return first ? 0 : EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *list)
{
    struct addrinfo *next;

    for (; list; list = next) {
        next = list->ai_next;
        free(list); /* info is the first member of its entry */
    }
}

int getnameinfo(const struct sockaddr *restrict address, socklen_t address_len, char *restrict host,
                socklen_t host_size, char *restrict service, socklen_t service_size, int flags)
{
    (void)address;
    (void)address_len;
    (void)host;
    (void)host_size;
    (void)service;
    (void)service_size;
    (void)flags;
    return EAI_FAIL;
}

struct hostent *gethostbyname(const char *name)
{
    (void)name;
    h_errno = HOST_NOT_FOUND;
    return NULL;
}

struct servent *getservbyname(const char *name, const char *protocol)
{
    (void)name;
    (void)protocol;
    return NULL;
}

struct protoent *getprotobynumber(int number)
{
    (void)number;
    return NULL;
}

/* ---- users and groups ---- */

/* More groups than a user has; initgroups says E2BIG for more. */
enum { GROUPS_MAX = 1024 };

static const char passwd_file[] = "/etc/passwd", group_file[] = "/etc/group";

struct passwd *getpwnam(const char *name)
{
    return users_find(passwd_file, name);
}

struct passwd *getpwuid(uid_t uid)
{
    return users_find_uid(passwd_file, uid);
}

struct group *getgrnam(const char *name)
{
    return users_find_group(group_file, name);
}

int getgrouplist(const char *user, gid_t gid, gid_t *groups, int *count)
{
    return users_list_groups(group_file, user, gid, groups, count) ? *count : -1;
}

int initgroups(const char *user, gid_t gid)
{
    gid_t groups[GROUPS_MAX];
    int count = GROUPS_MAX;

    if (!users_list_groups(group_file, user, gid, groups, &count)) {
        errno = E2BIG;
        return -1;
    }
    return setgroups((size_t)count, groups);
}

/* ---- modules ---- */

/* The Makefile turns the dlopen of libraries into this (-Wl,--wrap): glibc's own dlopen is in every
 * static program, for the conversion of character sets, and cannot be defined twice. */
void *refuse_module(const char *file, int mode) __asm__("__wrap_dlopen");

void *refuse_module(const char *file, int mode)
{
    (void)file;
    (void)mode;
    return NULL;
}
