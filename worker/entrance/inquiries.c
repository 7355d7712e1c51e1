#include "worker/entrance/inquiries.h"

#include "common/clock.h"
#include "common/close_code.h"
#include "common/json.h"
#include "common/log.h"
#include "worker/groups/groups.h"
#include "worker/entrance/revoked.h"
#include "worker/reach/bus.h"
#include "worker/session/session.h"

#include <stdlib.h>

enum {
    SESSION_BYTES_MAX = 2048, /* of one session's text, all of it escaped */
    LOOK_MAX = 20000,         /* sessions that one question looks at */
};

/* Takes the first line of *rest. */
static struct slice take_line(struct slice *rest)
{
    const char *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    struct slice line = slice_make(rest->data, end ? (size_t)(end - rest->data) : rest->len);

    *rest = end ? slice_make(end + 1, rest->len - line.len - 1) : slice_make("", 0);
    return line;
}

static bool read_number(struct slice text, int base, uint64_t *number)
{
    char digits[24];
    char *end;

    if (text.len == 0 || text.len >= sizeof digits)
        return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = 0;
    *number = strtoull(digits, &end, base);
    return digits[0] != '-' && digits[0] != '+' && digits[0] != ' ' && !*end;
}

/* ---- sessions ---- */

static void add_text(struct buf *out, const char *name, struct slice value)
{
    buf_addf(out, ",\"%s\":", name);
    json_add_string(out, value);
}

static void add_seq(struct buf *out, const char *name, struct seq seq)
{
    char text[SEQ_TEXT_MAX];

    if (!seq_is_zero(seq))
        add_text(out, name, slice_make(text, seq_format(text, seq)));
}

static void add_session(struct buf *out, const struct session *session)
{
    const struct office *office = session->office;
    int64_t ago_s = (int64_t)((clock_monotonic_ns() - session->began_ns) / 1000000000);
    char place[PLACE_MAX], ip[IP_TEXT_MAX];
    size_t len = bus_place(place, office->node, office->slot, office->incarnation);

    buf_addf(out, "{\"id\":\"%.*s/%llx\"", (int)len, place, (unsigned long long)session->number);
    add_text(out, "address", session_address(session));
    add_text(out, "device", session_device(session));
    add_text(out, "node", slice_of(office->node));
    buf_addf(out, ",\"worker\":%u,\"since\":%lld", office->slot,
             (long long)(clock_unix_s() - ago_s));
    add_text(out, "ip", slice_of(ip_text(&session->ip, ip)));
    buf_addf(out, ",\"waitingBytes\":%llu", (unsigned long long)conn_waiting(&session->conn));
    add_seq(out, "position", session->reader.feed.queued);
    add_seq(out, "acknowledged", session->cursor);
    buf_addf(out, ",\"tls\":%s,\"compressed\":%s,\"service\":%s}",
             session->conn.tls ? "true" : "false", session->conn.deflate ? "true" : "false",
             session->seat ? "true" : "false");
}

static bool is_asked_for(const struct session *session, struct slice address)
{
    return session && session->listed && conn_is_open(&session->conn) &&
           (address.len == 0 || slice_equal(session_address(session), address));
}

static void answer_sessions(const struct office *office, struct slice rest, struct buf *out)
{
    uint64_t from = 0, limit = 0, looked = 0, found = 0, at;
    struct slice first = take_line(&rest), second = take_line(&rest), address = rest;

    if (!read_number(first, 10, &from) || !read_number(second, 10, &limit)) {
        buf_add_text(out, "{\"error\":\"bad\"}");
        return;
    }
    buf_add_text(out, "{\"sessions\":[");
    for (at = from; at < office->session_used && looked < LOOK_MAX && found < limit &&
                    out->len + SESSION_BYTES_MAX < BUS_INQUIRY_BYTES_MAX;
         at++, looked++) {
        if (!is_asked_for(office->sessions[at], address))
            continue;
        if (found++)
            buf_add_char(out, ',');
        add_session(out, office->sessions[at]);
    }
    buf_add_char(out, ']');
    if (at < office->session_used)
        buf_addf(out, ",\"next\":%llu", (unsigned long long)at);
    buf_add_char(out, '}');
}

/* ---- ending one ---- */

static void end_session(struct office *office, struct slice rest, struct buf *out)
{
    struct slice number_text = take_line(&rest);
    struct session *session = NULL;
    uint64_t number;
    struct log_text who;
    bool found;

    if (read_number(number_text, 16, &number))
        session = session_open_by_number(office, number);
    found = session && session->listed;
    if (found) {
        log_info("session_ended", "session=%llx by=%s", (unsigned long long)number,
                 log_quote(&who, rest));
        stats_add(office->stats, STAT_sessions_ended, 1);
        session_say_goodbye(session, WS_CLOSE_ADMIN, "ended by an operator", 0);
    }
    buf_addf(out, "{\"ended\":%s}", found ? "true" : "false");
}

/* ---- groups ---- */

static void answer_group(struct office *office, struct slice group, struct buf *out)
{
    buf_addf(out, "{\"subscribers\":%u}", groups_subscribers(office, group));
}

void inquiries_answer(struct office *office, struct slice question, struct buf *out)
{
    struct slice what = take_line(&question);

    if (slice_equal(what, SLICE("sessions")))
        answer_sessions(office, question, out);
    else if (slice_equal(what, SLICE("end")))
        end_session(office, question, out);
    else if (slice_equal(what, SLICE("group")))
        answer_group(office, question, out);
    else if (slice_equal(what, SLICE("revocations")) && office->revoked)
        revoked_answer(office->revoked, question, out);
    else
        buf_add_text(out, "{\"error\":\"unknown\"}");
}
