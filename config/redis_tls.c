/*
 * The files that the connections to Redis need for TLS. The bytes are read here, as they stand;
 * whether they are certificates is judged by the master, because this room knows no TLS.
 */
#include "config/parts.h"

#include <stdlib.h>
#include <string.h>

enum { ISSUERS_BYTES_MAX = 1 << 20 };

static void read_pem(struct draft *draft, const char *key, const char *path, size_t size_max,
                     bool secret, char **field)
{
    struct spot spot = draft_spot(draft, key);
    struct stat status;
    struct buf text;
    const char *reason;

    if (!*path)
        return;
    reason = file_read(path, size_max, &text, &status);
    if (reason) {
        report_error(draft->report, spot,
                     "found \"%s\" unreadable (%s), allowed a file in PEM of at most %zu bytes",
                     path, reason, size_max);
        return;
    }
    if (text.len == 0 || memchr(text.data, 0, text.len))
        report_error(draft->report, spot, "found \"%s\" that is no text, allowed a file in PEM",
                     path);
    else if (keyfile_is_guarded(draft, spot, path, secret, &status))
        read_draft_text(draft, field, buf_text(&text));
    file_wipe(&text);
}

static void warn_of_use(struct draft *draft)
{
    const struct config *config = draft->config;
    bool any = *config->redis_tls.ca_file || *config->redis_tls.cert_file ||
               *config->redis_tls.key_file || *config->redis_tls.server_name;

    if (any && !config->redis.tls)
        report_warning(draft->report, draft_spot(draft, "redis.tls"),
                       "found with a source that is not rediss://: Redis is reached without TLS");
    if (config->redis.tls && !config->redis_tls.verify)
        report_warning(draft->report, draft_spot(draft, "redis.tls.verify"),
                       "found false: whoever is between this server and Redis can read and change "
                       "everything");
}

void redis_tls_load(struct draft *draft)
{
    struct config *config = draft->config;

    warn_of_use(draft);
    if (!config->redis.tls)
        return;
    if (!*config->redis_tls.cert_file != !*config->redis_tls.key_file)
        report_error(draft->report,
                     *config->redis_tls.cert_file
                         ? draft_spot_or(draft, "redis.tls.keyFile", "redis.tls.certFile")
                         : draft_spot_or(draft, "redis.tls.certFile", "redis.tls.keyFile"),
                     "found nothing, allowed the other file of the pair");
    read_pem(draft, "redis.tls.caFile", config->redis_tls.ca_file, ISSUERS_BYTES_MAX, false,
             &config->redis_tls.ca);
    read_pem(draft, "redis.tls.certFile", config->redis_tls.cert_file, KEY_CHAIN_BYTES_MAX, false,
             &config->redis_tls.cert);
    read_pem(draft, "redis.tls.keyFile", config->redis_tls.key_file, KEY_PEM_BYTES_MAX, true,
             &config->redis_tls.key);
}
