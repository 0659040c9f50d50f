/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A peer about itself. */
#include "lib/proto/opp.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/key.h"
#include "lib/proto/opp_impl.h"

int p2p_opp_version_choose(const unsigned int *theirs, size_t n, unsigned int *version)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (theirs[i] == P2P_OPP_VERSION) {
			*version = P2P_OPP_VERSION;
			return 0;
		}
	}
	return EPROTONOSUPPORT;
}

int p2p_opp_peer_encode(const struct p2p_opp_peer *peer, char *buf, size_t cap, size_t *len)
{
	char hit[P2P_HIT_TEXT_MAX], overlay[2 * P2P_OVERLAY_ID_LEN + 1];
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	if (peer->n_versions == 0 || peer->n_uris > P2P_OPP_LIST_MAX ||
	    !p2p_opp_printable(peer->software, sizeof(peer->software)))
		return EINVAL;
	p2p_hit_print(&peer->hit, hit);
	p2p_overlay_id_print(&peer->overlay, overlay);
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"versions\":");
	if (p2p_opp_put_versions(&t, peer->version, peer->n_versions) != 0)
		return EINVAL;
	p2p_text_add(&t, ",\"hit\":\"%s\",\"overlay\":\"%s\",\"epoch\":\"%" PRIu64 "\"", hit,
		     overlay, peer->epoch);
	if (peer->software[0] != '\0') {
		p2p_text_add(&t, ",\"software\":");
		p2p_opp_put_string(&t, peer->software);
	}
	p2p_text_add(&t, ",");
	if (p2p_opp_put_uris(&t, peer->uri, peer->n_uris) != 0)
		return EINVAL;
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_peer_decode(struct p2p_opp_peer *out, const char *text, size_t len)
{
	struct p2p_opp_peer peer = {0};
	json_object *o;
	const char *s;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = p2p_opp_get_versions(o, peer.version, &peer.n_versions);
	if (err == 0)
		err = p2p_opp_get_hit(o, &peer.hit);
	if (err == 0)
		err = p2p_opp_get_uris(o, peer.uri, &peer.n_uris);
	if (err != 0)
		goto out;
	err = EBADMSG;
	s = p2p_opp_get_string(o, "overlay", 2 * P2P_OVERLAY_ID_LEN + 1);
	if (s == NULL || p2p_overlay_id_parse(&peer.overlay, s, strlen(s)) != 0)
		goto out;
	if (p2p_opp_get_u64(o, "epoch", &peer.epoch) != 0)
		goto out;
	s = p2p_opp_get_string(o, "software", sizeof(peer.software));
	if (s != NULL && p2p_opp_printable(s, sizeof(peer.software)))
		strcpy(peer.software, s);
	*out = peer;
	err = 0;
out:
	json_object_put(o);
	return err;
}
