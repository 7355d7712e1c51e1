#include "worker/mailbox/mailbox_pages.h"

#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"

#include <stdlib.h>

/* A page that waits. Its texts lie behind the record. */
struct page_waiting {
    TAILQ_ENTRY(page_waiting) link;
    struct page_request request;
    char text[];
};

static unsigned page_bytes(const struct page_request *request)
{
    return request->direction == PAGE_FORWARDS ? MAILBOX_PAGE_BYTES : MAILBOX_HISTORY_BYTES;
}

/* ---- the call ---- */

static void page_answered(struct op *op, const struct redis_reply *reply);

static void add_bounds(struct call *call, const struct page_request *request)
{
    call_add_int(call, request->count);
    call_add_int(call, page_bytes(request));
    call->wanted = page_bytes(request);
}

static void build_thread(struct call *call, struct mailbox *mailbox,
                         const struct page_request *request, char room[THREAD_KEY_MAX])
{
    call_script(call, mailbox, SCRIPT_THREAD);
    call_keys(call, request->address, CALL_KEYS(":box", ":ids", ":th"));
    call_add(call, mailbox_thread_key(request->thread, room));
    if (seq_is_zero(request->position))
        call_add(call, SLICE(""));
    else
        call_add_seq(call, request->position);
    add_bounds(call, request);
}

static void build_page(struct call *call, struct mailbox *mailbox,
                       const struct page_request *request)
{
    bool forwards = request->direction == PAGE_FORWARDS;

    call_script(call, mailbox, SCRIPT_PAGE);
    call_keys(call, request->address, CALL_KEYS(":box"));
    call_add(call, forwards ? SLICE("XRANGE") : SLICE("XREVRANGE"));
    if (forwards)
        call_add_seq(call, seq_next(request->position));
    else if (seq_is_zero(request->position))
        call_add(call, SLICE("+"));
    else
        call_add_seq(call, seq_previous(request->position));
    add_bounds(call, request);
}

static enum err page_leave(struct mailbox *mailbox, const struct page_request *request)
{
    char room[THREAD_KEY_MAX];
    struct call call;
    enum err err;

    if (request->thread.len)
        build_thread(&call, mailbox, request, room);
    else
        build_page(&call, mailbox, request);
    err = call_put(&call, page_answered, (op_done)request->done, request->arg);
    if (!err)
        mailbox->pages.bytes += page_bytes(request);
    return err;
}

/* ---- waiting ---- */

static bool pages_have_room(const struct pages *pages, const struct page_request *request)
{
    return pages->bytes + page_bytes(request) <= MAILBOX_PAGES_BYTES_MAX;
}

static enum err page_wait(struct mailbox *mailbox, const struct page_request *request)
{
    struct page_waiting *waiting =
        malloc(sizeof *waiting + request->address.len + request->thread.len);
    char *thread;

    if (!waiting)
        return ERR_NOMEM;
    thread = waiting->text + request->address.len;
    waiting->request = *request;
    memcpy(waiting->text, request->address.data, request->address.len);
    if (request->thread.len)
        memcpy(thread, request->thread.data, request->thread.len);
    waiting->request.address = slice_make(waiting->text, request->address.len);
    waiting->request.thread = slice_make(thread, request->thread.len);
    TAILQ_INSERT_TAIL(&mailbox->pages.waiting, waiting, link);
    mailbox->counts.pages_waited++;
    return OK;
}

enum err mailbox_pages_request(struct mailbox *mailbox, const struct page_request *request)
{
    bool in_turn = TAILQ_EMPTY(&mailbox->pages.waiting);

    if (in_turn && pages_have_room(&mailbox->pages, request))
        return page_leave(mailbox, request);
    return page_wait(mailbox, request);
}

static void page_fail(const struct page_request *request)
{
    request->done(request->arg, &(struct mailbox_page){ .ok = false });
}

/* Pages whose turn has come leave. While Redis is away, each fails instead. */
static void pages_go_on(struct mailbox *mailbox)
{
    struct page_waiting *waiting;

    while ((waiting = TAILQ_FIRST(&mailbox->pages.waiting)) &&
           pages_have_room(&mailbox->pages, &waiting->request)) {
        TAILQ_REMOVE(&mailbox->pages.waiting, waiting, link);
        if (page_leave(mailbox, &waiting->request))
            page_fail(&waiting->request);
        free(waiting);
    }
}

static void page_answered(struct op *op, const struct redis_reply *reply)
{
    struct mailbox *mailbox = op->mailbox;
    struct mailbox_page page = { .ok = false };

    assert(mailbox->pages.bytes >= op->wanted);
    mailbox->pages.bytes -= op->wanted;
    if (reply)
        mailbox_page_parse(mailbox, reply, &page);
    ((mailbox_page_cb)op->done)(op->arg, &page);
    /* After a lost answer the other answers are lost too, and first: pages fail in order. */
    if (page.ok || mailbox->pages.bytes == 0)
        pages_go_on(mailbox);
}

/* ---- life ---- */

void mailbox_pages_init(struct pages *pages)
{
    TAILQ_INIT(&pages->waiting);
}

void mailbox_pages_fini(struct mailbox *mailbox)
{
    struct page_waiting *waiting;

    while ((waiting = TAILQ_FIRST(&mailbox->pages.waiting))) {
        TAILQ_REMOVE(&mailbox->pages.waiting, waiting, link);
        page_fail(&waiting->request);
        free(waiting);
    }
}
