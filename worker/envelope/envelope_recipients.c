/*
 * The envelope's recipients: to and cc together, in order, each address once.
 *
 * Both lists are counted before any address is decoded, so that a list that is too long costs no
 * memory. A few addresses are compared with each other; many go through a hash table with a random
 * key, so that no sender can choose addresses that collide.
 */
#include "worker/envelope/envelope_fields.h"

#include "common/address.h"
#include "common/hash.h"

#include <assert.h>
#include <sys/random.h>

enum { FEW = 16 };

/* The addresses taken so far. */
struct known {
    struct slice *list;
    size_t count;
    uint32_t *table;   /* an index in list plus 1, or 0: free; NULL when the lists are short */
    size_t table_size; /* a power of two */
};

static const uint8_t *table_key(void)
{
    static uint8_t key[16];
    static bool made;

    /* Early at boot getrandom may fail, and the key is all zero until a later call succeeds:
     * recipients_max still bounds the work. */
    if (!made)
        made = getrandom(key, sizeof key, GRND_NONBLOCK) == (ssize_t)sizeof key;
    return key;
}

/* Adds the address unless the list has it. */
static void add_once(struct known *known, struct slice address)
{
    size_t slot = 0;

    if (!known->table) {
        for (size_t i = 0; i < known->count; i++)
            if (slice_equal(known->list[i], address))
                return;
    } else {
        slot = hash64(table_key(), address.data, address.len) & (known->table_size - 1);
        for (; known->table[slot]; slot = (slot + 1) & (known->table_size - 1))
            if (slice_equal(known->list[known->table[slot] - 1], address))
                return;
    }
    known->list[known->count++] = address;
    if (known->table)
        known->table[slot] = (uint32_t)known->count;
}

static enum err make_known(struct envelope_parse *parse, struct known *known, size_t count)
{
    *known = (struct known){ 0 };
    known->list = arena_take(parse->arena, (count ? count : 1) * sizeof *known->list);
    if (!known->list)
        return envelope_fail_nomem(parse);
    if (count <= FEW)
        return OK;
    known->table_size = (size_t)4 * FEW;
    while (known->table_size < 2 * count)
        known->table_size *= 2;
    known->table = arena_take(parse->arena, known->table_size * sizeof *known->table);
    if (!known->table)
        return envelope_fail_nomem(parse);
    memset(known->table, 0, known->table_size * sizeof *known->table);
    return OK;
}

static enum err bad_addresses(struct envelope_parse *parse, enum envelope_field field)
{
    return envelope_fail(parse, REJECT_BAD_FIELD, field,
                         "must be an address or an array of addresses: 1 to 255 bytes, no control "
                         "characters, no white space at either end");
}

/* Adds the number of the field's entries to *count. Stops counting at one more than allowed. */
static enum err count_addresses(struct envelope_parse *parse, enum envelope_field field,
                                size_t *count)
{
    const struct json_value *value = &parse->values[field];
    struct json_walk walk;
    struct json_value element;

    if (value->type == JSON_STRING) {
        ++*count;
    } else if (value->type == JSON_ARRAY) {
        json_walk_begin(&walk, value);
        while (*count <= parse->recipients_max && json_walk_element(&walk, &element))
            ++*count;
    } else {
        return bad_addresses(parse, field);
    }
    if (*count > parse->recipients_max)
        return envelope_fail(parse, REJECT_TOO_MANY_RECIPIENTS, field,
                             "to and cc together name more addresses than are allowed");
    return OK;
}

static enum err take_address(struct envelope_parse *parse, enum envelope_field field,
                             const struct json_value *value, struct known *known)
{
    struct slice address;

    if (value->type != JSON_STRING)
        return bad_addresses(parse, field);
    address = json_string(value, parse->arena);
    if (!address.data)
        return envelope_fail_nomem(parse);
    if (!address_valid(address))
        return bad_addresses(parse, field);
    add_once(known, address);
    return OK;
}

static enum err take_addresses(struct envelope_parse *parse, enum envelope_field field,
                               struct known *known)
{
    const struct json_value *value = &parse->values[field];
    struct json_walk walk;
    struct json_value element;
    enum err err = OK;

    if (value->type == JSON_STRING)
        return take_address(parse, field, value, known);
    json_walk_begin(&walk, value);
    while (!err && json_walk_element(&walk, &element))
        err = take_address(parse, field, &element, known);
    return err;
}

enum err envelope_recipients_take(struct envelope_parse *parse)
{
    struct known known;
    size_t count = 0;
    bool has_cc = envelope_has(parse, FIELD_CC);
    enum err err = count_addresses(parse, FIELD_TO, &count);

    if (!err && count == 0)
        err = envelope_fail(parse, REJECT_BAD_FIELD, FIELD_TO, "must name at least one address");
    if (!err && has_cc)
        err = count_addresses(parse, FIELD_CC, &count);
    if (!err)
        err = make_known(parse, &known, count);
    if (!err)
        err = take_addresses(parse, FIELD_TO, &known);
    if (!err && has_cc)
        err = take_addresses(parse, FIELD_CC, &known);
    if (err)
        return err;
    assert(known.count <= count);
    parse->envelope->recipients = known.list;
    parse->envelope->recipient_count = known.count;
    parse->envelope->to_is_string = parse->values[FIELD_TO].type == JSON_STRING;
    parse->envelope->cc_is_string = has_cc && parse->values[FIELD_CC].type == JSON_STRING;
    return OK;
}
