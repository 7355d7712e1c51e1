/*
 * Counters: one row a worker, written by that worker only, summed on reading. The master adds a
 * dead worker's counts to a retired row, so totals never go back.
 */
#ifndef SHM_STATS_H
#define SHM_STATS_H

#include "shm/region.h"

/* Every counter once; `status` is made from this list. Counters only grow; the gauges
 * stand last, from rate_in on. */
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
    X(handshake_429) /* sessions of a device or address that turn each other out too fast */       \
    X(handshake_431)                                                                               \
    X(handshake_503)                                                                               \
    X(tls_handshakes)       /* TLS handshakes that were finished */                                \
    X(tls_resumed)          /* of these, resumed by a ticket, without the private key */           \
    X(tls_failed_plain)     /* TLS handshakes that failed: an HTTP request in plain text, */       \
    X(tls_failed_not_tls)   /* other bytes that are no TLS, */                                     \
    X(tls_failed_no_common) /* no version, cipher or application protocol in common, */            \
    X(tls_failed_distrust)  /* the client does not accept the certificate, */                      \
    X(tls_failed_broken)    /* another fault of the protocol, */                                   \
    X(tls_failed_own)       /* no memory here, */                                                  \
    X(tls_failed_cut)       /* the client closed the connection, */                                \
    X(tls_failed_late)      /* limits.handshakeSeconds were over */                                \
    X(handshake_cut)        /* the peer was gone before an answer */                               \
    X(handshakes_displaced) /* slow heads that gave way to newer connections, with 503 */          \
    X(visitors_delayed)     /* steps of visitors that waited for a later turn */                   \
    X(refusals_closed)      /* refusals told by a 101 and a close frame: ?refusals=close */        \
    X(health_checks)        /* answers at healthPath */                                            \
    X(forwarded_bad)        /* requests of trusted proxies that do not say who the client is */    \
    X(proxy_bad)            /* connections without a good PROXY header */                          \
    X(proxy_untrusted)      /* connections that must have one, and came from nobody trusted */     \
    X(bytes_in)                                                                                    \
    X(bytes_out)                                                                                   \
    X(messages_in)  /* envelopes from clients, refused ones included */                            \
    X(messages_out) /* signals, mail and `replayed` written whole to a session */                  \
    X(answers_out)  /* the server's: welcome, accepted, rejected, result, goodbye */               \
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
    X(acks_limited) /* acknowledgements among rejected_rate_limited */                             \
    X(rejected_mailbox_full)                                                                       \
    X(rejected_storage_unavailable)                                                                \
    X(rejected_unknown_command)                                                                    \
    X(rejected_not_found)                                                                          \
    X(rejected_internal)                                                                           \
    X(recipients_refused) /* recipients in `refused` of an accepted or rejected message */         \
    X(signals_unheard)    /* recipients of a signal that had no session anywhere */                \
    X(signals_shed)       /* signals dropped from a full queue */                                  \
    X(mail_undelivered)   /* mail in the queue of a session that closed before */                  \
    X(copies_failed)      /* copies for the sender's other devices that could not be stored */     \
    X(senders_stalled)    /* times that a session which sent too fast was not read from */         \
    X(mail_expired)    /* mail not delivered because of its expiresAt, counted for each session */ \
    X(mail_removed)    /* expired mail that was removed before any device acknowledged it */       \
    X(mail_recalled)   /* mail that its sender took out of a mailbox */                            \
    X(mail_purged)     /* messages that an operator removed from a mailbox */                      \
    X(receipts_sent)   /* receipts that the server sent: delivered, recalled, expired */           \
    X(receipts_failed) /* receipts that the mailbox of their recipient did not take */             \
    X(service_given)   /* messages given to sessions of service addresses */                       \
    X(service_moved)   /* such messages taken from a session that left, for others */              \
    X(service_gone)    /* such messages that were removed before their acknowledgement */          \
    X(sent_unnoted)    /* messages that cannot be recalled, for want of memory or of Redis */      \
    X(group_deliveries)  /* posts queued on this worker, counted for each subscriber */            \
    X(group_pages)       /* pages of a group's log read once for the worker's subscribers */       \
    X(group_replays)     /* pages of a group's log read for one subscriber */                      \
    X(groups_full)       /* subscriptions refused: no room for another group in the table */       \
    X(deliveries_missed) /* messages from another worker for an address without a session */       \
    X(publishes)         /* messages published to other workers through Redis */                   \
    X(kicks_sent)        /* requests to other workers to close a session that was replaced */      \
    X(publishes_unheard) /* messages to other workers that reached no worker */                    \
    X(doorbells_lost)    /* doorbells of stored mail that may not have been heard */               \
    X(relayed)           /* messages put into rings to other workers of this host */               \
    X(relay_in)          /* from rings: messages and kicks */                                      \
    X(ring_waited)       /* messages that waited in the sending worker for room in a ring */       \
    X(ring_dropped)      /* such messages whose reader, or whose own worker, ended meanwhile */    \
    X(ring_full)         /* messages that no ring took, nor the room to wait, or too large */      \
    X(bus_in)            /* messages from other workers, through Redis */                          \
    X(bus_bad)           /* messages from other workers that were not understood */                \
    X(mailbox_trimmed)   /* messages that retention removed, read or not */                        \
    X(mailbox_repeated)  /* appends of a message that was there already: the same from and id */   \
    X(mailbox_retried)   /* appends sent again because the answer was lost */                      \
    X(mailbox_errors)    /* commands on mailboxes that Redis refused */                            \
    X(mailbox_bad)       /* entries in mailboxes that are not the server's, left out */            \
    X(pages_waited)      /* pages of mailboxes and logs that waited for others to come */          \
    X(commands_waited)   /* commands that waited for another command of their session */           \
    X(devices_forgotten) /* cursors of devices that gave way: sessions.devicesPerAddress */        \
    X(over_budget)       /* messages rejected because their sender has stored too much */          \
    X(turns_waited)      /* letters that waited for their sender's turn */                         \
    X(bodies_shared)     /* bodies stored once for several mailboxes */                            \
    X(bodies_gone)       /* messages left out because their shared body had vanished */            \
    X(gaps_told)         /* gaps in a log told to sessions that were connected */                  \
    X(places_dropped)    /* workers in an answer that were ignored: above 4,096, or no memory */   \
    X(ghosts_left)       /* sessions whose end could not be written to Redis */                    \
    X(redis_reconnects)                                                                            \
    X(redis_timeouts)                                                                              \
    X(storage_restarts)  /* times that the embedded Redis ended by itself and was started again */ \
    X(deflate_in)        /* compressed messages from clients */                                    \
    X(deflate_in_bytes)  /* their bytes as they came */                                            \
    X(deflate_in_plain)  /* their bytes inflated */                                                \
    X(deflate_waits)     /* sessions read from later: their address has sent too much of them */   \
    X(deflate_too_large) /* close 1009: longer than limits.messageBytes when inflated */           \
    X(deflate_bad)       /* close 1007: not DEFLATE */                                             \
    X(deflate_out)       /* compressed messages queued, counted for each recipient */              \
    X(deflate_out_plain) /* their bytes before */                                                  \
    X(deflate_out_bytes) /* their bytes compressed */                                              \
    X(deflate_runs)      /* times that a message was compressed: once for many recipients */       \
    X(deflate_no_gain)   /* messages that would not have got smaller, and left as they are */      \
    X(deflate_no_share)  /* large messages that left as they are: too many a second */             \
    X(deflate_no_memory) /* messages that left as they are for want of memory */                   \
    X(pings_sent)                                                                                  \
    X(peers_dead)        /* sessions closed for silence: no answer to a ping */                    \
    X(peers_stuck)       /* sessions closed for silence: the peer took no byte of what waits */    \
    X(slow_closed)       /* close 4002: those, and sessions whose queue was full */                \
    X(replaced)          /* close 4500 */                                                          \
    X(protocol_errors)   /* close 1002, 1003, 1007, 1009 */                                        \
    X(admin_displaced)   /* strangers at admin.listen that gave way to newer connections */        \
    X(cut_after_close)   /* connections cut: too much came behind a close frame or a refusal */    \
    X(tokens_expired)    /* close 4001 */                                                          \
    X(tokens_remembered) /* tokens taken without verifying their signature again */                \
    X(jwks_read)         /* times that auth.jwks had changed and was read anew */                  \
    X(jwks_refused)      /* times that auth.jwks had changed and could not be used */              \
    X(sessions_ended)    /* close 4502: by an operator */                                          \
    X(tokens_revoked)    /* close 4501 */                                                          \
    X(revocations_full)  /* revocations answered with 507: admin.revocations are in force */       \
    X(accept_paused)     /* times that accepting paused for want of descriptors or memory */       \
    X(out_of_memory)     /* connections ended or refused because an allocation failed */           \
    X(log_lines_lost)    /* lines of the log that could not leave at once */                       \
    X(shared_mended)     /* words of shared memory that the master had to write again */           \
    X(closes_peer)       /* close frames that answer a client's, with the client's code */         \
    X(closes_1000)                                                                                 \
    X(closes_1001)                                                                                 \
    X(closes_1002)                                                                                 \
    X(closes_1003)                                                                                 \
    X(closes_1007)                                                                                 \
    X(closes_1008)                                                                                 \
    X(closes_1009)                                                                                 \
    X(closes_1011)                                                                                 \
    X(closes_1012)                                                                                 \
    X(closes_1013)                                                                                 \
    X(closes_4000)                                                                                 \
    X(closes_4001)                                                                                 \
    X(closes_4002)                                                                                 \
    X(closes_4400)                                                                                 \
    X(closes_4401)                                                                                 \
    X(closes_4403)                                                                                 \
    X(closes_4404)                                                                                 \
    X(closes_4500)                                                                                 \
    X(closes_4501)                                                                                 \
    X(closes_4502)                                                                                 \
    X(closes_4503)                                                                                 \
    X(closes_other)       /* of another code, which another node's worker has asked for */         \
    X(deliveries_own)     /* queued for a session at once, by the worker that took them in */      \
    X(deliveries_relayed) /* queued for a session at once, on news from another worker */          \
    X(deliveries_read)    /* queued for a session from a page of its mailbox or of a log */        \
    X(handed_to_workers)  /* recipients told of to another worker of this host */                  \
    X(handed_to_nodes)    /* recipients told of to a worker of another host */                     \
    X(replays)            /* mailboxes that a session was sent up to `replayed` */                 \
    X(rate_in)            /* gauge: messages_in in the last second */                              \
    X(queued_bytes)       /* gauge: unsent bytes of all connections */                             \
    X(deflate_takeover)   /* gauge: sessions with context takeover */                              \
    X(rate_out)           /* gauge: messages_out in the last second */                             \
    X(group_rows)         /* gauge: groups with subscribers in the tables of the workers */        \
    X(service_held)       /* gauge: messages of services given and not acknowledged */             \
    X(redis_connections)  /* gauge: connections to Redis that are up */                            \
    X(revocations)        /* gauge: revocations that each process knows, added up */               \
    X(revocations_kept)   /* gauge: revocations that the clerk has yet to write to Redis */        \
    X(workers_elsewhere)  /* gauge: live workers of other nodes that each worker knows, added up */

enum stat_id {
#define X(name) STAT_##name,
    STATS(X)
#undef X
        STAT_COUNT
};

/* Returns the counter's name, a static text. */
const char *stats_name(enum stat_id stat);
/* Returns the row of one worker, which that worker alone writes. */
struct stats_row;
struct stats_row *stats_row(struct region *region, uint32_t slot);
void stats_add(struct stats_row *row, enum stat_id stat, uint64_t n);
void stats_set(struct stats_row *row, enum stat_id stat, uint64_t value); /* gauges */
/* Master only: counts something that no worker counts. */
void stats_add_master(struct region *region, enum stat_id stat, uint64_t n);
uint64_t stats_get(const struct stats_row *row, enum stat_id stat);
/* Returns the sum over all live workers and the retired row; for a gauge over live workers only. */
uint64_t stats_sum(const struct region *region, enum stat_id stat);

#endif
