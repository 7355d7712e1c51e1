/*
 * Pages of one large message, read backwards (`history`).
 *
 * The one idea: a large body does not pass through Lua. A script that reads an entry of 1 MB holds
 * Redis for 2.3 ms, a plain XREVRANGE for 0.2 ms, and everybody's mail waits meanwhile. The size of
 * the next message is not known before the message is read, so the address's last page decides: one
 * large message, or a large message that had no room behind smaller ones. The next page backwards
 * is then read by plain commands, one message a page. When that message is small after all, the
 * script reads the page: a page of one small message never goes to a reader who asked for more.
 *
 * A page is one command, or more: a thread's next position comes from its script first, and a body
 * that several mailboxes share is read from the body's own key. Each command takes over the seat
 * and the bytes of the one before (mailbox_pages.h).
 *
 * A page forwards is left to its script, which tells of a gap in the same step.
 */
#ifndef WORKER_MAILBOX_LARGE_H
#define WORKER_MAILBOX_LARGE_H

#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_pages.h"

/* A page of one message with such a body is large. */
enum { MAILBOX_LARGE_BYTES_MIN = 64 << 10 };

/* Puts the page's first command, with the seat, the account and the bytes of `like`. The request
 * goes backwards. The page comes by mailbox_pages_answered. ERR_DOWN, ERR_NOMEM: nothing comes. */
enum err mailbox_large_put(struct mailbox *mailbox, const struct page_request *request,
                           const struct op *like);

#endif
