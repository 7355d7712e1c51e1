#include "worker/mailbox/mailbox_revoked.h"

#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_answer.h"

enum { HEAD = 2, FIELDS = 3 };

static void on_revoked_in_redis(struct op *op, const struct redis_reply *reply)
{
    bool ok = reply && reply->type == REDIS_INTEGER && reply->integer >= 0;

    ((mailbox_revoke_cb)op->done)(op->arg, ok, ok ? (uint64_t)reply->integer : 0);
}

enum err mailbox_revoke(struct mailbox *mailbox, const struct mailbox_revoke *revoke,
                        mailbox_revoke_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_REVOKE);
    call_global_key(&call, "revoked");
    call_global_key(&call, "revoked:log");
    call_global_key(&call, "revoked:ends");
    call_add(&call, revoke->what);
    call_add(&call, revoke->value);
    if (revoke->ends_at)
        call_add_int(&call, revoke->ends_at);
    else
        call_add(&call, SLICE(""));
    call_add_int(&call, revoke->max);
    call_add_int(&call, (int64_t)revoke->known);
    return call_put(&call, on_revoked_in_redis, (op_done)done, arg);
}

static bool read_version(const struct redis_reply *reply, size_t i, uint64_t *version)
{
    struct seq number;

    if (!mailbox_answer_seq(reply, i, &number))
        return false;
    *version = number.ms;
    return true;
}

/* Entries of a foreign shape are left out. */
static void read_entries(const struct redis_reply *reply, struct mailbox_revoked_entry *entries,
                         struct mailbox_revoked_page *page)
{
    for (size_t i = HEAD; i + FIELDS <= reply->count && page->count < MAILBOX_REVOKED_PAGE;
         i += FIELDS) {
        struct mailbox_revoked_entry *entry = &entries[page->count];
        struct redis_reply what = redis_reply_at(reply, i + 1);
        struct redis_reply value = redis_reply_at(reply, i + 2);
        if (!read_version(reply, i, &entry->version) || what.type != REDIS_STRING ||
            value.type != REDIS_STRING)
            continue;
        entry->what = what.text;
        entry->value = value.text;
        page->count++;
    }
}

static void on_revoked_page(struct op *op, const struct redis_reply *reply)
{
    struct mailbox_revoked_entry entries[MAILBOX_REVOKED_PAGE];
    struct mailbox_revoked_page page = { .entries = entries };

    if (reply && reply->type == REDIS_ARRAY && reply->count >= HEAD &&
        read_version(reply, 0, &page.version)) {
        page.ok = true;
        page.must_reload = slice_equal(redis_reply_at(reply, 1).text, SLICE("1"));
        page.has_more = (reply->count - HEAD) / FIELDS == MAILBOX_REVOKED_PAGE;
        read_entries(reply, entries, &page);
    }
    ((mailbox_revoked_cb)op->done)(op->arg, &page);
}

enum err mailbox_revoked(struct mailbox *mailbox, uint64_t since, bool is_reload,
                         mailbox_revoked_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_REVOKED);
    call_global_key(&call, "revoked");
    call_global_key(&call, "revoked:log");
    call_add_int(&call, (int64_t)since);
    call_add_int(&call, MAILBOX_REVOKED_PAGE);
    call_add(&call, is_reload ? SLICE("1") : SLICE("0"));
    return call_put(&call, on_revoked_page, (op_done)done, arg);
}
