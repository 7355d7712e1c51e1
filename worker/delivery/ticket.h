/*
 * A ticket: a message whose sender waits for `accepted` or `rejected`. The message has gone to its
 * recipients' mailboxes (or, where nothing is stored, to other workers); when all of these have
 * answered, the served recipients are known.
 *
 * A session's tickets are answered strictly in the order in which its messages came, whatever
 * finishes first; so a message that could be answered at once takes a ticket while older ones wait.
 */
#ifndef WORKER_TICKET_H
#define WORKER_TICKET_H

#include "worker/envelope/envelope.h"
#include "worker/reach/remote.h"
#include "worker/session/session.h"
#include "worker/mailbox/mailbox_append.h"

struct ticket_recipient {
    struct slice address; /* in the ticket's own memory */
    bool served;
    bool to_deliver;          /* stored at position: the sessions of the address are to be told */
    enum reject_code refusal; /* when not served */
    struct bus_position position;
};

struct ticket {
    struct ticket *next;
    struct session *session; /* NULL: the sender has gone, and gets no answer */
    uint64_t came_ns;        /* when the message came in: the turn's clock */
    uint32_t waiting;        /* mailboxes or workers that have not answered; and the maker's hold */
    uint32_t recipient_count;
    struct msg *msg; /* of mail that is stored: delivered when all mailboxes have answered */
    struct office *office;
    struct budget *budget; /* of the sender's address; NULL: not charged */
    struct remote remote;  /* of mail that is stored: where on other hosts its recipients are */
    char id[ENVELOPE_ID_MAX];
    uint8_t id_len;
    bool nobody;  /* a recipient's address is not known: mailbox.addresses */
    bool unknown; /* Redis did not say whether the message is stored: neither accept nor reject */
    struct ticket_recipient recipients[];
};

/* A ticket of the session for these recipients; none is served yet, each refusal is
 * storage-unavailable. The maker holds the ticket until ticket_settle. NULL when out of memory. */
struct ticket *ticket_new(struct session *session, struct slice id, const struct slice *recipients,
                          size_t recipient_count);
/* A mailbox or a worker will answer for these recipients (indexes into ticket->recipients). The
 * part goes to ticket_heard, ticket_appended or ticket_unsent, which free it. NULL when out of
 * memory. */
struct ticket_part *ticket_wait(struct ticket *ticket, const uint32_t *indexes, size_t count);
/* For reach_publish; arg is the part. */
void ticket_heard(void *arg, bool heard);
/* For mailbox_append; arg is the part, of one recipient. */
void ticket_appended(void *arg, const struct mailbox_appended *appended);
/* The part was never sent. */
void ticket_unsent(struct ticket_part *part);
/* The sessions of the recipients get msg when every mailbox has answered; the ticket takes a
 * reference. */
void ticket_carry(struct ticket *ticket, struct msg *msg);
/* Ends the maker's hold. Answers as many of the session's tickets as are ready. The maker must not
 * use the ticket afterwards. */
void ticket_settle(struct ticket *ticket);
/* The session is closing: its tickets live on without it until all their parts have answered. */
void tickets_orphan(struct session *session);

#endif
