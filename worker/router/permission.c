#include "worker/router/permission.h"

#include "common/address.h"
#include "worker/token/token_memory.h"

/* The message's own token speaks for its `sub` alone: `relay` is a right of sessions. */
static enum err check_own_token(const struct permission_session *session,
                                const struct envelope *envelope, struct grant **own,
                                struct envelope_fault *fault)
{
    struct grant *grant = NULL;
    enum token_fault wrong;
    const char *reason;
    bool remembered;

    wrong = token_memory_judge(session->tokens, session->config, envelope->token, session->now_s,
                               &grant, &reason, &remembered);
    if (remembered && session->remembered)
        *session->remembered = true;
    if (wrong == TOKEN_UNCHECKED)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    if (wrong != TOKEN_GOOD)
        return envelope_reject(fault, REJECT_BAD_TOKEN, "token", token_fault_text(wrong));
    if (!slice_equal(slice_make(grant->sub, grant->sub_len), envelope->from)) {
        grant_unref(grant);
        return envelope_reject(fault, REJECT_FORBIDDEN_FROM, "from",
                               "the message's token is for another address");
    }
    *own = grant;
    return OK;
}

enum err permission_check_from(const struct permission_session *session,
                               const struct envelope *envelope, struct grant **own,
                               struct envelope_fault *fault)
{
    *own = NULL;
    if (slice_equal(envelope->from, session->address) ||
        grant_may_speak_for(session->grant, envelope->from))
        return OK;
    if (!envelope->token.data)
        return envelope_reject(fault, REJECT_FORBIDDEN_FROM, "from",
                               "this session may not speak for this address");
    return check_own_token(session, envelope, own, fault);
}

static enum err check_group(const struct grant *grant, enum envelope_type type, struct slice group,
                            struct envelope_fault *fault)
{
    if (type != TYPE_SIGNAL && type != TYPE_POST)
        return envelope_reject(fault, REJECT_BAD_FIELD, "to",
                               "a group takes posts (type 3) and signals (type 2)");
    if (!grant_may_use_group(grant, group))
        return envelope_reject(fault, REJECT_FORBIDDEN_TO, "to",
                               "the token does not allow this group");
    return OK;
}

static enum err check_recipient(const struct grant *grant, enum envelope_type type,
                                struct slice address, struct envelope_fault *fault)
{
    if (address_is_group(address))
        return check_group(grant, type, address, fault);
    if (type == TYPE_POST)
        return envelope_reject(fault, REJECT_BAD_FIELD, "to",
                               "a post (type 3) goes to group addresses");
    if (address_reserved(address))
        return envelope_reject(
            fault, REJECT_FORBIDDEN_TO, "to",
            "this address is reserved; postmaster takes type 4 with no other recipient");
    if (!grant_may_send_to(grant, address))
        return envelope_reject(fault, REJECT_FORBIDDEN_TO, "to",
                               "the token does not allow this recipient");
    return OK;
}

/* A client sends only the receipt that means "read"; the server sends all others. */
static enum err check_receipt(const struct envelope *envelope, struct envelope_fault *fault)
{
    if (!envelope->has_state)
        return envelope_reject(fault, REJECT_MISSING_FIELD, "state",
                               "a receipt (type 4) needs state 3");
    if (envelope->state != 3)
        return envelope_reject(fault, REJECT_BAD_FIELD, "state",
                               "a client sends receipts with state 3 (read) only");
    if (!envelope->in_reply_to.data)
        return envelope_reject(fault, REJECT_MISSING_FIELD, "inReplyTo",
                               "a receipt names the message in inReplyTo");
    return OK;
}

enum err permission_check_message(const struct grant *grant, const struct envelope *envelope,
                                  struct envelope_fault *fault)
{
    enum envelope_type type = (enum envelope_type)envelope->type;

    for (size_t i = 0; i < envelope->recipient_count; i++)
        if (check_recipient(grant, type, envelope->recipients[i], fault))
            return ERR_BAD;
    return type == TYPE_CONTROL ? check_receipt(envelope, fault) : OK;
}
