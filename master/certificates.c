#include "master/certificates.h"

#include "common/log.h"
#include "shm/certs.h"
#include "worker/wire/tls.h"

#include <stdio.h>
#include <time.h>

enum { DAY_S = 24 * 3600, WARN_DAYS = 14, LOOK_MS = DAY_S * 1000 };
_Static_assert((int)CERT_NAMES_SIZE == (int)TLS_NAMES_SIZE, "copied whole");

static bool judge(const struct config_pair *pair, struct tls_facts *facts, char *why,
                  size_t why_size)
{
    struct tls_pair bytes = { slice_make(pair->chain, pair->chain_len),
                              slice_make((const char *)pair->key, pair->key_len) };

    return tls_pair_judge(&bytes, facts, why, why_size);
}

bool certificates_judge(const struct config *config, char *why, size_t why_size)
{
    struct tls_facts facts;
    char reason[160];

    for (size_t i = 0; i < config->tls.pair_count; i++) {
        const struct config_pair *pair = &config->tls.pairs[i];
        if (judge(pair, &facts, reason, sizeof reason))
            continue;
        snprintf(why, why_size, "found certificate \"%s\" with key \"%s\": %s", pair->cert_file,
                 pair->key_file, reason);
        return false;
    }
    return true;
}

static const char *time_text(int64_t unix_s, char text[32])
{
    time_t time = (time_t)unix_s;
    struct tm tm;

    if (!gmtime_r(&time, &tm) || strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(text, 32, "?");
    return text;
}

/* Returns what the operator must know about the time of a certificate; NULL: nothing. */
static const char *trouble_of(const struct tls_facts *facts, int64_t now_s)
{
    if (now_s >= facts->ends_s)
        return "ended";
    if (now_s < facts->begins_s)
        return "not-begun";
    return facts->ends_s - now_s < (int64_t)WARN_DAYS * DAY_S ? "ends-soon" : NULL;
}

struct troubled {
    const struct config_pair *pair;
    struct tls_facts facts;
    const char *trouble;
    char begins[32], ends[32];
};

/* Finds the next certificate with a trouble, from *at on. */
static bool next_troubled(const struct config *config, int64_t now_s, size_t *at,
                          struct troubled *found)
{
    char why[160];

    while (*at < config->tls.pair_count) {
        found->pair = &config->tls.pairs[(*at)++];
        if (!judge(found->pair, &found->facts, why, sizeof why))
            continue;
        found->trouble = trouble_of(&found->facts, now_s);
        if (!found->trouble)
            continue;
        time_text(found->facts.begins_s, found->begins);
        time_text(found->facts.ends_s, found->ends);
        return true;
    }
    return false;
}

size_t certificates_warn(const struct config *config, int64_t now_s, struct buf *out)
{
    struct troubled found;
    size_t at = 0, count = 0;

    for (; next_troubled(config, now_s, &at, &found); count++)
        buf_addf(out,
                 "%s: warning: certificate \"%s\" (%s) is good from %s to %s: clients refuse it "
                 "outside that "
                 "time; renew it and reload\n",
                 config->file, found.pair->cert_file, found.facts.names, found.begins, found.ends);
    return count;
}

uint64_t certificates_look(const struct config *config, uint64_t due_ms, uint64_t now_ms,
                           int64_t now_s)
{
    struct troubled found;
    size_t at = 0;

    if (now_ms < due_ms)
        return due_ms;
    while (next_troubled(config, now_s, &at, &found))
        log_warn("certificate_ends", "what=%s file=\"%s\" names=\"%s\" begins=%s ends=%s days=%lld",
                 found.trouble, found.pair->cert_file, found.facts.names, found.begins, found.ends,
                 (long long)((found.facts.ends_s - now_s) / DAY_S));
    return now_ms + LOOK_MS;
}

void certificates_publish(const struct config *config, struct region *region)
{
    static struct cert_view views[CERTS_MAX]; /* too large for the stack */
    struct tls_facts facts;
    char why[160];
    uint32_t count = 0;

    for (size_t i = 0; i < config->tls.pair_count && count < CERTS_MAX; i++) {
        if (!judge(&config->tls.pairs[i], &facts, why, sizeof why))
            continue;
        views[count].ends_s = facts.ends_s;
        snprintf(views[count].names, sizeof views[count].names, "%s", facts.names);
        count++;
    }
    certs_publish(region, views, count);
}
