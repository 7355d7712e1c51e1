/* Pages of a mailbox, and the cursors of its devices. */
#include "worker/mailbox/mailbox_read.h"

#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_pages.h"

/* --- pages --- */

/* Redis works 5 us on a small entry, and nobody's mail is to wait for more than a third of a
 * millisecond. */
enum { PAGE_COUNT_MAX = 64 };

enum err mailbox_read(struct mailbox *mailbox, struct slice address, struct seq after,
                      mailbox_page_cb done, void *arg)
{
    return mailbox_pages_request(mailbox, &(struct page_request){
                                              .direction = PAGE_FORWARDS,
                                              .address = address,
                                              .position = after,
                                              .count = PAGE_COUNT_MAX,
                                              .done = done,
                                              .arg = arg,
                                          });
}

enum err mailbox_read_more(struct mailbox *mailbox, struct slice address, struct seq after,
                           unsigned count, mailbox_page_cb done, void *arg)
{
    return mailbox_pages_request(mailbox, &(struct page_request){
                                              .direction = PAGE_FORWARDS,
                                              .address = address,
                                              .position = after,
                                              .count = count,
                                              .bytes = MAILBOX_HISTORY_BYTES,
                                              .done = done,
                                              .arg = arg,
                                          });
}

enum err mailbox_history(struct mailbox *mailbox, struct slice address, struct slice thread,
                         struct seq before, unsigned count, mailbox_page_cb done, void *arg)
{
    return mailbox_pages_request(mailbox, &(struct page_request){
                                              .direction = PAGE_BACKWARDS,
                                              .address = address,
                                              .thread = thread,
                                              .position = before,
                                              .count = count,
                                              .done = done,
                                              .arg = arg,
                                          });
}

/* --- acknowledging --- */

static void on_cursor_moved(struct op *op, const struct redis_reply *reply)
{
    if (reply && reply->type == REDIS_INTEGER && reply->integer > 1)
        op->mailbox->counts.devices_forgotten += (uint64_t)reply->integer - 1;
    if (op->done)
        ((mailbox_done_cb)op->done)(op->arg, reply && reply->type == REDIS_INTEGER);
}

enum err mailbox_ack(struct mailbox *mailbox, struct slice address, struct slice device,
                     struct seq seq, mailbox_done_cb done, void *arg)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_ACK);
    call_keys(&call, address, CALL_KEYS(":cur"));
    call_add(&call, device);
    call_add_seq(&call, seq);
    call_add(&call, slice_of(mailbox->epoch));
    return call_put(&call, on_cursor_moved, (op_done)done, arg);
}
