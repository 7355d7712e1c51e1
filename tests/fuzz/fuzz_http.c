/*
 * Any bytes as a request head. The parser must judge a head that comes whole as it judges the same
 * head byte by byte. An accepted head must have what RFC 6455 demands; a plain search checks this.
 */
#include "worker/wire/http.h"

#include "common/utf8.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD_MAX = 1024 };

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void check(const struct http_parser *parser, const char *head)
{
    static char root[] = "/", ws[] = "/ws*";
    static char *const items[] = { root, ws };
    const struct http_paths paths = { items, 2 };
    struct http_upgrade upgrade;
    struct http_fault fault = { 0 };
    struct arena arena;
    struct buf out;

    arena_init(&arena, 256);
    buf_init(&out, 4096);
    if (http_check_upgrade(parser, head, &paths, &arena, &upgrade, &fault) == OK) {
        must(upgrade.key.len == 24 && upgrade.host.len > 0);
        must(memcmp(head + parser->method_at, "GET ", 4) == 0);
        must(!upgrade.client_id.data || utf8_valid(upgrade.client_id));
        must(!upgrade.client_id.len || !memchr(upgrade.client_id.data, 0, upgrade.client_id.len));
        http_cookie(upgrade.cookie, SLICE("a"));
        http_origin_is_host(upgrade.origin, upgrade.host);
        must(!http_origin_matches(SLICE("https://*.a.b"), upgrade.origin) ||
             slice_starts(upgrade.origin, SLICE("https://")));
        http_answer_upgrade(&out, upgrade.key, upgrade.offers_v1 ? "postoffice.v1" : NULL, NULL);
    } else {
        must(fault.status >= 400 && fault.code && fault.message);
        http_answer_refusal(&out,
                            &(struct http_refusal){ .status = fault.status,
                                                    .code = fault.code,
                                                    .message = fault.message },
                            false, 0);
    }
    must(!out.failed);
    buf_fini(&out);
    arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_parser whole, bytewise;
    struct http_fault fault = { 0 }, fault_bytewise = { 0 };
    size_t head_len = 0, head_len_bytewise = 0;
    const char *head = (const char *)data;
    enum http_progress progress, progress_bytewise = HTTP_MORE;

    http_parser_init(&whole, HEAD_MAX);
    http_parser_init(&bytewise, HEAD_MAX);
    progress = http_parse(&whole, head, size, &head_len, &fault);
    for (size_t len = 0; len <= size && progress_bytewise == HTTP_MORE; len++)
        progress_bytewise = http_parse(&bytewise, head, len, &head_len_bytewise, &fault_bytewise);
    must(progress == progress_bytewise && head_len == head_len_bytewise);
    must(fault.status == fault_bytewise.status && fault.message == fault_bytewise.message);
    must(whole.at == bytewise.at && whole.header_count == bytewise.header_count);
    if (progress == HTTP_WHOLE) {
        must(head_len <= HEAD_MAX && memcmp(head + head_len - 4, "\r\n\r\n", 4) == 0);
        check(&whole, head);
    }
    return 0;
}
