/*
 * The parser of the upgrade request's head.
 *
 * One state machine, one pass: each byte is read once, whatever the pieces in which the head came,
 * and judged at once, so that a TLS hello or an HTTP/2 preface on this port is refused at its first
 * bytes. The parser is stricter than RFC 9112 where leniency has been a way to smuggle: lines end
 * in CR LF only, no folding, no white space before a colon, no control characters, nothing but
 * empty lines before the request line.
 *
 * The parser knows no header by name; http_upgrade.c judges their values.
 */
#include "worker/wire/http.h"

enum state {                /* the part of the head that the next byte belongs to */
             IN_EMPTY_LINE, /* before the request line, RFC 9112 2.2 */
             IN_EMPTY_LINE_LF,
             IN_METHOD,
             IN_TARGET,
             IN_VERSION,
             IN_LINE_START,
             IN_NAME,
             IN_BEFORE_VALUE,
             IN_VALUE,
             IN_VALUE_LF,
             IN_END_LF,
             IN_BODY, /* the head is whole */
             BROKEN,  /* BROKEN + n: faults[n] */
};

static const struct http_fault faults[] = {
#define BAD_METHOD (BROKEN + 0)
    { 400, "bad-request", "the method is not a token" },
#define BAD_TARGET (BROKEN + 1)
    { 400, "bad-request", "the request target must be a path or an http URI in visible ASCII" },
#define BAD_VERSION (BROKEN + 2)
    { 400, "bad-request", "the request must be HTTP/1.1" },
#define BAD_NAME (BROKEN + 3)
    { 400, "bad-request", "a header name is not a token followed by a colon" },
#define BAD_VALUE (BROKEN + 4)
    { 400, "bad-request", "a control character in a header value" },
#define BAD_LINE_END (BROKEN + 5)
    { 400, "bad-request", "lines must end in CR LF" },
#define TOO_MANY (BROKEN + 6)
    { 431, "headers-too-large", "too many header fields" },
#define TOO_LONG (BROKEN + 7)
    { 431, "headers-too-large", "the request head is too long" },
#define TARGET_TOO_LONG (BROKEN + 8) /* RFC 9112 3 */
    { 414, "uri-too-long", "the request target is too long" },
#define OTHER_MAJOR (BROKEN + 9) /* RFC 9110 15.6.6; the preface of HTTP/2 begins so */
    { 505, "http-version", "only HTTP/1.1 is spoken here" },
};

/* RFC 9110 5.6.2. */
static bool is_token_char(uint8_t c)
{
    static const uint8_t token[256] = {
        ['!'] = 1,         ['#'] = 1,         ['$'] = 1,         ['%'] = 1, ['&'] = 1,
        ['\''] = 1,        ['*'] = 1,         ['+'] = 1,         ['-'] = 1, ['.'] = 1,
        ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['^' ... 'z'] = 1, ['|'] = 1, ['~'] = 1,
    };

    return token[c];
}

/* RFC 9110 5.5: visible, obs-text, space and tab. */
static bool is_value_char(uint8_t c)
{
    return c == '\t' || (c >= ' ' && c != 0x7f);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

void http_parser_init(struct http_parser *parser, uint32_t head_max)
{
    parser->at = 0;
    parser->head_max = head_max;
    parser->line_at = 0;
    parser->method_at = 0;
    parser->method_len = 0;
    parser->target_at = 0;
    parser->target_len = 0;
    parser->header_count = 0;
    parser->state = IN_EMPTY_LINE;
    parser->minor_version = 0;
}

/* Each of these takes the byte at parser->at and returns the state for the next one. */

static uint8_t take_method(struct http_parser *parser, uint8_t c)
{
    if (is_token_char(c))
        return IN_METHOD;
    if (c != ' ' || parser->at == parser->method_at)
        return BAD_METHOD;
    parser->method_len = parser->at - parser->method_at;
    parser->target_at = parser->at + 1;
    return IN_TARGET;
}

/* Some clients end a request with one CR LF too many. */
static uint8_t take_empty_line(struct http_parser *parser, uint8_t c)
{
    if (c == '\r')
        return IN_EMPTY_LINE_LF;
    parser->method_at = parser->at;
    return take_method(parser, c);
}

/* Any form of a target (RFC 9112 3.2); http_target.c judges the form. */
static uint8_t take_target(struct http_parser *parser, uint8_t c)
{
    parser->target_len = parser->at - parser->target_at;
    if (c == ' ' && parser->target_len) {
        parser->line_at = parser->at + 1;
        return IN_VERSION;
    }
    return c > ' ' && c < 0x7f && c != '#' ? IN_TARGET : BAD_TARGET;
}

/* "HTTP/1.", a minor version, CR LF. http_upgrade.c refuses version 1.0, which a health check may
 * have. */
static uint8_t take_version(struct http_parser *parser, uint8_t c)
{
    static const char expected[] = "HTTP/1.d\r\n";
    uint32_t index = parser->at - parser->line_at;

    if (expected[index] == 'd') {
        parser->minor_version = (uint8_t)(c - '0');
        return c >= '0' && c <= '9' ? IN_VERSION : BAD_VERSION;
    }
    if (expected[index] == '1' && c >= '0' && c <= '9' && c != '1')
        return OTHER_MAJOR;
    if (c != (uint8_t)expected[index])
        return index < sizeof expected - 3 ? BAD_VERSION : BAD_LINE_END;
    return c == '\n' ? IN_LINE_START : IN_VERSION;
}

static uint8_t take_line_start(struct http_parser *parser, uint8_t c)
{
    if (c == '\r')
        return IN_END_LF;
    if (!is_token_char(c)) /* a folded line begins with a blank, too (RFC 9112 5.2) */
        return c == '\n' ? BAD_LINE_END : BAD_NAME;
    if (parser->header_count == HTTP_HEADERS_MAX)
        return TOO_MANY;
    parser->line_at = parser->at;
    return IN_NAME;
}

static uint8_t take_name(struct http_parser *parser, uint8_t c)
{
    struct http_header *header = &parser->headers[parser->header_count];

    if (is_token_char(c))
        return IN_NAME;
    if (c != ':')
        return BAD_NAME;
    header->name_at = parser->line_at;
    header->name_len = parser->at - parser->line_at;
    header->value_at = parser->at + 1;
    header->value_len = 0;
    return IN_BEFORE_VALUE;
}

/* White space around a value is not part of the value: value_len grows only up to the last byte
 * that is not blank. */
static uint8_t take_value(struct http_parser *parser, uint8_t c)
{
    struct http_header *header = &parser->headers[parser->header_count];

    if (c == '\r')
        return IN_VALUE_LF;
    if (!is_value_char(c))
        return c == '\n' ? BAD_LINE_END : BAD_VALUE;
    if (is_blank(c))
        return parser->state;
    if (parser->state == IN_BEFORE_VALUE)
        header->value_at = parser->at;
    header->value_len = parser->at + 1 - header->value_at;
    return IN_VALUE;
}

static uint8_t take_line_feed(struct http_parser *parser, uint8_t c)
{
    if (c != '\n')
        return BAD_LINE_END;
    if (parser->state == IN_EMPTY_LINE_LF)
        return IN_EMPTY_LINE;
    if (parser->state == IN_END_LF)
        return IN_BODY;
    parser->header_count++;
    return IN_LINE_START;
}

static uint8_t take_byte(struct http_parser *parser, uint8_t c)
{
    switch (parser->state) {
    case IN_EMPTY_LINE:
        return take_empty_line(parser, c);
    case IN_METHOD:
        return take_method(parser, c);
    case IN_TARGET:
        return take_target(parser, c);
    case IN_VERSION:
        return take_version(parser, c);
    case IN_LINE_START:
        return take_line_start(parser, c);
    case IN_NAME:
        return take_name(parser, c);
    case IN_BEFORE_VALUE:
    case IN_VALUE:
        return take_value(parser, c);
    default:
        return take_line_feed(parser, c);
    }
}

bool http_asks_head(const struct http_parser *parser, const char *head)
{
    return slice_equal(slice_make(head + parser->method_at, parser->method_len), SLICE("HEAD"));
}

enum http_progress http_parse(struct http_parser *parser, const char *head, size_t len,
                              size_t *head_len, struct http_fault *fault)
{
    while (parser->state < IN_BODY && parser->at < len && parser->at < parser->head_max) {
        parser->state = take_byte(parser, (uint8_t)head[parser->at]);
        parser->at++;
    }
    /* The caller's buffer is full and the head is not whole: the head is too long. */
    if (parser->state < IN_BODY && parser->at == parser->head_max)
        parser->state = parser->state == IN_TARGET ? TARGET_TOO_LONG : TOO_LONG;
    if (parser->state < IN_BODY)
        return HTTP_MORE;
    if (parser->state == IN_BODY) {
        *head_len = parser->at;
        return HTTP_WHOLE;
    }
    *fault = faults[parser->state - BROKEN];
    return HTTP_BROKEN;
}
