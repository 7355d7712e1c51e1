/*
 * The record of a connection of the clerk's HTTP server, and the files that share the record; only
 * these include this.
 *
 * From the bottom up; a file calls only files that stand higher in this list:
 *   web_bytes.c     bytes in and out, the time of a connection, its end
 *   web_answer.c    an answer, and the way of its bytes
 *   web_request.c   heads and bodies
 *   web_greeting.c  the handshake of TLS
 *   web.c           the face: doors, turns, life
 */
#ifndef WORKER_CLERK_WEB_PARTS_H
#define WORKER_CLERK_WEB_PARTS_H

#include "common/buf.h"
#include "worker/clerk/web.h"
#include "worker/wire/tls.h"

#include <sys/queue.h>

enum {
    WEB_HEAD_MAX = 16 * 1024,
    WEB_READ_STEP = 16 * 1024,
    WEB_ANSWER_HEAD_MAX = 4096,
    WEB_ANSWER_BODY_MAX = 64 << 20,
    WEB_ANSWER_SMALL = 64 * 1024,
    WEB_WAITING_BYTES = 16 << 20, /* of answers that wait, beside as many as bodies may have */
};

enum web_stage {
    WEB_GREETING,  /* the handshake of TLS */
    WEB_HEAD,      /* the head of a request comes, or none has begun */
    WEB_BODY,      /* the body comes */
    WEB_ANSWERING, /* the handler has the request */
    WEB_WRITING,   /* the answer leaves */
    WEB_LAST,      /* the answer leaves, and then the connection closes */
    WEB_LINGER,    /* the last answer has left: what still comes is thrown away, because a reset
                      would take the answer from the peer */
};

struct web_conn {
    TAILQ_ENTRY(web_conn) link;
    struct web *web;
    struct loop_watch watch;
    struct tls *tls; /* NULL: plain */
    struct http_parser parser;
    struct web_request request;
    struct buf input, output;
    size_t head_len, body_len, sent;
    size_t waiting; /* bytes of the output that are in web->waiting */
    size_t thrown;  /* bytes that have come in WEB_LINGER */
    uint64_t came_ns, due_ms;
    enum web_stage stage;
    bool is_counted; /* body_len is in web->bodies */
    bool keep_alive, awaits_100;
    bool is_unread;   /* the input may hold another whole request */
    bool is_ahead;    /* TLS has bytes that the socket will not announce */
    bool wants_leave; /* the handshake waits for its turn with the private key */
    bool is_known;    /* a good token has come by this connection */
    bool gone;        /* the socket is closed, the handler still has the request */
    int fd;
};

struct web_entry {
    struct web *web;
    struct loop_watch watch;
    struct web_door door;
};

struct web {
    struct loop *loop;
    struct stats_row *stats;
    struct web_settings settings;
    struct web_calls calls;
    void *arg;
    TAILQ_HEAD(web_conn_list, web_conn) conns; /* the oldest first */
    uint32_t local_count, far_count;           /* at unix sockets, at addresses */
    size_t bodies;                             /* bytes of bodies that have come or are awaited */
    size_t waiting;                            /* bytes of answers that have not all left */
    bool local_full, far_full;                 /* the others wait in the kernel */
    bool is_open, leaving;
    bool unread; /* a connection waits for web_turn */
    size_t entry_count;
    struct web_entry entries[];
};

/* ---- web_bytes.c ---- */

/* Accepts at the doors that are not full. */
void web_watch_doors(struct web *web);
/* Closes the socket; the memory goes, too, unless the handler has the request. */
void web_close(struct web_conn *conn);
/* After web_close, when the handler has answered. */
void web_free_conn(struct web_conn *conn);
/* The body makes room for those of others. */
void web_uncount_body(struct web_conn *conn);
/* The peer has shown life: the connection's time begins anew. */
void web_extend_time(struct web_conn *conn);
/* False: the connection is closed. */
bool web_rewatch(struct web_conn *conn, unsigned events);
/* Watches for the next bytes of the peer. False: closed. */
bool web_rewatch_input(struct web_conn *conn);
/* Reads a step into the input. True: bytes have come; else none are there, or closed. */
bool web_read(struct web_conn *conn);
/* Writes what the socket takes of the output. False: closed. */
bool web_write(struct web_conn *conn);
/* Has all of the output left? */
bool web_has_left(const struct web_conn *conn);
/* Nothing follows from this side. */
void web_begin_linger(struct web_conn *conn);
/* WEB_LINGER: bytes have come, or the end. */
void web_throw_away(struct web_conn *conn);

/* ---- web_answer.c ---- */

/* Writes on; when all has left: the next request, or the end. False: closed. */
bool web_answer_leaves(struct web_conn *conn);
/* The server's own refusal, after which nothing of the connection can be understood. */
void web_refuse(struct web_conn *conn, const struct http_fault *fault);

/* ---- web_request.c ---- */

/* Takes from the input what is whole. */
void web_take_input(struct web_conn *conn);

/* ---- web_greeting.c ---- */

/* Takes one step of the TLS handshake; `leave`: the step may use the private key. */
void web_greet(struct web_conn *conn, bool leave);

#endif
