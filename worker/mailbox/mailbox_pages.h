/*
 * Pages on their way from Redis to this worker.
 *
 * The one idea: a page that Redis has answered lies in memory, first in the output buffer of Redis
 * and then here, until its reader takes the page. So only pages of MAILBOX_PAGES_BYTES_MAX together
 * are asked for at a time. Further pages wait, and leave in the order of the calls, whichever
 * session or group asked: a reader of large messages delays the others by a page, and not by its
 * backlog.
 */
#ifndef WORKER_MAILBOX_PAGES_H
#define WORKER_MAILBOX_PAGES_H

#include "worker/mailbox/mailbox_parts.h"
#include "worker/mailbox/mailbox_read.h"

/* Counted as MAILBOX_PAGE_BYTES and MAILBOX_HISTORY_BYTES each, though a page of one message may be
 * larger. */
enum { MAILBOX_PAGES_BYTES_MAX = 1 << 20 };

enum page_direction { PAGE_FORWARDS, PAGE_BACKWARDS };

/* Borrowed for the call. */
struct page_request {
    enum page_direction direction;
    struct slice address;
    struct slice thread;  /* PAGE_BACKWARDS: of this thread only; len 0: of all */
    struct seq position;  /* after or before which the page begins; zero: from the end */
    unsigned count;       /* entries at most */
    mailbox_page_cb done; /* with arg, once, unless the call returns an error */
    void *arg;
};

/* Asks for the page, or lets it wait. ERR_DOWN, ERR_NOMEM: done is not called. */
enum err mailbox_pages_request(struct mailbox *mailbox, const struct page_request *request);
void mailbox_pages_init(struct pages *pages);
/* For mailbox_free, behind row_fini: the pages that wait are answered with ok false. */
void mailbox_pages_fini(struct mailbox *mailbox);

#endif
