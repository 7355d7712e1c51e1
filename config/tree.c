/*
 * The only user of cJSON. Text passes strict.c before cJSON sees it (tree.h).
 */
#include "config/tree.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of two members of one name cJSON keeps both and finds the first; another reader finds the
 * last. */
static void report_twins(const cJSON *object, struct spot spot, struct config_report *report)
{
    size_t count = 0, i = 0;
    const char **names;

    for (const cJSON *member = object->child; member; member = member->next)
        count++;
    if (count < 2)
        return;
    names = malloc(count * sizeof *names);
    if (!names) {
        report_error(report, spot, "out of memory");
        return;
    }
    for (const cJSON *member = object->child; member; member = member->next)
        names[i++] = member->string;
    qsort(names, count, sizeof *names, compare_names);
    for (i = 1; i < count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            report_error(report, spot, "found the key \"%.100s\" twice, allowed once", names[i]);
    free(names);
}

static void report_all_twins(const cJSON *node, struct spot spot, struct config_report *report)
{
    struct buf path;

    if (cJSON_IsObject(node))
        report_twins(node, spot, report);
    for (const cJSON *child = node->child; child; child = child->next) {
        if (!child->child)
            continue;
        buf_init(&path, 65536);
        buf_addf(&path, "%s%s%s", spot.key, *spot.key ? "." : "",
                 child->string ? child->string : "[]");
        report_all_twins(child, (struct spot){ spot.file, buf_text(&path) }, report);
        buf_fini(&path);
    }
}

struct cJSON *tree_read(struct slice text, const char *file, struct config_report *report)
{
    const char *end = NULL;
    char *copy;
    cJSON *tree;

    if (!strict_check(text, file, report))
        return NULL;
    copy = malloc(text.len + 1);
    if (!copy) {
        report_error(report, (struct spot){ file, "" }, "out of memory");
        return NULL;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    tree = cJSON_ParseWithLengthOpts(copy, text.len + 1, &end, 1);
    if (!tree)
        report_error(report, (struct spot){ file, "" },
                     "found what cJSON cannot read, allowed JSON");
    else
        report_all_twins(tree, (struct spot){ file, "" }, report);
    explicit_bzero(copy, text.len);
    free(copy);
    return tree;
}

static void wipe_strings(cJSON *node)
{
    for (; node; node = node->next) {
        if (node->valuestring)
            explicit_bzero(node->valuestring, strlen(node->valuestring));
        wipe_strings(node->child);
    }
}

void tree_free(struct cJSON *tree)
{
    wipe_strings(tree);
    cJSON_Delete(tree);
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
