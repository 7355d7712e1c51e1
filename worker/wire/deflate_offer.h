/*
 * The negotiation of permessage-deflate (RFC 7692 7.1): a client's offers in, the terms of the
 * connection and the text of the answer out.
 *
 * Pure. The offers are a stranger's bytes: each byte is read once. An offer that is not understood
 * is declined, never the connection.
 */
#ifndef WORKER_DEFLATE_OFFER_H
#define WORKER_DEFLATE_OFFER_H

#include "common/slice.h"

#include <stdint.h>

enum {
    DEFLATE_BITS_MIN = 9, /* zlib compresses no raw DEFLATE with a window of 256 bytes */
    DEFLATE_BITS_MAX = 15,
    DEFLATE_ANSWER_MAX = 160,
};

/* What the server wants. */
struct deflate_policy {
    bool takeover;       /* contexts may last from message to message, on either side */
    uint8_t window_bits; /* of windows that last: DEFLATE_BITS_MIN to DEFLATE_BITS_MAX */
};

/* What both sides have agreed on. */
struct deflate_terms {
    bool agreed; /* false: messages are not compressed, and nothing below counts */
    bool server_takeover, client_takeover;
    uint8_t server_bits; /* the largest window of what the server compresses */
    uint8_t client_bits; /* of what the client compresses: 8 to 15 */
    bool answer_server_bits, answer_client_bits; /* the answer names these windows */
};

/* Returns the terms of the first offer that can be accepted. offers: the value of
 * Sec-WebSocket-Extensions, all lines joined by commas; data NULL: absent. A text that breaks the
 * grammar of RFC 6455 9.1 offers nothing from there on. */
struct deflate_terms deflate_choose(struct slice offers, const struct deflate_policy *policy);
/* Writes the value of the answer's Sec-WebSocket-Extensions, and returns answer; NULL when nothing
 * is agreed. */
const char *deflate_answer(const struct deflate_terms *terms, char answer[DEFLATE_ANSWER_MAX]);

#endif
