/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/keys/gateway_authority.h"
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/keys/gateway_identity.h"
#include "lib/proto/key.h"

/* The authority's key is the overlay's name: there is no other to go on with. */
#define AUTHORITY_DAYS (30 * 365)
#define PEM_MAX 4096

struct gw_authority {
	struct gw_identity *key; /* a P-256 key in a 0600 file, like a Host Identity */
	struct gw_anchor anchor;
};

static int join(char path[PATH_MAX], const char *dir, const char *name)
{
	return snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX ? ENAMETOOLONG : 0;
}

int gw_anchor_init(struct gw_anchor *anchor, X509 *cert)
{
	struct p2p_crypto crypto;
	struct gw_anchor a = {.cert = cert};
	int err;

	gw_crypto_init(&crypto, NULL);
	err = gw_cert_check_authority(cert, &crypto, &a.overlay);
	if (!err)
		err = gw_crypto_pubkey(X509_get0_pubkey(cert), a.pubkey);
	if (!err)
		err = p2p_hit_from_pubkey(&a.hit, a.pubkey, &crypto);
	if (!err)
		*anchor = a;
	return err;
}

int gw_anchor_load(struct gw_anchor *anchor, const char *path, char *err, size_t errlen)
{
	X509 *cert;
	int ret = gw_cert_load(&cert, path, err, errlen);

	if (ret)
		return ret;
	ret = gw_anchor_init(anchor, cert);
	if (ret) {
		snprintf(err, errlen, "%s: no certificate of an overlay's authority", path);
		X509_free(cert);
	}
	return ret;
}

void gw_anchor_clear(struct gw_anchor *anchor)
{
	X509_free(anchor->cert);
	memset(anchor, 0, sizeof(*anchor));
}

int gw_authority_create(const char *dir, int64_t now_s, char *err, size_t errlen)
{
	char path[PATH_MAX], cert_path[PATH_MAX], pem[PEM_MAX];
	struct p2p_overlay_id overlay;
	struct gw_identity *key = NULL;
	X509 *cert = NULL;
	size_t len;
	int ret = gw_file_mkdir(dir);

	if (ret) {
		snprintf(err, errlen, "%s: %s", dir, strerror(ret));
		return ret;
	}
	ret = join(path, dir, GW_AUTHORITY_KEY);
	if (ret) {
		snprintf(err, errlen, "%s: %s", dir, strerror(ret));
		return ret;
	}
	ret = gw_identity_create(path, err, errlen);
	/* a crash may have left a key alone */
	if (ret == EEXIST && !join(cert_path, dir, GW_AUTHORITY_CERT) && access(cert_path, F_OK) &&
	    errno == ENOENT)
		ret = 0;
	if (!ret)
		ret = gw_identity_load(&key, path, err, errlen);
	if (ret)
		return ret;
	ret = p2p_overlay_id_enrolled(&overlay, gw_identity_pubkey(key), gw_identity_crypto(key));
	if (!ret)
		ret = gw_cert_make_authority(&cert, gw_identity_key(key), &overlay, now_s,
					     AUTHORITY_DAYS);
	if (!ret)
		ret = gw_cert_print(&cert, 1, pem, sizeof(pem), &len);
	if (!ret)
		ret = join(path, dir, GW_AUTHORITY_CERT);
	if (!ret)
		ret = gw_file_replace(path, pem, len);
	if (ret)
		snprintf(err, errlen, "%s: cannot make the authority's certificate: %s", path,
			 strerror(ret));
	X509_free(cert);
	gw_identity_free(key);
	return ret;
}

int gw_authority_load(struct gw_authority **ap, const char *dir, char *err, size_t errlen)
{
	struct gw_authority *a = calloc(1, sizeof(*a));
	char path[PATH_MAX];
	int ret = a ? join(path, dir, GW_AUTHORITY_KEY) : ENOMEM;

	if (ret) {
		snprintf(err, errlen, "%s: %s", dir, strerror(ret));
		free(a);
		return ret;
	}
	ret = gw_identity_load(&a->key, path, err, errlen);
	if (ret)
		goto fail;
	ret = join(path, dir, GW_AUTHORITY_CERT);
	if (!ret)
		ret = gw_anchor_load(&a->anchor, path, err, errlen);
	if (!ret &&
	    memcmp(a->anchor.pubkey, gw_identity_pubkey(a->key), sizeof(a->anchor.pubkey))) {
		snprintf(err, errlen, "%s: the certificate of another key than %s", path,
			 GW_AUTHORITY_KEY);
		ret = EINVAL;
	}
	if (ret == ENOENT)
		ret = EINVAL; /* a key without its certificate is no authority that is not there */
	if (ret)
		goto fail;
	*ap = a;
	return 0;
fail:
	gw_authority_free(a);
	return ret;
}

void gw_authority_free(struct gw_authority *a)
{
	if (!a)
		return;
	gw_identity_free(a->key);
	gw_anchor_clear(&a->anchor);
	free(a);
}

const struct gw_anchor *gw_authority_anchor(const struct gw_authority *a)
{
	return &a->anchor;
}

const struct p2p_crypto *gw_authority_crypto(const struct gw_authority *a)
{
	return gw_identity_crypto(a->key);
}

int gw_authority_issue(const struct gw_authority *a, EVP_PKEY *peer, int64_t from_s,
		       int64_t until_s, X509 **cp)
{
	uint8_t pubkey[P2P_PUBKEY_LEN];
	struct p2p_hit hit;
	int err = gw_crypto_pubkey(peer, pubkey);

	if (!err)
		err = p2p_hit_from_pubkey(&hit, pubkey, gw_authority_crypto(a));
	if (err)
		return err;
	return gw_cert_make_peer(cp, peer, &hit, a->anchor.cert, gw_identity_key(a->key),
				 &a->anchor.overlay, from_s, until_s);
}
