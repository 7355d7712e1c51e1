/*
 * The head of the HTTP upgrade request: a small, strict, incremental parser, and the answers.
 *
 * Pure. The parser never reads a byte twice, trusts nothing, and knows only what RFC 9112 and RFC
 * 6455 section 4 demand of a GET that asks for a WebSocket. The caller keeps the bytes of the head
 * in one growing buffer (at most limits.headerBytes) and passes the whole buffer each time.
 */
#ifndef WORKER_HTTP_H
#define WORKER_HTTP_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/slice.h"

#include <stdint.h>

enum { HTTP_HEADERS_MAX = 64 };

struct http_header {
    uint32_t name_at, name_len, value_at, value_len; /* offsets into the head */
};

struct http_parser {
    uint32_t at; /* bytes parsed so far */
    uint32_t head_max;
    uint32_t line_at; /* offset at which the current line begins */
    uint32_t method_at, method_len, target_at, target_len;
    uint32_t header_count;
    uint8_t state;
    uint8_t minor_version;
    struct http_header headers[HTTP_HEADERS_MAX];
};

enum http_progress {
    HTTP_MORE,   /* the head is not whole: call again with more bytes */
    HTTP_WHOLE,  /* the head is the first *head_len bytes; WebSocket frames follow */
    HTTP_BROKEN, /* answer with *fault and close: 400, 414, 431 or 505 */
};

/* A fault to be answered: a status with the code and message of the JSON body. All static texts. */
struct http_fault {
    int status;
    const char *code, *message;
};

void http_parser_init(struct http_parser *parser, uint32_t head_max);
enum http_progress http_parse(struct http_parser *parser, const char *head, size_t len,
                              size_t *head_len, struct http_fault *fault);

/* Is the method HEAD, as far as the head has been parsed? */
bool http_asks_head(const struct http_parser *parser, const char *head);

/* The contents of a good upgrade request. Slices lie in the head or in the arena. */
struct http_upgrade {
    struct slice key;  /* Sec-WebSocket-Key */
    struct slice host; /* of an absolute target its authority, else the Host header */
    struct slice origin, authorization, cookie; /* data NULL when absent */
    struct slice client_id, device, since, epoch,
        query_token;              /* percent-decoded; data NULL when absent */
    struct slice bearer_protocol; /* T of an offered "bearer.T" */
    bool offers_v1;               /* "postoffice.v1" was offered */
    struct slice refusals;   /* "close": a refusal is a 101 and a close frame; data NULL: absent */
    struct slice extensions; /* Sec-WebSocket-Extensions, joined */
};

/* The paths that are served: exact, or a prefix that ends in "*". */
struct http_paths {
    char *const *items;
    size_t count;
};
bool http_path_served(const struct http_paths *paths, struct slice path);

/* Checks a whole head in the order of docs/protocol.md section 1.3: method (405), target (400),
 * path (404; paths NULL: any is served), version and upgrade (426), expectations (417), Host, key,
 * bodies, duplicates, subprotocols, query (400). Out of memory is a 503. OK with *upgrade, or
 * ERR_BAD with *fault. */
enum err http_check_upgrade(const struct http_parser *parser, const char *head,
                            const struct http_paths *paths, struct arena *arena,
                            struct http_upgrade *upgrade, struct http_fault *fault);

/* Returns the value of a cookie by name in a Cookie header; data NULL when absent. */
struct slice http_cookie(struct slice header, struct slice name);
/* Does Origin name this Host (without the scheme; a default port equals none)? */
bool http_origin_is_host(struct slice origin, struct slice host);
/* Does an item of auth.origins allow this Origin? The default port of http and https equals none. A
 * host that begins with "*." stands for every name below the rest, and not for the rest itself. */
bool http_origin_matches(struct slice item, struct slice origin);

/* Appends the 101 answer; protocol NULL: none selected; extensions NULL: none agreed. */
void http_answer_upgrade(struct buf *out, struct slice key, const char *protocol,
                         const char *extensions);
/* Appends the status line and Date (RFC 9110 6.6.1) of an answer. */
void http_answer_status(struct buf *out, int status, int64_t unix_s);
/* Appends the begin of an answer in JSON: status line, Date (RFC 9110 6.6.1), Content-Type,
 * Content-Length. The caller adds Connection, other headers, the empty line and the body. */
void http_answer_begin(struct buf *out, int status, size_t body_len, int64_t unix_s);
/* A whole refusal: status line, Date (RFC 9110 6.6.1), Content-Type, Content-Length, Connection:
 * close, the headers that the status demands (401 WWW-Authenticate: Bearer error="bearer_error",
 * error_description="message"; 405 Allow; 426 Sec-WebSocket-Version and Upgrade; 429 and 503
 * Retry-After: retry_after_s), JSON body. */
struct http_refusal {
    int status;
    const char *code, *message;
    const char *bearer_error; /* 401 */
    unsigned retry_after_s;   /* 429, 503 */
};
/* Appends the refusal, at the time unix_s. The answer to HEAD is the same without the body (RFC
 * 9110 9.3.2). */
void http_answer_refusal(struct buf *out, const struct http_refusal *refusal, bool to_head,
                         int64_t unix_s);

#endif
