/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The answering side of the overlay peer protocol, user records: bodies to gateway_hold.h and
 * gateway_watch.h, and back. */
#ifndef P2PSIP_GATEWAY_SERVE_RECORDS_H
#define P2PSIP_GATEWAY_SERVE_RECORDS_H

#include "dht-gateway/gateway.h"
#include "lib/proto/opp_records.h"

bool gw_serve_is_records(const struct p2p_opp_path *path);
/* A POST by the member `from`. 0: *text (the caller's to free, also after a failure) is the answer.
 * EBADMSG, EMSGSIZE: no such body. ENOMEM. */
int gw_serve_records(struct gw *gw, const struct p2p_opp_path *path, const struct p2p_hit *from,
		     const char *body, size_t bodylen, char **text, size_t *len);

#endif
