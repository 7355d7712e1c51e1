/* Judges tokens for a worker: by the configuration in force, with what the worker remembers. */
#ifndef WORKER_TOKEN_DESK_H
#define WORKER_TOKEN_DESK_H

#include "worker/session/office.h"
#include "worker/token/token.h"

/* As token_judge, now; counts tokens_remembered. */
enum token_fault token_desk_judge(struct office *office, struct slice token, struct grant **grant,
                                  const char **reason);

#endif
