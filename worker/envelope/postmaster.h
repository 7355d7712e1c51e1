/*
 * What the server says (docs/protocol.md, section 4): envelopes from `postmaster`, type 4.
 *
 * Each function returns a message with one reference, the caller's, or NULL when out of memory.
 */
#ifndef WORKER_POSTMASTER_H
#define WORKER_POSTMASTER_H

#include "common/buf.h"
#include "common/msg.h"
#include "common/seq.h"
#include "worker/envelope/envelope.h"

struct config;

/* An envelope in the making: begin, add members to buf (each with its own leading comma), end. The
 * buffer is one for the whole worker, so only one can be in the making. */
struct buf *postmaster_begin(struct slice to, const char *subject);
struct msg *postmaster_end(enum msg_kind kind);

struct postmaster_welcome {
    struct slice address, device;
    const char *node;
    uint32_t worker;
    uint64_t session;
    const struct config *config;
    struct seq last, cursor;
    const char *epoch;
    bool recovered;
    bool service; /* a service address */
};
struct msg *postmaster_welcome(const struct postmaster_welcome *welcome);

/* The backlog up to seq has been sent. Of kind MSG_MAIL: it keeps its place behind the backlog. */
struct msg *postmaster_replayed(struct slice to, struct seq seq);

struct postmaster_refusal {
    struct slice address;
    enum reject_code code;
};
/* state: 1 accepted, 2 delivered. refused: the recipients that could not be served. */
struct msg *postmaster_accepted(struct slice to, struct slice id, int state,
                                const struct postmaster_refusal *refused, size_t refused_count);

struct postmaster_rejection {
    enum reject_code code;
    const char *message;
    const char *field;       /* NULL: none is at fault */
    struct slice id;         /* data NULL: could not be read */
    uint32_t retry_after_ms; /* 0: waiting does not help */
    const struct postmaster_refusal
        *refused; /* for a message with recipients, none of whom could be served */
    size_t refused_count;
};
struct msg *postmaster_rejected(struct slice to, const struct postmaster_rejection *rejection);
struct msg *postmaster_goodbye(struct slice to, uint16_t code, const char *message,
                               uint32_t retry_after_ms);

#endif
