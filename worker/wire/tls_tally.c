#include "worker/wire/tls_tally.h"

#include "common/log.h"
#include "shm/histograms.h"

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

void tls_tally_failed(struct stats_row *stats, const struct tls *tls)
{
    enum stat_id stat = stat_of_fault(tls_fault(tls));

    stats_add(stats, stat, 1);
    log_debug("tls_failed", "why=%s", stats_name(stat));
}

void tls_tally_done(struct stats_row *stats, const struct tls *tls, uint64_t ns)
{
    stats_add(stats, STAT_tls_handshakes, 1);
    histogram_add(stats, HISTOGRAM_TLS_HANDSHAKE, ns);
    if (tls_resumed(tls))
        stats_add(stats, STAT_tls_resumed, 1);
}
