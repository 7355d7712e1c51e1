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
    assert_int_equal(control_send(link.fds[0], CONTROL_READY, SLICE(""), -1), OK);
    assert_int_equal(control_send(link.fds[0], CONTROL_CONFIG, SLICE("abc\0def"), -1), OK);
    assert_int_equal(control_send(link.fds[0], CONTROL_APPLIED, SLICE(""), -1), OK);
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
    control_send(from.fds[0], CONTROL_CONFIG, SLICE("0123456789"), -1);
    control_send(from.fds[0], CONTROL_READY, SLICE(""), -1);
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
    control_send(link.fds[0], CONTROL_READY, SLICE(""), -1);
    shutdown(link.fds[0], SHUT_RDWR);
    assert_int_equal(control_fill(&link.reader, link.fds[1]), OK);
    assert_next(&link, CONTROL_READY, SLICE(""));
    assert_int_equal(control_fill(&link.reader, link.fds[1]), ERR_DOWN);
    assert_int_equal(control_send(link.fds[1], CONTROL_READY, SLICE(""), -1), ERR_DOWN);
    link_close(&link);
}

static void nonsense_is_refused(void **state)
{
    static const uint32_t heads[][2] = {
        { 0, 0 },
        { 0, 6 },
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

static void a_descriptor_rides_along_and_is_the_takers(void **state)
{
    struct link link;
    struct stat sent, got;
    int file = open("/dev/null", O_WRONLY | O_CLOEXEC), fd;

    (void)state;
    link_open(&link);
    assert_int_equal(control_send(link.fds[0], CONTROL_LOG, SLICE(""), file), OK);
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
        control_send(link.fds[0], CONTROL_LOG, SLICE(""), file);
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

/* Larger than any socket buffer, read by another process as it comes. */
static void a_large_payload_crosses(void **state)
{
    enum { LEN = 3 << 20 };
    struct link link;
    char *payload = malloc(LEN);
    pid_t child;
    int status;

    (void)state;
    assert_non_null(payload);
    memset(payload, 'x', LEN);
    link_open(&link);
    child = fork();
    if (child == 0) {
        enum err err = control_send(link.fds[0], CONTROL_CONFIG, slice_make(payload, LEN), -1);
        _exit(err == OK ? 0 : 1);
    }
    for (;;) {
        enum control_type type;
        struct slice got;
        assert_int_equal(control_fill(&link.reader, link.fds[1]), OK);
        if (control_next(&link.reader, &type, &got) == OK) {
            assert_true(slice_equal(got, slice_make(payload, LEN)));
            break;
        }
        usleep(1000);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    free(payload);
    link_close(&link);
}

static void a_side_that_never_reads_holds_the_sender_only_so_long(void **state)
{
    enum { LEN = 8 << 20 };
    struct link link;
    char *payload = calloc(1, LEN);

    (void)state;
    assert_non_null(payload);
    link_open(&link);
    assert_int_equal(control_send(link.fds[0], CONTROL_CONFIG, slice_make(payload, LEN), -1),
                     ERR_FULL);
    free(payload);
    link_close(&link);
}

static void a_payload_over_the_bound_is_not_sent(void **state)
{
    struct link link;

    (void)state;
    link_open(&link);
    assert_int_equal(control_send(link.fds[0], CONTROL_CONFIG,
                                  slice_make("", (size_t)CONTROL_BYTES_MAX + 1), -1),
                     ERR_FULL);
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
        cmocka_unit_test(a_side_that_never_reads_holds_the_sender_only_so_long),
        cmocka_unit_test(a_payload_over_the_bound_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
