/*
 * Any bytes as the beginning of a connection that must begin with a PROXY header. A header that
 * comes whole must be judged as the same header byte by byte; a good header is as long as it says,
 * and the bytes behind it change nothing.
 */
#include "worker/wire/proxy_header.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* The same bytes in room of their own, so that a read behind them is seen. */
static enum proxy_progress read_exactly(const uint8_t *data, size_t len,
                                        struct proxy_header *header)
{
    uint8_t *copy = malloc(len ? len : 1);
    enum proxy_progress progress;

    must(copy != NULL);
    if (len)
        memcpy(copy, data, len);
    progress = proxy_header_read(copy, len, header);
    free(copy);
    return progress;
}

static void check_whole(const uint8_t *data, const struct proxy_header *header)
{
    struct proxy_header alone;

    must(header->len >= 15 && header->len <= PROXY_HEADER_MAX);
    must(header->client.kind <= IP_V6);
    if (data[0] == 'P')
        must(header->len <= PROXY_V1_MAX && memcmp(data + header->len - 2, "\r\n", 2) == 0);
    else
        must(header->len == 16 + ((size_t)data[14] << 8 | data[15]));
    must(read_exactly(data, header->len, &alone) == PROXY_WHOLE && alone.len == header->len);
    must(memcmp(&alone.client, &header->client, sizeof alone.client) == 0);
    must(read_exactly(data, header->len - 1, &alone) == PROXY_MORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum proxy_progress whole, bytewise = PROXY_MORE;
    struct proxy_header header, last = { 0 };

    if (size > 2 * PROXY_HEADER_MAX)
        return 0;
    whole = read_exactly(data, size, &header);
    for (size_t len = 0; len <= size && bytewise == PROXY_MORE; len++)
        bytewise = proxy_header_read(data, len, &last);
    must(whole == bytewise);
    if (whole == PROXY_BAD)
        must(header.fault != NULL && last.fault != NULL && header.client.kind == IP_NONE);
    if (whole == PROXY_MORE)
        must(size < PROXY_HEADER_MAX);
    if (whole == PROXY_WHOLE) {
        must(header.len == last.len && header.len <= size);
        check_whole(data, &header);
    }
    return 0;
}
