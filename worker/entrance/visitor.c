#include "worker/entrance/visitor.h"

#include "common/log.h"
#include "worker/entrance/admission.h"
#include "worker/entrance/announcement.h"
#include "worker/entrance/greeting.h"
#include "worker/entrance/health.h"
#include "worker/entrance/introduction.h"
#include "worker/entrance/refusal.h"
#include "worker/entrance/visitor_parts.h"
#include "worker/entrance/visitor_stay.h"
#include "worker/reach/reach.h"
#include "worker/wire/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    READ_STEP = 2048, /* bytes; most heads fit */
};

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
    visitor_give_back_origin(visitor);
    buf_init(&answer, 1024);
    health_answer(&answer, &visitor->parser, visitor->head.data, health, loop_unix_s(office->loop));
    refusal_answer(visitor, &answer);
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
        visitor_count_origin(visitor);
}

/* The head is whole. */
static void check(struct visitor *visitor, size_t head_len)
{
    struct introduction introduction;

    if (health_asked(slice_of(visitor->visitors->office->config->health_path), &visitor->parser,
                     visitor->head.data)) {
        answer_health(visitor);
        return;
    }
    if (visitor->visitors->starting && !visitor->visitors->office->draining) {
        visitor->kept_len = head_len;
        if (loop_rewatch(visitor->visitors->office->loop, &visitor->watch, 0))
            visitor_part(visitor);
        return;
    }
    meet_client(visitor, &introduction);
    admission_judge(visitor, &introduction, head_len);
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
        visitor_part(visitor);
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
        refusal_fault(visitor, &fault);
        break;
    }
    return false;
}

/* The visitor's time is over. */
static void time_out(struct visitor *visitor)
{
    visitor->overdue = false;
    if (!visitor->answered && !visitor->announced)
        announcement_log(visitor, "it did not come in time");
    else if (visitor->tls && !visitor->secure && !visitor->answered)
        stats_add(visitor->visitors->office->stats, STAT_tls_failed_late, 1);
    if (visitor->answered || !visitor->announced)
        visitor_part(visitor);
    else
        refusal_give(visitor, &(struct http_refusal){
                                  .status = 408,
                                  .code = "timeout",
                                  .message = "the request head did not arrive in time" });
}

/* One step of the visitor's way. */
static void go_on(struct visitor *visitor)
{
    bool greeting = visitor->place.dear; /* has said hello in TLS: this step is the answer */

    visitor->place.dear = false;
    if (!greeting && loop_rewatch(visitor->visitors->office->loop, &visitor->watch, LOOP_READ)) {
        visitor_part(visitor);
        return;
    }
    if (visitor->overdue) {
        time_out(visitor);
        return;
    }
    if (visitor->answered) {
        refusal_drop_input(visitor);
        return;
    }
    if (!visitor->announced) {
        announcement_take(visitor);
        return;
    }
    if (visitor->tls && !visitor->secure && !greeting_step(visitor, greeting))
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
        visitor_part(visitor);
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

/* Thousands of visitors may be overdue at once: they go as the others come. */
static void on_due(struct wheel_node *node, uint64_t now_ms)
{
    struct visitor *visitor = (struct visitor *)((char *)node - offsetof(struct visitor, timer));

    (void)now_ms;
    visitor->overdue = true;
    turnstile_enter(&visitor->visitors->turnstile, &visitor->place);
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
        visitor_part(visitors->all);
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
        visitor_part(visitors->oldest);
        return;
    }
    refusal_busy(visitors->oldest, "busy", "too many connections are being opened");
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

    if (announces && !announcement_allowed(visitors, &peer)) {
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
    visitor->came_ns = loop_now_ns(office->loop);
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
        visitor_count_origin(visitor);
    visitor_wait(visitor);
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
            visitor_part(visitor);
        else if (visitor->kept_len)
            check(visitor, visitor->kept_len);
        else
            refusal_draining(visitor);
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
