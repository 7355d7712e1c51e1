/*
 * The only user of cJSON. Text passes strict.c before cJSON sees it (tree.h).
 *
 * cJSON keeps no positions. strict.c lists the places of all values in the order of the text, which
 * is the order of a walk through the tree; each node keeps its number in that list, in a field that
 * cJSON has for callers of its older interface (valueint).
 */
#include "config/tree.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

struct tree {
    cJSON *root;
    size_t len; /* of both texts */
    struct strict_result text;
};

static void number_nodes(cJSON *node, int *next)
{
    for (; node; node = node->next) {
        node->valueint = (*next)++;
        number_nodes(node->child, next);
    }
}

struct mark tree_mark(const struct tree *tree, const struct cJSON *node)
{
    size_t number = node ? (size_t)node->valueint : SIZE_MAX;

    return tree && !tree->text.lost && number < tree->text.count ? tree->text.marks[number]
                                                                 : (struct mark){ 0 };
}

struct mark tree_name_mark(const struct tree *tree, const struct cJSON *node)
{
    struct mark mark = tree_mark(tree, node);
    size_t end = mark.from + (size_t)1;

    if (mark.kind == MARK_NONE || !node->string)
        return mark;
    while (end < tree->len && tree->text.shown[end] != '"')
        end += tree->text.shown[end] == '\\' ? 2 : 1;
    mark.at = mark.from;
    mark.len = (uint32_t)(end + 1 - mark.from);
    return mark;
}

static int compare_names(const void *a, const void *b)
{
    const cJSON *left = *(const cJSON *const *)a, *right = *(const cJSON *const *)b;
    int order = strcmp(left->string, right->string);

    return order ? order : left->valueint - right->valueint;
}

/* Of two members of one name cJSON keeps both and finds the first; another reader finds the
 * last. */
static void report_twin(const struct tree *tree, const cJSON *first, const cJSON *twin,
                        struct spot spot, struct config_report *report)
{
    struct mark before = tree_name_mark(tree, first);

    spot.mark = tree_name_mark(tree, twin);
    if (before.kind == MARK_NONE)
        report_error(report, spot, "found the key \"%.100s\" twice, allowed once", twin->string);
    else
        report_error(report, spot, "found the key \"%.100s\" twice (line %zu), allowed once",
                     twin->string, report_position(report->text, before.at).line);
}

static void report_twins(const struct tree *tree, const cJSON *object, struct spot spot,
                         struct config_report *report)
{
    size_t count = 0, i = 0;
    const cJSON **members;

    for (const cJSON *member = object->child; member; member = member->next)
        count++;
    if (count < 2)
        return;
    members = malloc(count * sizeof *members);
    if (!members) {
        report_error(report, spot, "out of memory");
        return;
    }
    for (const cJSON *member = object->child; member; member = member->next)
        members[i++] = member;
    qsort(members, count, sizeof *members, compare_names);
    for (i = 1; i < count; i++)
        if (strcmp(members[i - 1]->string, members[i]->string) == 0)
            report_twin(tree, members[i - 1], members[i], spot, report);
    free(members);
}

static void report_all_twins(const struct tree *tree, const cJSON *node, struct spot spot,
                             struct config_report *report)
{
    struct buf path;

    if (cJSON_IsObject(node))
        report_twins(tree, node, spot, report);
    for (const cJSON *child = node->child; child; child = child->next) {
        if (!child->child)
            continue;
        buf_init(&path, 65536);
        buf_addf(&path, "%s%s%s", spot.key, *spot.key ? "." : "",
                 child->string ? child->string : "[]");
        report_all_twins(tree, child, (struct spot){ spot.file, buf_text(&path), { 0 } }, report);
        buf_fini(&path);
    }
}

static char *copy_text(struct slice text)
{
    char *copy = malloc(text.len + 1);

    if (copy) {
        memcpy(copy, text.data, text.len);
        copy[text.len] = 0;
    }
    return copy;
}

/* Fills the tree. False, with a report: it has no root. */
static bool read_text(struct tree *tree, struct slice text, struct spot spot,
                      struct config_report *report)
{
    const char *end = NULL;
    int next = 0;

    if (!strict_check(text, spot.file, report, &tree->text))
        return false;
    tree->root = cJSON_ParseWithLengthOpts(tree->text.clean, text.len + 1, &end, 1);
    if (!tree->root) {
        report_error(report, spot, "found what cJSON cannot read, allowed JSON");
        return false;
    }
    number_nodes(tree->root, &next);
    report_all_twins(tree, tree->root, spot, report);
    return true;
}

struct tree *tree_read(struct slice text, const char *file, struct config_report *report)
{
    struct spot spot = { file, "", { 0 } };
    struct tree *tree;

    if (text.len > TREE_BYTES_MAX) {
        report_error(report, spot, "found %zu bytes, allowed %d", text.len, TREE_BYTES_MAX);
        return NULL;
    }
    tree = calloc(1, sizeof *tree);
    if (tree) {
        tree->len = text.len;
        tree->text.shown = copy_text(text);
        tree->text.clean = copy_text(text);
    }
    if (!tree || !tree->text.shown || !tree->text.clean) {
        report_error(report, spot, "out of memory");
    } else {
        report->text = text;
        report->shown = slice_make(tree->text.shown, text.len);
        if (read_text(tree, text, spot, report))
            return tree;
    }
    tree_free(tree, report);
    return NULL;
}

static void wipe_strings(cJSON *node)
{
    for (; node; node = node->next) {
        if (node->valuestring)
            explicit_bzero(node->valuestring, strlen(node->valuestring));
        wipe_strings(node->child);
    }
}

static void wipe_text(char *text, size_t len)
{
    if (text)
        explicit_bzero(text, len);
    free(text);
}

void tree_free(struct tree *tree, struct config_report *report)
{
    report->text = report->shown = (struct slice){ 0 };
    if (!tree)
        return;
    wipe_strings(tree->root);
    cJSON_Delete(tree->root);
    wipe_text(tree->text.shown, tree->len);
    wipe_text(tree->text.clean, tree->len);
    free(tree->text.marks);
    free(tree);
}

const struct cJSON *tree_root(const struct tree *tree)
{
    return tree->root;
}

const struct cJSON *tree_find(const struct tree *tree, const char *path)
{
    const cJSON *node = tree ? tree->root : NULL;

    while (node && *path) {
        size_t len = strcspn(path, ".");
        for (node = node->child; node; node = node->next)
            if (node->string && strlen(node->string) == len &&
                strncmp(node->string, path, len) == 0)
                break;
        path += len + (path[len] == '.');
    }
    return node;
}

enum node_kind tree_kind(const struct cJSON *node)
{
    if (cJSON_IsObject(node))
        return NODE_OBJECT;
    if (cJSON_IsArray(node))
        return NODE_LIST;
    if (cJSON_IsString(node))
        return NODE_TEXT;
    if (cJSON_IsNumber(node))
        return NODE_INT;
    return cJSON_IsBool(node) ? NODE_BOOL : NODE_NULL;
}

const char *tree_name(const struct cJSON *node)
{
    return node->string;
}

const char *tree_text(const struct cJSON *node)
{
    return node->valuestring;
}

bool tree_bool(const struct cJSON *node)
{
    return cJSON_IsTrue(node);
}

bool tree_int(const struct cJSON *node, int64_t *value)
{
    double number = node->valuedouble;

    if (!(number > -1e15 && number < 1e15))
        return false;
    *value = (int64_t)number;
    return (double)*value == number;
}

const struct cJSON *tree_first(const struct cJSON *node)
{
    return node->child;
}

const struct cJSON *tree_next(const struct cJSON *node)
{
    return node->next;
}
