/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/io/https_tls.h"
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of certificates that the other side may send. */
#define CERTS_MAX 8192

struct expect {
	const struct p2p_crypto *crypto;
	https_tls_check_h *check;
	void *arg;
	void (*free_arg)(void *arg);
};

static int key_hit(EVP_PKEY *key, const struct p2p_crypto *crypto, struct p2p_hit *hit)
{
	char group[32] = "";
	uint8_t point[65];
	size_t len = 0;

	if (!key || !EVP_PKEY_is_a(key, "EC") ||
	    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
					   NULL) != 1 ||
	    strcmp(group, "prime256v1") ||
	    EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point),
					    &len) != 1)
		return EINVAL;
	if (len == P2P_PUBKEY_LEN)
		return p2p_hit_from_pubkey(hit, point, crypto);
	if (len != sizeof(point) || point[0] != POINT_CONVERSION_UNCOMPRESSED)
		return EINVAL;
	return p2p_hit_from_point(hit, point + 1, crypto->sha384);
}

int https_tls_hit(X509 *cert, const struct p2p_crypto *crypto, struct p2p_hit *hit)
{
	int err = key_hit(X509_get0_pubkey(cert), crypto, hit);

	ERR_clear_error();
	return err;
}

bool https_tls_current(X509 *cert)
{
	return X509_cmp_current_time(X509_get0_notBefore(cert)) < 0 &&
	       X509_cmp_current_time(X509_get0_notAfter(cert)) > 0;
}

int https_tls_setup(SSL_CTX *ctx, const struct https_identity *identity)
{
	SSL_CTX_set_options(ctx,
			    SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(ctx, CERTS_MAX);
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_num_tickets(ctx, 0) != 1 ||
	    SSL_CTX_use_certificate(ctx, identity->cert) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, identity->key) != 1) {
		ERR_clear_error();
		return EINVAL;
	}
	return 0;
}

/* The key alone counts: that the other side has it, TLS itself proves. */
static int on_verify(X509_STORE_CTX *store, void *arg)
{
	const struct expect *e = arg;
	X509 *cert = X509_STORE_CTX_get0_cert(store);
	struct p2p_hit hit;

	if (cert && !https_tls_hit(cert, e->crypto, &hit) &&
	    (e->check ? e->check(cert, &hit, e->arg) : https_tls_current(cert))) {
		X509_STORE_CTX_set_error(store, X509_V_OK);
		return 1;
	}
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

static void expect_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	struct expect *e = ptr;

	(void)parent;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;
	if (!e)
		return;
	if (e->free_arg)
		e->free_arg(e->arg);
	free(e);
}

static int expect_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, expect_free);
	return index;
}

int https_tls_expect(SSL_CTX *ctx, const struct p2p_crypto *crypto, https_tls_check_h *check,
		     void *arg, void (*free_arg)(void *arg))
{
	int index = expect_index();
	struct expect *e = calloc(1, sizeof(*e));

	if (!e || index < 0 || SSL_CTX_set_ex_data(ctx, index, e) != 1) {
		free(e);
		return ENOMEM;
	}
	*e = (struct expect){.crypto = crypto, .check = check, .arg = arg, .free_arg = free_arg};
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, on_verify, e);
	return 0;
}
