/* What every path of the clerk needs: answers, and the parts of a request. */
#include "worker/clerk/clerk_parts.h"

#include "common/address.h"
#include "common/json.h"
#include "common/log.h"
#include "common/utf8.h"

#include <stdio.h>
#include <stdlib.h>

enum { BODY_BYTES_MAX = 4096 };

/* ---- answers ---- */

void clerk_answer_json(struct web_request *request, int status, const struct buf *out)
{
    if (out->failed) {
        clerk_answer_problem(request, 503, "internal", "out of memory");
        return;
    }
    web_answer(request, &(struct web_answer){ .status = status,
                                              .content_type = "application/json",
                                              .body = buf_slice(out) });
}

static const char *headers_of(int status)
{
    switch (status) {
    case 401:
        return "WWW-Authenticate: Bearer\r\n"; /* RFC 6750 3 */
    case 429:
    case 503:
        return "Retry-After: 1\r\n";
    default:
        return NULL;
    }
}

void clerk_answer_problem_json(struct web_request *request, int status, const struct buf *out)
{
    if (out->failed) {
        clerk_answer_problem(request, 503, "internal", "out of memory");
        return;
    }
    web_answer(request, &(struct web_answer){ .status = status,
                                              .content_type = "application/problem+json",
                                              .body = buf_slice(out),
                                              .headers = headers_of(status) });
}

void clerk_answer_problem(struct web_request *request, int status, const char *code,
                          const char *detail)
{
    clerk_answer_problem_with(request, status, code, detail, headers_of(status));
}

void clerk_answer_problem_with(struct web_request *request, int status, const char *code,
                               const char *detail, const char *headers)
{
    struct buf out;

    buf_init(&out, BODY_BYTES_MAX);
    buf_addf(&out, "{\"type\":\"about:blank\",\"status\":%d,\"code\":", status);
    json_add_string(&out, slice_of(code));
    buf_add_text(&out, ",\"detail\":");
    json_add_string(&out, slice_of(detail));
    buf_add_text(&out, "}\n");
    web_answer(request, &(struct web_answer){ .status = status,
                                              .content_type = "application/problem+json",
                                              .body = buf_slice(&out),
                                              .headers = headers });
    buf_fini(&out);
}

/* ---- parts of a request ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool clerk_decode(struct slice text, char out[CLERK_PARAM_MAX])
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (len == CLERK_PARAM_MAX - 1)
            return false;
        out[len++] = c;
    }
    out[len] = 0;
    return len > 0 && utf8_valid(slice_make(out, len));
}

bool clerk_query(const struct web_request *request, const char *name, char out[CLERK_PARAM_MAX],
                 bool *is_bad)
{
    struct slice rest = request->query;
    size_t name_len = strlen(name);
    bool found = false;

    *is_bad = false;
    out[0] = 0;
    while (rest.len) {
        const char *end = memchr(rest.data, '&', rest.len);
        struct slice part = slice_make(rest.data, end ? (size_t)(end - rest.data) : rest.len);
        rest = end ? slice_make(end + 1, rest.len - part.len - 1) : slice_make("", 0);
        if (part.len <= name_len || part.data[name_len] != '=' ||
            memcmp(part.data, name, name_len) != 0)
            continue;
        *is_bad |= found || !clerk_decode(
                                slice_make(part.data + name_len + 1, part.len - name_len - 1), out);
        found = true;
    }
    return found && !*is_bad;
}

bool clerk_take_number(struct web_request *request, const char *name, uint64_t initial,
                       uint64_t max, uint64_t *number)
{
    char text[CLERK_PARAM_MAX], detail[128];
    bool is_bad;
    char *end = text;

    *number = initial;
    if (!clerk_query(request, name, text, &is_bad) && !is_bad)
        return true;
    if (!is_bad && text[0] >= '0' && text[0] <= '9')
        *number = strtoull(text, &end, 10);
    if (!is_bad && end != text && !*end && *number <= max)
        return true;
    snprintf(detail, sizeof detail, "%s: a whole number up to %llu", name, (unsigned long long)max);
    clerk_answer_problem(request, 400, "bad-field", detail);
    return false;
}

bool clerk_take_seq(struct web_request *request, const char *name, struct seq *seq)
{
    char text[CLERK_PARAM_MAX], detail[64];
    bool is_bad;

    *seq = (struct seq){ 0, 0 };
    if (!clerk_query(request, name, text, &is_bad) && !is_bad)
        return true;
    if (!is_bad && seq_parse(slice_of(text), seq))
        return true;
    snprintf(detail, sizeof detail, "%s: a seq, MS-N", name);
    clerk_answer_problem(request, 400, "bad-field", detail);
    return false;
}

bool clerk_take_address(const struct clerk_call *call, unsigned number, struct slice *address)
{
    *address = slice_of(call->params->text[number]);
    if (address_valid(*address))
        return true;
    clerk_answer_problem(call->request, 400, "bad-field",
                         "an address has 1 to 255 bytes, without control characters, and no white "
                         "space at its ends");
    return false;
}

/* ---- parts of an answer ---- */

void clerk_add_text(struct buf *out, const char *name, struct slice text)
{
    buf_addf(out, ",\"%s\":", name);
    json_add_string(out, text);
}

void clerk_add_seq(struct buf *out, const char *name, struct seq seq)
{
    char text[SEQ_TEXT_MAX];

    if (!seq_is_zero(seq))
        clerk_add_text(out, name, slice_make(text, seq_format(text, seq)));
}

/* ---- who asks ---- */

const char *clerk_caller(const struct clerk_call *call)
{
    return call->grant ? call->grant->sub : "local";
}

void clerk_log_change(const struct clerk_call *call, const char *what, const char *on)
{
    struct log_text who, whom;

    log_info("admin_change", "what=%s on=%s by=%s", what, log_quote(&whom, slice_of(on)),
             log_quote(&who, slice_of(clerk_caller(call))));
}
