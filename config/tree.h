/*
 * A configuration file's text as a tree; tree.c is the only file that knows cJSON.
 *
 * cJSON accepts text that is not JSON, and changes text that is (rounds a number past 2^53, cuts a
 * string at \u0000). So the text first passes strict.c; cJSON reads the accepted texts right.
 */
#ifndef CONFIG_TREE_H
#define CONFIG_TREE_H

#include "config/report.h"

struct tree;
struct cJSON; /* one value; its fields are tree.c's business */

enum node_kind { NODE_NULL, NODE_BOOL, NODE_INT, NODE_TEXT, NODE_LIST, NODE_OBJECT };

enum {
    TREE_BYTES_MAX = 256 * 1024, /* of a configuration file */
    TREE_DEPTH_MAX = 32,
    TREE_DIGITS_MAX = 15, /* of a number: what a double holds exactly */
};

/* Returns the tree, which tree_free frees; NULL, with the reason in the report, when text is not
 * one JSON object (comments and last commas aside). Faults of one key alone (given twice, a number
 * with a fraction) are reported too, but the tree is returned, so that later faults are found.
 * Until tree_free the report
 * shows lines of the text, which must live as long. */
struct tree *tree_read(struct slice text, const char *file, struct config_report *report);
/* NULL is allowed. Wipes the text and all strings: a password may be among them. */
void tree_free(struct tree *tree, struct config_report *report);

const struct cJSON *tree_root(const struct tree *tree);
/* Returns the value at the path, names with dots between; NULL when the file has none, or when tree
 * is NULL. */
const struct cJSON *tree_find(const struct tree *tree, const char *path);
/* Where the value stands (of a list or an object: its bracket), and its name. */
struct mark tree_mark(const struct tree *tree, const struct cJSON *node);
struct mark tree_name_mark(const struct tree *tree, const struct cJSON *node);

enum node_kind tree_kind(const struct cJSON *node);
const char *tree_name(const struct cJSON *node); /* of a member of an object */
const char *tree_text(const struct cJSON *node); /* NODE_TEXT */
bool tree_bool(const struct cJSON *node);        /* NODE_BOOL */
/* NODE_INT; false for a fraction or too many digits, which tree_read has reported. */
bool tree_int(const struct cJSON *node, int64_t *value);
const struct cJSON *
tree_first(const struct cJSON *node); /* child of a list or an object, or NULL */
const struct cJSON *tree_next(const struct cJSON *node);

/* strict.c: does text keep to RFC 8259, comments and last commas aside, and to the bounds above?
 * False, with a report: the text cannot be read further. The caller gives two copies of the text,
 * and frees marks, one for each value in the order of the text. */
struct strict_result {
    char *shown; /* without the text of comments */
    char *clean; /* without last commas too: JSON */
    struct mark *marks;
    size_t count;
    bool lost; /* out of memory: the marks are not all there */
};
bool strict_check(struct slice text, const char *file, struct config_report *report,
                  struct strict_result *result);

#endif
