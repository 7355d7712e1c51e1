/*
 * What the files of this room share, and no other room sees. From the bottom up; a file calls only
 * files that stand higher in this list:
 *   service_held.c      the messages that a session holds (pure)
 *   service_address.c   the addresses, and what each has to tell Redis
 *   service_receipts.c  the receipts that a session's acks owe
 *   service_seat.c      a session's part in an address
 *   service_bell.c      doorbells to other workers
 *   service_question.c  one question to Redis and its answer
 *   service.c           the face of the room: when Redis is asked about which address
 */
#ifndef WORKER_SERVICE_PARTS_H
#define WORKER_SERVICE_PARTS_H

#include "common/buf.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_service.h"
#include "worker/service/service.h"
#include "worker/service/service_held.h"

struct service_debt;

enum { SERVICE_SEATS_MAX = 128, SERVICE_BUCKETS = 1024, SERVICE_PLACES_BYTES_MAX = 64 * 1024 };

/* One session's part in a service address. */
struct service_seat {
    struct service_seat *next; /* of the same address here */
    struct session *session;
    struct service_address *address; /* NULL: nothing is stored */
    struct service_held held;
    uint64_t numbers; /* messages queued so far */
    bool started;     /* `replayed` has been sent: the session is a consumer */
    bool in_doubt;    /* Redis may have given it a message that never came to this worker */
};

/* A service address that this worker has sessions of, or something to tell Redis about. */
struct service_address {
    struct service_address *next;        /* of the same bucket */
    struct service_address *next_wanted; /* of the addresses to ask about */
    struct service *service;
    struct address_key key;
    struct service_seat *seats;
    struct seq *acks; /* acknowledged; Redis is not known to have them */
    uint32_t ack_count, ack_size;
    struct buf dead;     /* places of dead workers, separated by spaces */
    bool wanted;         /* Redis is asked at the end of the turn */
    bool asking;         /* a question is on its way: at most one an address */
    bool again;          /* something happened since that question */
    bool failed;         /* the last answer did not come: the next beat asks again */
    bool busy;           /* a message there is not acknowledged */
    bool ring_all;       /* which workers the last doorbells were for is not known: all are rung */
    uint32_t acks_asked; /* of the question on its way: acks, bytes of dead, the seat in doubt */
    size_t dead_asked;
    uint64_t doubt_asked;
    uint8_t address_len;
    char address[];
};

struct service {
    struct office *office;
    struct service_address *buckets[SERVICE_BUCKETS];
    struct service_address *wanted;
    struct service_debt
        *unanswered;  /* receipts that Redis has not confirmed, see service_receipts.c */
    struct buf alive; /* the places of this host's workers, separated by spaces */
    uint32_t beats, far_count;
    uint32_t open_count; /* addresses that are asked about */
};

/* ---- service_address.c ---- */

static inline struct slice service_address_text(const struct service_address *address)
{
    return slice_make(address->address, address->address_len);
}
/* Finds or makes; NULL when out of memory. */
struct service_address *service_address_need(struct service *service, struct slice text);
/* Frees the address when this worker has nothing to do with it any more. */
void service_address_release(struct service *service, struct service_address *address);
/* Redis is asked about the address at the end of this turn; or, while a question is on its way,
 * when that has been answered. */
void service_address_want(struct service *service, struct service_address *address);
void service_address_free(struct service_address *address);
/* Makes room for so many more acknowledgements. ERR_NOMEM. */
enum err service_address_acks_reserve(struct service_address *address, size_t count);
/* Remembers an acknowledgement for the next question; its room is reserved. */
void service_address_acked(struct service_address *address, struct seq seq);
/* Redis has the first `count` acknowledgements. */
void service_address_acks_told(struct service_address *address, uint32_t count);
/* Remembers the place of a dead worker for the next question. */
void service_address_died(struct service_address *address, struct slice place);

/* ---- service_question.c ---- */

/* Refreshes service->alive; once before the questions of a turn. */
void service_question_list_alive(struct service *service);
/* Asks Redis to share out the address's work; the answer is taken in there too. ERR_NOMEM,
 * ERR_DOWN. */
enum err service_question_ask(struct service *service, struct service_address *address);

/* ---- service_bell.c ---- */

/* A doorbell without a message, to the worker at this place: Redis has work for its sessions. */
void service_bell_ring(struct service *service, struct service_address *address,
                       struct slice place);

/* ---- service_seat.c ---- */

/* Queues what Redis gave to sessions of this worker. */
void service_seat_give(struct office *office, const struct mailbox_worked *worked);

#endif
