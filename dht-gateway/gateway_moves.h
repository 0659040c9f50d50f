/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A phone (by its +sip.instance) of a user served here that has registered at another peer since:
 * the modules are told, and drop the binding that it has left behind. */
#ifndef P2PSIP_GATEWAY_MOVES_H
#define P2PSIP_GATEWAY_MOVES_H

#include "dht-gateway/gateway.h"
#include "lib/model/userset.h"

/* The records of a name are `now`, and were old. Told is only of a phone that is new in a record of
 * a peer that is alive and a member, later than the first of ours with our phones: a record that is
 * signed again is no move, and what we have been asked to publish and have not signed yet is later
 * than all. */
void gw_moves_look(struct gw *gw, const char *name, size_t len, const struct p2p_userset_entry *old,
		   unsigned int n_old, const struct p2p_userset *now);

#endif
