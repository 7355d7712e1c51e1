/* Three sessions of an office that is really wired (office_fixture.h): alice, and bob on two
 * devices. */
#ifndef TESTS_UNIT_ROUTER_FIXTURE_H
#define TESTS_UNIT_ROUTER_FIXTURE_H

#include "office_fixture.h"

static struct client alice, bob, bob2;

static inline int enter(const char *members)
{
    office_open(members);
    client_enter(&alice, "alice", "APP");
    client_enter(&bob, "bob", "APP");
    client_enter(&bob2, "bob", "TAB");
    return 0;
}

static inline int setup(void **state)
{
    (void)state;
    return enter("");
}

static inline int setup_away(void **state)
{
    (void)state;
    return enter(AWAY);
}

static inline int teardown(void **state)
{
    (void)state;
    office_close();
    peer_close(&alice.peer);
    peer_close(&bob.peer);
    peer_close(&bob2.peer);
    return 0;
}

/* The next frame rejects message m1 with this code, and none follows. */
static inline void rejected(struct client *client, const char *code)
{
    char part[64];

    hear_subject(client, "rejected");
    snprintf(part, sizeof part, "\"code\":\"%s\"", code);
    assert_has(client->said, part);
    assert_has(client->said, "\"state\":9");
    assert_has(client->said, "\"inReplyTo\":\"m1\"");
    expect_nothing(&client->peer);
}

#endif
