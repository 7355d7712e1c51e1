/*
 * The configuration: ONE table of keys (keys.c) drives reading, checking, explain-config and
 * reload.
 *
 * A struct config is immutable once loaded. The master loads the config (files, environment, key
 * files, the revocation list) and sends it to workers as the bytes of config_pack, so that a worker
 * without privileges never has to read a file.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct config_list {
    char **items; /* NUL-terminated, owned by the config */
    size_t count;
};

enum config_redis_kind { CONFIG_REDIS_NONE, CONFIG_REDIS_TCP, CONFIG_REDIS_UNIX };

/* The chosen dataSource, taken apart. */
struct config_redis {
    enum config_redis_kind kind;
    char *host; /* TCP */
    int64_t port;
    char *path;   /* UNIX */
    char *folder; /* embedded:DIR, absolute; the master starts a Redis that listens at path;
                     "" : not embedded */
    char *user, *password; /* "" when the uri names none; never printed */
    int64_t db;
    bool tls; /* TCP: rediss:// */
};

/* The type of a key. The type fixes the algorithm that the key verifies: a token never chooses. */
enum config_kty {
    CONFIG_KTY_ED25519, /* EdDSA, PASETO v4.public */
    CONFIG_KTY_HMAC,    /* HS256 */
    CONFIG_KTY_RS256,   /* this and the following: of a JWK Set alone */
    CONFIG_KTY_PS256,
    CONFIG_KTY_ES256,
};

enum { CONFIG_KID_BYTES_MAX = 255, CONFIG_RSA_E_BYTES = 4 };

struct config_key {
    /* 1 to 64 of A-Z a-z 0-9 _ - . ; of a JWK Set any text, or "": the key has no kid */
    char kid[CONFIG_KID_BYTES_MAX + 1];
    enum config_kty kty;
    /* 32 of an Ed25519 public key; 32 to 512 of an HMAC secret (secret.c); RSA: the public exponent
     * in CONFIG_RSA_E_BYTES, then the modulus without zeros in front; ES256: x and y, 32 each. All
     * numbers with the highest byte first. */
    uint8_t *bytes;
    size_t len;
    int64_t not_after; /* Unix seconds; INT64_MAX: no end */
};

/* A certificate and its private key, as their files hold them in PEM. */
struct config_pair {
    char *cert_file, *key_file; /* absolute */
    char *chain;                /* the certificates of cert_file and nothing else in it */
    size_t chain_len;
    uint8_t *key; /* locked memory (secret.c); NULL in a worker that has made its contexts */
    size_t key_len;
};

struct config_key_set {
    struct config_key *keys;
    size_t count;
};

struct config {
    char *file; /* the path of the configuration file */
    char *dir;  /* the directory of that file, where relative paths start */

    int64_t socket_port;                /* 0: none */
    struct config_list listen;          /* listen.h reads an item */
    struct config_list paths;           /* served; an item that ends in "*" is a prefix */
    char *health_path;                  /* "" : none */
    struct config_list trusted_proxies; /* networks (common/ip.h) */
    char *proxy_protocol;               /* off required */
    int64_t connections_max;            /* maxWebSocketConnections, all workers together */
    int64_t workers;                    /* as written: 0 = one a core */
    int64_t ssl_port;                   /* 0: none */
    char *ssl_cert_path, *ssl_key_path;
    struct {
        struct config_pair *pairs; /* from the two paths and tls.certificates; the first is the
                                      default; empty when nothing speaks TLS */
        size_t pair_count;
        int64_t ticket_s; /* 0: no tickets */
    } tls;
    char *pid_file; /* absolute, or relative to the working directory; "" : the default (see
                       pidfile) */
    char *user, *group;
    char *node_id; /* "" : the host name and a random part */
    int64_t node_lease_s;
    struct config_redis redis;

    struct {
        bool required, allow_unending;
        char *audience, *issuer;      /* "" : not checked */
        char *cookie;                 /* "" : no token from a cookie */
        char *key_dir, *revoked_file; /* absolute */
        int64_t leeway_s;
        struct config_list origins; /* empty: any */
        /* Read from revoked_file, sorted by strcmp: jtis; and "SUB\nSECONDS", each sub once, whose
         * tokens are revoked when issued before (INT64_MAX: all of them). */
        struct config_list revoked, revoked_subs;
        struct config_key *keys; /* from auth.keys and auth.keyDir; kid is unique */
        size_t key_count;
        char *jwks_file;            /* absolute; "" : none */
        struct config_key_set jwks; /* read from jwks_file; a kid is there once, and not in keys */
        int64_t jwks_stamp;         /* of jwks_file when it was read, see config_jwks_stamp */
        int64_t jwks_refresh_s;     /* 0: only with a reload */
        char *claim_address, *claim_rights; /* names of claims */
        struct {                            /* of a token without the claim of rights */
            struct config_list send, groups, relay;
            bool broadcast, admin;
        } default_grant;
        int64_t remembered; /* tokens that a worker remembers to be good; 0: none */
    } auth;

    struct {
        int64_t message_bytes, header_bytes, handshake_s, ping_s, pong_s, recipients;
        int64_t messages_per_s, burst;  /* of an address, on a worker; messages_per_s 0: no limit */
        int64_t acks_per_s, acks_burst; /* likewise */
        /* A rate of 0: no limit. */
        int64_t stored_bytes_per_s, stored_bytes_burst, new_mailboxes_per_minute;
        int64_t inflated_bytes_per_s; /* of an address, on a worker; 0: no limit */
        int64_t queue_bytes, ring_queue_bytes, slow_consumer_s,
            connections_per_ip;     /* connections_per_ip 0: no limit */
        int64_t pending_handshakes; /* a worker */
        int64_t commands_waiting;   /* of a session */
        int64_t recall_entries;     /* of the sender's log, a recall */
        int64_t errors_per_minute;  /* rejected messages a minute; past the limit close 4503; 0: no
                                       limit */
    } limits;

    struct {
        int64_t per_address, devices_per_address, groups_per_session;
        bool copy_to_sender;
        int64_t per_service, service_credit;
        int64_t replacements_per_s; /* of an address and of a device, on a worker; 0: no limit */
    } sessions;

    struct config_list service_addresses; /* patterns, as a token's */

    struct {
        char *durability; /* memory fsync replica */
        int64_t replicas, replica_timeout_ms;
        char *addresses;                    /* any known */
        struct config_list known_addresses; /* patterns, as a token's */
        int64_t messages_max, bytes_max, age_s;
        char *full; /* trim reject */
        int64_t dedupe_s;
    } mailbox;

    struct {
        char *prefix; /* "po:" */
        int64_t command_timeout_ms, reconnect_min_ms, reconnect_max_ms;
        char *program;        /* embedded: a name or an absolute path; "" : the usual names */
        int64_t memory_bytes; /* embedded: maxmemory */
    } redis_options;

    struct {
        char *ca_file, *cert_file, *key_file; /* absolute; "" : none */
        char *ca, *cert, *key;                /* what the files hold, PEM */
        char *server_name;                    /* "" : the host of the uri */
        bool verify;
    } redis_tls;

    struct {
        char *level; /* debug info warn error */
        char *file;  /* absolute; "" : standard error */
    } log;

    struct {
        bool enabled, takeover;
        int64_t min_bytes, level, mem_level, window_bits;
        int64_t takeover_sessions; /* of a worker */
        int64_t large_bytes_per_s; /* of a worker; 0: no limit */
    } compression;

    struct {
        struct config_list listen; /* empty: no clerk; "unix:" alone is beside the pid file */
        int64_t connections, body_bytes, revocations;
    } admin;

    int64_t shutdown_s;
    int64_t watchdog_s; /* 0: off */
};

/* Where the configuration is. All strings are borrowed; NULL when not given on the command line. */
struct config_source {
    const char *file;       /* --config FILE */
    const char *env;        /* --env NAME; else POSTOFFICE_ENV; else config.json, or dev */
    const char *config_dir; /* --config-dir DIR: this folder alone; else find.c's folders */
};

/* Errors, warnings and notes for a person, a line of text each: `FILE:LINE:COLUMN: KEY: found WHAT,
 * allowed WHAT`. Below it, where the key is written in the file, an excerpt: that line of the file,
 * and a mark under what was found. An excerpt's lines begin with a blank, no other does. Nothing
 * here ever holds a secret. */
struct config_report {
    struct buf errors, warnings, notes;
    size_t error_count, warning_count, note_count; /* those counted and not shown too */
    size_t timed_count; /* warnings among them that time alone has brought: of such none stops a
                           start */
    /* Of the file that is being read, for config/ alone: its text, and the same without the text of
     * comments. Borrowed. */
    struct slice text, shown;
};

void config_report_init(struct config_report *report);
void config_report_fini(struct config_report *report);
/* Takes the next line that is no excerpt, without its end, from *rest; false when there is none. */
bool config_report_next(struct slice *rest, struct slice *line);

/* Returns the config, owned by the caller, or NULL with at least one line in report->errors. */
struct config *config_load(const struct config_source *source, struct config_report *report);
/* The same from text instead of a file; `file` is used for messages and relative paths. Environment
 * variables count only when use_environment is true. For tests and the fuzzer too. */
struct config *config_from_text(struct slice text, const char *file, bool use_environment,
                                struct config_report *report);
/* NULL is allowed. Wipes secrets. */
void config_free(struct config *config);

/* Appends the whole config as bytes, keys and revocation list included, for a worker. OK, ERR_FULL
 * or ERR_NOMEM. config_unpack makes a config from such bytes, owned by the caller; NULL when the
 * bytes are not a packed config, or memory is out. */
enum err config_pack(const struct config *config, struct buf *out);
struct config *config_unpack(struct slice packed);

/* Returns a number that changes when auth.jwks is written or replaced (from its device, inode, size
 * and time); 0 when there is no such file, or none is configured. */
int64_t config_jwks_stamp(const struct config *config);
/* Returns a copy of config with the keys that auth.jwks holds now, owned by the caller; NULL, with
 * the reason in report->errors, when the file cannot be used. */
struct config *config_with_jwks(const struct config *config, struct config_report *report);

/* How a reload applies a key: in place; by new workers; not at all, until a restart. changes.h
 * compares configs. */
enum config_apply { CONFIG_LIVE, CONFIG_SWAP, CONFIG_RESTART };

/* Wipes and frees the private keys, which the caller has handed on; the chains stay. */
void config_forget_pair_keys(struct config *config);

/* In a worker, after the fork: locks the memory of the inherited secrets again. A limit that is too
 * low is logged once in a process and its children, and is no error. */
void config_lock_secrets(void);

/* Does one of the patterns cover the address? */
bool config_covers(const struct config_list *patterns, struct slice address);

/* The port that names the server to people and in its pid file: socketPort, or sslPort when no
 * other port is open. */
static inline int64_t config_main_port(const struct config *config)
{
    return config->socket_port ? config->socket_port : config->ssl_port;
}

/* The number of workers wanted: config->workers, or one a core when that is 0. */
uint32_t config_worker_count(const struct config *config);

#endif
