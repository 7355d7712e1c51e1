#include "common/hosts.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static void add_address(struct hosts_found *found, const struct ip *ip)
{
    for (size_t i = 0; i < found->count; i++)
        if (found->addresses[i].kind == ip->kind &&
            memcmp(found->addresses[i].bytes, ip->bytes, ip->kind == IP_V4 ? 4 : 16) == 0)
            return;
    if (found->count < HOSTS_ADDRESSES_MAX)
        found->addresses[found->count++] = *ip;
}

/* ---- hosts(5) ---- */

/* "redis." and "redis" are one name; the dot keeps a resolver from appending domains. */
static size_t length_of_name(const char *name)
{
    size_t len = strlen(name);

    return len > 1 && name[len - 1] == '.' ? len - 1 : len;
}

static bool word_is_name(const char *word, const char *name)
{
    size_t len = length_of_name(name);

    return length_of_name(word) == len && strncasecmp(word, name, len) == 0;
}

/* One line: an address, then names; a comment begins with #. Changes the line. */
static void read_hosts_line(char *line, const char *name, struct hosts_found *found)
{
    static const char blanks[] = " \t\r\n";
    char *rest = NULL, *word;
    struct ip ip;

    line[strcspn(line, "#")] = 0;
    word = strtok_r(line, blanks, &rest);
    if (!word || !ip_parse(slice_of(word), &ip))
        return;
    while ((word = strtok_r(NULL, blanks, &rest)))
        if (word_is_name(word, name)) {
            add_address(found, &ip);
            return;
        }
}

void hosts_read_file(const char *path, const char *name, struct hosts_found *found)
{
    FILE *file = fopen(path, "re");
    char line[4096];

    if (!file)
        return;
    while (fgets(line, sizeof line, file))
        read_hosts_line(line, name, found);
    fclose(file);
}

/* RFC 6761 section 6.3: "localhost" is this host, also where no file says so, as in a container. */
static void add_localhost(const char *name, struct hosts_found *found)
{
    if (!word_is_name("localhost", name))
        return;
    add_address(found, &(struct ip){ .kind = IP_V4, .bytes = { 127, 0, 0, 1 } });
    add_address(found, &(struct ip){ .kind = IP_V6, .bytes = { [15] = 1 } });
}

/* ---- DNS ---- */

/* Room for 500 addresses; the rest of a longer answer is not read. */
enum { ANSWER_BYTES_MAX = 16384 };
enum { HEADER_BYTES = 12, QUESTION_BYTES = 4, RECORD_BYTES = 10 };

static unsigned word_at(const unsigned char *bytes)
{
    return (unsigned)bytes[0] << 8 | bytes[1];
}

/* The byte behind the name at `at`, NULL when the message is damaged. */
static const unsigned char *skip_name(const unsigned char *at, const unsigned char *end)
{
    int len = dn_skipname(at, end);

    return len < 0 ? NULL : at + len;
}

/* Reads the record at `at`. The byte behind the record, NULL when the message is damaged. */
static const unsigned char *read_record(const unsigned char *at, const unsigned char *end,
                                        struct hosts_found *found)
{
    unsigned type, class, len;
    struct ip ip;

    at = skip_name(at, end);
    if (!at || end - at < RECORD_BYTES)
        return NULL;
    type = word_at(at);
    class = word_at(at + 2);
    len = word_at(at + 8); /* behind the time to live */
    at += RECORD_BYTES;
    if ((size_t)(end - at) < len)
        return NULL;
    if (class == ns_c_in && type == ns_t_a && len == 4) {
        ip = ip_of_v4(at);
        add_address(found, &ip);
    } else if (class == ns_c_in && type == ns_t_aaaa && len == 16) {
        ip = ip_of_v6(at);
        add_address(found, &ip);
    }
    return at + len;
}

void hosts_read_answer(const unsigned char *message, size_t message_len, struct hosts_found *found)
{
    const unsigned char *at = message + HEADER_BYTES, *end = message + message_len;
    unsigned questions, answers;

    if (message_len < HEADER_BYTES)
        return;
    questions = word_at(message + 4);
    answers = word_at(message + 6);
    while (at && questions--) {
        at = skip_name(at, end);
        at = at && end - at >= QUESTION_BYTES ? at + QUESTION_BYTES : NULL;
    }
    while (at && answers--)
        at = read_record(at, end, found);
}

static enum err ask_dns(struct __res_state *resolver, const char *name, int type,
                        struct hosts_found *found)
{
    unsigned char message[ANSWER_BYTES_MAX];
    int len = res_nsearch(resolver, name, ns_c_in, type, message, sizeof message);

    if (len < 0)
        return resolver->res_h_errno == TRY_AGAIN ? ERR_DOWN : ERR_ABSENT;
    if (len > (int)sizeof message)
        len = (int)sizeof message;
    hosts_read_answer(message, (size_t)len, found);
    return OK;
}

/* Is there a route to the address? No packet leaves. */
static bool is_routed(const struct ip *ip)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(9) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
    bool is_v4 = ip->kind == IP_V4, routed;
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    memcpy(&v4.sin_addr, ip->bytes, 4);
    memcpy(&v6.sin6_addr, ip->bytes, 16);
    routed = is_v4 ? connect(fd, (const struct sockaddr *)&v4, sizeof v4) == 0
                   : connect(fd, (const struct sockaddr *)&v6, sizeof v6) == 0;
    close(fd);
    return routed;
}

/* RFC 6724 section 6, rule 1: addresses without a route come last. Else the order stays. */
static void put_routed_first(struct hosts_found *found)
{
    struct hosts_found last = { .count = 0 };
    size_t kept = 0;

    for (size_t i = 0; i < found->count; i++) {
        if (is_routed(&found->addresses[i]))
            found->addresses[kept++] = found->addresses[i];
        else
            last.addresses[last.count++] = found->addresses[i];
    }
    memcpy(found->addresses + kept, last.addresses, last.count * sizeof *last.addresses);
}

/* Each call reads resolv.conf anew, so a changed file needs no restart. */
static enum err find_in_dns(const char *name, struct hosts_found *found)
{
    struct __res_state resolver = { 0 };
    enum err err;

    if (res_ninit(&resolver))
        return ERR_DOWN;
    err = ask_dns(&resolver, name, ns_t_a, found);
    if (err != ERR_DOWN) /* servers that have not answered once need not be waited for again */
        (void)ask_dns(&resolver, name, ns_t_aaaa, found);
    res_nclose(&resolver);
    return found->count ? OK : err == ERR_DOWN ? ERR_DOWN : ERR_ABSENT;
}

enum err hosts_find(const char *name, struct hosts_found *found)
{
    enum err err = OK;

    found->count = 0;
    hosts_read_file("/etc/hosts", name, found);
    if (found->count == 0)
        add_localhost(name, found);
    if (found->count == 0)
        err = find_in_dns(name, found);
    if (!err)
        put_routed_first(found);
    return err;
}
