#include "worker/mailbox/mailbox_pages.h"

#include "common/address.h"
#include "common/clock.h"
#include "common/hash.h"
#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"
#include "worker/mailbox/mailbox_large.h"

#include <stdlib.h>
#include <sys/random.h>

/* Whose page: of the log of a group, which has no bound of its own, source is 0. */
struct page_reader {
    uint64_t source;
    uint16_t account;
};

/* A page that waits. Its texts lie behind the record. */
struct page_waiting {
    TAILQ_ENTRY(page_waiting) link;
    struct page_request request;
    struct page_reader reader;
    char text[];
};

static unsigned page_bytes(const struct page_request *request)
{
    if (request->bytes)
        return request->bytes;
    return request->direction == PAGE_FORWARDS ? MAILBOX_PAGE_BYTES : MAILBOX_HISTORY_BYTES;
}

enum { NO_SEAT = PAGES_SEATS }; /* of the log of a group */

_Static_assert(PAGES_SEATS *MAILBOX_PAGE_BYTES >= MAILBOX_PAGES_BYTES_MAX,
               "every page that has room finds a seat");

static struct page_reader reader_of(const struct pages *pages, struct slice address)
{
    uint64_t hash = hash64(pages->hash_key, address.data, address.len);

    return (struct page_reader){ .source = address_is_group(address) ? 0 : hash | 1,
                                 .account = (uint16_t)(hash / 2 % PAGES_ACCOUNTS) };
}

/* The seat of the source, of the source 0 a free seat; else NO_SEAT. */
static uint16_t seat_of(const struct pages *pages, uint64_t source)
{
    uint16_t seat = 0;

    while (seat < PAGES_SEATS && pages->seats[seat] != source)
        seat++;
    return seat;
}

static bool is_under_way(const struct pages *pages, uint64_t source)
{
    return source && seat_of(pages, source) != NO_SEAT;
}

/* ---- an address's part of Redis's time ---- */

/* About the microseconds that Redis works on a page: each entry is moved into the script and out
 * again. */
static uint64_t page_work_us(const struct mailbox_page *page)
{
    uint64_t bytes = page->vain;

    for (size_t i = 0; i < page->count; i++)
        bytes += page->entries[i].body.len;
    return 100 + 5 * page->count + bytes / 512;
}

static uint64_t now_us(void)
{
    return clock_monotonic_ns() / 1000;
}

static void note_work(struct pages *pages, uint16_t account, const struct mailbox_page *page)
{
    uint64_t *until = &pages->used_until_us[account], now = now_us();

    *until = (*until > now ? *until : now) + PAGES_PART * page_work_us(page);
}

/* Notes when the pause ends. */
static bool is_pausing(struct pages *pages, const struct page_reader *reader, uint64_t now)
{
    uint64_t until = pages->used_until_us[reader->account];

    if (!reader->source || until <= now + PAGES_BURST_US)
        return false;
    if (until - PAGES_BURST_US < pages->wake_us)
        pages->wake_us = until - PAGES_BURST_US;
    return true;
}

/* ---- a request that outlives its call ---- */

size_t mailbox_pages_text_len(const struct page_request *request)
{
    return request->address.len + request->thread.len;
}

struct page_request mailbox_pages_keep(const struct page_request *request, char *room)
{
    struct page_request kept = *request;

    memcpy(room, request->address.data, request->address.len);
    kept.address = slice_make(room, request->address.len);
    room += request->address.len;
    if (request->thread.len)
        memcpy(room, request->thread.data, request->thread.len);
    kept.thread = slice_make(room, request->thread.len);
    return kept;
}

/* ---- the call ---- */

static void page_answered(struct op *op, const struct redis_reply *reply);

static void add_bounds(struct call *call, unsigned count, unsigned bytes)
{
    call_add_int(call, count);
    call_add_int(call, bytes);
}

void mailbox_pages_build_thread(struct call *call, struct mailbox *mailbox,
                                const struct page_request *request, unsigned count, unsigned bytes,
                                char room[THREAD_KEY_MAX])
{
    call_script(call, mailbox, SCRIPT_THREAD);
    call_keys(call, request->address, CALL_KEYS(":box", ":ids", ":th"));
    call_add(call, mailbox_thread_key(request->thread, room));
    if (seq_is_zero(request->position))
        call_add(call, SLICE(""));
    else
        call_add_seq(call, request->position);
    add_bounds(call, count, bytes);
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
    add_bounds(call, request->count, page_bytes(request));
}

enum err mailbox_pages_put(struct mailbox *mailbox, const struct page_request *request,
                           const struct op *like)
{
    char room[THREAD_KEY_MAX];
    struct call call;

    if (request->thread.len)
        mailbox_pages_build_thread(&call, mailbox, request, request->count, page_bytes(request),
                                   room);
    else
        build_page(&call, mailbox, request);
    call.wanted = like->wanted;
    call.seat = like->seat;
    call.account = like->account;
    return call_put(&call, page_answered, like->done, like->arg);
}

static enum err page_leave(struct mailbox *mailbox, const struct page_request *request,
                           const struct page_reader *reader)
{
    struct op like = { .done = (op_done)request->done,
                       .arg = request->arg,
                       .wanted = page_bytes(request),
                       .seat = reader->source ? seat_of(&mailbox->pages, 0) : NO_SEAT,
                       .account = reader->account };
    bool is_large = request->direction == PAGE_BACKWARDS && mailbox->pages.large[reader->account];
    enum err err = is_large ? mailbox_large_put(mailbox, request, &like)
                            : mailbox_pages_put(mailbox, request, &like);

    if (err)
        return err;
    mailbox->pages.bytes += like.wanted;
    if (like.seat != NO_SEAT)
        mailbox->pages.seats[like.seat] = reader->source;
    return OK;
}

/* ---- waiting ---- */

static bool pages_have_room(const struct pages *pages, const struct page_request *request)
{
    return pages->bytes + page_bytes(request) <= MAILBOX_PAGES_BYTES_MAX;
}

static enum err page_wait(struct mailbox *mailbox, const struct page_request *request,
                          const struct page_reader *reader)
{
    struct page_waiting *waiting = malloc(sizeof *waiting + mailbox_pages_text_len(request));

    if (!waiting)
        return ERR_NOMEM;
    waiting->request = mailbox_pages_keep(request, waiting->text);
    waiting->reader = *reader;
    TAILQ_INSERT_TAIL(&mailbox->pages.waiting, waiting, link);
    mailbox->counts.pages_waited++;
    return OK;
}

static bool may_leave(struct pages *pages, const struct page_reader *reader)
{
    return !is_under_way(pages, reader->source) && !is_pausing(pages, reader, now_us());
}

/* The oldest page that waits and may leave; NULL: none may. Only pages of mailboxes that have one
 * under way, or that pause, are passed over, and an address has few sessions. */
static struct page_waiting *page_next(struct pages *pages)
{
    struct page_waiting *waiting;

    pages->wake_us = UINT64_MAX;
    TAILQ_FOREACH(waiting, &pages->waiting, link)
    if (may_leave(pages, &waiting->reader))
        return pages_have_room(pages, &waiting->request) ? waiting : NULL;
    return NULL;
}

enum err mailbox_pages_request(struct mailbox *mailbox, const struct page_request *request)
{
    struct pages *pages = &mailbox->pages;
    struct page_reader reader = reader_of(pages, request->address);
    bool is_first = TAILQ_EMPTY(&pages->waiting) || !page_next(pages);
    enum err err;

    if (is_first && may_leave(pages, &reader) && pages_have_room(pages, request))
        return page_leave(mailbox, request, &reader);
    err = page_wait(mailbox, request, &reader);
    /* Notes when the pause ends. A page whose pause has just ended leaves at the end of the turn:
     * no answer is awaited that would make the page leave. */
    if (page_next(pages))
        pages->wake_us = 0;
    return err;
}

static void page_fail(const struct page_request *request)
{
    request->done(request->arg, &(struct mailbox_page){ .ok = false });
}

/* Pages whose turn has come leave. While Redis is away, each fails instead. */
static void pages_go_on(struct mailbox *mailbox)
{
    struct page_waiting *waiting;

    while ((waiting = page_next(&mailbox->pages))) {
        TAILQ_REMOVE(&mailbox->pages.waiting, waiting, link);
        if (page_leave(mailbox, &waiting->request, &waiting->reader))
            page_fail(&waiting->request);
        free(waiting);
    }
}

/* The message behind the page is probably large: it had no room, or it follows a large one. */
static bool is_large(const struct mailbox_page *page)
{
    return page->vain >= MAILBOX_LARGE_BYTES_MIN ||
           (page->count == 1 && page->entries[0].body.len >= MAILBOX_LARGE_BYTES_MIN);
}

void mailbox_pages_answered(struct op *op, const struct mailbox_page *page)
{
    struct mailbox *mailbox = op->mailbox;
    struct pages *pages = &mailbox->pages;

    assert(pages->bytes >= op->wanted);
    pages->bytes -= op->wanted;
    if (page->count > 0)
        pages->large[op->account] = is_large(page);
    if (op->seat != NO_SEAT) {
        note_work(pages, op->account, page);
        pages->seats[op->seat] = 0;
    }
    ((mailbox_page_cb)op->done)(op->arg, page);
    /* After a lost answer the other answers are lost too, and first: pages fail in order. */
    if (page->ok || pages->bytes == 0)
        pages_go_on(mailbox);
}

static void page_answered(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_page page = { .ok = false };

    if (reply)
        mailbox_page_parse(op->mailbox, reply, &page);
    mailbox_pages_answered(op, &page);
}

/* ---- life ---- */

void mailbox_pages_turn(struct mailbox *mailbox)
{
    if (!TAILQ_EMPTY(&mailbox->pages.waiting) && mailbox->pages.wake_us <= now_us())
        pages_go_on(mailbox);
}

uint64_t mailbox_pages_wait_ms(const struct mailbox *mailbox)
{
    uint64_t now, wake = mailbox->pages.wake_us;

    if (TAILQ_EMPTY(&mailbox->pages.waiting) || wake == UINT64_MAX)
        return 0;
    now = now_us();
    return wake > now ? (wake - now + 999) / 1000 : 1;
}

void mailbox_pages_init(struct pages *pages)
{
    TAILQ_INIT(&pages->waiting);
    pages->wake_us = UINT64_MAX;
    /* Without random bytes the hash has the key zero: addresses may be made to wait for another. */
    if (getrandom(pages->hash_key, sizeof pages->hash_key, 0) < 0)
        memset(pages->hash_key, 0, sizeof pages->hash_key);
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
