/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header by which a member of a closed overlay proves that it is one. */
#include "lib/proto/opp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/opp_impl.h"

static int member_mac(uint8_t mac[32], const void *secret, size_t secretlen,
		      const struct p2p_overlay_id *overlay, const struct p2p_hit *caller,
		      const struct p2p_hit *callee, uint64_t ms, const struct p2p_crypto *crypto)
{
	static const char label[] = "p2psip-member"; /* its NUL too */
	uint8_t msg[sizeof(label) + P2P_OVERLAY_ID_LEN + 2 * P2P_HIT_LEN + 8];
	struct p2p_writer w;

	p2p_writer_init(&w, msg, sizeof(msg));
	p2p_write(&w, label, sizeof(label));
	p2p_write(&w, overlay->b, sizeof(overlay->b));
	p2p_write(&w, caller->b, sizeof(caller->b));
	p2p_write(&w, callee->b, sizeof(callee->b));
	p2p_write_be64(&w, ms);
	return crypto->hmac_sha256(crypto->arg, secret, secretlen, msg, w.len, mac);
}

int p2p_opp_member_make(char text[P2P_OPP_MEMBER_MAX], const void *secret, size_t secretlen,
			const struct p2p_overlay_id *overlay, const struct p2p_hit *caller,
			const struct p2p_hit *callee, uint64_t now_ms,
			const struct p2p_crypto *crypto)
{
	uint8_t mac[32];
	char hex[2 * sizeof(mac) + 1];
	int err = member_mac(mac, secret, secretlen, overlay, caller, callee, now_ms, crypto);

	if (err != 0)
		return err;
	p2p_hex_print(hex, mac, sizeof(mac));
	snprintf(text, P2P_OPP_MEMBER_MAX, "%" PRIu64 ":%s", now_ms, hex);
	return 0;
}

int p2p_opp_member_check(const char *text, size_t len, const void *secret, size_t secretlen,
			 const struct p2p_overlay_id *overlay, const struct p2p_hit *caller,
			 const struct p2p_hit *callee, uint64_t now_ms,
			 const struct p2p_crypto *crypto)
{
	const char *colon = memchr(text, ':', len);
	uint8_t mac[32], theirs[32], diff = 0;
	uint64_t ms;
	size_t i;
	int err;

	if (colon == NULL || p2p_u64_parse(&ms, text, (size_t)(colon - text)) != 0 ||
	    p2p_hex_parse(theirs, sizeof(theirs), colon + 1, len - (size_t)(colon + 1 - text)) != 0)
		return EBADMSG;
	if ((ms > now_ms ? ms - now_ms : now_ms - ms) > P2P_OPP_MEMBER_SKEW_MS)
		return ESTALE;
	err = member_mac(mac, secret, secretlen, overlay, caller, callee, ms, crypto);
	if (err != 0)
		return err;
	/* in constant time */
	for (i = 0; i < sizeof(mac); i++)
		diff |= mac[i] ^ theirs[i];
	return diff == 0 ? 0 : EACCES;
}
