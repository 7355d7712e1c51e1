/*
 * Sessions of this host stand in the session table, sessions of other hosts in each address's
 * `:at`. A field of `:at` counts only while its worker lives. With no other host alive, or with
 * Redis away, the answer comes from the table alone.
 *
 * An inquiry is an errand: one of a session is under way, and the inquiry owns its addresses. An
 * address that is named several times is found by sorting, so that no list of addresses costs the
 * square of its length. Redis is asked about a page of addresses at a time: the next page follows
 * when the page before has been answered.
 */
#include "worker/entrance/presence.h"

#include "common/address.h"
#include "common/json.h"
#include "worker/mailbox/mailbox_places.h"
#include "worker/reach/nodes.h"
#include "worker/envelope/postmaster.h"
#include "worker/mailbox/mailbox.h"
#include "worker/session/errands.h"

#include <stdlib.h>

enum { PLACES_MAX = 128, DEVICES_MAX = 2 * PLACES_MAX, ONLINE_BYTES_MAX = 64 << 20 };
/* Expected of the answer, an address. */
enum { ANSWER_BYTES = 64 };
/* Of an inquiry, that Redis is asked about at once. */
enum { PAGE_ADDRESSES = 64 };

/* A `presence` command that waits for its turn, or for answers. */
struct inquiry {
    struct errand errand;
    struct buf online; /* the members of the answer's `online` so far */
    size_t
        waiting;  /* addresses of the page without an answer, plus 1 while the page is asked for */
    size_t next;  /* the first address of the next page */
    size_t count; /* of addresses: each once, in the order of the command */
    struct slice addresses[]; /* their bytes lie behind */
};

static void inquiry_drop(struct errand *errand)
{
    struct inquiry *inquiry = (struct inquiry *)(void *)errand;

    buf_fini(&inquiry->online);
    free(inquiry);
}

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
    struct buf *out =
        postmaster_begin_result(session_address(session), asker_id(&inquiry->errand.asker));

    buf_add_text(out, ",\"online\":{");
    buf_add_slice(out, buf_slice(&inquiry->online));
    buf_add_char(out, '}');
    out->failed |= inquiry->online.failed;
    return postmaster_end(MSG_ANSWER);
}

static void inquiry_finish(struct inquiry *inquiry)
{
    struct asker asker = inquiry->errand.asker;
    struct session *session = asker_session(&asker);

    if (session)
        session_say(session, make_result(session, inquiry));
    inquiry_drop(&inquiry->errand);
    errands_done(&asker);
}

/* ---- asking ---- */

static void inquiry_go_on(struct inquiry *inquiry);

static void sessions_answered(void *arg, bool ok, const struct at_session *sessions, size_t count)
{
    struct inquiry_address *asked = arg;
    struct inquiry *inquiry = asked->inquiry;

    add_address(&inquiry->online, inquiry->errand.asker.office,
                slice_make(asked->address, asked->address_len), sessions, ok ? count : 0);
    free(asked);
    if (--inquiry->waiting == 0)
        inquiry_go_on(inquiry);
}

/* False: Redis was not asked about the address. */
static bool ask_sessions(struct inquiry *inquiry, struct slice address)
{
    struct inquiry_address *asked = malloc(sizeof *asked + address.len);

    if (!asked)
        return false;
    *asked = (struct inquiry_address){ .inquiry = inquiry, .address_len = (uint8_t)address.len };
    memcpy(asked->address, address.data, address.len);
    if (mailbox_where(inquiry->errand.asker.office->mailbox, address, sessions_answered, asked)) {
        free(asked);
        return false;
    }
    inquiry->waiting++;
    return true;
}

static bool others_are_to_be_asked(const struct office *office)
{
    return nodes_any(office->nodes) && mailbox_is_up(office->mailbox);
}

/* Addresses that only the session table can answer for are added at once. */
static void ask_page(struct inquiry *inquiry)
{
    struct office *office = inquiry->errand.asker.office;
    bool elsewhere = others_are_to_be_asked(office);
    size_t left = inquiry->count - inquiry->next;
    size_t end = inquiry->next + (left < PAGE_ADDRESSES ? left : PAGE_ADDRESSES);

    for (; inquiry->next < end; inquiry->next++) {
        struct slice address = inquiry->addresses[inquiry->next];
        if (!elsewhere || !ask_sessions(inquiry, address))
            add_address(&inquiry->online, office, address, NULL, 0);
    }
}

/* The last page has been answered, or the session has ended: the inquiry is over. */
static void inquiry_go_on(struct inquiry *inquiry)
{
    while (inquiry->next < inquiry->count && asker_session(&inquiry->errand.asker)) {
        inquiry->waiting = 1;
        ask_page(inquiry);
        if (--inquiry->waiting)
            return;
    }
    inquiry_finish(inquiry);
}

static void inquiry_begin(struct errand *errand, struct session *session)
{
    if (others_are_to_be_asked(session->office))
        nodes_beat(session->office->nodes); /* Redis answers in order: first, who lives now */
    inquiry_go_on((struct inquiry *)(void *)errand);
}

/* ---- the command ---- */

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

/* Equal addresses become neighbours, in the order of the command: the tags lie in one array. */
static int compare_tags(const void *a, const void *b)
{
    const struct slice *const *one = a, *const *other = b;
    size_t len = (*one)->len < (*other)->len ? (*one)->len : (*other)->len;
    int order = memcmp((*one)->data, (*other)->data, len);

    if (order == 0 && (*one)->len != (*other)->len)
        order = (*one)->len < (*other)->len ? -1 : 1;
    return order ? order : *one < *other ? -1 : *one > *other;
}

/* Marks repeated tags by a length of 0; no address is empty. ERR_NOMEM. */
static enum err drop_repeated(struct office *office, struct slice *tags, size_t count)
{
    struct slice **sorted = arena_take(&office->arena, (count + 1) * sizeof *sorted);
    struct slice *kept = NULL;

    if (!sorted)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &tags[i];
    qsort(sorted, count, sizeof *sorted, compare_tags);
    for (size_t i = 0; i < count; i++) {
        if (kept && slice_equal(*kept, *sorted[i]))
            sorted[i]->len = 0;
        else
            kept = sorted[i];
    }
    return OK;
}

static void copy_addresses(struct inquiry *inquiry, const struct slice *tags, size_t count)
{
    char *at = (char *)(inquiry->addresses + count);

    for (size_t i = 0; i < count; i++) {
        if (tags[i].len == 0)
            continue;
        memcpy(at, tags[i].data, tags[i].len);
        inquiry->addresses[inquiry->count++] = slice_make(at, tags[i].len);
        at += tags[i].len;
    }
}

/* NULL when out of memory. */
static struct inquiry *inquiry_new(struct session *session, const struct envelope *envelope)
{
    size_t count = envelope->tag_count, bytes = sizeof(struct inquiry);
    struct inquiry *inquiry;

    if (drop_repeated(session->office, envelope->tags, count))
        return NULL;
    for (size_t i = 0; i < count; i++)
        bytes += sizeof(struct slice) + envelope->tags[i].len;
    inquiry = malloc(bytes);
    if (!inquiry)
        return NULL;
    *inquiry = (struct inquiry){
        .errand = { .asker = asker_of(session, envelope->id),
                    .bytes = bytes,
                    .answer_bytes = (uint32_t)count * ANSWER_BYTES,
                    .begin = inquiry_begin,
                    .drop = inquiry_drop },
    };
    buf_init(&inquiry->online, ONLINE_BYTES_MAX);
    copy_addresses(inquiry, envelope->tags, count);
    return inquiry;
}

enum err presence_run(struct session *session, const struct envelope *envelope,
                      struct envelope_fault *fault)
{
    struct inquiry *inquiry;

    if (check_addresses(session, envelope, fault))
        return ERR_BAD;
    inquiry = inquiry_new(session, envelope);
    if (!inquiry)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    return errands_command(session, &inquiry->errand, fault);
}
