/*
 * A table of sets of four. A token can stand in the four places of one set; in a full set the
 * token that ends first gives way. So a search looks at four entries, however full the table is.
 */
#include "worker/token/token_memory.h"

#include "worker/token/token_inside.h"

#include <sodium.h>
#include <stdlib.h>

enum { WAYS = 4, HASH_BYTES = 16 };

struct remembered {
    uint8_t hash[HASH_BYTES];
    struct grant *grant; /* one reference; NULL: free */
    int64_t since_s;     /* when the token was judged; before that its nbf may not be reached */
    int64_t until_s;     /* the last second at which the token is good */
};

struct token_memory {
    uint8_t key[crypto_generichash_KEYBYTES];
    struct remembered *entries;            /* sets * WAYS; NULL until the first token */
    size_t sets;                           /* a power of two; 0: nothing is remembered */
    const struct revocations *revocations; /* NULL: no table */
};

struct token_memory *token_memory_new(void)
{
    struct token_memory *memory = calloc(1, sizeof *memory);

    if (memory)
        token_random(memory->key, sizeof memory->key);
    return memory;
}

static void forget_all(struct token_memory *memory)
{
    for (size_t i = 0; memory->entries && i < memory->sets * WAYS; i++)
        grant_unref(memory->entries[i].grant);
    free(memory->entries);
    memory->entries = NULL;
}

void token_memory_free(struct token_memory *memory)
{
    if (!memory)
        return;
    forget_all(memory);
    sodium_memzero(memory->key, sizeof memory->key);
    free(memory);
}

void token_memory_configure(struct token_memory *memory, const struct config *config)
{
    size_t wanted = (size_t)config->auth.remembered;

    forget_all(memory);
    memory->sets = wanted >= WAYS ? 1 : 0;
    while (memory->sets && memory->sets * 2 * WAYS <= wanted)
        memory->sets *= 2;
}

static struct remembered *set_of(const struct token_memory *memory, const uint8_t *hash)
{
    uint64_t number;

    memcpy(&number, hash, sizeof number);
    return &memory->entries[(number & (memory->sets - 1)) * WAYS];
}

/* Returns the token's place; NULL: the token is not remembered. */
static struct remembered *find_token(const struct token_memory *memory, const uint8_t *hash)
{
    struct remembered *set;

    if (!memory->entries)
        return NULL;
    set = set_of(memory, hash);
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].grant && memcmp(set[i].hash, hash, HASH_BYTES) == 0)
            return &set[i];
    return NULL;
}

/* Returns a free place for the hash, or the place of the token that ends first. */
static struct remembered *find_place(const struct token_memory *memory, const uint8_t *hash)
{
    struct remembered *set = set_of(memory, hash), *place = set;

    for (size_t i = 0; i < WAYS && place->grant; i++)
        if (!set[i].grant || set[i].until_s < place->until_s)
            place = &set[i];
    return place;
}

static void forget_token(struct remembered *place)
{
    grant_unref(place->grant);
    *place = (struct remembered){ 0 };
}

static void remember_token(struct token_memory *memory, const struct remembered *fresh)
{
    struct remembered *place;

    if (!memory->entries)
        memory->entries = calloc(memory->sets * WAYS, sizeof *memory->entries);
    if (!memory->entries)
        return; /* the token is verified again next time: nothing else is lost */
    place = find_place(memory, fresh->hash);
    forget_token(place);
    *place = *fresh;
    grant_ref(place->grant);
}

/* The last second at which judge_claims (token_claims.c) and token_key_find take the token. */
static int64_t last_second(const struct config *config, const struct grant *grant,
                           const struct config_key *key)
{
    int64_t end = INT64_MAX;

    if (grant->expires_at <= INT64_MAX - config->auth.leeway_s)
        end = grant->expires_at + config->auth.leeway_s - 1;
    return end < key->not_after ? end : key->not_after;
}

/* Returns the grant, with one reference more; NULL: the token must be judged. */
static struct grant *recall_grant(const struct token_memory *memory, const struct config *config,
                                  const uint8_t *hash, int64_t now_s)
{
    struct remembered *place = find_token(memory, hash);

    if (!place)
        return NULL;
    if (now_s >= place->since_s && now_s <= place->until_s &&
        !token_grant_revoked(config, place->grant))
        return grant_ref(place->grant);
    forget_token(place); /* the judgement says what is wrong, and may remember the token anew */
    return NULL;
}

void token_memory_watch(struct token_memory *memory, const struct revocations *revocations)
{
    memory->revocations = revocations;
}

/* The judgement without the table of revocations. */
static enum token_fault judge_by_config(struct token_memory *memory, const struct config *config,
                                        struct slice token, int64_t now_s, struct grant **grant,
                                        const char **reason, bool *remembered)
{
    struct remembered fresh = { .since_s = now_s };
    struct token_opened opened;
    struct grant *recalled = NULL;
    enum token_fault fault;

    *remembered = false;
    if (!memory || !memory->sets || !token.len || token.len > TOKEN_BYTES_MAX)
        return token_judge(config, token, now_s, grant, reason);
    crypto_generichash(fresh.hash, sizeof fresh.hash, (const uint8_t *)token.data, token.len,
                       memory->key, sizeof memory->key);
    recalled = recall_grant(memory, config, fresh.hash, now_s);
    if (recalled) {
        *remembered = true;
        *grant = recalled;
        *reason = token_fault_text(TOKEN_GOOD);
        return TOKEN_GOOD;
    }
    fault = token_judge_opened(config, token, now_s, &opened, grant, reason);
    if (fault == TOKEN_GOOD && opened.key->kty != CONFIG_KTY_HMAC) {
        fresh.grant = *grant;
        fresh.until_s = last_second(config, *grant, opened.key);
        remember_token(memory, &fresh);
    }
    return fault;
}

enum token_fault token_memory_judge(struct token_memory *memory, const struct config *config,
                                    struct slice token, int64_t now_s, struct grant **grant,
                                    const char **reason, bool *remembered)
{
    enum token_fault fault =
        judge_by_config(memory, config, token, now_s, grant, reason, remembered);

    if (fault != TOKEN_GOOD || !memory || !revocations_hit(memory->revocations, *grant, now_s))
        return fault;
    grant_unref(*grant);
    *grant = NULL;
    *remembered = false;
    *reason = token_fault_text(TOKEN_REVOKED);
    return TOKEN_REVOKED;
}
