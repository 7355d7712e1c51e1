/*
 * `websocket-server token issue`: makes a token for a person or a service.
 *
 * The command line becomes a token_request; the key is a file that the command line names, or the
 * newest one of auth.keyDir. The token is printed once, alone, on standard output.
 */
#include "common/address.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/utf8.h"
#include "master/cmd_source.h"
#include "master/cmd_token_parts.h"
#include "master/keyfile.h"
#include "worker/token/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PATTERNS_MAX = 256, TTL_S_DEFAULT = 3600, JTI_BYTES_MAX = 128, TEXT_BYTES_MAX = 1024 };

/* A thousand years: the end stays before the year 10000, the last that a token can name. */
#define TTL_S_MAX INT64_C(31556952000)

static const char help[] =
    "Usage: websocket-server token issue --sub ADDRESS [options]\n"
    "\n"
    "Makes a token and prints it, alone, on standard output; for whom, until when and with which\n"
    "key is said on standard error.\n"
    "\n"
    "  --sub ADDRESS      whom it is for\n"
    "  --ttl SECONDS      how long it is good (default 3600)\n"
    "  --unending         without an end; a server takes it only with auth.allowUnending\n"
    "  --format FORMAT    jwt (default) or paseto\n"
    "  --send PATTERN     a user address it may send to, or a prefix and *; again for more "
    "(default *)\n"
    "  --group PATTERN    a group (#name) it may use, or a prefix and *; again for more\n"
    "  --relay PATTERN    an address it may speak for besides its own; again for more\n"
    "  --broadcast        may post to #all\n"
    "  --admin            may use the admin interface\n"
    "  --aud A, --iss I   audience and issuer (default: what the configuration asks for)\n"
    "  --jti J            its id, for revoking it (default: a random one)\n"
    "  --print-jti        prints its id, too, on a second line\n"
    "  --address-claim C  the claim that holds ADDRESS, and the one that holds its rights\n"
    "  --rights-claim C   (default: what the configuration asks for, else sub and po)\n"
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
    const char *key_path; /* --key */
    char *found_path;     /* of the key in auth.keyDir; owned */
    struct config_source source;
    char jti[TOKEN_JTI_SIZE]; /* the random one */
    bool paseto, unending, print_jti, help;
};

/* ---- the command line ---- */

/* The value as a message may show it. */
static const char *shown(const char *text)
{
    static struct log_text quoted;

    return log_quote(&quoted, slice_of(text));
}

static bool add_pattern(const char *option, struct patterns *patterns, const char *text)
{
    if (patterns->count == PATTERNS_MAX || !*text || strlen(text) > ADDRESS_BYTES_MAX + 1 ||
        !utf8_valid(slice_of(text))) {
        fprintf(stderr,
                "token issue: %s: found %s, allowed are at most %d, each 1 to %d bytes of UTF-8: "
                "an address, or a prefix and *\n",
                option, shown(text), PATTERNS_MAX, ADDRESS_BYTES_MAX + 1);
        return false;
    }
    patterns->items[patterns->count++] = text;
    return true;
}

/* "*" is any group. A pattern such as "team" would allow nothing, in silence. */
static bool add_group(struct patterns *patterns, const char *text)
{
    if (*text == '#' || strcmp(text, "*") == 0)
        return add_pattern("--group", patterns, text);
    fprintf(stderr,
            "token issue: --group: found %s, allowed are groups, which begin with #, a prefix and "
            "*, and *\n",
            shown(text));
    return false;
}

static bool take_sub(const char *text, const char **sub)
{
    *sub = text;
    if (address_may_speak(slice_of(text)))
        return true;
    fprintf(stderr,
            "token issue: --sub: found %s, allowed is a user address: 1 to 255 bytes of UTF-8, no "
            "control characters, no white space at either end, no # or $ in front, not "
            "postmaster\n",
            shown(text));
    return false;
}

static bool is_clean_text(const char *text, size_t max)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return *text && strlen(text) <= max && utf8_valid(slice_of(text));
}

static bool take_text(const char *option, const char *text, size_t max, const char **field)
{
    *field = text;
    if (is_clean_text(text, max))
        return true;
    fprintf(stderr,
            "token issue: %s: found %s, allowed are 1 to %zu bytes of UTF-8 without control "
            "characters\n",
            option, shown(text), max);
    return false;
}

static bool take_ttl(const char *text, int64_t *ttl_s)
{
    char *end;

    errno = 0;
    *ttl_s = strtoll(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && !errno && *ttl_s > 0 && *ttl_s <= TTL_S_MAX)
        return true;
    fprintf(stderr, "token issue: --ttl: found %s, allowed are whole seconds from 1 to %lld\n",
            shown(text), (long long)TTL_S_MAX);
    return false;
}

static bool take_format(const char *text, bool *paseto)
{
    *paseto = strcmp(text, "paseto") == 0;
    if (*paseto || strcmp(text, "jwt") == 0)
        return true;
    fprintf(stderr, "token issue: --format: found %s, allowed are jwt and paseto\n", shown(text));
    return false;
}

static bool take_kid(const char *text, const char **kid)
{
    *kid = text;
    if (keyfile_kid_valid(text))
        return true;
    fprintf(stderr,
            "token issue: --kid: found %s, allowed are 1 to 64 of A-Z a-z 0-9 _ - . with no dot in "
            "front\n",
            shown(text));
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
    OPT_PRINT_JTI,
    OPT_ADDRESS_CLAIM,
    OPT_RIGHTS_CLAIM,
    OPT_KID,
    OPT_KEY
};

static bool take_issue_option(int option, struct issue *issue)
{
    struct token_request *request = &issue->request;

    switch (option) {
    case OPT_SUB:
        return take_sub(optarg, &request->sub);
    case OPT_TTL:
        return take_ttl(optarg, &request->ttl_s);
    case OPT_UNENDING:
        return issue->unending = true;
    case OPT_FORMAT:
        return take_format(optarg, &issue->paseto);
    case OPT_SEND:
        return add_pattern("--send", &issue->send, optarg);
    case OPT_GROUP:
        return add_group(&issue->groups, optarg);
    case OPT_RELAY:
        return add_pattern("--relay", &issue->relay, optarg);
    case OPT_BROADCAST:
        return request->broadcast = true;
    case OPT_ADMIN:
        return request->admin = true;
    case OPT_AUD:
        return take_text("--aud", optarg, TEXT_BYTES_MAX, &request->audience);
    case OPT_ISS:
        return take_text("--iss", optarg, TEXT_BYTES_MAX, &request->issuer);
    case OPT_JTI:
        return take_text("--jti", optarg, JTI_BYTES_MAX, &request->jti);
    case OPT_PRINT_JTI:
        return issue->print_jti = true;
    case OPT_ADDRESS_CLAIM:
        return take_text("--address-claim", optarg, JTI_BYTES_MAX, &request->address_claim);
    case OPT_RIGHTS_CLAIM:
        return take_text("--rights-claim", optarg, JTI_BYTES_MAX, &request->rights_claim);
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
    static const struct option table[] = {
        { "sub", required_argument, NULL, OPT_SUB },
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
        { "print-jti", no_argument, NULL, OPT_PRINT_JTI },
        { "address-claim", required_argument, NULL, OPT_ADDRESS_CLAIM },
        { "rights-claim", required_argument, NULL, OPT_RIGHTS_CLAIM },
        { "kid", required_argument, NULL, OPT_KID },
        { "key", required_argument, NULL, OPT_KEY },
        { "help", no_argument, NULL, 'h' },
        CMD_SOURCE_OPTIONS,
        { NULL, 0, NULL, 0 }
    };
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
static bool find_signing_key(struct issue *issue, const char *dir, struct keyfile *key)
{
    char name[KEYFILE_NAME_SIZE];
    enum err err = keyfile_newest(dir, issue->request.kid, issue->paseto, name);

    if (err) {
        fprintf(stderr, "token issue: no key to make a token with in %s%s%s: %s\n", dir,
                issue->request.kid ? " of kid " : "", issue->request.kid ? issue->request.kid : "",
                err == ERR_SYSTEM ? strerror(errno) : "`websocket-server keygen` makes one");
        return false;
    }
    if (asprintf(&issue->found_path, "%s/%s", dir, name) < 0) {
        issue->found_path = NULL; /* what asprintf leaves when it fails is no memory */
        fputs("token issue: out of memory\n", stderr);
        return false;
    }
    return read_signing_key(issue->found_path, key);
}

/* ---- the token ---- */

static enum token_format format_for(const struct issue *issue, const struct keyfile *key)
{
    if (issue->paseto)
        return TOKEN_PASETO;
    return key->kty == CONFIG_KTY_HMAC ? TOKEN_JWT_HS256 : TOKEN_JWT_EDDSA;
}

/* Says what was made, without a word of the token. */
static void say_what(const struct issue *issue)
{
    const struct token_request *request = &issue->request;
    time_t end_s = (time_t)(request->now_s + request->ttl_s);
    char end[48] = "without an end";
    struct tm tm;

    if (request->ttl_s && gmtime_r(&end_s, &tm))
        strftime(end, sizeof end, "until %Y-%m-%dT%H:%M:%SZ", &tm);
    fprintf(stderr, "token issue: for %s, %s, with %s\n", request->sub, end,
            issue->key_path ? issue->key_path : issue->found_path);
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
    else if (err) /* the options have been checked one by one */
        fputs("token issue: the key is not what a server takes\n", stderr);
    else
        printf("%s\n%s%s", buf_text(&token), issue->print_jti ? request->jti : "",
               issue->print_jti ? "\n" : "");
    if (!err)
        say_what(issue);
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
    if (!request->jti) {
        token_jti_random(issue->jti);
        request->jti = issue->jti;
    }
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
    if (!request->address_claim)
        request->address_claim = config->auth.claim_address;
    if (!request->rights_claim)
        request->rights_claim = config->auth.claim_rights;
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
    free(issue.found_path);
    keyfile_wipe(&key);
    return status;
}
