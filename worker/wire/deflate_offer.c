/*
 * The negotiation of permessage-deflate.
 *
 * The header is read by a cursor, once (RFC 6455 9.1): extensions between commas, parameters behind
 * semicolons, values as tokens or quoted. Each offer of permessage-deflate is judged when its end
 * has been reached, so that a parameter which nobody knows declines the whole offer (RFC 7692 5.1).
 */
#include "worker/wire/deflate_offer.h"

#include <stdio.h>

enum { VALUE_MAX = 8 }; /* bytes of a value that are kept; no good value is longer than two */

struct cursor {
    const char *at, *end;
};

/* An offer as far as its parameters have been read. Bits of 0: the parameter is absent. */
struct offer {
    bool good;
    bool server_no_takeover, client_no_takeover, names_client_bits;
    uint8_t server_bits, client_bits;
};

/* A parameter's value: the first bytes, unescaped, and whether there is one. */
struct value {
    bool given;
    size_t len; /* may pass VALUE_MAX; the bytes behind are not kept */
    char text[VALUE_MAX];
};

/* RFC 9110 5.6.2. */
static bool is_token_byte(char c)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr(others, c));
}

static void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t'))
        cursor->at++;
}

/* Takes the byte when the byte is next, blanks on either side included. */
static bool take_mark(struct cursor *cursor, char mark)
{
    skip_blanks(cursor);
    if (cursor->at == cursor->end || *cursor->at != mark)
        return false;
    cursor->at++;
    skip_blanks(cursor);
    return true;
}

/* False: no token stands here. */
static bool take_token(struct cursor *cursor, struct slice *token)
{
    const char *from = cursor->at;

    while (cursor->at < cursor->end && is_token_byte(*cursor->at))
        cursor->at++;
    *token = slice_make(from, (size_t)(cursor->at - from));
    return token->len > 0;
}

static void add_to_value(struct value *value, char c)
{
    if (value->len < VALUE_MAX)
        value->text[value->len] = c;
    value->len++;
}

/* The opening quote has been taken. What the quotes hold must be a token (RFC 6455 9.1). */
static bool take_quoted(struct cursor *cursor, struct value *value)
{
    while (cursor->at < cursor->end && *cursor->at != '"') {
        if (*cursor->at == '\\' && ++cursor->at == cursor->end)
            return false;
        if (!is_token_byte(*cursor->at))
            return false;
        add_to_value(value, *cursor->at++);
    }
    if (cursor->at == cursor->end || value->len == 0)
        return false;
    cursor->at++;
    return true;
}

static bool take_value(struct cursor *cursor, struct value *value)
{
    struct slice token;

    *value = (struct value){ .given = true };
    if (cursor->at < cursor->end && *cursor->at == '"') {
        cursor->at++;
        return take_quoted(cursor, value);
    }
    if (!take_token(cursor, &token))
        return false;
    for (size_t i = 0; i < token.len; i++)
        add_to_value(value, token.data[i]);
    return true;
}

/* Returns the window's bits: a number from 8 to 15 without leading zeros (RFC 7692 7.1.2); 0 for
 * anything else. */
static uint8_t bits_of(const struct value *value)
{
    uint8_t bits = 0;

    if (value->len < 1 || value->len > 2 || value->text[0] == '0')
        return 0;
    for (size_t i = 0; i < value->len; i++) {
        if (value->text[i] < '0' || value->text[i] > '9')
            return 0;
        bits = (uint8_t)(bits * 10 + (value->text[i] - '0'));
    }
    return bits >= 8 && bits <= DEFLATE_BITS_MAX ? bits : 0;
}

static bool set_once(bool *flag)
{
    bool first = !*flag;

    *flag = true;
    return first;
}

/* False: the parameter declines the offer: unknown, given twice, or with a bad value. */
static bool take_parameter(struct offer *offer, struct slice name, const struct value *value)
{
    if (slice_equal(name, SLICE("server_no_context_takeover")))
        return !value->given && set_once(&offer->server_no_takeover);
    if (slice_equal(name, SLICE("client_no_context_takeover")))
        return !value->given && set_once(&offer->client_no_takeover);
    if (slice_equal(name, SLICE("server_max_window_bits"))) {
        if (offer->server_bits)
            return false;
        offer->server_bits = bits_of(value);
        return offer->server_bits >= DEFLATE_BITS_MIN;
    }
    if (!slice_equal(name, SLICE("client_max_window_bits")) || !set_once(&offer->names_client_bits))
        return false;
    offer->client_bits = value->given ? bits_of(value) : DEFLATE_BITS_MAX;
    return offer->client_bits != 0;
}

/* Takes one extension with its parameters. False: the text breaks the grammar. */
static bool take_offer(struct cursor *cursor, struct offer *offer)
{
    struct slice name;
    struct value value;

    *offer = (struct offer){ 0 };
    if (!take_token(cursor, &name))
        return false;
    offer->good = slice_equal(name, SLICE("permessage-deflate"));
    while (take_mark(cursor, ';')) {
        value = (struct value){ 0 };
        if (!take_token(cursor, &name) || (take_mark(cursor, '=') && !take_value(cursor, &value)))
            return false;
        offer->good = offer->good && take_parameter(offer, name, &value);
    }
    return true;
}

static uint8_t less_of(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

/* The windows count for memory only where contexts last: one inflater with the largest window
 * serves all clients without. */
static struct deflate_terms accept_offer(const struct offer *offer,
                                         const struct deflate_policy *policy)
{
    struct deflate_terms terms = {
        .agreed = true,
        .server_takeover = policy->takeover && !offer->server_no_takeover,
        .client_takeover = policy->takeover && !offer->client_no_takeover,
        .server_bits = offer->server_bits ? offer->server_bits : DEFLATE_BITS_MAX,
        .client_bits = DEFLATE_BITS_MAX,
        .answer_server_bits = offer->server_bits != 0,
    };

    if (terms.server_takeover)
        terms.server_bits = less_of(terms.server_bits, policy->window_bits);
    if (terms.client_takeover && offer->names_client_bits) {
        terms.client_bits = less_of(offer->client_bits, policy->window_bits);
        terms.answer_client_bits = true;
    }
    return terms;
}

struct deflate_terms deflate_choose(struct slice offers, const struct deflate_policy *policy)
{
    struct cursor cursor = { offers.data, offers.data ? offers.data + offers.len : NULL };
    struct offer offer;

    skip_blanks(&cursor);
    while (cursor.at < cursor.end) {
        if (take_mark(&cursor, ',')) /* an empty element (RFC 9110 5.6.1) */
            continue;
        if (!take_offer(&cursor, &offer))
            break;
        skip_blanks(&cursor);
        if (cursor.at < cursor.end && *cursor.at != ',')
            break;
        if (offer.good)
            return accept_offer(&offer, policy);
    }
    return (struct deflate_terms){ .agreed = false };
}

const char *deflate_answer(const struct deflate_terms *terms, char answer[DEFLATE_ANSWER_MAX])
{
    char server_bits[40] = "", client_bits[40] = "";

    if (!terms->agreed)
        return NULL;
    if (terms->answer_server_bits)
        snprintf(server_bits, sizeof server_bits, "; server_max_window_bits=%u",
                 terms->server_bits);
    if (terms->answer_client_bits)
        snprintf(client_bits, sizeof client_bits, "; client_max_window_bits=%u",
                 terms->client_bits);
    snprintf(answer, DEFLATE_ANSWER_MAX, "permessage-deflate%s%s%s%s",
             terms->server_takeover ? "" : "; server_no_context_takeover",
             terms->client_takeover ? "" : "; client_no_context_takeover", server_bits,
             client_bits);
    return answer;
}
