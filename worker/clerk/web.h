/*
 * The HTTP/1.1 server of the clerk: requests with a body of a known length, one after the other on
 * a connection (RFC 9112).
 *
 * The head goes through the strict parser of worker/wire/http.h. Bounded: connections, bytes of a
 * head, of a body and of all bodies together, and the time of a request and of its answer. The
 * server knows no path and no right; the handler does.
 *
 * Connections at unix sockets and those at addresses are bounded apart. Of those at addresses one
 * that has shown no good token gives way to a newer one when all places are taken.
 */
#ifndef WORKER_CLERK_WEB_H
#define WORKER_CLERK_WEB_H

#include "common/slice.h"
#include "shm/stats.h"
#include "worker/io/loop.h"
#include "worker/wire/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_server;
struct web;
struct web_conn;

/* A request whose head and body are whole. Slices lie in the connection's memory, which stays until
 * web_answer. */
struct web_request {
    struct web_conn *conn;
    struct slice method, path, query; /* path and query as they came, percent-encoded */
    struct slice body;
    bool is_local; /* came to a unix socket */
};

struct web_calls {
    /* The head of a request at an address has come, and its body has not: may it come? False: the
     * request is answered. Called at most once before `request`. */
    bool (*admits)(void *arg, struct web_request *request);
    /* Called once for each request; answers by web_answer, at once or later. */
    void (*request)(void *arg, struct web_request *request);
};

struct web_settings {
    uint32_t connections_max;
    size_t body_max, bodies_max; /* bytes of a body, of all together */
    uint32_t handshake_s;
    uint32_t idle_s;        /* for a request to come whole, and for an answer to be taken */
    struct tls_server *tls; /* for the secure doors; borrowed; NULL: these serve nobody */
};

/* A listening socket; the descriptor is borrowed. */
struct web_door {
    int fd;
    bool is_local;  /* a unix socket */
    bool is_secure; /* TLS */
};

/* Returns a server for these doors, which accepts from web_open on, owned by the caller; NULL: no
 * memory, or the loop failed. */
struct web *web_new(struct loop *loop, struct stats_row *stats, const struct web_door *doors,
                    size_t door_count, const struct web_settings *settings,
                    const struct web_calls *calls, void *arg);
/* Begins to accept; until then connections wait in the kernel. */
void web_open(struct web *web);
/* Closes all connections; requests without an answer must not be answered any more. NULL is
 * allowed. */
void web_free(struct web *web);
/* The bounds for what comes from now on. */
void web_configure(struct web *web, const struct web_settings *settings);
/* For the end of a turn: takes requests that came behind others on their connection. */
void web_turn(struct web *web);
/* Call about once a second: ends connections whose time is over. */
void web_tick(struct web *web);
/* A good token has come with the request: its connection gives way to no other. */
void web_trust(struct web_request *request);
/* Accepts nothing more. Returns the number of connections that have a request under way. */
uint32_t web_leave(struct web *web);

struct web_answer {
    int status;
    const char *content_type; /* NULL: no body */
    struct slice body;        /* copied */
    const char *headers;      /* more lines, each with CR LF; NULL: none */
};
/* Ends the request. The connection may be gone; then the answer goes nowhere. */
void web_answer(struct web_request *request, const struct web_answer *answer);

/* The value of a header of the request; data NULL: absent. *is_twice (may be NULL): there are
 * several. */
struct slice web_header(const struct web_request *request, struct slice name, bool *is_twice);

#endif
