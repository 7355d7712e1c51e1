/* Lines for a person: `FILE: KEY: found WHAT, allowed WHAT`. The files of config/ alone use it. */
#ifndef CONFIG_REPORT_H
#define CONFIG_REPORT_H

#include "config/config.h"

/* Where a value was written: a file and the path of a key in that file, or "environment" and a
 * variable. */
struct spot {
    const char *file, *key;
};

/* format is printf's, for what follows "FILE: KEY: ". A key of "" is left out. */
void report_error(struct config_report *report, struct spot spot, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void report_warning(struct config_report *report, struct spot spot, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool report_clean(const struct config_report *report); /* no error so far */

#endif
