#include "worker/wire/forwarded.h"

#include "worker/wire/http_head.h"

static void push_hop(struct hops *hops, const struct hop *hop)
{
    hops->hops[hops->count++ % FORWARDED_HOPS_MAX] = *hop;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice trim_blanks(struct slice text)
{
    while (text.len && is_blank(text.data[0]))
        text = slice_make(text.data + 1, text.len - 1);
    while (text.len && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* ---- names of nodes (RFC 7239 section 6) ---- */

/* A port, or an obfuscated one; nobody uses either. */
static bool is_node_port(struct slice text)
{
    if (text.len == 0 || (text.data[0] != '_' && text.len > 5))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[0] != '_' && (text.data[i] < '0' || text.data[i] > '9'))
            return false;
    return true;
}

static bool has_no_rest_or_port(struct slice rest)
{
    return rest.len == 0 ||
           (rest.data[0] == ':' && is_node_port(slice_make(rest.data + 1, rest.len - 1)));
}

static bool read_brackets(struct slice text, struct ip *ip)
{
    const char *end = memchr(text.data, ']', text.len);
    size_t len = end ? (size_t)(end - text.data) : 0;

    return end && memchr(text.data + 1, ':', len) &&
           ip_parse(slice_make(text.data + 1, len - 1), ip) &&
           has_no_rest_or_port(slice_make(end + 1, text.len - len - 1));
}

/* An address with a port or not; an IPv6 address in brackets. */
static bool read_address(struct slice text, struct ip *ip)
{
    const char *colon;
    size_t len;

    if (text.len && text.data[0] == '[')
        return read_brackets(text, ip);
    colon = text.len ? memchr(text.data, ':', text.len) : NULL;
    len = colon ? (size_t)(colon - text.data) : text.len;
    return ip_parse(slice_make(text.data, len), ip) &&
           has_no_rest_or_port(slice_make(text.data + len, text.len - len));
}

/* What stands before a port, if there is one. */
static struct slice without_node_port(struct slice text)
{
    const char *colon = text.len ? memchr(text.data, ':', text.len) : NULL;
    size_t len = colon ? (size_t)(colon - text.data) : text.len;

    if (colon && !is_node_port(slice_make(colon + 1, text.len - len - 1)))
        return text;
    return slice_make(text.data, len);
}

static bool is_hidden(struct slice text)
{
    struct slice name = without_node_port(text);

    if (slice_equal_nocase(name, SLICE("unknown")))
        return true;
    if (name.len < 2 || name.data[0] != '_')
        return false;
    for (size_t i = 1; i < name.len; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static enum hop_kind read_node(struct slice text, struct ip *ip)
{
    if (read_address(text, ip))
        return HOP_ADDRESS;
    return is_hidden(text) ? HOP_HIDDEN : HOP_BAD;
}

/* ---- X-Forwarded-For ---- */

static struct hop read_element(struct slice text)
{
    struct hop hop = { .kind = HOP_ADDRESS };

    if (slice_starts(text, SLICE("unix:"))) /* nginx, of a client on a unix socket */
        hop.ip = (struct ip){ .kind = IP_UNIX };
    else if (!ip_parse(text, &hop.ip)) /* IPv6 without brackets */
        hop.kind = read_node(text, &hop.ip);
    return hop;
}

/* Removes the part before the next comma. False at the end. */
static bool take_element(struct slice *line, struct slice *element)
{
    const char *comma;
    size_t len;

    if (!line->data)
        return false;
    comma = line->len ? memchr(line->data, ',', line->len) : NULL;
    len = comma ? (size_t)(comma - line->data) : line->len;
    *element = trim_blanks(slice_make(line->data, len));
    *line = comma ? slice_make(comma + 1, line->len - len - 1) : (struct slice){ NULL, 0 };
    return true;
}

void forwarded_read_for(const struct http_parser *parser, const char *head, struct hops *hops)
{
    struct slice line, element;
    uint32_t at = 0;

    hops->count = 0;
    while (http_head_next(parser, head, SLICE("X-Forwarded-For"), &at, &line))
        while (take_element(&line, &element))
            if (element.len) { /* empty elements are none (RFC 9110 5.6.1) */
                struct hop hop = read_element(element);
                push_hop(hops, &hop);
            }
}

struct slice forwarded_last(const struct http_parser *parser, const char *head, struct slice name)
{
    struct slice last = { NULL, 0 }, line, element;
    uint32_t at = 0;

    while (http_head_next(parser, head, name, &at, &line))
        while (take_element(&line, &element))
            if (element.len)
                last = element;
    return last;
}

/* ---- Forwarded (RFC 7239 section 4) ---- */

struct scan {
    const char *at, *end;
};

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end && is_blank(*scan->at))
        scan->at++;
}

static struct slice take_token(struct scan *scan)
{
    const char *start = scan->at;

    while (scan->at < scan->end && is_token_char(*scan->at))
        scan->at++;
    return slice_make(start, (size_t)(scan->at - start));
}

/* The contents of a quoted string. No value that is used here needs an escape, so one with an
 * escape is not understood. False: not closed, or not understood. */
static bool take_quoted(struct scan *scan, struct slice *value)
{
    const char *start = ++scan->at;
    bool escaped = false;

    for (; scan->at < scan->end && *scan->at != '"'; scan->at++)
        if (*scan->at == '\\') {
            escaped = true;
            if (++scan->at == scan->end)
                return false;
        }
    if (scan->at == scan->end)
        return false;
    *value = slice_make(start, (size_t)(scan->at - start));
    scan->at++;
    return !escaped;
}

static bool take_value(struct scan *scan, struct slice *value)
{
    if (scan->at < scan->end && *scan->at == '"')
        return take_quoted(scan, value);
    *value = take_token(scan);
    return value->len > 0;
}

/* Takes one name=value into the hop. False: malformed. */
static bool take_pair(struct scan *scan, struct hop *hop, bool *named)
{
    struct slice name = take_token(scan), value;

    if (name.len == 0 || scan->at == scan->end || *scan->at++ != '=' || !take_value(scan, &value))
        return false;
    if (slice_equal_nocase(name, SLICE("for"))) {
        if (*named)
            return false;
        *named = true;
        hop->kind = read_node(value, &hop->ip);
        return hop->kind != HOP_BAD;
    }
    if (slice_equal_nocase(name, SLICE("host")))
        hop->host = value;
    else if (slice_equal_nocase(name, SLICE("proto")))
        hop->proto = value;
    return true;
}

/* Takes the pairs up to the next comma. False: malformed. */
static bool take_pairs(struct scan *scan, struct hop *hop)
{
    bool named = false;

    while (scan->at < scan->end && *scan->at != ',') {
        if (*scan->at != ';' && !take_pair(scan, hop, &named))
            return false;
        skip_blanks(scan);
        if (scan->at == scan->end || *scan->at == ',')
            return true;
        if (*scan->at++ != ';')
            return false;
        skip_blanks(scan);
    }
    return true;
}

/* Goes on behind a fault, at the next comma outside quotes. */
static void skip_element(struct scan *scan)
{
    struct slice unused;

    while (scan->at < scan->end && *scan->at != ',')
        if (*scan->at == '"')
            take_quoted(scan, &unused);
        else
            scan->at++;
}

static void read_line(struct slice line, struct hops *hops)
{
    struct scan scan = { line.data, line.data + line.len };

    while (scan.at < scan.end) {
        struct hop hop = { .kind = HOP_HIDDEN };
        if (is_blank(*scan.at) || *scan.at == ',') {
            scan.at++;
            continue;
        }
        if (!take_pairs(&scan, &hop)) {
            hop = (struct hop){ .kind = HOP_BAD };
            skip_element(&scan);
        }
        push_hop(hops, &hop);
    }
}

void forwarded_read(const struct http_parser *parser, const char *head, struct hops *hops)
{
    struct slice line;
    uint32_t at = 0;

    hops->count = 0;
    while (http_head_next(parser, head, SLICE("Forwarded"), &at, &line))
        read_line(line, hops);
}
