/*
 * Judges a whole head: is the request an upgrade to WebSocket (RFC 6455 4.2.1), and whose?
 *
 * The headers are sorted once by the known names; then the rules are checked in the order in which
 * docs/protocol.md lists the answers. A header that two readers could take differently (given
 * twice, a body that is announced) is refused, never interpreted.
 */
#include "worker/wire/http_head.h"
#include "worker/wire/http_parts.h"

#include "common/base64.h"

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

/* Is word an element of the list that all lines of this header make up? Without regard to case. */
static bool lists(const struct request *request, enum known known, struct slice word)
{
    for (uint32_t i = 0; i < request->parser->header_count; i++) {
        struct slice value, element;
        if (request->known[i] != known)
            continue;
        value = header_value(request, i);
        while (http_take_element(&value, ',', &element))
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

/* --- the rules --- */

static enum err check_request_line(const struct request *request, const struct http_paths *paths,
                                   struct http_target *target, struct http_fault *fault)
{
    struct slice method =
        slice_make(request->head + request->parser->method_at, request->parser->method_len);

    if (request->parser->minor_version == 0) /* RFC 6455 4.2.1 */
        return http_bad_request(fault, "the request must be HTTP/1.1");
    if (!slice_equal(method, SLICE("GET")))
        return http_refuse(fault, 405, "method-not-allowed", "only GET is served here");
    if (!http_target_read(
            slice_make(request->head + request->parser->target_at, request->parser->target_len),
            target))
        return http_bad_request(fault, "the request target must be a good path or an http URI");
    if (paths && !http_path_served(paths, target->path))
        return http_refuse(fault, 404, "not-found", "no WebSocket is served at this path");
    return OK;
}

static enum err check_upgrade_wanted(const struct request *request, struct http_fault *fault)
{
    if (!lists(request, HEADER_upgrade, SLICE("websocket")) ||
        !lists(request, HEADER_connection, SLICE("upgrade")))
        return http_refuse(fault, 426, "upgrade-required", "this is a WebSocket endpoint");
    /* An intermediary may join two lines to "13, 13", so both forms get one answer. */
    if (request->lines[HEADER_version] > 1 ||
        (request->lines[HEADER_version] &&
         !slice_equal(request->first[HEADER_version], SLICE("13"))))
        return http_refuse(fault, 426, "upgrade-required", "only WebSocket version 13 is spoken");
    if (!request->lines[HEADER_version])
        return http_refuse(fault, 426, "upgrade-required", "Sec-WebSocket-Version is missing");
    /* A 100 must come before the 101 (RFC 9110 7.8), but an upgrade request has no body that could
     * wait for the 100, and clients of WebSocket do not know the 100. */
    if (request->lines[HEADER_expect])
        return http_refuse(fault, 417, "expectation-failed",
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

    if (!request->lines[HEADER_host] || !http_is_host(request->first[HEADER_host]))
        return http_bad_request(fault, "Host is missing or malformed");
    if (!request->lines[HEADER_key] || !is_key(request->first[HEADER_key]))
        return http_bad_request(fault, "Sec-WebSocket-Key is missing or malformed");
    if (request->lines[HEADER_transfer_encoding])
        return http_bad_request(fault, "an upgrade request has no body");
    if (content_length.data && !slice_equal(content_length, SLICE("0")))
        return http_bad_request(fault, "an upgrade request has no body");
    for (size_t i = 0; i < sizeof once / sizeof once[0]; i++)
        if (request->lines[once[i]] > 1)
            return http_bad_request(fault, "a header that must be single is given twice");
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
        return http_bad_request(fault, "an offered subprotocol is not a token");
    if (slice_equal(offer, SLICE("postoffice.v1")))
        upgrade->offers_v1 = true;
    if (!slice_starts(offer, bearer))
        return OK;
    if (upgrade->bearer_protocol.data)
        return http_bad_request(fault, "two bearer subprotocols are offered");
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
        while (http_take_element(&value, ',', &offer))
            if (take_protocol(offer, upgrade, fault))
                return ERR_BAD;
    }
    /* A browser drops a connection that selects none of the subprotocols it offered. */
    if (upgrade->bearer_protocol.data && !upgrade->offers_v1)
        return http_bad_request(fault, "bearer.T is never selected: offer postoffice.v1 too");
    return OK;
}

/* Takes single headers as they are, and the lines of list headers joined. */
static enum err take_headers(const struct request *request, const struct http_target *target,
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
        return http_no_memory(fault);
    return take_protocols(request, upgrade, fault);
}

enum err http_check_upgrade(const struct http_parser *parser, const char *head,
                            const struct http_paths *paths, struct arena *arena,
                            struct http_upgrade *upgrade, struct http_fault *fault)
{
    struct request request = { .parser = parser, .head = head, .arena = arena };
    struct http_target target;
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
    return err ? err : http_take_query(arena, target.query, upgrade, fault);
}
