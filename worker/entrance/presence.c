/*
 * Sessions of this host are read from the session table, sessions of other hosts from each
 * address's
 * `:at`; an entry counts only while its worker lives. With no other host alive, or with Redis away,
 * the table alone is read.
 */
#include "worker/entrance/presence.h"

#include "common/address.h"
#include "common/json.h"
#include "worker/reach/nodes.h"
#include "worker/session/asker.h"
#include "worker/envelope/postmaster.h"
#include "worker/mailbox/mailbox.h"

#include <stdlib.h>

enum { PLACES_MAX = 128, DEVICES_MAX = 2 * PLACES_MAX, ONLINE_BYTES_MAX = 16 << 20 };

struct inquiry {
    struct asker asker;
    struct buf online;
    size_t waiting; /* answers that have not come, and the command while it asks */
};

/* One address of an inquiry. */
struct asked {
    struct inquiry *inquiry;
    uint8_t address_len;
    char address[];
};

/* --- the answer --- */

static void add_device(struct slice *devices, size_t *count, struct slice device)
{
    for (size_t i = 0; i < *count; i++)
        if (slice_equal(devices[i], device))
            return; /* a session that is just taking the place of another */
    if (*count < DEVICES_MAX)
        devices[(*count)++] = device;
}

static void add_address(struct buf *out, struct office *office, struct slice address,
                        const struct at_session *sessions, size_t session_count)
{
    struct session_place places[PLACES_MAX];
    struct slice devices[DEVICES_MAX];
    size_t found = sessions_find(office->region, sessions_key(office->region, address), places,
                                 PLACES_MAX),
           count = 0;

    for (size_t i = 0; i < found && i < PLACES_MAX; i++)
        add_device(devices, &count, slice_make(places[i].device, places[i].device_len));
    for (size_t i = 0; i < session_count; i++)
        if (nodes_live(office->nodes, sessions[i].place))
            add_device(devices, &count, sessions[i].device);
    if (out->len)
        buf_add_char(out, ',');
    json_add_string(out, address);
    buf_add_text(out, ":[");
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_add_char(out, ',');
        json_add_string(out, devices[i]);
    }
    buf_add_char(out, ']');
}

static struct msg *result(struct session *session, struct inquiry *inquiry)
{
    struct buf *out = postmaster_begin(session_address(session), "result");

    if (asker_id(&inquiry->asker).data) {
        buf_add_text(out, ",\"inReplyTo\":");
        json_add_string(out, asker_id(&inquiry->asker));
    }
    buf_add_text(out, ",\"online\":{");
    buf_add_slice(out, buf_slice(&inquiry->online));
    buf_add_char(out, '}');
    out->failed |= inquiry->online.failed;
    return postmaster_end(MSG_ANSWER);
}

static void settle(struct inquiry *inquiry)
{
    struct session *session;

    if (--inquiry->waiting)
        return;
    session = asker_session(&inquiry->asker);
    if (session)
        session_say(session, result(session, inquiry));
    buf_fini(&inquiry->online);
    free(inquiry);
}

/* --- asking --- */

static void on_where(void *arg, bool ok, const struct at_session *sessions, size_t count)
{
    struct asked *asked = arg;
    struct inquiry *inquiry = asked->inquiry;

    add_address(&inquiry->online, inquiry->asker.office,
                slice_make(asked->address, asked->address_len), sessions, ok ? count : 0);
    free(asked);
    settle(inquiry);
}

static bool ask(struct inquiry *inquiry, struct slice address)
{
    struct asked *asked = malloc(sizeof *asked + address.len);

    if (!asked)
        return false;
    *asked = (struct asked){ .inquiry = inquiry, .address_len = (uint8_t)address.len };
    memcpy(asked->address, address.data, address.len);
    if (mailbox_where(inquiry->asker.office->mailbox, address, on_where, asked)) {
        free(asked);
        return false;
    }
    inquiry->waiting++;
    return true;
}

static bool repeated(const struct envelope *envelope, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (slice_equal(envelope->tags[i], envelope->tags[j]))
            return true;
    return false;
}

static void ask_all(struct inquiry *inquiry, const struct envelope *envelope)
{
    struct office *office = inquiry->asker.office;
    bool elsewhere = nodes_any(office->nodes) && mailbox_is_up(office->mailbox);

    if (elsewhere)
        nodes_beat(office->nodes); /* answered before the rest: who lives now */
    for (size_t i = 0; i < envelope->tag_count; i++) {
        struct slice address = envelope->tags[i];
        if (repeated(envelope, i) || (elsewhere && ask(inquiry, address)))
            continue;
        add_address(&inquiry->online, office, address, NULL, 0);
    }
}

static enum err fail(struct envelope_fault *fault, enum reject_code code, const char *message)
{
    fault->code = code;
    fault->field = code == REJECT_INTERNAL ? NULL : "tags";
    fault->message = message;
    return ERR_BAD;
}

/* Who is not connected has an empty list. Asking about an address takes the same right as writing
 * to it. */
enum err presence_run(struct session *session, const struct envelope *envelope,
                      struct envelope_fault *fault)
{
    struct inquiry *inquiry;

    if (envelope->tag_count == 0)
        return fail(fault, REJECT_MISSING_FIELD, "tags must name the addresses");
    /* No more than limits.recipients: envelope_parse has seen to it. */
    for (size_t i = 0; i < envelope->tag_count; i++) {
        if (!address_valid(envelope->tags[i]))
            return fail(fault, REJECT_BAD_FIELD, "each tag must be an address");
        if (!grant_may_send_to(session->grant, envelope->tags[i]) &&
            !slice_equal(envelope->tags[i], session_address(session)))
            return fail(fault, REJECT_FORBIDDEN_TO, "the token does not allow this address");
    }
    inquiry = malloc(sizeof *inquiry);
    if (!inquiry)
        return fail(fault, REJECT_INTERNAL, "out of memory");
    *inquiry = (struct inquiry){ .asker = asker_of(session, envelope->id), .waiting = 1 };
    buf_init(&inquiry->online, ONLINE_BYTES_MAX);
    ask_all(inquiry, envelope);
    settle(inquiry);
    return OK;
}
