/* The value that a key has in a config, as text. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include "config/config.h"

/* Appends the value as JSON: what is in force, defaults and environment included. A Redis source is
 * shown without user and password. False: no such key, or one that only names files that other keys
 * hold (auth.keys, tls.certificates, dataSource.use). */
bool config_value(const struct config *config, const char *key, struct buf *out);

#endif
