/*
 * An office with mailboxes: the office of office_fixture.h, with its bus connected to the stand-in
 * of redis_fixture.h, a mailbox, the table of other hosts' workers, and services. The callbacks are
 * wired as in worker.c.
 */
#ifndef TESTS_UNIT_OFFICE_REDIS_FIXTURE_H
#define TESTS_UNIT_OFFICE_REDIS_FIXTURE_H

#include "office_fixture.h"
#include "redis_fixture.h"

#include "worker/delivery/sent.h"
#include "worker/router/doorbell.h"
#include "worker/entrance/catch_up.h"
#include "worker/entrance/whereabouts.h"
#include "worker/mailbox/mailbox.h"
#include "worker/reach/nodes.h"
#include "worker/service/service.h"

static char own_place[PLACE_MAX]; /* this worker's */
static struct {
    unsigned known, lost;
} nodes_told;

static inline void on_office_commands_up(void *arg)
{
    (void)arg;
    mailbox_redis_up(office.mailbox);
}

static inline void on_office_commands_down(void *arg)
{
    (void)arg;
    mailbox_redis_down(office.mailbox);
}

static inline void on_office_mailbox_up(void *arg, struct slice epoch, bool changed)
{
    (void)arg;
    nodes_renew(office.nodes);
    whereabouts_up(&office);
    catch_up_mailbox_up(&office, epoch, changed);
}

static inline void on_office_nodes_known(void *arg)
{
    (void)arg;
    nodes_told.known++;
}

static inline void on_office_nodes_lost(void *arg)
{
    (void)arg;
    nodes_told.lost++;
}

static inline void on_office_hello(void *arg, struct slice place)
{
    (void)arg;
    nodes_hello(office.nodes, place);
}

static inline void office_redis_turn(void)
{
    if (catch_up_some(&office, 64))
        loop_again(loop);
    session_resume_stalled(&office);
    sent_flush(&office);
    service_flush(&office);
    mailbox_flush(office.mailbox);
}

/* Answers the oldest renewal of a lease: this worker and these places live (NULL: none), and
 * doorbells were lost so often. */
static inline void lease_answer(const char *first, const char *second, const char *losses)
{
    struct asked *asked = asked_next("EVALSHA", "places");

    if (first && second)
        answer(asked, "[sssss]", own_place, first, second, "1790000000000000", losses);
    else if (first)
        answer(asked, "[ssss]", own_place, first, "1790000000000000", losses);
    else
        answer(asked, "[sss]", own_place, "1790000000000000", losses);
    turns(2);
}

/* On return the mailbox is up, and the first renewal of the lease waits for its answer. */
static inline void office_redis_open(const char *members)
{
    static const struct conn_calls calls = {
        .message = router_message,
        .deadline = session_on_deadline,
        .stored_left = life_on_stored_left,
        .has_room = life_on_room,
        .owes_answers = session_owes_answers,
        .last_word = session_last_word,
        .closing = life_on_closing,
        .gone = life_on_gone,
    };
    const struct mailbox_events mailbox_events = { .up = on_office_mailbox_up };
    const struct nodes_events nodes_events = { .known = on_office_nodes_known,
                                               .lost = on_office_nodes_lost };
    char text[1024];
    size_t len;

    server_open();
    snprintf(text, sizeof text,
             "\"dataSource\":{\"redis\":{\"r\":{\"uri\":\"unix:%s\"}}},"
             "\"redis\":{\"reconnectMinMs\":10,\"reconnectMaxMs\":10}%s%s",
             server.path, *members ? "," : "", members);
    memset(&nodes_told, 0, sizeof nodes_told);
    office_bus_events = (struct bus_events){ .commands_up = on_office_commands_up,
                                             .commands_down = on_office_commands_down,
                                             .hello = on_office_hello };
    office_turn_stored = office_redis_turn;
    office_open(text);
    office.host.calls = &calls;
    len = bus_place(own_place, office.node, office.slot, office.incarnation);
    office.mailbox = mailbox_new(bus_commands(office.bus), office.config,
                                 slice_make(own_place, len), &mailbox_events);
    office.nodes = nodes_new(&office, &nodes_events);
    office.service = service_new(&office);
    office.ring = doorbell_ring;
    office.work = service_news;
    office.catch_up_at = UINT32_MAX;
    assert_true(office.mailbox && office.nodes && office.service);
    loop_add_hook(loop, server_turn, NULL);
    for (unsigned i = 0; i < 50 && !(mailbox_is_up(office.mailbox) && bus_is_up(office.bus)); i++)
        turns(1);
    turns(1);
    assert_true(mailbox_is_up(office.mailbox));
}

/* Closes the office in the order of worker.c. */
static inline void office_redis_close(void)
{
    struct service *service = office.service;

    for (uint32_t i = 0; i < office.session_used; i++)
        if (office.sessions[i])
            conn_abort(&office.sessions[i]->conn);
    office.closed = true;
    office_turn_stored = NULL;
    mailbox_free(office.mailbox);
    office.mailbox = NULL;
    whereabouts_fini(&office);
    nodes_free(office.nodes);
    office.nodes = NULL;
    sent_free(&office);
    server_close();
    office_close();
    service_free(service);
    office_bus_events = (struct bus_events){ 0 };
}

/* The answer of Redis when a session opens its mailbox; a NULL seq stands for "0-0". */
struct stands {
    const char *cursor; /* "SEQ@EPOCH"; NULL: the device has none */
    const char *last, *lost;
    long long device_count, opened_us;
    const char *other_field, *other_value; /* another session in `:at` */
};

static inline const char *or_none(const char *seq)
{
    return seq ? seq : "0-0";
}

/* Answers the oldest opening of a mailbox; the key ends like "{alice}:box". */
static inline void opening_answer(const char *key_ending, const struct stands *stands)
{
    answer(asked_next("EVALSHA", key_ending), stands->other_field ? "[isssiii[ss]]" : "[isssiii[]]",
           stands->cursor ? 1LL : 0LL, or_none(stands->cursor), or_none(stands->last),
           or_none(stands->lost), stands->device_count ? stands->device_count : 1LL, 0LL,
           stands->opened_us, stands->other_field, stands->other_value);
    turns(2);
}

/* Enters a session whose mailbox is empty, up to `replayed`. The lease must be answered before. */
static inline void client_enter_stored(struct client *client, const char *address,
                                       const char *device, long long opened_us)
{
    char key[300];

    snprintf(key, sizeof key, "{%s}:box", address);
    client_open(client, address, device);
    turns(2);
    opening_answer(key, &(struct stands){ .opened_us = opened_us });
    hear_welcome(client);
    turns(1);
    answer(asked_next("XRANGE", key), "[is]", 0LL, "");
    turns(3);
    hear_subject(client, "replayed");
}

/* Redis goes away, and the office has noticed on return. */
static inline void redis_goes(void)
{
    server_die();
    for (unsigned i = 0; i < 10 && mailbox_is_up(office.mailbox); i++)
        turns(1);
    assert_false(mailbox_is_up(office.mailbox));
}

/* Redis comes back. The pause before the next attempt is a timer of the loop, in real time. */
static inline void redis_comes(void)
{
    server_listen();
    for (unsigned i = 0; i < 2000 && !mailbox_is_up(office.mailbox); i++) {
        turns(1);
        usleep(1000);
    }
    turns(1);
    assert_true(mailbox_is_up(office.mailbox));
}

#endif
