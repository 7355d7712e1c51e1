/*
 * GET, PUT and DELETE /api/v1/revocations: tokens and addresses that are kept out (docs/admin.md).
 *
 * A change counts on this host at once: the clerk enters the change in its own table and tells the
 * workers by rings, before Redis is asked. A change that Redis has stored has a version, and goes
 * to the workers of all hosts. An entry that Redis has not stored has the version 0 in the table,
 * and is written again and again; an entry that was taken back stays so long, with an end of 0.
 *
 * The table and the way to it are worker/entrance/revoked.h.
 */
#include "worker/clerk/clerk_parts.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/utf8.h"
#include "shm/slots.h"
#include "worker/entrance/revoked.h"
#include "worker/mailbox/mailbox_revoked.h"
#include "worker/reach/inquiry.h"
#include "worker/reach/nodes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    REASON_MAX = 256,
    ENTRY_BYTES_MAX = 2048,
    LIMIT = 100,
    LIMIT_MAX = 500,
    ANSWER_MAX = 4 << 20,
    SAVING_MAX = 256,   /* on the way to Redis at a time */
    SAVING_STEP = 4096, /* buckets a turn */
    SAVING_PAUSE_MS = 1000,
};

/* The last second of the year 9999: a later time is one in milliseconds. */
#define TIME_MAX INT64_C(253402300799)

/* A change on its way to Redis, and who waits for it. */
struct changing {
    struct clerk *clerk;
    struct web_request *request; /* NULL: nobody */
    bool was_known;              /* of one that is taken back */
    struct revocation_news news; /* points into text */
    char text[];
};

static struct revocations *table_of(const struct clerk *clerk)
{
    return clerk->office->revocations;
}

static int64_t now_s(const struct clerk *clerk)
{
    return loop_unix_s(clerk->office->loop);
}

static void answer_bad(const struct clerk_call *call, const char *detail)
{
    clerk_answer_problem(call->request, 400, "bad-field", detail);
}

/* The entry of this name that is in force; NULL: there is none. */
static struct revocation *find_in_force(const struct clerk *clerk, struct slice what)
{
    struct revocation *entry = revocations_find(table_of(clerk), what);

    return entry && entry->until > now_s(clerk) ? entry : NULL;
}

/* ---- telling the workers ---- */

static void tell_host(struct office *office, struct slice text)
{
    struct worker_view view;
    char place[PLACE_MAX];

    for (uint32_t slot = 0; slot < slots_used(office->region); slot++) {
        slot_view(office->region, slot, &view);
        if (view.incarnation && slot != office->slot)
            inquiry_revoked(
                office, slice_make(place, bus_place(place, office->node, slot, view.incarnation)),
                text);
    }
}

/* A frame that is lost shows by the version that comes next, and by the beat. */
static void tell_workers(struct clerk *clerk, const struct revocation_news *news)
{
    struct office *office = clerk->office;
    struct slice place;
    struct buf text;

    buf_init(&text, ENTRY_BYTES_MAX);
    revocation_write(&text, news);
    if (!text.failed) {
        tell_host(office, buf_slice(&text));
        for (uint32_t i = 0; news->version && (place = nodes_place(office->nodes, i)).data; i++)
            inquiry_revoked(office, place, buf_slice(&text));
    }
    buf_fini(&text);
}

/* ---- Redis ---- */

static struct changing *changing_new(struct clerk *clerk, struct web_request *request,
                                     const struct revocation_news *news)
{
    struct changing *changing = calloc(1, sizeof *changing + news->what.len + news->note.len + 1);

    if (!changing)
        return NULL;
    changing->clerk = clerk;
    changing->request = request;
    changing->news = *news;
    memcpy(changing->text, news->what.data, news->what.len);
    changing->news.what.data = changing->text;
    if (news->note.len)
        memcpy(changing->text + news->what.len, news->note.data, news->note.len);
    changing->news.note.data = changing->text + news->what.len;
    return changing;
}

static void answer_unsaved(struct web_request *request)
{
    struct buf out;

    buf_init(&out, 64);
    buf_add_text(&out, "{\"stored\":false}\n");
    clerk_answer_json(request, 202, &out);
    buf_fini(&out);
}

static void answer_full(struct clerk *clerk, struct web_request *request)
{
    stats_add(clerk->office->stats, STAT_revocations_full, 1);
    clerk_answer_problem(request, 507, "revocations-full",
                         "admin.revocations are in force: take some back, or raise the key");
}

/* Redis has this change. The entry may be a newer one meanwhile, whose own answer comes later. */
static void note_saved(struct changing *changing, struct revocation *entry)
{
    struct clerk *clerk = changing->clerk;

    if (entry && entry->until == 0 && changing->news.until == 0)
        revocations_remove(table_of(clerk), changing->news.what);
    else if (entry)
        revocations_set_version(table_of(clerk), entry, changing->news.version);
    tell_workers(clerk, &changing->news);
    revoked_changed(clerk->office->revoked, changing->news.version);
}

/* Redis has no room for the entry, which no request knew of a moment ago. */
static void take_back(struct changing *changing, struct revocation *entry)
{
    struct revocation_news gone = { .what = changing->news.what };

    if (!entry || !changing->request)
        return;
    revocations_remove(table_of(changing->clerk), changing->news.what);
    tell_workers(changing->clerk, &gone);
}

static void note_refused(struct changing *changing, struct revocation *entry)
{
    if (changing->news.until)
        take_back(changing, entry);
    else if (entry && entry->until == 0)
        revocations_remove(table_of(changing->clerk), changing->news.what);
}

static void answer_change(const struct changing *changing, bool ok)
{
    struct web_request *request = changing->request;
    bool is_put = changing->news.until != 0;

    if (ok && (changing->news.version || (!is_put && changing->was_known)))
        web_answer(request, &(struct web_answer){ .status = 204 });
    else if (ok && is_put)
        answer_full(changing->clerk, request);
    else if (is_put || changing->was_known)
        answer_unsaved(request);
    else if (ok)
        clerk_answer_problem(request, 404, "not-found", "there is no such revocation");
    else
        clerk_answer_problem(request, 503, "storage-unavailable",
                             "Redis is away, and there is no such revocation here");
}

static void on_saved(void *arg, bool ok, uint64_t version)
{
    struct changing *changing = arg;
    struct clerk *clerk = changing->clerk;
    struct revocation *entry = revocations_find(table_of(clerk), changing->news.what);

    changing->news.version = version;
    if (entry)
        entry->is_leaving = false;
    if (ok && version)
        note_saved(changing, entry);
    else if (ok)
        note_refused(changing, entry);
    else if (entry)
        revocations_set_version(table_of(clerk), entry, 0);
    if (changing->request)
        answer_change(changing, ok);
    else
        clerk->saving.leaving--;
    free(changing);
}

/* Sends the change to Redis. An error: on_saved is not called, and changing is the caller's. */
static enum err save(struct changing *changing)
{
    struct clerk *clerk = changing->clerk;
    struct mailbox *mailbox = clerk->office->mailbox;
    const struct revocation_news *news = &changing->news;
    struct revocation *entry = revocations_find(table_of(clerk), news->what);
    struct mailbox_revoke revoke = {
        .what = news->what,
        .ends_at = news->until == REVOCATION_FOR_EVER ? 0 : news->until,
        .max = clerk->office->config->admin.revocations,
        .known = revoked_version(clerk->office->revoked),
    };
    struct buf value;
    enum err err;

    if (!mailbox || !mailbox_is_up(mailbox))
        return ERR_DOWN;
    buf_init(&value, ENTRY_BYTES_MAX);
    if (news->until) {
        buf_addf(&value, "%" PRId64 " %" PRId64 "\n", news->until == INT64_MAX ? -1 : news->until,
                 news->before == INT64_MAX ? -1 : news->before);
        buf_add_slice(&value, news->note);
    }
    revoke.value = buf_slice(&value);
    err = value.failed ? ERR_NOMEM : mailbox_revoke(mailbox, &revoke, on_saved, changing);
    buf_fini(&value);
    if (!err && entry)
        entry->is_leaving = true;
    return err;
}

/* ---- what Redis does not have yet ---- */

static void save_entry(void *arg, struct revocation *entry)
{
    struct clerk *clerk = arg;
    struct revocation_news news = { .until = entry->until,
                                    .before = entry->before,
                                    .what = revocation_what(entry),
                                    .note = revocation_note(entry) };
    struct changing *changing;

    if (entry->version || entry->is_leaving || (entry->until && entry->until <= now_s(clerk)))
        return;
    changing = changing_new(clerk, NULL, &news);
    if (!changing || save(changing))
        free(changing);
    else
        clerk->saving.leaving++;
}

void clerk_revocations_turn(struct clerk *clerk)
{
    struct saving *saving = &clerk->saving;
    struct office *office = clerk->office;
    uint64_t now_ms = loop_now_ms(office->loop);
    bool more = true;

    if (!revocations_unsaved(table_of(clerk)) || !office->mailbox ||
        !mailbox_is_up(office->mailbox))
        return;
    if (!saving->walking && now_ms < saving->next_ms)
        return;
    if (!saving->walking)
        saving->bucket = 0;
    for (int i = 0; more && i < SAVING_STEP && saving->leaving < SAVING_MAX; i++)
        more = revocations_walk(table_of(clerk), &saving->bucket, 1, save_entry, clerk);
    saving->walking = more;
    saving->next_ms = now_ms + SAVING_PAUSE_MS;
    if (more && saving->leaving < SAVING_MAX)
        loop_again(office->loop);
}

/* ---- PUT ---- */

struct wanted {
    int64_t until, before;
    char reason[REASON_MAX + 1];
    size_t reason_len;
    const char *wrong; /* NULL: nothing */
};

static void take_reason(struct wanted *wanted, const struct json_value *value)
{
    static const char wrong[] = "reason: text of at most 256 bytes without control characters";

    /* A character takes at most six bytes as an escape. */
    char text[6 * REASON_MAX + 2];
    size_t len = 0;

    if (value->type == JSON_STRING && value->text.len <= sizeof text)
        len = json_unescape(value, text);
    else
        wanted->wrong = wrong;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            wanted->wrong = wrong;
    if (len > REASON_MAX)
        wanted->wrong = wrong;
    if (wanted->wrong)
        return;
    memcpy(wanted->reason, text, len);
    wanted->reason_len = len;
}

static void take_member(void *arg, const struct json_member *member)
{
    struct wanted *wanted = arg;
    int64_t number;

    if (json_key_equal(&member->key, SLICE("reason"))) {
        take_reason(wanted, &member->value);
    } else if (json_key_equal(&member->key, SLICE("until"))) {
        if (!json_int(&member->value, &number) || number < 1 || number > TIME_MAX)
            wanted->wrong = "until: a time in Unix seconds";
        else
            wanted->until = number;
    } else if (json_key_equal(&member->key, SLICE("before"))) {
        if (!json_int(&member->value, &number) || number < 1 || number > TIME_MAX)
            wanted->wrong = "before: a time in Unix seconds";
        else
            wanted->before = number;
    } else {
        wanted->wrong = "the members are until, before and reason";
    }
}

/* Reads the body; an empty one is {}. False: answered. */
static bool read_body(const struct clerk_call *call, struct wanted *wanted)
{
    struct slice body = call->request->body;
    struct json_value value;
    struct json_fault fault;
    bool is_jti = slice_starts(slice_of(call->params->text[0]), SLICE("jti:"));

    *wanted = (struct wanted){ .until = REVOCATION_FOR_EVER, .before = INT64_MAX };
    if (body.len &&
        (!utf8_valid(body) || json_check_members(body, 2, &value, &fault, take_member, wanted) ||
         value.type != JSON_OBJECT))
        wanted->wrong = "the body is a JSON object, or empty";
    else if (!wanted->wrong && wanted->until <= now_s(call->clerk))
        wanted->wrong = "until: a time that has not come yet, in Unix seconds";
    else if (!wanted->wrong && is_jti && wanted->before != INT64_MAX)
        wanted->wrong = "before: only of an address";
    if (wanted->wrong)
        answer_bad(call, wanted->wrong);
    return !wanted->wrong;
}

/* The name of the path. False: answered. */
static bool take_what(const struct clerk_call *call, struct slice *what)
{
    *what = slice_of(call->params->text[0]);
    if (revocation_what_valid(*what))
        return true;
    answer_bad(call, "a revocation is jti:ID or sub:ADDRESS, percent-encoded");
    return false;
}

/* Enters the change here, tells the host, and sends it to Redis. */
static void change(const struct clerk_call *call, const struct revocation_news *news,
                   bool was_known)
{
    struct clerk *clerk = call->clerk;
    struct changing *changing = changing_new(clerk, call->request, news);
    bool is_entered = news->until || was_known;

    if (!changing || (is_entered && revoked_change(clerk->office->revoked, news))) {
        free(changing);
        clerk_answer_problem(call->request, 503, "internal", "out of memory");
        return;
    }
    changing->was_known = was_known;
    if (is_entered) {
        clerk_log_change(call, news->until ? "revocation_put" : "revocation_delete",
                         call->params->text[0]);
        tell_workers(clerk, news);
    }
    if (!save(changing))
        return;
    answer_change(changing, false);
    free(changing);
}

void clerk_revocation_put(const struct clerk_call *call)
{
    struct clerk *clerk = call->clerk;
    char note[REVOCATION_NOTE_MAX + 1];
    struct revocation_news news = { 0 };
    struct wanted wanted;
    int len;

    if (!take_what(call, &news.what) || !read_body(call, &wanted))
        return;
    if (!revocations_find(table_of(clerk), news.what) &&
        revocations_count(table_of(clerk)) >= clerk->office->config->admin.revocations) {
        answer_full(clerk, call->request);
        return;
    }
    len = snprintf(note, sizeof note, "%" PRId64 "\n%.255s\n%.*s", now_s(clerk), clerk_caller(call),
                   (int)wanted.reason_len, wanted.reason);
    news.until = wanted.until;
    news.before = wanted.before;
    news.note = slice_make(note, (size_t)len);
    change(call, &news, false);
}

void clerk_revocation_delete(const struct clerk_call *call)
{
    struct revocation_news news = { 0 };

    if (take_what(call, &news.what))
        change(call, &news, find_in_force(call->clerk, news.what) != NULL);
}

/* ---- GET ---- */

static void add_time(struct buf *out, const char *name, int64_t time)
{
    if (time != INT64_MAX)
        buf_addf(out, ",\"%s\":%" PRId64, name, time);
}

static void add_entry(struct buf *out, const struct revocation *entry)
{
    struct slice note = revocation_note(entry), since = revocation_line(&note);
    struct slice by = revocation_line(&note);
    int64_t time;

    buf_add_text(out, "{\"what\":");
    json_add_string(out, revocation_what(entry));
    add_time(out, "until", entry->until);
    add_time(out, "before", entry->before);
    if (revocation_number(since, &time))
        add_time(out, "since", time);
    if (by.len && utf8_valid(by)) {
        buf_add_text(out, ",\"by\":");
        json_add_string(out, by);
    }
    if (note.len && utf8_valid(note)) {
        buf_add_text(out, ",\"reason\":");
        json_add_string(out, note);
    }
    buf_addf(out, ",\"stored\":%s}", entry->version ? "true" : "false");
}

void clerk_revocation_get(const struct clerk_call *call)
{
    struct revocation *entry;
    struct slice what;
    struct buf out;

    if (!take_what(call, &what))
        return;
    entry = find_in_force(call->clerk, what);
    if (!entry) {
        clerk_answer_problem(call->request, 404, "not-found", "there is no such revocation");
        return;
    }
    buf_init(&out, (size_t)2 * ENTRY_BYTES_MAX);
    add_entry(&out, entry);
    buf_add_char(&out, '\n');
    clerk_answer_json(call->request, 200, &out);
    buf_fini(&out);
}

static const char *redis_text(const struct mailbox *mailbox)
{
    return !mailbox ? "none" : mailbox_is_up(mailbox) ? "up" : "away";
}

static void answer_page(const struct clerk_call *call, struct revocation **entries, size_t count,
                        size_t limit)
{
    struct buf out;

    buf_init(&out, ANSWER_MAX);
    buf_addf(&out, "{\"count\":%u,\"redis\":\"%s\",\"revocations\":[",
             revocations_count(table_of(call->clerk)), redis_text(call->clerk->office->mailbox));
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_add_char(&out, ',');
        add_entry(&out, entries[i]);
    }
    buf_add_char(&out, ']');
    if (count == limit) {
        buf_add_text(&out, ",\"cursor\":");
        json_add_string(&out, revocation_what(entries[count - 1]));
    }
    buf_add_text(&out, "}\n");
    clerk_answer_json(call->request, 200, &out);
    buf_fini(&out);
}

void clerk_revocations_get(const struct clerk_call *call)
{
    struct revocation *entries[LIMIT_MAX];
    char cursor[CLERK_PARAM_MAX], limit_text[CLERK_PARAM_MAX];
    bool bad_cursor, bad_limit;
    int64_t limit = LIMIT;
    size_t count;

    clerk_query(call->request, "cursor", cursor, &bad_cursor);
    if (clerk_query(call->request, "limit", limit_text, &bad_limit))
        bad_limit = !revocation_number(slice_of(limit_text), &limit);
    if (bad_cursor || bad_limit || limit < 1 || limit > LIMIT_MAX) {
        answer_bad(call, "cursor: text, limit: a number from 1 to 500, once each");
        return;
    }
    count = revocations_list(table_of(call->clerk), slice_of(cursor), now_s(call->clerk), entries,
                             (size_t)limit);
    answer_page(call, entries, count, (size_t)limit);
}
