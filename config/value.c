#include "config/value.h"

#include "common/json.h"
#include "config/keys.h"

static void add_list(struct buf *out, const struct config_list *list)
{
    buf_add_char(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        buf_add_text(out, i ? ", " : "");
        json_add_string(out, slice_of(list->items[i]));
    }
    buf_add_char(out, ']');
}

/* Without user and password. */
static void add_redis(struct buf *out, const struct config_redis *redis)
{
    struct buf uri;

    buf_init(&uri, 8192);
    if (*redis->path)
        buf_addf(&uri, "unix:%s", redis->path);
    else if (*redis->host)
        buf_addf(&uri, strchr(redis->host, ':') ? "%s://[%s]:%d/%lld" : "%s://%s:%d/%lld",
                 redis->tls ? "rediss" : "redis", redis->host, (int)redis->port,
                 (long long)redis->db);
    json_add_string(out, buf_slice(&uri));
    buf_fini(&uri);
}

bool config_value(const struct config *config, const char *name, struct buf *out)
{
    const struct key *key = keys_find(name);
    const void *value = key && key_has_field(key) ? key_value(key, config) : NULL;

    if (!value)
        return false;
    if (key->type == KEY_INT)
        buf_add_int(out, *(const int64_t *)value);
    else if (key->type == KEY_BOOL)
        buf_add_text(out, *(const bool *)value ? "true" : "false");
    else if (key->type == KEY_TEXT)
        json_add_string(out, slice_of(*(char *const *)value));
    else if (key->type == KEY_LIST)
        add_list(out, value);
    else if (key->type == KEY_SOURCES)
        add_redis(out, value);
    else
        return false;
    return true;
}
