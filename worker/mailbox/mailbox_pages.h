/*
 * Pages on their way from Redis to this worker.
 *
 * The one idea: a page that Redis has answered lies in memory, first in the output buffer of Redis
 * and then here, until its reader takes the page. So only pages of MAILBOX_PAGES_BYTES_MAX together
 * are asked for at a time. Further pages wait, and leave in the order of the calls, whichever
 * session or group asked.
 *
 * Of one address one page is under way, whichever of its sessions asked: Redis works two
 * milliseconds on a page of one large message, and nobody's mail must wait for more than a page of
 * each reader. An address that goes on reading gets a part of Redis's time (PAGES_PART): its next
 * page waits until the others have had theirs, and the first few hundred kilobytes never wait.
 * Logs of groups have no such bounds: their readers are many.
 */
#ifndef WORKER_MAILBOX_PAGES_H
#define WORKER_MAILBOX_PAGES_H

#include "worker/mailbox/mailbox_parts.h"
#include "worker/mailbox/mailbox_read.h"
#include "worker/mailbox/row.h"

/* Counted as MAILBOX_PAGE_BYTES and MAILBOX_HISTORY_BYTES each, though a page of one message may be
 * larger. */
enum { MAILBOX_PAGES_BYTES_MAX = 1 << 20 };

enum {
    PAGES_PART = 8,         /* an address's pages may have an eighth of Redis's time */
    PAGES_BURST_US = 80000, /* of pause that is forgiven: 10 ms of Redis's time */
};

enum page_direction { PAGE_FORWARDS, PAGE_BACKWARDS };

/* Borrowed for the call. */
struct page_request {
    enum page_direction direction;
    struct slice address;
    struct slice thread;  /* PAGE_BACKWARDS: of this thread only; len 0: of all */
    struct seq position;  /* after or before which the page begins; zero: from the end */
    unsigned count;       /* entries at most */
    unsigned bytes;       /* 0: MAILBOX_PAGE_BYTES, or MAILBOX_HISTORY_BYTES backwards */
    mailbox_page_cb done; /* with arg, once, unless the call returns an error */
    void *arg;
};

/* Asks for the page, or lets it wait. ERR_DOWN, ERR_NOMEM: done is not called. */
enum err mailbox_pages_request(struct mailbox *mailbox, const struct page_request *request);
void mailbox_pages_init(struct pages *pages);
/* The end of a turn: pages whose pause has ended leave. */
void mailbox_pages_turn(struct mailbox *mailbox);
/* Milliseconds until mailbox_pages_turn has something to do; 0: nothing waits for a time. */
uint64_t mailbox_pages_wait_ms(const struct mailbox *mailbox);
/* For mailbox_free, behind row_fini: the pages that wait are answered with ok false. */
void mailbox_pages_fini(struct mailbox *mailbox);

/* ---- for mailbox_large.c ---- */

/* A copy of the request whose texts lie in room, which has mailbox_pages_text_len bytes. */
size_t mailbox_pages_text_len(const struct page_request *request);
struct page_request mailbox_pages_keep(const struct page_request *request, char *room);
/* Puts the script that reads the page, with done, arg, bytes, seat and account of `like`. */
enum err mailbox_pages_put(struct mailbox *mailbox, const struct page_request *request,
                           const struct op *like);
/* Begins the call of the thread's script, with these bounds. room is borrowed until the call is
 * put. */
struct call;
void mailbox_pages_build_thread(struct call *call, struct mailbox *mailbox,
                                const struct page_request *request, unsigned count, unsigned bytes,
                                char room[THREAD_KEY_MAX]);
/* Gives the page to its reader, and the seat and
 * the bytes of the op back. */
void mailbox_pages_answered(struct op *op, const struct mailbox_page *page);

#endif
