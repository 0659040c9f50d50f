/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Those who wait until what is wished of a user is known where others look for it. */
#ifndef P2PSIP_GATEWAY_CONFIRM_H
#define P2PSIP_GATEWAY_CONFIRM_H

#include "dht-gateway/gateway.h"

struct gw_confirms;

/* 0; ETIMEDOUT: not by the deadline; EBUSY: too many wait. */
typedef void gw_confirm_h(int err, void *arg);

int gw_confirms_new(struct gw_confirms **cp, struct gw *gw);
/* Those who wait are told ETIMEDOUT. */
void gw_confirms_free(struct gw_confirms *c);
/* h is called once: at the next gw_confirms_told of this name, or after deadline_ms; with EBUSY
 * at once. */
void gw_confirms_wait(struct gw_confirms *c, const char *name, size_t len, uint64_t deadline_ms,
		      gw_confirm_h *h, void *arg);
/* The state that is wished is confirmed. */
void gw_confirms_told(struct gw_confirms *c, const char *name, size_t len);
size_t gw_confirms_count(const struct gw_confirms *c);

#endif
