/*
 * A message whose sender still waits for its answer: it has gone to its recipients' mailboxes (or,
 * where nothing is stored, to other workers), and only when all have answered is it known who was
 * served.
 *
 * A session's tickets are answered strictly in the order in which its messages came, whatever
 * finishes first; a message that can be answered at once still takes a ticket when older ones wait.
 */
#ifndef WORKER_TICKET_H
#define WORKER_TICKET_H

#include "worker/envelope/envelope.h"
#include "worker/reach/remote.h"
#include "worker/session/session.h"

struct ticket_recipient {
    struct slice address; /* in the ticket's own memory */
    bool served;
    bool to_deliver;          /* stored at position: its sessions are to be told */
    enum reject_code refusal; /* when not served */
    struct bus_position position;
};

struct ticket {
    struct ticket *next;
    struct session *session; /* NULL: the sender has gone; nobody is told */
    uint32_t waiting;        /* mailboxes or workers that have not answered, and the maker */
    uint32_t recipient_count;
    struct msg *msg; /* of mail that is stored: delivered when all mailboxes have answered */
    struct office *office;
    struct remote remote; /* of mail that is stored: where on other hosts its recipients are */
    char id[ENVELOPE_ID_MAX];
    uint8_t id_len;
    bool unknown; /* what became of it cannot be said: neither accept nor reject */
    struct ticket_recipient recipients[];
};

/* For the recipients, none served yet, refusal storage-unavailable. NULL when out of memory. */
struct ticket *ticket_new(struct session *session, struct slice id, const struct slice *recipients,
                          size_t recipient_count);
/* A mailbox or a worker will answer for these recipients (indexes into ticket->recipients); the
 * handle goes to ticket_heard. NULL when out of memory. */
struct ticket_part *ticket_wait(struct ticket *ticket, const uint32_t *indexes, size_t count);
/* reach_publish's callback; arg is the part. */
void ticket_heard(void *arg, bool heard);
/* mailbox_append's callback; arg is the part, of one recipient. */
void ticket_appended(void *arg, const struct mailbox_appended *appended);
/* The part was never sent. */
void ticket_unsent(struct ticket_part *part);
/* The message is to be delivered when every mailbox has answered; the ticket takes a reference. */
void ticket_carry(struct ticket *ticket, struct msg *msg);
/* The maker is done with it: all that can be known now is. Answers as many of the session's tickets
 * as are ready. The ticket must not be used afterwards. */
void ticket_settle(struct ticket *ticket);
/* The session ends: its tickets live on without it until all have answered. */
void tickets_orphan(struct session *session);

#endif
