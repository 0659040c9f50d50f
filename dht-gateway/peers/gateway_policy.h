/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this peer is willing to use with another one: [transport] of the settings, and where
 * Kamailio is reached. */
#ifndef P2PSIP_GATEWAY_POLICY_H
#define P2PSIP_GATEWAY_POLICY_H

#include "dht-gateway/gateway.h"
#include "lib/model/negotiate.h"

/* What [transport] says; a list of none: it says nothing about it. */
struct gw_policy {
	uint8_t n_signallings, n_families, n_medias;
	uint8_t signalling[P2P_OFFER_SIGNALLINGS_MAX];
	uint8_t family[P2P_OFFER_FAMILIES_MAX];
	uint8_t media[P2P_OFFER_MEDIAS_MAX];
};

/* Words separated by space, of one key: "signalling", "family", "media". EINVAL: a word that is not
 * known, or twice, or another key; none at all. */
int gw_policy_words(struct gw_policy *policy, const char *key, const char *words);
/* "<HIT> signalling=tls family=ipv6 ipv4 media=srtp-dtls": whom it is for, and what it says. */
int gw_policy_peer(const char *text, struct p2p_hit *hit, struct gw_policy *policy);

/* Our offer to a peer. What nothing is said about: signalling tls where the overlay is enrolled and
 * Kamailio has such an address, then udp, tcp; all families, IPv4 first; all media, rtp first. */
void gw_policy_offer(const struct gw *gw, const struct p2p_hit *hit, struct p2p_offer *offer);

#endif
