#include "worker/service/service_receipts.h"

#include "worker/delivery/payment.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_receipts.h"
#include "worker/service/service_parts.h"

#include <stdlib.h>

/* Receipts that Redis has yet to note as owed. The ranges and the texts lie in the same memory. */
struct service_debt {
    struct service_debt *next; /* of service->unanswered */
    struct office *office;
    size_t range_count;
    struct mailbox_range *ranges;
    struct slice address, device;
};

static void debt_keep(struct service_debt *debt)
{
    struct service *service = debt->office->service;

    debt->next = service->unanswered;
    service->unanswered = debt;
}

static void debt_ask(struct service_debt *debt);

static void on_debt_noted(void *arg, struct mailbox_acked *acked)
{
    struct service_debt *debt = arg;

    payment_pay_all(debt->office, &acked->debts);
    if (acked->ok && !acked->more)
        free(debt);
    else if (acked->ok)
        debt_ask(debt);
    else
        debt_keep(debt);
}

/* The device's cursor stays where it is: 0-0 is behind no message. */
static void debt_ask(struct service_debt *debt)
{
    if (mailbox_ack_asked(debt->office->mailbox, debt->address, debt->device, (struct seq){ 0, 0 },
                          debt->ranges, debt->range_count, on_debt_noted, debt))
        debt_keep(debt);
}

enum err service_receipts_owe(struct session *session, const struct seq *seqs, size_t count)
{
    struct slice address = session_address(session), device = session_device(session);
    size_t ranges_size = count * sizeof(struct mailbox_range);
    struct service_debt *debt = malloc(sizeof *debt + ranges_size + address.len + device.len);
    char *text;

    if (!debt)
        return ERR_NOMEM;
    *debt = (struct service_debt){ .office = session->office,
                                   .range_count = count,
                                   .ranges = (struct mailbox_range *)(void *)(debt + 1) };
    for (size_t i = 0; i < count; i++)
        debt->ranges[i] = (struct mailbox_range){ seqs[i], seqs[i] };
    text = (char *)(debt->ranges + count);
    memcpy(text, address.data, address.len);
    memcpy(text + address.len, device.data, device.len);
    debt->address = slice_make(text, address.len);
    debt->device = slice_make(text + address.len, device.len);
    debt_ask(debt);
    return OK;
}

void service_receipts_retry(struct office *office)
{
    struct service *service = office->service;
    struct service_debt *debt = mailbox_is_up(office->mailbox) ? service->unanswered : NULL;

    if (debt)
        service->unanswered = NULL;
    while (debt) {
        struct service_debt *next = debt->next;
        debt_ask(debt);
        debt = next;
    }
}

void service_receipts_fini(struct service *service)
{
    while (service->unanswered) {
        struct service_debt *debt = service->unanswered;
        service->unanswered = debt->next;
        free(debt);
    }
}
