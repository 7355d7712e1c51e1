/*
 * Sessions of this host stand in the session table, sessions of other hosts in each address's
 * `:at`. A field of `:at` counts only while its worker lives. With no other host alive, or with
 * Redis away, the answer comes from the table alone.
 */
#include "worker/entrance/presence.h"

#include "common/address.h"
#include "common/json.h"
#include "worker/mailbox/mailbox_places.h"
#include "worker/reach/nodes.h"
#include "worker/envelope/postmaster.h"
#include "worker/mailbox/mailbox.h"
#include "worker/session/asker.h"

#include <stdlib.h>

enum { PLACES_MAX = 128, DEVICES_MAX = 2 * PLACES_MAX, ONLINE_BYTES_MAX = 16 << 20 };

/* A `presence` command that waits for answers. */
struct inquiry {
    struct asker asker;
    struct buf online; /* the members of the answer's `online` so far */
    size_t waiting; /* addresses without an answer, plus 1 while addresses are still being asked */
};

/* One address of an inquiry, while Redis is asked. */
struct inquiry_address {
    struct inquiry *inquiry;
    uint8_t address_len;
    char address[];
};

/* ---- the answer ---- */

static void add_device(struct slice *devices, size_t *count, struct slice device)
{
    for (size_t i = 0; i < *count; i++)
        if (slice_equal(devices[i], device))
            return; /* the device has two sessions while one replaces the other */
    if (*count < DEVICES_MAX)
        devices[(*count)++] = device;
}

static void add_address(struct buf *out, struct office *office, struct slice address,
                        const struct at_session *sessions, size_t session_count)
{
    struct session_row places[PLACES_MAX];
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

static struct msg *make_result(const struct session *session, const struct inquiry *inquiry)
{
    struct buf *out = postmaster_begin_result(session_address(session), asker_id(&inquiry->asker));

    buf_add_text(out, ",\"online\":{");
    buf_add_slice(out, buf_slice(&inquiry->online));
    buf_add_char(out, '}');
    out->failed |= inquiry->online.failed;
    return postmaster_end(MSG_ANSWER);
}

/* An address has its answer, or all have been asked. The last of these sends the result. */
static void inquiry_settle(struct inquiry *inquiry)
{
    struct session *session;

    if (--inquiry->waiting)
        return;
    session = asker_session(&inquiry->asker);
    if (session)
        session_say(session, make_result(session, inquiry));
    buf_fini(&inquiry->online);
    free(inquiry);
}

/* ---- asking ---- */

static void sessions_answered(void *arg, bool ok, const struct at_session *sessions, size_t count)
{
    struct inquiry_address *asked = arg;
    struct inquiry *inquiry = asked->inquiry;

    add_address(&inquiry->online, inquiry->asker.office,
                slice_make(asked->address, asked->address_len), sessions, ok ? count : 0);
    free(asked);
    inquiry_settle(inquiry);
}

/* False: Redis was not asked about the address. */
static bool ask_sessions(struct inquiry *inquiry, struct slice address)
{
    struct inquiry_address *asked = malloc(sizeof *asked + address.len);

    if (!asked)
        return false;
    *asked = (struct inquiry_address){ .inquiry = inquiry, .address_len = (uint8_t)address.len };
    memcpy(asked->address, address.data, address.len);
    if (mailbox_where(inquiry->asker.office->mailbox, address, sessions_answered, asked)) {
        free(asked);
        return false;
    }
    inquiry->waiting++;
    return true;
}

static bool is_repeated(const struct envelope *envelope, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (slice_equal(envelope->tags[i], envelope->tags[j]))
            return true;
    return false;
}

/* Addresses that only the session table can answer for are added at once. */
static void ask_all(struct inquiry *inquiry, const struct envelope *envelope)
{
    struct office *office = inquiry->asker.office;
    bool elsewhere = nodes_any(office->nodes) && mailbox_is_up(office->mailbox);

    if (elsewhere)
        nodes_beat(office->nodes); /* Redis answers in order: first, which workers live now */
    for (size_t i = 0; i < envelope->tag_count; i++) {
        struct slice address = envelope->tags[i];
        if (is_repeated(envelope, i) || (elsewhere && ask_sessions(inquiry, address)))
            continue;
        add_address(&inquiry->online, office, address, NULL, 0);
    }
}

/* Asking about an address takes the same right as writing to it. */
static enum err check_addresses(const struct session *session, const struct envelope *envelope,
                                struct envelope_fault *fault)
{
    if (envelope->tag_count == 0)
        return envelope_reject(fault, REJECT_MISSING_FIELD, "tags", "tags must name the addresses");
    /* envelope_parse has rejected more tags than limits.recipients. */
    for (size_t i = 0; i < envelope->tag_count; i++) {
        if (!address_valid(envelope->tags[i]))
            return envelope_reject(fault, REJECT_BAD_FIELD, "tags", "each tag must be an address");
        if (!grant_may_send_to(session->grant, envelope->tags[i]) &&
            !slice_equal(envelope->tags[i], session_address(session)))
            return envelope_reject(fault, REJECT_FORBIDDEN_TO, "tags",
                                   "the token does not allow this address");
    }
    return OK;
}

static struct inquiry *inquiry_new(const struct session *session, struct slice id)
{
    struct inquiry *inquiry = malloc(sizeof *inquiry);

    if (!inquiry)
        return NULL;
    *inquiry = (struct inquiry){ .asker = asker_of(session, id), .waiting = 1 };
    buf_init(&inquiry->online, ONLINE_BYTES_MAX);
    return inquiry;
}

enum err presence_run(struct session *session, const struct envelope *envelope,
                      struct envelope_fault *fault)
{
    struct inquiry *inquiry;

    if (check_addresses(session, envelope, fault))
        return ERR_BAD;
    inquiry = inquiry_new(session, envelope->id);
    if (!inquiry)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    ask_all(inquiry, envelope);
    inquiry_settle(inquiry);
    return OK;
}
