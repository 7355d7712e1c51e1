/*
 * The load of `make bench-mail` (tests/bench/mail.py starts it, the server and Redis): senders that
 * each keep a number of mails without an answer on their way, one recipient each, to recipients
 * that are connected here too or that nobody is connected for. A sender writes to one and the same
 * recipient, or each mail goes to any of them.
 *
 * The program says `measuring` when the measured time begins, and when that time is over (and after
 * each STEP-MS) how many mails were accepted so far. Then the program waits until every mail has an
 * answer, and every connected recipient its mails: none may be rejected, none lost.
 */
#include "tests/bench/client.h"

#include <inttypes.h>
#include <netinet/tcp.h>

enum {
    CONTENT_LEN = 300,
    WARM_MS = 300,
    SILENCE_MS = 10000, /* a server that is quiet for longer has lost something */
    EVENTS_MAX = 256,
    FDS_MAX = 16384,
    FRAME_MAX = 2048,
    IN_FLIGHT_MAX = 256,
    INPUT_SIZE = 256 * 1024,
    DIGITS = 12, /* as redis-benchmark writes its random numbers */
};

static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

/* A client; by descriptor. */
static struct client {
    bool sender;
    uint8_t *rest; /* of a frame that is not whole */
    size_t rest_len;
    uint8_t *frame; /* a sender's mail, masked */
    uint64_t recipient;
} clients[FDS_MAX];

static struct load {
    unsigned long senders, in_flight, measure_ms, step_ms, recipients;
    const char *prefix; /* of the recipients' addresses */
    bool connected, any;
    bool stopping;
    int epoll_fd;
    size_t frame_len, to_at, id_at; /* of a mail: where the numbers stand */
    uint64_t sent, accepted, delivered;
} load;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- mails ---- */

/* The number of 12 digits at `at` in a frame whose payload is masked from `payload` on. */
static void put_number(uint8_t *frame, size_t payload, size_t at, uint64_t number)
{
    for (size_t i = at + DIGITS; i-- > at; number /= 10)
        frame[i] = (uint8_t)('0' + number % 10) ^ mask[(i - payload) & 3];
}

/* All of a mail but the numbers. */
static uint8_t *make_frame(unsigned long sender)
{
    char content[CONTENT_LEN * 4 / 3 + 1], text[FRAME_MAX];
    uint8_t *frame = calloc(1, FRAME_MAX);
    int len;

    for (size_t i = 0; i + 1 < sizeof content; i++)
        content[i] = (char)('A' + (i * 7 + sender) % 26);
    content[sizeof content - 1] = 0;
    len = snprintf(text, sizeof text,
                   "{\"id\":\"0191e1a2-7b1c-7def-%04lx-000000000000\",\"from\":\"sender-%06lu\","
                   "\"to\":[\"%s000000000000\"],\"subject\":\"\",\"content\":\"%s\",\"type\":1}",
                   sender, sender, load.prefix, content);
    if (!frame || len < 0 || (size_t)len + 8 > sizeof text)
        fail("mail");
    frame[0] = 0x81; /* final, text */
    frame[1] = 0x80 | 126;
    frame[2] = (uint8_t)(len >> 8);
    frame[3] = (uint8_t)len;
    memcpy(frame + 4, mask, sizeof mask);
    for (int i = 0; i < len; i++)
        frame[8 + i] = (uint8_t)text[i] ^ mask[i & 3];
    load.frame_len = 8 + (size_t)len;
    load.id_at = 8 + (size_t)(strstr(text, "-000000000000") + 1 - text);
    load.to_at = 8 + (size_t)(strstr(text, "000000000000\"],") - text);
    return frame;
}

static uint64_t next_random(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void send_mails(struct client *client, int fd, size_t count)
{
    static uint8_t out[IN_FLIGHT_MAX * FRAME_MAX];
    size_t len = 0;

    for (size_t i = 0; i < count; i++, len += load.frame_len) {
        put_number(client->frame, 8, load.id_at, load.sent++);
        if (load.any)
            client->recipient = next_random() % load.recipients;
        put_number(client->frame, 8, load.to_at, client->recipient);
        memcpy(out + len, client->frame, load.frame_len);
    }
    if (len && send(fd, out, len, MSG_NOSIGNAL) != (ssize_t)len)
        fail("send");
}

/* ---- what comes back ---- */

static void take_frame(const struct client *client, const uint8_t *frame, size_t len)
{
    const char *what = client->sender ? "\"subject\":\"accepted\"" : "\"seq\":";

    if (frame[0] != 0x81 || !memmem(frame, len, what, strlen(what))) {
        fprintf(stderr, "bench_mail: got %.*s\n", (int)len - 2, (const char *)frame + 2);
        errno = 0;
        fail("an answer");
    }
    if (client->sender)
        load.accepted++;
    else
        load.delivered++;
}

static void serve(struct client *client, int fd)
{
    static uint8_t in[INPUT_SIZE];
    uint64_t accepted = load.accepted;
    size_t at = 0, len = client->rest_len, whole;
    ssize_t n;

    memcpy(in, client->rest, client->rest_len);
    n = recv(fd, in + len, sizeof in - len, 0);
    if (n <= 0) {
        errno = n ? errno : 0;
        fail("recv");
    }
    len += (size_t)n;
    for (; (whole = frame_len(in, len, at)); at += whole)
        take_frame(client, in + at, whole);
    client->rest_len = len - at;
    if (client->rest_len > FRAME_MAX)
        fail("an answer's length");
    memcpy(client->rest, in + at, client->rest_len);
    if (client->sender && !load.stopping)
        send_mails(client, fd, load.accepted - accepted);
}

/* Until `end_ns`, or until all that was sent has come. */
static void run(uint64_t end_ns)
{
    static struct epoll_event events[EVENTS_MAX];

    while (now_ns() < end_ns) {
        uint64_t wanted = load.connected ? load.sent : 0;
        if (load.stopping && load.accepted == load.sent && load.delivered == wanted)
            return;
        int count = epoll_wait(load.epoll_fd, events, EVENTS_MAX, SILENCE_MS);
        if (count <= 0) {
            errno = count ? errno : ETIMEDOUT;
            fail("no answer");
        }
        for (int i = 0; i < count; i++)
            serve(&clients[events[i].data.fd], events[i].data.fd);
    }
}

/* ---- a run ---- */

static int add_client(const char *address, uint16_t port, bool sender)
{
    int on = 1, fd = connect_from("127.0.0.1", port);

    if (fd >= FDS_MAX)
        fail("too many clients");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    send_request(fd, address);
    await_welcome(fd);
    clients[fd] = (struct client){ .sender = sender, .rest = calloc(1, FRAME_MAX) };
    if (!clients[fd].rest)
        fail("memory");
    watch(load.epoll_fd, fd);
    return fd;
}

static void connect_all(uint16_t port, int *senders)
{
    char address[128];

    for (unsigned long i = 0; load.connected && i < load.recipients; i++) {
        snprintf(address, sizeof address, "%s%012lu", load.prefix, i);
        add_client(address, port, false);
    }
    for (unsigned long i = 0; i < load.senders; i++) {
        snprintf(address, sizeof address, "sender-%06lu", i);
        senders[i] = add_client(address, port, true);
        clients[senders[i]].frame = make_frame(i);
        clients[senders[i]].recipient = i % load.recipients;
    }
}

static void measure(const int *senders)
{
    uint64_t began, accepted;

    for (unsigned long i = 0; i < load.senders; i++)
        send_mails(&clients[senders[i]], senders[i], load.in_flight);
    run(now_ns() + WARM_MS * UINT64_C(1000000));
    puts("measuring");
    began = now_ns();
    accepted = load.accepted;
    for (uint64_t step = load.step_ms; load.step_ms && step < load.measure_ms;
         step += load.step_ms) {
        run(began + step * UINT64_C(1000000));
        printf("%" PRIu64 " %.6f\n", load.accepted - accepted, (double)(now_ns() - began) / 1e9);
    }
    run(began + load.measure_ms * UINT64_C(1000000));
    accepted = load.accepted - accepted;
    printf("%" PRIu64 " %.6f\n", accepted, (double)(now_ns() - began) / 1e9);
    load.stopping = true;
    run(now_ns() + 60 * UINT64_C(1000000000));
    if (load.accepted != load.sent || (load.connected && load.delivered != load.sent)) {
        errno = 0;
        fail("some mails had no answer, or did not arrive");
    }
    printf("%" PRIu64 " sent\n", load.sent);
}

int main(int argc, char **argv)
{
    static int senders[FDS_MAX];

    if (argc != 10 && argc != 11) {
        fprintf(stderr, "usage: bench_mail PORT SECRET-FILE SENDERS IN-FLIGHT MS RECIPIENTS "
                        "ADDRESS-PREFIX connected|away own|any [STEP-MS]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    load.senders = strtoul(argv[3], NULL, 10);
    load.in_flight = strtoul(argv[4], NULL, 10);
    load.measure_ms = strtoul(argv[5], NULL, 10);
    load.recipients = strtoul(argv[6], NULL, 10);
    load.prefix = argv[7];
    load.step_ms = argc > 10 ? strtoul(argv[10], NULL, 10) : 0;
    load.connected = strcmp(argv[8], "connected") == 0;
    load.any = strcmp(argv[9], "any") == 0;
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    errno = 0;
    if (load.senders < 1 || load.in_flight < 1 || load.in_flight > IN_FLIGHT_MAX ||
        load.recipients < 1 || load.senders + load.recipients > FDS_MAX - 64 || token_init())
        fail("arguments");
    read_secret(argv[2]);
    connect_all((uint16_t)strtoul(argv[1], NULL, 10), senders);
    measure(senders);
    return 0;
}
