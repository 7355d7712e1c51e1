/*
 * How many workers there can be. The configuration and shared memory both depend on the number.
 */
#ifndef COMMON_WORKERS_H
#define COMMON_WORKERS_H

enum {
    /* Worker slots, numbered from 0: one for each bit of a map word in shared memory. */
    WORKERS_MAX = 64,
    /* The largest value of the key `workers`. Half of the slots, so that each worker and its
     * replacement can live side by side during a reload. */
    WORKERS_WANTED_MAX = WORKERS_MAX / 2,
};

#endif
