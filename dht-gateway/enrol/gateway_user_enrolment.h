/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The authority's work for users, at the peer whose gateway has the authority's folder
 * ([overlay] authority_dir): enrolment records are made from what the folder keeps, signed with its
 * key, which is read for each task and dropped after, and put into the DHT. What goes wrong is told
 * in words that an operator can act on. docs/enrolment.md. */
#ifndef P2PSIP_GATEWAY_USER_ENROLMENT_H
#define P2PSIP_GATEWAY_USER_ENROLMENT_H

#include "dht-gateway/gateway.h"
#include "dht-gateway/enrol/gateway_user_enrolment_file.h"

enum gw_enrol_what {
	GW_ENROL_ADD,	 /* a user: digests and HA1s, and where: peers, or any */
	GW_ENROL_PASSWD, /* other HA1s */
	GW_ENROL_REMOVE,
	GW_ENROL_ALLOW,	     /* at one peer more, or at any */
	GW_ENROL_DENY,	     /* at one less, or not at any */
	GW_ENROL_PEER_ALLOW, /* a peer may serve any user */
	GW_ENROL_PEER_DENY,
	GW_ENROL_RULES,	  /* realm, digests, permission_required */
	GW_ENROL_REFRESH, /* sign all anew */
};

struct gw_enrol_order {
	enum gw_enrol_what what;
	struct gw_enrolled user; /* as much of it as what needs; the peers' public keys are found */
	struct gw_enrolled_rules rules; /* realm "", digests 0: as they are */
	bool keep_permission;
};

/* err 0: done, and other peers have the records (or there are none). EINPROGRESS: done, but the DHT
 * has not taken them all yet: they are put until it has. Else nothing has changed; text says why.
 */
typedef void gw_enrol_h(int err, const char *text, void *arg);
/* h is called once, now or later, within some seconds. */
void gw_enrol_order(struct gw *gw, const struct gw_enrol_order *order, gw_enrol_h *h, void *arg);

/* At start, where the authority is here: an order that was interrupted, or whose records this
 * gateway has lost, is carried to its end. */
void gw_enrol_resume(struct gw *gw);
/* The overlay has a new secret: all is signed anew, where the authority is here. */
void gw_enrol_rekeyed(struct gw *gw);

#endif
