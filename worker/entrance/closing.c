#include "worker/entrance/closing.h"

#include "common/address.h"
#include "worker/envelope/postmaster.h"
#include "worker/wire/ws.h"

uint16_t closing_code(int status)
{
    switch (status) {
    case 400:
        return WS_CLOSE_BAD_REQUEST;
    case 401:
        return WS_CLOSE_NO_TOKEN;
    case 403:
        return WS_CLOSE_FORBIDDEN;
    case 404:
        return WS_CLOSE_NOT_FOUND;
    case 429:
    case 503:
        return WS_CLOSE_OVERLOADED;
    default:
        return 0;
    }
}

void closing_answer(struct buf *out, const struct http_upgrade *upgrade,
                    const struct http_refusal *refusal)
{
    bool named = upgrade->client_id.data && address_may_speak(upgrade->client_id);
    uint16_t code = closing_code(refusal->status);
    struct msg *goodbye = postmaster_goodbye(named ? upgrade->client_id : SLICE(""), code,
                                             refusal->message, refusal->retry_after_s * 1000);
    uint8_t head[WS_HEAD_MAX], frame[2 + WS_CONTROL_MAX];

    http_answer_upgrade(out, upgrade->key, upgrade->offers_v1 ? "postoffice.v1" : NULL, NULL);
    if (goodbye) { /* without memory for it, the close frame still has the code */
        buf_add(out, head, ws_encode_head(head, WS_TEXT, goodbye->len));
        buf_add_slice(out, msg_slice(goodbye));
        msg_unref(goodbye);
    }
    buf_add(out, frame, ws_encode_close(frame, code, slice_of(refusal->message)));
}
