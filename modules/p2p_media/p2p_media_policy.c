/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a new call is anchored. In-dialog requests follow what was decided then. */
#include <string.h>
#include <strings.h>
#include "core/dset.h"
#include "core/ip_addr.h"
#include "core/parser/parse_uri.h"
#include "modules/p2p_media/p2p_media.h"

static bool same_address(const str *host, const struct ip_addr *ip)
{
	struct ip_addr *a;
	struct ip_addr copy;

	a = str2ip((str *)host);
	if (a == NULL)
		a = str2ip6((str *)host);
	if (a == NULL)
		return true; /* a name: says nothing */
	copy = *a;
	return ip_addr_cmp(&copy, (struct ip_addr *)ip) != 0;
}

/* Is the phone that sent this behind a NAT: do its Via (RFC 3261 section 18.2.1) or its media name
 * another address than the one it came from? */
static bool sender_natted(struct sip_msg *msg, const struct p2p_media_sdp *sdp)
{
	str media;

	if (msg->via1 != NULL && !same_address(&msg->via1->host, &msg->rcv.src_ip))
		return true;
	if (sdp == NULL || sdp->address[0] == '\0')
		return false;
	media.s = (char *)sdp->address;
	media.len = (int)strlen(sdp->address);
	/* a media address apart from the signalling one is fine, unless the Internet does not
	 * know it while it does know the sender's */
	if (same_address(&media, &msg->rcv.src_ip))
		return false;
	return p2p_media_address_private(sdp->address) &&
	       !p2p_media_address_private(ip_addr2a(&msg->rcv.src_ip));
}

/* Is the phone that this branch goes to behind a NAT: is it reached at another address than its
 * contact says (usrloc's `received`, nathelper's alias)? */
static bool target_natted(struct sip_msg *msg)
{
	struct sip_uri ruri, dst;
	str *uri = GET_RURI(msg);
	flag_t flags = 0;

	if (p2p_media_config.nat_bflag >= 0) {
		getbflagsval(0, &flags);
		if (flags & ((flag_t)1 << p2p_media_config.nat_bflag))
			return true;
	}
	if (uri == NULL || parse_uri(uri->s, uri->len, &ruri) < 0)
		return false;
	if (ruri.params.len >= 6 && memmem(ruri.params.s, (size_t)ruri.params.len, "alias=", 6))
		return true;
	/* only of registered contacts: elsewhere the next hop is what the script said */
	if (msg->ruid.len == 0 || msg->dst_uri.len == 0 || msg->path_vec.len > 0 ||
	    parse_uri(msg->dst_uri.s, msg->dst_uri.len, &dst) < 0)
		return false;
	return ruri.host.len != dst.host.len ||
	       strncasecmp(ruri.host.s, dst.host.s, (size_t)ruri.host.len) != 0;
}

bool p2p_media_policy_wants(struct sip_msg *msg, const struct p2p_media_sdp *sdp, bool from_overlay,
			    bool to_overlay)
{
	switch (p2p_media_config.anchor) {
	case P2P_MEDIA_ALWAYS:
		return true;
	case P2P_MEDIA_NEVER:
		return false;
	case P2P_MEDIA_NAT:
		break;
	}
	return (!from_overlay && sender_natted(msg, sdp)) || (!to_overlay && target_natted(msg));
}
