/*
 * A survey: one question to many workers, and their answers as they come.
 *
 * A survey ends when all have answered, or after SURVEY_MS: a worker that is stopped, or a host
 * that has died, delays an answer by that and no more.
 */
#ifndef WORKER_CLERK_SURVEY_H
#define WORKER_CLERK_SURVEY_H

#include "common/slice.h"
#include "worker/session/office.h"

#include <sys/queue.h>

enum { SURVEY_MS = 2000, SURVEYS_MAX = 256 };

struct survey;

/* All surveys of a clerk. */
struct surveys {
    struct office *office;
    LIST_HEAD(survey_list, survey) list;
    uint64_t number;
    uint32_t count;
};

struct survey_calls {
    /* The worker at this place has answered. Both lie in borrowed memory. */
    void (*answered)(void *arg, struct slice place, struct slice answer);
    /* The survey is over. missing: workers that were asked and have not answered. */
    void (*over)(void *arg, uint32_t missing);
};

void surveys_init(struct surveys *surveys, struct office *office);
/* Ends all surveys; `over` is called. */
void surveys_fini(struct surveys *surveys);

/* Asks every worker that is known: of the node of this name, or, "", of all. calls: static; `over`
 * is called exactly once, never from inside this call. ERR_NOMEM; ERR_FULL: too many are under way.
 */
enum err survey_node(struct surveys *surveys, struct slice node, struct slice question,
                     const struct survey_calls *calls, void *arg);
/* The same, to the worker at one place. */
enum err survey_one(struct surveys *surveys, struct slice place, struct slice question,
                    const struct survey_calls *calls, void *arg);

/* An answer has come. */
void surveys_told(struct surveys *surveys, uint64_t number, struct slice answer);
/* For the end of a turn, and about once a second. */
void surveys_turn(struct surveys *surveys);

#endif
