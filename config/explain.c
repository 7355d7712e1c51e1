/* explain-config: the table of keys, for a person. */
#include "config/keys.h"

#include <inttypes.h>
#include <string.h>

enum { EXPLAIN_COLUMNS = 96, EXPLAIN_INDENT = 4 };

static const char *type_name(const struct key *key)
{
    static const char *const names[] = {
        [KEY_INT] = "integer",
        [KEY_BOOL] = "boolean",
        [KEY_TEXT] = "string",
        [KEY_LIST] = "list of strings",
        [KEY_USE] = "string",
        [KEY_KEYS] = "list of objects",
        [KEY_PAIRS] = "list of objects",
        [KEY_SOURCES] = "object of sources",
    };

    return names[key->type];
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

    buf_addf(out, "%s%s\n", key->name, key->type == KEY_SOURCES ? ".<name>.uri" : "");
    buf_addf(out, "    type      %s\n", key->type == KEY_SOURCES ? "string" : type_name(key));
    buf_add_text(out, "    default   ");
    add_default(out, key);
    buf_addf(out, "\n    allowed   %s\n",
             key->type == KEY_SOURCES ? key->allowed : key_allowed(key, allowed));
    buf_addf(out, "    applies   %s\n", applies[key->apply]);
    buf_addf(out, "    variable  %s\n", key_variable(key, variable) ? variable : "none");
    add_wrapped(out, key->help);
}

void config_explain(struct buf *out)
{
    bool first = true;

    for (size_t i = 0; i < config_key_rows; i++) {
        if (!config_keys[i].help)
            continue;
        if (!first)
            buf_add_char(out, '\n');
        explain_key(out, &config_keys[i]);
        first = false;
    }
}
