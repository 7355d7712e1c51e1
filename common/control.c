/*
 * A frame is a head of 8 bytes in this machine's byte order (both sides are the same program), then
 * the payload. A descriptor travels with the first byte of its frame's head.
 */
#include "common/control.h"

#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STALL_MS_MAX = 2000, READ_BYTES = 4096 };

struct head {
    uint32_t len; /* of the payload */
    uint32_t type;
};
_Static_assert(sizeof(struct head) == 8, "no padding travels");

/* Room for one SCM_RIGHTS message of one descriptor, aligned as cmsg(3) asks. */
union rights {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

static void attach_fd(struct msghdr *message, union rights *rights, int fd)
{
    struct cmsghdr *cmsg;

    memset(rights, 0, sizeof *rights);
    message->msg_control = rights->bytes;
    message->msg_controllen = sizeof rights->bytes;
    cmsg = CMSG_FIRSTHDR(message);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(cmsg), &fd, sizeof fd);
}

/* After EAGAIN: waits until the socket has room again, at most until give_up_ms
 * (CLOCK_MONOTONIC). */
static enum err wait_for_room(int fd, uint64_t give_up_ms)
{
    struct pollfd wait = { .fd = fd, .events = POLLOUT };
    uint64_t now = clock_monotonic_ms();

    if (now >= give_up_ms)
        return ERR_FULL;
    if (poll(&wait, 1, (int)(give_up_ms - now)) < 0 && errno != EINTR)
        return ERR_SYSTEM;
    return OK;
}

static enum err send_all(int fd, struct iovec *parts, size_t part_count, int fd_pass)
{
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = part_count };
    uint64_t give_up_ms = clock_monotonic_ms() + STALL_MS_MAX;
    union rights rights;

    if (fd_pass >= 0)
        attach_fd(&message, &rights, fd_pass);
    for (;;) {
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            enum err err;
            if (errno == EINTR)
                continue;
            if (errno != EAGAIN && errno != ENOBUFS)
                return ERR_DOWN;
            err = wait_for_room(fd, give_up_ms);
            if (err)
                return err;
            continue;
        }
        message.msg_control = NULL; /* the descriptor went with the first byte */
        message.msg_controllen = 0;
        give_up_ms = clock_monotonic_ms() + STALL_MS_MAX;
        while (message.msg_iovlen > 0 && (size_t)n >= message.msg_iov->iov_len) {
            n -= (ssize_t)message.msg_iov->iov_len;
            message.msg_iov++;
            message.msg_iovlen--;
        }
        if (message.msg_iovlen == 0)
            return OK;
        message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + n;
        message.msg_iov->iov_len -= (size_t)n;
    }
}

enum err control_send(int fd, enum control_type type, struct slice payload, int fd_pass)
{
    struct head head = { .len = (uint32_t)payload.len, .type = (uint32_t)type };
    union {
        const char *borrowed;
        void *base; /* struct iovec has no const; sendmsg only reads */
    } body = { .borrowed = payload.data };
    struct iovec parts[2] = { { &head, sizeof head }, { body.base, payload.len } };

    if (payload.len > CONTROL_BYTES_MAX)
        return ERR_FULL;
    return send_all(fd, parts, payload.len ? 2 : 1, fd_pass);
}

void control_reader_init(struct control_reader *reader)
{
    *reader = (struct control_reader){ .fd_passed = -1 };
    buf_init(&reader->input, (size_t)CONTROL_BYTES_MAX + sizeof(struct head) + READ_BYTES);
}

void control_reader_fini(struct control_reader *reader)
{
    int fd = control_take_fd(reader);

    if (fd >= 0)
        close(fd);
    buf_fini(&reader->input);
}

int control_take_fd(struct control_reader *reader)
{
    int fd = reader->fd_passed;

    reader->fd_passed = -1;
    return fd;
}

/* Removes the frame that control_next returned last. */
static void drop_taken(struct control_reader *reader)
{
    if (reader->taken)
        buf_drop(&reader->input, reader->taken);
    reader->taken = 0;
}

/* Copies the head of the first frame in the buffer. False while the head is not whole. */
static bool peek_head(const struct control_reader *reader, struct head *head)
{
    if (reader->input.len < sizeof *head)
        return false;
    memcpy(head, reader->input.data, sizeof *head);
    return true;
}

/* OK when a whole frame lies at the front of the buffer; ERR_AGAIN, or ERR_BAD for a head that
 * cannot be. */
static enum err front_frame(const struct control_reader *reader, struct head *head)
{
    if (!peek_head(reader, head))
        return ERR_AGAIN;
    if (head->len > CONTROL_BYTES_MAX || head->type < CONTROL_CONFIG ||
        head->type > CONTROL_APPLIED)
        return ERR_BAD;
    return reader->input.len - sizeof *head >= head->len ? OK : ERR_AGAIN;
}

static void keep_fd(struct control_reader *reader, struct msghdr *message)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg; cmsg = CMSG_NXTHDR(message, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
            cmsg->cmsg_len < CMSG_LEN(sizeof(int)))
            continue;
        if (reader->fd_passed >= 0)
            close(reader->fd_passed); /* the newest counts */
        memcpy(&reader->fd_passed, CMSG_DATA(cmsg), sizeof(int));
    }
}

/* One recvmsg. ERR_AGAIN when the socket is empty. */
static enum err read_socket(struct control_reader *reader, int fd)
{
    union rights rights;
    struct iovec part;
    struct msghdr message = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = rights.bytes,
                              .msg_controllen = sizeof rights.bytes };
    enum err err = buf_reserve(&reader->input, READ_BYTES);
    ssize_t n;

    if (err)
        return err;
    part.iov_base = reader->input.data + reader->input.len;
    part.iov_len = reader->input.size - reader->input.len;
    do
        n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? ERR_AGAIN : ERR_DOWN;
    keep_fd(reader, &message);
    if (n == 0)
        return ERR_DOWN;
    reader->input.len += (size_t)n;
    return OK;
}

/* Stops at the first whole frame, so that the buffer never holds more than one frame and one read.
 * Bytes left in the socket keep the socket readable. */
enum err control_fill(struct control_reader *reader, int fd)
{
    bool got_some = false;

    drop_taken(reader);
    for (;;) {
        struct head head;
        enum err err = front_frame(reader, &head);
        if (err == ERR_BAD || (err == OK && got_some))
            return err;
        err = read_socket(reader, fd);
        if (err == ERR_AGAIN || (err == ERR_DOWN && got_some))
            return OK; /* the end of file is still there at the next call */
        if (err)
            return err;
        got_some = true;
    }
}

enum err control_next(struct control_reader *reader, enum control_type *type, struct slice *payload)
{
    struct head head;

    drop_taken(reader);
    if (front_frame(reader, &head) != OK)
        return ERR_AGAIN; /* the next control_fill returns ERR_BAD for a bad head */
    *type = (enum control_type)head.type;
    *payload = slice_make(reader->input.data + sizeof head, head.len);
    reader->taken = sizeof head + head.len;
    return OK;
}
