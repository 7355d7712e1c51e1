/*
 * Lines for a person: `FILE:LINE:COLUMN: KEY: found WHAT, allowed WHAT`, each with the line of the
 * file and a mark below. The files of config/ alone use it.
 */
#ifndef CONFIG_REPORT_H
#define CONFIG_REPORT_H

#include "config/config.h"

/* A part of the configuration file's text that a line is about, in bytes from its beginning. */
struct mark {
    enum {
        MARK_NONE,  /* not written in the file */
        MARK_READ,  /* a value or a name, with good text around it */
        MARK_FAULT, /* where the text stops being what can be read: nothing behind it is known */
        MARK_RAW,   /* likewise, in text of which nothing may be shown */
    } kind;
    uint32_t at, len;
    uint32_t from; /* the name of the member, or the element, that `at` belongs to */
};

/* The subject of a line: a file and the path of a key in that file; or spot_environment and the
 * path of a key, or the name of a variable. */
struct spot {
    const char *file, *key;
    struct mark mark;
};

extern const char spot_environment[];

enum { REPORT_LINES_MAX = 100 }; /* of each kind; more are counted and not shown */

/* format is printf's, for what follows "FILE: KEY: ". A key of "" is left out. A warning is about
 * what the operator wrote, a timed one about what time has made of that; a note is about somebody
 * else's file. */
void report_error(struct config_report *report, struct spot spot, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void report_warning(struct config_report *report, struct spot spot, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void report_timed(struct config_report *report, struct spot spot, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void report_note(struct config_report *report, struct spot spot, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool report_clean(const struct config_report *report); /* no error so far */

/* The line, counted from 1, and the column in characters, counted from 1. */
struct line_column {
    size_t line, column;
};
struct line_column report_position(struct slice text, size_t at);

/* excerpt.c: appends the line of the file, and a line with "^^^" under the marked part; each begins
 * with EXCERPT_INDENT. show: the marked string is no secret. Other strings never appear. */
#define EXCERPT_INDENT "    "
void excerpt_add(struct buf *out, struct slice text, const struct mark *mark, bool show);

#endif
