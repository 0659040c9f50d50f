/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/keys/gateway_cert.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/keys/gateway_file.h"
#include "lib/base/bytes.h"
#include "lib/proto/key.h"

/* Of a self-signed one: the other side's clock may be wrong by a day, and we may run for long. */
#define SELF_DAYS 3650
#define SERIAL_LEN 16
#define PEM_MAX 8192
#define URI_SCHEME "p2psip:overlay:"
#define URI_MAX (sizeof(URI_SCHEME) + 2 * P2P_OVERLAY_ID_LEN)

static void uri_print(const struct p2p_overlay_id *overlay, char text[URI_MAX])
{
	char hex[2 * P2P_OVERLAY_ID_LEN + 1];

	p2p_overlay_id_print(overlay, hex);
	snprintf(text, URI_MAX, URI_SCHEME "%s", hex);
}

/* Everything but extensions and signature. */
static X509 *begin(const char *cn, EVP_PKEY *subject, X509 *issuer, int64_t from_s, int64_t until_s)
{
	X509 *cert = X509_new();
	uint8_t serial[SERIAL_LEN];
	BIGNUM *bn = NULL;
	X509_NAME *name;
	bool ok = false;

	if (!cert || RAND_bytes(serial, sizeof(serial)) != 1)
		goto out;
	/* positive, and never short */
	serial[0] = (serial[0] & 0x7f) | 0x40;
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	name = X509_get_subject_name(cert);
	ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) &&
	     X509_set_version(cert, X509_VERSION_3) == 1 &&
	     ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from_s) &&
	     ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)until_s) &&
	     X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1,
					0) == 1 &&
	     X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name) == 1 &&
	     X509_set_pubkey(cert, subject) == 1;
out:
	BN_free(bn);
	if (ok)
		return cert;
	X509_free(cert);
	return NULL;
}

static bool extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer ? issuer : cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

/* Signed, or freed. */
static int finish(X509 **cp, X509 *cert, EVP_PKEY *signer, bool ok)
{
	if (ok && X509_sign(cert, signer, EVP_sha256())) {
		*cp = cert;
		return 0;
	}
	X509_free(cert);
	ERR_clear_error();
	return EINVAL;
}

int gw_cert_make(X509 **cp, EVP_PKEY *key, const char *hit_text)
{
	int64_t now = (int64_t)time(NULL);
	X509 *cert = begin(hit_text, key, NULL, now - GW_CERT_BEFORE_S, now + SELF_DAYS * 86400ll);

	return finish(cp, cert, key, cert != NULL);
}

int gw_cert_make_authority(X509 **cp, EVP_PKEY *key, const struct p2p_overlay_id *overlay,
			   int64_t now_s, int days)
{
	char uri[URI_MAX], cn[64], san[URI_MAX + 8];
	X509 *cert;

	uri_print(overlay, uri);
	snprintf(cn, sizeof(cn), "overlay %s", uri + sizeof(URI_SCHEME) - 1);
	snprintf(san, sizeof(san), "URI:%s", uri);
	cert = begin(cn, key, NULL, now_s - GW_CERT_BEFORE_S, now_s + days * 86400ll);
	return finish(
		cp, cert, key,
		cert && extend(cert, NULL, NID_basic_constraints, "critical,CA:TRUE,pathlen:1") &&
			extend(cert, NULL, NID_key_usage, "critical,keyCertSign") &&
			extend(cert, NULL, NID_subject_key_identifier, "hash") &&
			extend(cert, NULL, NID_authority_key_identifier, "keyid:always") &&
			extend(cert, NULL, NID_subject_alt_name, san));
}

int gw_cert_make_peer(X509 **cp, EVP_PKEY *peer, const struct p2p_hit *hit, X509 *authority,
		      EVP_PKEY *authority_key, const struct p2p_overlay_id *overlay, int64_t from_s,
		      int64_t until_s)
{
	char text[P2P_HIT_TEXT_MAX], uri[URI_MAX];
	char san[URI_MAX + P2P_HIT_TEXT_MAX + 16], only[P2P_HIT_TEXT_MAX + 80];
	X509 *cert;

	p2p_hit_print(hit, text);
	uri_print(overlay, uri);
	snprintf(san, sizeof(san), "IP:%s,URI:%s", text, uri);
	snprintf(only, sizeof(only),
		 "critical,permitted;IP:%s/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", text);
	cert = begin(text, peer, authority, from_s, until_s);
	return finish(
		cp, cert, authority_key,
		cert &&
			extend(cert, authority, NID_basic_constraints,
			       "critical,CA:TRUE,pathlen:0") &&
			extend(cert, authority, NID_key_usage,
			       "critical,digitalSignature,keyCertSign") &&
			extend(cert, authority, NID_subject_key_identifier, "hash") &&
			extend(cert, authority, NID_authority_key_identifier, "keyid:always") &&
			extend(cert, authority, NID_subject_alt_name, san) &&
			extend(cert, authority, NID_name_constraints, only));
}

int gw_cert_make_leaf(X509 **cp, EVP_PKEY *leaf, const struct p2p_hit *hit, X509 *peer,
		      EVP_PKEY *peer_key, int64_t from_s, int64_t until_s)
{
	char text[P2P_HIT_TEXT_MAX], san[P2P_HIT_TEXT_MAX + 4], cn[P2P_HIT_TEXT_MAX + 4];
	int64_t end = gw_cert_until(peer);
	X509 *cert;

	p2p_hit_print(hit, text);
	snprintf(san, sizeof(san), "IP:%s", text);
	/* not the issuer's name: it would be taken for self-issued */
	snprintf(cn, sizeof(cn), "sip %s", text);
	cert = begin(cn, leaf, peer, from_s, until_s < end ? until_s : end);
	return finish(cp, cert, peer_key,
		      cert && extend(cert, peer, NID_basic_constraints, "critical,CA:FALSE") &&
			      extend(cert, peer, NID_key_usage, "critical,digitalSignature") &&
			      extend(cert, peer, NID_ext_key_usage, "serverAuth,clientAuth") &&
			      extend(cert, peer, NID_subject_key_identifier, "hash") &&
			      extend(cert, peer, NID_authority_key_identifier, "keyid:always") &&
			      extend(cert, peer, NID_subject_alt_name, san));
}

/* --- judging -----------------------------------------------------------------------------------
 */

const char *gw_cert_fault_text(enum gw_cert_fault fault)
{
	switch (fault) {
	case GW_CERT_OK:
		return "its certificate is good";
	case GW_CERT_NONE:
		return "it has no certificate of this overlay's authority";
	case GW_CERT_OVERLAY:
		return "its certificate is of another overlay";
	case GW_CERT_ISSUER:
		return "its certificate was not signed by this overlay's authority";
	case GW_CERT_EARLY:
		return "its certificate is not valid yet: its clock, or ours";
	case GW_CERT_EXPIRED:
		return "its certificate has expired";
	case GW_CERT_KEY:
		return "its certificate names the HIT of another key";
	case GW_CERT_FORM:
		return "its certificate is not that of a peer";
	case GW_CERT_REVOKED:
		return "it was revoked";
	}
	return "?";
}

static int64_t seconds(const ASN1_TIME *t)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm);
}

int64_t gw_cert_from(const X509 *cert)
{
	return seconds(X509_get0_notBefore(cert));
}

int64_t gw_cert_until(const X509 *cert)
{
	return seconds(X509_get0_notAfter(cert));
}

static int pubkey_of(X509 *cert, uint8_t pubkey[P2P_PUBKEY_LEN])
{
	EVP_PKEY *key = X509_get0_pubkey(cert);
	int err = key ? gw_crypto_pubkey(key, pubkey) : EINVAL;

	ERR_clear_error();
	return err;
}

int gw_cert_hit(X509 *cert, const struct p2p_crypto *crypto, struct p2p_hit *hit)
{
	uint8_t pubkey[P2P_PUBKEY_LEN];
	int err = pubkey_of(cert, pubkey);

	return err ? err : p2p_hit_from_pubkey(hit, pubkey, crypto);
}

struct names {
	unsigned int ips, uris, others;
	struct p2p_hit hit;
	bool overlay; /* one of the URIs is this overlay's */
	bool foreign; /* one is another overlay's */
};

static void names_read(X509 *cert, const struct p2p_overlay_id *overlay, struct names *n)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	char want[URI_MAX];

	memset(n, 0, sizeof(*n));
	uri_print(overlay, want);
	for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
		int type, len;
		const ASN1_STRING *s = GENERAL_NAME_get0_value(name, &type);
		const unsigned char *p;

		if (type != GEN_IPADD && type != GEN_URI) {
			n->others++;
			continue;
		}
		p = ASN1_STRING_get0_data(s);
		len = ASN1_STRING_length(s);
		if (type == GEN_IPADD) {
			n->ips++;
			if (len == P2P_HIT_LEN)
				memcpy(n->hit.b, p, P2P_HIT_LEN);
			else
				n->others++;
			continue;
		}
		n->uris++;
		if ((size_t)len == strlen(want) && !memcmp(p, want, (size_t)len))
			n->overlay = true;
		else if ((size_t)len > sizeof(URI_SCHEME) - 1 &&
			 !memcmp(p, URI_SCHEME, sizeof(URI_SCHEME) - 1))
			n->foreign = true;
	}
	GENERAL_NAMES_free(all);
}

/* Does it limit what it issues to its own HIT? */
static bool constrained(X509 *cert, const struct p2p_hit *hit)
{
	int critical = -1;
	NAME_CONSTRAINTS *nc = X509_get_ext_d2i(cert, NID_name_constraints, &critical, NULL);
	bool ok = false;

	if (nc && critical == 1 && sk_GENERAL_SUBTREE_num(nc->permittedSubtrees) == 1) {
		const GENERAL_NAME *base = sk_GENERAL_SUBTREE_value(nc->permittedSubtrees, 0)->base;
		uint8_t want[2 * P2P_HIT_LEN];

		memcpy(want, hit->b, P2P_HIT_LEN);
		memset(want + P2P_HIT_LEN, 0xff, P2P_HIT_LEN);
		ok = base->type == GEN_IPADD &&
		     ASN1_STRING_length(base->d.iPAddress) == (int)sizeof(want) &&
		     !memcmp(ASN1_STRING_get0_data(base->d.iPAddress), want, sizeof(want));
	}
	NAME_CONSTRAINTS_free(nc);
	return ok;
}

static bool has_form(X509 *cert, const struct names *names)
{
	const uint32_t usage = KU_DIGITAL_SIGNATURE | KU_KEY_CERT_SIGN;

	return (X509_get_extension_flags(cert) & (EXFLAG_INVALID | EXFLAG_CA | EXFLAG_KUSAGE)) ==
		       (EXFLAG_CA | EXFLAG_KUSAGE) &&
	       X509_get_pathlen(cert) == 0 && X509_get_key_usage(cert) == usage &&
	       names->ips == 1 && names->uris == 1 && !names->others &&
	       constrained(cert, &names->hit);
}

/* 1, or an error of OpenSSL's (X509_V_ERR_...). */
static int chain(X509 *cert, X509 *authority, int64_t now_s)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int ret = X509_V_ERR_OUT_OF_MEM;

	if (store && ctx && X509_STORE_add_cert(store, authority) == 1 &&
	    X509_STORE_CTX_init(ctx, store, cert, NULL) == 1) {
		X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

		X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
		X509_VERIFY_PARAM_set_depth(param, 0);
		ret = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return ret;
}

enum gw_cert_fault gw_cert_check_peer(X509 *cert, X509 *authority,
				      const struct p2p_overlay_id *overlay, int64_t now_s,
				      const struct p2p_crypto *crypto, struct p2p_hit *hit)
{
	struct names names;
	struct p2p_hit own;
	int ret;

	if (gw_cert_hit(cert, crypto, &own))
		return GW_CERT_KEY;
	*hit = own;
	names_read(cert, overlay, &names);
	if (names.foreign)
		return GW_CERT_OVERLAY;
	if (!names.overlay)
		return GW_CERT_NONE;
	ret = chain(cert, authority, now_s);
	switch (ret) {
	case X509_V_OK:
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return GW_CERT_EARLY;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return GW_CERT_EXPIRED;
	default:
		return GW_CERT_ISSUER;
	}
	if (!has_form(cert, &names))
		return GW_CERT_FORM;
	if (p2p_hit_cmp(&names.hit, &own))
		return GW_CERT_KEY;
	return GW_CERT_OK;
}

int gw_cert_check_authority(X509 *cert, const struct p2p_crypto *crypto,
			    struct p2p_overlay_id *overlay)
{
	uint8_t pubkey[P2P_PUBKEY_LEN];
	struct p2p_overlay_id id;
	struct names names;

	if (pubkey_of(cert, pubkey) || p2p_overlay_id_enrolled(&id, pubkey, crypto))
		return EINVAL;
	names_read(cert, &id, &names);
	if (!names.overlay || names.foreign || names.ips || names.others ||
	    (X509_get_extension_flags(cert) & (EXFLAG_INVALID | EXFLAG_CA | EXFLAG_KUSAGE)) !=
		    (EXFLAG_CA | EXFLAG_KUSAGE) ||
	    !(X509_get_key_usage(cert) & KU_KEY_CERT_SIGN) ||
	    X509_verify(cert, X509_get0_pubkey(cert)) != 1) {
		ERR_clear_error();
		return EINVAL;
	}
	*overlay = id;
	return 0;
}

/* --- text --------------------------------------------------------------------------------------
 */

int gw_cert_print(X509 *const *cert, size_t n, char *buf, size_t cap, size_t *len)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int err = bio ? 0 : ENOMEM;
	char *text;
	long have;

	for (size_t i = 0; !err && i < n; i++)
		if (PEM_write_bio_X509(bio, cert[i]) != 1)
			err = ENOMEM;
	if (!err) {
		have = BIO_get_mem_data(bio, &text);
		if (have < 0 || (size_t)have >= cap) {
			err = EMSGSIZE;
		} else {
			memcpy(buf, text, (size_t)have);
			buf[have] = 0;
			*len = (size_t)have;
		}
	}
	BIO_free(bio);
	ERR_clear_error();
	return err;
}

int gw_cert_parse(X509 **cp, const char *pem, size_t len)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	if (!cert)
		return EINVAL;
	*cp = cert;
	return 0;
}

int gw_cert_load(X509 **cp, const char *path, char *err, size_t errlen)
{
	char pem[PEM_MAX];
	size_t len;
	int ret = gw_file_read(path, pem, sizeof(pem), &len);

	if (ret) {
		snprintf(err, errlen, "%s: %s", path, strerror(ret));
		return ret;
	}
	ret = gw_cert_parse(cp, pem, len);
	if (ret)
		snprintf(err, errlen, "%s: no certificate in PEM", path);
	return ret;
}

int gw_cert_base64(X509 *cert, char *buf, size_t cap)
{
	uint8_t der[GW_CERT_DER_MAX], *p = der;
	int len = i2d_X509(cert, NULL);

	if (len <= 0 || len > (int)sizeof(der) || cap < 4 * ((size_t)len + 2) / 3 + 4)
		return EMSGSIZE;
	len = i2d_X509(cert, &p);
	EVP_EncodeBlock((unsigned char *)buf, der, len);
	return 0;
}

int gw_cert_parse_base64(X509 **cp, const char *text, size_t len)
{
	uint8_t der[GW_CERT_DER_MAX + 4];
	const uint8_t *p = der;
	X509 *cert;
	int n, pad = 0;

	if (!len || len % 4 || len / 4 * 3 > sizeof(der))
		return EINVAL;
	while (pad < 2 && text[len - 1 - (size_t)pad] == '=')
		pad++;
	n = EVP_DecodeBlock(der, (const unsigned char *)text, (int)len);
	if (n < 0)
		return EINVAL;
	n -= pad;
	cert = d2i_X509(NULL, &p, n);
	ERR_clear_error();
	if (!cert)
		return EINVAL;
	if (p != der + n) {
		X509_free(cert);
		return EINVAL;
	}
	*cp = cert;
	return 0;
}
