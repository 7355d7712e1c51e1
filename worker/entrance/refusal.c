#include "worker/entrance/refusal.h"

#include "common/log.h"
#include "worker/entrance/closing.h"
#include "worker/entrance/visitor_parts.h"
#include "worker/entrance/visitor_stay.h"
#include "worker/wire/stream.h"

#include <errno.h>
#include <sys/socket.h>

enum {
    LINGER_MS = 2000, /* for the peer's end of file */
    RETRY_AFTER_S = 1,
    DROPPED_STEP = 2048, /* bytes */
    DROPPED_MAX = 1 << 20,
};

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

void refusal_linger(struct visitor *visitor)
{
    struct visitors *visitors = visitor->visitors;

    visitor_wait_end(visitor);
    visitor->answered = true;
    if (!stream_end(visitor->fd, visitor->tls) || crowded(visitors) ||
        loop_rewatch(visitors->office->loop, &visitor->watch, LOOP_READ)) {
        visitor_part(visitor);
        return;
    }
    buf_fini(&visitor->head);
    visitor->overdue = false; /* the wait is a new one */
    wheel_set(&visitors->wheel, &visitor->timer, loop_now_ms(visitors->office->loop) + LINGER_MS);
}

void refusal_drop_input(struct visitor *visitor)
{
    char bytes[DROPPED_STEP];
    ssize_t n = recv(visitor->fd, bytes, sizeof bytes, 0);

    if (n > 0)
        visitor->dropped += (uint32_t)n;
    if (visitor->dropped > DROPPED_MAX)
        stats_add(visitor->visitors->office->stats, STAT_cut_after_close, 1);
    if (n == 0 || visitor->dropped > DROPPED_MAX ||
        (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        visitor_part(visitor);
}

void refusal_answer(struct visitor *visitor, struct buf *answer)
{
    visitor_wait_end(visitor);
    visitor->answered = true; /* whatever comes of it: a visitor is answered once */
    /* A fresh socket's buffer takes a few hundred bytes whole. */
    if (answer->failed || stream_write(visitor->fd, visitor->tls,
                                       &(struct iovec){ answer->data, answer->len }, 1) < 0)
        visitor_part(visitor);
    else
        refusal_linger(visitor);
    buf_fini(answer);
}

static void log_refusal(const struct visitor *visitor, const struct http_refusal *refusal)
{
    char peer[IP_TEXT_MAX];

    log_debug("handshake_refused", "status=%d code=%s peer=%s", refusal->status, refusal->code,
              ip_text(&visitor->peer, peer));
}

void refusal_give(struct visitor *visitor, const struct http_refusal *refusal)
{
    struct stats_row *stats = visitor->visitors->office->stats;
    struct buf answer;

    count_refusal(stats, refusal->status);
    log_refusal(visitor, refusal);
    if (visitor->tls && !visitor->secure) {
        visitor_part(visitor);
        return;
    }
    buf_init(&answer, 4096);
    if (visitor->asked && closing_code(refusal->status)) {
        stats_add(stats, STAT_refusals_closed, 1);
        conn_count_close(stats, closing_code(refusal->status));
        closing_answer(&answer, visitor->asked, refusal);
    } else {
        http_answer_refusal(&answer, refusal, http_asks_head(&visitor->parser, visitor->head.data),
                            loop_unix_s(visitor->visitors->office->loop));
    }
    refusal_answer(visitor, &answer);
}

void refusal_busy(struct visitor *visitor, const char *code, const char *message)
{
    refusal_give(visitor, &(struct http_refusal){ .status = 503,
                                                  .code = code,
                                                  .message = message,
                                                  .retry_after_s = RETRY_AFTER_S });
}

void refusal_no_memory(struct visitor *visitor)
{
    stats_add(visitor->visitors->office->stats, STAT_out_of_memory, 1);
    refusal_busy(visitor, "internal", "out of memory");
}

void refusal_bad(struct visitor *visitor, const char *message)
{
    refusal_give(visitor, &(struct http_refusal){
                              .status = 400, .code = "bad-request", .message = message });
}

void refusal_fault(struct visitor *visitor, const struct http_fault *fault)
{
    refusal_give(visitor, &(struct http_refusal){ .status = fault->status,
                                                  .code = fault->code,
                                                  .message = fault->message });
}

void refusal_draining(struct visitor *visitor)
{
    refusal_busy(visitor, "draining", "the server is shutting down");
}
