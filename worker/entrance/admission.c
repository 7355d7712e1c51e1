#include "worker/entrance/admission.h"

#include "common/address.h"
#include "common/log.h"
#include "shm/slots.h"
#include "worker/entrance/credentials.h"
#include "worker/entrance/life.h"
#include "worker/entrance/refusal.h"
#include "worker/entrance/visitor_parts.h"
#include "worker/entrance/visitor_stay.h"
#include "worker/session/allowance.h"

static bool check_names(struct visitor *visitor, const struct http_upgrade *upgrade)
{
    const char *message = NULL;

    if (upgrade->client_id.data && !address_may_speak(upgrade->client_id))
        message =
            "clientID must be a user address: 1 to 255 bytes of UTF-8, no control characters, no "
            "white space at either end, not reserved";
    else if (upgrade->device.data && !address_device_valid(upgrade->device))
        message = "device must be at most 64 bytes of UTF-8 without control characters";
    if (message)
        refusal_bad(visitor, message);
    return !message;
}

static struct slice address_of(const struct http_upgrade *upgrade, const struct grant *grant)
{
    return upgrade->client_id.data ? upgrade->client_id : slice_make(grant->sub, grant->sub_len);
}

static struct slice device_of(const struct http_upgrade *upgrade)
{
    return upgrade->device.data ? upgrade->device : SLICE("");
}

/* Two clients of one device that both come back at once turn each other out as fast as they can:
 * the one inside stays for a while, and the other is told when to come. */
static bool replaces_too_fast(struct visitor *visitor, const struct http_upgrade *upgrade,
                              const struct grant *grant)
{
    uint32_t wait_ms = allowance_replacement_wait(visitor->visitors->office,
                                                  address_of(upgrade, grant), device_of(upgrade));

    if (wait_ms == 0)
        return false;
    refusal_give(visitor,
                 &(struct http_refusal){ .status = 429,
                                         .code = "replaced-too-often",
                                         .message = "sessions of this device, or of this "
                                                    "address, turn each other out too fast",
                                         .retry_after_s = (wait_ms + 999) / 1000 });
    return true;
}

static void log_entry(const struct visitor *visitor, const struct http_upgrade *upgrade,
                      const struct grant *grant)
{
    struct log_text address;
    char peer[IP_TEXT_MAX];

    if (log_threshold <= LOG_DEBUG)
        log_debug("handshake_accepted", "peer=%s address=%s", ip_text(&visitor->peer, peer),
                  log_quote(&address, address_of(upgrade, grant)));
}

/* The visitor takes a seat and becomes a session, which takes over the descriptor and the count in
 * origins. */
static void let_in(struct visitor *visitor, const struct http_upgrade *upgrade, struct grant *grant,
                   size_t head_len)
{
    struct office *office = visitor->visitors->office;
    struct deflate_terms deflate = deflate_host_choose(&office->host.deflate, upgrade->extensions);
    char extensions[DEFLATE_ANSWER_MAX];
    struct buf answer;
    struct tls *tls;

    if (slot_seat_take(office->region, office->slot)) {
        refusal_busy(visitor, "full", "the largest number of connections is reached");
        return;
    }
    buf_init(&answer, 1024);
    http_answer_upgrade(&answer, upgrade->key, upgrade->offers_v1 ? "postoffice.v1" : NULL,
                        deflate_answer(&deflate, extensions));
    if (answer.failed) {
        buf_fini(&answer);
        slot_seat_leave(office->region, office->slot);
        refusal_no_memory(visitor);
        return;
    }
    visitor_leave(visitor);
    tls = visitor->tls;
    visitor->tls = NULL;
    log_entry(visitor, upgrade, grant);
    life_open(office, visitor->fd,
              &(struct session_claim){
                  .address = address_of(upgrade, grant),
                  .device = device_of(upgrade),
                  .grant = grant,
                  .ip = visitor->peer,
                  .origin_key = visitor->origin_key,
                  .answer = buf_slice(&answer),
                  .early = slice_make(visitor->head.data + head_len, visitor->head.len - head_len),
                  .tls = tls,
                  .since = upgrade->since,
                  .epoch = upgrade->epoch,
                  .deflate = deflate,
              });
    buf_fini(&answer);
}

/* Reads the request. False: the visitor has been refused. A request for another path may ask to be
 * told so by a close frame, if everything else about it is good. */
static bool read_upgrade(struct visitor *visitor, struct http_upgrade *upgrade)
{
    struct office *office = visitor->visitors->office;
    const struct config *config = office->config;
    struct http_paths paths = { config->paths.items, config->paths.count };
    const struct http_parser *parser = &visitor->parser;
    const char *head = visitor->head.data;
    struct http_fault fault, unused;
    bool good;

    arena_reset(&office->arena);
    good = http_check_upgrade(parser, head, &paths, &office->arena, upgrade, &fault) == OK;
    if ((good || (fault.status == 404 && http_check_upgrade(parser, head, NULL, &office->arena,
                                                            upgrade, &unused) == OK)) &&
        upgrade->refusals.data)
        visitor->asked = upgrade;
    if (!good)
        refusal_fault(visitor, &fault);
    return good;
}

static void judge_upgrade(struct visitor *visitor, const struct http_upgrade *upgrade,
                          const struct introduction *introduction, size_t head_len)
{
    struct office *office = visitor->visitors->office;
    struct grant *grant;

    if (office->draining) {
        refusal_draining(visitor);
        return;
    }
    if (visitor->uncounted) {
        refusal_busy(visitor, "too-many-connections", "too many connections from this address");
        return;
    }
    /* Before the signature is verified: a full server spends little on a connection. */
    if (slots_sessions(office->region) >= (uint32_t)office->config->connections_max) {
        refusal_busy(visitor, "full", "the largest number of connections is reached");
        return;
    }
    if (!check_names(visitor, upgrade))
        return;
    grant = credentials_check(visitor, upgrade, introduction);
    if (!grant) {
        if (!visitor->answered)
            refusal_no_memory(visitor);
        return;
    }
    if (upgrade->client_id.data && !grant_may_speak_for(grant, upgrade->client_id))
        refusal_give(visitor,
                     &(struct http_refusal){ .status = 403,
                                             .code = "forbidden-address",
                                             .message = "the token does not cover this clientID" });
    else if (!replaces_too_fast(visitor, upgrade, grant))
        let_in(visitor, upgrade, grant, head_len);
    grant_unref(grant);
}

void admission_judge(struct visitor *visitor, const struct introduction *introduction,
                     size_t head_len)
{
    struct http_upgrade upgrade = { 0 };

    if (read_upgrade(visitor, &upgrade))
        judge_upgrade(visitor, &upgrade, introduction, head_len);
    visitor->asked = NULL;
}
