/*
 * The pairs of certificate and private key that TLS presents: files that the configuration names.
 *
 * The bytes are read here, as they stand. The master judges whether they are a pair
 * (master/certificates.c), because this room knows no TLS.
 */
#include "config/listen.h"
#include "config/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char pem_begin[] = "-----BEGIN CERTIFICATE-----";
static const char pem_end[] = "-----END CERTIFICATE-----";

/* Takes the certificates out of the text, which may hold a private key beside them. False: no
 * certificate, or no memory. */
static bool take_chain(const struct buf *text, struct config_pair *pair)
{
    const char *at = text->data, *end = text->data + text->len, *stop;

    /* A line's end more for each certificate, of which none is as short as 32 bytes. */
    pair->chain = malloc(text->len + text->len / 32 + 2);
    while (pair->chain && (at = memmem(at, (size_t)(end - at), pem_begin, sizeof pem_begin - 1)) &&
           (stop = memmem(at, (size_t)(end - at), pem_end, sizeof pem_end - 1))) {
        size_t len = (size_t)(stop - at) + sizeof pem_end - 1;
        memcpy(pair->chain + pair->chain_len, at, len);
        pair->chain[pair->chain_len + len] = '\n';
        pair->chain_len += len + 1;
        at = stop + sizeof pem_end - 1;
    }
    return pair->chain_len > 0;
}

static void refuse_file(struct draft *draft, struct spot spot, const char *path, const char *reason,
                        const char *allowed)
{
    report_error(draft->report, spot, "found \"%s\" %s, allowed %s", path, reason, allowed);
}

static bool read_file(struct draft *draft, struct spot spot, const char *path, size_t size_max,
                      const char *allowed, struct buf *text, struct stat *status)
{
    const char *reason = file_read(path, size_max, text, status);
    char why[256];

    if (!reason)
        return true;
    snprintf(why, sizeof why, "unreadable (%s)", reason);
    refuse_file(draft, spot, path, why, allowed);
    return false;
}

static void read_chain(struct draft *draft, struct spot spot, struct config_pair *pair)
{
    static const char allowed[] = "a file with a certificate in PEM";
    struct stat status;
    struct buf text;
    bool good;

    if (!read_file(draft, spot, pair->cert_file, KEY_CHAIN_BYTES_MAX, allowed, &text, &status))
        return;
    good = take_chain(&text, pair);
    file_wipe(&text);
    if (good)
        keyfile_is_guarded(draft, spot, pair->cert_file, false, &status);
    else
        refuse_file(draft, spot, pair->cert_file, "without one", allowed);
}

static void read_key(struct draft *draft, struct spot spot, struct config_pair *pair)
{
    static const char allowed[] = "a file with the certificate's private key in PEM";
    struct stat status;
    struct buf text;

    if (!read_file(draft, spot, pair->key_file, KEY_PEM_BYTES_MAX, allowed, &text, &status))
        return;
    if (text.len)
        pair->key = secret_new(text.data, text.len);
    pair->key_len = text.len;
    file_wipe(&text);
    if (pair->key)
        keyfile_is_guarded(draft, spot, pair->key_file, true, &status);
    else
        refuse_file(draft, spot, pair->key_file, "empty", allowed);
}

/* Reads both files, so that the faults of both are reported, and keeps the pair. The paths are
 * absolute. */
static void keep_pair(struct draft *draft, struct spot cert_spot, struct spot key_spot,
                      const char *cert_file, const char *key_file)
{
    struct config *config = draft->config;
    struct config_pair *pairs, *pair;

    if (config->tls.pair_count == KEY_PAIRS_MAX) {
        report_error(draft->report, cert_spot, "found too many certificates, allowed %d",
                     KEY_PAIRS_MAX);
        return;
    }
    pairs = realloc(config->tls.pairs, (config->tls.pair_count + 1) * sizeof *pairs);
    if (pairs) {
        config->tls.pairs = pairs;
        pair = &pairs[config->tls.pair_count++];
        *pair =
            (struct config_pair){ .cert_file = strdup(cert_file), .key_file = strdup(key_file) };
        if (pair->cert_file && pair->key_file) {
            read_chain(draft, cert_spot, pair);
            read_key(draft, key_spot, pair);
            return;
        }
    }
    report_error(draft->report, cert_spot, "out of memory");
}

/* ---- tls.certificates ---- */

static const char *entry_path(struct draft *draft, struct spot spot, const struct cJSON *node,
                              const char *name)
{
    if (tree_kind(node) == NODE_TEXT && *tree_text(node))
        return tree_text(node);
    report_error(draft->report, spot, "found %s no path, allowed a path", name);
    return NULL;
}

static void load_entry(struct draft *draft, const struct cJSON *node, size_t index)
{
    const char *cert = NULL, *key = NULL;
    char where[64] = "", *cert_file, *key_file;
    struct spot spot = draft_spot_value(draft, where, node);

    snprintf(where, sizeof where, "tls.certificates[%zu]", index);
    for (const struct cJSON *member = tree_kind(node) == NODE_OBJECT ? tree_first(node) : NULL;
         member; member = tree_next(member)) {
        if (strcmp(tree_name(member), "certPath") == 0)
            cert = entry_path(draft, draft_spot_value(draft, where, member), member, "certPath");
        else if (strcmp(tree_name(member), "keyPath") == 0)
            key = entry_path(draft, draft_spot_value(draft, where, member), member, "keyPath");
        else
            report_error(draft->report, draft_spot_name(draft, where, member),
                         "found the unknown key \"%.64s\", allowed certPath, keyPath",
                         tree_name(member));
    }
    if (!cert || !key) {
        report_error(draft->report, spot,
                     "found no pair, allowed an object with certPath and keyPath");
        return;
    }
    cert_file = file_join(draft->config->dir, cert);
    key_file = file_join(draft->config->dir, key);
    if (cert_file && key_file)
        keep_pair(draft, spot, spot, cert_file, key_file);
    else
        report_error(draft->report, spot, "out of memory");
    free(cert_file);
    free(key_file);
}

void certfiles_load(struct draft *draft)
{
    const struct config *config = draft->config;
    struct spot cert = draft_spot_or(draft, "sslCertPath", "sslPort");
    struct spot key = draft_spot_or(draft, "sslKeyPath", "sslPort");
    size_t index = 0;

    if (!listen_needs_certificates(config))
        return;
    if (*config->ssl_cert_path && *config->ssl_key_path)
        keep_pair(draft, cert, key, config->ssl_cert_path, config->ssl_key_path);
    else if (*config->ssl_cert_path || *config->ssl_key_path)
        report_error(draft->report,
                     *config->ssl_cert_path ? draft_spot_or(draft, "sslKeyPath", "sslCertPath")
                                            : draft_spot_or(draft, "sslCertPath", "sslKeyPath"),
                     "found nothing, allowed the other file of the pair");
    for (const struct cJSON *node = draft->pairs ? tree_first(draft->pairs) : NULL; node;
         node = tree_next(node))
        load_entry(draft, node, index++);
    if (config->tls.pair_count || !report_clean(draft->report))
        return;
    if (config->ssl_port)
        report_error(draft->report, cert,
                     "found nothing, allowed a certificate (PEM), because sslPort is set");
    else
        report_error(draft->report, draft_spot(draft, "admin.listen"),
                     "found an address that is not loopback, and no certificate for it, allowed "
                     "such an address with sslCertPath and sslKeyPath, or tls.certificates");
}
