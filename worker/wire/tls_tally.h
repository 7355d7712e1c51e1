/*
 * Counts the handshakes of TLS by their outcome, the same at every door.
 */
#ifndef WORKER_TLS_TALLY_H
#define WORKER_TLS_TALLY_H

#include "shm/stats.h"
#include "worker/wire/tls.h"

/* The handshake is over, ns after its connection came. */
void tls_tally_done(struct stats_row *stats, const struct tls *tls, uint64_t ns);
/* The handshake has failed. */
void tls_tally_failed(struct stats_row *stats, const struct tls *tls);

#endif
