#include "worker/entrance/announcement.h"

#include "common/log.h"
#include "worker/entrance/introduction.h"
#include "worker/entrance/visitor_parts.h"
#include "worker/entrance/visitor_stay.h"

bool announcement_allowed(struct visitors *visitors, const struct ip *peer)
{
    struct office *office = visitors->office;
    char text[IP_TEXT_MAX];

    if (introduction_trusts(office->config, peer))
        return true;
    stats_add(office->stats, STAT_proxy_untrusted, 1);
    log_rarely(LOG_WARN, "", "proxy_untrusted", "peer=%s", ip_text(peer, text));
    return false;
}

void announcement_log(struct visitor *visitor, const char *reason)
{
    char peer[IP_TEXT_MAX];

    stats_add(visitor->visitors->office->stats, STAT_proxy_bad, 1);
    log_rarely(LOG_WARN, "", "proxy_bad", "peer=%s reason=\"%s\"", ip_text(&visitor->peer, peer),
               reason);
}

void announcement_take(struct visitor *visitor)
{
    struct office *office = visitor->visitors->office;
    struct proxy_header header;

    switch (introduction_take(visitor->fd, &visitor->head, &header)) {
    case PROXY_MORE:
        return;
    case PROXY_BAD:
        if (visitor->head.failed)
            stats_add(office->stats, STAT_out_of_memory, 1);
        announcement_log(visitor, header.fault           ? header.fault
                                  : visitor->head.failed ? "out of memory"
                                                         : "the connection ended within it");
        visitor_part(visitor);
        return;
    case PROXY_WHOLE:
        visitor->announced = true;
        if (header.client.kind != IP_NONE)
            visitor->peer = header.client;
        if (!introduction_trusts(office->config, &visitor->peer))
            visitor_count_origin(visitor);
    }
}
