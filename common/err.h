/*
 * What a function that can meet ordinary trouble returns. OK is zero.
 *
 * Trouble (a peer, the network, a limit, the system) is returned and logged once, where something
 * is decided about it. Our own mistakes are asserts.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

enum err {
    OK = 0,
    ERR_AGAIN,  /* not enough input yet; call again with more */
    ERR_FULL,   /* a named limit is reached */
    ERR_NOMEM,  /* the system gave no memory */
    ERR_SYSTEM, /* a system call failed; errno says how */
    ERR_BAD,    /* the input is not what it must be */
    ERR_ABSENT, /* the thing that was asked for is not there */
    ERR_DOWN,   /* the other side (Redis, a worker, the master) is away */
    ERR_EXISTS, /* the thing is there already, or somebody else holds it */
};

/* Returns a static name such as "full". */
const char *err_name(enum err err);

#endif
