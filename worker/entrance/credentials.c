#include "worker/entrance/credentials.h"

#include "worker/entrance/introduction.h"
#include "worker/entrance/refusal.h"
#include "worker/entrance/visitor_parts.h"
#include "worker/session/token_desk.h"
#include "worker/token/revocations.h"

/* The token, from the first of its places (section 1.2). *from_cookie: the browser added the token
 * by itself, so the page must be of an allowed origin. */
static struct slice find_token(const struct office *office, const struct http_upgrade *upgrade,
                               bool *from_cookie)
{
    struct slice token = { 0 }, cookie_name = slice_of(office->config->auth.cookie);

    *from_cookie = false;
    if (upgrade->authorization.data) {
        struct slice scheme =
            slice_make(upgrade->authorization.data, upgrade->authorization.len < 7 ? 0 : 7);
        if (slice_equal_nocase(scheme, SLICE("bearer ")))
            token = slice_make(upgrade->authorization.data + 7, upgrade->authorization.len - 7);
        while (token.len && *token.data == ' ')
            token = slice_make(token.data + 1, token.len - 1);
        if (token.len)
            return token;
    }
    if (upgrade->bearer_protocol.len)
        return upgrade->bearer_protocol;
    if (cookie_name.len && upgrade->cookie.data) {
        token = http_cookie(upgrade->cookie, cookie_name);
        if (token.len) {
            *from_cookie = true;
            return token;
        }
    }
    return upgrade->query_token;
}

static bool origin_listed(const struct config_list *origins, struct slice origin)
{
    for (size_t i = 0; i < origins->count; i++)
        if (http_origin_matches(slice_of(origins->items[i]), origin))
            return true;
    return false;
}

/* Section 6, Origins. */
static bool origin_allowed(const struct office *office, const struct http_upgrade *upgrade,
                           const struct introduction *introduction, bool from_cookie)
{
    const struct config *config = office->config;
    bool own = introduction_is_own(introduction, upgrade->origin, upgrade->host);

    if (!upgrade->origin.data) /* not a browser: a token is sent only on purpose */
        return !from_cookie;
    /* Without tokens, a page of any origin in a browser on this machine could be anybody. */
    if (!config->auth.required)
        return own || origin_listed(&config->auth.origins, upgrade->origin);
    if (config->auth.origins.count == 0)
        return !from_cookie || own;
    return origin_listed(&config->auth.origins, upgrade->origin);
}

struct grant *credentials_check(struct visitor *visitor, const struct http_upgrade *upgrade,
                                const struct introduction *introduction)
{
    struct office *office = visitor->visitors->office;
    bool from_cookie;
    struct slice token = find_token(office, upgrade, &from_cookie);
    struct grant *grant = NULL;
    enum token_fault fault;
    const char *reason;

    if (!origin_allowed(office, upgrade, introduction, from_cookie)) {
        refusal_give(visitor, &(struct http_refusal){ .status = 403,
                                                      .code = "forbidden-origin",
                                                      .message = "this Origin is not allowed" });
        return NULL;
    }
    if (!office->config->auth.required && token.len == 0) {
        if (!upgrade->client_id.data)
            refusal_bad(visitor, "clientID is needed where no token is");
        else if (token_sub_revoked(office->config, upgrade->client_id, INT64_MIN) ||
                 revocations_hit_sub(office->revocations, upgrade->client_id, INT64_MIN,
                                     loop_unix_s(office->loop)))
            refusal_give(visitor, &(struct http_refusal){ .status = 403,
                                                          .code = "forbidden-address",
                                                          .message = "this address is revoked" });
        else
            return grant_default(upgrade->client_id);
        return NULL;
    }
    fault = token_desk_judge(office, token, &grant, &reason);
    if (fault == TOKEN_GOOD || fault == TOKEN_UNCHECKED)
        return grant;
    refusal_give(visitor,
                 &(struct http_refusal){ .status = 401,
                                         .code = "bad-token",
                                         .message = reason,
                                         .bearer_error = fault == TOKEN_ABSENT ? "invalid_request"
                                                                               : "invalid_token" });
    return NULL;
}
