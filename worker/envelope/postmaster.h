/*
 * The postmaster: the server's own messages (docs/protocol.md, section 4), envelopes from
 * `postmaster` of type 4.
 *
 * Each function that makes a message returns it with one reference, the caller's, or NULL when out
 * of memory. All of them write into one buffer of the worker, so an answer is made from begin to
 * end without another in between (asserted).
 */
#ifndef WORKER_POSTMASTER_H
#define WORKER_POSTMASTER_H

#include "common/buf.h"
#include "common/msg.h"
#include "common/seq.h"
#include "worker/envelope/envelope.h"

struct config;

/* Begins an answer of any subject. The caller adds members to the returned buffer, each with a
 * leading comma, and must then call postmaster_end. Until then nothing else of postmaster may be
 * called. The buffer is the postmaster's. subject needs no JSON escapes. */
struct buf *postmaster_begin(struct slice to, const char *subject);
/* The same for the `result` of the command with this id (empty: the command has none). */
struct buf *postmaster_begin_result(struct slice to, struct slice id);
/* Ends the answer that postmaster_begin began. NULL also when it grew too large (68 MiB). */
struct msg *postmaster_end(enum msg_kind kind);

struct postmaster_welcome {
    struct slice address, device;
    const char *node;
    uint32_t worker;             /* its slot */
    uint64_t session;            /* the session's number */
    const struct config *config; /* has the limits that the client is told */
    struct seq last, cursor;     /* of the mailbox: newest message, acknowledged up to */
    const char *epoch;           /* "" when unknown */
    bool recovered;
    bool service; /* the address is a service address */
};
/* A session has begun, or (again) data was lost. */
struct msg *postmaster_welcome(const struct postmaster_welcome *welcome);

/* The backlog up to seq has been sent. The message is of kind MSG_MAIL, so that it leaves behind
 * the backlog. */
struct msg *postmaster_replayed(struct slice to, struct seq seq);

/* A recipient that could not be served, and why. */
struct postmaster_refusal {
    struct slice address;
    enum reject_code code;
};
/* The message with this id is accepted. state: 1 accepted, 2 delivered. refused: the recipients
 * that could not be served; may be NULL when refused_count is 0. */
struct msg *postmaster_accepted(struct slice to, struct slice id, int state,
                                const struct postmaster_refusal *refused, size_t refused_count);

struct postmaster_rejection {
    enum reject_code code;
    const char *message;
    const char *field;       /* NULL: no field is at fault */
    struct slice id;         /* of the message; data NULL: absent, or it could not be read */
    uint32_t retry_after_ms; /* 0: waiting does not help */
    const struct postmaster_refusal *refused; /* all recipients, when none could be served */
    size_t refused_count;
};
/* A message or a command is rejected. */
struct msg *postmaster_rejected(struct slice to, const struct postmaster_rejection *rejection);
/* The session ends with this close code (section 7.4). retry_after_ms 0: the client is told no
 * time. The message is of kind MSG_LAST. */
struct msg *postmaster_goodbye(struct slice to, uint16_t code, const char *message,
                               uint32_t retry_after_ms);

#endif
