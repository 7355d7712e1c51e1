/*
 * Tasks: requests that wait for Redis.
 *
 * Bounded in number, and in time: a task whose step lasts longer than redis.commandTimeoutMs is
 * answered 503. Its record stays until Redis has answered, because that answer names the record.
 */
#include "worker/clerk/clerk_parts.h"

#include "worker/mailbox/mailbox.h"

#include <stdlib.h>

enum { TASKS_MAX = 64 };

static const char no_answer[] = "Redis is away, or has not carried this out";

void *clerk_task_new(const struct clerk_call *call, size_t size)
{
    struct clerk *clerk = call->clerk;
    struct mailbox *mailbox = clerk->office->mailbox;
    struct clerk_task *task = NULL;

    if (!mailbox || !mailbox_is_up(mailbox)) {
        clerk_answer_problem(call->request, 503, "storage-unavailable",
                             mailbox ? "Redis is away" : "nothing is stored without Redis");
        return NULL;
    }
    if (clerk->task_count < TASKS_MAX)
        task = calloc(1, size);
    if (!task) {
        clerk_answer_problem(call->request, 503, "busy",
                             "too many such questions are under way, or out of memory");
        return NULL;
    }
    task->clerk = clerk;
    task->request = call->request;
    clerk_task_renew(task);
    LIST_INSERT_HEAD(&clerk->tasks, task, link);
    clerk->task_count++;
    return task;
}

void clerk_task_renew(struct clerk_task *task)
{
    struct office *office = task->clerk->office;

    task->due_ms =
        loop_now_ms(office->loop) + (uint64_t)office->config->redis_options.command_timeout_ms;
}

void clerk_task_answer(struct clerk_task *task, int status, const struct buf *out)
{
    if (task->request)
        clerk_answer_json(task->request, status, out);
    task->request = NULL;
}

void clerk_task_problem(struct clerk_task *task, int status, const char *code, const char *detail)
{
    if (task->request)
        clerk_answer_problem(task->request, status, code, detail);
    task->request = NULL;
}

void clerk_task_unavailable(struct clerk_task *task)
{
    clerk_task_problem(task, 503, "storage-unavailable", no_answer);
}

void clerk_task_free(struct clerk_task *task)
{
    clerk_task_unavailable(task); /* unless answered */
    LIST_REMOVE(task, link);
    task->clerk->task_count--;
    free(task);
}

void clerk_tasks_turn(struct clerk *clerk)
{
    uint64_t now_ms = loop_now_ms(clerk->office->loop);
    struct clerk_task *task;

    LIST_FOREACH(task, &clerk->tasks, link)
    if (task->request && now_ms >= task->due_ms)
        clerk_task_unavailable(task);
}
