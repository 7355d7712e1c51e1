/*
 * What the server says about itself: its version, its configuration file, where it listens, and how
 * its last reload ended. The master writes; `status` and `reload` read. Nothing of this is secret.
 */
#ifndef SHM_ABOUT_H
#define SHM_ABOUT_H

#include "shm/region.h"

#include <stdint.h>

enum { ABOUT_PATH_SIZE = 1024, ABOUT_LIST_SIZE = 1024, ABOUT_WHY_SIZE = 2048 };

enum reload_outcome { RELOAD_NONE, RELOAD_APPLIED, RELOAD_REFUSED };

struct about {
    char version[32];
    char config_file[ABOUT_PATH_SIZE]; /* absolute */
    char listen[ABOUT_LIST_SIZE];      /* items with commas between */
    int32_t port, ssl_port;            /* 0: none */
    int64_t started_s;                 /* Unix time */

    /* A reload reads the file after `begun` has been raised: who has seen begun == n knows that
     * reload n + 1 finds what was in the file then. */
    uint32_t reloads_begun, reloads_done;
    enum reload_outcome outcome; /* of the last one that is done */
    int64_t reloaded_s;
    /* RELOAD_APPLIED: keys with commas between. `waiting`: all keys whose new value waits for a
     * restart, also those of earlier reloads. */
    char applied[ABOUT_LIST_SIZE], swapped[ABOUT_LIST_SIZE], waiting[ABOUT_LIST_SIZE];
    char why[ABOUT_WHY_SIZE]; /* RELOAD_REFUSED: lines for a person */
};

/* Master only. */
void about_publish(struct region *region, const struct about *about);
/* Copies the newest; all texts end. */
void about_read(const struct region *region, struct about *about);

#endif
