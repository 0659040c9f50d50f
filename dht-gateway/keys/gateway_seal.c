/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/keys/gateway_seal.h"
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "lib/base/bytes.h"

#define KEY_LEN 32
static const char what[] = "p2psip-seal"; /* its NUL is hashed too */

/* The key of one seal. head: the ephemeral key, or the salt. */
static int seal_key(uint8_t out[KEY_LEN], const void *shared, size_t sharedlen,
		    const struct p2p_overlay_id *overlay, const struct p2p_key *key,
		    const struct p2p_hit *peer, const void *head, size_t headlen,
		    const struct p2p_crypto *crypto)
{
	uint8_t msg[sizeof(what) + P2P_OVERLAY_ID_LEN + P2P_KEY_LEN + P2P_HIT_LEN + P2P_PUBKEY_LEN];
	struct p2p_writer w;

	p2p_writer_init(&w, msg, sizeof(msg));
	p2p_write(&w, what, sizeof(what));
	p2p_write(&w, overlay->b, sizeof(overlay->b));
	p2p_write(&w, key->b, sizeof(key->b));
	p2p_write(&w, peer->b, sizeof(peer->b));
	p2p_write(&w, head, headlen);
	return crypto->hmac_sha256(crypto->arg, shared, sharedlen, msg, w.len, out);
}

/* Each key seals one thing: the nonce may be all zeros. */
static int cipher(bool seal, const uint8_t key[KEY_LEN], const uint8_t *in, size_t len,
		  uint8_t *out, uint8_t *tag)
{
	static const uint8_t nonce[12];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n, err = EIO;

	if (!ctx)
		return ENOMEM;
	if (len > INT_MAX ||
	    EVP_CipherInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, nonce, seal) != 1)
		goto out;
	if (!seal && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, GW_SEAL_TAG, tag) != 1)
		goto out;
	if (EVP_CipherUpdate(ctx, out, &n, in, (int)len) != 1)
		goto out;
	if (EVP_CipherFinal_ex(ctx, out + n, &n) != 1) {
		err = seal ? EIO : EBADMSG;
		goto out;
	}
	if (seal && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, GW_SEAL_TAG, tag) != 1)
		goto out;
	err = 0;
out:
	if (err && !seal)
		OPENSSL_cleanse(out, len);
	EVP_CIPHER_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

static int ecdh(EVP_PKEY *own, EVP_PKEY *other, uint8_t shared[32])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
	size_t n = 32;
	int err = EIO;

	if (!ctx)
		return ENOMEM;
	if (EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, other) == 1 &&
	    EVP_PKEY_derive(ctx, shared, &n) == 1 && n == 32)
		err = 0;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

int gw_seal_peer(uint8_t *out, const void *plain, size_t len, const struct p2p_overlay_id *overlay,
		 const struct p2p_key *key, const uint8_t peer[P2P_PUBKEY_LEN],
		 const struct p2p_crypto *crypto)
{
	EVP_PKEY *own = NULL, *other = NULL;
	uint8_t shared[32], k[KEY_LEN];
	struct p2p_hit hit;
	int err;

	err = gw_crypto_public(peer, &other);
	if (err)
		return err == EBADMSG ? EINVAL : err;
	err = p2p_hit_from_pubkey(&hit, peer, crypto);
	if (err)
		goto out;
	own = EVP_EC_gen("P-256");
	err = own ? gw_crypto_pubkey(own, out) : EIO;
	if (!err)
		err = ecdh(own, other, shared);
	if (!err)
		err = seal_key(k, shared, sizeof(shared), overlay, key, &hit, out, P2P_PUBKEY_LEN,
			       crypto);
	if (!err)
		err = cipher(true, k, plain, len, out + P2P_PUBKEY_LEN, out + P2P_PUBKEY_LEN + len);
out:
	OPENSSL_cleanse(shared, sizeof(shared));
	OPENSSL_cleanse(k, sizeof(k));
	EVP_PKEY_free(own);
	EVP_PKEY_free(other);
	ERR_clear_error();
	return err;
}

int gw_seal_peer_open(uint8_t *out, const void *sealed, size_t len,
		      const struct p2p_overlay_id *overlay, const struct p2p_key *key,
		      EVP_PKEY *identity, const struct p2p_crypto *crypto)
{
	const uint8_t *p = sealed;
	uint8_t shared[32], k[KEY_LEN], pubkey[P2P_PUBKEY_LEN], tag[GW_SEAL_TAG];
	EVP_PKEY *other = NULL;
	struct p2p_hit hit;
	int err;

	if (len < GW_SEAL_PEER_EXTRA)
		return EBADMSG;
	err = gw_crypto_pubkey(identity, pubkey);
	if (!err)
		err = p2p_hit_from_pubkey(&hit, pubkey, crypto);
	if (!err)
		err = gw_crypto_public(p, &other);
	if (!err)
		err = ecdh(identity, other, shared);
	if (!err)
		err = seal_key(k, shared, sizeof(shared), overlay, key, &hit, p, P2P_PUBKEY_LEN,
			       crypto);
	if (!err) {
		memcpy(tag, p + len - GW_SEAL_TAG, GW_SEAL_TAG);
		err = cipher(false, k, p + P2P_PUBKEY_LEN, len - GW_SEAL_PEER_EXTRA, out, tag);
	}
	OPENSSL_cleanse(shared, sizeof(shared));
	OPENSSL_cleanse(k, sizeof(k));
	EVP_PKEY_free(other);
	return err;
}

static const struct p2p_hit any;

int gw_seal_any(uint8_t *out, const void *plain, size_t len, const struct p2p_overlay_id *overlay,
		const struct p2p_key *key, const void *secret, size_t secretlen,
		const struct p2p_crypto *crypto)
{
	uint8_t k[KEY_LEN];
	int err = gw_crypto_random(out, GW_SEAL_SALT);

	if (!err)
		err = seal_key(k, secret, secretlen, overlay, key, &any, out, GW_SEAL_SALT, crypto);
	if (!err)
		err = cipher(true, k, plain, len, out + GW_SEAL_SALT, out + GW_SEAL_SALT + len);
	OPENSSL_cleanse(k, sizeof(k));
	return err;
}

int gw_seal_any_open(uint8_t *out, const void *sealed, size_t len,
		     const struct p2p_overlay_id *overlay, const struct p2p_key *key,
		     const void *secret, size_t secretlen, const struct p2p_crypto *crypto)
{
	uint8_t k[KEY_LEN], tag[GW_SEAL_TAG];
	const uint8_t *p = sealed;
	int err;

	if (len < GW_SEAL_ANY_EXTRA)
		return EBADMSG;
	err = seal_key(k, secret, secretlen, overlay, key, &any, p, GW_SEAL_SALT, crypto);
	if (!err) {
		memcpy(tag, p + len - GW_SEAL_TAG, GW_SEAL_TAG);
		err = cipher(false, k, p + GW_SEAL_SALT, len - GW_SEAL_ANY_EXTRA, out, tag);
	}
	OPENSSL_cleanse(k, sizeof(k));
	return err;
}
