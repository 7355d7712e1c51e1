#include "worker/token/revocations.h"

#include "common/address.h"
#include "common/hash.h"
#include "common/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
    JTI_MAX = 128,
    BUCKETS_FIRST = 64,
    SWEEP_PARTS = 64, /* a sweep looks at such a part of the buckets: all, in about a minute */
    NOTE_LINES = 3,
    NUMBER_MAX = 20, /* characters */
};

struct revocations {
    uint8_t key[16];
    struct revocation **buckets; /* NULL until the first entry */
    size_t size;                 /* a power of two */
    size_t swept;                /* the bucket at which the next sweep begins */
    uint32_t count, unsaved, round;
    bool keeps_notes;
};

/* ---- life ---- */

struct revocations *revocations_new(bool keeps_notes)
{
    struct revocations *revocations = calloc(1, sizeof *revocations);

    if (!revocations)
        return NULL;
    token_random(revocations->key, sizeof revocations->key);
    revocations->keeps_notes = keeps_notes;
    return revocations;
}

static void free_entry(void *arg, struct revocation *entry)
{
    (void)arg;
    free(entry);
}

void revocations_free(struct revocations *revocations)
{
    size_t bucket = 0;

    if (!revocations)
        return;
    revocations_walk(revocations, &bucket, revocations->size, free_entry, NULL);
    free(revocations->buckets);
    free(revocations);
}

/* ---- names ---- */

static bool is_jti(struct slice jti)
{
    for (size_t i = 0; i < jti.len; i++)
        if ((unsigned char)jti.data[i] < ' ' || jti.data[i] == 0x7f)
            return false;
    return jti.len >= 1 && jti.len <= JTI_MAX && utf8_valid(jti);
}

bool revocation_what_valid(struct slice what)
{
    struct slice rest = what.len > 4 ? slice_make(what.data + 4, what.len - 4) : SLICE("");

    if (slice_starts(what, SLICE("jti:")))
        return is_jti(rest);
    return slice_starts(what, SLICE("sub:")) && address_may_speak(rest);
}

/* ---- the table ---- */

static struct revocation **bucket_of(const struct revocations *revocations, struct slice what)
{
    uint64_t hash = hash64(revocations->key, what.data, what.len);

    return &revocations->buckets[hash & (revocations->size - 1)];
}

/* The pointer that points to the entry, or to NULL at the end of the bucket. */
static struct revocation **link_to(const struct revocations *revocations, struct slice what)
{
    struct revocation **link = bucket_of(revocations, what);

    while (*link && !slice_equal(revocation_what(*link), what))
        link = &(*link)->next;
    return link;
}

struct revocation *revocations_find(const struct revocations *revocations, struct slice what)
{
    return revocations->count ? *link_to(revocations, what) : NULL;
}

/* A table that cannot grow stays as it is: its buckets get longer. */
static enum err grow_buckets(struct revocations *revocations)
{
    size_t size = revocations->size ? 2 * revocations->size : BUCKETS_FIRST;
    struct revocation **before = revocations->buckets, *entry;
    struct revocation **buckets = calloc(size, sizeof *buckets);
    size_t size_before = revocations->size;

    if (!buckets)
        return size_before ? OK : ERR_NOMEM;
    revocations->buckets = buckets;
    revocations->size = size;
    revocations->swept = 0;
    for (size_t i = 0; i < size_before; i++) {
        while ((entry = before[i])) {
            struct revocation **bucket = bucket_of(revocations, revocation_what(entry));
            before[i] = entry->next;
            entry->next = *bucket;
            *bucket = entry;
        }
    }
    free(before);
    return OK;
}

static struct revocation *make_entry(const struct revocations *revocations,
                                     const struct revocation_news *news)
{
    size_t note_len = revocations->keeps_notes ? news->note.len : 0;
    struct revocation *entry = calloc(1, sizeof *entry + news->what.len + note_len + 2);

    if (!entry)
        return NULL;
    entry->version = news->version;
    entry->until = news->until;
    entry->before = news->before;
    entry->round = revocations->round;
    entry->what_len = (uint16_t)news->what.len;
    entry->note_len = (uint16_t)note_len;
    memcpy(entry->text, news->what.data, news->what.len);
    if (note_len)
        memcpy(entry->text + entry->what_len + 1, news->note.data, note_len);
    return entry;
}

static void take_out(struct revocations *revocations, struct revocation **link)
{
    struct revocation *entry = *link;

    *link = entry->next;
    revocations->count--;
    revocations->unsaved -= entry->version == 0;
    free(entry);
}

enum err revocations_put(struct revocations *revocations, const struct revocation_news *news,
                         struct revocation **entry)
{
    struct revocation *made, **link;

    if (news->what.len > REVOCATION_WHAT_MAX || news->note.len > REVOCATION_NOTE_MAX)
        return ERR_BAD;
    if (revocations->count >= revocations->size && grow_buckets(revocations))
        return ERR_NOMEM;
    link = link_to(revocations, news->what);
    if (!*link && revocations->count == REVOCATIONS_MAX)
        return ERR_FULL;
    made = make_entry(revocations, news);
    if (!made)
        return ERR_NOMEM;
    if (*link) {
        made->passed_over = (*link)->passed_over;
        take_out(revocations, link);
    }
    made->next = *link;
    *link = made;
    revocations->count++;
    revocations->unsaved += made->version == 0;
    if (entry)
        *entry = made;
    return OK;
}

bool revocations_remove(struct revocations *revocations, struct slice what)
{
    struct revocation **link;

    if (!revocations->count)
        return false;
    link = link_to(revocations, what);
    if (!*link)
        return false;
    take_out(revocations, link);
    return true;
}

size_t revocations_size(const struct revocations *revocations)
{
    return revocations->size;
}

uint32_t revocations_count(const struct revocations *revocations)
{
    return revocations ? revocations->count : 0;
}

uint32_t revocations_unsaved(const struct revocations *revocations)
{
    return revocations ? revocations->unsaved : 0;
}

void revocations_set_version(struct revocations *revocations, struct revocation *entry,
                             uint64_t version)
{
    revocations->unsaved -= entry->version == 0;
    entry->version = version;
    revocations->unsaved += version == 0;
}

static void forget_version(void *arg, struct revocation *entry)
{
    revocations_set_version(arg, entry, 0);
}

void revocations_forget_versions(struct revocations *revocations)
{
    size_t bucket = 0;

    revocations_walk(revocations, &bucket, revocations->size, forget_version, revocations);
}

/* ---- is it revoked? ---- */

static bool is_hit(const struct revocations *revocations, const char *kind, struct slice name,
                   int64_t issued_at, int64_t now_s)
{
    char what[REVOCATION_WHAT_MAX];
    struct revocation *entry;

    if (!name.len || name.len > sizeof what - 4)
        return false;
    memcpy(what, kind, 4);
    memcpy(what + 4, name.data, name.len);
    entry = *link_to(revocations, slice_make(what, name.len + 4));
    return entry && now_s < entry->until &&
           (issued_at < entry->before || entry->before == INT64_MAX);
}

bool revocations_hit_sub(const struct revocations *revocations, struct slice sub, int64_t issued_at,
                         int64_t now_s)
{
    return revocations && revocations->count && is_hit(revocations, "sub:", sub, issued_at, now_s);
}

bool revocations_hit(const struct revocations *revocations, const struct grant *grant,
                     int64_t now_s)
{
    if (!revocations || !revocations->count)
        return false;
    return is_hit(revocations, "jti:", slice_of(grant->jti), INT64_MIN, now_s) ||
           is_hit(revocations, "sub:", slice_make(grant->sub, grant->sub_len), grant->issued_at,
                  now_s);
}

/* ---- all of them ---- */

bool revocations_walk(struct revocations *revocations, size_t *bucket, size_t count,
                      void (*visit)(void *arg, struct revocation *entry), void *arg)
{
    struct revocation *entry, *next;

    for (; count && *bucket < revocations->size; count--, ++*bucket)
        for (entry = revocations->buckets[*bucket]; entry; entry = next) {
            next = entry->next;
            visit(arg, entry);
        }
    return *bucket < revocations->size;
}

void revocations_begin_round(struct revocations *revocations)
{
    revocations->round++;
}

static void remove_unseen(void *arg, struct revocation *entry)
{
    struct revocations *revocations = arg;

    if (entry->round != revocations->round && entry->version)
        revocations_remove(revocations, revocation_what(entry));
}

void revocations_end_round(struct revocations *revocations)
{
    size_t bucket = 0;

    revocations_walk(revocations, &bucket, revocations->size, remove_unseen, revocations);
}

struct sweep {
    struct revocations *revocations;
    int64_t now_s;
};

static void remove_ended(void *arg, struct revocation *entry)
{
    const struct sweep *sweep = arg;

    if (entry->until && entry->until <= sweep->now_s)
        revocations_remove(sweep->revocations, revocation_what(entry));
}

void revocations_sweep(struct revocations *revocations, int64_t now_s)
{
    struct sweep sweep = { revocations, now_s };

    if (!revocations->count)
        return;
    if (!revocations_walk(revocations, &revocations->swept, revocations->size / SWEEP_PARTS + 1,
                          remove_ended, &sweep))
        revocations->swept = 0;
}

static int compare_names(struct slice a, struct slice b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* Where in the sorted entries does the name belong? */
static size_t place_of(struct revocation *const *entries, size_t count, struct slice what)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare_names(revocation_what(entries[middle]), what) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t list_entry(struct revocation **entries, size_t count, size_t limit,
                         struct revocation *entry)
{
    size_t place = place_of(entries, count, revocation_what(entry));

    if (place == limit)
        return count;
    count += count < limit;
    memmove(entries + place + 1, entries + place,
            (count - place - 1) * sizeof(struct revocation *));
    entries[place] = entry;
    return count;
}

size_t revocations_list(const struct revocations *revocations, struct slice after, int64_t now_s,
                        struct revocation **entries, size_t limit)
{
    size_t count = 0;

    for (size_t i = 0; limit && i < revocations->size; i++)
        for (struct revocation *entry = revocations->buckets[i]; entry; entry = entry->next)
            if (entry->until > now_s && compare_names(revocation_what(entry), after) > 0)
                count = list_entry(entries, count, limit, entry);
    return count;
}

/* ---- as text ---- */

static void write_number(struct buf *out, int64_t number)
{
    buf_add_int(out, number == INT64_MAX ? -1 : number);
}

void revocation_write(struct buf *out, const struct revocation_news *news)
{
    buf_add_int(out, (int64_t)news->version);
    buf_add_char(out, ' ');
    write_number(out, news->until);
    buf_add_char(out, ' ');
    write_number(out, news->before);
    buf_add_char(out, '\n');
    buf_add_slice(out, news->what);
    buf_add_char(out, '\n');
    if (news->note.len)
        buf_add_slice(out, news->note);
    else
        buf_add_text(out, "\n\n");
    buf_add_char(out, '\n');
}

struct slice revocation_line(struct slice *text)
{
    const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
    struct slice line = slice_make(text->data, end ? (size_t)(end - text->data) : text->len);

    *text = end ? slice_make(end + 1, text->len - line.len - 1) : SLICE("");
    return line;
}

bool revocation_number(struct slice text, int64_t *number)
{
    *number = 0;
    if (slice_equal(text, SLICE("-1"))) {
        *number = INT64_MAX;
        return true;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || *number > INT64_MAX / 10 - 1)
            return false;
        *number = *number * 10 + (text.data[i] - '0');
    }
    return text.len > 0;
}

static struct slice take_word(struct slice *line)
{
    const char *end = line->len ? memchr(line->data, ' ', line->len) : NULL;
    struct slice word = slice_make(line->data, end ? (size_t)(end - line->data) : line->len);

    *line = end ? slice_make(end + 1, line->len - word.len - 1) : SLICE("");
    return word;
}

static bool read_numbers(struct slice line, struct revocation_news *news)
{
    struct slice version = take_word(&line), until = take_word(&line);
    int64_t number;

    if (!revocation_number(version, &number) || !revocation_number(until, &news->until) ||
        !revocation_number(line, &news->before))
        return false;
    news->version = (uint64_t)number;
    return true;
}

bool revocation_read(struct slice *text, struct revocation_news *news)
{
    struct slice numbers = revocation_line(text);
    const char *note;

    news->what = revocation_line(text);
    note = text->data;
    for (int i = 0; i < NOTE_LINES; i++) {
        if (!text->len || !memchr(text->data, '\n', text->len))
            return false;
        news->note = revocation_line(text);
    }
    news->note = slice_make(note, (size_t)(news->note.data + news->note.len - note));
    return news->note.len <= REVOCATION_NOTE_MAX && read_numbers(numbers, news) &&
           revocation_what_valid(news->what);
}
