/*
 * Compressed messages (permessage-deflate, RFC 7692 7.2): whole messages in, whole messages out,
 * by zlib, which no other file includes.
 *
 * The one idea: without context takeover a message needs nothing of the message before, so one
 * inflater and one compressor a worker serve all such connections, and an idle connection owns no
 * compression state. A connection with takeover owns its contexts, which are made with the first
 * message that needs them; their number is bounded.
 *
 * Text is inflated into one buffer of the worker, never past the bound that the caller gives.
 *
 * A large message holds the worker for milliseconds while it is compressed, so large messages have
 * a share of the worker's time, in bytes a second. What finds no share leaves as it is.
 */
#ifndef WORKER_DEFLATE_H
#define WORKER_DEFLATE_H

#include "common/err.h"
#include "common/slice.h"
#include "worker/wire/deflate_offer.h"

#include <stdint.h>

struct z_stream_s;

/* What the operator has set (compression.*). */
struct deflate_settings {
    bool enabled, takeover;
    uint8_t level, mem_level, window_bits;
    uint32_t takeover_max; /* connections with a context of their own */
    uint64_t min_bytes;    /* a shorter message is not worth compressing */
    int64_t large_per_s;   /* bytes of messages above DEFLATE_LARGE a second; 0: no limit */
};

/* Longer messages have a share. They never enter a context: a context reaches back 32 KiB at most,
 * and each of its messages is compressed for one connection alone. */
enum { DEFLATE_LARGE = 64 * 1024 };

/* How a connection compresses. One constant record serves all connections without takeover that
 * have agreed on the same window. */
struct deflate {
    struct deflate_host *host;
    uint8_t server_bits, client_bits;
    bool server_takeover, client_takeover;
    struct z_stream_s *compressor, *inflater; /* contexts of its own; NULL: none (yet) */
};

/* The part that all connections of a worker share. */
struct deflate_host {
    struct deflate_settings settings;
    struct deflate shared[DEFLATE_BITS_MAX + 1];          /* by window */
    struct z_stream_s *compressors[DEFLATE_BITS_MAX + 1]; /* by window; NULL: not needed yet */
    struct z_stream_s *inflater;                          /* NULL: not needed yet */
    uint8_t *text;                                        /* the message inflated last */
    size_t text_size;
    uint8_t *packed; /* the message compressed last */
    size_t packed_size;
    uint32_t takeover_count; /* connections with takeover */
    int64_t large_left;      /* bytes of large messages in this second; below zero: a debt */
    uint64_t work;           /* bytes that the inflaters have taken and given since the start */
};

/* New settings hold for new connections and for shared compressors; a context that lasts keeps its
 * level. The host begins zeroed. */
void deflate_host_set(struct deflate_host *host, const struct deflate_settings *settings);
void deflate_host_fini(struct deflate_host *host);
/* Once a second: the large messages get their next share. */
void deflate_host_beat(struct deflate_host *host);
/* Returns what a connection that begins now agrees on: deflate_choose with the settings. */
struct deflate_terms deflate_host_choose(const struct deflate_host *host, struct slice offers);

/* Returns how a connection with these terms, which are agreed, compresses; NULL: no memory, which
 * only takeover needs. Ended by deflate_end. */
struct deflate *deflate_begin(struct deflate_host *host, const struct deflate_terms *terms);
/* NULL is allowed. */
void deflate_end(struct deflate *deflate);

/* Is a message of this length compressed, if that makes the message smaller? */
static inline bool deflate_is_worth(const struct deflate *deflate, uint64_t len)
{
    return len >= deflate->host->settings.min_bytes;
}

/* May a message of this length be compressed now? A message may be larger than what is left. */
static inline bool deflate_has_share(const struct deflate *deflate, uint64_t len)
{
    return len <= DEFLATE_LARGE || deflate->host->settings.large_per_s == 0 ||
           deflate->host->large_left > 0;
}

/* Compresses a text by itself, in the window of the connection. *packed is valid until the next
 * call. ERR_FULL: the text would not get smaller; ERR_NOMEM. */
enum err deflate_pack(struct deflate *deflate, struct slice text, struct slice *packed);
/* With server_takeover: the same for a message of two parts, which enters the context of the
 * connection. After an error the context is empty, and the message may leave as it is. */
enum err deflate_pack_in_order(struct deflate *deflate, struct slice head, struct slice text,
                               struct slice *packed);
/* Empties the context: what leaves now refers to nothing that left before. */
void deflate_forget(struct deflate *deflate);

/* Inflates a whole message. *text is valid until deflate_unpacked. ERR_FULL: the text is longer
 * than max, and no more of it was made; ERR_BAD: the message is not DEFLATE in the form of RFC 7692
 * 7.2.1; ERR_NOMEM. After an error the connection must end. */
enum err deflate_unpack(struct deflate *deflate, struct slice packed, uint64_t max,
                        struct slice *text);
/* The text has been read: a large buffer is freed. */
void deflate_unpacked(struct deflate_host *host);

#endif
