/* explain-config: the table of keys. */
#include "config/explain.h"

#include "common/json.h"
#include "config/keys.h"
#include "config/tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { EXPLAIN_COLUMNS = 96, EXPLAIN_INDENT = 4 };

static const char *type_name(const struct key *key)
{
    static const char *const names[] = {
        [KEY_INT] = "integer",           [KEY_BOOL] = "boolean",   [KEY_TEXT] = "string",
        [KEY_LIST] = "list of strings",  [KEY_USE] = "string",     [KEY_KEYS] = "list of objects",
        [KEY_PAIRS] = "list of objects", [KEY_SOURCES] = "string",
    };

    return names[key->type];
}

/* The names of sources are free, so the key of a source has no fixed path. */
static const char *name_end(const struct key *key)
{
    return key->type == KEY_SOURCES ? ".<name>.uri" : "";
}

static const char *allowed_text(const struct key *key, char text[KEY_ALLOWED_MAX])
{
    return key->type == KEY_SOURCES ? key->allowed : key_allowed(key, text);
}

static void add_default_list(struct buf *out, const char *items)
{
    buf_add_text(out, "[\"");
    for (; *items; items++) {
        if (*items == ',')
            buf_add_text(out, "\", \"");
        else
            buf_add_char(out, *items);
    }
    buf_add_text(out, "\"]");
}

static void add_default(struct buf *out, const struct key *key)
{
    if (key->type == KEY_INT)
        buf_addf(out, "%" PRId64, key->initial);
    else if (key->type == KEY_BOOL)
        buf_add_text(out, key->initial ? "true" : "false");
    else if (key->type == KEY_TEXT)
        buf_addf(out, "\"%s\"", key->initial_text);
    else if (key->type == KEY_LIST && key->initial_text)
        add_default_list(out, key->initial_text);
    else
        buf_add_text(out, key->type == KEY_LIST || key->type == KEY_KEYS || key->type == KEY_PAIRS
                              ? "[]"
                              : "absent");
}

/* Appends text with line breaks between its words. */
static void add_wrapped(struct buf *out, const char *text)
{
    size_t column = 0; /* 0: no line has begun */

    while (*text) {
        size_t len = strcspn(text, " ");
        if (column == 0 || column + 1 + len > EXPLAIN_COLUMNS) {
            buf_addf(out, "%s%*s", column ? "\n" : "", EXPLAIN_INDENT, "");
            column = EXPLAIN_INDENT;
        } else {
            buf_add_char(out, ' ');
            column++;
        }
        buf_add(out, text, len);
        column += len;
        text += len;
        text += strspn(text, " ");
    }
    buf_add_char(out, '\n');
}

static void explain_key(struct buf *out, const struct key *key)
{
    static const char *const applies[] = {
        [CONFIG_LIVE] = "live (a reload applies it)",
        [CONFIG_SWAP] = "swap (a reload replaces the workers)",
        [CONFIG_RESTART] = "restart",
    };
    char allowed[KEY_ALLOWED_MAX], variable[KEY_VARIABLE_MAX];

    buf_addf(out, "%s%s\n", key->name, name_end(key));
    buf_addf(out, "    type      %s\n", type_name(key));
    buf_add_text(out, "    default   ");
    add_default(out, key);
    buf_addf(out, "\n    allowed   %s\n", allowed_text(key, allowed));
    buf_addf(out, "    applies   %s\n", applies[key->apply]);
    buf_addf(out, "    variable  %s\n", key_variable(key, variable) ? variable : "none");
    add_wrapped(out, key->help);
}

/* ---- JSON ---- */

static void add_member(struct buf *out, const char *name, const char *text)
{
    buf_addf(out, ", \"%s\": ", name);
    if (text)
        json_add_string(out, slice_of(text));
    else
        buf_add_text(out, "null");
}

static void key_as_json(struct buf *out, const struct key *key)
{
    static const char *const applies[] = {
        [CONFIG_LIVE] = "live", [CONFIG_SWAP] = "swap", [CONFIG_RESTART] = "restart"
    };
    char allowed[KEY_ALLOWED_MAX], variable[KEY_VARIABLE_MAX];

    buf_addf(out, "  {\"key\": \"%s%s\"", key->name, name_end(key));
    add_member(out, "type", type_name(key));
    buf_add_text(out, ", \"default\": ");
    if (key->type == KEY_USE || key->type == KEY_SOURCES)
        buf_add_text(out, "null");
    else
        add_default(out, key);
    if (key->type == KEY_INT)
        buf_addf(out, ", \"min\": %" PRId64 ", \"max\": %" PRId64, key->min, key->max);
    add_member(out, "allowed", allowed_text(key, allowed));
    add_member(out, "applies", applies[key->apply]);
    add_member(out, "variable", key_variable(key, variable) ? variable : NULL);
    add_member(out, "help", key->help);
    buf_add_char(out, '}');
}

/* ---- Markdown ---- */

static const char markdown_begin[] =
    "# Configuration\n"
    "\n"
    "`websocket-server explain-config --markdown` prints this file; a test keeps it so. Which "
    "keys\n"
    "deserve attention, and when to change them: [operations.md](operations.md).\n"
    "\n"
    "## The file\n"
    "\n"
    "A configuration file is one JSON object (RFC 8259) in UTF-8 of at most %d KiB, nested at "
    "most\n"
    "%d deep. Two things more are allowed: comments, `// to the end of the line` and\n"
    "`/* between these, not nested */`, and a comma behind the last member of an object or the "
    "last\n"
    "element of a list. Nothing else of JSON5 is: names and strings stand in double quotes, a "
    "number\n"
    "is whole and has at most %d digits, a name comes once in an object, and no byte order mark\n"
    "stands in front. Key files, JWK Sets, tokens and everything that clients send stay strict\n"
    "JSON.\n"
    "\n"
    "An error names the file, line, column (in characters) and key, what was found and what is\n"
    "allowed, and shows the line. A string that is not the one in question is shown as `\"***\"`: "
    "it\n"
    "may be a password. Of each kind of lines (errors, warnings, notes) the first %d are shown.\n"
    "\n"
    "```\n"
    "config.json:3:26: limits.burst: found 0, allowed a whole number from 1 to 1000000\n"
    "        \"limits\": { \"burst\": 0 }, // per address\n"
    "                             ^\n"
    "```\n"
    "\n"
    "A variable of the environment counts more than the file. Items of a list have commas "
    "between.\n"
    "\n"
    "The column *reload*: `live` is applied in place, `swap` replaces the workers, `restart` waits "
    "for\n"
    "the next start.\n";

/* A '|' would end the cell, and two '*' would set what is between in italics. */
static void add_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("|<*", *text))
            buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
}

static void key_as_markdown(struct buf *out, const struct key *key)
{
    static const char *const applies[] = {
        [CONFIG_LIVE] = "live", [CONFIG_SWAP] = "swap", [CONFIG_RESTART] = "restart"
    };
    char allowed[KEY_ALLOWED_MAX], variable[KEY_VARIABLE_MAX];

    buf_addf(out, "| `%s%s` | `", key->name, name_end(key));
    add_default(out, key);
    buf_add_text(out, "` | ");
    add_cell(out, allowed_text(key, allowed));
    buf_addf(out, " | %s | ", applies[key->apply]);
    add_cell(out, key->help);
    if (key_variable(key, variable))
        buf_addf(out, " `%s`", variable);
    buf_add_text(out, " |\n");
}

/* The first part of the key's name; none of "workers". */
static struct slice section_of(const struct key *key)
{
    const char *dot = strchr(key->name, '.');

    return slice_make(key->name, dot ? (size_t)(dot - key->name) : 0);
}

static void add_section(struct buf *out, struct slice section)
{
    buf_addf(out,
             "\n## %.*s\n\n| key | default | allowed | reload | meaning, and variable |\n"
             "| --- | --- | --- | --- | --- |\n",
             (int)(section.len ? section.len : 7), section.len ? section.data : "General");
    for (size_t i = 0; i < config_key_rows; i++)
        if (config_keys[i].help && slice_equal(section_of(&config_keys[i]), section))
            key_as_markdown(out, &config_keys[i]);
}

/* Is the section of row i that of an earlier row? */
static bool section_done(size_t i)
{
    for (size_t before = 0; before < i; before++)
        if (config_keys[before].help &&
            slice_equal(section_of(&config_keys[before]), section_of(&config_keys[i])))
            return true;
    return false;
}

static void explain_markdown(struct buf *out)
{
    buf_addf(out, markdown_begin, TREE_BYTES_MAX / 1024, TREE_DEPTH_MAX, TREE_DIGITS_MAX,
             REPORT_LINES_MAX);
    for (size_t i = 0; i < config_key_rows; i++)
        if (config_keys[i].help && !section_done(i))
            add_section(out, section_of(&config_keys[i]));
}

/* ---- names ---- */

static bool means(const char *name, const struct key *key)
{
    size_t len = strlen(name), key_len = key->help ? strlen(key->name) : 0;
    char variable[KEY_VARIABLE_MAX];

    if (!key->help || !len)
        return false;
    if (strncmp(key->name, name, len) == 0 && (key->name[len] == 0 || key->name[len] == '.'))
        return true;
    if (key->type == KEY_SOURCES && strncmp(name, key->name, key_len) == 0 && name[key_len] == '.')
        return true;
    return key_variable(key, variable) && strcmp(variable, name) == 0;
}

static bool chosen(const struct key *key, char *const *names, size_t count)
{
    bool found = count == 0 && key->help;

    for (size_t i = 0; i < count && !found; i++)
        found = means(names[i], key);
    return found;
}

bool config_explains(const char *name)
{
    for (size_t i = 0; i < config_key_rows; i++)
        if (means(name, &config_keys[i]))
            return true;
    return false;
}

void config_explain_near(struct buf *out, const char *name)
{
    enum { NEAR_MAX = 5 };
    struct slice last = SLICE("");
    size_t count = 0;

    for (size_t i = 0; i < config_key_rows && count < NEAR_MAX; i++) {
        const struct key *key = &config_keys[i];
        struct slice section = key->help ? section_of(key) : last;
        char text[KEY_TEXT_MAX];
        if (section.len && !slice_equal(section, last)) {
            snprintf(text, sizeof text, "%.*s", (int)section.len, section.data);
            if (keys_alike(text, name))
                buf_addf(out, "%s%s", count++ ? ", " : "", text);
            last = section;
        }
        if (key->help && keys_alike(key->name, name) && count < NEAR_MAX)
            buf_addf(out, "%s%s", count++ ? ", " : "", key->name);
    }
}

void config_explain(struct buf *out, enum config_form form, char *const *names, size_t count)
{
    bool first = true;

    if (form == CONFIG_FORM_MARKDOWN) {
        explain_markdown(out);
        return;
    }
    for (size_t i = 0; i < config_key_rows; i++) {
        if (!chosen(&config_keys[i], names, count))
            continue;
        if (form == CONFIG_FORM_TEXT) {
            buf_add_text(out, first ? "" : "\n");
            explain_key(out, &config_keys[i]);
        } else {
            buf_add_text(out, first ? "[\n" : ",\n");
            key_as_json(out, &config_keys[i]);
        }
        first = false;
    }
    if (form == CONFIG_FORM_JSON)
        buf_add_text(out, first ? "[]\n" : "\n]\n");
}
