/* What a single string value must look like. Pure: no file, no clock, no report. */
#ifndef CONFIG_CHECKS_H
#define CONFIG_CHECKS_H

#include <stdbool.h>

bool check_listen(const char *text);         /* an item of listen (listen.h) */
bool check_program(const char *text);        /* a name without slashes, an absolute path, or "" */
bool check_network(const char *text);        /* an address, ADDRESS/BITS, or "unix" (ip.h) */
bool check_proxy_protocol(const char *text); /* off or required */
bool check_path(const char *text);           /* of a request target; may end in "*" */
bool check_health_path(const char *text);    /* the same without "*", or "" */
bool check_origin(const char *text); /* scheme://host[:port] as a browser sends it (RFC 6454 6.2) */
bool check_cookie(const char *text); /* a cookie's name (RFC 6265 4.1.1: a token), or "" */
bool check_prefix(const char *text); /* of Redis keys */
bool check_node(const char *text);
bool check_level(const char *text);
bool check_durability(const char *text);
bool check_full(const char *text);
bool check_addresses(const char *text);
bool check_pattern(const char *text); /* an address that may speak, or a prefix of some and '*' */
bool check_kid(const char *text);
bool check_claim(const char *text);         /* a claim's name, and none that means something else */
bool check_grant_pattern(const char *text); /* of user addresses, as in a token */
bool check_group_pattern(const char *text); /* of groups, likewise; "*" is any group */
bool check_env_name(const char *text);

#endif
