/*
 * GET /api/v1/addresses/ADDRESS: a mailbox; GET and DELETE /api/v1/addresses/ADDRESS/messages: its
 * messages in pages, and their removal.
 */
#include "worker/clerk/clerk_parts.h"

#include "common/address.h"
#include "common/json.h"
#include "common/log.h"
#include "common/utf8.h"
#include "worker/mailbox/mailbox_admin.h"
#include "worker/mailbox/mailbox_read.h"
#include "worker/session/service_turn.h"

#include <stdio.h>

enum {
    LOOK_MAX = 4 << 20,   /* bytes of an answer */
    PAGE_MAX = 256 << 20, /* a page has one message at least, whose size is limits.messageBytes */
    SESSION_ID_MAX = 512,
    LIMIT = 100,
    LIMIT_MAX = 200,
    PURGE_MS = 10 * 1000, /* past this the caller must go on */
};

struct mailbox_task {
    struct clerk_task task;
    char address[ADDRESS_BYTES_MAX + 1];
    /* Of a purge. */
    uint64_t removed, bytes, until_ms;
    struct mailbox_purge_end end;
};

/* Returns a task for the address in the path; NULL: answered. */
static struct mailbox_task *task_for_address(const struct clerk_call *call)
{
    struct mailbox_task *task;
    struct slice address;

    if (!clerk_take_address(call, 0, &address))
        return NULL;
    task = clerk_task_new(call, sizeof *task);
    if (task)
        memcpy(task->address, address.data, address.len + 1);
    return task;
}

static struct mailbox *mailbox_of(const struct mailbox_task *task)
{
    return task->task.clerk->office->mailbox;
}

/* ---- a mailbox ---- */

static void add_devices(struct buf *out, struct mailbox_look *look)
{
    struct mailbox_device device;
    size_t at = 0;
    bool first = true;

    buf_add_text(out, ",\"devices\":[");
    while (mailbox_look_next(look, &at, &device)) {
        buf_add_text(out, first ? "{\"device\":" : ",{\"device\":");
        json_add_string(out, device.name);
        if (device.has_acknowledged)
            clerk_add_seq(out, "cursor", device.cursor);
        buf_addf(out, ",\"acknowledged\":%s,\"currentEpoch\":%s}",
                 device.has_acknowledged ? "true" : "false",
                 device.is_present_epoch ? "true" : "false");
        first = false;
    }
    buf_add_char(out, ']');
}

/* As GET /api/v1/sessions has it. False: Redis holds nonsense. */
static bool session_id(const struct at_session *session, char text[SESSION_ID_MAX])
{
    int len = snprintf(text, SESSION_ID_MAX, "%.*s/%llx", (int)session->place.len,
                       session->place.data, (unsigned long long)session->number);

    return len < SESSION_ID_MAX && utf8_valid(slice_of(text)) && utf8_valid(session->device);
}

static void add_sessions(struct buf *out, const struct mailbox_look *look)
{
    char id[SESSION_ID_MAX];
    bool first = true;

    buf_add_text(out, ",\"sessions\":[");
    for (size_t k = 0; k < look->session_count; k++) {
        const struct at_session *session = &look->sessions[k];
        if (!session_id(session, id))
            continue;
        buf_add_text(out, first ? "{\"id\":" : ",{\"id\":");
        json_add_string(out, slice_of(id));
        clerk_add_text(out, "device", session->device);
        buf_addf(out, ",\"since\":%llu}", (unsigned long long)(session->opened_us / 1000000));
        first = false;
    }
    buf_add_char(out, ']');
}

static void on_looked(void *arg, struct mailbox_look *look)
{
    struct mailbox_task *task = arg;
    struct slice address = slice_of(task->address);
    struct buf out;

    buf_init(&out, LOOK_MAX);
    buf_add_text(&out, "{\"address\":");
    json_add_string(&out, address);
    buf_addf(&out, ",\"service\":%s,\"messages\":%llu,\"countedBytes\":%llu",
             service_is(task->task.clerk->office, address) ? "true" : "false",
             (unsigned long long)look->count, (unsigned long long)look->bytes);
    clerk_add_seq(&out, "oldest", look->oldest);
    clerk_add_seq(&out, "newest", look->newest);
    clerk_add_seq(&out, "lost", look->lost);
    if (look->ok) {
        add_devices(&out, look);
        add_sessions(&out, look);
    }
    buf_add_text(&out, "}\n");
    if (look->ok && look->known)
        clerk_task_answer(&task->task, 200, &out);
    else if (look->ok)
        clerk_task_problem(&task->task, 404, "not-found", "nothing is known of this address");
    buf_fini(&out);
    clerk_task_free(&task->task);
}

void clerk_mailbox_get(const struct clerk_call *call)
{
    struct mailbox_task *task = task_for_address(call);
    struct slice address = task ? slice_of(task->address) : SLICE("");

    if (task &&
        mailbox_look(mailbox_of(task), address, !address_is_group(address), on_looked, task))
        clerk_task_free(&task->task);
}

/* ---- a page ---- */

/* As `history` has it: the stored message with its seq as the first member. */
static void add_entry(struct buf *out, const struct mailbox_entry *entry)
{
    char seq[SEQ_TEXT_MAX];

    seq_format(seq, entry->seq);
    buf_addf(out, "{\"seq\":\"%s\"", seq);
    if (entry->body.len > 2) /* "{}" has nothing to follow */
        buf_add_char(out, ',');
    buf_add(out, entry->body.data + 1, entry->body.len - 1);
}

static void on_page(void *arg, const struct mailbox_page *page)
{
    struct mailbox_task *task = arg;
    struct buf out;

    buf_init(&out, PAGE_MAX);
    buf_add_text(&out, "{\"messages\":[");
    for (size_t i = 0; i < page->count; i++) {
        if (i)
            buf_add_char(&out, ',');
        add_entry(&out, &page->entries[i]);
    }
    buf_addf(&out, "],\"bodiesGone\":%zu", page->gone);
    clerk_add_seq(&out, "lost", page->lost);
    if (!page->end)
        clerk_add_seq(&out, "cursor", page->last);
    buf_add_text(&out, "}\n");
    if (page->ok)
        clerk_task_answer(&task->task, 200, &out);
    buf_fini(&out);
    clerk_task_free(&task->task);
}

void clerk_mailbox_read(const struct clerk_call *call)
{
    struct mailbox_task *task;
    struct seq after, cursor;
    uint64_t limit;

    if (!clerk_take_seq(call->request, "after", &after) ||
        !clerk_take_seq(call->request, "cursor", &cursor) ||
        !clerk_take_number(call->request, "limit", LIMIT, LIMIT_MAX, &limit))
        return;
    if (limit == 0) {
        clerk_answer_problem(call->request, 400, "bad-field", "limit: 1 to 200");
        return;
    }
    task = task_for_address(call);
    if (task && mailbox_read_more(mailbox_of(task), slice_of(task->address), seq_max(after, cursor),
                                  (unsigned)limit, on_page, task))
        clerk_task_free(&task->task);
}

/* ---- a purge ---- */

static void on_purged(void *arg, const struct mailbox_purged *purged);

static void answer_purge(struct mailbox_task *task, bool more)
{
    struct buf out;

    buf_init(&out, LOOK_MAX);
    buf_addf(&out, "{\"removed\":%llu,\"bytes\":%llu,\"more\":%s}\n",
             (unsigned long long)task->removed, (unsigned long long)task->bytes,
             more ? "true" : "false");
    clerk_task_answer(&task->task, 200, &out);
    buf_fini(&out);
}

static bool purge_on(struct mailbox_task *task)
{
    clerk_task_renew(&task->task);
    return mailbox_purge(mailbox_of(task), slice_of(task->address), &task->end, on_purged, task) ==
           OK;
}

static void on_purged(void *arg, const struct mailbox_purged *purged)
{
    struct mailbox_task *task = arg;
    struct office *office = task->task.clerk->office;

    if (purged->ok) {
        task->removed += purged->removed;
        task->bytes += purged->bytes;
        task->end = purged->end;
        stats_add(office->stats, STAT_mail_purged, purged->removed);
        if (purged->more && task->task.request && loop_now_ms(office->loop) < task->until_ms &&
            purge_on(task))
            return;
        answer_purge(task, purged->more);
    }
    clerk_task_free(&task->task);
}

/* `before` alone, or nothing: a parameter that is written wrongly must not remove all. */
static bool take_purge_end(const struct clerk_call *call, struct seq *before)
{
    struct slice query = call->request->query;

    if (query.len &&
        (!slice_starts(query, SLICE("before=")) || memchr(query.data, '&', query.len))) {
        clerk_answer_problem(call->request, 400, "bad-field", "the one parameter is before=SEQ");
        return false;
    }
    if (!clerk_take_seq(call->request, "before", before))
        return false;
    if (query.len == 0 || !seq_is_zero(*before))
        return true;
    clerk_answer_problem(call->request, 400, "bad-field", "before: nothing lies before 0-0");
    return false;
}

void clerk_mailbox_purge(const struct clerk_call *call)
{
    char on[ADDRESS_BYTES_MAX + SEQ_TEXT_MAX + 16], seq[SEQ_TEXT_MAX];
    struct mailbox_task *task;
    struct seq before;

    if (!take_purge_end(call, &before))
        return;
    task = task_for_address(call);
    if (!task)
        return;
    seq_format(seq, before);
    snprintf(on, sizeof on, "%s%s%s", task->address, call->request->query.len ? " before " : "",
             call->request->query.len ? seq : "");
    if (call->request->query.len)
        mailbox_purge_before(&task->end, before);
    task->until_ms = loop_now_ms(call->clerk->office->loop) + PURGE_MS;
    clerk_log_change(call, "mailbox_purge", on);
    if (!purge_on(task))
        clerk_task_free(&task->task);
}
