#include "worker/service/service_receipts.h"

#include "worker/delivery/payment.h"
#include "worker/mailbox/mailbox.h"

#include <stdlib.h>

struct debt {
    struct debt *next;
    struct office *office;
    size_t range_count;
    struct mailbox_range *ranges; /* in the same memory, as the texts are */
    struct slice address, device;
};

/* Not answered; one worker, one list. */
static struct debt *unanswered;

static void on_acked(void *arg, struct mailbox_acked *acked);

/* The cursor of the device stays where it is: 0-0 is behind none. */
static void ask(struct debt *debt)
{
    if (mailbox_ack_asked(debt->office->mailbox, debt->address, debt->device, (struct seq){ 0, 0 },
                          debt->ranges, debt->range_count, on_acked, debt) == OK)
        return;
    debt->next = unanswered;
    unanswered = debt;
}

static void on_acked(void *arg, struct mailbox_acked *acked)
{
    struct debt *debt = arg;

    payment_pay_all(debt->office, &acked->debts);
    if (acked->ok && !acked->more) {
        free(debt);
    } else if (acked->ok) {
        ask(debt);
    } else {
        debt->next = unanswered;
        unanswered = debt;
    }
}

enum err service_receipts_owe(struct session *session, const struct seq *seqs, size_t count)
{
    struct slice address = session_address(session), device = session_device(session);
    size_t ranges_size = count * sizeof(struct mailbox_range);
    struct debt *debt = malloc(sizeof *debt + ranges_size + address.len + device.len);
    char *text;

    if (!debt)
        return ERR_NOMEM;
    *debt = (struct debt){ .office = session->office,
                           .range_count = count,
                           .ranges = (struct mailbox_range *)(void *)(debt + 1) };
    for (size_t i = 0; i < count; i++)
        debt->ranges[i] = (struct mailbox_range){ seqs[i], seqs[i] };
    text = (char *)(debt->ranges + count);
    memcpy(text, address.data, address.len);
    memcpy(text + address.len, device.data, device.len);
    debt->address = slice_make(text, address.len);
    debt->device = slice_make(text + address.len, device.len);
    ask(debt);
    return OK;
}

void service_receipts_retry(struct office *office)
{
    struct debt *debt = mailbox_is_up(office->mailbox) ? unanswered : NULL;

    if (debt)
        unanswered = NULL;
    while (debt) {
        struct debt *next = debt->next;
        ask(debt);
        debt = next;
    }
}

void service_receipts_fini(void)
{
    while (unanswered) {
        struct debt *debt = unanswered;
        unanswered = debt->next;
        free(debt);
    }
}
