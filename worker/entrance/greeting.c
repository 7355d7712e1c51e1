#include "worker/entrance/greeting.h"

#include "common/log.h"
#include "shm/histograms.h"
#include "worker/entrance/refusal.h"
#include "worker/entrance/visitor_parts.h"
#include "worker/entrance/visitor_stay.h"
#include "worker/wire/tls.h"

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
        refusal_bad(visitor, "this port speaks TLS: use wss:// or https://");
    } else if (fault == TLS_FAULT_CUT) {
        visitor_part(visitor);
    } else {
        refusal_linger(visitor); /* or a reset could overtake the alert */
    }
}

static bool handshake_over(struct visitor *visitor)
{
    struct stats_row *stats = visitor->visitors->office->stats;

    stats_add(stats, STAT_tls_handshakes, 1);
    histogram_add(stats, HISTOGRAM_TLS_HANDSHAKE,
                  loop_now_ns(visitor->visitors->office->loop) - visitor->came_ns);
    if (tls_resumed(visitor->tls))
        stats_add(stats, STAT_tls_resumed, 1);
    return visitor->secure = true;
}

bool greeting_step(struct visitor *visitor, bool answer)
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
    visitor_part(visitor);
    return false;
}
