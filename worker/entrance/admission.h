/*
 * The whole request of a visitor: judged in the order of what the checks cost, so that a full
 * server spends little on a connection. The visitor leaves as a session or with a refusal.
 */
#ifndef WORKER_ADMISSION_H
#define WORKER_ADMISSION_H

#include <stddef.h>

struct introduction;
struct visitor;

/* head_len: of the request; the bytes behind it are the session's. */
void admission_judge(struct visitor *visitor, const struct introduction *introduction,
                     size_t head_len);

#endif
