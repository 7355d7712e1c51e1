/*
 * Compressed messages, by zlib.
 *
 * A message that was flushed ends in an empty stored block, whose last four bytes, 00 00 ff ff, are
 * not sent (RFC 7692 7.2.1). So after the last byte of a message the inflater must stand within the
 * head of a stored block, which zlib can tell (inflateSyncPoint, made for PPP, which leaves out the
 * same bytes): a message that was cut elsewhere is refused, not delivered in part.
 *
 * Room for the compressed message is less than the message: what would not get smaller is given up
 * as soon as that is known. Room for the inflated text grows with the text, up to the bound.
 */
#include "worker/wire/deflate.h"

#include <assert.h>
#include <stdlib.h>

#define ZLIB_CONST /* input is not written to */
#include <zlib.h>

enum {
    TAIL_LEN = 4,
    TEXT_SIZE_FIRST = 16 * 1024,
    BUFFER_KEPT_MAX = 256 * 1024, /* bytes of either buffer that are kept for the next message */
    STREAMS_MAX = 1000, /* blocks with BFINAL in one message: a flood of empty ones costs time */
};

static const uint8_t tail[TAIL_LEN] = { 0x00, 0x00, 0xff, 0xff };

/* zlib's memory comes from here, so that tests can let its allocations fail. */
static voidpf take_zlib_memory(voidpf arg, uInt items, uInt size)
{
    (void)arg;
    return calloc(items, size);
}

static void free_zlib_memory(voidpf arg, voidpf memory)
{
    (void)arg;
    free(memory);
}

static z_stream *stream_new(void)
{
    z_stream *z = calloc(1, sizeof *z);

    if (z) {
        z->zalloc = take_zlib_memory;
        z->zfree = free_zlib_memory;
    }
    return z;
}

static z_stream *compressor_new(const struct deflate_settings *settings, uint8_t bits)
{
    z_stream *z = stream_new();

    assert(bits >= DEFLATE_BITS_MIN && bits <= DEFLATE_BITS_MAX);
    if (z && deflateInit2(z, settings->level, Z_DEFLATED, -bits, settings->mem_level,
                          Z_DEFAULT_STRATEGY) == Z_OK)
        return z;
    free(z);
    return NULL;
}

/* A window of 256 bytes is served by one of 512: some clients say 8 and use 9, as zlib does. */
static z_stream *inflater_new(uint8_t bits)
{
    z_stream *z = stream_new();

    if (z && inflateInit2(z, bits < DEFLATE_BITS_MIN ? -DEFLATE_BITS_MIN : -bits) == Z_OK)
        return z;
    free(z);
    return NULL;
}

static void compressor_free(z_stream *z)
{
    if (z)
        deflateEnd(z);
    free(z);
}

static void inflater_free(z_stream *z)
{
    if (z)
        inflateEnd(z);
    free(z);
}

/* ---- the host ---- */

static void drop_compressors(struct deflate_host *host)
{
    for (size_t bits = 0; bits <= DEFLATE_BITS_MAX; bits++) {
        compressor_free(host->compressors[bits]);
        host->compressors[bits] = NULL;
    }
}

void deflate_host_set(struct deflate_host *host, const struct deflate_settings *settings)
{
    if (settings->level != host->settings.level || settings->mem_level != host->settings.mem_level)
        drop_compressors(host);
    if (settings->large_per_s != host->settings.large_per_s)
        host->large_left = settings->large_per_s;
    host->settings = *settings;
}

void deflate_host_beat(struct deflate_host *host)
{
    int64_t share = host->settings.large_per_s;

    host->large_left = host->large_left > 0 ? share : host->large_left + share;
}

void deflate_host_fini(struct deflate_host *host)
{
    drop_compressors(host);
    inflater_free(host->inflater);
    free(host->text);
    free(host->packed);
    *host = (struct deflate_host){ 0 };
}

struct deflate_terms deflate_host_choose(const struct deflate_host *host, struct slice offers)
{
    const struct deflate_settings *settings = &host->settings;
    struct deflate_policy policy = {
        .takeover = settings->takeover && host->takeover_count < settings->takeover_max,
        .window_bits = settings->window_bits,
    };

    if (!settings->enabled)
        return (struct deflate_terms){ .agreed = false };
    return deflate_choose(offers, &policy);
}

/* ---- connections ---- */

struct deflate *deflate_begin(struct deflate_host *host, const struct deflate_terms *terms)
{
    bool takeover = terms->server_takeover || terms->client_takeover;
    struct deflate *deflate = &host->shared[terms->server_bits];

    assert(terms->agreed && terms->server_bits <= DEFLATE_BITS_MAX);
    if (takeover && !(deflate = malloc(sizeof *deflate)))
        return NULL;
    *deflate = (struct deflate){ .host = host,
                                 .server_bits = terms->server_bits,
                                 .client_bits = terms->client_bits,
                                 .server_takeover = terms->server_takeover,
                                 .client_takeover = terms->client_takeover };
    host->takeover_count += takeover;
    return deflate;
}

void deflate_end(struct deflate *deflate)
{
    if (!deflate || !(deflate->server_takeover || deflate->client_takeover))
        return;
    assert(deflate->host->takeover_count);
    deflate->host->takeover_count--;
    compressor_free(deflate->compressor);
    inflater_free(deflate->inflater);
    free(deflate);
}

/* ---- compressing ---- */

/* Makes the compressor when the first message needs one. */
static z_stream *need_compressor(z_stream **z, const struct deflate *deflate)
{
    if (!*z)
        *z = compressor_new(&deflate->host->settings, deflate->server_bits);
    return *z;
}

/* The old contents are not kept. */
static bool reserve_packed(struct deflate_host *host, size_t size)
{
    bool too_large = host->packed_size > BUFFER_KEPT_MAX && size <= BUFFER_KEPT_MAX;

    if (size <= host->packed_size && !too_large)
        return true;
    free(host->packed);
    host->packed = malloc(size);
    host->packed_size = host->packed ? size : 0;
    return host->packed;
}

/* Runs input through the compressor. False: the room for output is full. */
static bool feed_compressor(z_stream *z, struct slice input, int flush)
{
    z->next_in = (z_const Bytef *)input.data;
    z->avail_in = (uInt)input.len;
    return deflate(z, flush) == Z_OK && z->avail_in == 0 && z->avail_out > 0;
}

/* ERR_FULL: the output would not be smaller. */
static enum err run_compressor(struct deflate_host *host, z_stream *z, struct slice head,
                               struct slice text, struct slice *packed)
{
    size_t room = head.len + text.len + TAIL_LEN;

    assert(room <= UINT32_MAX);
    if (!reserve_packed(host, room))
        return ERR_NOMEM;
    z->next_out = host->packed;
    z->avail_out = (uInt)room;
    if ((head.len && !feed_compressor(z, head, Z_NO_FLUSH)) ||
        !feed_compressor(z, text, Z_SYNC_FLUSH))
        return ERR_FULL;
    /* There is room left, so everything has been flushed, and the output is smaller. */
    *packed = slice_make(host->packed, room - z->avail_out - TAIL_LEN);
    assert(memcmp(packed->data + packed->len, tail, TAIL_LEN) == 0);
    return OK;
}

enum err deflate_pack(struct deflate *deflate, struct slice text, struct slice *packed)
{
    struct deflate_host *host = deflate->host;
    z_stream *z = need_compressor(&host->compressors[deflate->server_bits], deflate);
    enum err err;

    if (!z)
        return ERR_NOMEM;
    if (text.len > DEFLATE_LARGE)
        host->large_left -= (int64_t)text.len;
    err = run_compressor(host, z, SLICE(""), text, packed);
    deflateReset(z);
    return err;
}

enum err deflate_pack_in_order(struct deflate *deflate, struct slice head, struct slice text,
                               struct slice *packed)
{
    z_stream *z = need_compressor(&deflate->compressor, deflate);
    enum err err;

    assert(deflate->server_takeover);
    if (!z)
        return ERR_NOMEM;
    err = run_compressor(deflate->host, z, head, text, packed);
    if (err)
        deflate_forget(deflate);
    return err;
}

void deflate_forget(struct deflate *deflate)
{
    if (deflate->compressor)
        deflateReset(deflate->compressor);
}

/* ---- inflating ---- */

static z_stream *inflater_of(struct deflate *deflate)
{
    struct deflate_host *host = deflate->host;
    z_stream **z = deflate->client_takeover ? &deflate->inflater : &host->inflater;

    if (!*z)
        *z = inflater_new(deflate->client_takeover ? deflate->client_bits : DEFLATE_BITS_MAX);
    else if (!deflate->client_takeover)
        inflateReset(*z);
    return *z;
}

/* Makes room behind `len` bytes of text. The room never passes max + 1: the one byte more shows
 * that the text is too long. */
static bool reserve_text(struct deflate_host *host, size_t len, uint64_t max)
{
    size_t size = host->text_size ? 2 * host->text_size : TEXT_SIZE_FIRST;
    uint8_t *text;

    if (len < host->text_size)
        return true;
    if (size > max + 1)
        size = (size_t)max + 1;
    if (size <= len)
        size = len + 1;
    text = realloc(host->text, size);
    if (!text)
        return false;
    host->text = text;
    host->text_size = size;
    return true;
}

/* A text that is being inflated. */
struct inflation {
    uint64_t max;
    size_t len;
    unsigned streams; /* blocks with BFINAL so far */
    bool ended;       /* nothing has come behind such a block */
};

/* Inflates as far as there is room. *status: of zlib. */
static enum err inflate_step(struct deflate_host *host, z_stream *z, struct inflation *inflation,
                             int *status)
{
    if (!reserve_text(host, inflation->len, inflation->max))
        return ERR_NOMEM;
    z->next_out = host->text + inflation->len;
    z->avail_out = (uInt)(host->text_size - inflation->len);
    *status = inflate(z, Z_SYNC_FLUSH);
    inflation->len = (size_t)(z->next_out - host->text);
    if (*status == Z_MEM_ERROR)
        return ERR_NOMEM;
    if (*status != Z_OK && *status != Z_STREAM_END && *status != Z_BUF_ERROR)
        return ERR_BAD;
    return inflation->len > inflation->max ? ERR_FULL : OK;
}

/* A block with BFINAL ends zlib's stream, but not the message (RFC 7692 7.2.3.4): the window
 * stays, and the next block follows on the next byte. */
static enum err inflate_input(struct deflate_host *host, z_stream *z, struct slice input,
                              struct inflation *inflation)
{
    enum err err;
    int status;

    z->next_in = (z_const Bytef *)input.data;
    z->avail_in = (uInt)input.len;
    do {
        inflation->ended = false;
        err = inflate_step(host, z, inflation, &status);
        if (err)
            return err;
        if (status == Z_STREAM_END) {
            if (++inflation->streams > STREAMS_MAX)
                return ERR_BAD;
            inflation->ended = true;
            inflateResetKeep(z);
        }
    } while (z->avail_in > 0 || (z->avail_out == 0 && !inflation->ended));
    return OK;
}

enum err deflate_unpack(struct deflate *deflate, struct slice packed, uint64_t max,
                        struct slice *text)
{
    struct inflation inflation = { .max = max };
    struct deflate_host *host = deflate->host;
    z_stream *z = inflater_of(deflate);
    enum err err;

    if (!z)
        return ERR_NOMEM;
    assert(packed.len <= UINT32_MAX && max < UINT32_MAX);
    err = inflate_input(host, z, packed, &inflation);
    if (!err && !inflation.ended)
        err = inflateSyncPoint(z) ? inflate_input(host, z, slice_make(tail, TAIL_LEN), &inflation)
                                  : ERR_BAD;
    host->work += packed.len + inflation.len;
    *text = slice_make(host->text, inflation.len);
    return err;
}

void deflate_unpacked(struct deflate_host *host)
{
    if (host->text_size <= BUFFER_KEPT_MAX)
        return;
    free(host->text);
    host->text = NULL;
    host->text_size = 0;
}
