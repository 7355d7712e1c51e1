/*
 * Grants: what a token allows, and the checks that use one.
 *
 * One block of memory holds the struct, its lists and all their text, so a grant is one allocation
 * and one free. A grant never changes, so a session and messages share one.
 */
#include "worker/token/token_inside.h"

#include "common/address.h"

#include <assert.h>
#include <stdlib.h>

static size_t list_bytes(const struct grant_list *list)
{
    size_t bytes = 0;

    for (size_t i = 0; i < list->count; i++)
        bytes += sizeof(char *) + list->items[i].len + 1;
    return bytes;
}

/* Where the next pointer and the next text go: pointers first, so that all of them stay aligned. */
struct filler {
    char **items;
    char *text;
};

static char *fill_text(struct filler *filler, struct slice text)
{
    char *start = filler->text;

    if (text.len)
        memcpy(start, text.data, text.len);
    start[text.len] = 0;
    filler->text += text.len + 1;
    return start;
}

static struct config_list fill_list(struct filler *filler, const struct grant_list *list)
{
    struct config_list filled = { filler->items, list->count };

    for (size_t i = 0; i < list->count; i++)
        *filler->items++ = fill_text(filler, list->items[i]);
    return filled;
}

struct grant *grant_new(const struct grant_parts *parts)
{
    size_t items = parts->send.count + parts->groups.count + parts->relay.count;
    size_t bytes = sizeof(struct grant) + list_bytes(&parts->send) + list_bytes(&parts->groups) +
                   list_bytes(&parts->relay) + parts->sub.len + 1 + parts->jti.len + 1;
    struct grant *grant = malloc(bytes);
    struct filler filler;

    if (!grant)
        return NULL;
    filler.items = (char **)(void *)(grant + 1);
    filler.text = (char *)(filler.items + items);
    *grant = (struct grant){ .refs = 1,
                             .sub_len = parts->sub.len,
                             .expires_at = parts->expires_at,
                             .issued_at = parts->issued_at,
                             .broadcast = parts->broadcast,
                             .admin = parts->admin };
    grant->sub = fill_text(&filler, parts->sub);
    grant->jti = fill_text(&filler, parts->jti);
    grant->send = fill_list(&filler, &parts->send);
    grant->groups = fill_list(&filler, &parts->groups);
    grant->relay = fill_list(&filler, &parts->relay);
    assert(filler.text == (char *)grant + bytes);
    return grant;
}

struct grant *grant_default(struct slice sub)
{
    struct grant_parts *parts = calloc(1, sizeof *parts);
    struct grant *grant;

    if (!parts)
        return NULL;
    parts->sub = sub;
    parts->expires_at = INT64_MAX;
    parts->issued_at = INT64_MIN;
    parts->send.items[parts->send.count++] = SLICE("*");
    grant = grant_new(parts);
    free(parts);
    return grant;
}

struct grant *grant_operator(void)
{
    struct grant_parts *parts = calloc(1, sizeof *parts);
    struct grant *grant;

    if (!parts)
        return NULL;
    parts->sub = SLICE("");
    parts->expires_at = INT64_MAX;
    parts->issued_at = INT64_MIN;
    parts->broadcast = parts->admin = true;
    parts->send.items[parts->send.count++] = SLICE("*");
    parts->groups.items[parts->groups.count++] = SLICE("#*");
    parts->relay.items[parts->relay.count++] = SLICE("*");
    grant = grant_new(parts);
    free(parts);
    return grant;
}

struct grant *grant_ref(struct grant *grant)
{
    assert(grant->refs > 0);
    grant->refs++;
    return grant;
}

void grant_unref(struct grant *grant)
{
    if (!grant)
        return;
    assert(grant->refs > 0);
    if (--grant->refs == 0)
        free(grant);
}

bool grant_may_speak_for(const struct grant *grant, struct slice address)
{
    /* Checked before the patterns: not even relay ["*"] speaks for the server or for a group. */
    if (!address_may_speak(address))
        return false;
    return slice_equal(address, slice_make(grant->sub, grant->sub_len)) ||
           config_covers(&grant->relay, address);
}

bool grant_may_send_to(const struct grant *grant, struct slice address)
{
    return address_may_speak(address) && config_covers(&grant->send, address);
}

bool grant_may_use_group(const struct grant *grant, struct slice group)
{
    if (!address_valid(group) || !address_is_group(group))
        return false;
    /* #all reaches every session on every node, and needs `broadcast`: no pattern such as "*" or
     * "#a*" is enough. */
    if (slice_equal(group, SLICE("#all")))
        return grant->broadcast;
    return config_covers(&grant->groups, group);
}
