#include "office_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define REQUEST(target, more)                                                                      \
    "GET " target                                                                                  \
    " HTTP/1.1\r\nHost: post.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" KEY         \
    "Sec-WebSocket-Version: 13\r\n" more "\r\n"

static struct client visitor;

static int setup(void **state)
{
    (void)state;
    visitor = (struct client){ .peer.fd = -1 };
    return office_setup(state);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(slots_sessions(office.region), office.host.open_count);
    office_close();
    peer_close(&visitor.peer);
    return 0;
}

static void arrive(struct peer *peer)
{
    static const struct sockaddr nowhere = { .sa_family = AF_UNIX };

    visitor_start(&visitors, peer_open(peer), &nowhere, false);
    turns(1);
}

/* Over loopback TCP, for tests that need an address of origin. Returns the server's end. */
static int arrive_tcp(struct peer *peer)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    struct sockaddr_storage from;
    socklen_t len = sizeof at, from_len = sizeof from;
    int fd, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *peer = (struct peer){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    buf_init(&peer->in, 1 << 20);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(connect(peer->fd, (struct sockaddr *)&at, sizeof at), 0);
    fcntl(peer->fd, F_SETFL, O_NONBLOCK);
    fd = accept4(listener, (struct sockaddr *)&from, &from_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    close(listener);
    visitor_start(&visitors, fd, (struct sockaddr *)&from, false);
    turns(1);
    return fd;
}

/* The whole answer so far, as text. */
static const char *answer(struct peer *peer)
{
    peer_read(peer);
    return buf_text(&peer->in);
}

static void expect_status(struct peer *peer, int status)
{
    char line[32];

    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    assert_has(answer(peer), line);
    if (status == 101)
        return;
    assert_has(answer(peer), "Connection: close");
    assert_has(answer(peer), "\r\n\r\n{\"code\":\"");
    assert_true(peer->ended);
}

static void ask(const char *request, int status)
{
    peer_close(&visitor.peer);
    arrive(&visitor.peer);
    peer_send(&visitor.peer, request, strlen(request));
    turns(2);
    expect_status(&visitor.peer, status);
}

static void a_good_request_becomes_a_session(void **state)
{
    const char *text;

    (void)state;
    ask(REQUEST("/ws?clientID=alice&device=APP", "Sec-WebSocket-Protocol: postoffice.v1\r\n"), 101);
    text = answer(&visitor.peer);
    assert_has(text, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_has(text, "Sec-WebSocket-Protocol: postoffice.v1");
    visitor.peer.at = (size_t)(strstr(text, "\r\n\r\n") - text) + 4;
    hear_subject(&visitor, "welcome");
    assert_has(visitor.said, "\"address\":\"alice\",\"device\":\"APP\"");
    assert_int_equal(visitors.count, 0);
    assert_int_equal(counted(STAT_sessions_opened), 1);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    static const char request[] = REQUEST("/?clientID=alice", "");

    (void)state;
    arrive(&visitor.peer);
    for (size_t i = 0; i < sizeof request - 1; i++) {
        expect_nothing(&visitor.peer);
        peer_send(&visitor.peer, request + i, 1);
        turns(1);
    }
    expect_status(&visitor.peer, 101);
}

static void frames_behind_the_request_are_heard_after_the_101(void **state)
{
    const char *text;
    struct buf bytes;

    (void)state;
    buf_init(&bytes, 65536);
    buf_add_text(&bytes, REQUEST("/?clientID=alice", ""));
    for (int i = 0; i < 100; i++) { /* more than one read of a visitor takes */
        char letter[200];
        int len = snprintf(
            letter, sizeof letter,
            "{\"from\":\"alice\",\"to\":[\"alice\"]," LETTER ",\"type\":2,\"id\":\"m%d\"}", i);
        frame_add(&bytes, 0x80 | WS_TEXT, letter, (size_t)len);
    }
    arrive(&visitor.peer);
    peer_send(&visitor.peer, bytes.data, bytes.len);
    turns(3);
    text = answer(&visitor.peer);
    assert_non_null(strstr(text, "\r\n\r\n"));
    visitor.peer.at = (size_t)(strstr(text, "\r\n\r\n") - text) + 4;
    hear_subject(&visitor, "welcome");
    for (int i = 0; i < 100; i++) {
        char id[16];
        snprintf(id, sizeof id, "\"id\":\"m%d\"", i);
        assert_has(hear(&visitor), id);
    }
    buf_fini(&bytes);
}

static void a_bad_request_is_refused_for_what_it_is(void **state)
{
    (void)state;
    ask("POST / HTTP/1.1\r\nHost: h\r\n\r\n", 405);
    assert_has(answer(&visitor.peer), "Allow: GET\r\n");
    ask(REQUEST("/other", ""), 404);
    ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 426);
    assert_has(answer(&visitor.peer), "Sec-WebSocket-Version: 13\r\n");
    ask(REQUEST("/?clientID=%00", ""), 400);
    ask(REQUEST("/?clientID=postmaster", ""), 400);
    ask(REQUEST("/?clientID=%23all", ""), 400);
    ask(REQUEST("/?clientID=alice&device=%01", ""), 400);
    ask(REQUEST("/", ""), 400); /* without a token somebody must say who it is */
    ask("\x16\x03\x01\x02\x00\x01", 400);
    assert_int_equal(counted(STAT_handshake_405), 1);
    assert_int_equal(counted(STAT_handshake_404), 1);
    assert_int_equal(counted(STAT_handshake_426), 1);
    assert_int_equal(counted(STAT_handshake_400), 6);
    assert_int_equal(counted(STAT_sessions_opened), 0);
}

static void a_head_too_long_is_refused(void **state)
{
    static char request[20000];
    int len;

    (void)state;
    memset(request, 'a', sizeof request);
    len = snprintf(request, sizeof request, "GET / HTTP/1.1\r\nX: ");
    request[len] = 'a';
    arrive(&visitor.peer);
    peer_send(&visitor.peer, request, sizeof request);
    turns(8);
    expect_status(&visitor.peer, 431);
    assert_int_equal(counted(STAT_handshake_431), 1);
}

static void who_says_nothing_is_sent_away_in_time(void **state)
{
    (void)state;
    arrive(&visitor.peer);
    peer_send(&visitor.peer, "GET ", 4);
    pass_ms(9500);
    expect_nothing(&visitor.peer);
    peer_send(&visitor.peer, "/", 1); /* a little now and then gains no time */
    pass_ms(1000);
    expect_status(&visitor.peer, 408);
    assert_int_equal(visitors.count, 1); /* so that no reset overtakes the answer */
    pass_ms(2500);
    assert_int_equal(visitors.count, 0);
}

static void who_is_refused_is_not_listened_to(void **state)
{
    (void)state;
    ask("BAD\r\n\r\n", 400);
    peer_send(&visitor.peer, REQUEST("/?clientID=alice", ""), 20);
    turns(2);
    assert_int_equal(counted(STAT_handshake_400), 1);
    close(visitor.peer.fd);
    visitor.peer.fd = -1;
    turns(1);
    assert_int_equal(visitors.count, 0);
}

static void who_leaves_early_is_counted(void **state)
{
    (void)state;
    arrive(&visitor.peer);
    peer_send(&visitor.peer, "GET", 3);
    turns(1);
    close(visitor.peer.fd);
    visitor.peer.fd = -1;
    turns(1);
    assert_int_equal(visitors.count, 0);
    assert_int_equal(counted(STAT_handshake_cut), 1);
}

/* Whatever the refusal: it meets a socket that is closed already. */
static void who_does_not_wait_for_the_refusal_is_forgotten(void **state)
{
    static const char *const requests[] = {
        REQUEST("/?token=rubbish", ""),
        REQUEST("/", ""),
        REQUEST("/", "Origin: https://evil.example\r\n"),
        REQUEST("/nowhere", ""),
        REQUEST("/?clientID=%00", ""),
        "rubbish\r\n",
    };

    (void)state;
    office_trust_key(true);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        arrive(&visitor.peer);
        peer_send(&visitor.peer, requests[i], strlen(requests[i]));
        peer_close(&visitor.peer);
        turns(2);
        assert_int_equal(visitors.count, 0);
        assert_null(visitors.all);
    }
}

static void tokens_are_found_in_their_four_places(void **state)
{
    static const char *const formats[] = {
        "GET / HTTP/1.1\r\nAuthorization: Bearer %s\r\n",
        "GET / HTTP/1.1\r\nAuthorization: bearer   %s\r\n",
        "GET / HTTP/1.1\r\nSec-WebSocket-Protocol: postoffice.v1, bearer.%s\r\n",
        "GET /?token=%s HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nOrigin: https://post.example\r\nCookie: a=b; po=%s\r\n",
    };
    struct buf token, request;

    (void)state;
    office_trust_key(true);
    free(office.config->auth.cookie);
    office.config->auth.cookie = strdup("po");
    issue(&token, (struct token_request){ .sub = "alice", .ttl_s = 60 });
    buf_init(&request, 65536);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        char line[4096];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(line, sizeof line, formats[i], buf_text(&token));
#pragma GCC diagnostic pop
        buf_reset(&request);
        buf_add_text(&request, line);
        buf_add_text(&request,
                     "Host: post.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" KEY
                     "Sec-WebSocket-Version: 13\r\n\r\n");
        ask(buf_text(&request), 101);
        assert_lacks(answer(&visitor.peer), buf_text(&token));
        assert_has(answer(&visitor.peer), "\"address\":\"alice\""); /* named by the token alone */
    }
    buf_fini(&request);
    buf_fini(&token);
}

static void a_token_must_be_there_and_good(void **state)
{
    struct buf token, request;

    (void)state;
    office_trust_key(true);
    ask(REQUEST("/?clientID=alice", ""), 401);
    assert_has(answer(&visitor.peer), "error=\"invalid_request\"");
    ask(REQUEST("/?clientID=alice&token=rubbish", ""), 401);
    assert_has(answer(&visitor.peer), "error=\"invalid_token\"");
    issue(&token, (struct token_request){ .sub = "alice", .ttl_s = 60 });
    buf_init(&request, 65536);
    buf_addf(&request, "GET /?clientID=bob&token=%s HTTP/1.1\r\n", buf_text(&token));
    buf_add_text(&request, "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" KEY
                           "Sec-WebSocket-Version: 13\r\n\r\n");
    ask(buf_text(&request), 403);
    assert_int_equal(counted(STAT_handshake_401), 2);
    assert_int_equal(counted(STAT_handshake_403), 1);
    buf_fini(&request);
    buf_fini(&token);
}

/* Also where none is required: then it says who this is. */
static void a_token_that_was_not_needed_still_names_its_sub(void **state)
{
    struct buf token, request;

    (void)state;
    office_trust_key(false);
    issue(&token, (struct token_request){ .sub = "alice", .ttl_s = 60 });
    buf_init(&request, 65536);
    buf_addf(&request, "GET /?token=%s HTTP/1.1\r\n", buf_text(&token));
    buf_add_text(&request, "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" KEY
                           "Sec-WebSocket-Version: 13\r\n\r\n");
    ask(buf_text(&request), 101);
    assert_has(answer(&visitor.peer), "\"address\":\"alice\"");
    ask(REQUEST("/?clientID=alice&token=rubbish", ""), 401);
    buf_fini(&request);
    buf_fini(&token);
}

static void origins_are_kept_out_when_they_are_listed(void **state)
{
    struct config_list *origins = &office.config->auth.origins;

    (void)state;
    origins->items = calloc(1, sizeof *origins->items);
    origins->items[0] = strdup("https://app.example");
    origins->count = 1;
    ask(REQUEST("/?clientID=alice", "Origin: https://app.example\r\n"), 101);
    ask(REQUEST("/?clientID=alice", "Origin: https://app.example.evil\r\n"), 403);
    ask(REQUEST("/?clientID=alice", "Origin: null\r\n"), 403);
    ask(REQUEST("/?clientID=alice", ""), 101); /* no browser */
}

static void without_tokens_only_the_hosts_own_pages_and_listed_ones_come_in(void **state)
{
    struct config_list *origins = &office.config->auth.origins;

    (void)state;
    ask(REQUEST("/?clientID=alice", "Origin: https://evil.example\r\n"), 403);
    ask(REQUEST("/?clientID=alice", "Origin: null\r\n"), 403);
    ask(REQUEST("/?clientID=alice", "Origin: http://post.example\r\n"), 101);
    ask(REQUEST("/?clientID=alice", "Origin: http://post.example:81\r\n"), 403);
    ask(REQUEST("/?clientID=alice", ""), 101);
    origins->items = calloc(1, sizeof *origins->items);
    origins->items[0] = strdup("http://localhost:3000");
    origins->count = 1;
    ask(REQUEST("/?clientID=alice", "Origin: http://localhost:3000\r\n"), 101);
    ask(REQUEST("/?clientID=alice", "Origin: http://post.example\r\n"), 101);
    ask(REQUEST("/?clientID=alice", "Origin: https://evil.example\r\n"), 403);
}

/* Of two clients of one device that come back at once, each turns the other out. */
static void a_device_that_turns_itself_out_too_often_is_told_to_wait(void **state)
{
    struct client tabs[DEVICE_REPLACEMENTS_AT_ONCE + 1];

    (void)state;
    for (int i = 0; i <= DEVICE_REPLACEMENTS_AT_ONCE; i++) {
        tabs[i] = (struct client){ .peer.fd = -1 };
        ask(REQUEST("/?clientID=alice&device=TAB", ""), 101);
        tabs[i].peer = visitor.peer;
        visitor.peer = (struct peer){ .fd = -1 };
    }
    ask(REQUEST("/?clientID=alice&device=TAB", ""), 429);
    assert_has(answer(&visitor.peer), "Retry-After: 1\r\n");
    assert_int_equal(counted(STAT_handshake_429), 1);
    assert_int_equal(counted(STAT_replaced), DEVICE_REPLACEMENTS_AT_ONCE);
    ask(REQUEST("/?clientID=alice&device=APP", ""), 101);
    pass_ms(1000);
    ask(REQUEST("/?clientID=alice&device=TAB", ""), 101);
    for (int i = 0; i <= DEVICE_REPLACEMENTS_AT_ONCE; i++)
        peer_close(&tabs[i].peer);
}

static void a_cookie_counts_only_from_the_servers_own_pages(void **state)
{
    struct buf token, request;
    static const char *const origins[] = { "", "Origin: https://evil.example\r\n" };

    (void)state;
    office_trust_key(true);
    free(office.config->auth.cookie);
    office.config->auth.cookie = strdup("po");
    issue(&token, (struct token_request){ .sub = "alice", .ttl_s = 60 });
    buf_init(&request, 65536);
    for (int i = 0; i < 2; i++) {
        buf_reset(&request);
        buf_addf(&request, "GET / HTTP/1.1\r\n%sCookie: po=%s\r\n", origins[i], buf_text(&token));
        buf_add_text(&request, "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" KEY
                               "Sec-WebSocket-Version: 13\r\n\r\n");
        ask(buf_text(&request), 403);
    }
    buf_fini(&request);
    buf_fini(&token);
}

static void a_full_house_is_told_before_the_token(void **state)
{
    struct client inside;

    (void)state;
    client_enter(&inside, "bob", "");
    office_trust_key(true);
    office.config->connections_max = 1;
    ask(REQUEST("/?clientID=alice&token=rubbish", ""), 503);
    assert_has(answer(&visitor.peer), "Retry-After: ");
    client_leave(&inside);
    ask(REQUEST("/?clientID=alice&token=rubbish", ""), 401);
}

static void of_too_many_who_have_not_asked_yet_the_oldest_gives_way(void **state)
{
    struct peer waiting[16];

    (void)state;
    office.config->limits.pending_handshakes = 16;
    for (int i = 0; i < 16; i++)
        arrive(&waiting[i]);
    ask(REQUEST("/?clientID=alice", ""), 101);
    expect_status(&waiting[0], 503);
    assert_has(answer(&waiting[0]), "Retry-After: ");
    assert_int_equal(counted(STAT_handshakes_displaced), 1);
    for (int i = 1; i < 16; i++)
        expect_nothing(&waiting[i]);
    /* One in the middle leaves: there is room again, also beside the refused one that lingers. */
    peer_close(&waiting[7]);
    turns(1);
    peer_close(&visitor.peer);
    arrive(&visitor.peer);
    expect_nothing(&visitor.peer);
    assert_int_equal(counted(STAT_handshakes_displaced), 1);
    for (int i = 0; i < 16; i++)
        peer_close(&waiting[i]);
    turns(1);
    assert_int_equal(visitors.count, 1);
    assert_int_equal(visitors.waiting_count, 1);
}

static void the_refused_do_not_pile_up(void **state)
{
    struct peer waiting[100];

    (void)state;
    office.config->limits.pending_handshakes = 16;
    for (int i = 0; i < 100; i++) {
        arrive(&waiting[i]);
        assert_in_range(visitors.count, 1, 33);
        assert_in_range(visitors.waiting_count, 1, 16);
        if (i >= 16)
            expect_status(&waiting[i - 16], 503);
    }
    for (int i = 84; i < 100; i++)
        expect_nothing(&waiting[i]);
    assert_int_equal(counted(STAT_handshakes_displaced), 84);
    for (int i = 0; i < 100; i++)
        peer_close(&waiting[i]);
    turns(1);
    assert_int_equal(visitors.count, 0);
}

/* Thousands of half-open requests may end at once: the sessions have their turn in between. */
static void the_overdue_end_within_the_share_of_the_visitors(void **state)
{
    enum { MANY = 10 };
    struct peer waiting[MANY];

    (void)state;
    for (int i = 0; i < MANY; i++)
        arrive(&waiting[i]);
    clock_ms += (uint64_t)office.config->limits.handshake_s * 1000 + WHEEL_TICK_MS;
    tick_wanted = true;
    turnstile_spend(&visitors.turnstile, 1000000000); /* this turn has time for one step */
    turns(1);
    assert_int_equal(counted(STAT_handshake_408), 1);
    assert_int_equal(visitors.turnstile.count, MANY - 1);
    peer_close(&waiting[1]); /* one of those that wait goes by itself */
    turns(1);
    assert_in_range(counted(STAT_handshake_408), MANY - 1, MANY);
    assert_int_equal(visitors.turnstile.count, 0);
    expect_status(&waiting[0], 408);
    expect_status(&waiting[MANY - 1], 408);
    for (int i = 0; i < MANY; i++)
        peer_close(&waiting[i]);
    turns(2);
    assert_int_equal(visitors.count, 0);
}

static void everybody_is_turned_away_when_the_worker_leaves(void **state)
{
    struct peer waiting[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        arrive(&waiting[i]);
    close(waiting[1].fd); /* one has left meanwhile */
    waiting[1].fd = -1;
    visitors_turn_away(&visitors);
    visitors_turn_away(&visitors);
    turns(1);
    expect_status(&waiting[0], 503);
    expect_status(&waiting[2], 503);
    for (int i = 0; i < 3; i++)
        peer_close(&waiting[i]);
    turns(1);
    assert_int_equal(visitors.count, 0);
}

static uint32_t from_loopback(void)
{
    struct ip loopback = ip_of_v4("\x7f\0\0\1");

    return origins_count(office.region, origins_key(office.region, &loopback));
}

static void connections_of_one_address_are_counted(void **state)
{
    static const char alice[] = REQUEST("/?clientID=alice", ""),
                      bob[] = REQUEST("/?clientID=bob", "");
    struct peer first, second, third;

    (void)state;
    office.config->limits.connections_per_ip = 2;
    arrive_tcp(&first);
    peer_send(&first, alice, sizeof alice - 1);
    turns(2);
    expect_status(&first, 101);
    arrive_tcp(&second); /* one that has not asked yet counts too */
    arrive_tcp(&third);
    peer_send(&third, bob, sizeof bob - 1);
    turns(2);
    expect_status(&third, 503);
    peer_close(&third);
    turns(2);
    assert_int_equal(from_loopback(), 2);
    peer_close(&first);
    turns(2);
    assert_int_equal(from_loopback(), 1);
    arrive_tcp(&third);
    peer_send(&third, bob, sizeof bob - 1);
    turns(2);
    expect_status(&third, 101);
    peer_close(&second);
    peer_close(&third);
    turns(2);
    assert_int_equal(from_loopback(), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_good_request_becomes_a_session),
        T(a_request_may_come_byte_by_byte),
        T(frames_behind_the_request_are_heard_after_the_101),
        T(a_bad_request_is_refused_for_what_it_is),
        T(a_head_too_long_is_refused),
        T(who_says_nothing_is_sent_away_in_time),
        T(who_is_refused_is_not_listened_to),
        T(who_leaves_early_is_counted),
        T(who_does_not_wait_for_the_refusal_is_forgotten),
        T(tokens_are_found_in_their_four_places),
        T(a_token_must_be_there_and_good),
        T(a_token_that_was_not_needed_still_names_its_sub),
        T(origins_are_kept_out_when_they_are_listed),
        T(a_cookie_counts_only_from_the_servers_own_pages),
        T(without_tokens_only_the_hosts_own_pages_and_listed_ones_come_in),
        T(a_device_that_turns_itself_out_too_often_is_told_to_wait),
        T(a_full_house_is_told_before_the_token),
        T(of_too_many_who_have_not_asked_yet_the_oldest_gives_way),
        T(the_refused_do_not_pile_up),
        T(the_overdue_end_within_the_share_of_the_visitors),
        T(everybody_is_turned_away_when_the_worker_leaves),
        T(connections_of_one_address_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
