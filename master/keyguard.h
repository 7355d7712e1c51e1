/*
 * A user who can write into the folder of keys decides who may connect. The workers read strangers'
 * bytes, so a worker that was taken over must not be able to add a key of its own.
 */
#ifndef MASTER_KEYGUARD_H
#define MASTER_KEYGUARD_H

#include "config/config.h"
#include "master/privileges.h"

/* False when the workers' user (or, without root, everybody) can write into auth.keyDir, to a key
 * in it, to auth.jwks, to a file of a TLS certificate or of redis.tls, or into the folder of such a
 * file. Then why says which path, and has the command that mends it. */
bool keyguard_check(const struct config *config, const struct privileges *privileges, char *why,
                    size_t why_size);

#endif
