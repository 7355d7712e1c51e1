#include "common/control.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct link {
    int fds[2]; /* [0] sends, [1] reads */
    struct control_reader reader;
};

static void link_open(struct link *link)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, link->fds),
                     0);
    control_reader_init(&link->reader);
}

static void link_close(struct link *link)
{
    control_reader_fini(&link->reader);
    close(link->fds[0]);
    close(link->fds[1]);
}

static void assert_next(struct link *link, enum control_type type, struct slice payload)
{
    enum control_type got_type;
    struct slice got;

    assert_int_equal(control_next(&link->reader, &got_type, &got), OK);
    assert_int_equal(got_type, type);
    assert_true(slice_equal(got, payload));
}

static void assert_no_more(struct link *link)
{
    enum control_type type;
    struct slice payload;

    assert_int_equal(control_next(&link->reader, &type, &payload), ERR_AGAIN);
}

static void frames_arrive_as_sent_and_in_order(void **state)
{
    struct link link;

    (void)state;
    link_open(&link);
    assert_int_equal(control_send(link.fds[0], CONTROL_READY, SLICE("")), OK);
    assert_int_equal(control_send(link.fds[0], CONTROL_CONFIG, SLICE("abc\0def")), OK);
    assert_int_equal(control_send(link.fds[0], CONTROL_APPLIED, SLICE("")), OK);
    assert_int_equal(control_fill(&link.reader, link.fds[1]), OK);
    assert_next(&link, CONTROL_READY, SLICE(""));
    assert_next(&link, CONTROL_CONFIG, SLICE("abc\0def"));
    assert_next(&link, CONTROL_APPLIED, SLICE(""));
    assert_no_more(&link);
    assert_int_equal(control_fill(&link.reader, link.fds[1]), OK); /* nothing there is no trouble */
    link_close(&link);
}

/* Each byte of two frames, one at a time: the frames come out whole and only when whole. */
static void byte_by_byte_gives_whole_frames(void **state)
{
    struct link from, to;
    char wire[64];
    ssize_t len;
    unsigned frames = 0;

    (void)state;
    link_open(&from);
    link_open(&to);
    control_send(from.fds[0], CONTROL_CONFIG, SLICE("0123456789"));
    control_send(from.fds[0], CONTROL_READY, SLICE(""));
    len = read(from.fds[1], wire, sizeof wire);
    assert_int_equal(len, 8 + 10 + 8);
    for (ssize_t i = 0; i < len; i++) {
        enum control_type type;
        struct slice payload;
        assert_int_equal(write(to.fds[0], wire + i, 1), 1);
        assert_int_equal(control_fill(&to.reader, to.fds[1]), OK);
        while (control_next(&to.reader, &type, &payload) == OK)
            frames++;
        assert_int_equal(frames, i >= 25 ? 2 : i >= 17 ? 1 : 0);
    }
    link_close(&from);
    link_close(&to);
}

static void the_other_sides_end_is_told_after_its_last_frame(void **state)
{
    struct link link;

    (void)state;
    link_open(&link);
    control_send(link.fds[0], CONTROL_READY, SLICE(""));
    shutdown(link.fds[0], SHUT_RDWR);
    assert_int_equal(control_fill(&link.reader, link.fds[1]), OK);
    assert_next(&link, CONTROL_READY, SLICE(""));
    assert_int_equal(control_fill(&link.reader, link.fds[1]), ERR_DOWN);
    assert_int_equal(control_send(link.fds[1], CONTROL_READY, SLICE("")), ERR_DOWN);
    link_close(&link);
}

static void nonsense_is_refused(void **state)
{
    static const uint32_t heads[][2] = {
        { 0, 0 },
        { 0, CONTROL_RELOAD + 1 },
        { (64u << 20) + 1, CONTROL_CONFIG },
        { UINT32_MAX, CONTROL_CONFIG },
    };

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct link link;
        link_open(&link);
        assert_int_equal(write(link.fds[0], heads[i], sizeof heads[i]), sizeof heads[i]);
        assert_int_equal(control_fill(&link.reader, link.fds[1]), ERR_BAD);
        assert_no_more(&link);
        link_close(&link);
    }
}

static enum err send_log(struct link *link, int file)
{
    struct control_queue queue;
    enum err err;

    control_queue_init(&queue);
    err = control_queue_put(&queue, CONTROL_LOG, NULL, file);
    if (!err)
        err = control_queue_flush(&queue, link->fds[0]);
    control_queue_fini(&queue);
    return err;
}

static void a_descriptor_rides_along_and_is_the_takers(void **state)
{
    struct link link;
    struct stat sent, got;
    int file = open("/dev/null", O_WRONLY | O_CLOEXEC), fd;

    (void)state;
    link_open(&link);
    assert_int_equal(send_log(&link, file), OK);
    assert_int_equal(control_fill(&link.reader, link.fds[1]), OK);
    assert_next(&link, CONTROL_LOG, SLICE(""));
    fd = control_take_fd(&link.reader);
    assert_true(fd >= 0 && fd != file);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fstat(file, &sent), 0);
    assert_int_equal(fstat(fd, &got), 0);
    assert_int_equal(sent.st_ino, got.st_ino);
    assert_int_equal(control_take_fd(&link.reader), -1);
    close(fd);
    close(file);
    link_close(&link);
}

/* Sends log files nobody takes: none may stay open. */
static void descriptors_not_taken_are_closed(void **state)
{
    struct link link;
    int file = open("/dev/null", O_WRONLY | O_CLOEXEC), first_free, free_after;

    (void)state;
    link_open(&link);
    first_free = dup(file);
    close(first_free);
    for (int i = 0; i < 5; i++) {
        send_log(&link, file);
        assert_int_equal(control_fill(&link.reader, link.fds[1]), OK);
        assert_next(&link, CONTROL_LOG, SLICE(""));
    }
    close(control_take_fd(&link.reader));
    free_after = dup(file);
    assert_int_equal(free_after, first_free);
    close(free_after);
    close(file);
    link_close(&link);
}

/* Reads until a whole frame is there, while the queue goes on sending. */
static void read_frame(struct link *link, struct control_queue *queue, enum control_type *type,
                       struct slice *payload)
{
    while (control_next(&link->reader, type, payload) != OK) {
        assert_int_equal(control_queue_flush(queue, link->fds[0]), OK);
        assert_int_equal(control_fill(&link->reader, link->fds[1]), OK);
    }
}

static void put(struct control_queue *queue, enum control_type type, struct slice bytes)
{
    struct control_payload *payload = control_payload_new(bytes);

    assert_non_null(payload);
    assert_int_equal(control_queue_put(queue, type, payload, -1), OK);
    control_payload_unref(payload);
}

/* Larger than any socket buffer. */
static void a_large_payload_crosses(void **state)
{
    enum { LEN = 3 << 20 };
    struct control_queue queue;
    enum control_type type;
    struct slice got;
    struct link link;
    char *payload = malloc(LEN);

    (void)state;
    assert_non_null(payload);
    memset(payload, 'x', LEN);
    link_open(&link);
    control_queue_init(&queue);
    put(&queue, CONTROL_CONFIG, slice_make(payload, LEN));
    read_frame(&link, &queue, &type, &got);
    assert_int_equal(type, CONTROL_CONFIG);
    assert_true(slice_equal(got, slice_make(payload, LEN)));
    control_wipe(&link.reader);
    assert_int_equal(got.data[0], 0);
    assert_int_equal(got.data[LEN - 1], 0);
    control_queue_fini(&queue);
    free(payload);
    link_close(&link);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* 400 reloads of 8 MiB each, for a worker that reads nothing: no time, and one of them waits. */
static void a_side_that_never_reads_holds_nobody_and_keeps_the_newest_frame(void **state)
{
    enum { LEN = 8 << 20, ROUNDS = 400 };
    char *bytes = calloc(1, LEN);
    struct control_payload *payload;
    struct control_queue queue;
    enum control_type type;
    struct slice got;
    struct link link;
    uint64_t started_ns = now_ns();

    (void)state;
    assert_non_null(bytes);
    payload = control_payload_new(slice_make(bytes, LEN));
    assert_non_null(payload);
    link_open(&link);
    control_queue_init(&queue);
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(control_queue_put(&queue, CONTROL_CONFIG, payload, -1), OK);
        assert_int_equal(control_queue_flush(&queue, link.fds[0]), OK);
    }
    assert_true(queue.blocked);
    put(&queue, CONTROL_CONFIG, SLICE("the newest"));
    put(&queue, CONTROL_DRAIN, SLICE("leave"));
    assert_true(now_ns() - started_ns < 1000000000);

    read_frame(&link, &queue, &type, &got);
    assert_int_equal(got.len, LEN);
    read_frame(&link, &queue, &type, &got); /* an order to leave waits for no answer */
    assert_int_equal(type, CONTROL_DRAIN);
    assert_int_equal(control_queue_flush(&queue, link.fds[0]), OK);
    assert_int_equal(control_fill(&link.reader, link.fds[1]), OK);
    assert_no_more(&link);
    control_queue_applied(&queue);
    read_frame(&link, &queue, &type, &got);
    assert_int_equal(type, CONTROL_CONFIG);
    assert_true(slice_equal(got, SLICE("the newest")));
    assert_no_more(&link);
    control_payload_unref(payload);
    control_queue_fini(&queue);
    free(bytes);
    link_close(&link);
}

static void small_frames_never_fill_the_socket_unnoticed(void **state)
{
    struct link link;
    enum err err;

    (void)state;
    link_open(&link);
    while ((err = control_send(link.fds[0], CONTROL_READY, SLICE("x"))) == OK)
        ;
    assert_int_equal(err, ERR_FULL);
    link_close(&link);
}

/* A child of the master must not find the keys of a reload that waits for another worker. */
static void a_child_does_not_get_the_bytes_that_wait(void **state)
{
    static const char secret[] = "a secret that waits";
    struct control_queue queue;
    struct link link;
    int status;
    pid_t child;

    (void)state;
    link_open(&link);
    control_queue_init(&queue);
    put(&queue, CONTROL_CONFIG, SLICE("first"));
    control_queue_flush(&queue, link.fds[0]);
    put(&queue, CONTROL_CONFIG, slice_make(secret, sizeof secret));
    child = fork();
    if (child == 0) {
        control_queue_applied(&queue);
        control_queue_flush(&queue, link.fds[0]);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(control_fill(&link.reader, link.fds[1]), OK);
    assert_next(&link, CONTROL_CONFIG, SLICE("first"));
    assert_null(memmem(link.reader.input.data, link.reader.input.size, secret, 8));
    control_queue_fini(&queue);
    link_close(&link);
}

static void a_payload_over_the_bound_is_not_sent(void **state)
{
    struct link link;

    (void)state;
    link_open(&link);
    assert_int_equal(
        control_send(link.fds[0], CONTROL_CONFIG, slice_make("", (size_t)CONTROL_SMALL_MAX + 1)),
        ERR_FULL);
    assert_null(control_payload_new(slice_make("", (size_t)CONTROL_BYTES_MAX + 1)));
    assert_int_equal(control_fill(&link.reader, link.fds[1]), OK);
    assert_no_more(&link);
    link_close(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_as_sent_and_in_order),
        cmocka_unit_test(byte_by_byte_gives_whole_frames),
        cmocka_unit_test(the_other_sides_end_is_told_after_its_last_frame),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_descriptor_rides_along_and_is_the_takers),
        cmocka_unit_test(descriptors_not_taken_are_closed),
        cmocka_unit_test(a_large_payload_crosses),
        cmocka_unit_test(a_side_that_never_reads_holds_nobody_and_keeps_the_newest_frame),
        cmocka_unit_test(small_frames_never_fill_the_socket_unnoticed),
        cmocka_unit_test(a_child_does_not_get_the_bytes_that_wait),
        cmocka_unit_test(a_payload_over_the_bound_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
