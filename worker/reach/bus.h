/*
 * Between workers: one Redis channel a worker; one PUBLISH carries a message to all its recipients
 * there.
 *
 * Channel: PREFIX w: NODE : SLOT : INCARNATION, so nothing meant for a dead worker reaches its
 * successor. Pub/sub is at most once: it carries signals, and for stored mail it is only a
 * doorbell.
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

/* Where a stored message lies in a mailbox, and what lies before it. */
struct bus_position {
    struct seq seq, before;
};

/* A worker's name in Redis: "NODE:SLOT:INCARNATION"; its channel is PREFIX "w:" and that. */
enum { PLACE_MAX = 320 };
size_t bus_place(char place[PLACE_MAX], const char *node, uint32_t slot, uint64_t incarnation);

struct bus_events {
    /* A message from another worker for these addresses here. All borrowed; msg may be referenced.
     */
    void (*deliver)(void *arg, const struct slice *recipients, size_t recipient_count,
                    struct msg *msg);
    /* The same for mail that has been stored: positions[i] is where in recipients[i]'s mailbox;
     * for all their sessions but those of skip_device (data NULL: for all). */
    void (*stored)(void *arg, const struct slice *recipients, const struct bus_position *positions,
                   size_t recipient_count, struct slice skip_device, struct msg *msg);
    /* Another worker asks to close one of our sessions: a newer one took its place, or there are
     * too many. */
    void (*kick)(void *arg, uint64_t session_number, uint16_t close_code);
    /* The address of one of our sessions has another device, on another host. NULL: never. */
    void (*company)(void *arg, uint64_t session_number);
    /* A worker of another host is there now. NULL: nobody asks. */
    void (*hello)(void *arg, struct slice place);
    /* Sessions here of this service address have been given something. NULL: nobody asks. */
    void (*work)(void *arg, struct slice address);
    /* Both connections are up (again): what may have been missed must be looked at. */
    void (*up)(void *arg);
    /* The one that bus_commands names is up, is down. */
    void (*commands_up)(void *arg);
    void (*commands_down)(void *arg);
    void *arg;
};

/* NULL when out of memory. With no Redis configured it is never up. */
struct bus *bus_new(struct loop *loop, const struct config *config, struct region *region,
                    struct stats_row *stats, const char *node, uint32_t slot, uint64_t incarnation,
                    const struct bus_events *events);
void bus_free(struct bus *bus);
/* The connection that publishes, which mailboxes share; NULL: none is configured. */
struct redis *bus_commands(struct bus *bus);
/* False: no Redis is configured, and none will ever be up. */
bool bus_is_configured(const struct bus *bus);
/* Commands can be sent and messages are received. */
bool bus_is_up(const struct bus *bus);
/* Up, or not configured, or at least one attempt has failed: no point in waiting longer to serve.
 */
bool bus_decided(const struct bus *bus);

/* One PUBLISH to the worker in `slot`. heard (may be NULL) is called exactly once when OK is
 * returned, never from inside this call: true when that worker's subscription received it.
 * ERR_DOWN: nothing was sent. */
typedef void (*bus_heard_cb)(void *arg, bool heard);
enum err bus_publish(struct bus *bus, uint32_t slot, const struct slice *recipients,
                     size_t recipient_count, const struct msg *msg, bus_heard_cb heard, void *arg);
/* The same for mail that has been stored: a doorbell with the message in it. */
enum err bus_publish_stored(struct bus *bus, uint32_t slot, const struct slice *recipients,
                            const struct bus_position *positions, size_t recipient_count,
                            struct slice skip_device, const struct msg *msg);
enum err bus_kick(struct bus *bus, uint32_t slot, uint64_t incarnation, uint64_t session_number,
                  uint16_t close_code);
/* End of a turn. */
void bus_flush(struct bus *bus);

/* The wire between workers, pure, for tests and the fuzzer: a frame, and back. Slices point into
 * frame; recipients are at most max. ERR_BAD when it is not a frame, or cannot be made one. The
 * layout is in bus_frame.c. */
enum { BUS_RECIPIENTS_MAX = 10000 };
enum bus_kind {
    BUS_DELIVER = 1,
    BUS_KICK = 2,
    BUS_STORED = 3,
    BUS_COMPANY = 4, /* the address of that session has one of another device, on another host */
    BUS_HELLO = 5,   /* a worker has come: place */
    BUS_WORK = 6,    /* there is something to take at a service address */
};
struct bus_frame {
    enum bus_kind kind;
    int level;
    enum msg_kind msg_kind;
    uint8_t msg_flags;
    const struct slice *recipients;
    const struct bus_position *positions; /* STORED: one for each recipient */
    size_t recipient_count;
    struct slice body;
    struct slice skip_device; /* STORED: sessions of it are not told; data NULL: none */
    struct slice place;       /* HELLO */
    uint64_t session_number;
    uint16_t close_code;
};
enum err bus_encode(struct buf *out, const struct bus_frame *frame);
enum err bus_decode(struct slice bytes, struct slice *recipients, struct bus_position *positions,
                    size_t recipients_max, struct bus_frame *frame);
/* One PUBLISH to the worker of that place, on whichever host; heard as in bus_publish. */
enum err bus_publish_to(struct bus *bus, struct slice place, const struct bus_frame *frame,
                        bus_heard_cb heard, void *arg);
/* Decodes a frame that came from another worker and tells whom it concerns. recipients and
 * positions are room for BUS_RECIPIENTS_MAX. ERR_BAD: not understood. */
enum err bus_hand_on(struct slice bytes, struct slice *recipients, struct bus_position *positions,
                     const struct bus_events *events);

#endif
