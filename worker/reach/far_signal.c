#include "worker/reach/far_signal.h"

#include "worker/mailbox/mailbox_places.h"
#include "worker/mailbox/place.h"
#include "worker/reach/bus.h"
#include "worker/reach/nodes.h"
#include "worker/reach/remote.h"
#include "worker/session/service_turn.h"

#include <stdlib.h>

/* Questions of this worker without an answer. Past this number signals go to this host alone:
 * questions share the connection, and its bounds, with mail. */
enum { QUESTIONS_MAX = 20000 };

struct far_recipient {
    struct far *far;
    struct slice address;
    bool heard;
};

/* One signal, until all of its questions are answered. */
struct far {
    struct office *office;
    struct msg *msg;
    struct remote remote;
    size_t waiting; /* questions without an answer, and far_signal itself */
    struct far_recipient recipients[];
};

/* One wait has ended; the last publishes the signal and frees its memory. */
static void far_part_done(struct far *far)
{
    if (--far->waiting)
        return;
    remote_publish(&far->remote, far->office,
                   &(struct bus_frame){ .kind = BUS_DELIVER,
                                        .level = far->msg->level,
                                        .msg_kind = far->msg->kind,
                                        .body = msg_slice(far->msg) });
    remote_fini(&far->remote);
    msg_unref(far->msg);
    free(far);
}

/* Of a service address one session gets the signal: the fields of living workers of other hosts
 * take turns. *fields points to the chosen field then. Returns 1, or 0 when no such worker has a
 * session of the address. */
static size_t choose_far_session(struct office *office, struct slice address,
                                 const struct slice **fields, size_t count)
{
    uint32_t turn = service_turn_next(office, sessions_key(office->region, address));

    for (size_t i = 0; i < count; i++) {
        const struct slice *field = &(*fields)[(turn + i) % count];
        if (nodes_live(office->nodes, place_of_field(*field))) {
            *fields = field;
            return 1;
        }
    }
    return 0;
}

static void on_far_fields(void *arg, const struct slice *fields, size_t count)
{
    struct far_recipient *recipient = arg;
    struct far *far = recipient->far;
    struct bus_position none = { { 0, 0 }, { 0, 0 } };

    far->office->questions--;
    if (service_is(far->office, recipient->address))
        count = choose_far_session(far->office, recipient->address, &fields, count);
    if (!remote_note(&far->remote, far->office, fields, count, recipient->address, none) &&
        !recipient->heard)
        stats_add(far->office->stats, STAT_signals_unheard, 1);
    far_part_done(far);
}

/* The addresses are copied behind the recipients: the caller's go before the answers come. */
static struct far *far_new(struct office *office, const struct slice *recipients, const bool *heard,
                           size_t count, struct msg *msg)
{
    size_t bytes = 0, rows = count * sizeof(struct far_recipient);
    struct far *far;
    char *at;

    for (size_t i = 0; i < count; i++)
        bytes += recipients[i].len;
    far = malloc(sizeof *far + rows + bytes);
    if (!far)
        return NULL;
    *far = (struct far){ .office = office, .msg = msg_ref(msg), .waiting = 1 };
    at = (char *)far->recipients + rows;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, recipients[i].data, recipients[i].len);
        far->recipients[i] = (struct far_recipient){ .far = far,
                                                     .address = slice_make(at, recipients[i].len),
                                                     .heard = heard[i] };
        at += recipients[i].len;
    }
    return far;
}

void far_signal(struct office *office, const struct slice *recipients, const bool *heard,
                size_t recipient_count, struct msg *msg)
{
    struct far *far = office->questions < QUESTIONS_MAX
                          ? far_new(office, recipients, heard, recipient_count, msg)
                          : NULL;

    for (size_t i = 0; i < recipient_count; i++) {
        if (heard[i] && service_is(office, recipients[i]))
            continue; /* a service address: one session has the signal, and one is enough */
        if (far && mailbox_fields(office->mailbox, recipients[i], on_far_fields,
                                  &far->recipients[i]) == OK) {
            far->waiting++;
            office->questions++;
        } else {
            stats_add(office->stats, STAT_publishes_unheard, 1); /* the signal does not leave */
        }
    }
    if (far)
        far_part_done(far);
}
