/*
 * The codes of WebSocket close frames that the server sends or understands: those of RFC 6455
 * 7.4.1 and the registry of its section 11.7, and from 4000 on PostOffice's own (docs/protocol.md,
 * section 7.4).
 *
 * Below 4500 a client shall connect again, from 4500 on it shall not. 4400 to 4404 refuse a
 * connection that asked to be refused so, and say what its HTTP status would have said: the client
 * shall not connect again as it is.
 */
#ifndef COMMON_CLOSE_CODE_H
#define COMMON_CLOSE_CODE_H

enum {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001, /* the server stops, or the peer was silent */
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NO_STATUS = 1005, /* a close frame without a code; never sent */
    WS_CLOSE_BAD_DATA = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_INTERNAL = 1011,
    WS_CLOSE_RESTARTING = 1012, /* this worker is replaced by a new one */
    WS_CLOSE_OVERLOADED = 1013,
    WS_CLOSE_DRAINING = 4000, /* this worker leaves, the server stays */
    WS_CLOSE_TOKEN_EXPIRED = 4001,
    WS_CLOSE_TOO_SLOW = 4002,
    WS_CLOSE_BAD_REQUEST = 4400,
    WS_CLOSE_NO_TOKEN = 4401, /* or a bad one */
    WS_CLOSE_FORBIDDEN = 4403,
    WS_CLOSE_NOT_FOUND = 4404,
    WS_CLOSE_REPLACED = 4500, /* by a newer session */
    WS_CLOSE_REVOKED = 4501,
    WS_CLOSE_ADMIN = 4502,
    WS_CLOSE_ERRORS = 4503,
};

#endif
