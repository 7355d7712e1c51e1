/* A reload: which keys differ, how each is applied, and the configuration in force afterwards. */
#ifndef CONFIG_CHANGES_H
#define CONFIG_CHANGES_H

#include "config/config.h"

struct config_change {
    const char *key; /* static */
    enum config_apply apply;
};
/* Returns how many keys differ, with the first `max` of them in changes. Changed key files, a
 * changed JWK Set and changed revocations count as auth.keyDir, auth.jwks and auth.revoked. */
size_t config_diff(const struct config *before, const struct config *after,
                   struct config_change *changes, size_t max);
/* Returns the config that is in force after a reload: a copy of `after` in which every key that
 * needs a restart has the value of `before`. Owned by the caller; NULL when out of memory. */
struct config *config_reloaded(const struct config *before, const struct config *after);

#endif
