/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificates for Kamailio's TLS in the system tests, in the form that an enrolled peer has them:
 *
 *   tlscerts AUTHORITY-DIR IDENTITY.PEM OUT-DIR [FROM-S UNTIL-S]
 *
 * makes the authority if there is none, issues the peer's certificate and a leaf with a new key,
 * and writes sip-key.pem, sip-ca.pem and sip-cert.pem. FROM and UNTIL are seconds from now, for the
 * leaf. */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/keys/gateway_identity.h"

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "tlscerts: %s: %s\n", what, why);
	return 1;
}

static int file_put(const char *dir, const char *name, const void *s, size_t len)
{
	char path[512];
	int err;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	err = gw_file_replace(path, s, len);
	return err ? fail(path, strerror(err)) : 0;
}

static int certs_put(const char *dir, const char *name, X509 *const *cert, size_t n)
{
	char text[8192];
	size_t len;
	int err = gw_cert_print(cert, n, text, sizeof(text), &len);

	return err ? fail(name, strerror(err)) : file_put(dir, name, text, len);
}

static int key_put(const char *dir, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;
	int ret = 1;

	if (bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
		len = BIO_get_mem_data(bio, &text);
		ret = file_put(dir, "sip-key.pem", text, (size_t)len);
	}
	BIO_free(bio);
	return ret;
}

int main(int argc, char **argv)
{
	long from = argc > 5 ? strtol(argv[4], NULL, 10) : -3600;
	long until = argc > 5 ? strtol(argv[5], NULL, 10) : 30L * 24 * 3600;
	int64_t now = (int64_t)time(NULL), year = 365L * 24 * 3600;
	struct gw_authority *authority = NULL;
	struct gw_identity *identity = NULL;
	X509 *peer = NULL, *leaf = NULL, *chain[2];
	EVP_PKEY *key;
	char err[256] = "";
	int e, ret = 1;

	if (argc != 4 && argc != 6)
		return fail("usage", "AUTHORITY-DIR IDENTITY.PEM OUT-DIR [FROM-S UNTIL-S]");
	e = gw_authority_create(argv[1], now, err, sizeof(err));
	if (e && e != EEXIST)
		return fail(argv[1], err);
	if (gw_authority_load(&authority, argv[1], err, sizeof(err)) ||
	    gw_identity_load(&identity, argv[2], err, sizeof(err))) {
		fail("keys", err);
		goto out;
	}
	key = EVP_EC_gen("P-256");
	if (!key ||
	    gw_authority_issue(authority, gw_identity_key(identity), now - year, now + year,
			       &peer) ||
	    gw_cert_make_leaf(&leaf, key, gw_identity_hit(identity), peer,
			      gw_identity_key(identity), now + from, now + until)) {
		fail("certificates", "cannot be made");
		goto out;
	}
	chain[0] = leaf;
	chain[1] = peer;
	X509 *ca = gw_authority_anchor(authority)->cert;
	ret = key_put(argv[3], key) || certs_put(argv[3], "sip-ca.pem", &ca, 1) ||
	      certs_put(argv[3], "sip-cert.pem", chain, 2);
	EVP_PKEY_free(key);
out:
	X509_free(leaf);
	X509_free(peer);
	gw_identity_free(identity);
	gw_authority_free(authority);
	return ret;
}
