/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Client of one rtpengine: requests over UDP with cookies, retransmission, a deadline each, and a
 * bound on how many are under way. rtpengine answers a repeated cookie from its own memory, so a
 * retransmission never does a thing twice. */
#ifndef P2PSIP_RELAY_NG_CLIENT_H
#define P2PSIP_RELAY_NG_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include "relay/ng/ng_msg.h"

struct event_base;
struct ng_client;

struct ng_client_config {
	struct sockaddr_storage addr;
	socklen_t addr_len;
	unsigned int max_pending;   /* 1..65535; more get EBUSY at once */
	unsigned int retransmit_ms; /* before the first repetition; doubles from then on */
};

struct ng_client_stats {
	uint64_t requests, retransmissions, replies, timeouts, refused;
	uint64_t strays;    /* replies to no request of ours: late, or forged */
	uint64_t malformed; /* replies that could not be parsed */
	uint64_t busy;
};

/* err 0: reply is there until this returns. Else reply is NULL: ETIMEDOUT, ECONNREFUSED (nobody
 * listens there), EBADMSG (a reply that cannot be understood), ECANCELED (the client is freed).
 * Called exactly once for each request that ng_client_send took, never from within it. */
typedef void ng_done_h(int err, const struct ng_reply *reply, void *arg);

int ng_client_new(struct ng_client **cp, struct event_base *base,
		  const struct ng_client_config *config);
/* Requests under way end with ECANCELED, in here. */
void ng_client_free(struct ng_client *client);

/* Send; done (may be NULL) is told within deadline_ms. request stays the caller's. EBUSY, EMSGSIZE,
 * ENOMEM, or ECANCELED while the client is being freed: nothing was sent, and done is not called.
 */
int ng_client_send(struct ng_client *client, const struct ng_request *request,
		   unsigned int deadline_ms, ng_done_h *done, void *arg);

unsigned int ng_client_pending(const struct ng_client *client);
void ng_client_stats(const struct ng_client *client, struct ng_client_stats *stats);

#endif
