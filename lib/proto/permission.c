/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/permission.h"

#include <errno.h>
#include <string.h>

#include "lib/base/bytes.h"

#define ANY_USER 1u
#define ANY_PEER 2u

static const char what[] = "p2psip-permission"; /* its NUL is signed too */

#define SIGNED_LEN (sizeof(what) + P2P_OVERLAY_ID_LEN + 1 + 8 + P2P_KEY_LEN + P2P_HIT_LEN)

static size_t signed_make(uint8_t out[SIGNED_LEN], const struct p2p_overlay_id *overlay,
			  uint8_t scope, uint64_t expiry_ms, const struct p2p_key *user,
			  const struct p2p_hit *peer)
{
	static const uint8_t zeros[P2P_KEY_LEN];
	struct p2p_writer w;

	p2p_writer_init(&w, out, SIGNED_LEN);
	p2p_write(&w, what, sizeof(what));
	p2p_write(&w, overlay->b, sizeof(overlay->b));
	p2p_write_u8(&w, scope);
	p2p_write_be64(&w, expiry_ms);
	p2p_write(&w, (scope & ANY_USER) != 0 ? zeros : user->b, P2P_KEY_LEN);
	p2p_write(&w, (scope & ANY_PEER) != 0 ? zeros : peer->b, P2P_HIT_LEN);
	return w.len;
}

int p2p_permission_sign(uint8_t out[P2P_PERMISSION_LEN], const struct p2p_overlay_id *overlay,
			const struct p2p_key *user, const struct p2p_hit *peer, uint64_t expiry_ms,
			const struct p2p_crypto *crypto)
{
	uint8_t scope = (uint8_t)((user == NULL ? ANY_USER : 0) | (peer == NULL ? ANY_PEER : 0));
	uint8_t msg[SIGNED_LEN], sig[P2P_SIG_LEN];
	size_t len;
	int err;

	if (scope == (ANY_USER | ANY_PEER) || expiry_ms == 0 || crypto->sign == NULL)
		return EINVAL;
	len = signed_make(msg, overlay, scope, expiry_ms, user, peer);
	err = crypto->sign(crypto->arg, msg, len, sig);
	if (err != 0)
		return err;
	p2p_sig_make_low(sig);
	out[0] = scope;
	p2p_put_be64(out + 1, expiry_ms);
	memcpy(out + 9, sig, sizeof(sig));
	return 0;
}

uint64_t p2p_permission_expiry(const void *bytes, size_t len)
{
	return len == P2P_PERMISSION_LEN ? p2p_be64((const uint8_t *)bytes + 1) : 0;
}

enum p2p_record_fault p2p_permission_check(const void *bytes, size_t len,
					   const struct p2p_overlay_id *overlay,
					   const struct p2p_key *user, const struct p2p_hit *peer,
					   const uint8_t authority[P2P_PUBKEY_LEN], uint64_t now_ms,
					   const struct p2p_crypto *crypto)
{
	const uint8_t *p = bytes;
	uint8_t msg[SIGNED_LEN];
	int err;

	if (len == 0)
		return P2P_RECORD_NO_PERMISSION;
	if (len != P2P_PERMISSION_LEN || p[0] > ANY_PEER || !p2p_sig_is_low(p + 9))
		return P2P_RECORD_BAD_PERMISSION;
	err = crypto->verify(crypto->arg, authority, msg,
			     signed_make(msg, overlay, p[0], p2p_be64(p + 1), user, peer), p + 9);
	if (err != 0)
		return err == EBADMSG ? P2P_RECORD_BAD_PERMISSION : P2P_RECORD_UNCHECKED;
	return p2p_be64(p + 1) > now_ms ? P2P_RECORD_OK : P2P_RECORD_OLD_PERMISSION;
}
