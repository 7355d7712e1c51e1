#include "worker/session/errands.h"

#include "config/config.h"
#include "worker/envelope/postmaster.h"

#include <assert.h>
#include <stdlib.h>

enum {
    ROOM_BYTES = 64 << 10,     /* an errand begins when less than this waits to be sent */
    WAITING_BYTES = 256 << 10, /* of memory that the errands of a session may have while waiting */
    RETRY_MS = 1000,
};

/* Of a session that has an errand; an idle session has none of this. */
struct errands {
    TAILQ_HEAD(errand_list, errand) waiting;
    uint32_t waiting_count;
    size_t waiting_bytes;
    uint64_t answer_bytes;    /* expected of all errands, the errand under way included */
    uint32_t under_way_bytes; /* of them, expected of the errand under way */
    bool under_way;
    bool beginning; /* errands_go_on is at work */
};

static struct errands *errands_need(struct session *session)
{
    if (!session->errands) {
        session->errands = calloc(1, sizeof *session->errands);
        if (session->errands)
            TAILQ_INIT(&session->errands->waiting);
    }
    return session->errands;
}

/* ---- reading from the session ---- */

/* Nothing is read from the session while the answers that wait, with those that errands will bring,
 * pass limits.queueBytes. */
static void adjust_hold(struct session *session)
{
    const struct errands *errands = session->errands;
    uint64_t expected = errands ? errands->answer_bytes : 0;
    bool hold = expected && expected + session->conn.outbox.answer_bytes >
                                (uint64_t)session->office->config->limits.queue_bytes;

    session_hold_for_errands(session, hold);
}

/* ---- the row ---- */

static void errand_take_out(struct errands *errands, struct errand *errand)
{
    TAILQ_REMOVE(&errands->waiting, errand, link);
    assert(errands->waiting_count && errands->waiting_bytes >= errand->bytes);
    errands->waiting_count--;
    errands->waiting_bytes -= errand->bytes;
}

static bool errand_fits(struct session *session)
{
    if (conn_waiting(&session->conn) < ROOM_BYTES)
        return true;
    conn_ask_for_room(&session->conn, ROOM_BYTES);
    return false;
}

/* An errand that cannot be asked for is done at once, inside begin: the loop then takes the next
 * errand. */
static void errands_go_on(struct session *session)
{
    struct errands *errands = session->errands;
    struct errand *errand;

    if (!errands || errands->beginning)
        return;
    errands->beginning = true;
    while (!errands->under_way && conn_is_open(&session->conn) &&
           (errand = TAILQ_FIRST(&errands->waiting)) && errand_fits(session)) {
        errand_take_out(errands, errand);
        errands->under_way = true;
        errands->under_way_bytes = errand->answer_bytes;
        errand->begin(errand, session);
    }
    errands->beginning = false;
    if (!errands->under_way && TAILQ_EMPTY(&errands->waiting))
        errands_free(session);
    if (conn_is_open(&session->conn))
        adjust_hold(session);
}

enum err errands_put(struct session *session, struct errand *errand)
{
    struct errands *errands = errands_need(session);
    uint64_t count_max = (uint64_t)session->office->config->limits.commands_waiting;
    bool waits;

    if (!errands)
        return ERR_NOMEM;
    waits = errands->under_way || errands->waiting_count > 0;
    if (waits &&
        (errands->waiting_count >= count_max ||
         (errands->waiting_count && errands->waiting_bytes + errand->bytes > WAITING_BYTES)))
        return ERR_FULL;
    TAILQ_INSERT_TAIL(&errands->waiting, errand, link);
    errands->waiting_count++;
    errands->waiting_bytes += errand->bytes;
    errands->answer_bytes += errand->answer_bytes;
    if (waits)
        stats_add(session->office->stats, STAT_commands_waited, 1);
    errands_go_on(session);
    return OK;
}

enum err errands_command(struct session *session, struct errand *errand,
                         struct envelope_fault *fault)
{
    enum err err = errands_put(session, errand);

    if (!err)
        return OK;
    errand->drop(errand);
    if (err == ERR_FULL)
        return envelope_reject(fault, REJECT_RATE_LIMITED, NULL,
                               "too many commands wait: limits.commandsWaiting");
    return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
}

void errands_done(const struct asker *asker)
{
    struct session *session = session_by_number(asker->office, asker->number);
    struct errands *errands = session ? session->errands : NULL;

    if (!errands)
        return;
    assert(errands->under_way && errands->answer_bytes >= errands->under_way_bytes);
    errands->under_way = false;
    errands->answer_bytes -= errands->under_way_bytes;
    errands_go_on(session);
    session_check_answered(session);
}

void errands_reject(const struct asker *asker, enum reject_code code, const char *field,
                    const char *message)
{
    struct session *session = asker_session(asker);
    bool is_clients_error = code == REJECT_NOT_FOUND;

    stats_add(asker->office->stats,
              is_clients_error                     ? STAT_rejected_not_found
              : code == REJECT_STORAGE_UNAVAILABLE ? STAT_rejected_storage_unavailable
                                                   : STAT_rejected_internal,
              1);
    if (!session)
        return;
    session_say(session, postmaster_rejected(session_address(session),
                                             &(struct postmaster_rejection){
                                                 .code = code,
                                                 .message = message,
                                                 .field = field,
                                                 .id = asker_id(asker),
                                                 .retry_after_ms = is_clients_error ? 0 : RETRY_MS,
                                             }));
    if (is_clients_error)
        session_count_error(session);
}

void errands_on_room(struct session *session)
{
    errands_go_on(session);
}

void errands_close(struct session *session)
{
    struct errands *errands = session->errands;
    struct errand *errand;

    if (!errands)
        return;
    while ((errand = TAILQ_FIRST(&errands->waiting))) {
        errands->answer_bytes -= errand->answer_bytes;
        errand_take_out(errands, errand);
        errand->drop(errand);
    }
}

void errands_free(struct session *session)
{
    assert(!session->errands || TAILQ_EMPTY(&session->errands->waiting));
    free(session->errands);
    session->errands = NULL;
}
