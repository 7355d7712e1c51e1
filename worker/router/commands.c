#include "worker/router/commands.h"

#include "common/address.h"
#include "common/json.h"
#include "worker/groups/groups.h"
#include "worker/envelope/postmaster.h"
#include "worker/entrance/presence.h"
#include "worker/delivery/recall.h"
#include "worker/mailbox/mailbox_read.h"
#include "worker/session/errands.h"
#include "worker/session/token_desk.h"
#include "worker/mailbox/mailbox.h"
#include "worker/token/token.h"

#include <stdlib.h>

/* Ends the result in the making and sends it. */
static enum err send_result(struct session *session, struct envelope_fault *fault)
{
    struct msg *msg = postmaster_end(MSG_ANSWER);

    if (!msg)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    session_say(session, msg);
    return OK;
}

static void add_quoted_seq(struct buf *out, struct seq seq)
{
    char text[SEQ_TEXT_MAX];

    json_add_string(out, slice_make(text, seq_format(text, seq)));
}

/* ---- renew ---- */

/* Is the fresh grant for the same sub, and does it still cover the session's address? */
static bool may_replace_grant(const struct session *session, const struct grant *fresh)
{
    const struct grant *present = session->grant;

    return slice_equal(slice_make(fresh->sub, fresh->sub_len),
                       slice_make(present->sub, present->sub_len)) &&
           grant_may_speak_for(fresh, session_address(session));
}

/* A fresh token before the old one expires (section 4.11). */
static enum err run_renew(struct session *session, const struct envelope *envelope,
                          struct envelope_fault *fault)
{
    struct office *office = session->office;
    struct grant *grant = NULL;
    const char *reason;
    enum token_fault wrong;
    struct buf *out;

    if (!envelope->token.data)
        return envelope_reject(fault, REJECT_MISSING_FIELD, "token", "renew needs a fresh token");
    wrong = token_desk_judge(office, envelope->token, &grant, &reason);
    if (wrong == TOKEN_UNCHECKED)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    if (wrong != TOKEN_GOOD)
        return envelope_reject(fault, REJECT_BAD_TOKEN, "token", reason);
    if (!may_replace_grant(session, grant)) {
        grant_unref(grant);
        return envelope_reject(fault, REJECT_BAD_TOKEN, "token",
                               "the token is not for the same sub and address");
    }
    session_renew(session, grant);
    out = postmaster_begin_result(session_address(session), envelope->id);
    if (grant->expires_at != INT64_MAX)
        buf_addf(out, ",\"expiresAt\":%lld", (long long)grant->expires_at);
    groups_check_grant(session, out);
    grant_unref(grant);
    return send_result(session, fault);
}

/* ---- ack ---- */

/* The group that tags names; data NULL: tags names none. */
static enum err take_group(const struct envelope *envelope, struct slice *group,
                           struct envelope_fault *fault)
{
    *group = (struct slice){ 0 };
    if (envelope->tag_count > 1)
        return envelope_reject(fault, REJECT_BAD_FIELD, "tags", "tags names one address");
    if (envelope->tag_count == 0)
        return OK;
    if (!address_valid(envelope->tags[0]) || !address_is_group(envelope->tags[0]))
        return envelope_reject(fault, REJECT_BAD_FIELD, "tags", "tags must name a group");
    *group = envelope->tags[0];
    return OK;
}

/* The device has processed its mailbox, or a group's log, up to and including the seq in
 * `references`, in the order of sending. */
static enum err run_ack(struct session *session, const struct envelope *envelope,
                        struct envelope_fault *fault)
{
    struct seq seq, cursor;
    struct slice group;
    struct buf *out;

    if (!envelope->references.data)
        return envelope_reject(fault, REJECT_MISSING_FIELD, "references",
                               "ack names a seq in references");
    if (!seq_parse(envelope->references, &seq))
        return envelope_reject(fault, REJECT_BAD_FIELD, "references", "references must be a seq");
    if (take_group(envelope, &group, fault))
        return ERR_BAD;
    if (!session->office->mailbox)
        return envelope_reject(fault, REJECT_STORAGE_UNAVAILABLE, NULL,
                               "nothing is stored without Redis");
    if (!group.data) {
        /* An ack of nothing new changes nothing, and is answered. */
        if (!session->supply->ack(session, seq) && seq_compare(seq, session->cursor) > 0 &&
            groups_sent_seq(session, seq))
            return envelope_reject(fault, REJECT_MISSING_FIELD, "tags",
                                   "this seq is of a group's log: tags must name the group");
        cursor = session->cursor;
    } else if (!groups_ack(session, group, seq, &cursor)) {
        return envelope_reject(fault, REJECT_NOT_FOUND, "tags",
                               "this session is not subscribed to it");
    }
    out = postmaster_begin_result(session_address(session), envelope->id);
    buf_add_text(out, ",\"cursor\":");
    add_quoted_seq(out, cursor);
    return send_result(session, fault);
}

/* ---- history ---- */

enum { HISTORY_MAX = 200 };

/* The stored message with its seq as the first member; behind it the group whose log the seq is of.
 * group.len 0: none. */
static void add_entry(struct buf *out, const struct mailbox_entry *entry, struct slice group)
{
    buf_add_text(out, "{\"seq\":");
    add_quoted_seq(out, entry->seq);
    if (group.len) {
        buf_add_text(out, ",\"log\":");
        json_add_string(out, group);
    }
    if (entry->body.len > 2) /* "{}" has nothing to follow */
        buf_add_char(out, ',');
    buf_add(out, entry->body.data + 1, entry->body.len - 1);
}

/* `more` and `references`: the client asks for the messages before these. group.len 0: the page is
 * of a mailbox. */
static void add_page(struct buf *out, const struct mailbox_page *page, struct slice group)
{
    if (!page->ok)
        buf_add_text(out, ",\"code\":\"storage-unavailable\"");
    buf_add_text(out, ",\"messages\":[");
    for (size_t i = 0; i < page->count; i++) {
        if (i)
            buf_add_char(out, ',');
        add_entry(out, &page->entries[i], group);
    }
    buf_add_char(out, ']');
    if (!page->ok || page->end)
        return;
    buf_add_text(out, ",\"more\":true,\"references\":");
    add_quoted_seq(out, page->last);
}

/* A `history` command that waits for its turn, or for its page. */
struct history {
    struct errand errand;
    struct seq before;
    int64_t limit;
    struct slice address, thread; /* in text */
    char text[];
};

static void history_free(struct errand *errand)
{
    free(errand);
}

static void history_read(void *arg, const struct mailbox_page *page)
{
    struct history *history = arg;
    struct asker asker = history->errand.asker;
    struct session *session = asker_session(&asker);

    if (session) {
        add_page(postmaster_begin_result(session_address(session), asker_id(&asker)), page,
                 address_is_group(history->address) ? history->address : (struct slice){ 0 });
        session_say(session, postmaster_end(MSG_ANSWER));
    }
    history_free(&history->errand);
    errands_done(&asker);
}

static void history_begin(struct errand *errand, struct session *session)
{
    struct history *history = (struct history *)(void *)errand;
    struct mailbox *mailbox = session->office->mailbox;
    struct asker asker = errand->asker;

    if (mailbox && mailbox_is_up(mailbox) &&
        mailbox_history(mailbox, history->address, history->thread, history->before,
                        (unsigned)history->limit, history_read, history) == OK)
        return;
    history_free(errand);
    errands_reject(&asker, REJECT_STORAGE_UNAVAILABLE, NULL, "Redis is away");
    errands_done(&asker);
}

static struct slice text_copy(char **at, struct slice text)
{
    struct slice copy = slice_make(*at, text.len);

    if (text.len)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static struct history *history_new(const struct session *session, const struct envelope *envelope,
                                   struct slice address)
{
    struct slice thread = envelope->subject_id;
    size_t bytes = sizeof(struct history) + address.len + thread.len;
    struct history *history = malloc(bytes);
    char *at;

    if (!history)
        return NULL;
    *history = (struct history){
        .errand = { .asker = asker_of(session, envelope->id),
                    .bytes = bytes,
                    .answer_bytes = MAILBOX_HISTORY_BYTES,
                    .begin = history_begin,
                    .drop = history_free },
    };
    at = history->text;
    history->address = text_copy(&at, address);
    history->thread = text_copy(&at, thread);
    return history;
}

/* Stored messages, newest first: of the session's own mailbox, or of a group that its token
 * allows. */
static enum err run_history(struct session *session, const struct envelope *envelope,
                            struct envelope_fault *fault)
{
    struct slice address = envelope->tag_count ? envelope->tags[0] : session_address(session);
    int64_t limit = envelope->has_limit ? envelope->limit : HISTORY_MAX;
    struct seq before = { 0 };
    struct history *history;

    if (envelope->tag_count > 1)
        return envelope_reject(fault, REJECT_BAD_FIELD, "tags", "tags names one address");
    if (!slice_equal(address, session_address(session)) && !groups_may_read(session, address))
        return envelope_reject(
            fault, REJECT_FORBIDDEN_TO, "tags",
            "only your own mailbox can be read, and groups that the token allows");
    if (envelope->references.data && !seq_parse(envelope->references, &before))
        return envelope_reject(fault, REJECT_BAD_FIELD, "references", "references must be a seq");
    if (limit > HISTORY_MAX)
        return envelope_reject(fault, REJECT_BAD_FIELD, "limit", "limit must be at most 200");
    history = history_new(session, envelope, address);
    if (!history)
        return envelope_reject(fault, REJECT_INTERNAL, NULL, "out of memory");
    history->before = before;
    history->limit = limit;
    return errands_command(session, &history->errand, fault);
}

/* ---- the table ---- */

static const struct {
    struct slice subject;
    enum err (*run)(struct session *session, const struct envelope *envelope,
                    struct envelope_fault *fault);
} commands[] = {
#define COMMAND(subject, run)                                                                      \
    {                                                                                              \
        { subject, sizeof(subject) - 1 }, run                                                      \
    }
    COMMAND("ack", run_ack),
    COMMAND("history", run_history),
    COMMAND("presence", presence_run),
    COMMAND("recall", recall_command),
    COMMAND("renew", run_renew),
    COMMAND("subscribe", groups_subscribe),
    COMMAND("unsubscribe", groups_unsubscribe),
#undef COMMAND
};

enum err command_run(struct session *session, const struct envelope *envelope,
                     struct envelope_fault *fault)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (slice_equal(envelope->subject, commands[i].subject))
            return commands[i].run(session, envelope, fault);
    return envelope_reject(
        fault, REJECT_UNKNOWN_COMMAND, "subject",
        "known commands: ack, history, presence, recall, renew, subscribe, unsubscribe");
}
