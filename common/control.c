/*
 * A frame is a head of 8 bytes in this machine's byte order (both sides are the same program), then
 * the payload. A descriptor travels with the first byte of its frame's head.
 */
#include "common/control.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 4096 };

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

enum err control_send(int fd, enum control_type type, struct slice payload)
{
    char bytes[sizeof(struct head) + CONTROL_SMALL_MAX];
    struct head head = { .len = (uint32_t)payload.len, .type = (uint32_t)type };
    ssize_t n;

    if (payload.len > CONTROL_SMALL_MAX)
        return ERR_FULL;
    memcpy(bytes, &head, sizeof head);
    if (payload.len)
        memcpy(bytes + sizeof head, payload.data, payload.len);
    do
        n = send(fd, bytes, sizeof head + payload.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)(sizeof head + payload.len))
        return OK;
    return n < 0 && (errno == EAGAIN || errno == ENOBUFS) ? ERR_FULL : ERR_DOWN;
}

/* ---- the bytes of a frame ---- */

struct control_payload {
    size_t refs, len;
    char bytes[];
};

struct control_payload *control_payload_new(struct slice bytes)
{
    size_t size = sizeof(struct control_payload) + bytes.len;
    struct control_payload *payload;

    if (bytes.len > CONTROL_BYTES_MAX)
        return NULL;
    payload = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (payload == MAP_FAILED)
        return NULL;
    (void)madvise(payload, size, MADV_WIPEONFORK);
    (void)madvise(payload, size, MADV_DONTDUMP);
    payload->refs = 1;
    payload->len = bytes.len;
    if (bytes.len)
        memcpy(payload->bytes, bytes.data, bytes.len);
    return payload;
}

void control_payload_unref(struct control_payload *payload)
{
    if (!payload || --payload->refs > 0)
        return;
    explicit_bzero(payload->bytes, payload->len);
    munmap(payload, sizeof *payload + payload->len);
}

/* ---- the queue ---- */

static const struct control_frame no_frame = { .fd_pass = -1 };

static void frame_fini(struct control_frame *frame)
{
    control_payload_unref(frame->payload);
    if (frame->fd_pass >= 0)
        close(frame->fd_pass);
    *frame = no_frame;
}

void control_queue_init(struct control_queue *queue)
{
    *queue = (struct control_queue){ .leaving = no_frame };
    for (size_t i = 0; i < CONTROL_QUEUE_KINDS; i++)
        queue->waiting[i] = no_frame;
}

void control_queue_fini(struct control_queue *queue)
{
    frame_fini(&queue->leaving);
    for (size_t i = 0; i < CONTROL_QUEUE_KINDS; i++)
        frame_fini(&queue->waiting[i]);
}

enum err control_queue_put(struct control_queue *queue, enum control_type type,
                           struct control_payload *payload, int fd_pass)
{
    struct control_frame *frame;
    int fd = -1;

    assert(type >= CONTROL_CONFIG && type < CONTROL_CONFIG + CONTROL_QUEUE_KINDS);
    frame = &queue->waiting[type - CONTROL_CONFIG];
    if (fd_pass >= 0 && (fd = fcntl(fd_pass, F_DUPFD_CLOEXEC, 3)) < 0)
        return ERR_SYSTEM;
    frame_fini(frame);
    if (payload)
        payload->refs++;
    *frame = (struct control_frame){ .type = type, .payload = payload, .fd_pass = fd };
    return OK;
}

static bool is_answered(enum control_type type)
{
    return type == CONTROL_CONFIG || type == CONTROL_LOG;
}

/* Moves the next frame that may leave into `leaving`. */
static bool take_next(struct control_queue *queue)
{
    for (size_t i = 0; i < CONTROL_QUEUE_KINDS; i++) {
        struct control_frame *frame = &queue->waiting[i];
        if (!frame->type || (queue->unanswered && is_answered(frame->type)))
            continue;
        queue->leaving = *frame;
        queue->sent = 0;
        queue->unanswered = queue->unanswered || is_answered(frame->type);
        *frame = no_frame;
        return true;
    }
    return false;
}

/* Calls sendmsg once. Returns the bytes that left, or -1 with errno. */
static ssize_t send_some(struct control_queue *queue, int fd, struct head *head)
{
    struct control_payload *payload = queue->leaving.payload;
    size_t body_sent = queue->sent > sizeof *head ? queue->sent - sizeof *head : 0;
    size_t head_sent = queue->sent - body_sent;
    struct iovec parts[2] = {
        { (char *)head + head_sent, sizeof *head - head_sent },
        { payload ? payload->bytes + body_sent : NULL, payload ? payload->len - body_sent : 0 },
    };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
    union rights rights;

    if (queue->sent == 0 && queue->leaving.fd_pass >= 0)
        attach_fd(&message, &rights, queue->leaving.fd_pass);
    return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* OK: the frame has left; ERR_AGAIN: not now; ERR_DOWN. */
static enum err send_leaving(struct control_queue *queue, int fd)
{
    struct control_payload *payload = queue->leaving.payload;
    struct head head = { .len = payload ? (uint32_t)payload->len : 0,
                         .type = (uint32_t)queue->leaving.type };

    while (queue->sent < sizeof head + head.len) {
        ssize_t n = send_some(queue, fd, &head);
        if (n >= 0) {
            queue->sent += (size_t)n;
            continue;
        }
        if (errno == EINTR)
            continue;
        queue->blocked = errno == EAGAIN;
        /* Without memory in the kernel the caller's next flush tries again. */
        return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS
                   ? ERR_AGAIN
                   : ERR_DOWN;
    }
    frame_fini(&queue->leaving);
    return OK;
}

enum err control_queue_flush(struct control_queue *queue, int fd)
{
    queue->blocked = false;
    while (queue->leaving.type || take_next(queue)) {
        enum err err = send_leaving(queue, fd);
        if (err)
            return err == ERR_AGAIN ? OK : err;
    }
    return OK;
}

void control_queue_applied(struct control_queue *queue)
{
    queue->unanswered = queue->leaving.type && is_answered(queue->leaving.type);
}

void control_queue_fds(const struct control_queue *queue, int fds[CONTROL_QUEUE_KINDS + 1])
{
    fds[CONTROL_QUEUE_KINDS] = queue->leaving.fd_pass;
    for (size_t i = 0; i < CONTROL_QUEUE_KINDS; i++)
        fds[i] = queue->waiting[i].fd_pass;
}

/* ---- reading ---- */

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

void control_wipe(struct control_reader *reader)
{
    if (reader->taken > sizeof(struct head))
        explicit_bzero(reader->input.data + sizeof(struct head),
                       reader->taken - sizeof(struct head));
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
    if (head->len > CONTROL_BYTES_MAX || head->type < CONTROL_CONFIG || head->type > CONTROL_RELOAD)
        return ERR_BAD;
    return reader->input.len - sizeof *head >= head->len ? OK : ERR_AGAIN;
}

/* Makes room for the whole frame that has begun. The bytes may hold secrets, so they move to a
 * larger block by hand: realloc would leave a copy in the block that it frees. */
static enum err reserve_frame(struct control_reader *reader)
{
    struct buf *input = &reader->input, larger;
    struct head head;
    enum err err;

    if (!peek_head(reader, &head) || input->size >= sizeof head + head.len + READ_BYTES)
        return OK;
    buf_init(&larger, input->size_max);
    err = buf_reserve(&larger, sizeof head + head.len + READ_BYTES);
    if (err)
        return err;
    buf_add(&larger, input->data, input->len);
    explicit_bzero(input->data, input->len);
    buf_fini(input);
    *input = larger;
    return OK;
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

/* Calls recvmsg once. ERR_AGAIN when the socket is empty. */
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
        if (err == ERR_AGAIN)
            err = reserve_frame(reader);
        if (err == OK || err == ERR_AGAIN)
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
