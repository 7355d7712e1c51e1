#include "config/changes.h"

#include "config/listen.h"
#include "config/parts.h"

/* Returns how a reload applies a change of the key. The master starts one embedded Redis, and no
 * second one beside it: storage that begins or ends to be embedded, or lies in another folder,
 * waits for a restart. */
static enum config_apply apply_of(const struct key *key, const struct config *before,
                                  const struct config *after)
{
    if (key->type == KEY_SOURCES && (*before->redis.folder || *after->redis.folder))
        return CONFIG_RESTART;
    return key->apply;
}

size_t config_diff(const struct config *before, const struct config *after,
                   struct config_change *changes, size_t max)
{
    const char *last = "";
    size_t count = 0;

    for (size_t i = 0; i < config_key_rows; i++) {
        const struct key *key = &config_keys[i];
        /* A key and the contents of the file that the key names are neighbouring rows of one name:
         * one change. */
        if (!key->name || strcmp(key->name, last) == 0 || !pack_row_differs(key, before, after))
            continue;
        if (count < max)
            changes[count] = (struct config_change){ key->name, apply_of(key, before, after) };
        count++;
        last = key->name;
    }
    return count;
}

/* The doors of TLS stay open until a restart, and need certificates as long. */
static bool keeps_certs(const struct key *key, const struct config *before,
                        const struct config *after)
{
    return key->type == KEY_CERTS && listen_needs_certificates(before) &&
           after->tls.pair_count == 0;
}

struct config *config_reloaded(const struct config *before, const struct config *after)
{
    struct config *config = config_copy(after);

    for (size_t i = 0; config && i < config_key_rows; i++) {
        if (apply_of(&config_keys[i], before, after) != CONFIG_RESTART &&
            !keeps_certs(&config_keys[i], before, after))
            continue;
        if (!pack_row_copy(&config_keys[i], before, config)) {
            config_free(config);
            return NULL;
        }
    }
    /* auth.required is live but listen is not: false was allowed for a loopback address that is not
     * in force yet, and must not open the port that is. */
    if (config && !listen_is_local(&config->listen))
        config->auth.required = true;
    return config;
}
