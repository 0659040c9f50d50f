/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/key.h"

#include <errno.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/name.h"

static int derive(void *out, size_t outlen, const void *secret, size_t secretlen, uint8_t kind,
		  const void *name, size_t len, const struct p2p_crypto *crypto)
{
	uint8_t msg[1 + P2P_NAME_MAX], mac[32];
	int err;

	if (secretlen < P2P_SECRET_MIN || secretlen > P2P_SECRET_MAX || len == 0 ||
	    len > P2P_NAME_MAX)
		return EINVAL;
	msg[0] = kind;
	memcpy(msg + 1, name, len);
	err = crypto->hmac_sha256(crypto->arg, secret, secretlen, msg, 1 + len, mac);
	if (err == 0)
		memcpy(out, mac, outlen);
	return err;
}

int p2p_key_make(struct p2p_key *key, const void *secret, size_t secretlen,
		 enum p2p_record_kind kind, const void *name, size_t len,
		 const struct p2p_crypto *crypto)
{
	if (kind < P2P_RECORD_USER || kind > P2P_RECORD_REVOCATION)
		return EINVAL;
	return derive(key->b, sizeof(key->b), secret, secretlen, (uint8_t)kind, name, len, crypto);
}

int p2p_key_make_hit(struct p2p_key *key, const void *secret, size_t secretlen,
		     enum p2p_record_kind kind, const struct p2p_hit *hit,
		     const struct p2p_crypto *crypto)
{
	return p2p_key_make(key, secret, secretlen, kind, hit->b, sizeof(hit->b), crypto);
}

int p2p_overlay_id_make(struct p2p_overlay_id *id, const void *secret, size_t secretlen,
			const struct p2p_crypto *crypto)
{
	static const char what[] = "overlay-id";

	return derive(id->b, sizeof(id->b), secret, secretlen, 0, what, sizeof(what) - 1, crypto);
}

int p2p_overlay_id_enrolled(struct p2p_overlay_id *id, const uint8_t authority[P2P_PUBKEY_LEN],
			    const struct p2p_crypto *crypto)
{
	static const char what[] = "p2psip-overlay";
	uint8_t msg[1 + P2P_PUBKEY_LEN] = {0}, mac[32];
	int err;

	memcpy(msg + 1, authority, P2P_PUBKEY_LEN);
	err = crypto->hmac_sha256(crypto->arg, what, sizeof(what) - 1, msg, sizeof(msg), mac);
	if (err == 0)
		memcpy(id->b, mac, sizeof(id->b));
	return err;
}

int p2p_overlay_id_parse(struct p2p_overlay_id *id, const char *text, size_t len)
{
	return p2p_hex_parse(id->b, sizeof(id->b), text, len);
}

void p2p_overlay_id_print(const struct p2p_overlay_id *id, char text[2 * P2P_OVERLAY_ID_LEN + 1])
{
	p2p_hex_print(text, id->b, sizeof(id->b));
}
