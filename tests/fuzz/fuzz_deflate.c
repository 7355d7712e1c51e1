/*
 * Any bytes as a compressed message, as a text to be compressed, and as an offer of compression.
 *
 * The first byte chooses the window and whether contexts last; the second byte says where the rest
 * is cut into two messages of one connection. What inflates must be what zlib itself makes of the
 * same bytes, and whatever is compressed must come back.
 */
#include "worker/wire/deflate.h"

#include <stdlib.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 1 << 16 };

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* zlib alone gives the same text, as far as the first block with BFINAL. */
static void check_by_zlib(struct slice packed, struct slice text)
{
    static uint8_t expected[TEXT_MAX + 1], whole[1 << 20];
    z_stream z = { .next_in = whole, .next_out = expected, .avail_out = sizeof expected };
    size_t len;

    must(packed.len + 4 <= sizeof whole);
    if (packed.len)
        memcpy(whole, packed.data, packed.len);
    memcpy(whole + packed.len, "\x00\x00\xff\xff", 4);
    z.avail_in = (uInt)packed.len + 4;
    must(inflateInit2(&z, -15) == Z_OK);
    inflate(&z, Z_SYNC_FLUSH);
    len = sizeof expected - z.avail_out;
    inflateEnd(&z);
    must(len <= text.len && (len == 0 || memcmp(expected, text.data, len) == 0));
}

static void expect_back(struct deflate *deflate, struct slice packed, struct slice text)
{
    struct slice back;

    must(deflate_unpack(deflate, packed, TEXT_MAX, &back) == OK);
    must(slice_equal(back, text));
    deflate_unpacked(deflate->host);
}

static void check_offer(struct slice offers)
{
    char answer[DEFLATE_ANSWER_MAX];
    struct deflate_policy policy = { .takeover = offers.len % 2, .window_bits = 12 };
    struct deflate_terms terms = deflate_choose(offers, &policy), own;

    must(terms.agreed == (deflate_answer(&terms, answer) != NULL));
    if (!terms.agreed)
        return;
    must(memmem(offers.data, offers.len, "permessage-deflate", 18) != NULL);
    must(terms.server_bits >= DEFLATE_BITS_MIN && terms.server_bits <= DEFLATE_BITS_MAX);
    must(terms.client_bits >= 8 && terms.client_bits <= DEFLATE_BITS_MAX);
    must(strlen(answer) < DEFLATE_ANSWER_MAX - 1);
    own = deflate_choose(slice_of(answer), &policy); /* an answer is an offer, too */
    must(own.agreed && own.server_takeover == terms.server_takeover);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct deflate_host host = { 0 };
    struct deflate_terms terms = { .agreed = true };
    struct deflate *deflate;
    struct slice parts[2], packed, text;
    size_t cut;
    bool takeover;

    if (size < 2)
        return 0;
    takeover = data[0] & 1;
    terms.server_takeover = terms.client_takeover = takeover;
    terms.server_bits = terms.client_bits =
        (uint8_t)(DEFLATE_BITS_MIN + (data[0] >> 1) % (DEFLATE_BITS_MAX - DEFLATE_BITS_MIN + 1));
    deflate_host_set(&host, &(struct deflate_settings){ .level = (uint8_t)(1 + (data[0] >> 5)),
                                                        .mem_level = 1,
                                                        .window_bits = terms.server_bits });
    deflate = deflate_begin(&host, &terms);
    must(deflate);
    cut = data[1] < size - 2 ? data[1] : size - 2;
    parts[0] = slice_make(data + 2, cut);
    parts[1] = slice_make(data + 2 + cut, size - 2 - cut);
    for (size_t i = 0; i < 2; i++) {
        enum err err = deflate_unpack(deflate, parts[i], TEXT_MAX, &text);
        must(err == OK || err == ERR_BAD || err == ERR_FULL);
        if (err)
            break;
        must(text.len <= TEXT_MAX);
        if (!takeover)
            check_by_zlib(parts[i], text);
        deflate_unpacked(&host);
    }
    deflate_unpacked(&host);
    deflate_end(deflate);
    deflate = deflate_begin(&host, &terms);
    for (size_t i = 0; i < 2; i++) {
        enum err err = takeover ? deflate_pack_in_order(deflate, parts[0], parts[i], &packed)
                                : deflate_pack(deflate, parts[i], &packed);
        must(err == OK || err == ERR_FULL);
        if (err || takeover) /* the parts together are checked by unit tests */
            continue;
        must(packed.len < parts[i].len);
        if (parts[i].len <= TEXT_MAX)
            expect_back(deflate, packed, parts[i]);
    }
    deflate_end(deflate);
    deflate_host_fini(&host);
    check_offer(slice_make(data + 2, size - 2));
    return 0;
}
