
#include "tls_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <signal.h>
#include <stdlib.h>

enum { KEY_UPDATES = 20000 };

static struct tls_server *server;
static SSL_CTX *clients;

static struct talk {
    SSL *client;
    struct tls *tls;
    int fd, client_fd;
} talk;

/* Moves what the client has written to the server's socket. */
static void client_flush(void)
{
    uint8_t bytes[4096];
    int n;

    while ((n = BIO_read(SSL_get_wbio(talk.client), bytes, sizeof bytes)) > 0)
        assert_int_equal(send(talk.client_fd, bytes, (size_t)n, MSG_NOSIGNAL), n);
}

/* Moves what the server has written to the client. */
static void client_fill(void)
{
    uint8_t bytes[4096];
    ssize_t n;

    while ((n = recv(talk.client_fd, bytes, sizeof bytes, 0)) > 0)
        BIO_write(SSL_get_rbio(talk.client), bytes, (int)n);
}

static void begin(void)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    talk.fd = fds[0];
    talk.client_fd = fds[1];
    talk.client = client_new(clients);
    talk.tls = tls_accept(server, talk.fd);
    assert_non_null(talk.tls);
}

/* Until the server has an opinion other than `expected`, or both have finished. */
static enum tls_step shake_hands(void)
{
    enum tls_step step;

    for (int i = 0; i < 20; i++) {
        SSL_do_handshake(talk.client);
        client_flush();
        step = tls_handshake(talk.tls, true);
        client_fill();
        if (step == TLS_FAILED || (step == TLS_READY && SSL_is_init_finished(talk.client)))
            return step;
    }
    return TLS_WANTS_READ;
}

static int setup(void **state)
{
    struct made_pair made;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    pair_make(&made, "localhost", 10);
    server = tls_server_new(&made.pair, 1, NULL);
    assert_non_null(server);
    pair_fini(&made);
    clients = client_context();
    begin();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tls_free(talk.tls);
    SSL_free(talk.client);
    close(talk.fd);
    close(talk.client_fd);
    tls_server_free(server);
    SSL_CTX_free(clients);
    return 0;
}

static void a_hello_waits_for_leave(void **state)
{
    (void)state;
    SSL_do_handshake(talk.client);
    client_flush();
    for (int i = 0; i < 3; i++)
        assert_int_equal(tls_handshake(talk.tls, false), TLS_WANTS_LEAVE);
    client_fill();
    assert_int_equal(BIO_pending(SSL_get_rbio(talk.client)), 0); /* nothing has been answered */
    assert_int_equal(tls_handshake(talk.tls, true), TLS_WANTS_READ);
    client_fill();
    assert_true(BIO_pending(SSL_get_rbio(talk.client)) > 0);
    assert_int_equal(shake_hands(), TLS_READY);
}

static void a_server_may_go_while_handshakes_are_under_way(void **state)
{
    (void)state;
    SSL_do_handshake(talk.client);
    client_flush();
    assert_int_equal(tls_handshake(talk.tls, false), TLS_WANTS_LEAVE);
    tls_server_free(server); /* a reload has brought other certificates */
    server = NULL;
    assert_int_equal(shake_hands(), TLS_READY);
}

/* Bytes that a socket does not take are sent later, unchanged, whatever is written behind them. */
static void what_was_taken_leaves_in_order(void **state)
{
    static uint8_t sent[400000], got[sizeof sent];
    size_t taken = 0, read = 0;
    int small = 4096;
    bool blocked = false;

    (void)state;
    setsockopt(talk.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    assert_int_equal(shake_hands(), TLS_READY);
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (uint8_t)(i * 7 + i / 251);
    while (read < sizeof sent) {
        struct iovec pieces[3] = { { sent + taken, 0 }, { sent + taken, 0 }, { 0 } };
        size_t left = sizeof sent - taken;
        ssize_t n;
        int r;
        pieces[0].iov_len = left < 5 ? left : 5;
        pieces[1].iov_base = sent + taken + pieces[0].iov_len;
        pieces[1].iov_len = left - pieces[0].iov_len < 30000 ? left - pieces[0].iov_len : 30000;
        n = left ? tls_write(talk.tls, pieces, 3) : tls_finish(talk.tls);
        assert_true(n >= 0 || errno == EAGAIN);
        taken += left && n > 0 ? (size_t)n : 0;
        blocked = blocked || tls_unsent(talk.tls) > 0;
        client_fill();
        while ((r = SSL_read(talk.client, got + read, (int)(sizeof got - read))) > 0)
            read += (size_t)r;
    }
    assert_true(blocked);
    assert_int_equal(tls_unsent(talk.tls), 0);
    assert_memory_equal(got, sent, sizeof sent);
    assert_true(tls_end(talk.tls));
    client_fill();
    assert_true(SSL_read(talk.client, got, 1) <= 0);
    assert_int_equal(SSL_get_shutdown(talk.client) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
}

static void what_is_read_ahead_is_known(void **state)
{
    char bytes[100];

    (void)state;
    assert_int_equal(shake_hands(), TLS_READY);
    assert_int_equal(tls_read(talk.tls, bytes, sizeof bytes), -1);
    assert_int_equal(errno, EAGAIN);
    assert_false(tls_unread(talk.tls));
    assert_int_equal(SSL_write(talk.client, "0123456789", 10), 10);
    assert_int_equal(SSL_write(talk.client, "abcdef", 6), 6);
    client_flush();
    assert_int_equal(tls_read(talk.tls, bytes, 4), 4);
    assert_true(tls_unread(talk.tls));
    assert_int_equal(tls_read(talk.tls, bytes, sizeof bytes), 12); /* the rest of both records */
    assert_memory_equal(bytes, "456789abcdef", 12);
    assert_false(tls_unread(talk.tls));
    SSL_shutdown(talk.client);
    client_flush();
    assert_int_equal(tls_read(talk.tls, bytes, sizeof bytes), 0);
}

/* A client may ask for new keys without end. Each call reads a bounded number of the requests. */
static void a_flood_of_key_updates_keeps_no_call_busy(void **state)
{
    char bytes[100];
    unsigned calls = 0;
    int large = 4 << 20;
    bool flushed = false;

    (void)state;
    setsockopt(talk.client_fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
    assert_int_equal(shake_hands(), TLS_READY);
    for (int i = 0; i < KEY_UPDATES / 10; i++) {
        assert_int_equal(SSL_key_update(talk.client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(talk.client), 1);
    }
    assert_int_equal(SSL_write(talk.client, "x", 1), 1);
    client_flush();
    for (ssize_t n = -1; n != 1; calls++) {
        n = tls_read(talk.tls, bytes, sizeof bytes);
        assert_true(n == 1 || (n == -1 && errno == EAGAIN));
        flushed = flushed || n == 1;
        assert_true(calls < KEY_UPDATES);
    }
    assert_true(flushed);
    assert_true(calls > 1);
}

static void a_key_update_in_the_middle_of_a_blocked_write_loses_nothing(void **state)
{
    static uint8_t sent[200000], got[sizeof sent];
    struct iovec piece = { sent, sizeof sent };
    size_t taken = 0, read = 0;
    int small = 4096, r;
    char bytes[10];

    (void)state;
    setsockopt(talk.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    assert_int_equal(shake_hands(), TLS_READY);
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (uint8_t)(i * 13 + i / 255);
    while (read < sizeof sent) {
        ssize_t n;
        assert_int_equal(SSL_key_update(talk.client, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(talk.client), 1);
        client_flush();
        tls_read(talk.tls, bytes, sizeof bytes); /* takes the wish for a key update */
        piece = (struct iovec){ sent + taken, sizeof sent - taken };
        n = piece.iov_len ? tls_write(talk.tls, &piece, 1) : tls_finish(talk.tls);
        assert_true(n >= 0 || errno == EAGAIN);
        taken += piece.iov_len && n > 0 ? (size_t)n : 0;
        client_fill();
        while ((r = SSL_read(talk.client, got + read, (int)(sizeof got - read))) > 0)
            read += (size_t)r;
    }
    assert_memory_equal(got, sent, sizeof sent);
}

static void every_kind_of_fault_is_told_apart(void **state)
{
    static const struct {
        const char *bytes;
        enum tls_fault fault;
    } cases[] = {
        { "GET / HTTP/1.1\r\n\r\n", TLS_FAULT_PLAIN_HTTP },
        { "POST / HTTP/1.1\r\n\r\n", TLS_FAULT_PLAIN_HTTP },
        { "CONNECT a:1 HTTP/1.1\r\n\r\n", TLS_FAULT_PLAIN_HTTP },
        { "SSH-2.0-OpenSSH_9.2\r\n", TLS_FAULT_NOT_TLS },
        { "\x16\x03\x01\x01\x40zzzzzzzzzzzzzzzzzz", TLS_FAULT_CUT },
        { "", TLS_FAULT_CUT },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].bytes);
        teardown(NULL);
        setup(NULL);
        assert_int_equal(send(talk.client_fd, cases[i].bytes, len, 0), len);
        shutdown(talk.client_fd, SHUT_WR);
        assert_int_equal(tls_handshake(talk.tls, true), TLS_FAILED);
        assert_int_equal(tls_fault(talk.tls), cases[i].fault);
        assert_int_equal(tls_handshake(talk.tls, true), TLS_FAILED);
    }
}

static void a_pair_is_judged(void **state)
{
    struct made_pair a, b;
    struct tls_pair mixed;
    struct tls_facts facts;
    char why[200];

    (void)state;
    pair_make(&a, "a.example,DNS:*.b.example,IP:10.1.2.3,IP:2001:db8::1", 5);
    pair_make(&b, "b.example", 5);
    assert_true(tls_pair_judge(&a.pair, &facts, why, sizeof why));
    assert_string_equal(facts.names, "a.example,*.b.example,10.1.2.3,2001:db8:0:0:0:0:0:1");
    assert_in_range(facts.ends_s - facts.begins_s, 6 * 86400 - 5, 6 * 86400 + 5);
    mixed = (struct tls_pair){ a.pair.chain, b.pair.key };
    assert_false(tls_pair_judge(&mixed, &facts, why, sizeof why));
    assert_non_null(strstr(why, "not the key of the certificate"));
    mixed = (struct tls_pair){ a.pair.key, a.pair.key };
    assert_false(tls_pair_judge(&mixed, &facts, why, sizeof why));
    mixed = (struct tls_pair){ a.pair.chain, a.pair.chain };
    assert_false(tls_pair_judge(&mixed, &facts, why, sizeof why));
    for (size_t len = 0; len < a.pair.chain.len - 1; len += 17) {
        mixed = (struct tls_pair){ slice_make(a.pair.chain.data, len), a.pair.key };
        assert_false(tls_pair_judge(&mixed, &facts, why, sizeof why));
    }
    pair_fini(&a);
    pair_fini(&b);
}

static void many_names_are_cut_with_a_mark(void **state)
{
    struct made_pair made;
    struct tls_facts facts;
    char names[280] = "n0.example", why[200];

    (void)state;
    for (int i = 1; i < 16; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), ",DNS:n%d.example", i);
    pair_make(&made, names, 5);
    assert_true(tls_pair_judge(&made.pair, &facts, why, sizeof why));
    assert_non_null(strstr(facts.names, "n0.example,n1.example"));
    assert_true(strlen(facts.names) < sizeof facts.names);
    pair_fini(&made);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hello_waits_for_leave),
        TEST(a_server_may_go_while_handshakes_are_under_way),
        TEST(what_was_taken_leaves_in_order),
        TEST(what_is_read_ahead_is_known),
        TEST(a_flood_of_key_updates_keeps_no_call_busy),
        TEST(a_key_update_in_the_middle_of_a_blocked_write_loses_nothing),
        TEST(every_kind_of_fault_is_told_apart),
        TEST(a_pair_is_judged),
        TEST(many_names_are_cut_with_a_mark),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
