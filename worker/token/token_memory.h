/*
 * A worker's memory of good tokens: clients that come back all at once do not cost a signature
 * check each.
 *
 * Only tokens whose signature a public key has verified are remembered: an HMAC costs less than the
 * search. A token is found by a keyed hash of its text, with a key that nobody outside the process
 * knows. The configuration that judged a token is part of the judgement, so a new configuration
 * forgets everything; the times and the revocations are looked at again each time.
 */
#ifndef WORKER_TOKEN_MEMORY_H
#define WORKER_TOKEN_MEMORY_H

#include "worker/token/revocations.h"
#include "worker/token/token.h"

struct token_memory;

/* Empty. NULL when out of memory. */
struct token_memory *token_memory_new(void);
void token_memory_free(struct token_memory *memory); /* NULL is allowed */
/* Forgets all tokens, and takes the bound (auth.rememberedTokens) of the configuration. Call with
 * the first configuration and with each new one. */
void token_memory_configure(struct token_memory *memory, const struct config *config);

/* Tokens that the table revokes are refused from now on; the table is borrowed. */
void token_memory_watch(struct token_memory *memory, const struct revocations *revocations);

/* As token_judge. memory NULL: nothing is remembered. *remembered: the signature was not verified
 * now. */
enum token_fault token_memory_judge(struct token_memory *memory, const struct config *config,
                                    struct slice token, int64_t now_s, struct grant **grant,
                                    const char **reason, bool *remembered);

#endif
