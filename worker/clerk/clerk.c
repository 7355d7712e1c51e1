#include "worker/clerk/clerk_parts.h"

#include "worker/session/token_desk.h"
#include "worker/wire/http.h"

#include <stdlib.h>

enum { BODIES_SHARE = 4, IDLE_S = 15, ALLOW_MAX = 256 };

/* ---- paths ---- */

/* "{}" stands for one segment, which becomes a parameter. */
enum right {
    RIGHT_NONE,  /* whoever can connect */
    RIGHT_ADMIN, /* a token with po.admin, or a unix socket */
    RIGHT_TOKEN, /* any good token, whose rights hold; or a unix socket */
};

static const struct route {
    const char *method, *path;
    enum right right;
    void (*answer)(const struct clerk_call *call);
} routes[] = {
    { "GET", "/health/live", RIGHT_NONE, clerk_health_live },
    { "GET", "/health/ready", RIGHT_NONE, clerk_health_ready },
    { "GET", "/metrics", RIGHT_ADMIN, clerk_metrics_get },
    { "POST", "/api/v1/messages", RIGHT_TOKEN, clerk_messages_post },
    { "DELETE", "/api/v1/messages/{}/{}", RIGHT_TOKEN, clerk_messages_recall },
    { "GET", "/api/v1/messages/{}/{}", RIGHT_TOKEN, clerk_state_get },
    { "GET", "/api/v1/addresses/{}", RIGHT_ADMIN, clerk_mailbox_get },
    { "GET", "/api/v1/addresses/{}/messages", RIGHT_ADMIN, clerk_mailbox_read },
    { "DELETE", "/api/v1/addresses/{}/messages", RIGHT_ADMIN, clerk_mailbox_purge },
    { "GET", "/api/v1/groups/{}", RIGHT_ADMIN, clerk_group_get },
    { "GET", "/api/v1/sessions", RIGHT_ADMIN, clerk_sessions_get },
    { "DELETE", "/api/v1/sessions/{}", RIGHT_ADMIN, clerk_sessions_end },
    { "GET", "/api/v1/nodes", RIGHT_ADMIN, clerk_nodes_get },
    { "POST", "/api/v1/reload", RIGHT_ADMIN, clerk_reload_post },
    { "GET", "/api/v1/revocations", RIGHT_ADMIN, clerk_revocations_get },
    { "GET", "/api/v1/revocations/{}", RIGHT_ADMIN, clerk_revocation_get },
    { "PUT", "/api/v1/revocations/{}", RIGHT_ADMIN, clerk_revocation_put },
    { "DELETE", "/api/v1/revocations/{}", RIGHT_ADMIN, clerk_revocation_delete },
};

enum { ROUTES = sizeof routes / sizeof routes[0] };

/* HEAD is answered as GET (RFC 9110 9.3.2); web.c leaves the body out. */
static bool method_fits(const struct route *route, struct slice method)
{
    return slice_equal(method, slice_of(route->method)) ||
           (slice_equal(method, SLICE("HEAD")) && strcmp(route->method, "GET") == 0);
}

/* Takes the text up to the next slash of *rest. */
static struct slice take_segment(struct slice *rest)
{
    const char *end = rest->len ? memchr(rest->data, '/', rest->len) : NULL;
    struct slice segment = slice_make(rest->data, end ? (size_t)(end - rest->data) : rest->len);

    *rest = end ? slice_make(end + 1, rest->len - segment.len - 1) : (struct slice){ NULL, 0 };
    return segment;
}

/* Does the path have the route's form? Then params has the decoded segments. */
static bool path_fits(const struct route *route, struct slice path, struct clerk_params *params)
{
    struct slice form = slice_of(route->path);

    params->count = 0;
    while (form.data && path.data) {
        struct slice wanted = take_segment(&form), segment = take_segment(&path);
        if (!slice_equal(wanted, SLICE("{}"))) {
            if (!slice_equal(wanted, segment))
                return false;
        } else if (!clerk_decode(segment, params->text[params->count++])) {
            return false;
        }
    }
    return !form.data && !path.data;
}

/* Returns the route; NULL with the status 404 or 405. */
static const struct route *find_route(const struct web_request *request,
                                      struct clerk_params *params, int *status)
{
    *status = 404;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!path_fits(&routes[i], request->path, params))
            continue;
        if (method_fits(&routes[i], request->method))
            return &routes[i];
        *status = 405;
    }
    return NULL;
}

/* ---- rights ---- */

/* A page of another origin must not reach an admin socket through an operator's browser. */
static bool comes_from_elsewhere(const struct web_request *request)
{
    bool twice;
    struct slice origin = web_header(request, SLICE("origin"), &twice);

    return origin.data &&
           (twice || !http_origin_is_host(origin, web_header(request, SLICE("host"), NULL)));
}

/* Judges the token of the request. True with a grant, owned by the caller; else answered. */
static bool judge_token(struct clerk *clerk, struct web_request *request, struct grant **grant)
{
    static const char scheme[] = "Bearer ";
    bool twice;
    struct slice text = web_header(request, SLICE("authorization"), &twice);
    const char *reason = "a token is needed: Authorization: Bearer TOKEN";

    if (text.data && !twice && text.len > sizeof scheme - 1 &&
        slice_equal_nocase(slice_make(text.data, sizeof scheme - 1), SLICE("Bearer ")) &&
        token_desk_judge(clerk->office,
                         slice_make(text.data + sizeof scheme - 1, text.len - sizeof scheme + 1),
                         grant, &reason) == TOKEN_GOOD)
        return true;
    clerk_answer_problem(request, 401, "unauthorized", reason);
    return false;
}

/* Has the caller the right to the route? True with the grant of its token, owned by the caller
 * (NULL: no token was asked for); else answered. */
static bool judge_right(struct clerk *clerk, struct web_request *request, const struct route *route,
                        struct grant **grant)
{
    *grant = NULL;
    if (route->right == RIGHT_NONE || request->is_local)
        return true;
    if (!judge_token(clerk, request, grant))
        return false;
    web_trust(request);
    if (route->right != RIGHT_ADMIN || (*grant)->admin)
        return true;
    clerk_answer_problem(request, 403, "forbidden", "the token has no po.admin");
    grant_unref(*grant);
    return false;
}

/* The answer names the methods that the path has (RFC 9110 15.5.6). */
static void answer_method(struct web_request *request)
{
    struct clerk_params params;
    struct buf headers;

    buf_init(&headers, ALLOW_MAX);
    for (size_t i = 0; i < ROUTES; i++)
        if (path_fits(&routes[i], request->path, &params))
            buf_addf(&headers, "%s%s%s", headers.len ? ", " : "Allow: ", routes[i].method,
                     strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    buf_add_text(&headers, "\r\n");
    clerk_answer_problem_with(request, 405, "method-not-allowed", "this path has other methods",
                              headers.failed ? NULL : buf_text(&headers));
    buf_fini(&headers);
}

/* Returns the route that the request may take, with the grant of its caller (judge_right); NULL:
 * answered. */
static const struct route *judge_request(struct clerk *clerk, struct web_request *request,
                                         struct clerk_params *params, struct grant **grant)
{
    const struct route *route;
    int status;

    if (comes_from_elsewhere(request)) {
        clerk_answer_problem(request, 403, "origin", "a page of another origin may not ask here");
        return NULL;
    }
    route = find_route(request, params, &status);
    if (route)
        return judge_right(clerk, request, route, grant) ? route : NULL;
    if (status == 405)
        answer_method(request);
    else
        clerk_answer_problem(request, 404, "not-found", "there is no such path");
    return NULL;
}

static bool on_head(void *arg, struct web_request *request)
{
    struct clerk_params params;
    struct grant *grant;

    if (!judge_request(arg, request, &params, &grant))
        return false;
    grant_unref(grant);
    return true;
}

static void on_request(void *arg, struct web_request *request)
{
    struct clerk_params params;
    struct clerk_call call = { .clerk = arg, .request = request, .params = &params };
    const struct route *route = judge_request(arg, request, &params, &call.grant);

    if (!route)
        return;
    route->answer(&call);
    grant_unref(call.grant);
}

/* ---- life ---- */

static struct web_settings settings_of(const struct office *office)
{
    const struct config *config = office->config;

    return (struct web_settings){
        .connections_max = (uint32_t)config->admin.connections,
        .body_max = (size_t)config->admin.body_bytes,
        .bodies_max = BODIES_SHARE * (size_t)config->admin.body_bytes,
        .handshake_s = (uint32_t)config->limits.handshake_s,
        .idle_s = IDLE_S,
        .tls = office->tls,
    };
}

struct clerk *clerk_new(struct office *office, const struct clerk_door *doors, size_t door_count,
                        int control_fd)
{
    static const struct web_calls calls = { .admits = on_head, .request = on_request };
    struct clerk *clerk = calloc(1, sizeof *clerk);
    struct web_settings settings = settings_of(office);
    struct web_door *web_doors = calloc(door_count + 1, sizeof *web_doors);

    for (size_t i = 0; web_doors && i < door_count; i++)
        web_doors[i] = (struct web_door){ doors[i].fd, doors[i].is_local, doors[i].is_secure };
    if (clerk && web_doors) {
        clerk->office = office;
        clerk->control_fd = control_fd;
        LIST_INIT(&clerk->batches);
        LIST_INIT(&clerk->tasks);
        surveys_init(&clerk->surveys, office);
        redis_view_init(&clerk->redis, office);
        clerk->web =
            web_new(office->loop, office->stats, web_doors, door_count, &settings, &calls, clerk);
    }
    free(web_doors);
    if (clerk && !clerk->web) {
        free(clerk);
        return NULL;
    }
    return clerk;
}

void clerk_open(struct clerk *clerk)
{
    web_open(clerk->web);
}

void clerk_free(struct clerk *clerk)
{
    if (!clerk)
        return;
    clerk_messages_free(clerk);
    clerk_reload_free(clerk);
    surveys_fini(&clerk->surveys);
    web_free(clerk->web);
    free(clerk);
}

void clerk_configure(struct clerk *clerk)
{
    struct web_settings settings = settings_of(clerk->office);

    web_configure(clerk->web, &settings);
}

void clerk_told(struct clerk *clerk, uint64_t number, struct slice answer)
{
    surveys_told(&clerk->surveys, number, answer);
}

void clerk_turn(struct clerk *clerk)
{
    web_turn(clerk->web);
    surveys_turn(&clerk->surveys);
    clerk_messages_turn(clerk);
    clerk_tasks_turn(clerk);
    clerk_revocations_turn(clerk);
}

void clerk_beat(struct clerk *clerk)
{
    web_tick(clerk->web);
    redis_view_beat(&clerk->redis);
    clerk_reload_tick(clerk);
}

bool clerk_leave(struct clerk *clerk)
{
    return web_leave(clerk->web) == 0;
}
