#include "worker/delivery/budget.h"

#include "worker/mailbox/mailbox_spend.h"

#include <assert.h>
#include <stdlib.h>

enum {
    BUCKETS_FIRST = 256,
    LETTER_BYTES = 256,         /* what a letter costs Redis besides its body */
    CHARGE_BYTES_MAX = 1 << 20, /* stored and not charged yet */
    CHARGE_PART = 16,           /* or this part of the bucket */
    ASK_MS = 1000,              /* an empty bucket asks no more often */
    IDLE_MS = 60000,            /* without news an account is forgotten */
    FILL_MS_MAX = 600000,
    WAIT_MS_MAX = 60000,
};

struct budget {
    struct budget *next;   /* of the same bucket */
    struct office *office; /* NULL: the office is gone */
    struct address_key key;
    int64_t bytes_left, boxes_left;   /* below zero: a debt */
    int64_t bytes_spent, boxes_spent; /* since the last charge */
    int64_t byte_rest, box_rest;      /* of a byte in thousandths, of a mailbox in 60,000ths: not
                                       * whole yet */
    uint64_t at_ms;                   /* the bucket was filled up to then */
    uint64_t asked_ms, used_ms;
    uint32_t holders; /* tickets, and the question to Redis */
    bool asking;
    uint8_t address_len;
    char address[];
};

struct budgets {
    uint32_t bucket_count, count;
    uint32_t next; /* bucket to search for idle accounts */
    struct budget *buckets[];
};

/* ---- the table ---- */

static struct budgets *budgets_new(uint32_t bucket_count)
{
    struct budgets *budgets =
        calloc(1, sizeof *budgets + bucket_count * sizeof budgets->buckets[0]);

    if (budgets)
        budgets->bucket_count = bucket_count;
    return budgets;
}

static void budgets_add(struct budgets *budgets, struct budget *budget)
{
    struct budget **bucket = &budgets->buckets[budget->key.lo & (budgets->bucket_count - 1)];

    budget->next = *bucket;
    *bucket = budget;
    budgets->count++;
}

/* Without memory the chains get longer, and nothing else happens. */
static void budgets_grow(struct office *office)
{
    struct budgets *old = office->budgets, *budgets = budgets_new(old->bucket_count * 2);

    if (!budgets)
        return;
    for (uint32_t i = 0; i < old->bucket_count; i++) {
        struct budget *budget;
        while ((budget = old->buckets[i])) {
            old->buckets[i] = budget->next;
            budgets_add(budgets, budget);
        }
    }
    office->budgets = budgets;
    free(old);
}

static struct budget *budget_make(struct session *session)
{
    struct office *office = session->office;
    const struct config *config = office->config;
    struct slice address = session_address(session);
    struct budget *budget = malloc(sizeof *budget + address.len);

    if (!budget)
        return NULL;
    *budget = (struct budget){ .office = office,
                               .key = session->entry->key,
                               .bytes_left = config->limits.stored_bytes_burst,
                               .boxes_left = config->limits.new_mailboxes_per_minute,
                               .at_ms = loop_now_ms(office->loop),
                               .address_len = (uint8_t)address.len };
    memcpy(budget->address, address.data, address.len);
    if (office->budgets->count >= office->budgets->bucket_count)
        budgets_grow(office);
    budgets_add(office->budgets, budget);
    return budget;
}

static struct budget *budget_need(struct session *session)
{
    struct office *office = session->office;
    struct address_key key = session->entry->key;
    struct slice address = session_address(session);
    struct budget *budget;

    if (!office->budgets && !(office->budgets = budgets_new(BUCKETS_FIRST)))
        return NULL;
    budget = office->budgets->buckets[key.lo & (office->budgets->bucket_count - 1)];
    while (budget && (budget->key.lo != key.lo ||
                      !slice_equal(slice_make(budget->address, budget->address_len), address)))
        budget = budget->next;
    return budget ? budget : budget_make(session);
}

/* ---- the bucket ---- */

/* Adds what has come in whole units; the rest waits for the next time, however short the times are.
 */
static void fill(int64_t *left, int64_t *rest, int64_t more, int64_t unit, int64_t most)
{
    int64_t sum = *rest + more;

    *left = *left + sum / unit < most ? *left + sum / unit : most;
    *rest = sum % unit;
}

static void budget_fill(struct budget *budget, const struct config *config, uint64_t now_ms)
{
    int64_t bytes_per_s = config->limits.stored_bytes_per_s;
    int64_t boxes_max = config->limits.new_mailboxes_per_minute;
    int64_t passed_ms = (int64_t)(now_ms - budget->at_ms);

    budget->at_ms = now_ms;
    if (passed_ms > FILL_MS_MAX)
        passed_ms = FILL_MS_MAX;
    fill(&budget->bytes_left, &budget->byte_rest, passed_ms * bytes_per_s, 1000,
         config->limits.stored_bytes_burst);
    fill(&budget->boxes_left, &budget->box_rest, passed_ms * boxes_max, 60000, boxes_max);
}

/* Milliseconds until the bucket is above zero. */
static int64_t wait_for(int64_t left, int64_t per_minute)
{
    return per_minute == 0 || left > 0 ? 0 : (1 - left) * 60000 / per_minute + 1;
}

static uint32_t budget_wait(const struct budget *budget, const struct config *config)
{
    int64_t bytes_ms = wait_for(budget->bytes_left, config->limits.stored_bytes_per_s * 60);
    int64_t boxes_ms = wait_for(budget->boxes_left, config->limits.new_mailboxes_per_minute);
    int64_t wait_ms = bytes_ms > boxes_ms ? bytes_ms : boxes_ms;

    return (uint32_t)(wait_ms < WAIT_MS_MAX ? wait_ms : WAIT_MS_MAX);
}

/* ---- charging the shared bucket ---- */

static void on_charged(void *arg, bool ok, int64_t bytes_left, int64_t boxes_left)
{
    struct budget *budget = arg;

    budget->asking = false;
    if (ok) { /* what was stored since the question is not in the answer */
        budget->bytes_left = bytes_left - budget->bytes_spent;
        budget->boxes_left = boxes_left - budget->boxes_spent;
    }
    budget_release(budget);
}

static void budget_charge(struct budget *budget, uint64_t now_ms)
{
    const struct config *config = budget->office->config;
    const struct mailbox_spent spent = {
        .address = slice_make(budget->address, budget->address_len),
        .bytes = budget->bytes_spent,
        .boxes = budget->boxes_spent,
        .bytes_per_s = config->limits.stored_bytes_per_s,
        .bytes_max = config->limits.stored_bytes_burst,
        .boxes_per_minute = config->limits.new_mailboxes_per_minute,
    };

    if (!budget->office->mailbox ||
        mailbox_spend(budget->office->mailbox, &spent, on_charged, budget))
        return;
    budget->asking = true;
    budget->asked_ms = now_ms;
    budget->holders++;
    budget->bytes_spent = budget->boxes_spent = 0;
}

static bool is_worth_a_charge(int64_t spent, int64_t most, int64_t charge_max)
{
    return spent > 0 && (spent >= charge_max || spent >= most / CHARGE_PART);
}

static void budget_check(struct budget *budget, uint64_t now_ms)
{
    const struct config *config = budget->office->config;

    if (!budget->asking &&
        (is_worth_a_charge(budget->bytes_spent, config->limits.stored_bytes_burst,
                           CHARGE_BYTES_MAX) ||
         is_worth_a_charge(budget->boxes_spent, config->limits.new_mailboxes_per_minute,
                           INT64_MAX)))
        budget_charge(budget, now_ms);
}

/* ---- for senders ---- */

uint32_t budget_take(struct session *session, uint64_t bytes, size_t recipients,
                     struct budget **taken)
{
    struct office *office = session->office;
    const struct config *config = office->config;
    uint64_t now_ms = loop_now_ms(office->loop);
    struct budget *budget;
    uint32_t wait_ms;

    *taken = NULL;
    if ((session->is_desk && !session->allowance) ||
        (config->limits.stored_bytes_per_s == 0 && config->limits.new_mailboxes_per_minute == 0))
        return 0;
    budget = budget_need(session);
    if (!budget)
        return 0;
    budget_fill(budget, config, now_ms);
    budget->used_ms = now_ms;
    wait_ms = budget_wait(budget, config);
    if (wait_ms) {
        if (!budget->asking && now_ms - budget->asked_ms >= ASK_MS)
            budget_charge(budget, now_ms);
        stats_add(office->stats, STAT_over_budget, 1);
        return wait_ms;
    }
    bytes += recipients * LETTER_BYTES;
    if (config->limits.stored_bytes_per_s) {
        budget->bytes_left -= (int64_t)bytes;
        budget->bytes_spent += (int64_t)bytes;
    }
    budget->holders++;
    *taken = budget;
    budget_check(budget, now_ms);
    return 0;
}

void budget_note_mailbox(struct budget *budget)
{
    if (!budget || !budget->office || !budget->office->config->limits.new_mailboxes_per_minute)
        return;
    budget->boxes_left--;
    budget->boxes_spent++;
}

void budget_release(struct budget *budget)
{
    if (!budget)
        return;
    assert(budget->holders > 0);
    budget->holders--;
    if (budget->office)
        budget_check(budget, loop_now_ms(budget->office->loop));
    else if (budget->holders == 0)
        free(budget);
}

/* ---- forgetting ---- */

/* What is not charged is less than what the bucket has been filled with meanwhile. A bucket in debt
 * stays: a new one would be full. */
static bool is_idle(struct budget *budget, uint64_t now_ms)
{
    const struct config *config = budget->office->config;

    if (budget->holders > 0 || now_ms - budget->used_ms <= IDLE_MS)
        return false;
    budget_fill(budget, config, now_ms);
    return (config->limits.stored_bytes_per_s == 0 ||
            budget->bytes_left >= config->limits.stored_bytes_burst) &&
           (config->limits.new_mailboxes_per_minute == 0 ||
            budget->boxes_left >= config->limits.new_mailboxes_per_minute);
}

void budget_beat(struct office *office)
{
    struct budgets *budgets = office->budgets;
    uint64_t now_ms = loop_now_ms(office->loop);

    for (uint32_t i = 0; budgets && i < budgets->bucket_count / 16 + 1; i++) {
        struct budget **at = &budgets->buckets[budgets->next++ & (budgets->bucket_count - 1)];
        while (*at) {
            struct budget *budget = *at;
            if (!is_idle(budget, now_ms)) {
                at = &budget->next;
                continue;
            }
            *at = budget->next;
            budgets->count--;
            free(budget);
        }
    }
}

void budget_free(struct office *office)
{
    for (uint32_t i = 0; office->budgets && i < office->budgets->bucket_count; i++) {
        struct budget *budget;
        while ((budget = office->budgets->buckets[i])) {
            office->budgets->buckets[i] = budget->next;
            budget->office = NULL;
            if (budget->holders == 0)
                free(budget);
        }
    }
    free(office->budgets);
    office->budgets = NULL;
}
