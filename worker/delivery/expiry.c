#include "worker/delivery/expiry.h"

#include "worker/delivery/payment.h"
#include "worker/mailbox/mailbox.h"
#include "worker/mailbox/mailbox_receipts.h"

static void ask_due(struct office *office);

/* A bounded step. The next step is asked for only when this one has been answered, so that
 * everything else has its turn in between. */
static void on_expiry_answered(void *arg, struct mailbox_due *due)
{
    struct office *office = arg;

    office->expiry_asked = false;
    if (!due->ok)
        return; /* the next tick asks again */
    if (due->expired)
        stats_add(office->stats, STAT_mail_removed, due->expired);
    payment_pay_all(office, &due->debts);
    if (due->more)
        ask_due(office);
}

static void ask_due(struct office *office)
{
    office->expiry_asked = mailbox_due(office->mailbox, on_expiry_answered, office) == OK;
}

void expiry_tick(struct office *office)
{
    if (!office->expiry_asked && mailbox_is_up(office->mailbox))
        ask_due(office);
}
