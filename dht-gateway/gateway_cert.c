/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_cert.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>

/* The other side's clock may be wrong by a day, and we may run for long. */
#define BEFORE_S (24 * 3600)
#define AFTER_DAYS 3650

int gw_cert_make(X509 **cp, EVP_PKEY *key, const char *hit_text)
{
	X509 *cert = X509_new();
	uint8_t serial[16];
	BIGNUM *bn = NULL;
	X509_NAME *name;
	int err = ENOMEM;

	if (!cert || RAND_bytes(serial, sizeof(serial)) != 1)
		goto out;
	serial[0] &= 0x7f;
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	name = X509_get_subject_name(cert);
	if (!bn || !BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) ||
	    X509_set_version(cert, X509_VERSION_3) != 1 ||
	    !X509_gmtime_adj(X509_getm_notBefore(cert), -BEFORE_S) ||
	    !X509_time_adj_ex(X509_getm_notAfter(cert), AFTER_DAYS, 0, NULL) ||
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)hit_text,
				       -1, -1, 0) != 1 ||
	    X509_set_issuer_name(cert, name) != 1)
		goto out;
	err = EINVAL;
	if (X509_set_pubkey(cert, key) != 1 || !X509_sign(cert, key, EVP_sha256()))
		goto out;
	*cp = cert;
	cert = NULL;
	err = 0;
out:
	BN_free(bn);
	X509_free(cert);
	ERR_clear_error();
	return err;
}
