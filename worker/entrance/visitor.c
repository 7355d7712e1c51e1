#include "worker/entrance/visitor.h"

#include "common/address.h"
#include "common/log.h"
#include "shm/origins.h"
#include "shm/slots.h"
#include "worker/entrance/closing.h"
#include "worker/entrance/health.h"
#include "worker/entrance/introduction.h"
#include "worker/entrance/life.h"
#include "worker/reach/reach.h"
#include "worker/session/allowance.h"
#include "worker/session/token_desk.h"
#include "worker/wire/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LINGER_MS = 2000, /* after a refusal, for the peer's end of file */
    RETRY_AFTER_S = 1,
    READ_STEP = 2048, /* bytes; most heads fit */
};

static const char text_draining[] = "the server is shutting down";

struct visitor {
    struct visitor *next, **at;    /* of visitors->all; in visitors->dead next alone counts */
    struct visitor *older, *newer; /* while waiting: the neighbours by age */
    struct loop_watch watch;
    struct wheel_node timer;
    struct visitors *visitors;
    struct buf head;
    struct tls *tls;              /* NULL: plain */
    struct turnstile_place place; /* while the visitor waits for its next step */
    uint64_t origin_key;
    size_t kept_len; /* of a whole head that is kept until the worker serves; 0: none */
    const struct http_upgrade *asked; /* a good request that wants to be refused by a close frame */
    struct ip peer; /* who connected; behind a PROXY header, whom the header names */
    int fd;
    bool waiting;   /* for the rest of the head */
    bool announced; /* proxyProtocol: no PROXY header is awaited any more */
    bool late;      /* came while the office drained */
    bool answered;  /* refused: bytes are dropped until the peer's end of file */
    bool uncounted; /* past limits.connectionsPerIP */
    bool secure;    /* the handshake of TLS is over */
    struct http_parser parser;
};

static void waiting_begin(struct visitor *visitor)
{
    struct visitors *visitors = visitor->visitors;

    visitor->waiting = true;
    visitor->older = visitors->newest;
    if (visitor->older)
        visitor->older->newer = visitor;
    else
        visitors->oldest = visitor;
    visitors->newest = visitor;
    visitors->waiting_count++;
}

static void waiting_end(struct visitor *visitor)
{
    struct visitors *visitors = visitor->visitors;

    if (!visitor->waiting)
        return;
    visitor->waiting = false;
    if (visitor->older)
        visitor->older->newer = visitor->newer;
    else
        visitors->oldest = visitor->newer;
    if (visitor->newer)
        visitor->newer->older = visitor->older;
    else
        visitors->newest = visitor->older;
    visitors->waiting_count--;
}

static void leave(struct visitor *visitor)
{
    struct visitors *visitors = visitor->visitors;

    waiting_end(visitor);
    turnstile_leave(&visitors->turnstile, &visitor->place);
    loop_unwatch(&visitor->watch);
    wheel_cancel(&visitor->timer);
    *visitor->at = visitor->next;
    if (visitor->next)
        visitor->next->at = visitor->at;
    visitor->next = visitors->dead;
    visitors->dead = visitor;
    visitors->count--;
    visitors->late_count -= visitor->late;
}

static void give_back_origin(struct visitor *visitor)
{
    struct office *office = visitor->visitors->office;

    if (visitor->origin_key)
        origins_remove(office->region, office->slot, visitor->origin_key);
    visitor->origin_key = 0;
}

/* Closes the socket and leaves. */
static void part(struct visitor *visitor)
{
    stream_close(visitor->fd, visitor->tls);
    visitor->tls = NULL;
    give_back_origin(visitor);
    leave(visitor);
}

static void count_refusal(struct stats_row *stats, int status)
{
    static const struct {
        int status;
        enum stat_id stat;
    } counters[] = {
        { 401, STAT_handshake_401 }, { 403, STAT_handshake_403 }, { 404, STAT_handshake_404 },
        { 405, STAT_handshake_405 }, { 408, STAT_handshake_408 }, { 426, STAT_handshake_426 },
        { 429, STAT_handshake_429 }, { 431, STAT_handshake_431 }, { 503, STAT_handshake_503 },
    };

    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        if (counters[i].status == status) {
            stats_add(stats, counters[i].stat, 1);
            return;
        }
    stats_add(stats, STAT_handshake_400, 1); /* 414, 417 and 505 have no counter of their own */
}

/* With so many refused visitors that linger, no more may linger. */
static bool crowded(const struct visitors *visitors)
{
    return visitors->count - visitors->waiting_count >
           (uint64_t)visitors->office->config->limits.pending_handshakes;
}

/* Shuts our side down, and waits for the peer's end of file, so that no reset overtakes the answer.
 * Bytes that the peer sends meanwhile are dropped. */
static void linger(struct visitor *visitor)
{
    struct visitors *visitors = visitor->visitors;

    waiting_end(visitor);
    visitor->answered = true;
    if (!stream_end(visitor->fd, visitor->tls) || crowded(visitors) ||
        loop_rewatch(visitors->office->loop, &visitor->watch, LOOP_READ)) {
        part(visitor);
        return;
    }
    buf_fini(&visitor->head);
    wheel_set(&visitors->wheel, &visitor->timer, loop_now_ms(visitors->office->loop) + LINGER_MS);
}

/* Sends the answer, and lingers. */
static void answer_last(struct visitor *visitor, struct buf *answer)
{
    waiting_end(visitor);
    visitor->answered = true; /* whatever comes of it: a visitor is answered once */
    /* A fresh socket's buffer takes a few hundred bytes whole. */
    if (answer->failed || stream_write(visitor->fd, visitor->tls,
                                       &(struct iovec){ answer->data, answer->len }, 1) < 0)
        part(visitor);
    else
        linger(visitor);
    buf_fini(answer);
}

static void log_refusal(const struct visitor *visitor, const struct http_refusal *refusal)
{
    char peer[IP_TEXT_MAX];

    log_debug("handshake_refused", "status=%d code=%s peer=%s", refusal->status, refusal->code,
              ip_text(&visitor->peer, peer));
}

/* A visitor whose handshake of TLS is under way can be told nothing. */
static void refuse(struct visitor *visitor, const struct http_refusal *refusal)
{
    struct stats_row *stats = visitor->visitors->office->stats;
    struct buf answer;

    count_refusal(stats, refusal->status);
    log_refusal(visitor, refusal);
    if (visitor->tls && !visitor->secure) {
        part(visitor);
        return;
    }
    buf_init(&answer, 4096);
    if (visitor->asked && closing_code(refusal->status)) {
        stats_add(stats, STAT_refusals_closed, 1);
        closing_answer(&answer, visitor->asked, refusal);
    } else {
        http_answer_refusal(&answer, refusal, http_asks_head(&visitor->parser, visitor->head.data),
                            loop_unix_s(visitor->visitors->office->loop));
    }
    answer_last(visitor, &answer);
}

static void refuse_busy(struct visitor *visitor, const char *code, const char *message)
{
    refuse(visitor,
           &(struct http_refusal){
               .status = 503, .code = code, .message = message, .retry_after_s = RETRY_AFTER_S });
}

static void refuse_no_memory(struct visitor *visitor)
{
    stats_add(visitor->visitors->office->stats, STAT_out_of_memory, 1);
    refuse_busy(visitor, "internal", "out of memory");
}

static void refuse_bad(struct visitor *visitor, const char *message)
{
    refuse(visitor,
           &(struct http_refusal){ .status = 400, .code = "bad-request", .message = message });
}

/* The token, from the first of its places (section 1). *from_cookie: the browser added the token by
 * itself, so the page must be of an allowed origin. */
static struct slice find_token(const struct office *office, const struct http_upgrade *upgrade,
                               bool *from_cookie)
{
    struct slice token = { 0 }, cookie_name = slice_of(office->config->auth.cookie);

    *from_cookie = false;
    if (upgrade->authorization.data) {
        struct slice scheme =
            slice_make(upgrade->authorization.data, upgrade->authorization.len < 7 ? 0 : 7);
        if (slice_equal_nocase(scheme, SLICE("bearer ")))
            token = slice_make(upgrade->authorization.data + 7, upgrade->authorization.len - 7);
        while (token.len && *token.data == ' ')
            token = slice_make(token.data + 1, token.len - 1);
        if (token.len)
            return token;
    }
    if (upgrade->bearer_protocol.len)
        return upgrade->bearer_protocol;
    if (cookie_name.len && upgrade->cookie.data) {
        token = http_cookie(upgrade->cookie, cookie_name);
        if (token.len) {
            *from_cookie = true;
            return token;
        }
    }
    return upgrade->query_token;
}

static bool origin_listed(const struct config_list *origins, struct slice origin)
{
    for (size_t i = 0; i < origins->count; i++)
        if (http_origin_matches(slice_of(origins->items[i]), origin))
            return true;
    return false;
}

/* Section 6, Origins. */
static bool origin_allowed(const struct office *office, const struct http_upgrade *upgrade,
                           const struct introduction *introduction, bool from_cookie)
{
    const struct config *config = office->config;
    bool own = introduction_is_own(introduction, upgrade->origin, upgrade->host);

    if (!upgrade->origin.data) /* not a browser: a token is sent only on purpose */
        return !from_cookie;
    /* Without tokens, a page of any origin in a browser on this machine could be anybody. */
    if (!config->auth.required)
        return own || origin_listed(&config->auth.origins, upgrade->origin);
    if (config->auth.origins.count == 0)
        return !from_cookie || own;
    return origin_listed(&config->auth.origins, upgrade->origin);
}

/* Checks origin and token. Returns a grant with one reference; NULL: the visitor has been refused,
 * or memory is short. */
static struct grant *check_token(struct visitor *visitor, const struct http_upgrade *upgrade,
                                 const struct introduction *introduction)
{
    struct office *office = visitor->visitors->office;
    bool from_cookie;
    struct slice token = find_token(office, upgrade, &from_cookie);
    struct grant *grant = NULL;
    enum token_fault fault;
    const char *reason;

    if (!origin_allowed(office, upgrade, introduction, from_cookie)) {
        refuse(visitor, &(struct http_refusal){ .status = 403,
                                                .code = "forbidden-origin",
                                                .message = "this Origin is not allowed" });
        return NULL;
    }
    if (!office->config->auth.required && token.len == 0) {
        if (!upgrade->client_id.data)
            refuse_bad(visitor, "clientID is needed where no token is");
        else if (token_sub_revoked(office->config, upgrade->client_id, INT64_MIN))
            refuse(visitor, &(struct http_refusal){ .status = 403,
                                                    .code = "forbidden-address",
                                                    .message = "this address is revoked" });
        else
            return grant_default(upgrade->client_id);
        return NULL;
    }
    fault = token_desk_judge(office, token, &grant, &reason);
    if (fault == TOKEN_GOOD || fault == TOKEN_UNCHECKED)
        return grant;
    refuse(visitor,
           &(struct http_refusal){ .status = 401,
                                   .code = "bad-token",
                                   .message = reason,
                                   .bearer_error = fault == TOKEN_ABSENT ? "invalid_request"
                                                                         : "invalid_token" });
    return NULL;
}

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
        refuse_bad(visitor, message);
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
    refuse(visitor, &(struct http_refusal){ .status = 429,
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
        refuse_busy(visitor, "full", "the largest number of connections is reached");
        return;
    }
    buf_init(&answer, 1024);
    http_answer_upgrade(&answer, upgrade->key, upgrade->offers_v1 ? "postoffice.v1" : NULL,
                        deflate_answer(&deflate, extensions));
    if (answer.failed) {
        buf_fini(&answer);
        slot_seat_leave(office->region, office->slot);
        refuse_no_memory(visitor);
        return;
    }
    leave(visitor);
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

static void refuse_fault(struct visitor *visitor, const struct http_fault *fault)
{
    refuse(visitor, &(struct http_refusal){
                        .status = fault->status, .code = fault->code, .message = fault->message });
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
        refuse_fault(visitor, &fault);
    return good;
}

/* Judges a good request, which leaves as a session or with a refusal. */
static void judge(struct visitor *visitor, const struct http_upgrade *upgrade,
                  const struct introduction *introduction, size_t head_len)
{
    struct office *office = visitor->visitors->office;
    struct grant *grant;

    if (office->draining) {
        refuse_busy(visitor, "draining", text_draining);
        return;
    }
    if (visitor->uncounted) {
        refuse_busy(visitor, "too-many-connections", "too many connections from this address");
        return;
    }
    /* Before the signature is verified: a full server spends little on a connection. */
    if (slots_sessions(office->region) >= (uint32_t)office->config->connections_max) {
        refuse_busy(visitor, "full", "the largest number of connections is reached");
        return;
    }
    if (!check_names(visitor, upgrade))
        return;
    grant = check_token(visitor, upgrade, introduction);
    if (!grant) {
        if (!visitor->answered)
            refuse_no_memory(visitor);
        return;
    }
    if (upgrade->client_id.data && !grant_may_speak_for(grant, upgrade->client_id))
        refuse(visitor,
               &(struct http_refusal){ .status = 403,
                                       .code = "forbidden-address",
                                       .message = "the token does not cover this clientID" });
    else if (!replaces_too_fast(visitor, upgrade, grant))
        let_in(visitor, upgrade, grant, head_len);
    grant_unref(grant);
}

/* Counts the connection for limits.connectionsPerIP, over all workers. */
static void count_origin(struct visitor *visitor)
{
    struct office *office = visitor->visitors->office;
    int64_t limit = office->config->limits.connections_per_ip;
    uint64_t key;

    if (limit == 0)
        return;
    key = origins_key(office->region, &visitor->peer);
    if (key == 0)
        return;
    if (origins_add(office->region, office->slot, key)) {
        visitor->uncounted = true;
        return;
    }
    visitor->origin_key = key;
    visitor->uncounted = origins_count(office->region, key) > (uint64_t)limit;
}

/* A load balancer asks. */
static void answer_health(struct visitor *visitor)
{
    struct office *office = visitor->visitors->office;
    enum health health = HEALTH_SERVING;
    struct buf answer;

    if (office->draining)
        health = HEALTH_DRAINING;
    else if (visitor->visitors->starting)
        health = HEALTH_STARTING;
    else if (reach_redis(office->reach) == WORKER_REDIS_AWAY)
        health = HEALTH_WITHOUT_STORAGE;
    stats_add(office->stats, STAT_health_checks, 1);
    give_back_origin(visitor);
    buf_init(&answer, 1024);
    health_answer(&answer, &visitor->parser, visitor->head.data, health, loop_unix_s(office->loop));
    answer_last(visitor, &answer);
}

/* The headers of a trusted proxy name the client, who is counted then. */
static void meet_client(struct visitor *visitor, struct introduction *introduction)
{
    struct office *office = visitor->visitors->office;
    bool trusted = introduction_trusts(office->config, &visitor->peer);
    char peer[IP_TEXT_MAX];

    introduction_read(office->config, &visitor->peer, &visitor->parser, visitor->head.data,
                      introduction);
    if (introduction->bad) {
        stats_add(office->stats, STAT_forwarded_bad, 1);
        log_rarely(LOG_WARN, "", "forwarded_bad", "peer=%s", ip_text(&visitor->peer, peer));
    }
    visitor->peer = introduction->client;
    if (trusted)
        count_origin(visitor);
}

/* The head is whole. */
static void check(struct visitor *visitor, size_t head_len)
{
    struct introduction introduction;
    struct http_upgrade upgrade = { 0 };

    if (health_asked(slice_of(visitor->visitors->office->config->health_path), &visitor->parser,
                     visitor->head.data)) {
        answer_health(visitor);
        return;
    }
    if (visitor->visitors->starting && !visitor->visitors->office->draining) {
        visitor->kept_len = head_len;
        if (loop_rewatch(visitor->visitors->office->loop, &visitor->watch, 0))
            part(visitor);
        return;
    }
    meet_client(visitor, &introduction);
    if (read_upgrade(visitor, &upgrade))
        judge(visitor, &upgrade, &introduction, head_len);
    visitor->asked = NULL;
}

/* Reads at most one byte more than a head may have, which is enough to see that a head is too long.
 * Bytes behind the head stay in the socket for the session. */
static ssize_t fill(struct visitor *visitor, size_t head_max)
{
    size_t room = head_max + 1 - visitor->head.len;
    ssize_t n;

    if (room > READ_STEP)
        room = READ_STEP;
    if (buf_reserve(&visitor->head, room)) {
        stats_add(visitor->visitors->office->stats, STAT_out_of_memory, 1);
        return 0;
    }
    n = stream_read(visitor->fd, visitor->tls, visitor->head.data + visitor->head.len, room);
    if (n > 0)
        visitor->head.len += (size_t)n;
    return n;
}

static void forget(struct visitor *visitor)
{
    char bytes[READ_STEP];
    ssize_t n = recv(visitor->fd, bytes, sizeof bytes, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        part(visitor);
}

static void log_announcement(struct visitor *visitor, const char *reason)
{
    char peer[IP_TEXT_MAX];

    stats_add(visitor->visitors->office->stats, STAT_proxy_bad, 1);
    log_rarely(LOG_WARN, "", "proxy_bad", "peer=%s reason=\"%s\"", ip_text(&visitor->peer, peer),
               reason);
}

/* Reads the PROXY header, behind which the visitor is the client that the header names. */
static void take_announcement(struct visitor *visitor)
{
    struct office *office = visitor->visitors->office;
    struct proxy_header header;

    switch (introduction_take(visitor->fd, &visitor->head, &header)) {
    case PROXY_MORE:
        return;
    case PROXY_BAD:
        if (visitor->head.failed)
            stats_add(office->stats, STAT_out_of_memory, 1);
        log_announcement(visitor, header.fault           ? header.fault
                                  : visitor->head.failed ? "out of memory"
                                                         : "the connection ended within it");
        part(visitor);
        return;
    case PROXY_WHOLE:
        visitor->announced = true;
        if (header.client.kind != IP_NONE)
            visitor->peer = header.client;
        if (!introduction_trusts(office->config, &visitor->peer))
            count_origin(visitor);
    }
}

/* Reads the head, or a part of it. True: more of it may lie in TLS, where no event of the socket
 * announces it. */
static bool read_head(struct visitor *visitor)
{
    struct office *office = visitor->visitors->office;
    struct http_fault fault;
    size_t head_len;
    ssize_t n = fill(visitor, visitor->parser.head_max);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (n <= 0) {
        stats_add(office->stats, STAT_handshake_cut, 1);
        part(visitor);
        return false;
    }
    stats_add(office->stats, STAT_bytes_in, (uint64_t)n);
    switch (
        http_parse(&visitor->parser, visitor->head.data, visitor->head.len, &head_len, &fault)) {
    case HTTP_MORE:
        return visitor->tls && tls_unread(visitor->tls);
    case HTTP_WHOLE:
        check(visitor, head_len);
        break;
    case HTTP_BROKEN:
        refuse_fault(visitor, &fault);
        break;
    }
    return false;
}

/* ---- TLS ---- */

static enum stat_id stat_of_fault(enum tls_fault fault)
{
    switch (fault) {
    case TLS_FAULT_PLAIN_HTTP:
        return STAT_tls_failed_plain;
    case TLS_FAULT_NOT_TLS:
        return STAT_tls_failed_not_tls;
    case TLS_FAULT_NO_COMMON:
        return STAT_tls_failed_no_common;
    case TLS_FAULT_DISTRUST:
        return STAT_tls_failed_distrust;
    case TLS_FAULT_CUT:
        return STAT_tls_failed_cut;
    case TLS_FAULT_OWN:
        return STAT_tls_failed_own;
    case TLS_FAULT_NONE:
    case TLS_FAULT_BROKEN:
        break;
    }
    return STAT_tls_failed_broken;
}

static void handshake_failed(struct visitor *visitor)
{
    struct stats_row *stats = visitor->visitors->office->stats;
    enum tls_fault fault = tls_fault(visitor->tls);
    enum stat_id stat = stat_of_fault(fault);

    stats_add(stats, stat, 1);
    log_debug("tls_failed", "why=%s", stats_name(stat));
    if (fault == TLS_FAULT_PLAIN_HTTP) {
        tls_free(visitor->tls);
        visitor->tls = NULL;
        refuse_bad(visitor, "this port speaks TLS: use wss:// or https://");
    } else if (fault == TLS_FAULT_CUT) {
        part(visitor);
    } else {
        linger(visitor); /* or a reset could overtake the alert */
    }
}

static bool handshake_over(struct visitor *visitor)
{
    struct stats_row *stats = visitor->visitors->office->stats;

    stats_add(stats, STAT_tls_handshakes, 1);
    if (tls_resumed(visitor->tls))
        stats_add(stats, STAT_tls_resumed, 1);
    return visitor->secure = true;
}

/* A step of the handshake. answer: the client's hello may be answered now. True: the handshake is
 * over. */
static bool shake_hands(struct visitor *visitor, bool answer)
{
    unsigned events = LOOP_READ;
    bool over = false;

    switch (tls_handshake(visitor->tls, answer)) {
    case TLS_READY:
        over = handshake_over(visitor);
        break;
    case TLS_WANTS_READ:
        break;
    case TLS_WANTS_WRITE:
        events = LOOP_READ | LOOP_WRITE;
        break;
    case TLS_WANTS_LEAVE:
        events = 0; /* bytes behind the hello wait in the socket */
        visitor->place.dear = true;
        turnstile_enter(&visitor->visitors->turnstile, &visitor->place);
        break;
    case TLS_FAILED:
        handshake_failed(visitor);
        return false;
    }
    if (loop_rewatch(visitor->visitors->office->loop, &visitor->watch, events) == OK)
        return over;
    part(visitor);
    return false;
}

/* One step of the visitor's way. */
static void go_on(struct visitor *visitor)
{
    bool greeting = visitor->place.dear; /* has said hello in TLS: this step is the answer */

    visitor->place.dear = false;
    if (!greeting && loop_rewatch(visitor->visitors->office->loop, &visitor->watch, LOOP_READ)) {
        part(visitor);
        return;
    }
    if (visitor->answered) {
        forget(visitor);
        return;
    }
    if (!visitor->announced) {
        take_announcement(visitor);
        return;
    }
    if (visitor->tls && !visitor->secure && !shake_hands(visitor, greeting))
        return;
    while (read_head(visitor))
        continue;
}

static void on_readable(void *arg, int fd, unsigned events)
{
    struct visitor *visitor = arg;

    (void)fd;
    (void)events;
    turnstile_enter(&visitor->visitors->turnstile, &visitor->place);
}

static struct visitor *visitor_at(struct turnstile_place *place)
{
    return (struct visitor *)((char *)place - offsetof(struct visitor, place));
}

/* Or the loop would call for the visitor in each turn. */
static void stop_watching(struct turnstile_place *place)
{
    struct visitor *visitor = visitor_at(place);

    stats_add(visitor->visitors->office->stats, STAT_visitors_delayed, 1);
    if (loop_rewatch(visitor->visitors->office->loop, &visitor->watch, 0))
        part(visitor);
}

void visitors_go_on(struct visitors *visitors)
{
    struct turnstile_place *place;

    if (visitors->turnstile.count) /* also because sessions that begin ask Redis in the next turn */
        loop_again(visitors->office->loop);
    while ((place = turnstile_next(&visitors->turnstile)))
        go_on(visitor_at(place));
    turnstile_settle(&visitors->turnstile, stop_watching);
}

static void on_due(struct wheel_node *node, uint64_t now_ms)
{
    struct visitor *visitor = (struct visitor *)((char *)node - offsetof(struct visitor, timer));

    (void)now_ms;
    if (!visitor->answered && !visitor->announced)
        log_announcement(visitor, "it did not come in time");
    else if (visitor->tls && !visitor->secure && !visitor->answered)
        stats_add(visitor->visitors->office->stats, STAT_tls_failed_late, 1);
    if (visitor->answered || !visitor->announced)
        part(visitor);
    else
        refuse(visitor,
               &(struct http_refusal){ .status = 408,
                                       .code = "timeout",
                                       .message = "the request head did not arrive in time" });
}

void visitors_init(struct visitors *visitors, struct office *office)
{
    *visitors = (struct visitors){ .office = office };
    turnstile_init(&visitors->turnstile);
    wheel_init(&visitors->wheel, loop_now_ms(office->loop), on_due);
}

void visitors_fini(struct visitors *visitors)
{
    while (visitors->all)
        part(visitors->all);
    visitors_flush(visitors);
}

/* One visitor more waits. */
static void make_way(struct visitors *visitors)
{
    struct office *office = visitors->office;

    if (visitors->waiting_count <= (uint64_t)office->config->limits.pending_handshakes)
        return;
    stats_add(office->stats, STAT_handshakes_displaced, 1);
    if (!visitors->oldest->announced) {
        part(visitors->oldest);
        return;
    }
    refuse_busy(visitors->oldest, "busy", "too many connections are being opened");
}

/* With proxyProtocol the peer must be a proxy; whoever is none gets no answer, because its protocol
 * is not known. */
static bool may_announce(struct visitors *visitors, const struct ip *peer)
{
    struct office *office = visitors->office;
    char text[IP_TEXT_MAX];

    if (introduction_trusts(office->config, peer))
        return true;
    stats_add(office->stats, STAT_proxy_untrusted, 1);
    log_rarely(LOG_WARN, "", "proxy_untrusted", "peer=%s", ip_text(peer, text));
    return false;
}

static size_t head_size(const struct config *config)
{
    size_t size = (size_t)config->limits.header_bytes + 1;

    return size > PROXY_HEADER_MAX ? size : PROXY_HEADER_MAX;
}

void visitor_start(struct visitors *visitors, int fd, const struct sockaddr *address, bool secure)
{
    struct office *office = visitors->office;
    bool announces = strcmp(office->config->proxy_protocol, "required") == 0;
    struct ip peer = ip_of_sockaddr(address);
    struct visitor *visitor;

    if (announces && !may_announce(visitors, &peer)) {
        close(fd);
        return;
    }
    visitor = calloc(1, sizeof *visitor);
    if (visitor && secure)
        visitor->tls = tls_accept(office->tls, fd);
    if (!visitor || (secure && !visitor->tls)) {
        stats_add(office->stats, STAT_out_of_memory, 1);
        close(fd);
        free(visitor);
        return;
    }
    visitor->visitors = visitors;
    visitor->fd = fd;
    visitor->peer = peer;
    visitor->announced = !announces;
    visitor->late = office->draining;
    buf_init(&visitor->head, head_size(office->config));
    http_parser_init(&visitor->parser, (uint32_t)office->config->limits.header_bytes);
    if (loop_watch(office->loop, &visitor->watch, fd, LOOP_READ, on_readable, visitor)) {
        stream_close(fd, visitor->tls);
        free(visitor);
        return;
    }
    visitor->next = visitors->all;
    visitor->at = &visitors->all;
    if (visitor->next)
        visitor->next->at = &visitor->next;
    visitors->all = visitor;
    visitors->count++;
    visitors->late_count += visitor->late;
    if (!announces && !introduction_trusts(office->config, &peer))
        count_origin(visitor);
    waiting_begin(visitor);
    make_way(visitors);
    wheel_set(&visitors->wheel, &visitor->timer,
              loop_now_ms(office->loop) + (uint64_t)office->config->limits.handshake_s * 1000);
}

void visitors_turn_away(struct visitors *visitors)
{
    struct visitor *visitor, *next;

    for (visitor = visitors->all; visitor; visitor = next) {
        next = visitor->next;
        if (visitor->answered)
            continue;
        if (!visitor->announced)
            part(visitor);
        else if (visitor->kept_len)
            check(visitor, visitor->kept_len);
        else
            refuse_busy(visitor, "draining", text_draining);
    }
}

void visitors_begin(struct visitors *visitors)
{
    struct visitor *visitor, *next;

    visitors->starting = false;
    for (visitor = visitors->all; visitor; visitor = next) {
        next = visitor->next;
        if (visitor->kept_len && !visitor->answered)
            check(visitor, visitor->kept_len);
    }
}

bool visitors_flush(struct visitors *visitors)
{
    bool any = visitors->dead != NULL;

    while (visitors->dead) {
        struct visitor *visitor = visitors->dead;
        visitors->dead = visitor->next;
        buf_fini(&visitor->head);
        free(visitor);
    }
    return any;
}
