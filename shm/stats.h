/*
 * Counters: one row a worker, written by that worker only, summed on reading. What a dead worker
 * had counted is added to a retired row, which the master writes, so totals never go back.
 */
#ifndef SHM_STATS_H
#define SHM_STATS_H

#include "shm/region.h"

/* Every counter once; `status`, metrics and docs are made from this list. Monotonic unless said. */
#define STATS(X)                                                                                   \
    X(connections_accepted) /* TCP connections */                                                  \
    X(sessions_opened)      /* answered 101 */                                                     \
    X(sessions_closed)                                                                             \
    X(handshake_400)                                                                               \
    X(handshake_401)                                                                               \
    X(handshake_403)                                                                               \
    X(handshake_404)                                                                               \
    X(handshake_405)                                                                               \
    X(handshake_408)                                                                               \
    X(handshake_426)                                                                               \
    X(handshake_431)                                                                               \
    X(handshake_503)                                                                               \
    X(handshake_cut) /* gone before an answer */                                                   \
    X(bytes_in)                                                                                    \
    X(bytes_out)                                                                                   \
    X(messages_in)  /* envelopes from clients, refused ones included */                            \
    X(messages_out) /* signals, mail and `replayed` written whole to a session */                  \
    X(answers_out)  /* postmaster's: welcome, accepted, rejected, result, goodbye */               \
    X(accepted)                                                                                    \
    X(rejected_bad_json)                                                                           \
    X(rejected_missing_field)                                                                      \
    X(rejected_bad_field)                                                                          \
    X(rejected_too_large)                                                                          \
    X(rejected_too_many_recipients)                                                                \
    X(rejected_forbidden_from)                                                                     \
    X(rejected_forbidden_to)                                                                       \
    X(rejected_bad_token)                                                                          \
    X(rejected_rate_limited)                                                                       \
    X(rejected_mailbox_full)                                                                       \
    X(rejected_storage_unavailable)                                                                \
    X(rejected_unknown_command)                                                                    \
    X(rejected_not_found)                                                                          \
    X(rejected_internal)                                                                           \
    X(recipients_refused) /* in `refused` of an accepted or rejected message */                    \
    X(signals_unheard)    /* recipients of a signal that had no session anywhere */                \
    X(signals_shed)       /* dropped from a full queue */                                          \
    X(mail_undelivered)   /* mail in the queue of a session that closed before it was written */   \
    X(copies_failed)      /* for the sender's other devices, that could not be stored */           \
    X(senders_stalled) /* times that a session was not read from, for it sent too fast to store */ \
    X(mail_expired)    /* not delivered because of its expiresAt, one for each session */          \
    X(mail_removed)    /* from mailboxes: it had expired before any device acknowledged it */      \
    X(mail_recalled)   /* taken out of a mailbox by its sender */                                  \
    X(receipts_sent)   /* by the server: delivered, recalled, expired */                           \
    X(receipts_failed) /* that the mailbox of who is owed them did not take */                     \
    X(service_given)   /* messages handed to sessions of service addresses */                      \
    X(service_moved)   /* taken from such sessions that left, for others */                        \
    X(service_gone)    /* removed by retention, expiry or recall after they had been given and     \
                          before they were acknowledged */                                         \
    X(sent_unnoted)    /* messages that cannot be recalled, for want of memory or of Redis */      \
    X(group_deliveries)  /* posts queued to subscribers on this worker, one for each */            \
    X(group_pages)       /* read from a group's log by the worker, once for all it has there */    \
    X(group_replays)     /* pages of a group's log read for one subscriber */                      \
    X(groups_full)       /* subscriptions refused: no room for another group in the table */       \
    X(deliveries_missed) /* from another worker, for an address with no session here any more */   \
    X(publishes)         /* of messages to other workers, through Redis */                         \
    X(kicks_sent)        /* asks to other workers to close a session that was replaced */          \
    X(publishes_unheard) /* nobody was subscribed, Redis went away, or a signal found no way */    \
    X(doorbells_lost)    /* of stored mail, nobody knows whether heard: all look for themselves */ \
    X(relayed)           /* messages put into rings to other workers of this host */               \
    X(relay_in)          /* from rings: messages and kicks */                                      \
    X(ring_full) /* messages that no ring took: it was full, or they are too large for one */      \
    X(bus_in)    /* from other workers */                                                          \
    X(bus_bad)   /* not understood */                                                              \
    X(mailbox_trimmed)  /* messages that retention removed, read or not */                         \
    X(mailbox_repeated) /* appends of what was there already: the same from and id */              \
    X(mailbox_retried)  /* appends sent again because their answer was lost */                     \
    X(mailbox_errors)   /* commands on mailboxes that Redis refused */                             \
    X(mailbox_bad)      /* entries in mailboxes that are not ours, left out */                     \
    X(places_dropped)   /* of an address, not rung: more than 4,096 in an answer, or no memory */  \
    X(ghosts_left)      /* sessions that ended, and that Redis could not be told of */             \
    X(redis_reconnects)                                                                            \
    X(redis_timeouts)                                                                              \
    X(pings_sent)                                                                                  \
    X(peers_dead)        /* closed for silence */                                                  \
    X(slow_closed)       /* close 4002 */                                                          \
    X(replaced)          /* close 4500 */                                                          \
    X(protocol_errors)   /* close 1002, 1003, 1007, 1009 */                                        \
    X(tokens_expired)    /* close 4001 */                                                          \
    X(tokens_revoked)    /* close 4501 */                                                          \
    X(accept_paused)     /* out of descriptors or memory */                                        \
    X(rate_in)           /* gauge: messages_in in the last second */                               \
    X(rate_out)          /* gauge: messages_out in the last second */                              \
    X(workers_elsewhere) /* gauge: live workers of other nodes that each worker knows, added up */

enum stat_id {
#define X(name) STAT_##name,
    STATS(X)
#undef X
        STAT_COUNT
};

const char *stats_name(enum stat_id stat);
/* The row of one worker, to be written by it alone. */
struct stats_row;
struct stats_row *stats_row(struct region *region, uint32_t slot);
void stats_add(struct stats_row *row, enum stat_id stat, uint64_t n);
void stats_set(struct stats_row *row, enum stat_id stat, uint64_t value); /* gauges */
uint64_t stats_get(const struct stats_row *row, enum stat_id stat);
/* All live workers and the retired row together; gauges of live workers only. */
uint64_t stats_sum(const struct region *region, enum stat_id stat);

#endif
