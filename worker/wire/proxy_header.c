/*
 * The reader of PROXY headers. Each call reads from the first byte on: the header is short, and a
 * state of its own would have to be kept beside the bytes.
 */
#include "worker/wire/proxy_header.h"

#include <string.h>

/* Section 2.2: bytes that begin no other protocol. */
static const uint8_t signature[12] = { '\r', '\n', '\r', '\n', 0,   '\r',
                                       '\n', 'Q',  'U',  'I',  'T', '\n' };

enum {
    V2_HEAD = 16, /* signature, version and command, family, length */
    COMMAND_LOCAL = 0,
    COMMAND_PROXY = 1,
    FAMILY_UNSPEC = 0,
    FAMILY_INET = 1,
    FAMILY_INET6 = 2,
    FAMILY_UNIX = 3,
    TRANSPORT_STREAM = 1,
    TRANSPORT_MAX = 2,
    TLV_HEAD = 3,
    TLV_CRC32C = 3, /* its type */
    CRC_LEN = 4,
};

static enum proxy_progress proxy_bad(struct proxy_header *header, const char *fault)
{
    header->fault = fault;
    return PROXY_BAD;
}

/* ---- version 1 ---- */

/* Removes the word before the next space from line; data NULL at the end. */
static struct slice take_word(struct slice *line)
{
    const char *space = line->len ? memchr(line->data, ' ', line->len) : NULL;
    struct slice word = slice_make(line->data, space ? (size_t)(space - line->data) : line->len);

    if (!line->data)
        return *line;
    *line = space ? slice_make(space + 1, line->len - word.len - 1) : (struct slice){ NULL, 0 };
    return word;
}

/* 0 to 65535, without leading zeros. */
static bool is_port(struct slice text)
{
    unsigned value = 0;

    if (text.len == 0 || text.len > 5 || (text.data[0] == '0' && text.len > 1))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    return value <= 65535;
}

/* Is text an address of the family that the line names? A mapped address is IPv6 to the proxy and
 * IPv4 to ip_parse. */
static bool is_address(struct slice text, bool v6, struct ip *ip)
{
    return text.data && v6 == (memchr(text.data, ':', text.len) != NULL) && ip_parse(text, ip);
}

/* The line behind "PROXY ", without CR LF. */
static enum proxy_progress read_line(struct slice line, struct proxy_header *header)
{
    struct slice family = take_word(&line), source, target;
    bool v6 = slice_equal(family, SLICE("TCP6"));
    struct ip unused;

    if (slice_equal(family, SLICE("UNKNOWN"))) /* the rest of the line means nothing */
        return PROXY_WHOLE;
    if (!v6 && !slice_equal(family, SLICE("TCP4")))
        return proxy_bad(header, "version 1: the family is not TCP4, TCP6 or UNKNOWN");
    source = take_word(&line);
    target = take_word(&line);
    if (!is_address(source, v6, &header->client) || !is_address(target, v6, &unused))
        return proxy_bad(header, "version 1: an address is malformed");
    source = take_word(&line);
    target = take_word(&line);
    if (!is_port(source) || !is_port(target) || line.data)
        return proxy_bad(header, "version 1: a port is malformed");
    return PROXY_WHOLE;
}

static enum proxy_progress read_v1(const uint8_t *data, size_t len, struct proxy_header *header)
{
    static const char begin[] = "PROXY ";
    size_t begin_len = sizeof begin - 1, most = len < PROXY_V1_MAX ? len : PROXY_V1_MAX;
    const uint8_t *end;
    enum proxy_progress progress;

    if (memcmp(data, begin, len < begin_len ? len : begin_len) != 0)
        return proxy_bad(header, "no PROXY header");
    end = memchr(data, '\n', most);
    if (!end)
        return most == PROXY_V1_MAX ? proxy_bad(header, "version 1: the line is too long")
                                    : PROXY_MORE;
    if (end[-1] != '\r' || (size_t)(end - data) < begin_len + 1)
        return proxy_bad(header, "version 1: the line must end in CR LF");
    header->len = (size_t)(end - data) + 1;
    progress = read_line(slice_make(data + begin_len, header->len - begin_len - 2), header);
    if (progress == PROXY_BAD)
        header->client = (struct ip){ .kind = IP_NONE };
    return progress;
}

/* ---- version 2 ---- */

static size_t get16(const uint8_t *bytes)
{
    return (size_t)bytes[0] << 8 | bytes[1];
}

/* The CRC-32C of the header with the checksum's own bytes taken as 0 (section 2.2.3). */
static uint32_t crc32c(const uint8_t *data, size_t len, size_t crc_at)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        crc ^= i >= crc_at && i < crc_at + CRC_LEN ? 0 : data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* Walks the TLVs from `at` on. They are skipped but for a checksum, which must be right. */
static bool tlvs_good(const uint8_t *data, size_t len, size_t at)
{
    while (at < len) {
        size_t value_len;
        if (len - at < TLV_HEAD)
            return false;
        value_len = get16(data + at + 1);
        if (value_len > len - at - TLV_HEAD)
            return false;
        if (data[at] == TLV_CRC32C) {
            const uint8_t *value = data + at + TLV_HEAD;
            if (value_len != CRC_LEN || crc32c(data, len, at + TLV_HEAD) !=
                                            ((uint32_t)get16(value) << 16 | get16(value + 2)))
                return false;
        }
        at += TLV_HEAD + value_len;
    }
    return true;
}

/* The length of the addresses of a family. */
static size_t addresses_len(unsigned family)
{
    static const size_t lens[] = { [FAMILY_INET] = 12, [FAMILY_INET6] = 36, [FAMILY_UNIX] = 216 };

    return lens[family];
}

/* The client that a PROXY command names. */
static struct ip client_of(const uint8_t *addresses, unsigned family, unsigned transport)
{
    if (transport == TRANSPORT_STREAM && family == FAMILY_INET)
        return ip_of_v4(addresses);
    if (transport == TRANSPORT_STREAM && family == FAMILY_INET6)
        return ip_of_v6(addresses);
    return (struct ip){ .kind = transport == TRANSPORT_STREAM && family == FAMILY_UNIX ? IP_UNIX
                                                                                       : IP_NONE };
}

static enum proxy_progress read_v2(const uint8_t *data, size_t len, struct proxy_header *header)
{
    unsigned command = data[12] & 0xf, family, transport;
    bool named;

    if (data[12] >> 4 != 2 || command > COMMAND_PROXY)
        return proxy_bad(header, "version 2: another version or command");
    if (len < V2_HEAD)
        return PROXY_MORE;
    family = data[13] >> 4;
    transport = data[13] & 0xf;
    header->len = V2_HEAD + get16(data + 14);
    if (header->len > PROXY_HEADER_MAX)
        return proxy_bad(header, "version 2: the header is too long");
    named = command == COMMAND_PROXY && family != FAMILY_UNSPEC;
    if (named && (family > FAMILY_UNIX || transport > TRANSPORT_MAX))
        return proxy_bad(header, "version 2: another family or transport");
    if (named && header->len < V2_HEAD + addresses_len(family))
        return proxy_bad(header, "version 2: the addresses are cut");
    if (len < header->len)
        return PROXY_MORE;
    if (!named) /* whatever follows means nothing (section 2.2) */
        return PROXY_WHOLE;
    if (!tlvs_good(data, header->len, V2_HEAD + addresses_len(family)))
        return proxy_bad(header, "version 2: a TLV is cut, or the checksum is wrong");
    header->client = client_of(data + V2_HEAD, family, transport);
    return PROXY_WHOLE;
}

enum proxy_progress proxy_header_read(const uint8_t *data, size_t len, struct proxy_header *header)
{
    *header = (struct proxy_header){ 0 };
    if (len == 0)
        return PROXY_MORE;
    if (data[0] != signature[0])
        return read_v1(data, len, header);
    if (memcmp(data, signature, len < sizeof signature ? len : sizeof signature) != 0)
        return proxy_bad(header, "no PROXY header");
    return len > sizeof signature ? read_v2(data, len, header) : PROXY_MORE;
}
