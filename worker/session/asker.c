#include "worker/session/asker.h"

#include <assert.h>

struct asker asker_of(const struct session *session, struct slice id)
{
    struct asker asker = { .office = session->office,
                           .number = session->number,
                           .id_len = (uint8_t)id.len };

    assert(id.len <= ENVELOPE_ID_MAX);
    if (id.len)
        memcpy(asker.id, id.data, id.len);
    return asker;
}

struct session *asker_session(const struct asker *asker)
{
    return session_open_by_number(asker->office, asker->number);
}

struct slice asker_id(const struct asker *asker)
{
    return slice_make(asker->id_len ? asker->id : NULL, asker->id_len);
}
