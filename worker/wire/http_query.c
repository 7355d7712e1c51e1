/*
 * Judges a whole head: is the request an upgrade to WebSocket (RFC 6455 4.2.1), and whose?
 *
 * The headers are sorted once by the known names; then the rules are checked in the order in which
 * docs/protocol.md lists the answers. A header that two readers could take differently (given
 * twice, a body that is announced) is refused, never interpreted.
 */
#include "worker/wire/http.h"

#include "common/base64.h"
#include "common/seq.h"
#include "common/utf8.h"

/* X(member, name): the known headers. */
#define HEADERS(X)                                                                                 \
    X(host, "Host")                                                                                \
    X(connection, "Connection")                                                                    \
    X(upgrade, "Upgrade")                                                                          \
    X(key, "Sec-WebSocket-Key")                                                                    \
    X(version, "Sec-WebSocket-Version")                                                            \
    X(protocol, "Sec-WebSocket-Protocol")                                                          \
    X(extensions, "Sec-WebSocket-Extensions")                                                      \
    X(origin, "Origin")                                                                            \
    X(authorization, "Authorization")                                                              \
    X(cookie, "Cookie")                                                                            \
    X(expect, "Expect")                                                                            \
    X(content_length, "Content-Length")                                                            \
    X(transfer_encoding, "Transfer-Encoding")

enum known {
#define X(member, name) HEADER_##member,
    HEADERS(X)
#undef X
        HEADER_COUNT
};

static const struct slice header_names[HEADER_COUNT] = {
#define X(member, name) { name, sizeof name - 1 },
    HEADERS(X)
#undef X
};

/* One request under judgement. */
struct request {
    const struct http_parser *parser;
    const char *head;
    struct arena *arena;
    struct slice first[HEADER_COUNT]; /* the first value of each known header; data NULL when there
                                         is none */
    uint32_t lines[HEADER_COUNT];     /* number of lines of each known header */
    uint8_t known[HTTP_HEADERS_MAX];  /* the known header of each line of the head */
};

static enum err refuse_request(struct http_fault *fault, int status, const char *code,
                               const char *message)
{
    *fault = (struct http_fault){ status, code, message };
    return ERR_BAD;
}

static enum err bad_request(struct http_fault *fault, const char *message)
{
    return refuse_request(fault, 400, "bad-request", message);
}

static enum err no_memory(struct http_fault *fault)
{
    return refuse_request(fault, 503, "overloaded", "out of memory");
}

static struct slice header_value(const struct request *request, uint32_t i)
{
    const struct http_header *header = &request->parser->headers[i];

    return slice_make(request->head + header->value_at, header->value_len);
}

/* Returns which known header line i is; HEADER_COUNT for none. */
static enum known recognise(const struct request *request, uint32_t i)
{
    const struct http_header *header = &request->parser->headers[i];
    struct slice name = slice_make(request->head + header->name_at, header->name_len);
    enum known known = 0;

    while (known < HEADER_COUNT && !slice_equal_nocase(name, header_names[known]))
        known++;
    return known;
}

static void sort_headers(struct request *request)
{
    for (uint32_t i = 0; i < request->parser->header_count; i++) {
        enum known known = recognise(request, i);
        request->known[i] = (uint8_t)known;
        if (known == HEADER_COUNT)
            continue;
        if (request->lines[known]++ == 0)
            request->first[known] = header_value(request, i);
    }
}

/* --- lists (RFC 9110 5.6.1) --- */

static struct slice trim(struct slice text)
{
    while (text.len && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Removes the part before the next separator from text, and returns it trimmed in *element. False
 * at the end. */
static bool take_element(struct slice *text, char separator, struct slice *element)
{
    const char *found;
    size_t len;

    if (!text->data)
        return false;
    found = text->len ? memchr(text->data, separator, text->len) : NULL;
    len = found ? (size_t)(found - text->data) : text->len;
    *element = trim(slice_make(text->data, len));
    *text = found ? slice_make(found + 1, text->len - len - 1) : (struct slice){ NULL, 0 };
    return true;
}

/* Is word an element of the list that all lines of this header make up? Without regard to case. */
static bool lists(const struct request *request, enum known known, struct slice word)
{
    for (uint32_t i = 0; i < request->parser->header_count; i++) {
        struct slice value, element;
        if (request->known[i] != known)
            continue;
        value = header_value(request, i);
        while (take_element(&value, ',', &element))
            if (slice_equal_nocase(element, word))
                return true;
    }
    return false;
}

/* Joins all lines of a header, as an intermediary may do (RFC 9110 5.3; RFC 9113 8.2.3 for
 * cookies). data is NULL when the header is absent, or memory is out. */
static struct slice join(const struct request *request, enum known known, const char *separator)
{
    size_t room = 0, len = 0;
    char *text;

    if (request->lines[known] <= 1)
        return request->first[known];
    for (uint32_t i = 0; i < request->parser->header_count; i++)
        if (request->known[i] == known)
            room += header_value(request, i).len + 2;
    text = arena_take(request->arena, room);
    if (!text)
        return (struct slice){ NULL, 0 };
    for (uint32_t i = 0; i < request->parser->header_count; i++) {
        struct slice value = header_value(request, i);
        if (request->known[i] != known)
            continue;
        if (len) {
            memcpy(text + len, separator, 2);
            len += 2;
        }
        if (value.len)
            memcpy(text + len, value.data, value.len);
        len += value.len;
    }
    return slice_make(text, len);
}

/* --- the query --- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Returns the byte that the percent sequence at i stands for (RFC 3986 2.1); -1 for a broken
 * sequence and for %00. */
static int percent_byte(struct slice text, size_t i)
{
    int high = text.len - i > 2 ? hex_value(text.data[i + 1]) : -1;
    int low = text.len - i > 2 ? hex_value(text.data[i + 2]) : -1;

    return high < 0 || low < 0 || high + low == 0 ? -1 : high << 4 | low;
}

/* Undoes percent-encoding into out, which has room for text.len bytes. '+' stays: only HTML forms
 * write a space so. False for a bad sequence or %00. */
static bool percent_decode(struct slice text, char *out, size_t *out_len)
{
    *out_len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            int byte = percent_byte(text, i);
            if (byte < 0)
                return false;
            c = (char)byte;
            i += 2;
        }
        out[(*out_len)++] = c;
    }
    return true;
}

/* Copies into the arena only text that has percent signs. */
static enum err decode_part(struct arena *arena, struct slice text, struct slice *decoded,
                            struct http_fault *fault)
{
    char *out;

    *decoded = text;
    if (!text.len || !memchr(text.data, '%', text.len))
        return OK;
    out = arena_take(arena, text.len);
    if (!out)
        return no_memory(fault);
    if (!percent_decode(text, out, &decoded->len))
        return bad_request(fault, "a bad percent sequence in the query");
    decoded->data = out;
    return utf8_valid(*decoded) ? OK : bad_request(fault, "the query is not UTF-8");
}

static struct slice *parameter(struct http_upgrade *upgrade, struct slice name)
{
    struct {
        struct slice name, *member;
    } known[] = {
        { SLICE("clientID"), &upgrade->client_id }, { SLICE("device"), &upgrade->device },
        { SLICE("since"), &upgrade->since },        { SLICE("epoch"), &upgrade->epoch },
        { SLICE("token"), &upgrade->query_token },  { SLICE("refusals"), &upgrade->refusals },
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (slice_equal(known[i].name, name))
            return known[i].member;
    return NULL;
}

/* Takes one name=value. Every parameter must decode, unknown ones too: one rule without
 * exceptions. */
static enum err take_parameter(struct arena *arena, struct slice text, struct http_upgrade *upgrade,
                               struct http_fault *fault)
{
    const char *equals = text.len ? memchr(text.data, '=', text.len) : NULL;
    size_t name_len = equals ? (size_t)(equals - text.data) : text.len;
    size_t value_at = equals ? name_len + 1 : name_len;
    struct slice name, value, *member;

    if (decode_part(arena, slice_make(text.data, name_len), &name, fault) ||
        decode_part(arena, slice_make(text.data + value_at, text.len - value_at), &value, fault))
        return ERR_BAD;
    member = parameter(upgrade, name);
    if (!member)
        return OK;
    if (member->data)
        return bad_request(fault, "a query parameter is given twice");
    *member = value;
    return OK;
}

/* A text that no session can begin at is refused here, not ignored by the session. */
static bool is_since(struct slice since)
{
    struct seq seq;

    return slice_equal(since, SLICE("now")) || seq_parse(since, &seq);
}

static enum err take_query(struct arena *arena, struct slice query, struct http_upgrade *upgrade,
                           struct http_fault *fault)
{
    while (query.data) {
        const char *end = query.len ? memchr(query.data, '&', query.len) : NULL;
        size_t len = end ? (size_t)(end - query.data) : query.len;
        if (take_parameter(arena, slice_make(query.data, len), upgrade, fault))
            return ERR_BAD;
        query = end ? slice_make(end + 1, query.len - len - 1) : (struct slice){ NULL, 0 };
    }
    if (upgrade->since.data && !is_since(upgrade->since))
        return bad_request(fault, "since must be a seq (MS-N or MS) or now");
    if (upgrade->refusals.data && !slice_equal(upgrade->refusals, SLICE("close")))
        return bad_request(fault, "refusals must be close");
    return OK;
}

/* --- the rules --- */

/* The request target, taken apart. */
struct target {
    struct slice authority; /* of the absolute form; data NULL: origin form */
    struct slice path;      /* an empty path is "/" (RFC 9110 4.2.3) */
    struct slice query;     /* data NULL: none */
};

/* A host name: unreserved characters, percent sequences, sub-delims (RFC 3986 3.2.2). */
static bool is_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (!c || !strchr("-._~!$&'()*+;=%", c)))
            return false;
        if (c == '%' && percent_byte(name, i) < 0)
            return false;
    }
    return name.len > 0;
}

/* Returns the length of "[IPv6]" at the start of host, 0 when there is none. */
static size_t literal_len(struct slice host)
{
    size_t len = 1;

    if (!host.len || host.data[0] != '[')
        return 0;
    while (len < host.len && host.data[len] && strchr("0123456789abcdefABCDEF:.", host.data[len]))
        len++;
    return len > 2 && len < host.len && host.data[len] == ']' ? len + 1 : 0;
}

/* ":" and a number, as far as a port can reach; nothing; or ":" alone (RFC 3986 3.2.3). */
static bool is_port(struct slice port)
{
    unsigned number = 0;

    if (port.len && port.data[0] != ':')
        return false;
    for (size_t i = 1; i < port.len; i++) {
        if (port.data[i] < '0' || port.data[i] > '9')
            return false;
        number = number * 10 + (unsigned)(port.data[i] - '0');
        if (number > 65535)
            return false;
    }
    return true;
}

/* Is host a name or an address, perhaps with a port (RFC 9110 7.2)? The comma of sub-delims is left
 * out, because a list of two hosts is what two Host headers become on their way. */
static bool is_host(struct slice host)
{
    size_t len = literal_len(host);

    if (len == 0) {
        const char *colon = host.len ? memchr(host.data, ':', host.len) : NULL;
        len = colon ? (size_t)(colon - host.data) : host.len;
        if (!is_name(slice_make(host.data, len)))
            return false;
    }
    return is_port(slice_make(host.data + len, host.len - len));
}

/* Removes "http://" or "https://" and the authority from text. False when there is none. */
static bool take_authority(struct slice *text, struct slice *authority)
{
    static const struct slice schemes[] = { { "http://", 7 }, { "https://", 8 } };
    size_t len = 0;

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (text->len >= schemes[i].len &&
            slice_equal_nocase(slice_make(text->data, schemes[i].len), schemes[i]))
            len = schemes[i].len;
    if (len == 0)
        return false;
    *text = slice_make(text->data + len, text->len - len);
    for (len = 0; len < text->len && text->data[len] != '/' && text->data[len] != '?';)
        len++;
    *authority = slice_make(text->data, len);
    *text = slice_make(text->data + len, text->len - len);
    return is_host(*authority);
}

/* Is every percent sequence of a path whole, and none a NUL? A path is compared undecoded. */
static bool is_path(struct slice path)
{
    for (size_t i = 0; i < path.len; i++)
        if (path.data[i] == '%' && percent_byte(path, i) < 0)
            return false;
    return true;
}

/* False: neither a path nor an absolute http URI. */
static bool target_read(const struct request *request, struct target *target)
{
    struct slice text =
        slice_make(request->head + request->parser->target_at, request->parser->target_len);
    const char *mark;

    *target = (struct target){ 0 };
    if (text.data[0] != '/' && !take_authority(&text, &target->authority))
        return false;
    mark = text.len ? memchr(text.data, '?', text.len) : NULL;
    if (mark) {
        target->query = slice_make(mark + 1, (size_t)(text.data + text.len - mark - 1));
        text.len = (size_t)(mark - text.data);
    }
    target->path = text.len ? text : SLICE("/");
    return is_path(target->path);
}

static enum err check_request_line(const struct request *request, const struct http_paths *paths,
                                   struct target *target, struct http_fault *fault)
{
    struct slice method =
        slice_make(request->head + request->parser->method_at, request->parser->method_len);

    if (request->parser->minor_version == 0) /* RFC 6455 4.2.1 */
        return bad_request(fault, "the request must be HTTP/1.1");
    if (!slice_equal(method, SLICE("GET")))
        return refuse_request(fault, 405, "method-not-allowed", "only GET is served here");
    if (!target_read(request, target))
        return bad_request(fault, "the request target must be a good path or an http URI");
    if (paths && !http_path_served(paths, target->path))
        return refuse_request(fault, 404, "not-found", "no WebSocket is served at this path");
    return OK;
}

static enum err check_upgrade_wanted(const struct request *request, struct http_fault *fault)
{
    if (!lists(request, HEADER_upgrade, SLICE("websocket")) ||
        !lists(request, HEADER_connection, SLICE("upgrade")))
        return refuse_request(fault, 426, "upgrade-required", "this is a WebSocket endpoint");
    /* An intermediary may join two lines to "13, 13", so both forms get one answer. */
    if (request->lines[HEADER_version] > 1 ||
        (request->lines[HEADER_version] &&
         !slice_equal(request->first[HEADER_version], SLICE("13"))))
        return refuse_request(fault, 426, "upgrade-required",
                              "only WebSocket version 13 is spoken");
    if (!request->lines[HEADER_version])
        return refuse_request(fault, 426, "upgrade-required", "Sec-WebSocket-Version is missing");
    /* A 100 must come before the 101 (RFC 9110 7.8), but an upgrade request has no body that could
     * wait for the 100, and clients of WebSocket do not know the 100. */
    if (request->lines[HEADER_expect])
        return refuse_request(fault, 417, "expectation-failed",
                              "an upgrade request has no body to wait with");
    return OK;
}

/* 4.2.1: sixteen bytes in base64. */
static bool is_key(struct slice key)
{
    uint8_t bytes[16];
    size_t len;

    return base64_decode(key, bytes, sizeof bytes, &len) && len == sizeof bytes;
}

static enum err check_fields(const struct request *request, struct http_fault *fault)
{
    static const enum known once[] = { HEADER_host, HEADER_key, HEADER_origin, HEADER_authorization,
                                       HEADER_content_length };
    struct slice content_length = request->first[HEADER_content_length];

    if (!request->lines[HEADER_host] || !is_host(request->first[HEADER_host]))
        return bad_request(fault, "Host is missing or malformed");
    if (!request->lines[HEADER_key] || !is_key(request->first[HEADER_key]))
        return bad_request(fault, "Sec-WebSocket-Key is missing or malformed");
    if (request->lines[HEADER_transfer_encoding])
        return bad_request(fault, "an upgrade request has no body");
    if (content_length.data && !slice_equal(content_length, SLICE("0")))
        return bad_request(fault, "an upgrade request has no body");
    for (size_t i = 0; i < sizeof once / sizeof once[0]; i++)
        if (request->lines[once[i]] > 1)
            return bad_request(fault, "a header that must be single is given twice");
    return OK;
}

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)text.data[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return true;
}

/* The offered subprotocols (RFC 6455 4.1): tokens, each at most once. */
static enum err take_protocol(struct slice offer, struct http_upgrade *upgrade,
                              struct http_fault *fault)
{
    static const struct slice bearer = { "bearer.", 7 };

    if (!is_token(offer))
        return bad_request(fault, "an offered subprotocol is not a token");
    if (slice_equal(offer, SLICE("postoffice.v1")))
        upgrade->offers_v1 = true;
    if (!slice_starts(offer, bearer))
        return OK;
    if (upgrade->bearer_protocol.data)
        return bad_request(fault, "two bearer subprotocols are offered");
    upgrade->bearer_protocol = slice_make(offer.data + bearer.len, offer.len - bearer.len);
    return OK;
}

static enum err take_protocols(const struct request *request, struct http_upgrade *upgrade,
                               struct http_fault *fault)
{
    for (uint32_t i = 0; i < request->parser->header_count; i++) {
        struct slice value, offer;
        if (request->known[i] != HEADER_protocol)
            continue;
        value = header_value(request, i);
        while (take_element(&value, ',', &offer))
            if (take_protocol(offer, upgrade, fault))
                return ERR_BAD;
    }
    /* A browser drops a connection that selects none of the subprotocols it offered. */
    if (upgrade->bearer_protocol.data && !upgrade->offers_v1)
        return bad_request(fault, "bearer.T is never selected: offer postoffice.v1 too");
    return OK;
}

/* Takes single headers as they are, and the lines of list headers joined. */
static enum err take_headers(const struct request *request, const struct target *target,
                             struct http_upgrade *upgrade, struct http_fault *fault)
{
    upgrade->key = request->first[HEADER_key];
    upgrade->host = target->authority.data ? target->authority : request->first[HEADER_host];
    upgrade->origin = request->first[HEADER_origin];
    upgrade->authorization = request->first[HEADER_authorization];
    upgrade->cookie = join(request, HEADER_cookie, "; ");
    upgrade->extensions = join(request, HEADER_extensions, ", ");
    if ((request->lines[HEADER_cookie] && !upgrade->cookie.data) ||
        (request->lines[HEADER_extensions] && !upgrade->extensions.data))
        return no_memory(fault);
    return take_protocols(request, upgrade, fault);
}

enum err http_check_upgrade(const struct http_parser *parser, const char *head,
                            const struct http_paths *paths, struct arena *arena,
                            struct http_upgrade *upgrade, struct http_fault *fault)
{
    struct request request = { .parser = parser, .head = head, .arena = arena };
    struct target target;
    enum err err;

    *upgrade = (struct http_upgrade){ 0 };
    sort_headers(&request);
    err = check_request_line(&request, paths, &target, fault);
    if (!err)
        err = check_upgrade_wanted(&request, fault);
    if (!err)
        err = check_fields(&request, fault);
    if (!err)
        err = take_headers(&request, &target, upgrade, fault);
    return err ? err : take_query(arena, target.query, upgrade, fault);
}

/* --- cookies and origins --- */

struct slice http_cookie(struct slice header, struct slice name)
{
    struct slice pair;

    while (take_element(&header, ';', &pair)) /* RFC 6265 4.2.1 */
        if (pair.len > name.len && pair.data[name.len] == '=' && slice_starts(pair, name))
            return slice_make(pair.data + name.len + 1, pair.len - name.len - 1);
    return (struct slice){ NULL, 0 };
}

/* Cuts ":port" off an authority when the port is `port` or empty. Never cuts within an IPv6
 * address, which ends in a bracket. */
static struct slice without_port(struct slice authority, struct slice port)
{
    size_t len = authority.len;

    if (len && authority.data[len - 1] == ':')
        return slice_make(authority.data, len - 1);
    if (len > port.len && slice_equal(slice_make(authority.data + len - port.len, port.len), port))
        return slice_make(authority.data, len - port.len);
    return authority;
}

/* An Origin (RFC 6454 6.2), or an item of auth.origins. */
struct origin {
    struct slice scheme, authority; /* the authority without the scheme's default port */
};

/* False for "null" and for text without "://". */
static bool origin_read(struct slice text, struct origin *origin)
{
    size_t len = 0;

    while (len + 3 <= text.len && memcmp(text.data + len, "://", 3) != 0)
        len++;
    if (len == 0 || len + 3 > text.len)
        return false;
    origin->scheme = slice_make(text.data, len);
    origin->authority = slice_make(text.data + len + 3, text.len - len - 3);
    if (slice_equal(origin->scheme, SLICE("http")))
        origin->authority = without_port(origin->authority, SLICE(":80"));
    else if (slice_equal(origin->scheme, SLICE("https")))
        origin->authority = without_port(origin->authority, SLICE(":443"));
    return origin->authority.len > 0;
}

bool http_origin_is_host(struct slice origin, struct slice host)
{
    bool secure = slice_starts(origin, SLICE("https://"));
    struct origin named;

    /* Other schemes than these name no host. */
    if (!origin.data || !host.data || (!secure && !slice_starts(origin, SLICE("http://"))) ||
        !origin_read(origin, &named))
        return false;
    return slice_equal_nocase(named.authority,
                              without_port(host, secure ? SLICE(":443") : SLICE(":80")));
}

/* Is authority one or more labels and then suffix, as "a.b.example.com" is with ".example.com"? */
static bool is_below(struct slice authority, struct slice suffix)
{
    size_t labels_len = authority.len - suffix.len;

    if (authority.len <= suffix.len ||
        !slice_equal(slice_make(authority.data + labels_len, suffix.len), suffix))
        return false;
    for (size_t i = 0; i < labels_len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789.-_", authority.data[i]) ||
            !authority.data[i])
            return false;
    return true;
}

bool http_origin_matches(struct slice item, struct slice origin)
{
    struct origin allowed, named;

    if (!origin_read(item, &allowed) || !origin_read(origin, &named) ||
        !slice_equal(allowed.scheme, named.scheme))
        return false;
    if (slice_starts(allowed.authority, SLICE("*.")))
        return is_below(named.authority,
                        slice_make(allowed.authority.data + 1, allowed.authority.len - 1));
    return slice_equal(allowed.authority, named.authority);
}
