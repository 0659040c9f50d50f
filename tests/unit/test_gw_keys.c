/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host Identities, overlay secrets, and the files they are in; the cryptography behind lib/proto.
 */
#include "tests/unit/test.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/keys/gateway_identity.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/engine/gateway_names.h"
#include "dht-gateway/keys/gateway_secret.h"

static char dir[] = "/tmp/gwkeys.XXXXXX";
static char path[128];

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

static const char *at(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void test_identity(void **state)
{
	struct gw_identity *a, *b;
	char err[512], text[P2P_HIT_TEXT_MAX];
	const struct p2p_crypto *c;
	struct p2p_hit hit;
	uint8_t sig[P2P_SIG_LEN];
	struct stat st;

	(void)state;
	umask(0);
	assert_ok(gw_identity_create(at("id"), err, sizeof(err)));
	assert_ok(stat(path, &st));
	assert_int_equal(st.st_mode & 07777, 0600);
	/* never over one that is there */
	assert_int_equal(gw_identity_create(path, err, sizeof(err)), EEXIST);
	assert_ok(gw_identity_load(&a, path, err, sizeof(err)));
	assert_ok(gw_identity_load(&b, path, err, sizeof(err)));
	assert_int_equal(p2p_hit_cmp(gw_identity_hit(a), gw_identity_hit(b)), 0);
	p2p_hit_print(gw_identity_hit(a), text);
	assert_ok(p2p_hit_parse(&hit, text, strlen(text)));
	/* suite 2 in the HIT: 2001:22: */
	assert_int_equal(hit.b[3] & 0x0f, P2P_HIT_SUITE_ECDSA_SHA384);

	c = gw_identity_crypto(a);
	assert_ok(c->sign(c->arg, "message", 7, sig));
	assert_ok(c->verify(c->arg, gw_identity_pubkey(b), "message", 7, sig));
	assert_int_equal(c->verify(c->arg, gw_identity_pubkey(b), "massage", 7, sig), EBADMSG);
	sig[40] ^= 1;
	assert_int_equal(c->verify(c->arg, gw_identity_pubkey(b), "message", 7, sig), EBADMSG);
	memset(sig, 0, sizeof(sig));
	assert_int_equal(c->verify(c->arg, gw_identity_pubkey(b), "message", 7, sig), EBADMSG);
	gw_identity_free(a);
	gw_identity_free(b);
	unlink(path);
}

static void test_identity_refused(void **state)
{
	static const char *const bad[] = {
		"", "no key", ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")};
	struct gw_identity *id;
	char err[512];
	EVP_PKEY *other;
	FILE *f;

	(void)state;
	assert_int_equal(gw_identity_load(&id, at("none"), err, sizeof(err)), ENOENT);
	assert_non_null(strstr(err, "none"));
	assert_ok(gw_identity_create(at("id"), err, sizeof(err)));
	assert_ok(chmod(path, 0640));
	assert_int_equal(gw_identity_load(&id, path, err, sizeof(err)), EPERM);
	assert_non_null(strstr(err, "0640"));
	unlink(path);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_ok(gw_file_create(at("id"), bad[i], strlen(bad[i])));
		assert_int_equal(gw_identity_load(&id, path, err, sizeof(err)), EINVAL);
		unlink(path);
	}
	/* a key of another curve */
	other = EVP_EC_gen("P-384");
	f = fopen(at("id"), "w");
	assert_int_equal(PEM_write_PKCS8PrivateKey(f, other, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
	EVP_PKEY_free(other);
	assert_ok(chmod(path, 0600));
	assert_int_equal(gw_identity_load(&id, path, err, sizeof(err)), EINVAL);
	unlink(path);
	/* a link to somewhere, a folder */
	assert_ok(symlink("/etc/passwd", at("link")));
	assert_int_equal(gw_identity_load(&id, path, err, sizeof(err)), ELOOP);
	unlink(path);
	assert_int_equal(gw_identity_load(&id, dir, err, sizeof(err)), EPERM);
}

static void test_points(void **state)
{
	struct p2p_crypto c;
	uint8_t key[P2P_PUBKEY_LEN], xy[64], sig[P2P_SIG_LEN] = {1};
	struct p2p_hit hit;

	(void)state;
	gw_crypto_init(&c, NULL);
	assert_null(c.sign);
	memset(key, 0, sizeof(key));
	assert_int_equal(c.point(c.arg, key, xy), EINVAL);
	key[0] = 2;
	memset(key + 1, 0xff, 32); /* x beyond the field */
	assert_int_equal(c.point(c.arg, key, xy), EINVAL);
	assert_int_not_equal(p2p_hit_from_pubkey(&hit, key, &c), 0);
	assert_int_equal(c.verify(c.arg, key, "m", 1, sig), EBADMSG);
}

static void test_secret(void **state)
{
	struct gw_secret a, b;
	struct p2p_overlay_id ida, idb;
	struct p2p_crypto c;
	char err[512];
	struct stat st;

	(void)state;
	gw_crypto_init(&c, NULL);
	assert_ok(gw_secret_create(at("secret"), err, sizeof(err)));
	assert_ok(stat(path, &st));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(gw_secret_create(path, err, sizeof(err)), EEXIST);
	assert_ok(gw_secret_load(&a, path, err, sizeof(err)));
	assert_int_equal(a.len, 32);
	assert_ok(chmod(path, 0604));
	assert_int_equal(gw_secret_load(&b, path, err, sizeof(err)), EPERM);
	unlink(path);
	assert_ok(gw_secret_create(at("secret"), err, sizeof(err)));
	assert_ok(gw_secret_load(&b, path, err, sizeof(err)));
	unlink(path);
	assert_memory_not_equal(a.b, b.b, 32);
	assert_ok(p2p_overlay_id_make(&ida, a.b, a.len, &c));
	assert_ok(p2p_overlay_id_make(&idb, b.b, b.len, &c));
	assert_memory_not_equal(&ida, &idb, sizeof(ida));
	assert_int_not_equal(gw_secret_network(&ida), 0);
	memset(&ida, 0, sizeof(ida));
	assert_int_not_equal(gw_secret_network(&ida), 0);
}

static void test_secret_text(void **state)
{
	static const struct {
		const char *text;
		int err;
		size_t len;
	} cases[] = {
		{"00112233445566778899aabbccddeeff", 0, 16},
		{"00112233445566778899aabbccddeeff\n", 0, 16},
		{"00112233445566778899AABBCCDDEEFF", 0, 16},
		{"ABEiM0RVZneImaq7zN3u/w==", 0, 16}, /* base64 of the same */
		{"ABEiM0RVZneImaq7zN3u_w", 0, 16},
		{"00112233445566778899aabbccddee", EINVAL, 0}, /* 15 bytes, and 22 of base64 */
		{"", EINVAL, 0},
		{"\n", EINVAL, 0},
		{"not a secret at all, is it?", EINVAL, 0},
		{"AAAAAAAAAAAAAAAAAAAAA", EINVAL, 0},
	};
	struct gw_secret s;
	char big[200];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&s, 0, sizeof(s));
		/* 30 hexadecimal digits are 15 bytes: too short, whatever base64 would make of it
		 */
		assert_int_equal(gw_secret_parse(&s, cases[i].text, strlen(cases[i].text)),
				 cases[i].err);
		if (!cases[i].err) {
			assert_int_equal(s.len, cases[i].len);
			assert_int_equal(s.b[15], 0xff);
		}
	}
	memset(big, 'a', sizeof(big));
	assert_int_equal(gw_secret_parse(&s, big, 130), EINVAL);
	assert_ok(gw_secret_parse(&s, big, 128));
}

static void test_files(void **state)
{
	char buf[16], err[64];
	size_t len;

	(void)state;
	assert_ok(gw_file_replace(at("f"), "one", 3));
	assert_ok(gw_file_replace(at("f"), "two!", 4));
	assert_ok(gw_file_read(path, buf, sizeof(buf), &len));
	assert_int_equal(len, 4);
	assert_string_equal(buf, "two!");
	assert_int_equal(gw_file_read(path, buf, 4, &len), EFBIG);
	/* a left-over of a crash is no obstacle */
	assert_ok(gw_file_create(at("f.new"), "x", 1));
	assert_ok(gw_file_replace(at("f"), "three", 5));
	assert_int_equal(access(at("f.new"), F_OK), -1);
	unlink(at("f"));
	assert_int_equal(gw_file_replace("/nonexistent/f", "x", 1), ENOENT);
	assert_int_equal(gw_file_read_secret(dir, buf, sizeof(buf), &len, err, sizeof(err)), EPERM);
	assert_ok(gw_file_mkdir(at("d")));
	assert_ok(gw_file_mkdir(path));
	rmdir(path);
	assert_ok(gw_file_create(at("d"), "", 0));
	assert_int_equal(gw_file_mkdir(path), ENOTDIR);
	unlink(path);
}

static unsigned int dropped;

static void on_drop(void *value, void *arg)
{
	(void)value;
	(void)arg;
	dropped++;
}

static void count_one(const void *key, size_t len, void *value, void *arg)
{
	(void)key;
	(void)len;
	(void)value;
	++*(unsigned int *)arg;
}

static void test_map(void **state)
{
	struct gw_map *m;
	int v[8];
	uint64_t cursor = 0;
	unsigned int n = 0;

	(void)state;
	assert_ok(gw_map_new(&m, 3, true, on_drop, NULL));
	assert_ok(gw_map_put(m, "a", 1, &v[0]));
	assert_ok(gw_map_put(m, "b", 1, &v[1]));
	assert_ok(gw_map_put(m, "c", 1, &v[2]));
	assert_ptr_equal(gw_map_get(m, "a", 1), &v[0]);
	assert_ok(gw_map_put(m, "d", 1, &v[3])); /* b goes */
	assert_int_equal(dropped, 1);
	assert_null(gw_map_get(m, "b", 1));
	assert_ptr_equal(gw_map_peek(m, "c", 1), &v[2]);
	assert_ptr_equal(gw_map_oldest(m), &v[2]);
	assert_ok(gw_map_put(m, "c", 1, &v[4]));
	assert_int_equal(dropped, 2);
	assert_int_equal(gw_map_count(m), 3);
	assert_ptr_equal(gw_map_take(m, "c", 1), &v[4]);
	assert_int_equal(dropped, 2);
	assert_int_equal(gw_map_del(m, "c", 1), ENOENT);
	gw_map_scan(m, &cursor, 1, count_one, &n);
	assert_int_equal(n, 1);
	assert_int_not_equal(cursor, 0);
	gw_map_scan(m, &cursor, 5, count_one, &n);
	assert_int_equal(n, 2);
	assert_int_equal(cursor, 0);
	assert_int_equal(gw_map_put(m, "", 0, &v[0]), EINVAL);
	gw_map_free(m);
	assert_int_equal(dropped, 4);

	assert_ok(gw_map_new(&m, 1, false, NULL, NULL));
	assert_ok(gw_map_put(m, "a", 1, &v[0]));
	assert_int_equal(gw_map_put(m, "b", 1, &v[1]), ENOSPC);
	gw_map_free(m);
}

static void test_bootstrap_names(void **state)
{
	static const char *const addresses[] = {
		"192.0.2.1", "192.0.2.1:4222", "[2001:db8::1]:4222", "2001:db8::1", "", ":4222",
	};
	char host[32];

	(void)state;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		assert_false(gw_names_host(addresses[i], host, sizeof(host)));
	assert_true(gw_names_host("dht.example.org", host, sizeof(host)));
	assert_string_equal(host, "dht.example.org");
	assert_true(gw_names_host("a:4222", host, sizeof(host)));
	assert_string_equal(host, "a");
	assert_false(
		gw_names_host("a-name-longer-than-there-is-room.example.org", host, sizeof(host)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),    cmocka_unit_test(test_identity_refused),
		cmocka_unit_test(test_points),	    cmocka_unit_test(test_secret),
		cmocka_unit_test(test_secret_text), cmocka_unit_test(test_files),
		cmocka_unit_test(test_map),	    cmocka_unit_test(test_bootstrap_names),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
