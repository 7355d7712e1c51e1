/*
 * Reads values: the defaults of the table, then the file, then the environment, each over the one
 * before.
 *
 * Each value is checked alone here. resolve.c judges several values together.
 */
#include "config/parts.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FOUND_MAX = 200, PATH_MAX_LEN = 1024 };

bool read_draft_text(struct draft *draft, char **field, const char *text)
{
    char *copy = strdup(text);

    if (!copy) {
        report_error(draft->report, draft_spot(draft, ""), "out of memory");
        return false;
    }
    free(*field);
    *field = copy;
    return true;
}

/* ---- one value, from either source ---- */

static void refuse_value(struct draft *draft, const struct key *key, struct spot spot,
                         const char *found)
{
    char allowed[KEY_ALLOWED_MAX];

    report_error(draft->report, spot, "found %s, allowed %s", found, key_allowed(key, allowed));
}

static void set_int(struct draft *draft, const struct key *key, struct spot spot, int64_t value)
{
    char found[32];

    if (value >= key->min && value <= key->max) {
        *(int64_t *)key_field(key, draft->config) = value;
        return;
    }
    snprintf(found, sizeof found, "%" PRId64, value);
    refuse_value(draft, key, spot, found);
}

static bool text_fits(struct draft *draft, const struct key *key, struct spot spot,
                      const char *text)
{
    struct log_text quoted;

    if (key_text_good(key, text))
        return true;
    refuse_value(draft, key, spot, log_quote(&quoted, slice_of(text)));
    return false;
}

static bool list_add(struct draft *draft, struct config_list *list, const char *text)
{
    char **items;

    items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items)
        return false;
    list->items = items;
    list->items[list->count] = NULL;
    return read_draft_text(draft, &list->items[list->count], text) && ++list->count;
}

static long long most_items(const struct key *key)
{
    return key->max ? key->max : KEY_ITEMS_MAX;
}

/* False: the list is full, which has been reported. */
static bool set_item(struct draft *draft, const struct key *key, struct spot spot, const char *text)
{
    struct config_list *list = key_field(key, draft->config);

    if (!text_fits(draft, key, spot, text))
        return true;
    if ((long long)list->count >= most_items(key)) {
        report_error(draft->report, spot, "found too many, allowed %lld", most_items(key));
        return false;
    }
    if (!list_add(draft, list, text))
        report_error(draft->report, spot, "out of memory");
    return true;
}

/* Items with commas between. */
static void parse_list(struct draft *draft, const struct key *key, struct spot spot,
                       const char *text)
{
    char *copy = strdup(text), *rest = copy, *item;
    int64_t count = 0;

    if (!copy) {
        report_error(draft->report, spot, "out of memory");
        return;
    }
    config_key_fini(key, draft->config);
    while ((item = strsep(&rest, ","))) {
        item += strspn(item, " ");
        for (size_t len = strlen(item); len && item[len - 1] == ' '; len--)
            item[len - 1] = 0;
        count += *item != 0;
        if (*item && !set_item(draft, key, spot, item))
            break;
    }
    if (count < key->min)
        refuse_value(draft, key, spot, "an empty list");
    free(copy);
}

static void set_use(struct draft *draft, struct spot spot, const char *text)
{
    read_draft_text(draft, &draft->use, text);
    draft->use_spot = spot;
}

/* ---- the defaults ---- */

static bool no_redis(struct draft *draft, struct config_redis *redis)
{
    return read_draft_text(draft, &redis->host, "") && read_draft_text(draft, &redis->path, "") &&
           read_draft_text(draft, &redis->folder, "") && read_draft_text(draft, &redis->user, "") &&
           read_draft_text(draft, &redis->password, "");
}

bool read_defaults(struct draft *draft)
{
    for (size_t i = 0; i < config_key_rows; i++) {
        const struct key *key = &config_keys[i];
        void *field = key_has_field(key) ? key_field(key, draft->config) : NULL;
        if (key->type == KEY_INT)
            *(int64_t *)field = key->initial;
        else if (key->type == KEY_BOOL)
            *(bool *)field = key->initial;
        else if ((key->type == KEY_TEXT && !read_draft_text(draft, field, key->initial_text)) ||
                 (key->type == KEY_SOURCES && !no_redis(draft, field)))
            return false;
        else if (key->type == KEY_LIST && key->initial_text)
            parse_list(draft, key, draft_spot(draft, key->name), key->initial_text);
    }
    return true;
}

/* ---- the file ---- */

/* Returns what a value is, for the report. Never shows the text of a string, which may be a
 * secret. */
static const char *describe(const struct cJSON *node)
{
    static const char *const kinds[] = { "null",     "true or false", "a number",
                                         "a string", "a list",        "an object" };

    if (tree_kind(node) == NODE_BOOL)
        return tree_bool(node) ? "true" : "false";
    return kinds[tree_kind(node)];
}

static void read_list(struct draft *draft, const struct key *key, struct spot spot,
                      const struct cJSON *node)
{
    char path[PATH_MAX_LEN] = "";
    int64_t count = 0;

    config_key_fini(key, draft->config);
    if (tree_kind(node) == NODE_TEXT) {
        set_item(draft, key, spot, tree_text(node));
        return;
    }
    for (const struct cJSON *item = tree_first(node); item; item = tree_next(item), count++) {
        struct spot at = draft_spot_value(draft, path, item);
        snprintf(path, sizeof path, "%s[%lld]", spot.key, (long long)count);
        if (tree_kind(item) != NODE_TEXT)
            refuse_value(draft, key, at, describe(item));
        else if (!set_item(draft, key, at, tree_text(item)))
            return;
    }
    if (count < key->min)
        refuse_value(draft, key, spot, "an empty list");
}

static bool kind_fits(const struct key *key, enum node_kind kind)
{
    static const enum node_kind wanted[] = {
        [KEY_INT] = NODE_INT,        [KEY_BOOL] = NODE_BOOL,  [KEY_TEXT] = NODE_TEXT,
        [KEY_LIST] = NODE_LIST,      [KEY_USE] = NODE_TEXT,   [KEY_KEYS] = NODE_LIST,
        [KEY_SOURCES] = NODE_OBJECT, [KEY_PAIRS] = NODE_LIST,
    };

    return wanted[key->type] == kind || (key->lone && kind == NODE_TEXT);
}

static void read_value(struct draft *draft, const struct key *key, const struct cJSON *node)
{
    struct spot spot = draft_spot_value(draft, key->name, node);
    int64_t number;

    if (!kind_fits(key, tree_kind(node))) {
        refuse_value(draft, key, spot, describe(node));
        return;
    }
    switch (key->type) {
    case KEY_INT:
        if (tree_int(node, &number))
            set_int(draft, key, spot, number);
        break;
    case KEY_BOOL:
        *(bool *)key_field(key, draft->config) = tree_bool(node);
        break;
    case KEY_TEXT:
        if (text_fits(draft, key, spot, tree_text(node)))
            read_draft_text(draft, key_field(key, draft->config), tree_text(node));
        break;
    case KEY_LIST:
        read_list(draft, key, spot, node);
        break;
    case KEY_SOURCES:
        draft->sources = node;
        break;
    case KEY_USE:
        set_use(draft, spot, tree_text(node));
        break;
    case KEY_KEYS:
        draft->keys = node;
        break;
    case KEY_PAIRS:
        draft->pairs = node;
        break;
    case KEY_STORE:
    case KEY_CERTS:
    case KEY_SET:
        break; /* no name of their own leads here */
    }
}

static void refuse_unknown(struct draft *draft, const char *path, const struct cJSON *node)
{
    const char *nearest = keys_nearest(path);

    report_error(draft->report, draft_spot_name(draft, path, node),
                 "found an unknown key, allowed what websocket-server explain-config lists%s%s%s",
                 nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

static void read_object(struct draft *draft, const struct cJSON *object, const char *prefix)
{
    char path[PATH_MAX_LEN];

    for (const struct cJSON *node = tree_first(object); node; node = tree_next(node)) {
        const struct key *key;
        snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", tree_name(node));
        /* A name with a dot in it is no path: {"limits.burst": 1} is unknown. */
        key = strchr(tree_name(node), '.') ? NULL : keys_find(path);
        if (key)
            read_value(draft, key, node);
        else if (strchr(tree_name(node), '.') || !keys_is_section(path))
            refuse_unknown(draft, path, node);
        else if (tree_kind(node) != NODE_OBJECT)
            report_error(draft->report, draft_spot_value(draft, path, node),
                         "found %s, allowed an object", describe(node));
        else
            read_object(draft, node, path);
    }
}

void read_tree(struct draft *draft, const struct cJSON *tree)
{
    read_object(draft, tree, "");
}

/* ---- the environment ---- */

static bool parse_variable_int(const char *text, int64_t *value)
{
    bool minus = *text == '-';
    const char *digits = text + minus;
    size_t len = strlen(digits);

    if (len == 0 || len > TREE_DIGITS_MAX || strspn(digits, "0123456789") != len)
        return false;
    *value = 0;
    for (; *digits; digits++)
        *value = *value * 10 + (*digits - '0');
    if (minus)
        *value = -*value;
    return true;
}

static void read_variable(struct draft *draft, const struct key *key, const char *text)
{
    struct spot spot = draft_spot(draft, key->name);
    struct log_text quoted;
    int64_t number;

    switch (key->type) {
    case KEY_INT:
        if (parse_variable_int(text, &number))
            set_int(draft, key, spot, number);
        else
            refuse_value(draft, key, spot, log_quote(&quoted, slice_of(text)));
        break;
    case KEY_BOOL:
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
            *(bool *)key_field(key, draft->config) = *text == 't';
        else
            refuse_value(draft, key, spot, log_quote(&quoted, slice_of(text)));
        break;
    case KEY_TEXT:
        if (text_fits(draft, key, spot, text))
            read_draft_text(draft, key_field(key, draft->config), text);
        break;
    case KEY_LIST:
        parse_list(draft, key, spot, text);
        break;
    case KEY_SOURCES:
        draft->uri = text;
        break;
    case KEY_USE:
        set_use(draft, spot, text);
        break;
    default:
        break;
    }
}

/* Is name a variable of the tests or of the command line, which is no key? */
static bool is_ours(const char *name)
{
    return strcmp(name, "POSTOFFICE_ENV") == 0 || strncmp(name, "POSTOFFICE_TEST_", 16) == 0 ||
           strncmp(name, "POSTOFFICE_BINARY", 17) == 0 || strncmp(name, "POSTOFFICE_SAN", 14) == 0;
}

static void warn_unknown_variable(struct draft *draft, const char *entry)
{
    char name[KEY_VARIABLE_MAX], variable[KEY_VARIABLE_MAX];
    size_t len = strcspn(entry, "=");

    if (strncmp(entry, "POSTOFFICE_", 11) != 0)
        return;
    snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), entry);
    if (is_ours(name))
        return;
    for (size_t i = 0; i < config_key_rows; i++)
        if (key_variable(&config_keys[i], variable) && strcmp(variable, name) == 0)
            return;
    report_warning(draft->report, (struct spot){ spot_environment, name, { 0 } },
                   "found an unknown variable, allowed what websocket-server explain-config lists");
}

void read_environment(struct draft *draft)
{
    char variable[KEY_VARIABLE_MAX];

    for (size_t i = 0; i < config_key_rows; i++) {
        const char *text = key_variable(&config_keys[i], variable) ? getenv(variable) : NULL;
        if (text)
            read_variable(draft, &config_keys[i], text);
    }
    for (char **entry = environ; entry && *entry; entry++)
        warn_unknown_variable(draft, *entry);
}
