/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The frozen vectors of tests/golden (made by golden.py, which shares no code with lib/): HITs,
 * keys, and records in both directions, and what must be refused, each for its reason. */
#include "tests/unit/test.h"

#include "lib/base/bytes.h"
#include "lib/proto/enrolment.h"
#include "lib/proto/key.h"
#include "lib/proto/record.h"
#include "tests/unit/crypto.h"

#define T0 1767225600000ull
#define WEEK (7 * 86400000ull)

static struct {
	char *name, *value;
} * vectors;
static size_t n_vectors;

static int load(void **state)
{
	const char *top = getenv("top_srcdir");
	char path[4096], line[4096];
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/tests/golden/vectors.txt", top != NULL ? top : ".");
	f = fopen(path, "r");
	if (f == NULL) {
		print_error("%s: %s\n", path, strerror(errno));
		return -1;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		char *space = strchr(line, ' ');

		if (line[0] == '#' || space == NULL)
			continue;
		*space = '\0';
		space[1 + strcspn(space + 1, "\n")] = '\0';
		vectors = realloc(vectors, (n_vectors + 1) * sizeof(*vectors));
		vectors[n_vectors].name = strdup(line);
		vectors[n_vectors++].value = strdup(space + 1);
	}
	fclose(f);
	return 0;
}

static int unload(void **state)
{
	(void)state;
	while (n_vectors > 0) {
		free(vectors[--n_vectors].name);
		free(vectors[n_vectors].value);
	}
	free(vectors);
	vectors = NULL;
	return 0;
}

static const char *text(const char *name)
{
	size_t i;

	for (i = 0; i < n_vectors; i++) {
		if (strcmp(vectors[i].name, name) == 0)
			return vectors[i].value;
	}
	fail_msg("no vector %s", name);
	return "";
}

static const char *text_i(const char *name, unsigned int i)
{
	char full[64];

	snprintf(full, sizeof(full), "%s%u", name, i);
	return text(full);
}

static size_t unhex(const char *hex, uint8_t *out, size_t max)
{
	size_t n = strlen(hex) / 2;

	assert_true(n <= max);
	assert_ok(p2p_hex_parse(out, n, hex, 2 * n));
	return n;
}

static void assert_hex(const void *bytes, size_t n, const char *want)
{
	char got[2048];

	p2p_hex_print(got, bytes, n);
	assert_string_equal(got, want);
}

static void test_identities(void **state)
{
	struct p2p_crypto crypto;
	unsigned int i;

	(void)state;
	test_crypto(&crypto, NULL);
	for (i = 0; i < 3; i++) {
		uint8_t scalar[32], pubkey[P2P_PUBKEY_LEN], xy[64], id[8];
		char printed[P2P_HIT_TEXT_MAX];
		struct p2p_hit hit, again;
		struct test_key *key;

		unhex(text_i("private", i), scalar, sizeof(scalar));
		key = test_key_new(scalar, pubkey);
		assert_hex(pubkey, sizeof(pubkey), text_i("public", i));
		unhex(text_i("point", i), xy, sizeof(xy));
		assert_ok(p2p_hit_from_point(&hit, xy, crypto.sha384));
		assert_hex(hit.b, sizeof(hit.b), text_i("hit", i));
		assert_ok(p2p_hit_from_pubkey(&again, pubkey, &crypto));
		assert_int_equal(p2p_hit_cmp(&hit, &again), 0);
		p2p_hit_print(&hit, printed);
		assert_string_equal(printed, text_i("hit-text", i));
		assert_ok(p2p_hit_parse(&again, printed, strlen(printed)));
		assert_int_equal(p2p_hit_cmp(&hit, &again), 0);
		p2p_put_be64(id, p2p_record_value_id(&hit));
		assert_hex(id, sizeof(id), text_i("value-id", i));
		test_key_free(key);
	}
}

static void test_keys(void **state)
{
	static const char prefix[] = "user-key:";
	uint8_t secret[64], name[P2P_PUBKEY_LEN];
	size_t slen = unhex(text("secret"), secret, sizeof(secret)), i, n = 0;
	struct p2p_overlay_id id;
	struct p2p_crypto crypto;
	struct p2p_key key;
	struct p2p_hit hit;

	(void)state;
	test_crypto(&crypto, NULL);
	assert_ok(p2p_overlay_id_make(&id, secret, slen, &crypto));
	assert_hex(id.b, sizeof(id.b), text("overlay"));
	for (i = 0; i < n_vectors; i++) {
		size_t len;

		if (strncmp(vectors[i].name, prefix, sizeof(prefix) - 1) != 0)
			continue;
		len = unhex(vectors[i].name + sizeof(prefix) - 1, name, sizeof(name));
		assert_ok(p2p_key_make(&key, secret, slen, P2P_RECORD_USER, name, len, &crypto));
		assert_hex(key.b, sizeof(key.b), vectors[i].value);
		n++;
	}
	assert_int_equal(n, 4);
	for (i = 0; i < 3; i++) {
		unhex(text_i("hit", (unsigned int)i), hit.b, sizeof(hit.b));
		assert_ok(p2p_key_make_hit(&key, secret, slen, P2P_RECORD_PEER, &hit, &crypto));
		assert_hex(key.b, sizeof(key.b), text_i("peer-key", (unsigned int)i));
		assert_ok(p2p_key_make_hit(&key, secret, slen, P2P_RECORD_RELAY, &hit, &crypto));
		assert_hex(key.b, sizeof(key.b), text_i("relay-key", (unsigned int)i));
	}
	assert_int_equal(p2p_key_make(&key, secret, 15, P2P_RECORD_USER, "a", 1, &crypto), EINVAL);
	assert_int_equal(p2p_key_make(&key, secret, slen, P2P_RECORD_USER, "", 0, &crypto), EINVAL);
	assert_int_equal(p2p_key_make(&key, secret, slen, 0, "a", 1, &crypto), EINVAL);
}

/* A signer that gives the vector's own signature, if it is asked to sign the vector's own bytes. */
struct replay {
	const uint8_t *bytes;
	size_t len;
};

static int replay_sign(void *arg, const void *msg, size_t len, uint8_t sig[P2P_SIG_LEN])
{
	const struct replay *r = arg;

	assert_int_equal(len, r->len - P2P_SIG_LEN);
	assert_memory_equal(msg, r->bytes, len);
	memcpy(sig, r->bytes + len, P2P_SIG_LEN);
	return 0;
}

static void base(struct p2p_record *rec, enum p2p_record_kind kind, unsigned int signer,
		 const char *key, uint64_t order, uint64_t expiry)
{
	memset(rec, 0, sizeof(*rec));
	rec->kind = kind;
	unhex(text("overlay"), rec->overlay.b, sizeof(rec->overlay.b));
	unhex(text(key), rec->key.b, sizeof(rec->key.b));
	unhex(text_i("public", signer), rec->pubkey, sizeof(rec->pubkey));
	rec->order = order;
	rec->expiry_ms = expiry;
}

static void locator(struct p2p_record *rec, uint8_t service, uint8_t transports, uint16_t port,
		    const char *uri)
{
	struct p2p_locator *l = &rec->locator[rec->n_locators++];

	assert_ok(p2p_locator_parse(l, uri, strlen(uri)));
	l->service = service;
	l->transports = transports;
	l->port = port;
}

static void check_both_ways(const char *name, const struct p2p_record *want)
{
	uint8_t bytes[P2P_RECORD_MAX], out[P2P_RECORD_MAX];
	struct replay replay = {bytes, unhex(text(name), bytes, sizeof(bytes))};
	struct p2p_record_expect expect = {
		.overlay = &want->overlay,
		.key = &want->key,
		.kind = want->kind,
		.now_ms = T0 + 1000,
	};
	struct p2p_crypto crypto;
	struct p2p_record rec;
	struct p2p_hit hit;
	size_t len = 0;

	test_crypto(&crypto, NULL);
	assert_int_equal(p2p_record_check(&rec, &hit, bytes, replay.len, &expect, &crypto),
			 P2P_RECORD_OK);
	/* padding apart, which is why the parts are compared */
	assert_int_equal(rec.kind, want->kind);
	assert_int_equal(rec.tombstone, want->tombstone);
	assert_memory_equal(rec.pubkey, want->pubkey, sizeof(rec.pubkey));
	assert_true(rec.order == want->order && rec.expiry_ms == want->expiry_ms);
	assert_true(rec.epoch == want->epoch && rec.lease_ms == want->lease_ms);
	assert_int_equal(rec.n_locators, want->n_locators);
	assert_memory_equal(rec.locator, want->locator, sizeof(rec.locator));
	assert_int_equal(rec.n_instances, want->n_instances);
	assert_memory_equal(rec.instance, want->instance, sizeof(rec.instance));
	assert_int_equal(rec.permission_len, want->permission_len);
	assert_memory_equal(rec.permission, want->permission, sizeof(rec.permission));
	assert_string_equal(rec.software, want->software);
	assert_int_equal(rec.body_len, want->body_len);
	assert_memory_equal(rec.body, want->body, sizeof(rec.body));

	crypto.arg = &replay;
	crypto.sign = replay_sign;
	assert_ok(p2p_record_sign(want, &crypto, out, sizeof(out), &len));
	assert_int_equal(len, replay.len);
	assert_memory_equal(out, bytes, len);
	assert_int_equal(p2p_record_sign(want, &crypto, out, len - 1, &len), EMSGSIZE);
}

static void test_records(void **state)
{
	static const char alice[] = "user-key:616c696365";
	const uint64_t e0 = 0x0102030405060708ull;
	struct p2p_record rec;
	struct p2p_crypto crypto;
	uint8_t secret[64];
	size_t slen, i;

	(void)state;
	base(&rec, P2P_RECORD_USER, 0, alice, T0, T0 + WEEK);
	rec.epoch = e0;
	assert_ok(p2p_record_add_uri(&rec, "sip:192.0.2.1", 13));
	assert_ok(p2p_record_add_uri(&rec, "sip:192.0.2.1:5060;transport=tcp", 32));
	assert_int_equal(rec.n_locators, 1);
	check_both_ways("record:user", &rec);

	base(&rec, P2P_RECORD_USER, 1, alice, T0 + 1, T0 + 86400000);
	rec.epoch = 1;
	assert_ok(p2p_record_add_uri(&rec, "sip:[2001:db8::1]:5060;transport=tcp", 36));
	assert_ok(p2p_record_add_uri(&rec, "sip:192.0.2.1:5060;transport=udp", 32));
	assert_ok(p2p_record_add_uri(&rec, "sip:192.0.2.1:5060;transport=tcp", 32));
	assert_ok(p2p_record_add_uri(&rec, "sip:198.51.100.7;transport=tls", 30));
	p2p_record_add_instance(&rec, 0xffffffff);
	p2p_record_add_instance(&rec, 0x7fffffff);
	p2p_record_add_instance(&rec, 1);
	p2p_record_add_instance(&rec, 0x7fffffff);
	p2p_record_add_instance(&rec, 0);
	rec.permission_len = P2P_PERMISSION_MAX;
	for (i = 0; i < P2P_PERMISSION_MAX; i++)
		rec.permission[i] = (uint8_t)i;
	check_both_ways("record:user-full", &rec);

	base(&rec, P2P_RECORD_USER, 0, alice, T0 + 5000, T0 + WEEK);
	rec.tombstone = true;
	check_both_ways("record:user-tombstone", &rec);

	base(&rec, P2P_RECORD_PEER, 0, "peer-key0", T0, T0 + 86400000);
	rec.epoch = e0;
	rec.lease_ms = T0 + 180000;
	locator(&rec, P2P_SERVICE_SIP, P2P_TRANSPORT_UDP | P2P_TRANSPORT_TCP, 5060,
		"sip:192.0.2.1");
	locator(&rec, P2P_SERVICE_GATEWAY, P2P_TRANSPORT_TCP, 8443, "sip:192.0.2.1");
	locator(&rec, P2P_SERVICE_HIP, P2P_TRANSPORT_UDP | P2P_TRANSPORT_TLS, 10500,
		"sip:[2001:db8::1]");
	strcpy(rec.software, "p2psip 0.1.0");
	check_both_ways("record:peer", &rec);

	base(&rec, P2P_RECORD_PEER, 0, "peer-key0", T0 + 9, T0 + 86400000);
	rec.tombstone = true;
	check_both_ways("record:peer-tombstone", &rec);

	base(&rec, P2P_RECORD_RELAY, 2, "relay-key2", T0, T0 + 3600000);
	rec.body_len = 9;
	memcpy(rec.body, "\x10\x05later\x90\x00", 9);
	check_both_ways("record:relay", &rec);

	test_crypto(&crypto, NULL);
	slen = unhex(text("secret"), secret, sizeof(secret));
	base(&rec, P2P_RECORD_ENROLMENT, 2, "overlay", T0, T0 + 400 * 86400000ull);
	assert_ok(p2p_key_make(&rec.key, secret, slen, P2P_RECORD_ENROLMENT, "alice", 5, &crypto));
	check_both_ways("record:enrolment", &rec);

	base(&rec, P2P_RECORD_REVOCATION, 2, "overlay", T0, T0 + 3660 * 86400000ull);
	assert_int_equal(unhex(text("hit1"), rec.body + 2, 16), 16);
	rec.body[0] = 1;
	rec.body[1] = 16;
	rec.body_len = 18;
	assert_ok(p2p_key_make(&rec.key, secret, slen, P2P_RECORD_REVOCATION, rec.body + 2, 16,
			       &crypto));
	check_both_ways("record:revocation", &rec);
}

/* A later version's optional part is skipped, and the rest is what it was. */
static void test_later(void **state)
{
	struct p2p_record_expect expect = {.now_ms = T0 + 1000};
	uint8_t a[P2P_RECORD_MAX], b[P2P_RECORD_MAX];
	size_t alen = unhex(text("record:user"), a, sizeof(a));
	size_t blen = unhex(text("record:user-later"), b, sizeof(b));
	struct p2p_record ra, rb;
	struct p2p_crypto crypto;

	(void)state;
	test_crypto(&crypto, NULL);
	assert_int_equal(p2p_record_check(&ra, NULL, a, alen, &expect, &crypto), P2P_RECORD_OK);
	assert_int_equal(p2p_record_check(&rb, NULL, b, blen, &expect, &crypto), P2P_RECORD_OK);
	assert_memory_equal(&ra, &rb, sizeof(ra));
	assert_true(p2p_record_cmp(&ra, a, alen, &rb, b, blen) ==
		    -p2p_record_cmp(&rb, b, blen, &ra, a, alen));
	assert_int_equal(p2p_record_cmp(&ra, a, alen, &ra, a, alen), 0);
}

static enum p2p_record_fault fault_of(const char *name)
{
	static const struct {
		const char *word;
		enum p2p_record_fault fault;
	} words[] = {
		{"size", P2P_RECORD_BAD_SIZE},	     {"magic", P2P_RECORD_BAD_MAGIC},
		{"version", P2P_RECORD_BAD_VERSION}, {"kind", P2P_RECORD_BAD_KIND},
		{"flags", P2P_RECORD_BAD_FLAGS},     {"body", P2P_RECORD_BAD_BODY},
		{"unknown", P2P_RECORD_BAD_UNKNOWN}, {"overlay", P2P_RECORD_BAD_OVERLAY},
		{"key", P2P_RECORD_BAD_KEY},	     {"signer", P2P_RECORD_BAD_SIGNER},
		{"future", P2P_RECORD_BAD_FUTURE},   {"life", P2P_RECORD_BAD_LIFE},
		{"expired", P2P_RECORD_EXPIRED},     {"signature", P2P_RECORD_BAD_SIGNATURE},
	};
	size_t i, n = strcspn(name, ":");

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i].word) == n && strncmp(name, words[i].word, n) == 0)
			return words[i].fault;
	}
	fail_msg("which fault is %s?", name);
	return P2P_RECORD_OK;
}

static void test_bad(void **state)
{
	struct p2p_record_expect expect = {.kind = P2P_RECORD_USER, .now_ms = T0 + 1000};
	struct p2p_overlay_id overlay;
	struct p2p_crypto crypto;
	struct p2p_key key;
	struct p2p_hit hit;
	size_t i, n = 0;

	(void)state;
	test_crypto(&crypto, NULL);
	unhex(text("overlay"), overlay.b, sizeof(overlay.b));
	unhex(text("user-key:616c696365"), key.b, sizeof(key.b));
	unhex(text("hit0"), hit.b, sizeof(hit.b));
	expect.overlay = &overlay;
	expect.key = &key;
	expect.hit = &hit;
	for (i = 0; i < n_vectors; i++) {
		uint8_t bytes[1024];
		struct p2p_record rec;
		enum p2p_record_fault fault;
		size_t len;

		if (strncmp(vectors[i].name, "bad:", 4) != 0)
			continue;
		len = unhex(vectors[i].value, bytes, sizeof(bytes));
		memset(&rec, 0xaa, sizeof(rec));
		fault = p2p_record_check(&rec, NULL, bytes, len, &expect, &crypto);
		if (fault != fault_of(vectors[i].name + 4))
			fail_msg("%s: %s", vectors[i].name, p2p_record_fault_text(fault));
		assert_int_equal(((uint8_t *)&rec)[0], 0xaa); /* not written */
		n++;
	}
	assert_true(n > 40);
}

/* A vector's record of kind 4, signature and all verified. */
static void enrolment_load(const char *name, struct p2p_record *rec,
			   const struct p2p_crypto *crypto)
{
	struct p2p_record_expect expect = {.kind = P2P_RECORD_ENROLMENT, .now_ms = T0 + 1000};
	uint8_t bytes[P2P_RECORD_MAX];
	size_t len = unhex(text(name), bytes, sizeof(bytes));

	assert_int_equal(p2p_record_check(rec, NULL, bytes, len, &expect, crypto), P2P_RECORD_OK);
}

static void test_enrolment(void **state)
{
	static const char *const names[] = {"enrolment:user", "enrolment:user-tombstone",
					    "enrolment:user-any", "enrolment:peer",
					    "enrolment:overlay"};
	uint8_t authority[P2P_PUBKEY_LEN], name[1] = {0}, secret[64];
	size_t slen = unhex(text("secret"), secret, sizeof(secret)), i;
	struct p2p_overlay_id overlay;
	struct p2p_hit hit[3];
	struct p2p_key alice, bob, key;
	struct p2p_enrolment en;
	struct p2p_record rec, again;
	struct p2p_crypto crypto;

	(void)state;
	test_crypto(&crypto, NULL);
	unhex(text("overlay"), overlay.b, sizeof(overlay.b));
	unhex(text("public2"), authority, sizeof(authority));
	unhex(text("user-key:616c696365"), alice.b, sizeof(alice.b));
	unhex(text("user-key:626f62406578616d706c652e636f6d"), bob.b, sizeof(bob.b));
	for (i = 0; i < 3; i++)
		unhex(text_i("hit", (unsigned int)i), hit[i].b, sizeof(hit[i].b));

	/* each decodes, and encodes to the same bytes */
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		enrolment_load(names[i], &rec, &crypto);
		assert_int_equal(p2p_enrolment_decode(&en, &rec), P2P_RECORD_OK);
		memset(&again, 0, sizeof(again));
		again.tombstone = rec.tombstone;
		assert_ok(p2p_enrolment_encode(&en, &again));
		assert_int_equal(again.kind, P2P_RECORD_ENROLMENT);
		assert_int_equal(again.body_len, rec.body_len);
		assert_memory_equal(again.body, rec.body, rec.body_len);
	}

	enrolment_load("enrolment:user", &rec, &crypto);
	assert_ok(p2p_key_make(&key, secret, slen, P2P_RECORD_ENROLMENT, "alice", 5, &crypto));
	assert_memory_equal(rec.key.b, key.b, sizeof(key.b));
	assert_int_equal(p2p_enrolment_decode(&en, &rec), P2P_RECORD_OK);
	assert_int_equal(en.subject, P2P_ENROLMENT_USER);
	assert_int_equal(p2p_hit_cmp(&en.peer, &hit[0]), 0);
	assert_int_equal(en.digests, P2P_DIGEST_MD5 | P2P_DIGEST_SHA256);
	assert_string_equal(en.realm, "example.org");
	assert_int_equal(en.sealed_len, P2P_SEALED_MAX);
	assert_true(p2p_enrolment_value_id(&en, &hit[2]) == p2p_record_value_id(&hit[0]));
#define CHECK(user, peer, now)                                                                     \
	p2p_permission_check(en.permission, en.permission_len, &overlay, user, peer, authority,    \
			     now, &crypto)
	assert_int_equal(CHECK(&alice, &hit[0], T0), P2P_RECORD_OK);
	assert_int_equal(CHECK(&bob, &hit[0], T0), P2P_RECORD_BAD_PERMISSION);
	assert_int_equal(CHECK(&alice, &hit[1], T0), P2P_RECORD_BAD_PERMISSION);
	assert_int_equal(CHECK(&alice, &hit[0], rec.expiry_ms), P2P_RECORD_OLD_PERMISSION);
	assert_true(p2p_permission_expiry(en.permission, en.permission_len) == rec.expiry_ms);
	/* not signed by somebody else, and nothing in it may be changed */
	unhex(text("public1"), authority, sizeof(authority));
	assert_int_equal(CHECK(&alice, &hit[0], T0), P2P_RECORD_BAD_PERMISSION);
	unhex(text("public2"), authority, sizeof(authority));
	for (i = 0; i < en.permission_len; i++) {
		en.permission[i] ^= 1;
		assert_int_equal(CHECK(&alice, &hit[0], T0), P2P_RECORD_BAD_PERMISSION);
		en.permission[i] ^= 1;
	}
	en.permission_len--;
	assert_int_equal(CHECK(&alice, &hit[0], T0), P2P_RECORD_BAD_PERMISSION);
	en.permission_len = 0;
	assert_int_equal(CHECK(&alice, &hit[0], T0), P2P_RECORD_NO_PERMISSION);

	enrolment_load("enrolment:user-any", &rec, &crypto);
	assert_int_equal(p2p_enrolment_decode(&en, &rec), P2P_RECORD_OK);
	assert_int_equal(en.digests, P2P_DIGEST_SHA256);
	assert_true(p2p_enrolment_value_id(&en, &hit[2]) == p2p_record_value_id(&hit[2]));
	assert_int_equal(CHECK(&alice, &hit[1], T0), P2P_RECORD_OK);
	assert_int_equal(CHECK(&bob, &hit[1], T0), P2P_RECORD_BAD_PERMISSION);

	enrolment_load("enrolment:peer", &rec, &crypto);
	assert_ok(p2p_key_make_hit(&key, secret, slen, P2P_RECORD_ENROLMENT, &hit[0], &crypto));
	assert_memory_equal(rec.key.b, key.b, sizeof(key.b));
	assert_int_equal(p2p_enrolment_decode(&en, &rec), P2P_RECORD_OK);
	assert_int_equal(CHECK(&alice, &hit[0], T0), P2P_RECORD_OK);
	assert_int_equal(CHECK(&bob, &hit[0], T0), P2P_RECORD_OK);
	assert_int_equal(CHECK(&bob, &hit[1], T0), P2P_RECORD_BAD_PERMISSION);
#undef CHECK

	enrolment_load("enrolment:overlay", &rec, &crypto);
	assert_ok(p2p_key_make(&key, secret, slen, P2P_RECORD_ENROLMENT, name, 1, &crypto));
	assert_memory_equal(rec.key.b, key.b, sizeof(key.b));
	assert_int_equal(p2p_enrolment_decode(&en, &rec), P2P_RECORD_OK);
	assert_true(en.permission_required);
	assert_true(en.changes == 7);
	assert_int_equal(en.n_changed, 2);
	assert_int_equal(en.changed[1], 1);
}

static void test_bad_enrolment(void **state)
{
	struct p2p_record_expect expect = {.kind = P2P_RECORD_ENROLMENT, .now_ms = T0 + 1000};
	struct p2p_crypto crypto;
	size_t i, n = 0, prefix = strlen("bad-enrolment:");

	(void)state;
	test_crypto(&crypto, NULL);
	for (i = 0; i < n_vectors; i++) {
		uint8_t bytes[P2P_RECORD_MAX];
		struct p2p_enrolment en;
		struct p2p_record rec;
		enum p2p_record_fault fault;
		size_t len;

		if (strncmp(vectors[i].name, "bad-enrolment:", prefix) != 0)
			continue;
		len = unhex(vectors[i].value, bytes, sizeof(bytes));
		/* the record is a good one, but for its body */
		assert_int_equal(p2p_record_check(&rec, NULL, bytes, len, &expect, &crypto),
				 P2P_RECORD_OK);
		memset(&en, 0xaa, sizeof(en));
		fault = p2p_enrolment_decode(&en, &rec);
		if (fault != fault_of(vectors[i].name + prefix))
			fail_msg("%s: %s", vectors[i].name, p2p_record_fault_text(fault));
		assert_int_equal(((uint8_t *)&en)[0], 0xaa); /* not written */
		n++;
	}
	assert_true(n > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identities),    cmocka_unit_test(test_keys),
		cmocka_unit_test(test_records),	      cmocka_unit_test(test_later),
		cmocka_unit_test(test_bad),	      cmocka_unit_test(test_enrolment),
		cmocka_unit_test(test_bad_enrolment),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
