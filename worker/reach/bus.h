/*
 * Between workers: each worker has one Redis channel, and one PUBLISH carries a message to all
 * recipients at that worker.
 *
 * Channel: PREFIX w: NODE : SLOT : INCARNATION, so no message for a dead worker reaches its
 * successor. Pub/sub delivers at most once: signals travel so, and for stored mail the message is
 * only a doorbell.
 */
#ifndef WORKER_BUS_H
#define WORKER_BUS_H

#include "common/buf.h"
#include "common/msg.h"
#include "common/seq.h"
#include "config/config.h"
#include "shm/region.h"
#include "shm/stats.h"
#include "worker/io/loop.h"

struct bus;

/* The position of a stored message in a mailbox, and that of the message before. */
struct bus_position {
    struct seq seq, before;
};

/* A worker's name in Redis: "NODE:SLOT:INCARNATION"; its channel is PREFIX "w:" and that. */
enum { PLACE_MAX = 320 };
size_t bus_place(char place[PLACE_MAX], const char *node, uint32_t slot, uint64_t incarnation);

struct bus_events {
    /* Another worker sends a message for sessions of these addresses. All borrowed for the call;
     * msg may be referenced. */
    void (*deliver)(void *arg, const struct slice *recipients, size_t recipient_count,
                    struct msg *msg);
    /* The same for mail that has been stored: positions[i] is its position in the mailbox of
     * recipients[i]. Sessions of skip_device do not get the message (data NULL: all do). */
    void (*stored)(void *arg, const struct slice *recipients, const struct bus_position *positions,
                   size_t recipient_count, struct slice skip_device, struct msg *msg);
    /* Another worker asks to close one of our sessions: a newer session replaces the session, or
     * the address has too many. */
    void (*kick)(void *arg, uint64_t session_number, uint16_t close_code);
    /* The address of one of our sessions has another device, on another host. May be NULL. */
    void (*company)(void *arg, uint64_t session_number);
    /* The worker of another host at this place lives. May be NULL. */
    void (*hello)(void *arg, struct slice place);
    /* Redis has assigned messages of this service address to sessions here. May be NULL. */
    void (*work)(void *arg, struct slice address);
    /* The clerk at `place` asks; the answer goes there, with the same number. May be NULL. */
    void (*asked)(void *arg, struct slice place, uint64_t number, struct slice question);
    /* An answer has come. May be NULL. */
    void (*told)(void *arg, uint64_t number, struct slice answer);
    /* Revocations have changed (worker/token/revocations.h has the text). May be NULL. */
    void (*revoked)(void *arg, struct slice text);
    /* Both connections are up (again): messages may have been missed. May be NULL. */
    void (*up)(void *arg);
    /* The connection of bus_commands is up, is down. May be NULL. */
    void (*commands_up)(void *arg);
    void (*commands_down)(void *arg);
    void *arg;
};

/* All but events are borrowed; events is copied. With no Redis configured the bus is never up. NULL
 * when out of memory. */
struct bus *bus_new(struct loop *loop, const struct config *config, struct region *region,
                    struct stats_row *stats, const char *node, uint32_t slot, uint64_t incarnation,
                    const struct bus_events *events);
/* Waiting callbacks are told that nobody heard. NULL is allowed. */
void bus_free(struct bus *bus);
/* The connection that publishes; mailboxes share the connection. NULL: no Redis is configured. */
struct redis *bus_commands(struct bus *bus);
/* The connection that WAITs for replicas, for mailbox_confirm_by alone. NULL: durability is not
 * "replica". */
struct redis *bus_replicas(struct bus *bus);
/* False: no Redis is configured, and the bus will never be up. */
bool bus_is_configured(const struct bus *bus);
/* Returns how many connections to Redis of this worker are up. */
unsigned bus_connections_up(const struct bus *bus);
/* Commands can be sent and messages are received. */
bool bus_is_up(const struct bus *bus);
/* Is the bus up or not configured, or has an attempt at both connections ended? Then the worker
 * need not wait longer before it serves. */
bool bus_decided(const struct bus *bus);

/* One PUBLISH to the worker in `slot` of this host. When OK is returned, heard (may be NULL) is
 * called exactly once, never from inside this call: true when that worker's subscription received
 * the message; false also when the answer was lost. An error: nothing was sent. ERR_DOWN: Redis is
 * away or takes no more, or nobody lives in the slot. ERR_BAD: the frame is not valid. ERR_NOMEM.
 */
typedef void (*bus_heard_cb)(void *arg, bool heard);
enum err bus_publish(struct bus *bus, uint32_t slot, const struct slice *recipients,
                     size_t recipient_count, const struct msg *msg, bus_heard_cb heard, void *arg);
/* The same for mail that has been stored: a doorbell that carries the message. A lost answer is
 * counted in doorbells_lost. */
enum err bus_publish_stored(struct bus *bus, uint32_t slot, const struct slice *recipients,
                            const struct bus_position *positions, size_t recipient_count,
                            struct slice skip_device, const struct msg *msg);
/* Asks the worker in `slot` to close one of its sessions. ERR_DOWN also when the incarnation has
 * ended. */
enum err bus_kick(struct bus *bus, uint32_t slot, uint64_t incarnation, uint64_t session_number,
                  uint16_t close_code);
/* The end of a turn: writes what is queued on all connections. */
void bus_flush(struct bus *bus);

/* The frames between workers; the layout is in bus_frame.c. */
enum { BUS_RECIPIENTS_MAX = 10000 };
enum bus_kind {
    BUS_DELIVER = 1,
    BUS_KICK = 2,
    BUS_STORED = 3,
    BUS_COMPANY = 4, /* the session's address has another device, on another host */
    BUS_HELLO = 5,   /* the worker at `place` has come */
    BUS_WORK = 6,    /* Redis has messages for sessions of a service address: recipients[0] */
    BUS_ASK = 7,     /* a clerk asks about this worker; the answer goes to `place` */
    BUS_TELL = 8,    /* the answer */
    BUS_REVOKED = 9, /* revocations have changed: the body */
};
enum {
    BUS_INQUIRY_BYTES_MAX = 48 * 1024
}; /* of a question or an answer, so that a ring takes it */
struct bus_frame {
    enum bus_kind kind;
    int level;
    enum msg_kind msg_kind;
    uint8_t msg_flags;
    const struct slice *recipients;
    const struct bus_position *positions; /* STORED: one for each recipient */
    size_t recipient_count;
    struct slice body;
    struct slice skip_device; /* STORED: its sessions do not get the message; data NULL: none */
    struct slice place;       /* HELLO, ASK */
    uint64_t session_number;  /* ASK, TELL: the number of the question */
    uint16_t close_code;
};
/* Pure. Appends the frame to out. ERR_BAD: the frame is not valid; ERR_FULL: out has no room, or
 * memory is short. On an error out is as before. */
enum err bus_encode(struct buf *out, const struct bus_frame *frame);
/* Pure. Decodes bytes into *frame, whose slices then point into bytes, recipients and positions:
 * room for recipients_max. ERR_BAD: bytes are no valid frame, or have more recipients. */
enum err bus_decode(struct slice bytes, struct slice *recipients, struct bus_position *positions,
                    size_t recipients_max, struct bus_frame *frame);
/* As bus_publish, with any frame, to the worker at a place on any host. */
enum err bus_publish_to(struct bus *bus, struct slice place, const struct bus_frame *frame,
                        bus_heard_cb heard, void *arg);
/* Decodes a frame that came from another worker and calls the event of its kind. recipients and
 * positions: room for BUS_RECIPIENTS_MAX. ERR_BAD: bytes are no valid frame; logged. */
enum err bus_dispatch(struct slice bytes, struct slice *recipients, struct bus_position *positions,
                      const struct bus_events *events);

#endif
