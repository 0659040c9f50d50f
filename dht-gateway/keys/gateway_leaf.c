/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/keys/gateway_leaf.h"
#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/keys/gateway_file.h"

#define PEM_MAX 8192
#define FILE_MODE 0640
#define DIR_MODE 0750

static int path_of(const struct gw_leaf_config *c, const char *name, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/%s", c->dir, name) >= PATH_MAX ? ENAMETOOLONG : 0;
}

static int file_write(const struct gw_leaf_config *c, const char *name, const char *s, size_t len)
{
	char path[PATH_MAX];
	int err = path_of(c, name, path);

	return err ? err : gw_file_replace_mode(path, s, len, FILE_MODE, c->group);
}

static int folder_make(const struct gw_leaf_config *c)
{
	int err = gw_file_mkdir(c->dir);

	if (!err && (chmod(c->dir, DIR_MODE) ||
		     (c->group != (gid_t)-1 && chown(c->dir, (uid_t)-1, c->group))))
		err = errno;
	return err;
}

/* --- the key -----------------------------------------------------------------------------------
 */

static EVP_PKEY *key_load(const struct gw_leaf_config *c)
{
	char path[PATH_MAX], pem[PEM_MAX];
	EVP_PKEY *key = NULL;
	BIO *bio = NULL;
	size_t len;

	if (!path_of(c, GW_LEAF_KEY, path) && !gw_file_read(path, pem, sizeof(pem), &len))
		bio = BIO_new_mem_buf(pem, (int)len);
	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
	BIO_free(bio);
	OPENSSL_cleanse(pem, sizeof(pem));
	ERR_clear_error();
	return key;
}

static int key_make(const struct gw_leaf_config *c, EVP_PKEY **kp)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_secmem());
	int err = ENOMEM;
	char *pem;
	long len;

	if (key && bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 &&
	    (len = BIO_get_mem_data(bio, &pem)) > 0)
		err = file_write(c, GW_LEAF_KEY, pem, (size_t)len);
	BIO_free(bio);
	ERR_clear_error();
	if (err)
		EVP_PKEY_free(key);
	else
		*kp = key;
	return err;
}

/* --- the certificates --------------------------------------------------------------------------
 */

/* The n-th certificate of a file; NULL: there is none. */
static X509 *cert_load(const struct gw_leaf_config *c, const char *name, unsigned int n)
{
	char path[PATH_MAX], pem[PEM_MAX];
	X509 *cert = NULL;
	BIO *bio = NULL;
	size_t len;

	if (!path_of(c, name, path) && !gw_file_read(path, pem, sizeof(pem), &len))
		bio = BIO_new_mem_buf(pem, (int)len);
	for (unsigned int i = 0; bio && i <= n; i++) {
		X509_free(cert);
		cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		if (!cert)
			break;
	}
	BIO_free(bio);
	ERR_clear_error();
	return cert;
}

static bool same(const struct gw_leaf_config *c, const char *name, unsigned int n, X509 *want)
{
	X509 *cert = cert_load(c, name, n);
	bool ok = cert && !X509_cmp(cert, want);

	X509_free(cert);
	return ok;
}

/* When a new one would end. */
static int64_t end_of(const struct gw_leaf_config *c)
{
	int64_t own = c->now_s + c->days * 86400, peer = gw_cert_until(c->peer);

	return own < peer ? own : peer;
}

static bool good(const struct gw_leaf_config *c, EVP_PKEY *key)
{
	X509 *leaf = cert_load(c, GW_LEAF_CERT, 0);
	bool ok = leaf && EVP_PKEY_eq(X509_get0_pubkey(leaf), key) == 1 &&
		  same(c, GW_LEAF_CERT, 1, c->peer) && same(c, GW_LEAF_CA, 0, c->authority);

	if (ok && gw_cert_until(leaf) - c->now_s < c->days * 86400 / 3)
		ok = end_of(c) <= gw_cert_until(leaf); /* no better one can be made */
	if (ok && gw_cert_from(leaf) > c->now_s)
		ok = false;
	X509_free(leaf);
	ERR_clear_error();
	return ok;
}

static int certs_make(const struct gw_leaf_config *c, EVP_PKEY *key)
{
	X509 *chain[2] = {NULL, c->peer};
	char pem[PEM_MAX];
	size_t len;
	int err = gw_cert_print(&c->authority, 1, pem, sizeof(pem), &len);

	if (!err)
		err = file_write(c, GW_LEAF_CA, pem, len);
	if (!err)
		err = gw_cert_make_leaf(&chain[0], key, c->hit, c->peer, c->peer_key,
					c->now_s - GW_CERT_BEFORE_S, end_of(c));
	if (!err)
		err = gw_cert_print(chain, 2, pem, sizeof(pem), &len);
	if (!err)
		err = file_write(c, GW_LEAF_CERT, pem, len);
	X509_free(chain[0]);
	return err;
}

int gw_leaf_update(const struct gw_leaf_config *c, bool *changed, char *err, size_t errlen)
{
	EVP_PKEY *key = NULL;
	int ret = folder_make(c);

	*changed = false;
	if (!ret) {
		key = key_load(c);
		if (!key)
			ret = key_make(c, &key);
	}
	if (!ret && !good(c, key)) {
		ret = certs_make(c, key);
		*changed = !ret;
	}
	EVP_PKEY_free(key);
	if (ret)
		snprintf(err, errlen, "%s: Kamailio's certificate cannot be written: %s", c->dir,
			 strerror(ret));
	return ret;
}
