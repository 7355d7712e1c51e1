/* Any bytes as a frame from another worker: the parts of an accepted frame lie within its bytes,
 * and encoding the frame again gives the same bytes. */
#include "worker/reach/bus.h"

#include <stdlib.h>

enum { RECIPIENTS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static bool within(struct slice part, struct slice whole)
{
    return part.data >= whole.data && part.len <= whole.len &&
           part.data + part.len <= whole.data + whole.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_make(data, size), recipients[RECIPIENTS_MAX];
    struct bus_frame frame;
    struct buf again;

    static struct bus_position positions[RECIPIENTS_MAX];

    if (bus_decode(bytes, recipients, positions, RECIPIENTS_MAX, &frame))
        return 0;
    if (frame.kind == BUS_HELLO)
        require(within(frame.place, bytes));
    if (frame.kind == BUS_STORED && frame.skip_device.data)
        require(within(frame.skip_device, bytes));
    if (frame.kind == BUS_DELIVER || frame.kind == BUS_STORED) {
        require(frame.recipient_count >= 1 && frame.recipient_count <= RECIPIENTS_MAX);
        for (size_t i = 0; i < frame.recipient_count; i++)
            require(within(frame.recipients[i], bytes));
        require(within(frame.body, bytes));
    }
    buf_init(&again, 1 << 24);
    require(bus_encode(&again, &frame) == OK);
    require(slice_equal(buf_slice(&again), bytes));
    buf_fini(&again);
    return 0;
}
