/*
 * What a test makes for itself does not fail: the Makefile sends the calls of these functions that
 * stand in a test, and not in the product, to the functions here.
 */
#include "tests/torture/torture.h"

#include "common/msg.h"
#include "shm/sessions.h"
#include "worker/io/loop.h"
#include "worker/token/token.h"

struct msg *spared_msg_make(size_t len, enum msg_kind kind, int level);
struct msg *spared_msg_new(struct slice payload, enum msg_kind kind, int level);
struct loop *spared_loop_new(void);
struct sessions_writer *spared_sessions_writer_new(struct region *region, uint32_t slot);
struct grant *spared_grant_default(struct slice sub);

struct msg *spared_msg_make(size_t len, enum msg_kind kind, int level)
{
    bool before = torture_pause();
    struct msg *msg = msg_make(len, kind, level);

    torture_resume(before);
    return msg;
}

struct msg *spared_msg_new(struct slice payload, enum msg_kind kind, int level)
{
    bool before = torture_pause();
    struct msg *msg = msg_new(payload, kind, level);

    torture_resume(before);
    return msg;
}

struct loop *spared_loop_new(void)
{
    bool before = torture_pause();
    struct loop *loop = loop_new();

    torture_resume(before);
    return loop;
}

struct sessions_writer *spared_sessions_writer_new(struct region *region, uint32_t slot)
{
    bool before = torture_pause();
    struct sessions_writer *writer = sessions_writer_new(region, slot);

    torture_resume(before);
    return writer;
}

struct grant *spared_grant_default(struct slice sub)
{
    bool before = torture_pause();
    struct grant *grant = grant_default(sub);

    torture_resume(before);
    return grant;
}
