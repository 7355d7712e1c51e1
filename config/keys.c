/*
 * The ONE table of keys. Reading, checking, packing, comparing and explaining all walk it.
 *
 * The order is the order of explain-config and docs/configuration.md, and of the bytes of a packed
 * config.
 */
#include "config/keys.h"

#include "common/workers.h"
#include "config/checks.h"
#include "config/listen.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define AT(field) .offset = offsetof(struct config, field)
#define NUMBER(key, field, first, low, high, when, words)                                          \
    {                                                                                              \
        .name = (key), .type = KEY_INT, .apply = (when), AT(field), .min = (low), .max = (high),   \
        .initial = (first), .help = (words)                                                        \
    }
#define FLAG(key, field, first, when, words)                                                       \
    {                                                                                              \
        .name = (key), .type = KEY_BOOL, .apply = (when), AT(field), .max = 1, .initial = (first), \
        .help = (words)                                                                            \
    }
#define LIST(key, field, first, when, words, ...)                                                  \
    {                                                                                              \
        .name = (key), .type = KEY_LIST, .apply = (when), AT(field), .initial_text = (first),      \
        .help = (words), __VA_ARGS__                                                               \
    }
#define TEXT(key, field, first, when, words, ...)                                                  \
    {                                                                                              \
        .name = (key), .type = KEY_TEXT, .apply = (when), AT(field), .initial_text = (first),      \
        .help = (words), __VA_ARGS__                                                               \
    }

#define ALLOWED_CLAIM                                                                              \
    "1 to 128 printable ASCII characters but \" and \\, no spaces, and none of aud, exp, iat, "    \
    "iss, jti, nbf"

/* clang-format off */
const struct key config_keys[] = {
    /* Fields that no key sets, but that a worker must have. */
    TEXT(NULL, file, "", CONFIG_LIVE, NULL, .base = BASE_NONE),
    TEXT(NULL, dir, "", CONFIG_LIVE, NULL, .base = BASE_NONE),

    NUMBER("socketPort", socket_port, 7502, 0, 65535, CONFIG_RESTART,
           "The TCP port for WebSocket connections in plain text; 0: none, sslPort alone."),
    LIST("listen", listen, "0.0.0.0", CONFIG_RESTART,
         "Where connections are accepted, one address or a list. An address without a port has socketPort. "
         "127.0.0.1 for this machine alone; :: for IPv6, and for IPv4 too unless the list has an IPv4 address of the same "
         "port. A unix socket has mode 0660 and the master's group unless the item says otherwise.",
         .check = check_listen, .min = 1, .max = LISTEN_MAX, .lone = true,
         .allowed = "an IPv4 or IPv6 address or \"localhost\", with :PORT behind it (an IPv6 address then in brackets) or not, "
                    "or unix:/PATH?mode=0660&group=NAME"),
    LIST("path", paths, "/,/ws", CONFIG_LIVE,
         "The paths that are served; one that ends in * is every path that begins so. Any other is answered with 404.",
         .check = check_path, .min = 1, .max = 64, .lone = true,
         .allowed = "a path that begins with / and has no ?, # or space, and * only at its end"),
    TEXT("healthPath", health_path, "/healthz", CONFIG_LIVE,
         "A GET of this path says whether the server serves (200) or not (503), for load balancers; empty: it is a path "
         "like others.", .check = check_health_path,
         .allowed = "empty, or a path that begins with / and has no ?, #, * or space"),
    LIST("trustedProxies", trusted_proxies, NULL, CONFIG_LIVE,
         "Whose word is taken on the address of a client: X-Forwarded-For, Forwarded, and the PROXY header. Nobody's when "
         "empty.", .check = check_network, .lone = true,
         .allowed = "an IPv4 or IPv6 address, a network as 10.0.0.0/8 (no bits set behind the prefix), or unix"),
    TEXT("proxyProtocol", proxy_protocol, "off", CONFIG_LIVE,
         "required: every connection begins with a PROXY header, version 1 or 2, and comes from trustedProxies.",
         .check = check_proxy_protocol, .allowed = "off or required"),
    NUMBER("maxWebSocketConnections", connections_max, 20000, 1, 4000000, CONFIG_RESTART,
           "Connections of all workers together; one more is answered with 503. Shared memory is sized by it."),
    NUMBER("workers", workers, 0, 0, WORKERS_WANTED_MAX, CONFIG_LIVE,
           "Worker processes; 0: one for each processor core."),

    { .name = "dataSource.redis", .type = KEY_SOURCES, .apply = CONFIG_SWAP, AT(redis),
      .variable = "POSTOFFICE_REDIS_URI",
      .allowed = "host:port, redis://[user:password@]host[:port][/db], rediss:// (TLS), unix:PATH or embedded:DIR",
      .help = "Written {\"NAME\": {\"uri\": \"...\"}}. The first one counts, or the one that dataSource.use names. "
              "A relative unix: path starts at the working directory. embedded:DIR: the server starts a Redis of its own, which "
              "keeps the mail in DIR (a relative one starts at the configuration file). Characters that mean something in a "
              "uri are written as %XX in user and password. Without any, only sessions on the same worker "
              "reach each other. The variable replaces the uri of the one that counts." },
    { .name = "dataSource.use", .type = KEY_USE, .apply = CONFIG_SWAP,
      .allowed = "a name under dataSource.redis",
      .help = "Which of several is used; the first when absent." },

    NUMBER("sslPort", ssl_port, 0, 0, 65535, CONFIG_RESTART,
           "The TCP port for WebSocket connections over TLS (wss), on the addresses of socketPort; 0: none."),
    TEXT("sslCertPath", ssl_cert_path, "", CONFIG_LIVE,
         "The certificate (PEM), with those that lead to its issuer behind it. Read again by every reload. A relative path "
         "starts at the configuration file.", .base = BASE_FILE),
    TEXT("sslKeyPath", ssl_key_path, "", CONFIG_LIVE,
         "The certificate's private key (PEM), without a passphrase, readable by its owner alone. A relative path starts at "
         "the configuration file.", .base = BASE_FILE),
    { .name = "tls.certificates", .type = KEY_PAIRS, .apply = CONFIG_LIVE,
      .help = "Further certificates, chosen by the server name that a client asks for: {\"certPath\": ..., \"keyPath\": ...}. "
              "A client that names no server, or an unknown one, gets that of sslCertPath, or the first of the list. "
              "Relative paths start at the configuration file." },
    { .name = "tls.certificates", .type = KEY_CERTS, .apply = CONFIG_LIVE, AT(tls.pairs) },
    NUMBER("tls.ticketSeconds", tls.ticket_s, 28800, 0, 604800, CONFIG_LIVE,
           "For so long a client can resume its TLS session, on any worker; the keys of the tickets change four times in it. "
           "0: every connection makes a full handshake."),

    TEXT("pidFile", pid_file, "", CONFIG_RESTART,
         "The locked file that keeps two servers apart; a relative path starts at the working directory.", .check = NULL),
    TEXT("user", user, "", CONFIG_RESTART,
         "Whom workers become when started as root; empty: nobody.", .check = NULL),
    TEXT("group", group, "", CONFIG_RESTART,
         "The group of the workers when started as root; empty: the user's own.", .check = NULL),
    TEXT("node.id", node_id, "", CONFIG_RESTART,
         "This server's name among the nodes that share a Redis; empty: the host name and a random part.",
         .check = check_node, .allowed = "at most 64 of A-Z a-z 0-9 _ . - :"),
    NUMBER("node.leaseSeconds", node_lease_s, 10, 3, 300, CONFIG_LIVE,
           "After so long without a word from a worker, nodes that share a Redis take its sessions for gone."),

    FLAG("auth.required", auth.required, true, CONFIG_LIVE,
         "Every session needs a token. false is refused unless listen is a loopback address."),
    { .name = "auth.keys", .type = KEY_KEYS, .apply = CONFIG_LIVE,
      .help = "Keys that verify tokens: {\"kid\": ..., \"kty\": \"ed25519\" with \"publicFile\" or \"hmac\" with "
              "\"secretFile\", \"notAfter\": Unix seconds, optional}. Relative paths start at the configuration file." },
    TEXT("auth.keyDir", auth.key_dir, "keys", CONFIG_LIVE,
         "Every KID.pub (Ed25519 public key) and KID.secret (HMAC) in it is a key too, 32 bytes in base64 on "
         "one line. A relative path starts at the configuration file; empty: none.", .base = BASE_FILE),
    { .name = "auth.keyDir", .type = KEY_STORE, .apply = CONFIG_LIVE, AT(auth.keys) },
    TEXT("auth.jwks", auth.jwks_file, "", CONFIG_LIVE,
         "A JWK Set file (RFC 7517), as an identity provider publishes: its RSA (RS256, PS256), EC P-256 (ES256), OKP "
         "(Ed25519) and oct (HS256) keys verify JWTs too. A relative path starts at the configuration file; empty: none.",
         .base = BASE_FILE),
    { .name = "auth.jwks", .type = KEY_SET, .apply = CONFIG_LIVE, AT(auth.jwks) },
    { .name = NULL, .type = KEY_INT, .apply = CONFIG_LIVE, AT(auth.jwks_stamp), .min = INT64_MIN, .max = INT64_MAX },
    NUMBER("auth.jwksRefreshSeconds", auth.jwks_refresh_s, 60, 0, 86400, CONFIG_LIVE,
           "How often the master looks whether auth.jwks has changed, and reads it again if so. 0: only with a reload."),
    TEXT("auth.claims.address", auth.claim_address, "sub", CONFIG_LIVE,
         "The claim that holds the address of a token: sub, email, preferred_username or any other text.",
         .check = check_claim, .allowed = ALLOWED_CLAIM),
    TEXT("auth.claims.rights", auth.claim_rights, "po", CONFIG_LIVE,
         "The claim that holds the rights of a token, an object as docs/protocol.md, section 6, describes po.",
         .check = check_claim, .allowed = ALLOWED_CLAIM),
    LIST("auth.defaultGrant.send", auth.default_grant.send, "*", CONFIG_LIVE,
         "Rights of a token without the claim of rights: user addresses that it may send to.",
         .check = check_grant_pattern, .allowed = "a user address, or a prefix and *"),
    LIST("auth.defaultGrant.groups", auth.default_grant.groups, NULL, CONFIG_LIVE,
         "The same: groups that it may use.",
         .check = check_group_pattern, .allowed = "a group, which begins with #, or a prefix and *"),
    LIST("auth.defaultGrant.relay", auth.default_grant.relay, NULL, CONFIG_LIVE,
         "The same: addresses that it may speak for besides its own.",
         .check = check_grant_pattern, .allowed = "a user address, or a prefix and *"),
    FLAG("auth.defaultGrant.broadcast", auth.default_grant.broadcast, false, CONFIG_LIVE,
         "The same: it may post to #all."),
    FLAG("auth.defaultGrant.admin", auth.default_grant.admin, false, CONFIG_LIVE,
         "The same: it may use the admin interface."),
    NUMBER("auth.rememberedTokens", auth.remembered, 16384, 0, 1000000, CONFIG_LIVE,
           "Tokens whose public-key signature a worker has verified and does not verify again, until they end or the "
           "configuration changes. 0: every token is verified each time."),
    TEXT("auth.audience", auth.audience, "", CONFIG_LIVE,
         "A token's aud must name it; empty: not checked.", .check = NULL),
    TEXT("auth.issuer", auth.issuer, "", CONFIG_LIVE,
         "A token's iss must be it; empty: not checked.", .check = NULL),
    TEXT("auth.cookie", auth.cookie, "", CONFIG_LIVE,
         "The cookie that a token may come in; empty: none.",
         .check = check_cookie, .allowed = "a cookie's name (RFC 6265), at most 128 bytes"),
    FLAG("auth.allowUnending", auth.allow_unending, false, CONFIG_LIVE,
         "Tokens without exp are good."),
    NUMBER("auth.leewaySeconds", auth.leeway_s, 5, 0, 60, CONFIG_LIVE,
           "How far clocks may differ when exp, nbf and iat are checked."),
    TEXT("auth.revoked", auth.revoked_file, "", CONFIG_LIVE,
         "A file of what is revoked, one a line: a token's jti, or sub:ADDRESS (all tokens of the address; with "
         "before:TIME those issued before). # begins a comment. Read again by every reload.", .base = BASE_FILE),
    { .name = "auth.revoked", .type = KEY_LIST, .apply = CONFIG_LIVE, AT(auth.revoked) },
    { .name = "auth.revoked", .type = KEY_LIST, .apply = CONFIG_LIVE, AT(auth.revoked_subs) },
    LIST("auth.origins", auth.origins, NULL, CONFIG_LIVE,
         "Web pages of these origins may connect (\"*.\" is any name below the host); empty: any, but a token from a cookie is then taken "
         "only from the server's own host.",
         .check = check_origin,
         .allowed = "scheme://host[:port] or scheme://*.host[:port] in lower case, without a path"),

    NUMBER("limits.messageBytes", limits.message_bytes, 1048576, 1024, 67108864, CONFIG_LIVE,
           "Largest message; past it close 1009."),
    NUMBER("limits.headerBytes", limits.header_bytes, 8192, 1024, 65536, CONFIG_LIVE,
           "Largest HTTP request head; past it 431."),
    NUMBER("limits.handshakeSeconds", limits.handshake_s, 10, 1, 300, CONFIG_LIVE,
           "Time for the whole request head; past it 408."),
    NUMBER("limits.pingSeconds", limits.ping_s, 25, 1, 3600, CONFIG_LIVE,
           "Silence after which a ping is sent."),
    NUMBER("limits.pongSeconds", limits.pong_s, 20, 1, 3600, CONFIG_LIVE,
           "Silence after a ping; past it close 1001."),
    NUMBER("limits.recipients", limits.recipients, 1000, 1, 10000, CONFIG_LIVE,
           "Addresses in to and cc of one message; past it too-many-recipients."),
    NUMBER("limits.messagesPerSecond", limits.messages_per_s, 100, 0, 1000000, CONFIG_LIVE,
           "Messages a second from one address on a worker, over all its sessions (of serviceAddresses: for each of them); "
           "past it rate-limited. 0: no limit."),
    NUMBER("limits.burst", limits.burst, 200, 1, 1000000, CONFIG_LIVE,
           "Messages that one address may send at once after a pause."),
    NUMBER("limits.acksPerSecond", limits.acks_per_s, 1000, 0, 1000000, CONFIG_LIVE,
           "The same for acknowledgements (ack), which do not count as messages. 0: no limit."),
    NUMBER("limits.acksBurst", limits.acks_burst, 10000, 1, 1000000, CONFIG_LIVE,
           "Acknowledgements that one address may send at once after a pause."),
    NUMBER("limits.storedBytesPerSecond", limits.stored_bytes_per_s, 1048576, 0, 1073741824, CONFIG_LIVE,
           "Bytes a second that the sessions of one address may store together; past it rate-limited. 0: no limit."),
    NUMBER("limits.storedBytesBurst", limits.stored_bytes_burst, 67108864, 65536, 17179869184, CONFIG_LIVE,
           "Bytes that one address may store at once after a pause."),
    NUMBER("limits.newMailboxesPerMinute", limits.new_mailboxes_per_minute, 5000, 0, 100000000, CONFIG_LIVE,
           "Addresses a minute, never heard of before, that one address may send mail to; past it rate-limited. 0: no limit."),
    NUMBER("limits.inflatedBytesPerSecond", limits.inflated_bytes_per_s, 2097152, 0, 1073741824, CONFIG_LIVE,
           "Text a second that the compressed messages of one address may be on a worker, over all its sessions; past it they "
           "are read later. 0: no limit."),
    NUMBER("limits.queueBytes", limits.queue_bytes, 1048576, 65536, 1073741824, CONFIG_LIVE,
           "Unsent bytes that wait for one session; past it signals are shed, lowest level first."),
    NUMBER("limits.ringQueueBytes", limits.ring_queue_bytes, 2097152, 0, 1073741824, CONFIG_LIVE,
           "Messages of a worker that wait for room in the rings to other workers, half of them for "
           "one; past it they are refused."),
    NUMBER("limits.slowConsumerSeconds", limits.slow_consumer_s, 30, 1, 3600, CONFIG_LIVE,
           "A full queue without progress; past it close 4002."),
    NUMBER("limits.connectionsPerIP", limits.connections_per_ip, 0, 0, 4000000, CONFIG_LIVE,
           "Connections from one IP address; past it 503. 0: no limit."),
    NUMBER("limits.pendingHandshakes", limits.pending_handshakes, 4096, 16, 1000000, CONFIG_LIVE,
           "Connections of one worker that have not finished their request head; past it the oldest gets 503."),
    NUMBER("limits.commandsWaiting", limits.commands_waiting, 64, 0, 10000, CONFIG_LIVE,
           "history, recall, presence and subscribe commands of one session that wait while another is carried out; past it "
           "rate-limited."),
    NUMBER("limits.recallEntries", limits.recall_entries, 10000, 1, 1000000, CONFIG_LIVE,
           "Entries of a sender's log that one recall searches, the newest first; past it not-found."),
    NUMBER("limits.errorsPerMinute", limits.errors_per_minute, 0, 0, 1000000, CONFIG_LIVE,
           "Rejected messages of one session; past it close 4503. 0: no limit."),

    NUMBER("sessions.perAddress", sessions.per_address, 8, 1, 64, CONFIG_LIVE,
           "Sessions that one address may have; the oldest gives way."),
    NUMBER("sessions.devicesPerAddress", sessions.devices_per_address, 64, 1, 256, CONFIG_LIVE,
           "Devices of one address whose cursor is kept; the device that was used longest ago gives way."),
    NUMBER("sessions.groupsPerSession", sessions.groups_per_session, 100, 0, 1000, CONFIG_LIVE,
           "Groups that one session may be subscribed to."),
    FLAG("sessions.copyToSender", sessions.copy_to_sender, true, CONFIG_LIVE,
         "What one device sends is put into its own address's mailbox for the other devices."),
    NUMBER("sessions.perServiceAddress", sessions.per_service, 64, 1, 100, CONFIG_LIVE,
           "The same for an address of serviceAddresses."),
    NUMBER("sessions.serviceCredit", sessions.service_credit, 64, 1, 1000, CONFIG_LIVE,
           "Messages that one session of a service address may have without having acknowledged them."),

    NUMBER("sessions.replacementsPerSecond", sessions.replacements_per_s, 1, 0, 1000, CONFIG_LIVE,
           "How often sessions of one device, or of one address, may turn each other out on a worker, after a few "
           "times at once; past it a new session of it gets 429. 0: no limit."),

    LIST("serviceAddresses", service_addresses, NULL, CONFIG_SWAP,
         "Several sessions may share such an address, and each message goes to exactly one of them. "
         "The same on every node.",
         .check = check_pattern,
         .allowed = "a user address, or a prefix of some ending in *"),

    TEXT("mailbox.durability", mailbox.durability, "memory", CONFIG_SWAP,
         "What must be true of a message before it is accepted. memory: Redis has it. fsync: it is on Redis's disk, "
         "which must be set so (appendonly yes, appendfsync always). replica: mailbox.replicas replicas have it.",
         .check = check_durability, .allowed = "memory, fsync or replica"),
    NUMBER("mailbox.replicas", mailbox.replicas, 1, 1, 16, CONFIG_SWAP,
           "Replicas that must have a message when mailbox.durability is replica."),
    NUMBER("mailbox.replicaTimeoutMs", mailbox.replica_timeout_ms, 1000, 10, 60000, CONFIG_SWAP,
           "Time that they have; past it storage-unavailable. Less than redis.commandTimeoutMs."),
    TEXT("mailbox.addresses", mailbox.addresses, "any", CONFIG_LIVE,
         "Who gets mail. any: every address. known: an address that has had a session, or that a pattern names; any "
         "other is refused with not-found. Without a Redis of no effect.",
         .check = check_addresses, .allowed = "any or known"),
    LIST("mailbox.knownAddresses", mailbox.known_addresses, NULL, CONFIG_LIVE,
         "Known before they have had a session, when mailbox.addresses is known; serviceAddresses are too.",
         .check = check_pattern,
         .allowed = "a user address, or a prefix of some ending in *"),
    NUMBER("mailbox.maxMessages", mailbox.messages_max, 10000, 1, 10000000, CONFIG_LIVE,
           "Messages that one mailbox keeps."),
    NUMBER("mailbox.maxBytes", mailbox.bytes_max, 67108864, 65536, 1099511627776, CONFIG_LIVE,
           "Bytes of message bodies that one mailbox keeps."),
    NUMBER("mailbox.maxAgeSeconds", mailbox.age_s, 2592000, 60, 315360000, CONFIG_LIVE,
           "How long a mailbox keeps a message."),
    TEXT("mailbox.full", mailbox.full, "trim", CONFIG_LIVE,
         "When a mailbox holds mailbox.maxMessages or mailbox.maxBytes. trim: the oldest goes. reject: mailbox-full.",
         .check = check_full, .allowed = "trim or reject"),
    NUMBER("mailbox.dedupeSeconds", mailbox.dedupe_s, 300, 10, 86400, CONFIG_LIVE,
           "For so long a message with the same from and id is the same message."),

    TEXT("redis.prefix", redis_options.prefix, "po:", CONFIG_SWAP,
         "Begins every Redis key and channel.", .check = check_prefix,
         .allowed = "1 to 64 bytes without control characters, braces or spaces"),
    NUMBER("redis.commandTimeoutMs", redis_options.command_timeout_ms, 5000, 100, 600000, CONFIG_SWAP,
           "Time for an answer from Redis."),
    NUMBER("redis.reconnectMinMs", redis_options.reconnect_min_ms, 500, 10, 60000, CONFIG_SWAP,
           "First pause before Redis is tried again; it grows by half."),
    NUMBER("redis.reconnectMaxMs", redis_options.reconnect_max_ms, 10000, 10, 600000, CONFIG_SWAP,
           "Longest pause before Redis is tried again."),
    TEXT("redis.program", redis_options.program, "", CONFIG_LIVE,
         "The Redis of embedded:DIR. A name is looked for beside websocket-server, then in PATH; empty: redis-server, then "
         "valkey-server. A reload with another one ends the embedded Redis gently and starts it again.",
         .check = check_program, .allowed = "empty, a program's name, or an absolute path"),
    NUMBER("redis.memoryBytes", redis_options.memory_bytes, 536870912, 16777216, 17592186044416, CONFIG_LIVE,
           "Memory that the data of embedded:DIR may take; past it mail is refused with storage-unavailable. A reload with "
           "another number ends the embedded Redis gently and starts it again."),

    TEXT("redis.tls.caFile", redis_tls.ca_file, "", CONFIG_SWAP,
         "With rediss://: the certificates (PEM) of the issuers that are trusted for Redis; empty: the system's. A relative "
         "path starts at the configuration file.", .base = BASE_FILE),
    TEXT("redis.tls.caFile", redis_tls.ca, "", CONFIG_SWAP, NULL, .base = BASE_NONE),
    TEXT("redis.tls.certFile", redis_tls.cert_file, "", CONFIG_SWAP,
         "The certificate (PEM) that workers show to Redis, when Redis asks for one; empty: none.", .base = BASE_FILE),
    TEXT("redis.tls.certFile", redis_tls.cert, "", CONFIG_SWAP, NULL, .base = BASE_NONE),
    TEXT("redis.tls.keyFile", redis_tls.key_file, "", CONFIG_SWAP,
         "The private key (PEM) of that certificate, without a passphrase, readable by its owner alone.", .base = BASE_FILE),
    TEXT("redis.tls.keyFile", redis_tls.key, "", CONFIG_SWAP, NULL, .base = BASE_NONE),
    TEXT("redis.tls.serverName", redis_tls.server_name, "", CONFIG_SWAP,
         "The name, or the address, that the certificate of Redis must have; empty: the host of the uri.", .check = NULL),
    FLAG("redis.tls.verify", redis_tls.verify, true, CONFIG_SWAP,
         "Whether the certificate of Redis is verified. false: whoever is between may read and change everything."),

    FLAG("compression.enabled", compression.enabled, true, CONFIG_LIVE,
         "Messages are compressed (permessage-deflate) for clients that offer it. A reload counts for new connections."),
    NUMBER("compression.minBytes", compression.min_bytes, 1024, 0, 67108864, CONFIG_LIVE,
           "A shorter message is sent uncompressed."),
    NUMBER("compression.level", compression.level, 1, 1, 9, CONFIG_LIVE,
           "1: fast; 9: small."),
    NUMBER("compression.memLevel", compression.mem_level, 8, 1, 9, CONFIG_LIVE,
           "Memory of a compressor, beside its window: 2^(9 + this) bytes."),
    FLAG("compression.takeover", compression.takeover, false, CONFIG_LIVE,
         "A message may refer to earlier messages of its connection. Smaller, but each such session has a "
         "compressor and an inflater of its own, and lengths tell more about secrets."),
    NUMBER("compression.windowBits", compression.window_bits, 15, 9, 15, CONFIG_LIVE,
           "The window of a session with takeover is 2^this bytes; its compressor needs four times as much."),
    NUMBER("compression.takeoverSessions", compression.takeover_sessions, 256, 1, 1000000, CONFIG_LIVE,
           "Sessions with takeover on one worker; past it new sessions get none."),
    NUMBER("compression.largeBytesPerSecond", compression.large_bytes_per_s, 262144, 0, 1073741824, CONFIG_LIVE,
           "Bytes a second, in messages above 64 KiB, that one worker compresses; past it such a message leaves as it is. "
           "0: no limit."),

    TEXT("log.level", log.level, "info", CONFIG_LIVE, "The least that is logged.",
         .check = check_level, .allowed = "debug, info, warn or error"),
    TEXT("log.file", log.file, "", CONFIG_LIVE,
         "The log; a relative path starts at the working directory; empty: standard error.", .base = BASE_CWD),
    LIST("admin.listen", admin.listen, "unix:", CONFIG_RESTART,
         "Where operators and backends are answered by HTTP; an empty list: nowhere. unix: is a socket beside the pid "
         "file, with .admin in place of .pid and mode 0600; whoever may open a unix socket may do everything. At an "
         "IP address a token with po.admin is asked for; at one that is not loopback TLS is spoken, with the certificates of "
         "sslCertPath and tls.certificates.",
         .check = listen_is_admin, .max = LISTEN_MAX, .lone = true,
         .allowed = "unix:, or unix:/PATH?mode=0600&group=NAME, or ADDRESS:PORT or [ADDRESS]:PORT"),
    NUMBER("admin.connections", admin.connections, 64, 1, 1024, CONFIG_LIVE,
           "Connections at unix sockets of admin.listen, and as many at addresses. Others wait; at an address the oldest that "
           "has shown no good token gives way."),
    NUMBER("admin.bodyBytes", admin.body_bytes, 16 << 20, 1024, 256 << 20, CONFIG_LIVE,
           "Bytes of a request's body at admin.listen; a longer one is answered with 413. Bodies under way together may "
           "have four times as many; past that, 503."),
    NUMBER("admin.revocations", admin.revocations, 100000, 0, 1000000, CONFIG_LIVE,
           "Revocations that may be in force at a time by /api/v1/revocations; past it a further one is answered with "
           "507. All nodes need the same number."),
    NUMBER("shutdown.seconds", shutdown_s, 10, 1, 3600, CONFIG_LIVE,
           "Time that sessions have to leave when the server stops."),
    NUMBER("watchdog.seconds", watchdog_s, 30, 0, 3600, CONFIG_LIVE,
           "A worker without a heartbeat for so long is killed and replaced. 0: never."),
};
/* clang-format on */
const size_t config_key_rows = sizeof config_keys / sizeof config_keys[0];

const struct key *keys_find(const char *name)
{
    for (size_t i = 0; i < config_key_rows; i++)
        if (config_keys[i].help && strcmp(config_keys[i].name, name) == 0)
            return &config_keys[i];
    return NULL;
}

bool keys_is_section(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < config_key_rows; i++)
        if (config_keys[i].help && strncmp(config_keys[i].name, name, len) == 0 &&
            config_keys[i].name[len] == '.')
            return true;
    return false;
}

/* Levenshtein's distance; SIZE_MAX when a text is longer than any key. */
static size_t distance(const char *a, const char *b)
{
    enum { NAME_MAX_LEN = 48 };
    size_t a_len = strlen(a), b_len = strlen(b), row[NAME_MAX_LEN + 1];

    if (a_len > NAME_MAX_LEN || b_len > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_len];
}

const char *keys_nearest(const char *name)
{
    const char *nearest = NULL;
    size_t least = 3; /* more than two slips is another word */

    for (size_t i = 0; i < config_key_rows; i++) {
        const struct key *key = &config_keys[i];
        if (!key->help)
            continue;
        if (strcasecmp(key->name, name) == 0)
            return key->name;
        size_t far = distance(key->name, name);
        if (far < least) {
            least = far;
            nearest = key->name;
        }
    }
    return nearest;
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot ? dot + 1 : name;
}

bool keys_alike(const char *key, const char *name)
{
    enum { SHORT = 4 }; /* two slips make a short name anything */
    const char *part = last_part(name);
    size_t slips = strlen(part) > SHORT ? 2 : 1;

    return strcasecmp(key, name) == 0 || distance(key, name) <= slips ||
           distance(last_part(key), part) <= slips ||
           (strlen(name) >= SHORT && strcasestr(key, name));
}

bool key_variable(const struct key *key, char variable[KEY_VARIABLE_MAX])
{
    size_t len;

    if (!key->help || key->type == KEY_KEYS || key->type == KEY_PAIRS)
        return false;
    if (key->variable) {
        snprintf(variable, KEY_VARIABLE_MAX, "%s", key->variable);
        return true;
    }
    len = (size_t)snprintf(variable, KEY_VARIABLE_MAX, "POSTOFFICE_");
    for (const char *c = key->name; *c && len + 3 < KEY_VARIABLE_MAX; c++) {
        bool upper = *c >= 'A' && *c <= 'Z';
        if (upper && c > key->name && c[-1] >= 'a' && c[-1] <= 'z')
            variable[len++] = '_'; /* connectionsPerIP: CONNECTIONS_PER_IP, not PER_I_P */
        variable[len++] = (char)(*c == '.' ? '_' : toupper((unsigned char)*c));
    }
    variable[len] = 0;
    return true;
}

const char *key_allowed(const struct key *key, char text[KEY_ALLOWED_MAX])
{
    switch (key->type) {
    case KEY_INT:
        snprintf(text, KEY_ALLOWED_MAX, "a whole number from %" PRId64 " to %" PRId64, key->min,
                 key->max);
        break;
    case KEY_BOOL:
        snprintf(text, KEY_ALLOWED_MAX, "true or false");
        break;
    case KEY_LIST:
        snprintf(text, KEY_ALLOWED_MAX, "%s of strings, each %s",
                 key->lone ? "a string, or a list" : "a list", key->allowed);
        break;
    case KEY_KEYS:
        snprintf(text, KEY_ALLOWED_MAX, "a list of objects, each with kid, kty and a file");
        break;
    case KEY_PAIRS:
        snprintf(text, KEY_ALLOWED_MAX, "a list of objects, each with certPath and keyPath");
        break;
    case KEY_SOURCES:
        snprintf(text, KEY_ALLOWED_MAX, "an object of names, each with a uri");
        break;
    default:
        if (key->allowed)
            snprintf(text, KEY_ALLOWED_MAX, "%s", key->allowed);
        else
            snprintf(text, KEY_ALLOWED_MAX,
                     "a string of at most %d bytes without control characters", KEY_TEXT_MAX);
    }
    return text;
}

bool key_text_good(const struct key *key, const char *text)
{
    if (strlen(text) > KEY_TEXT_MAX)
        return false;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    return !key->check || key->check(text);
}
