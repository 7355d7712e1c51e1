/*
 * The claims of a token with a good signature: reads them, and judges whether they hold here and
 * now.
 *
 * First all claims are read, and every known claim must have its type; only then the times, the
 * audience, the issuer and the revocations are judged. An unknown claim is ignored (RFC 7519 4),
 * and so is an unknown right, so that issuers may be newer than servers. Which claim holds the
 * address and which the rights is for the configuration to say (auth.claims): `sub` and `po`.
 */
#include "worker/token/token_inside.h"

#include "common/address.h"

#include <stdio.h>
#include <stdlib.h>

/* Every writer of JSON has exact integers up to this number (RFC 8259 6). */
#define NUMERIC_DATE_MAX (INT64_C(1) << 53)

struct claims {
    struct grant_parts grant;
    struct slice issuer;
    struct json_value audience;
    bool has_expiry, has_not_before, has_issued_at, has_audience;
    int64_t not_before, issued_at;
    bool iso_times;
    bool has_rights, email_unverified;
    struct slice address_name, rights_name; /* of the claims that hold them */
    const char *reason;                     /* the claim at fault; NULL: none */
    struct arena arena;
};

/* A text that names a claim of the configuration: the last one that was made. */
static char claims_reason[256];

/* Notes which claim is at fault. Returns false. */
static bool blame(struct claims *claims, const char *reason)
{
    claims->reason = reason;
    return false;
}

/* The same for a claim whose name the configuration gives: "claim NAMEPART WHAT". */
static bool blame_named(struct claims *claims, struct slice name, const char *part,
                        const char *what)
{
    snprintf(claims_reason, sizeof claims_reason, "claim %.*s%s %s", (int)name.len, name.data, part,
             what);
    return blame(claims, claims_reason);
}

static enum token_fault blame_as(struct claims *claims, enum token_fault fault, const char *reason)
{
    claims->reason = reason;
    return fault;
}

static bool read_time(const struct claims *claims, const struct json_value *value, int64_t *time_s)
{
    if (claims->iso_times)
        /* No time is written with an escape, so the text between the quotes is the string. */
        return value->type == JSON_STRING && !value->escaped &&
               token_time_parse(slice_make(value->text.data + 1, value->text.len - 2), time_s);
    return value->type == JSON_NUMBER && token_seconds_parse(value->text, time_s) &&
           *time_s <= NUMERIC_DATE_MAX;
}

static bool read_flag(const struct json_value *value, bool *flag)
{
    *flag = value->type == JSON_TRUE;
    return *flag || value->type == JSON_FALSE;
}

static bool read_patterns(struct claims *claims, const struct json_value *value,
                          struct grant_list *list)
{
    struct json_value element;
    struct json_walk walk;

    if (value->type != JSON_ARRAY)
        return false;
    list->count = 0;
    json_walk_begin(&walk, value);
    while (json_walk_element(&walk, &element)) {
        struct slice pattern = token_json_text(&element, &claims->arena);
        /* A pattern may be one byte longer than an address: a prefix has its '*'. */
        if (!pattern.data || pattern.len < 1 || pattern.len > ADDRESS_BYTES_MAX + 1 ||
            list->count == TOKEN_PATTERNS_MAX)
            return false;
        list->items[list->count++] = pattern;
    }
    return true;
}

static bool read_right(struct claims *claims, const struct json_value *key,
                       const struct json_value *value)
{
    struct grant_parts *grant = &claims->grant;
    const struct {
        struct slice name;
        const char *part;
        struct grant_list *list;
        bool *flag;
    } rights[] = {
        { SLICE("send"), ".send", &grant->send, NULL },
        { SLICE("groups"), ".groups", &grant->groups, NULL },
        { SLICE("relay"), ".relay", &grant->relay, NULL },
        { SLICE("broadcast"), ".broadcast", NULL, &grant->broadcast },
        { SLICE("admin"), ".admin", NULL, &grant->admin },
    };

    for (size_t i = 0; i < sizeof rights / sizeof rights[0]; i++) {
        if (!json_key_equal(key, rights[i].name))
            continue;
        if (rights[i].list)
            return read_patterns(claims, value, rights[i].list) ||
                   blame_named(claims, claims->rights_name, rights[i].part,
                               "is no list of patterns");
        return read_flag(value, rights[i].flag) ||
               blame_named(claims, claims->rights_name, rights[i].part,
                           "is neither true nor false");
    }
    return true;
}

static bool read_rights(struct claims *claims, const struct json_value *object)
{
    struct json_value key, value;
    struct json_walk walk;

    if (object->type != JSON_OBJECT)
        return blame_named(claims, claims->rights_name, "", "is no object");
    claims->has_rights = true;
    json_walk_begin(&walk, object);
    while (json_walk_member(&walk, &key, &value, NULL))
        if (!read_right(claims, &key, &value))
            return false;
    return true;
}

/* A string, or an array of them (RFC 7519 4.1.3). */
static bool read_audience(struct claims *claims, const struct json_value *value)
{
    struct json_value element;
    struct json_walk walk;

    claims->audience = *value;
    claims->has_audience = true;
    if (value->type == JSON_STRING)
        return true;
    if (value->type != JSON_ARRAY)
        return false;
    json_walk_begin(&walk, value);
    while (json_walk_element(&walk, &element))
        if (element.type != JSON_STRING)
            return false;
    return true;
}

static bool read_claim(struct claims *claims, const struct json_value *key,
                       const struct json_value *value)
{
    struct grant_parts *grant = &claims->grant;

    if (json_key_equal(key, claims->address_name))
        return (grant->sub = token_json_text(value, &claims->arena)).data ||
               blame_named(claims, claims->address_name, "", "is no text");
    if (json_key_equal(key, claims->rights_name))
        return read_rights(claims, value);
    if (json_key_equal(key, SLICE("jti")))
        return ((grant->jti = token_json_text(value, &claims->arena)).data &&
                grant->jti.len <= TOKEN_JTI_BYTES_MAX) ||
               blame(claims, "claim jti is no text of at most 128 bytes");
    if (json_key_equal(key, SLICE("iss")))
        return (claims->issuer = token_json_text(value, &claims->arena)).data ||
               blame(claims, "claim iss is no text");
    if (json_key_equal(key, SLICE("aud")))
        return read_audience(claims, value) || blame(claims, "claim aud is neither text nor list");
    if (json_key_equal(key, SLICE("exp")))
        return (claims->has_expiry = read_time(claims, value, &grant->expires_at)) ||
               blame(claims, "claim exp is no time");
    if (json_key_equal(key, SLICE("nbf")))
        return (claims->has_not_before = read_time(claims, value, &claims->not_before)) ||
               blame(claims, "claim nbf is no time");
    if (json_key_equal(key, SLICE("iat")))
        return (claims->has_issued_at = read_time(claims, value, &claims->issued_at)) ||
               blame(claims, "claim iat is no time");
    /* OpenID Connect Core 5.1: some providers write the flag as text. */
    if (json_key_equal(key, SLICE("email_verified")))
        claims->email_unverified =
            value->type != JSON_TRUE &&
            !(value->type == JSON_STRING && json_key_equal(value, SLICE("true")));
    return true;
}

static void add_patterns(const struct config_list *patterns, struct grant_list *list)
{
    list->count = 0;
    for (size_t i = 0; i < patterns->count && i < TOKEN_PATTERNS_MAX; i++)
        list->items[list->count++] = slice_of(patterns->items[i]);
}

/* A token without the claim of rights has those of auth.defaultGrant. */
static void take_default_rights(const struct config *config, struct claims *claims)
{
    struct grant_parts *grant = &claims->grant;

    add_patterns(&config->auth.default_grant.send, &grant->send);
    add_patterns(&config->auth.default_grant.groups, &grant->groups);
    add_patterns(&config->auth.default_grant.relay, &grant->relay);
    grant->broadcast = config->auth.default_grant.broadcast;
    grant->admin = config->auth.default_grant.admin;
}

/* Anybody may give a provider any e-mail address; a verified address alone is the person's own. */
static bool judge_address(struct claims *claims)
{
    if (!claims->grant.sub.data)
        return blame_named(claims, claims->address_name, "", "is missing");
    if (!address_may_speak(claims->grant.sub))
        return blame_named(claims, claims->address_name, "", "is no user address");
    if (claims->email_unverified && slice_equal(claims->address_name, SLICE("email")))
        return blame(claims, "claim email_verified is not true");
    return true;
}

static bool read_claims(struct claims *claims, struct slice json)
{
    struct json_value object, key, value;
    struct json_walk walk;

    if (!token_json_object(json, &claims->arena, &object))
        return blame(claims, "the claims are no JSON object");
    json_walk_begin(&walk, &object);
    while (json_walk_member(&walk, &key, &value, NULL))
        if (!read_claim(claims, &key, &value))
            return false;
    if (claims->has_issued_at)
        claims->grant.issued_at = claims->issued_at;
    return judge_address(claims);
}

static bool audience_fits(struct claims *claims, struct slice ours)
{
    struct json_value element;
    struct json_walk walk;

    if (!claims->has_audience)
        return false;
    if (claims->audience.type == JSON_STRING)
        return json_key_equal(&claims->audience, ours);
    json_walk_begin(&walk, &claims->audience);
    while (json_walk_element(&walk, &element))
        if (json_key_equal(&element, ours))
            return true;
    return false;
}

/* A configuration filled by hand may have NULL, which means the same as "": not checked. */
static bool wanted(const char *text)
{
    return text && *text;
}

static enum token_fault judge_claims(const struct config *config, struct claims *claims,
                                     int64_t now_s)
{
    int64_t leeway_s = config->auth.leeway_s;

    if (!claims->has_expiry && !config->auth.allow_unending)
        return blame_as(claims, TOKEN_BAD_CLAIMS, "claim exp is missing");
    /* At exp itself the token has expired (RFC 7519 4.1.4). */
    if (claims->has_expiry && now_s - leeway_s >= claims->grant.expires_at)
        return blame_as(claims, TOKEN_EXPIRED, "token expired: claim exp is past");
    if (claims->has_not_before && now_s + leeway_s < claims->not_before)
        return blame_as(claims, TOKEN_NOT_YET, "token not valid yet: claim nbf is in the future");
    if (claims->has_issued_at && now_s + leeway_s < claims->issued_at)
        return blame_as(claims, TOKEN_NOT_YET, "token not valid yet: claim iat is in the future");
    if (wanted(config->auth.audience) && !audience_fits(claims, slice_of(config->auth.audience)))
        return blame_as(claims, TOKEN_WRONG_AUDIENCE,
                        "token for another audience: claim aud does not name this server");
    if (wanted(config->auth.issuer) &&
        !(claims->issuer.data && slice_equal(claims->issuer, slice_of(config->auth.issuer))))
        return blame_as(claims, TOKEN_WRONG_ISSUER,
                        "token from another issuer: claim iss is not the one wanted");
    return TOKEN_GOOD;
}

static void claims_begin(const struct config *config, struct claims *claims,
                         const struct token_opened *opened)
{
    claims->address_name =
        wanted(config->auth.claim_address) ? slice_of(config->auth.claim_address) : SLICE("sub");
    claims->rights_name =
        wanted(config->auth.claim_rights) ? slice_of(config->auth.claim_rights) : SLICE("po");
    claims->grant.expires_at = INT64_MAX;
    claims->grant.issued_at = INT64_MIN;
    claims->grant.jti = SLICE("");
    claims->grant.send.items[0] = SLICE("*");
    claims->grant.send.count = 1;
    claims->iso_times = opened->iso_times;
    arena_init(&claims->arena, TOKEN_BYTES_MAX);
}

enum token_fault token_claims_read(const struct config *config, const struct token_opened *opened,
                                   int64_t now_s, struct grant **grant, const char **reason)
{
    struct claims *claims = calloc(1, sizeof *claims); /* 12 KiB of lists: not for the stack */
    enum token_fault fault = TOKEN_BAD_CLAIMS;
    struct grant *made = NULL;

    if (!claims)
        return TOKEN_UNCHECKED;
    claims_begin(config, claims, opened);
    if (read_claims(claims, slice_make(opened->payload, opened->payload_len)))
        fault = judge_claims(config, claims, now_s);
    if (fault == TOKEN_GOOD && !claims->has_rights)
        take_default_rights(config, claims);
    if (claims->arena.failed)
        fault = TOKEN_UNCHECKED;
    if (fault == TOKEN_GOOD && !(made = grant_new(&claims->grant)))
        fault = TOKEN_UNCHECKED;
    if (fault == TOKEN_GOOD && token_grant_revoked(config, made)) {
        fault = blame_as(claims, TOKEN_REVOKED,
                         token_revoked(config, made->jti) ? "token revoked: claim jti"
                                                          : "token revoked: claim sub");
        grant_unref(made);
    }
    if (fault == TOKEN_GOOD)
        *grant = made;
    *reason = fault == TOKEN_UNCHECKED ? NULL : claims->reason;
    arena_fini(&claims->arena);
    free(claims);
    return fault;
}
