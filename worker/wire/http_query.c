/*
 * The parameters in the query of a request, percent-decoded. A parameter that two readers could
 * take differently (given twice, a broken sequence) is refused, never interpreted.
 */
#include "worker/wire/http_parts.h"

#include "common/seq.h"
#include "common/utf8.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int http_percent_byte(struct slice text, size_t i)
{
    int high = text.len - i > 2 ? hex_value(text.data[i + 1]) : -1;
    int low = text.len - i > 2 ? hex_value(text.data[i + 2]) : -1;

    return high < 0 || low < 0 || high + low == 0 ? -1 : high << 4 | low;
}

/* Undoes percent-encoding into out, which has room for text.len bytes. '+' stays: only HTML forms
 * write a space so. False for a bad sequence or %00. */
static bool percent_decode(struct slice text, char *out, size_t *out_len)
{
    *out_len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            int byte = http_percent_byte(text, i);
            if (byte < 0)
                return false;
            c = (char)byte;
            i += 2;
        }
        out[(*out_len)++] = c;
    }
    return true;
}

/* Copies into the arena only text that has percent signs. */
static enum err decode_part(struct arena *arena, struct slice text, struct slice *decoded,
                            struct http_fault *fault)
{
    char *out;

    *decoded = text;
    if (!text.len || !memchr(text.data, '%', text.len))
        return OK;
    out = arena_take(arena, text.len);
    if (!out)
        return http_no_memory(fault);
    if (!percent_decode(text, out, &decoded->len))
        return http_bad_request(fault, "a bad percent sequence in the query");
    decoded->data = out;
    return utf8_valid(*decoded) ? OK : http_bad_request(fault, "the query is not UTF-8");
}

static struct slice *parameter(struct http_upgrade *upgrade, struct slice name)
{
    struct {
        struct slice name, *member;
    } known[] = {
        { SLICE("clientID"), &upgrade->client_id }, { SLICE("device"), &upgrade->device },
        { SLICE("since"), &upgrade->since },        { SLICE("epoch"), &upgrade->epoch },
        { SLICE("token"), &upgrade->query_token },  { SLICE("refusals"), &upgrade->refusals },
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (slice_equal(known[i].name, name))
            return known[i].member;
    return NULL;
}

/* Takes one name=value. Every parameter must decode, unknown ones too: one rule without
 * exceptions. */
static enum err take_parameter(struct arena *arena, struct slice text, struct http_upgrade *upgrade,
                               struct http_fault *fault)
{
    const char *equals = text.len ? memchr(text.data, '=', text.len) : NULL;
    size_t name_len = equals ? (size_t)(equals - text.data) : text.len;
    size_t value_at = equals ? name_len + 1 : name_len;
    struct slice name, value, *member;

    if (decode_part(arena, slice_make(text.data, name_len), &name, fault) ||
        decode_part(arena, slice_make(text.data + value_at, text.len - value_at), &value, fault))
        return ERR_BAD;
    member = parameter(upgrade, name);
    if (!member)
        return OK;
    if (member->data)
        return http_bad_request(fault, "a query parameter is given twice");
    *member = value;
    return OK;
}

/* A text that no session can begin at is refused here, not ignored by the session. */
static bool is_since(struct slice since)
{
    struct seq seq;

    return slice_equal(since, SLICE("now")) || seq_parse(since, &seq);
}

enum err http_take_query(struct arena *arena, struct slice query, struct http_upgrade *upgrade,
                         struct http_fault *fault)
{
    while (query.data) {
        const char *end = query.len ? memchr(query.data, '&', query.len) : NULL;
        size_t len = end ? (size_t)(end - query.data) : query.len;
        if (take_parameter(arena, slice_make(query.data, len), upgrade, fault))
            return ERR_BAD;
        query = end ? slice_make(end + 1, query.len - len - 1) : (struct slice){ NULL, 0 };
    }
    if (upgrade->since.data && !is_since(upgrade->since))
        return http_bad_request(fault, "since must be a seq (MS-N or MS) or now");
    if (upgrade->refusals.data && !slice_equal(upgrade->refusals, SLICE("close")))
        return http_bad_request(fault, "refusals must be close");
    return OK;
}
