/*
 * The certificates in force, as `status` shows them. The master writes; whoever maps the region
 * reads. Nothing of this is secret.
 */
#ifndef SHM_CERTS_H
#define SHM_CERTS_H

#include "shm/region.h"

#include <stdint.h>

enum { CERTS_MAX = 64, CERT_NAMES_SIZE = 208 };

struct cert_view {
    int64_t ends_s; /* Unix seconds */
    char names[CERT_NAMES_SIZE];
};

/* Master only. At most CERTS_MAX. */
void certs_publish(struct region *region, const struct cert_view *certs, uint32_t count);
/* Returns how many there are, copied into certs. */
uint32_t certs_read(const struct region *region, struct cert_view certs[CERTS_MAX]);

#endif
