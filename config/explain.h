/* The table of keys, for people and for programs. */
#ifndef CONFIG_EXPLAIN_H
#define CONFIG_EXPLAIN_H

#include "common/buf.h"

enum config_form {
    CONFIG_FORM_TEXT,
    CONFIG_FORM_JSON,     /* an array of objects */
    CONFIG_FORM_MARKDOWN, /* docs/configuration.md; always all keys */
};

/* Appends the keys that the names mean, all keys when count is 0. A name is a key ("limits.burst"),
 * a part of the tree ("limits"), or an environment variable. */
void config_explain(struct buf *out, enum config_form form, char *const *names, size_t count);
/* Does name mean at least one key? */
bool config_explains(const char *name);
/* Appends up to five keys that the writer of name may have meant, with ", " between; nothing when
 * none is near. */
void config_explain_near(struct buf *out, const char *name);

#endif
