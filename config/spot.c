/* Where the value of a key comes from: a part of the file, or a variable of the environment. */
#include "config/parts.h"

#include <stdlib.h>

struct spot draft_spot_value(const struct draft *draft, const char *path, const struct cJSON *node)
{
    return (struct spot){ draft->file, path, tree_mark(draft->tree, node) };
}

struct spot draft_spot_name(const struct draft *draft, const char *path, const struct cJSON *node)
{
    return (struct spot){ draft->file, path, tree_name_mark(draft->tree, node) };
}

/* A variable counts more than the file. */
static bool is_variable(const struct draft *draft, const char *name)
{
    const struct key *key = draft->use_environment ? keys_find(name) : NULL;
    char variable[KEY_VARIABLE_MAX];

    return key && key_variable(key, variable) && getenv(variable);
}

struct spot draft_spot(const struct draft *draft, const char *key)
{
    if (is_variable(draft, key))
        return (struct spot){ spot_environment, key, { 0 } };
    return draft_spot_value(draft, key, *key ? tree_find(draft->tree, key) : NULL);
}

struct spot draft_spot_or(const struct draft *draft, const char *key, const char *other)
{
    struct spot spot = draft_spot(draft, key);

    if (spot.file == draft->file && spot.mark.kind == MARK_NONE)
        spot.mark = draft_spot(draft, other).mark;
    return spot;
}

struct spot draft_spot_item(const struct draft *draft, const char *key, size_t i, size_t count)
{
    const struct cJSON *list = tree_find(draft->tree, key), *item;
    struct spot spot = draft_spot(draft, key);
    size_t written = 0;

    if (!list || spot.file != draft->file || tree_kind(list) != NODE_LIST)
        return spot;
    for (item = tree_first(list); item; item = tree_next(item))
        written++;
    if (written != count) /* an item was refused */
        return spot;
    for (item = tree_first(list); i > 0; i--)
        item = tree_next(item);
    return draft_spot_value(draft, key, item);
}
