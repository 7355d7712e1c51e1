/*
 * Where a visitor stands: among all visitors, by age among those whose head is awaited, in the
 * count of its address. Every visitor goes by visitor_leave, so that no list keeps it.
 */
#ifndef WORKER_VISITOR_STAY_H
#define WORKER_VISITOR_STAY_H

struct visitor;

/* The rest of the head is awaited: the visitor is the newest of those. */
void visitor_wait(struct visitor *visitor);
/* The rest is not awaited any more. May be called again. */
void visitor_wait_end(struct visitor *visitor);

/* Counts the connection for limits.connectionsPerIP, over all workers. */
void visitor_count_origin(struct visitor *visitor);
void visitor_give_back_origin(struct visitor *visitor);

/* Takes the visitor out of all lists; descriptor and count stay with the caller. The memory lives
 * until the end of the turn (visitors_flush). */
void visitor_leave(struct visitor *visitor);
/* Closes the socket and leaves. */
void visitor_part(struct visitor *visitor);

#endif
