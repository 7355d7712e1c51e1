#include "worker/router/copies.h"

#include "worker/reach/remote.h"

#include <stdlib.h>

/* A copy without its mailbox's answer. Holds no session: the sender may be gone by the answer. */
struct copy {
    struct office *office;
    struct msg *msg;
    uint8_t address_len, device_len;
    char text[]; /* address, device */
};

static struct copy *copy_new(const struct session *session, struct msg *msg)
{
    struct slice address = session_address(session), device = session_device(session);
    struct copy *copy = malloc(sizeof *copy + address.len + device.len);

    if (!copy)
        return NULL;
    *copy = (struct copy){ .office = session->office,
                           .msg = msg_ref(msg),
                           .address_len = (uint8_t)address.len,
                           .device_len = (uint8_t)device.len };
    memcpy(copy->text, address.data, address.len);
    memcpy(copy->text + address.len, device.data, device.len);
    return copy;
}

static void copy_free(struct copy *copy)
{
    msg_unref(copy->msg);
    free(copy);
}

/* Offers the copy to every device but the sender's. */
static void ring_for_copy(const struct copy *copy, const struct mailbox_appended *appended)
{
    struct slice address = slice_make(copy->text, copy->address_len);
    struct slice device = slice_make(copy->text + copy->address_len, copy->device_len);
    struct bus_position position = { appended->seq, appended->before };
    struct doorbell stored = { &address, &position, 1 };
    struct remote remote = { 0 };

    /* The worker that stored a repeated letter may have died before its doorbell. A feed that has
     * queued this seq ignores the offer; any other feed reads from the mailbox. */
    if (appended->outcome == MAILBOX_REPEATED)
        position.before = appended->seq;
    remote_note(&remote, copy->office, appended->elsewhere, appended->elsewhere_count, address,
                position);
    copy->office->ring(copy->office, &stored, &remote, device, copy->msg);
    remote_fini(&remote);
}

static void copy_appended(void *arg, const struct mailbox_appended *appended)
{
    struct copy *copy = arg;

    if (appended->outcome == MAILBOX_STORED || appended->outcome == MAILBOX_REPEATED)
        ring_for_copy(copy, appended);
    else
        stats_add(copy->office->stats, STAT_copies_failed, 1);
    copy_free(copy);
}

/* The session remembers that it has seen another device: a device's cursor in the mailbox stays
 * when the device's session ends. Sessions of a service address are not devices: a copy would be
 * work for them. */
static bool has_other_devices(struct session *session)
{
    if (session->seat)
        return false;
    if (!session->other_devices)
        session->other_devices =
            sessions_find(session->office->region, session->entry->key, NULL, 0) > 1;
    return session->other_devices;
}

static bool is_recipient(const struct envelope *envelope, struct slice address)
{
    for (size_t i = 0; i < envelope->recipient_count; i++)
        if (slice_equal(envelope->recipients[i], address))
            return true;
    return false;
}

bool copies_wanted(struct session *session, const struct envelope *envelope)
{
    struct slice address = session_address(session);

    return has_other_devices(session) && session->office->config->sessions.copy_to_sender &&
           envelope->type == TYPE_MAIL && slice_equal(envelope->from, address) &&
           !is_recipient(envelope, address);
}

void copies_send(struct session *session, struct mailbox_letter letter)
{
    struct office *office = session->office;
    struct copy *copy = copy_new(session, letter.msg);

    if (!copy) {
        stats_add(office->stats, STAT_copies_failed, 1);
        return;
    }
    letter.address = session_address(session);
    letter.receipt = 0; /* the sender needs no receipt from itself */
    letter.skip_device = session_device(session);
    if (mailbox_append(office->mailbox, &letter, copy_appended, copy)) {
        stats_add(office->stats, STAT_copies_failed, 1);
        copy_free(copy);
    }
}
