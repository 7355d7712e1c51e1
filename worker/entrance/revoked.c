#include "worker/entrance/revoked.h"

#include "common/log.h"
#include "shm/slots.h"
#include "worker/mailbox/mailbox_revoked.h"
#include "worker/reach/inquiry.h"
#include "worker/session/session.h"
#include "worker/token/token_memory.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    REFRESH_BEATS = 5,
    LOOK_STEP = 4096,     /* sessions that a turn looks at */
    ANSWER_MS = 300,      /* for one process of the host to answer */
    AROUND_MS = 3000,     /* for all of them */
    ENTRY_ROOM = 4 << 10, /* kept free in an answer: for the entries of one bucket */
};

enum around { AROUND_NOT_ASKED, AROUND_ASKING, AROUND_DONE };
enum source { FROM_CLERK, FROM_REDIS, FROM_WORKER };

struct revoked {
    struct office *office;
    struct revocations *table;
    void (*on_known)(void *arg);
    void *arg;
    bool is_clerk;

    uint64_t version;   /* of Redis, up to which all is known */
    uint64_t lost_at;   /* what was known when Redis lost data */
    uint64_t reload_at; /* while all is read anew: the version up to which that is done */
    bool asking, ask_again, reloading, known;
    uint32_t beats;

    uint32_t look_at, look_left; /* sessions to look at */

    enum around around;
    uint64_t around_until_ms, answer_until_ms, number;
    uint32_t candidate; /* slots, the clerks' first and then the others' */
    char cursor[48];    /* where the process that is asked goes on; "" at the beginning */
};

struct revoked *revoked_new(struct office *office, bool is_clerk, void (*known)(void *arg),
                            void *arg)
{
    struct revoked *revoked = calloc(1, sizeof *revoked);

    if (!revoked)
        return NULL;
    revoked->office = office;
    revoked->is_clerk = is_clerk;
    revoked->on_known = known;
    revoked->arg = arg;
    revoked->table = revocations_new(is_clerk);
    if (!revoked->table) {
        free(revoked);
        return NULL;
    }
    office->revocations = revoked->table;
    token_memory_watch(office->tokens, revoked->table);
    return revoked;
}

void revoked_free(struct revoked *revoked)
{
    if (!revoked)
        return;
    token_memory_watch(revoked->office->tokens, NULL);
    revoked->office->revocations = NULL;
    revocations_free(revoked->table);
    free(revoked);
}

bool revoked_is_known(const struct revoked *revoked)
{
    return revoked->known;
}

uint64_t revoked_version(const struct revoked *revoked)
{
    return revoked->version > revoked->lost_at ? revoked->version : revoked->lost_at;
}

static void become_known(struct revoked *revoked)
{
    if (revoked->known)
        return;
    revoked->known = true;
    revoked->on_known(revoked->arg);
}

/* ---- sessions ---- */

static void look_at_sessions(struct revoked *revoked)
{
    revoked->look_left = revoked->office->session_used;
    loop_again(revoked->office->loop);
}

void revoked_turn(struct revoked *revoked)
{
    struct office *office = revoked->office;
    uint32_t count = revoked->look_left < LOOK_STEP ? revoked->look_left : LOOK_STEP;

    revoked->look_left -= count;
    for (; count; count--) {
        uint32_t index = revoked->look_at++;
        if (index >= office->session_used) {
            revoked->look_at = 1;
            index = 0;
        }
        if (index < office->session_used && office->sessions[index])
            session_end_if_revoked(office->sessions[index]);
    }
    if (revoked->look_left)
        loop_again(office->loop);
}

/* ---- changes ---- */

/* Is the news older than what is known? */
static bool is_stale(const struct revoked *revoked, const struct revocation *entry,
                     const struct revocation_news *news, enum source source)
{
    if (source == FROM_WORKER && entry->version)
        return true;
    if (source == FROM_REDIS && revoked->is_clerk && entry->version == 0 &&
        news->version <= revoked->lost_at)
        return true; /* from before the loss; Redis learns of the entry again */
    return news->version && entry->version > news->version;
}

/* A frame of another host, or the answer of another process, can come behind what Redis has told
 * meanwhile. The version of such news is known here; where no entry is left, a later change took
 * the entry back, and the news must not bring the entry again: no later change would ever remove
 * it. */
static bool is_undone(const struct revoked *revoked, const struct revocation_news *news,
                      enum source source)
{
    return source != FROM_REDIS && news->version && news->version <= revoked->version;
}

static enum err put_news(struct revoked *revoked, const struct revocation_news *news)
{
    enum err err = revocations_put(revoked->table, news, NULL);

    if (err) {
        stats_add(revoked->office->stats, STAT_out_of_memory, 1);
        log_rarely(LOG_ERROR, "", "revocation_dropped", "reason=\"%s\"",
                   err == ERR_FULL ? "too many" : "no memory");
    } else if (news->until) {
        look_at_sessions(revoked);
    }
    return err;
}

static void take_news(struct revoked *revoked, const struct revocation_news *news,
                      enum source source)
{
    struct revocation *entry = revocations_find(revoked->table, news->what);

    if (entry && entry->is_ours) {
        if (news->version > entry->passed_over)
            entry->passed_over = news->version;
        return;
    }
    if (entry ? is_stale(revoked, entry, news, source) : is_undone(revoked, news, source))
        return;
    if (news->until == 0)
        revocations_remove(revoked->table, news->what);
    else
        put_news(revoked, news);
}

enum err revoked_change(struct revoked *revoked, const struct revocation_news *news)
{
    enum err err = put_news(revoked, news);

    if (!err)
        revocations_find(revoked->table, news->what)->is_ours = true;
    return err;
}

void revoked_read_again(struct revoked *revoked, uint64_t version)
{
    if (version < revoked->version)
        revoked->version = version;
    revoked_refresh(revoked);
}

void revoked_changed(struct revoked *revoked, uint64_t version)
{
    if (version == revoked->version + 1 && !revoked->asking)
        revoked->version = version;
    else if (version > revoked->version)
        revoked_refresh(revoked);
}

void revoked_heard(struct revoked *revoked, struct slice text)
{
    struct revocation_news news;

    while (text.len && revocation_read(&text, &news)) {
        take_news(revoked, &news, FROM_CLERK);
        if (news.version)
            revoked_changed(revoked, news.version);
    }
}

/* ---- Redis ---- */

/* A value in Redis is "UNTIL BEFORE\nNOTE"; an empty one says that the entry was taken back. */
static bool read_value(const struct mailbox_revoked_entry *entry, struct revocation_news *news)
{
    struct slice rest = entry->value, numbers = revocation_line(&rest);
    const char *blank = numbers.len ? memchr(numbers.data, ' ', numbers.len) : NULL;
    size_t len = blank ? (size_t)(blank - numbers.data) : 0;

    *news = (struct revocation_news){ .version = entry->version, .what = entry->what };
    if (entry->value.len == 0)
        return true;
    news->note = rest.len <= REVOCATION_NOTE_MAX ? rest : SLICE("");
    return blank && revocation_what_valid(entry->what) &&
           revocation_number(slice_make(numbers.data, len), &news->until) &&
           revocation_number(slice_make(blank + 1, numbers.len - len - 1), &news->before);
}

static void take_page(struct revoked *revoked, const struct mailbox_revoked_page *page)
{
    uint64_t *at = revoked->reloading ? &revoked->reload_at : &revoked->version;
    struct revocation_news news;

    for (size_t i = 0; i < page->count; i++) {
        if (read_value(&page->entries[i], &news))
            take_news(revoked, &news, FROM_REDIS);
        if (page->entries[i].version > *at)
            *at = page->entries[i].version;
    }
    if (page->has_more)
        return;
    if (revoked->reloading)
        revocations_end_round(revoked->table);
    revoked->reloading = false;
    if (page->version > revoked->version)
        revoked->version = page->version;
}

static void begin_reload(struct revoked *revoked)
{
    revoked->reloading = true;
    revoked->reload_at = 0;
    revocations_begin_round(revoked->table);
}

/* Redis has lost data. The entries stay, as if Redis had never had them. */
static void forget_redis(struct revoked *revoked)
{
    if (revoked->version > revoked->lost_at)
        revoked->lost_at = revoked->version;
    revocations_forget_versions(revoked->table);
    revoked->version = 0;
    revoked->reloading = false;
}

static void on_page(void *arg, const struct mailbox_revoked_page *page)
{
    struct revoked *revoked = arg;
    bool again = revoked->ask_again;

    revoked->asking = revoked->ask_again = false;
    if (revoked->office->closed)
        return;
    if (!page->ok) {
        /* Without Redis there is another beginning; a Redis that refuses is for people to mend. */
        revoked->reloading = false;
        if (mailbox_is_up(revoked->office->mailbox)) {
            log_rarely(LOG_WARN, "", "revocations_unread", "reason=\"Redis refused\"");
            become_known(revoked);
        }
        return;
    }
    if (page->version < revoked->version) {
        forget_redis(revoked);
        again = true;
    } else if (page->must_reload) {
        begin_reload(revoked);
        again = true;
    } else {
        take_page(revoked, page);
        again |= page->has_more;
    }
    if (again)
        revoked_refresh(revoked);
    else
        become_known(revoked);
}

void revoked_refresh(struct revoked *revoked)
{
    struct mailbox *mailbox = revoked->office->mailbox;
    uint64_t since = revoked->reloading ? revoked->reload_at : revoked->version;

    if (revoked->asking) {
        revoked->ask_again = true;
        return;
    }
    if (!mailbox || !mailbox_is_up(mailbox))
        return;
    revoked->asking = mailbox_revoked(mailbox, since, revoked->reloading, on_page, revoked) == OK;
}

void revoked_redis_up(struct revoked *revoked, bool lost)
{
    if (lost)
        forget_redis(revoked);
    revoked_refresh(revoked);
}

void revoked_beat(struct revoked *revoked)
{
    struct office *office = revoked->office;

    revocations_sweep(revoked->table, loop_unix_s(office->loop));
    stats_set(office->stats, STAT_revocations, revocations_count(revoked->table));
    if (revoked->is_clerk)
        stats_set(office->stats, STAT_revocations_kept, revocations_unsaved(revoked->table));
    if ((revoked->beats++ + office->slot) % REFRESH_BEATS == 0)
        revoked_refresh(revoked);
}

/* ---- other processes of the host ---- */

static bool ask_slot(struct revoked *revoked, uint32_t slot, bool is_clerk)
{
    struct office *office = revoked->office;
    struct worker_view view;
    char place[PLACE_MAX], question[64 + sizeof revoked->cursor];
    size_t len;
    int question_len;

    slot_view(office->region, slot, &view);
    if (!view.incarnation || slot == office->slot || view.is_clerk != is_clerk ||
        (view.state != WORKER_SERVING && view.state != WORKER_DRAINING))
        return false; /* a process that starts knows nothing yet, either */
    len = bus_place(place, office->node, slot, view.incarnation);
    question_len = snprintf(question, sizeof question, "revocations\n%s", revoked->cursor);
    return inquiry_ask(office, slice_make(place, len), ++revoked->number | REVOKED_NUMBER,
                       slice_make(question, (size_t)question_len)) == OK;
}

/* Asks the next process that can be asked, or the same again. */
static void ask_on(struct revoked *revoked)
{
    uint32_t slots = slots_used(revoked->office->region);

    for (; revoked->candidate < 2 * slots; revoked->candidate++)
        if (ask_slot(revoked, revoked->candidate % slots, revoked->candidate < slots)) {
            revoked->answer_until_ms = loop_now_ms(revoked->office->loop) + ANSWER_MS;
            revoked->around = AROUND_ASKING;
            return;
        }
    revoked->around = AROUND_DONE;
}

static void ask_next(struct revoked *revoked)
{
    revoked->candidate++;
    revoked->cursor[0] = 0;
    ask_on(revoked);
}

/* Without a clerk and without Redis nothing is ever revoked so. */
static bool nobody_revokes(const struct office *office)
{
    return !office->mailbox && office->config->admin.listen.count == 0;
}

bool revoked_ask_around(struct revoked *revoked)
{
    uint64_t now_ms = loop_now_ms(revoked->office->loop);

    if (revoked->around == AROUND_NOT_ASKED && nobody_revokes(revoked->office)) {
        revoked->around = AROUND_DONE;
    } else if (revoked->around == AROUND_NOT_ASKED) {
        revoked->around_until_ms = now_ms + AROUND_MS;
        ask_on(revoked);
    } else if (revoked->around == AROUND_ASKING && now_ms >= revoked->around_until_ms) {
        revoked->around = AROUND_DONE;
    } else if (revoked->around == AROUND_ASKING && now_ms >= revoked->answer_until_ms) {
        ask_next(revoked);
    }
    return revoked->around == AROUND_DONE;
}

/* "end", "more CURSOR" or "unknown", and then entries. */
void revoked_told(struct revoked *revoked, uint64_t number, struct slice answer)
{
    struct slice first = revocation_line(&answer);
    struct revocation_news news;

    if (revoked->around != AROUND_ASKING || number != (revoked->number | REVOKED_NUMBER))
        return;
    while (answer.len && revocation_read(&answer, &news))
        take_news(revoked, &news, FROM_WORKER);
    if (slice_equal(first, SLICE("end"))) {
        revoked->around = AROUND_DONE;
    } else if (slice_starts(first, SLICE("more ")) && first.len - 5 < sizeof revoked->cursor) {
        memcpy(revoked->cursor, first.data + 5, first.len - 5);
        revoked->cursor[first.len - 5] = 0;
        ask_on(revoked);
    } else {
        ask_next(revoked);
    }
    if (revoked->around == AROUND_DONE)
        revoked->on_known(revoked->arg);
}

static void write_entry(void *arg, struct revocation *entry)
{
    if (entry->until)
        revocation_write(arg, &(struct revocation_news){ .version = entry->version,
                                                         .until = entry->until,
                                                         .before = entry->before,
                                                         .what = revocation_what(entry) });
}

/* "SIZE BUCKET": where to go on in a table of that size; a table that has grown begins again. */
static size_t read_cursor(struct slice cursor, size_t size)
{
    const char *blank = cursor.len ? memchr(cursor.data, ' ', cursor.len) : NULL;
    size_t len = blank ? (size_t)(blank - cursor.data) : 0;
    int64_t size_before, bucket;

    if (!blank || !revocation_number(slice_make(cursor.data, len), &size_before) ||
        !revocation_number(slice_make(blank + 1, cursor.len - len - 1), &bucket))
        return 0;
    return (size_t)size_before == size ? (size_t)bucket : 0;
}

void revoked_answer(struct revoked *revoked, struct slice cursor, struct buf *out)
{
    size_t size = revocations_size(revoked->table), bucket = read_cursor(cursor, size);
    struct buf entries;
    bool more = true;

    if (!revoked->known && revoked->around != AROUND_DONE) {
        buf_add_text(out, "unknown\n");
        return;
    }
    buf_init(&entries, BUS_INQUIRY_BYTES_MAX);
    while (more && entries.len + ENTRY_ROOM < BUS_INQUIRY_BYTES_MAX)
        more = revocations_walk(revoked->table, &bucket, 1, write_entry, &entries);
    if (more)
        buf_addf(out, "more %zu %zu\n", size, bucket);
    else
        buf_add_text(out, "end\n");
    buf_add_slice(out, buf_slice(&entries));
    out->failed |= entries.failed;
    buf_fini(&entries);
}
