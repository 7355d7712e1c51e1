/*
 * The answers to a request: the 101 (RFC 6455 4.2.2), and answers in JSON after which the
 * connection closes, a refusal with its reason among them.
 *
 * No text of a client is repeated; the client's key is only hashed.
 */
#include "worker/wire/http.h"

#include "common/base64.h"
#include "common/sha1.h"

#include <assert.h>
#include <time.h>

enum { KEY_LEN = 24, DIGEST_LEN = 20, ACCEPT_LEN = 28 };

static void add_accept(struct buf *out, struct slice key)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */
    char text[KEY_LEN + sizeof guid - 1], accept[ACCEPT_LEN];
    uint8_t digest[DIGEST_LEN];

    assert(key.len == KEY_LEN); /* http_check_upgrade has checked the key */
    memcpy(text, key.data, KEY_LEN);
    memcpy(text + KEY_LEN, guid, sizeof guid - 1);
    sha1(text, sizeof text, digest);
    buf_add(out, accept, base64_encode(accept, digest, sizeof digest));
}

void http_answer_upgrade(struct buf *out, struct slice key, const char *protocol,
                         const char *extensions)
{
    buf_add_text(out, "HTTP/1.1 101 Switching Protocols\r\n"
                      "Upgrade: websocket\r\n"
                      "Connection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: ");
    add_accept(out, key);
    if (protocol) {
        buf_add_text(out, "\r\nSec-WebSocket-Protocol: ");
        buf_add_text(out, protocol);
    }
    if (extensions) {
        buf_add_text(out, "\r\nSec-WebSocket-Extensions: ");
        buf_add_text(out, extensions);
    }
    buf_add_text(out, "\r\n\r\n");
}

static const struct {
    int status;
    const char *phrase;
} reasons[] = {
    /* RFC 9110 15; RFC 4918 11.5 */
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 411, "Length Required" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 417, "Expectation Failed" },
    { 422, "Unprocessable Content" },
    { 426, "Upgrade Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
    { 507, "Insufficient Storage" },
};

static const char *reason_phrase(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].phrase;
    return status < 500 ? "Bad Request" : "Internal Server Error";
}

/* Appends text that can stand between quotes, in JSON and in a header alike. The texts are plain
 * ASCII; if one ever is not, its odd bytes become apostrophes rather than an end of the quotes. The
 * length stays. */
static void add_quotable(struct buf *out, const char *text)
{
    for (; *text; text++) {
        uint8_t c = (uint8_t)*text;
        bool plain = c >= ' ' && c < 0x7f && c != '"' && c != '\\';
        buf_add_char(out, (char)(plain ? c : '\''));
    }
}

/* The headers that a status demands. */
static void add_status_headers(struct buf *out, const struct http_refusal *refusal)
{
    switch (refusal->status) {
    case 401: /* RFC 6750 3 */
        buf_add_text(out, "WWW-Authenticate: Bearer error=\"");
        add_quotable(out, refusal->bearer_error ? refusal->bearer_error : "invalid_token");
        buf_add_text(out, "\", error_description=\"");
        add_quotable(out, refusal->message);
        buf_add_text(out, "\"\r\n");
        break;
    case 405:
        buf_add_text(out, "Allow: GET\r\n");
        break;
    case 426: /* RFC 6455 4.2.2, RFC 9110 15.5.22 */
        buf_add_text(out, "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n");
        break;
    case 429:
    case 503:
        buf_addf(out, "Retry-After: %u\r\n", refusal->retry_after_s);
        break;
    default:
        break;
    }
}

static void add_date(struct buf *out, int64_t unix_s)
{
    char text[sizeof "Sun, 06 Nov 1994 08:49:37 GMT"]; /* RFC 9110 5.6.7 */
    time_t seconds = unix_s;
    struct tm tm;

    if (gmtime_r(&seconds, &tm) && strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        buf_addf(out, "Date: %s\r\n", text);
}

void http_answer_status(struct buf *out, int status, int64_t unix_s)
{
    buf_addf(out, "HTTP/1.1 %d %s\r\n", status, reason_phrase(status));
    add_date(out, unix_s);
}

void http_answer_begin(struct buf *out, int status, size_t body_len, int64_t unix_s)
{
    http_answer_status(out, status, unix_s);
    buf_addf(out,
             "Content-Type: application/json\r\n"
             "Content-Length: %zu\r\n",
             body_len);
}

void http_answer_refusal(struct buf *out, const struct http_refusal *refusal, bool to_head,
                         int64_t unix_s)
{
    static const char open[] = "{\"code\":\"", middle[] = "\",\"message\":\"", close[] = "\"}";
    size_t body_len = sizeof open + sizeof middle + sizeof close - 3 + strlen(refusal->code) +
                      strlen(refusal->message);

    http_answer_begin(out, refusal->status, body_len, unix_s);
    /* A sender of Upgrade must list the field in Connection, too (RFC 9110 7.8). */
    buf_add_text(out, refusal->status == 426 ? "Connection: close, Upgrade\r\n"
                                             : "Connection: close\r\n");
    add_status_headers(out, refusal);
    buf_add_text(out, "\r\n");
    if (to_head)
        return;
    buf_add_text(out, open);
    add_quotable(out, refusal->code);
    buf_add_text(out, middle);
    add_quotable(out, refusal->message);
    buf_add_text(out, close);
}
