/*
 * The claims of a token with a good signature: reads them, and judges whether they hold here and
 * now.
 *
 * First all claims are read, and every known claim must have its type; only then the times, the
 * audience, the issuer and the revocations are judged. An unknown claim is ignored (RFC 7519 4),
 * and so is an unknown member of `po`, so that issuers may be newer than servers.
 */
#include "worker/token/token_inside.h"

#include "common/address.h"

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
    const char *reason; /* the claim at fault; NULL: none */
    struct arena arena;
};

/* Notes which claim is at fault. Returns false. */
static bool blame(struct claims *claims, const char *reason)
{
    claims->reason = reason;
    return false;
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

static bool read_po_member(struct claims *claims, const struct json_value *key,
                           const struct json_value *value)
{
    struct grant_parts *grant = &claims->grant;

    if (json_key_equal(key, SLICE("send")))
        return read_patterns(claims, value, &grant->send) ||
               blame(claims, "claim po.send is no list of patterns");
    if (json_key_equal(key, SLICE("groups")))
        return read_patterns(claims, value, &grant->groups) ||
               blame(claims, "claim po.groups is no list of patterns");
    if (json_key_equal(key, SLICE("relay")))
        return read_patterns(claims, value, &grant->relay) ||
               blame(claims, "claim po.relay is no list of patterns");
    if (json_key_equal(key, SLICE("broadcast")))
        return read_flag(value, &grant->broadcast) ||
               blame(claims, "claim po.broadcast is neither true nor false");
    if (json_key_equal(key, SLICE("admin")))
        return read_flag(value, &grant->admin) ||
               blame(claims, "claim po.admin is neither true nor false");
    return true;
}

static bool read_po(struct claims *claims, const struct json_value *object)
{
    struct json_value key, value;
    struct json_walk walk;

    if (object->type != JSON_OBJECT)
        return blame(claims, "claim po is no object");
    json_walk_begin(&walk, object);
    while (json_walk_member(&walk, &key, &value, NULL))
        if (!read_po_member(claims, &key, &value))
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

    if (json_key_equal(key, SLICE("sub")))
        return (grant->sub = token_json_text(value, &claims->arena)).data ||
               blame(claims, "claim sub is no text");
    if (json_key_equal(key, SLICE("jti")))
        return ((grant->jti = token_json_text(value, &claims->arena)).data &&
                grant->jti.len <= TOKEN_JTI_BYTES_MAX) ||
               blame(claims, "claim jti is no text of at most 128 bytes");
    if (json_key_equal(key, SLICE("iss")))
        return (claims->issuer = token_json_text(value, &claims->arena)).data ||
               blame(claims, "claim iss is no text");
    if (json_key_equal(key, SLICE("aud")))
        return read_audience(claims, value) || blame(claims, "claim aud is neither text nor list");
    if (json_key_equal(key, SLICE("po")))
        return read_po(claims, value);
    if (json_key_equal(key, SLICE("exp")))
        return (claims->has_expiry = read_time(claims, value, &grant->expires_at)) ||
               blame(claims, "claim exp is no time");
    if (json_key_equal(key, SLICE("nbf")))
        return (claims->has_not_before = read_time(claims, value, &claims->not_before)) ||
               blame(claims, "claim nbf is no time");
    if (json_key_equal(key, SLICE("iat")))
        return (claims->has_issued_at = read_time(claims, value, &claims->issued_at)) ||
               blame(claims, "claim iat is no time");
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
    if (!claims->grant.sub.data)
        return blame(claims, "claim sub is missing");
    if (claims->has_issued_at)
        claims->grant.issued_at = claims->issued_at;
    return address_may_speak(claims->grant.sub) || blame(claims, "claim sub is no user address");
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

static void claims_begin(struct claims *claims, const struct token_opened *opened)
{
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
    claims_begin(claims, opened);
    if (read_claims(claims, slice_make(opened->payload, opened->payload_len)))
        fault = judge_claims(config, claims, now_s);
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
