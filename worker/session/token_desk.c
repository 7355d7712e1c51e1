#include "worker/session/token_desk.h"

#include "worker/token/token_memory.h"

enum token_fault token_desk_judge(struct office *office, struct slice token, struct grant **grant,
                                  const char **reason)
{
    bool remembered;
    enum token_fault fault =
        token_memory_judge(office->tokens, office->config, token, loop_unix_s(office->loop), grant,
                           reason, &remembered);

    if (remembered)
        stats_add(office->stats, STAT_tokens_remembered, 1);
    return fault;
}
