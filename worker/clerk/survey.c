#include "worker/clerk/survey.h"

#include "common/grow.h"
#include "shm/slots.h"
#include "worker/mailbox/place.h"
#include "worker/reach/inquiry.h"
#include "worker/reach/nodes.h"

#include <stdlib.h>

/* The number of a question: of the survey, and of the worker in it. */
enum { ASKED_BITS = 12, ASKED_MAX = 1 << ASKED_BITS };

struct asked {
    char *place; /* NUL-terminated; NULL: has answered, or could not be asked */
};

struct survey {
    LIST_ENTRY(survey) link;
    uint64_t number;
    const struct survey_calls *calls;
    void *arg;
    uint64_t due_ms;
    struct asked *asked;
    uint32_t asked_count, asked_size, waiting, missing;
};

void surveys_init(struct surveys *surveys, struct office *office)
{
    surveys->office = office;
    LIST_INIT(&surveys->list);
    surveys->number = surveys->count = 0;
}

static void survey_end(struct surveys *surveys, struct survey *survey)
{
    LIST_REMOVE(survey, link);
    surveys->count--;
    survey->calls->over(survey->arg, survey->missing + survey->waiting);
    for (uint32_t i = 0; i < survey->asked_count; i++)
        free(survey->asked[i].place);
    free(survey->asked);
    free(survey);
}

void surveys_fini(struct surveys *surveys)
{
    struct survey *survey;

    while ((survey = LIST_FIRST(&surveys->list)))
        survey_end(surveys, survey);
}

/* ---- asking ---- */

static struct survey *begin(struct surveys *surveys, const struct survey_calls *calls, void *arg)
{
    struct survey *survey = calloc(1, sizeof *survey);

    if (!survey)
        return NULL;
    survey->number = ++surveys->number;
    survey->calls = calls;
    survey->arg = arg;
    survey->due_ms = loop_now_ms(surveys->office->loop) + SURVEY_MS;
    LIST_INSERT_HEAD(&surveys->list, survey, link);
    surveys->count++;
    loop_again(surveys->office->loop); /* nobody may be there to answer */
    return survey;
}

static void ask(struct surveys *surveys, struct survey *survey, struct slice place,
                struct slice question)
{
    char *copy = strndup(place.data, place.len);
    uint64_t number = survey->number << ASKED_BITS | survey->asked_count;

    if (!copy || survey->asked_count == ASKED_MAX ||
        grow_reserve(&survey->asked, &survey->asked_size, (size_t)survey->asked_count + 1, 16,
                     ASKED_MAX) ||
        inquiry_ask(surveys->office, place, number, question)) {
        survey->missing++;
        free(copy);
        return;
    }
    survey->asked[survey->asked_count++].place = copy;
    survey->waiting++;
}

static void ask_here(struct surveys *surveys, struct survey *survey, struct slice question)
{
    struct office *office = surveys->office;
    struct worker_view view;
    char place[PLACE_MAX];

    for (uint32_t slot = 0; slot < slots_used(office->region); slot++) {
        slot_view(office->region, slot, &view);
        if (view.incarnation && !view.is_clerk)
            ask(surveys, survey,
                slice_make(place, bus_place(place, office->node, slot, view.incarnation)),
                question);
    }
}

static bool is_node(struct slice place_text, struct slice node)
{
    struct place place;

    return node.len == 0 || (place_parse(place_text, &place) && slice_equal(place.node, node));
}

enum err survey_node(struct surveys *surveys, struct slice node, struct slice question,
                     const struct survey_calls *calls, void *arg)
{
    struct survey *survey;
    struct slice place;

    if (surveys->count >= SURVEYS_MAX)
        return ERR_FULL;
    survey = begin(surveys, calls, arg);
    if (!survey)
        return ERR_NOMEM;
    if (node.len == 0 || slice_equal(node, slice_of(surveys->office->node)))
        ask_here(surveys, survey, question);
    for (uint32_t i = 0; (place = nodes_place(surveys->office->nodes, i)).data; i++)
        if (is_node(place, node))
            ask(surveys, survey, place, question);
    return OK;
}

enum err survey_one(struct surveys *surveys, struct slice place, struct slice question,
                    const struct survey_calls *calls, void *arg)
{
    struct survey *survey;

    if (surveys->count >= SURVEYS_MAX)
        return ERR_FULL;
    survey = begin(surveys, calls, arg);
    if (!survey)
        return ERR_NOMEM;
    ask(surveys, survey, place, question);
    return OK;
}

/* ---- answers ---- */

static struct survey *survey_by_number(const struct surveys *surveys, uint64_t number)
{
    struct survey *survey = LIST_FIRST(&surveys->list);

    while (survey && survey->number != number)
        survey = LIST_NEXT(survey, link);
    return survey;
}

void surveys_told(struct surveys *surveys, uint64_t number, struct slice answer)
{
    uint32_t index = (uint32_t)(number & (ASKED_MAX - 1));
    struct survey *survey = survey_by_number(surveys, number >> ASKED_BITS);
    char *place;

    if (!survey || index >= survey->asked_count || !survey->asked[index].place)
        return; /* too late */
    place = survey->asked[index].place;
    survey->asked[index].place = NULL;
    survey->waiting--;
    survey->calls->answered(survey->arg, slice_of(place), answer);
    free(place);
    if (survey->waiting == 0) /* rings are read behind surveys_turn, at the end of a turn */
        loop_again(surveys->office->loop);
}

void surveys_turn(struct surveys *surveys)
{
    uint64_t now_ms = loop_now_ms(surveys->office->loop);
    struct survey *survey, *next;

    for (survey = LIST_FIRST(&surveys->list); survey; survey = next) {
        next = LIST_NEXT(survey, link);
        if (survey->waiting == 0 || now_ms >= survey->due_ms)
            survey_end(surveys, survey);
    }
}
