#include "common/err.h"

const char *err_name(enum err err)
{
    static const char *const names[] = { "ok",  "again",  "full", "nomem", "system",
                                         "bad", "absent", "down", "exists" };

    return (unsigned)err < sizeof names / sizeof names[0] ? names[err] : "unknown";
}
