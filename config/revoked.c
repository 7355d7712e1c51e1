/*
 * The revocation list: the file that auth.revoked names, one revocation a line.
 *
 *     JTI                            the token with this jti
 *     "JTI"                          the same, for a jti with blanks, or that begins with "sub:"
 *     sub:ADDRESS                    every token of this address
 *     sub:ADDRESS before:TIME        those that were issued before TIME, or do not say when
 *
 * A '#' at the beginning of a line or behind a blank begins a comment. Any other text is an error:
 * a line that revoked nothing in silence would leave somebody in who was to be kept out. No report
 * quotes the file.
 */
#include "config/parts.h"

#include "common/address.h"
#include "common/grow.h"
#include "common/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    REVOKED_BYTES_MAX = 64 << 20,
    JTI_BYTES_MAX = 128, /* a token with a longer jti is refused anyway */
};

/* The last second of the year 9999: a later time is one in milliseconds. */
#define BEFORE_MAX INT64_C(253402300799)

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct slice skip_blanks(struct slice text)
{
    while (text.len && is_white(*text.data))
        text = slice_make(text.data + 1, text.len - 1);
    return text;
}

/* Takes text up to the next blank, or between double quotes, from the start of *text. False: a
 * quote without its end, or something right behind the end. */
static bool take_text(struct slice *text, struct slice *taken)
{
    bool quoted = text->len && *text->data == '"';
    size_t len = quoted;

    while (len < text->len && (quoted ? text->data[len] != '"' : !is_white(text->data[len])))
        len++;
    if (quoted && len == text->len)
        return false;
    *taken = slice_make(text->data + quoted, len - quoted);
    *text = slice_make(text->data + len + quoted, text->len - len - quoted);
    return !text->len || is_white(*text->data);
}

static bool take_prefix(struct slice *text, struct slice prefix)
{
    if (!slice_starts(*text, prefix))
        return false;
    *text = slice_make(text->data + prefix.len, text->len - prefix.len);
    return true;
}

static bool is_jti(struct slice jti)
{
    for (size_t i = 0; i < jti.len; i++)
        if ((unsigned char)jti.data[i] < ' ' || jti.data[i] == 0x7f)
            return false;
    return jti.len >= 1 && jti.len <= JTI_BYTES_MAX && utf8_valid(jti);
}

/* "2026-11-27T09:00:00Z" in exactly this form. */
static bool read_iso_time(const char *text, int64_t *unix_s)
{
    static const char form[] = "%Y-%m-%dT%H:%M:%SZ";
    struct tm parts = { 0 }, again;
    char written[32];
    const char *end = strptime(text, form, &parts);
    time_t time = end && !*end ? timegm(&parts) : -1;

    if (time < 0 || !gmtime_r(&time, &again) || !strftime(written, sizeof written, form, &again))
        return false;
    *unix_s = time;
    return strcmp(written, text) == 0; /* strptime also takes short fields and 30 February */
}

/* Unix seconds, or ISO 8601 in UTC. */
static bool read_before(struct slice text, int64_t *unix_s)
{
    char copy[32];
    int64_t value = 0;

    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    snprintf(copy, sizeof copy, "%.*s", (int)text.len, text.data);
    if (read_iso_time(copy, unix_s))
        return true;
    for (const char *c = copy; *c; c++) {
        if (*c < '0' || *c > '9' || value > BEFORE_MAX)
            return false;
        value = value * 10 + (*c - '0');
    }
    *unix_s = value;
    return value <= BEFORE_MAX;
}

/* Takes ownership of item; NULL: out of memory. */
static const char *add_item(struct config_list *list, size_t *room, char *item)
{
    if (!item || grow_reserve(&list->items, room, list->count + 1, 64, SIZE_MAX)) {
        free(item);
        return "out of memory";
    }
    list->items[list->count++] = item;
    return NULL;
}

struct revoked {
    struct config_list *jtis, *subs;
    size_t jti_room, sub_room;
};

/* Each of these returns NULL, or what is wrong with the line. */

static const char *read_sub(struct revoked *revoked, struct slice text)
{
    int64_t before = INT64_MAX;
    struct slice address, time;
    char *item = NULL;

    if (!take_text(&text, &address) || !address_may_speak(address))
        return "no user address behind sub: (in double quotes when it has blanks)";
    text = skip_blanks(text);
    if (text.len && (!take_prefix(&text, SLICE("before:")) || !take_text(&text, &time) ||
                     !read_before(time, &before) || skip_blanks(text).len))
        return "something else behind sub:ADDRESS than before:TIME, in Unix seconds or as "
               "2026-11-27T09:00:00Z";
    if (asprintf(&item, "%.*s\n%" PRId64, (int)address.len, address.data, before) < 0)
        item = NULL;
    return add_item(revoked->subs, &revoked->sub_room, item);
}

static const char *read_revocation(struct revoked *revoked, struct slice text)
{
    struct slice jti;

    if (!text.len)
        return NULL;
    if (take_prefix(&text, SLICE("sub:")))
        return read_sub(revoked, text);
    if (!take_text(&text, &jti) || skip_blanks(text).len)
        return "more than one word (a comment begins with #, a jti with blanks stands in double "
               "quotes)";
    if (!is_jti(jti))
        return "no jti of 1 to 128 bytes of UTF-8 without control characters";
    return add_item(revoked->jtis, &revoked->jti_room, strndup(jti.data, jti.len));
}

/* The line without its comment and without white space around it. A '#' between quotes is no
 * comment. */
static struct slice line_text(struct slice line)
{
    bool quoted = false;

    line = skip_blanks(line);
    for (size_t i = 0; i < line.len; i++) {
        quoted ^= line.data[i] == '"' &&
                  (quoted || i == 0 || slice_equal(slice_make(line.data, i), SLICE("sub:")));
        if (line.data[i] == '#' && !quoted && (i == 0 || is_white(line.data[i - 1])))
            line.len = i;
    }
    while (line.len && is_white(line.data[line.len - 1]))
        line.len--;
    return line;
}

static void read_lines(struct draft *draft, struct slice text)
{
    struct config *config = draft->config;
    struct revoked revoked = { .jtis = &config->auth.revoked, .subs = &config->auth.revoked_subs };

    take_prefix(&text, SLICE("\xef\xbb\xbf")); /* a byte order mark, as some editors write */
    for (size_t line = 1; text.len; line++) {
        const char *newline = memchr(text.data, '\n', text.len);
        size_t len = newline ? (size_t)(newline - text.data) : text.len, used = len + !!newline;
        const char *wrong = read_revocation(&revoked, line_text(slice_make(text.data, len)));
        if (wrong) {
            report_error(draft->report, draft_spot(draft, "auth.revoked"),
                         "found in line %zu of \"%s\" %s, allowed JTI, sub:ADDRESS or "
                         "sub:ADDRESS before:TIME",
                         line, config->auth.revoked_file, wrong);
            return;
        }
        text = slice_make(text.data + used, text.len - used);
    }
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts the list and removes repetitions, so that a search can bisect and two equal sets are equal
 * lists. */
static void sort_list(struct config_list *list)
{
    size_t kept = 0;

    if (list->count)
        qsort(list->items, list->count, sizeof *list->items, compare_items);
    for (size_t i = 0; i < list->count; i++) {
        if (kept && strcmp(list->items[kept - 1], list->items[i]) == 0)
            free(list->items[i]);
        else
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

static int64_t item_before(const char *item)
{
    return strtoll(strchr(item, '\n') + 1, NULL, 10);
}

/* Of one address the latest time counts. */
static void merge_subs(struct config_list *list)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        char *item = list->items[i];
        size_t len = (size_t)(strchr(item, '\n') - item) + 1;
        if (kept && strncmp(list->items[kept - 1], item, len) == 0) {
            bool later = item_before(item) > item_before(list->items[kept - 1]);
            free(later ? list->items[kept - 1] : item);
            list->items[kept - 1] = later ? item : list->items[kept - 1];
        } else {
            list->items[kept++] = item;
        }
    }
    list->count = kept;
}

void revoked_load(struct draft *draft)
{
    const char *path = draft->config->auth.revoked_file, *reason;
    struct buf text;

    if (!*path)
        return;
    reason = file_read(path, REVOKED_BYTES_MAX, &text, NULL);
    if (reason) {
        report_error(draft->report, draft_spot(draft, "auth.revoked"),
                     "found \"%s\" unreadable (%s), allowed a file of one revocation a line", path,
                     reason);
        return;
    }
    read_lines(draft, buf_slice(&text));
    sort_list(&draft->config->auth.revoked);
    sort_list(&draft->config->auth.revoked_subs);
    merge_subs(&draft->config->auth.revoked_subs);
    buf_fini(&text);
}
