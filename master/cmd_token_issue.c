/*
 * `websocket-server token issue`: makes a token for a person or a service.
 *
 * The command line becomes a token_request; the key is a file that the command line names, or the
 * newest one of auth.keyDir. The token is printed once, alone, on standard output.
 */
#include "common/clock.h"
#include "master/cmd_source.h"
#include "master/cmd_token_parts.h"
#include "master/keyfile.h"
#include "worker/token/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATTERNS_MAX = 256, TTL_S_DEFAULT = 3600 };

static const char help[] =
    "Usage: websocket-server token issue --sub ADDRESS [options]\n"
    "\n"
    "Makes a token and prints it, alone, on standard output.\n"
    "\n"
    "  --sub ADDRESS      whom it is for\n"
    "  --ttl SECONDS      how long it is good (default 3600)\n"
    "  --unending         without an end; a server takes it only with auth.allowUnending\n"
    "  --format FORMAT    jwt (default) or paseto\n"
    "  --send PATTERN     a user address it may send to, or a prefix and *; again for more "
    "(default *)\n"
    "  --group PATTERN    a group it may use; again for more\n"
    "  --relay PATTERN    an address it may speak for besides its own; again for more\n"
    "  --broadcast        may post to #all\n"
    "  --admin            may use the admin interface\n"
    "  --aud A, --iss I   audience and issuer (default: what the configuration asks for)\n"
    "  --jti J            its id, for revoking it (default: a random one)\n"
    "  --kid KID          the key to make it with (default: the newest in auth.keyDir)\n"
    "  --key FILE         the same, as a file KID.key or KID.secret; no configuration is "
    "read\n" CMD_SOURCE_HELP "  --help\n"
    "\n"
    "Exit status: 0 issued, 1 no key or no token, 2 wrong usage or configuration.\n";

/* A NULL-terminated list for a token_request. */
struct patterns {
    const char *items[PATTERNS_MAX + 1];
    size_t count;
};

struct issue {
    struct token_request request;
    struct patterns send, groups, relay;
    const char *key_path;
    struct config_source source;
    bool paseto, unending, help;
};

/* ---- the command line ---- */

static bool add_pattern(struct patterns *patterns, const char *text)
{
    if (patterns->count == PATTERNS_MAX || !*text) {
        fprintf(stderr, "token issue: patterns: allowed are %d of a list, none empty\n",
                PATTERNS_MAX);
        return false;
    }
    patterns->items[patterns->count++] = text;
    return true;
}

static bool take_ttl(const char *text, int64_t *ttl_s)
{
    char *end;

    errno = 0;
    *ttl_s = strtoll(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && !errno && *ttl_s > 0)
        return true;
    fputs("token issue: --ttl: allowed are whole seconds from 1\n", stderr);
    return false;
}

static bool take_format(const char *text, bool *paseto)
{
    *paseto = strcmp(text, "paseto") == 0;
    if (*paseto || strcmp(text, "jwt") == 0)
        return true;
    fputs("token issue: --format: allowed are jwt and paseto\n", stderr);
    return false;
}

static bool take_kid(const char *text, const char **kid)
{
    *kid = text;
    if (keyfile_kid_valid(text))
        return true;
    fputs("token issue: --kid: allowed are 1 to 64 of A-Z a-z 0-9 _ - . with no dot in front\n",
          stderr);
    return false;
}

enum {
    OPT_SUB = 1,
    OPT_TTL,
    OPT_UNENDING,
    OPT_FORMAT,
    OPT_SEND,
    OPT_GROUP,
    OPT_RELAY,
    OPT_BROADCAST,
    OPT_ADMIN,
    OPT_AUD,
    OPT_ISS,
    OPT_JTI,
    OPT_KID,
    OPT_KEY
};

static bool take_issue_option(int option, struct issue *issue)
{
    struct token_request *request = &issue->request;

    switch (option) {
    case OPT_SUB:
        request->sub = optarg;
        return true;
    case OPT_TTL:
        return take_ttl(optarg, &request->ttl_s);
    case OPT_UNENDING:
        return issue->unending = true;
    case OPT_FORMAT:
        return take_format(optarg, &issue->paseto);
    case OPT_SEND:
        return add_pattern(&issue->send, optarg);
    case OPT_GROUP:
        return add_pattern(&issue->groups, optarg);
    case OPT_RELAY:
        return add_pattern(&issue->relay, optarg);
    case OPT_BROADCAST:
        return request->broadcast = true;
    case OPT_ADMIN:
        return request->admin = true;
    case OPT_AUD:
        request->audience = optarg;
        return true;
    case OPT_ISS:
        request->issuer = optarg;
        return true;
    case OPT_JTI:
        request->jti = optarg;
        return true;
    case OPT_KID:
        return take_kid(optarg, &request->kid);
    case OPT_KEY:
        issue->key_path = optarg;
        return true;
    case 'h':
        return issue->help = true;
    default:
        return cmd_source_take(option, optarg, &issue->source);
    }
}

static bool take_issue_options(int argc, char **argv, struct issue *issue)
{
    static const struct option table[] = { { "sub", required_argument, NULL, OPT_SUB },
                                           { "ttl", required_argument, NULL, OPT_TTL },
                                           { "unending", no_argument, NULL, OPT_UNENDING },
                                           { "format", required_argument, NULL, OPT_FORMAT },
                                           { "send", required_argument, NULL, OPT_SEND },
                                           { "group", required_argument, NULL, OPT_GROUP },
                                           { "relay", required_argument, NULL, OPT_RELAY },
                                           { "broadcast", no_argument, NULL, OPT_BROADCAST },
                                           { "admin", no_argument, NULL, OPT_ADMIN },
                                           { "aud", required_argument, NULL, OPT_AUD },
                                           { "iss", required_argument, NULL, OPT_ISS },
                                           { "jti", required_argument, NULL, OPT_JTI },
                                           { "kid", required_argument, NULL, OPT_KID },
                                           { "key", required_argument, NULL, OPT_KEY },
                                           { "help", no_argument, NULL, 'h' },
                                           CMD_SOURCE_OPTIONS,
                                           { NULL, 0, NULL, 0 } };
    int option;

    optind = 0; /* cli.c may have used getopt before; 0 makes glibc begin anew */
    while ((option = getopt_long(argc, argv, "+h", table, NULL)) != -1)
        if (!take_issue_option(option, issue))
            return false;
    if (issue->help)
        return true;
    if (optind < argc)
        fprintf(stderr, "token issue: unexpected argument \"%s\"\n", argv[optind]);
    else if (!issue->request.sub)
        fputs("token issue: --sub ADDRESS is missing\n", stderr);
    else
        return true;
    return false;
}

/* ---- the key ---- */

static bool read_signing_key(const char *path, struct keyfile *key)
{
    enum err err = keyfile_read(path, key);

    if (err == ERR_SYSTEM)
        fprintf(stderr, "token issue: %s: %s\n", path, strerror(errno));
    else if (err)
        fprintf(stderr, "token issue: %s: not a KID.key or KID.secret with a key in base64\n",
                path);
    return err == OK;
}

/* Reads the newest key of the directory: a server with the same configuration knows that key. */
static bool find_signing_key(const struct issue *issue, const char *dir, struct keyfile *key)
{
    char name[KEYFILE_NAME_SIZE], *path = NULL;
    enum err err = keyfile_newest(dir, issue->request.kid, issue->paseto, name);
    bool good;

    if (err) {
        fprintf(stderr, "token issue: no key to make a token with in %s%s%s: %s\n", dir,
                issue->request.kid ? " of kid " : "", issue->request.kid ? issue->request.kid : "",
                err == ERR_SYSTEM ? strerror(errno) : "`websocket-server keygen` makes one");
        return false;
    }
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return false;
    good = read_signing_key(path, key);
    free(path);
    return good;
}

/* ---- the token ---- */

static enum token_format format_for(const struct issue *issue, const struct keyfile *key)
{
    if (issue->paseto)
        return TOKEN_PASETO;
    return key->kty == CONFIG_KTY_HMAC ? TOKEN_JWT_HS256 : TOKEN_JWT_EDDSA;
}

static int print_token(struct issue *issue, const struct keyfile *key)
{
    struct token_request *request = &issue->request;
    struct buf token;
    enum err err;

    if (issue->paseto && key->kty != CONFIG_KTY_ED25519) {
        fputs("token issue: a PASETO needs an Ed25519 key\n", stderr);
        return EXIT_REFUSED;
    }
    request->format = format_for(issue, key);
    if (!request->kid)
        request->kid = key->kid;
    buf_init(&token, 2 * (size_t)TOKEN_BYTES_MAX);
    err = token_issue(request, key->bytes, key->len, &token);
    if (err == ERR_FULL)
        fprintf(stderr, "token issue: it would be longer than %d bytes\n", TOKEN_BYTES_MAX);
    else if (err)
        fputs("token issue: --sub, --jti or --ttl is not what a server takes\n", stderr);
    else
        printf("%s\n", buf_text(&token));
    if (token.data)
        explicit_bzero(token.data, token.size);
    buf_fini(&token);
    return err || fflush(stdout) != 0 ? EXIT_REFUSED : EXIT_GOOD;
}

static void fill_request(struct issue *issue)
{
    struct token_request *request = &issue->request;

    request->send = issue->send.count ? issue->send.items : NULL;
    request->groups = issue->groups.count ? issue->groups.items : NULL;
    request->relay = issue->relay.count ? issue->relay.items : NULL;
    request->now_s = clock_unix_s();
    if (issue->unending)
        request->ttl_s = 0;
}

static int issue_configured(struct issue *issue, struct keyfile *key)
{
    struct config *config = cmd_source_load(&issue->source);
    struct token_request *request = &issue->request;
    int status = EXIT_REFUSED;

    if (!config)
        return EXIT_USAGE;
    if (!request->audience && *config->auth.audience)
        request->audience = config->auth.audience;
    if (!request->issuer && *config->auth.issuer)
        request->issuer = config->auth.issuer;
    if (issue->unending && !config->auth.allow_unending)
        fputs("token issue: note: auth.allowUnending is false, the server will refuse it\n",
              stderr);
    if (find_signing_key(issue, config->auth.key_dir, key))
        status = print_token(issue, key);
    config_free(config);
    return status;
}

int cmd_token_issue(int argc, char **argv)
{
    struct issue issue = { .request = { .ttl_s = TTL_S_DEFAULT } };
    struct keyfile key;
    int status = EXIT_REFUSED;

    if (!take_issue_options(argc, argv, &issue)) {
        fputs("Try `websocket-server token issue --help`.\n", stderr);
        return EXIT_USAGE;
    }
    if (issue.help) {
        fputs(help, stdout);
        return EXIT_GOOD;
    }
    fill_request(&issue);
    if (!issue.key_path)
        status = issue_configured(&issue, &key);
    else if (read_signing_key(issue.key_path, &key))
        status = print_token(&issue, &key);
    keyfile_wipe(&key);
    return status;
}
