#include "worker/entrance/greeting.h"

#include "worker/entrance/refusal.h"
#include "worker/entrance/visitor_parts.h"
#include "worker/entrance/visitor_stay.h"
#include "worker/wire/tls_tally.h"

static void handshake_failed(struct visitor *visitor)
{
    enum tls_fault fault = tls_fault(visitor->tls);

    tls_tally_failed(visitor->visitors->office->stats, visitor->tls);
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
    struct office *office = visitor->visitors->office;

    tls_tally_done(office->stats, visitor->tls, loop_now_ns(office->loop) - visitor->came_ns);
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
