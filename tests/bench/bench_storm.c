/*
 * Sessions that talk while others storm the door: the talkers of `make bench-storm`
 * (tests/bench/storm.py).
 *
 * Each of the talkers sends a signal to itself every PAUSE_MS, and notes how long it takes to come
 * back. `PORT SECRET-FILE COUNT [tls]`: says `ready`, and for each line on standard input, a number
 * of milliseconds, measures for so long and prints p50 and p99 in microseconds. Ends with its
 * standard input.
 */
#include "tests/bench/client.h"

enum { TALKERS_MAX = 100, PAUSE_MS = 20, SAMPLES_MAX = 1 << 20, INPUT_MAX = 1 << 16 };

struct talker {
    int fd;
    uint64_t due_ns, sent_ns; /* sent_ns 0: nothing is under way */
    uint8_t frame[512];
    size_t frame_len;
    uint8_t input[INPUT_MAX];
    size_t input_len;
};

static struct talker talkers[TALKERS_MAX];
static uint64_t samples[SAMPLES_MAX];
static size_t sample_count;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void make_frame(struct talker *talker, const char *address)
{
    /* Longer than 125 bytes, or the frame's head would be a shorter one. */
    static const char content[] =
        "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB";
    char text[400];
    int len = snprintf(text, sizeof text,
                       "{\"from\":\"%s\",\"to\":[\"%s\"],\"subject\":\"round\",\"content\":\"%s\","
                       "\"type\":2}",
                       address, address, content);

    talker->frame[0] = 0x81;
    talker->frame[1] = 0x80 | 126;
    talker->frame[2] = (uint8_t)(len >> 8);
    talker->frame[3] = (uint8_t)len;
    memset(talker->frame + 4, 0, 4);
    memcpy(talker->frame + 8, text, (size_t)len);
    talker->frame_len = 8 + (size_t)len;
}

static void take_input(struct talker *talker)
{
    size_t at = 0, len;

    do {
        ssize_t n = client_recv(talker->fd, talker->input + talker->input_len,
                                INPUT_MAX - talker->input_len);
        if (n <= 0)
            fail("a talker was cut");
        talker->input_len += (size_t)n;
    } while (secured[talker->fd] && SSL_pending(secured[talker->fd]));
    while ((len = frame_len(talker->input, talker->input_len, at))) {
        if (talker->sent_ns && memmem(talker->input + at, len, "\"round\"", 7)) {
            if (sample_count < SAMPLES_MAX)
                samples[sample_count++] = now_ns() - talker->sent_ns;
            talker->sent_ns = 0;
        }
        at += len;
    }
    memmove(talker->input, talker->input + at, talker->input_len - at);
    talker->input_len -= at;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void measure(int epoll_fd, unsigned count, uint64_t ms)
{
    uint64_t end = now_ns() + ms * 1000000;
    struct epoll_event events[TALKERS_MAX];

    sample_count = 0;
    while (now_ns() < end) {
        int ready;
        for (unsigned i = 0; i < count; i++) {
            struct talker *talker = &talkers[i];
            if (talker->sent_ns || now_ns() < talker->due_ns)
                continue;
            talker->sent_ns = now_ns();
            talker->due_ns = talker->sent_ns + (uint64_t)PAUSE_MS * 1000000;
            if (client_send(talker->fd, talker->frame, talker->frame_len) <= 0)
                fail("send");
        }
        ready = epoll_wait(epoll_fd, events, TALKERS_MAX, 1);
        for (int i = 0; i < ready; i++)
            take_input(&talkers[events[i].data.u32]);
    }
    qsort(samples, sample_count, sizeof samples[0], compare);
    if (sample_count == 0)
        fail("no sample");
    printf("%llu %llu\n", (unsigned long long)samples[sample_count / 2] / 1000,
           (unsigned long long)samples[sample_count * 99 / 100] / 1000);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    unsigned count = argc >= 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    char line[64];

    if (count < 1 || count > TALKERS_MAX || token_init()) {
        fprintf(stderr, "usage: bench_storm PORT SECRET-FILE COUNT [tls]\n");
        return 2;
    }
    read_secret(argv[2]);
    for (unsigned i = 0; i < count; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };
        char address[32];
        snprintf(address, sizeof address, "talker-%u", i);
        make_frame(&talkers[i], address);
        talkers[i].fd = connect_from("127.0.0.1", (uint16_t)strtoul(argv[1], NULL, 10));
        talkers[i].due_ns = now_ns() + (uint64_t)i * PAUSE_MS * 1000000 / count;
        if (argc > 4)
            client_secure(talkers[i].fd);
        send_request(talkers[i].fd, address);
        await_welcome(talkers[i].fd);
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, talkers[i].fd, &event);
    }
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin))
        measure(epoll_fd, count, strtoul(line, NULL, 10));
    return 0;
}
