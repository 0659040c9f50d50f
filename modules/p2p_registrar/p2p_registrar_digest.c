// SPDX-License-Identifier: GPL-2.0-or-later
#include "p2p_registrar_digest.h"

#include <errno.h>
#include <string.h>

#include "core/crypto/md5.h"
#include "core/crypto/sha256.h"
#include "lib/base/bytes.h"

struct hash {
	enum p2p_digest digest;
	union {
		MD5_CTX md5;
		SHA256_CTX sha256;
	};
};

static void hash_init(struct hash *h, enum p2p_digest digest)
{
	h->digest = digest;
	if (digest == P2P_DIGEST_MD5)
		MD5Init(&h->md5);
	else
		sr_SHA256_Init(&h->sha256);
}

static void hash_add(struct hash *h, const void *s, size_t len)
{
	if (h->digest == P2P_DIGEST_MD5)
		U_MD5Update(&h->md5, s, len);
	else
		sr_SHA256_Update(&h->sha256, s, len);
}

/* In hexadecimal; how many digits. */
static size_t hash_end(struct hash *h, char hex[2 * P2P_HA1_SHA256_LEN + 1])
{
	uint8_t raw[P2P_HA1_SHA256_LEN];
	size_t len = h->digest == P2P_DIGEST_MD5 ? P2P_HA1_MD5_LEN : P2P_HA1_SHA256_LEN;

	if (h->digest == P2P_DIGEST_MD5)
		U_MD5Final(raw, &h->md5);
	else
		sr_SHA256_Final(raw, &h->sha256);
	p2p_hex_print(hex, raw, len);
	return 2 * len;
}

static bool word_is(const str *s, const char *word)
{
	return s->len == (int)strlen(word) && strncasecmp(s->s, word, (size_t)s->len) == 0;
}

static int digest_of(const dig_cred_t *cred, enum p2p_digest *digest)
{
	const str *alg = &cred->alg.alg_str;

	if (alg->s == NULL || alg->len == 0 || word_is(alg, "MD5"))
		*digest = P2P_DIGEST_MD5;
	else if (word_is(alg, "SHA-256"))
		*digest = P2P_DIGEST_SHA256;
	else
		return ENOTSUP; /* -sess, SHA-512-256: not asked for */
	return 0;
}

static void part(struct p2p_writer *w, const str *s)
{
	p2p_write_u8(w, ':');
	if (s != NULL && s->len > 0)
		p2p_write(w, s->s, (size_t)s->len);
}

int reg_digest_take(struct reg_digest *out, const dig_cred_t *cred, const str *method,
		    uint8_t digests)
{
	char ha2[2 * P2P_HA1_SHA256_LEN + 1];
	struct reg_digest d;
	struct p2p_writer w;
	struct hash h;
	size_t len;
	int i;

	if (digest_of(cred, &d.digest) != 0 || (digests & d.digest) == 0)
		return ENOTSUP;
	if (cred->qop.qop_parsed != QOP_UNSPEC && cred->qop.qop_parsed != QOP_AUTH)
		return EINVAL;
	hash_init(&h, d.digest);
	hash_add(&h, method->s, (size_t)method->len);
	hash_add(&h, ":", 1);
	hash_add(&h, cred->uri.s, (size_t)cred->uri.len);
	len = hash_end(&h, ha2);
	if (cred->response.len != (int)len)
		return EINVAL;
	for (i = 0; i < (int)len; i++)
		d.response[i] = p2p_lower(cred->response.s[i]);
	p2p_writer_init(&w, d.tail, sizeof(d.tail));
	part(&w, &cred->nonce);
	if (cred->qop.qop_parsed == QOP_AUTH) {
		part(&w, &cred->nc);
		part(&w, &cred->cnonce);
		part(&w, &cred->qop.qop_str);
	}
	p2p_write_u8(&w, ':');
	p2p_write(&w, ha2, len);
	if (w.full)
		return EINVAL;
	d.len = (uint16_t)w.len;
	*out = d;
	return 0;
}

bool reg_digest_check(const struct reg_digest *d, const struct p2p_auth *auth, const char *realm,
		      char *hex)
{
	char ha1[2 * P2P_HA1_SHA256_LEN + 1], response[2 * P2P_HA1_SHA256_LEN + 1];
	static const uint8_t nobodys[P2P_HA1_SHA256_LEN];
	size_t at, len = d->digest == P2P_DIGEST_MD5 ? P2P_HA1_MD5_LEN : P2P_HA1_SHA256_LEN, i;
	const uint8_t *secret = nobodys;
	unsigned char differs = 0;
	bool known = auth->enrolled && strcmp(auth->realm, realm) == 0 &&
		     p2p_digests_find(auth->digests, d->digest, &at, &len) == 0;
	struct hash h;

	if (known)
		secret = auth->ha1 + at;
	p2p_hex_print(ha1, secret, len);
	hash_init(&h, d->digest);
	hash_add(&h, ha1, 2 * len);
	hash_add(&h, d->tail, d->len);
	len = hash_end(&h, response);
	/* as long for each wrong one */
	for (i = 0; i < len; i++)
		differs |= (unsigned char)(response[i] ^ d->response[i]);
	if (hex != NULL && known && differs == 0)
		memcpy(hex, ha1, len + 1);
	explicit_bzero(ha1, sizeof(ha1));
	explicit_bzero(&h, sizeof(h));
	return known && differs == 0;
}
