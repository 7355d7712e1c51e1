/* GET /api/v1/groups/GROUP: the subscribers on each worker, and the ends of the group's log. */
#include "worker/clerk/clerk_parts.h"

#include "common/address.h"
#include "common/json.h"
#include "worker/mailbox/mailbox_admin.h"
#include "worker/mailbox/place.h"

#include <stdio.h>

enum { WORKERS_BYTES_MAX = 1 << 20, ANSWER_MAX = 2 << 20 };

struct group_task {
    struct clerk_task task;
    char group[ADDRESS_BYTES_MAX + 1];
    bool known;
    uint64_t messages, bytes, subscribers;
    uint32_t unclear; /* workers of a version that does not know the question */
    struct seq oldest, newest, lost;
    struct buf workers; /* JSON objects with commas between */
};

static void group_free(struct group_task *group)
{
    buf_fini(&group->workers);
    clerk_task_free(&group->task);
}

/* ---- the workers ---- */

static void take_member(void *arg, const struct json_member *member)
{
    int64_t *count = arg;

    if (json_key_equal(&member->key, SLICE("subscribers")) && !json_int(&member->value, count))
        *count = -1;
}

static void on_answered(void *arg, struct slice place_text, struct slice answer)
{
    struct group_task *group = arg;
    struct json_value value;
    struct json_fault fault;
    struct place place;
    int64_t count = -1;

    if (!place_parse(place_text, &place) ||
        json_check_members(answer, JSON_DEPTH_LIMIT, &value, &fault, take_member, &count) ||
        count < 0) {
        group->unclear++;
        return;
    }
    group->subscribers += (uint64_t)count;
    buf_add_text(&group->workers, group->workers.len ? ",{\"node\":" : "{\"node\":");
    json_add_string(&group->workers, place.node);
    buf_addf(&group->workers, ",\"worker\":%u,\"subscribers\":%lld}", place.slot, (long long)count);
}

static void answer_group(struct group_task *group, uint32_t missing)
{
    struct buf out;

    buf_init(&out, ANSWER_MAX);
    buf_add_text(&out, "{\"group\":");
    json_add_string(&out, slice_of(group->group));
    buf_addf(&out, ",\"subscribers\":%llu,\"workers\":[", (unsigned long long)group->subscribers);
    buf_add_slice(&out, buf_slice(&group->workers));
    buf_addf(&out, "],\"workersMissing\":%u,\"messages\":%llu,\"countedBytes\":%llu", missing,
             (unsigned long long)group->messages, (unsigned long long)group->bytes);
    clerk_add_seq(&out, "oldest", group->oldest);
    clerk_add_seq(&out, "newest", group->newest);
    clerk_add_seq(&out, "lost", group->lost);
    buf_add_text(&out, "}\n");
    out.failed |= group->workers.failed;
    clerk_task_answer(&group->task, 200, &out);
    buf_fini(&out);
}

static void on_surveyed(void *arg, uint32_t missing)
{
    struct group_task *group = arg;

    missing += group->unclear;
    if (!group->known && group->subscribers == 0 && missing == 0)
        clerk_task_problem(&group->task, 404, "not-found", "nothing is known of this group");
    else
        answer_group(group, missing);
    group_free(group);
}

static const struct survey_calls group_calls = { on_answered, on_surveyed };

/* ---- the log ---- */

static void on_looked(void *arg, struct mailbox_look *look)
{
    struct group_task *group = arg;
    char question[ADDRESS_BYTES_MAX + 16];
    int len = snprintf(question, sizeof question, "group\n%s", group->group);

    if (!look->ok) {
        group_free(group);
        return;
    }
    group->known = look->known;
    group->messages = look->count;
    group->bytes = look->bytes;
    group->oldest = look->oldest;
    group->newest = look->newest;
    group->lost = look->lost;
    clerk_task_renew(&group->task);
    group->task.due_ms += SURVEY_MS;
    if (!survey_node(&group->task.clerk->surveys, SLICE(""), slice_make(question, (size_t)len),
                     &group_calls, group))
        return;
    clerk_task_problem(&group->task, 503, "busy",
                       "too many such questions are under way, or out of memory");
    group_free(group);
}

void clerk_group_get(const struct clerk_call *call)
{
    struct group_task *group;
    struct slice address;

    if (!clerk_take_address(call, 0, &address))
        return;
    if (!address_is_group(address)) {
        clerk_answer_problem(call->request, 400, "bad-field",
                             "a group begins with #, percent-encoded %23");
        return;
    }
    group = clerk_task_new(call, sizeof *group);
    if (!group)
        return;
    memcpy(group->group, address.data, address.len + 1);
    buf_init(&group->workers, WORKERS_BYTES_MAX);
    if (mailbox_look(call->clerk->office->mailbox, address, false, on_looked, group))
        group_free(group);
}
