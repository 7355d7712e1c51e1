/* The rules of single values; keys.c says which key has which. */
#include "config/checks.h"

#include "common/address.h"
#include "common/ip.h"
#include "common/log.h"
#include "common/utf8.h"
#include "config/listen.h"

#include <string.h>

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Is text made of letters, digits and `others` alone, and min to max bytes long? */
static bool made_of(const char *text, const char *others, size_t min, size_t max)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if (!is_alnum(text[i]) && !strchr(others, text[i]))
            return false;
    return len >= min && len <= max;
}

bool check_listen(const char *text)
{
    struct listen_item item;

    return listen_parse(text, &item);
}

static bool check_port(const char *text)
{
    long port = 0;

    if (!*text || strlen(text) > 5)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (*text - '0');
    }
    return port >= 1 && port <= 65535;
}

/* host[:port], an IPv6 host in brackets. Lower case alone, because browsers send lower case and
 * origins are compared byte by byte. */
static bool check_authority(const char *text)
{
    static const char host_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
    size_t len;

    if (*text == '[') {
        len = 1 + strspn(text + 1, "0123456789abcdef:.");
        if (len < 3 || text[len] != ']')
            return false;
        len++;
    } else {
        len = strspn(text, host_bytes);
        if (len == 0)
            return false;
    }
    return text[len] == 0 || (text[len] == ':' && check_port(text + len + 1));
}

/* "*." allows every name below a host. The host must have a dot, or be localhost: whoever allows
 * "*.com" means something else. */
static bool check_below(const char *authority)
{
    const char *dot = strchr(authority, '.');
    bool local = strncmp(authority, "localhost", 9) == 0 && (!authority[9] || authority[9] == ':');

    return *authority != '[' && *authority != '.' && check_authority(authority) &&
           (local || (dot && dot[1] && dot[1] != ':'));
}

bool check_origin(const char *text)
{
    size_t scheme = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
    const char *authority = text + scheme + 3;

    if (scheme == 0 || text[0] < 'a' || strncmp(text + scheme, "://", 3) != 0)
        return false;
    return strncmp(authority, "*.", 2) == 0 ? check_below(authority + 2)
                                            : check_authority(authority);
}

bool check_cookie(const char *text)
{
    return made_of(text, "!#$%&'*+-.^_`|~", 0, 128);
}

bool check_prefix(const char *text)
{
    size_t len = strlen(text);

    /* Braces would move the hash tag that puts an address into one cluster slot. */
    return len >= 1 && len <= 64 && !strpbrk(text, "{} ");
}

bool check_node(const char *text)
{
    return made_of(text, "_.-:", 0, 64);
}

/* The pattern "*" would name every address: more likely a slip than a wish. */
bool check_pattern(const char *text)
{
    struct slice pattern = slice_of(text);

    if (pattern.len > 1 && text[pattern.len - 1] == '*')
        pattern.len--;
    return address_may_speak(pattern) && !memchr(pattern.data, '*', pattern.len);
}

bool check_level(const char *text)
{
    enum log_level level;

    return log_level_parse(text, &level);
}

bool check_durability(const char *text)
{
    return strcmp(text, "memory") == 0 || strcmp(text, "fsync") == 0 ||
           strcmp(text, "replica") == 0;
}

bool check_addresses(const char *text)
{
    return strcmp(text, "any") == 0 || strcmp(text, "known") == 0;
}

bool check_full(const char *text)
{
    return strcmp(text, "trim") == 0 || strcmp(text, "reject") == 0;
}

bool check_program(const char *text)
{
    return *text == '/' || !strchr(text, '/');
}

bool check_network(const char *text)
{
    return ip_network_good(text);
}

bool check_proxy_protocol(const char *text)
{
    return strcmp(text, "off") == 0 || strcmp(text, "required") == 0;
}

/* Bytes that a request target can hold (RFC 9112 3.2.1), without those that end a path, and with
 * "*" at its end when `star`. */
static bool check_target(const char *text, bool star)
{
    size_t len = strlen(text);

    if (*text != '/')
        return false;
    if (star && text[len - 1] == '*')
        len--;
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f || strchr("?#*", text[i]))
            return false;
    return true;
}

bool check_path(const char *text)
{
    return check_target(text, true);
}

bool check_health_path(const char *text)
{
    return !*text || check_target(text, false);
}

bool check_kid(const char *text)
{
    return made_of(text, "_.-", 1, 64);
}

/* The name stands in the description of an error, whose characters RFC 6750 3 limits to these. */
bool check_claim(const char *text)
{
    static const char *const taken[] = { "aud", "exp", "iat", "iss", "jti", "nbf" };
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\')
            return false;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (strcmp(text, taken[i]) == 0)
            return false;
    return len >= 1 && len <= 128;
}

/* The text without the '*' of a prefix. */
static struct slice pattern_stem(const char *text)
{
    struct slice stem = slice_of(text);

    stem.len -= stem.len && text[stem.len - 1] == '*';
    return stem;
}

bool check_grant_pattern(const char *text)
{
    struct slice stem = pattern_stem(text);

    /* A prefix may end with a blank, or be a reserved name: what counts is the whole address. */
    return *text && *text != '#' && stem.len <= ADDRESS_BYTES_MAX && utf8_valid(stem);
}

bool check_group_pattern(const char *text)
{
    struct slice stem = pattern_stem(text);

    return strcmp(text, "*") == 0 ||
           (*text == '#' && stem.len <= ADDRESS_BYTES_MAX && utf8_valid(stem));
}

bool check_env_name(const char *text)
{
    return made_of(text, "_-", 1, 64);
}
