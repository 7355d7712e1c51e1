/* Lists of patterns: of a token, of the keys that name addresses. */
#include "config/config.h"

#include "common/address.h"

bool config_covers(const struct config_list *patterns, struct slice address)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (address_pattern_covers(slice_of(patterns->items[i]), address))
            return true;
    return false;
}
