#include "worker/entrance/health.h"

#include "worker/wire/http_head.h"

#include <string.h>

bool health_asked(struct slice health_path, const struct http_parser *parser, const char *head)
{
    struct slice method = http_head_method(parser, head), path = http_head_path(parser, head);

    return health_path.len && path.data && slice_equal(path, health_path) &&
           (slice_equal(method, SLICE("GET")) || slice_equal(method, SLICE("HEAD")));
}

void health_answer(struct buf *out, const struct http_parser *parser, const char *head,
                   enum health health, int64_t unix_s)
{
    static const char *const bodies[] = {
        [HEALTH_SERVING] = "{\"status\":\"serving\"}",
        [HEALTH_WITHOUT_STORAGE] = "{\"status\":\"serving\",\"redis\":\"away\"}",
        [HEALTH_STARTING] = "{\"status\":\"starting\"}",
        [HEALTH_DRAINING] = "{\"status\":\"draining\"}",
    };
    bool serves = health == HEALTH_SERVING || health == HEALTH_WITHOUT_STORAGE;

    http_answer_begin(out, serves ? 200 : 503, strlen(bodies[health]), unix_s);
    buf_add_text(out, "Cache-Control: no-store\r\n"
                      "Connection: close\r\n");
    buf_add_text(out, serves ? "\r\n" : "Retry-After: 1\r\n\r\n");
    if (!slice_equal(http_head_method(parser, head), SLICE("HEAD")))
        buf_add_text(out, bodies[health]);
}
