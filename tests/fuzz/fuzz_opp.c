/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What comes from another gateway: paths, the proof of membership, bodies. What was read can be
 * written, and reads the same again. The first byte chooses. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "lib/proto/opp.h"

static int hmac(void *arg, const void *key, size_t keylen, const void *msg, size_t len,
		uint8_t out[32])
{
	(void)arg;
	(void)key;
	(void)keylen;
	(void)msg;
	(void)len;
	memset(out, 0, 32);
	return 0;
}

static void path(const char *text, size_t len)
{
	struct p2p_opp_path p, again;
	char out[P2P_OPP_PATH_MAX];

	if (p2p_opp_path_parse(&p, text, len) != 0)
		return;
	p2p_opp_path_print(&p, out);
	must(strlen(out) == len);
	must(p2p_opp_path_parse(&again, out, len) == 0);
	must(memcmp(&p, &again, sizeof(p)) == 0);
}

static void member(const char *text, size_t len)
{
	static const struct p2p_crypto crypto = {.hmac_sha256 = hmac};
	static const struct p2p_overlay_id overlay;
	static const struct p2p_hit hit;

	p2p_opp_member_check(text, len, "secret", 6, &overlay, &hit, &hit, 1767225600000ull,
			     &crypto);
}

static void peer(const char *text, size_t len)
{
	struct p2p_opp_peer p, again;
	char out[P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_peer_decode(&p, text, len) != 0)
		return;
	must(len <= P2P_OPP_BODY_MAX && p.n_versions >= 1 && p.n_versions <= P2P_OPP_LIST_MAX);
	must(p.n_uris <= P2P_OPP_LIST_MAX);
	must(p2p_opp_peer_encode(&p, out, sizeof(out), &n) == 0 && n == strlen(out));
	must(p2p_opp_peer_decode(&again, out, n) == 0);
	must(memcmp(&p, &again, sizeof(p)) == 0);
}

static void user(const char *text, size_t len)
{
	struct p2p_opp_user u, again;
	char out[P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_user_decode(&u, text, len) != 0)
		return;
	must(p2p_opp_user_encode(&u, out, sizeof(out), &n) == 0);
	must(p2p_opp_user_decode(&again, out, n) == 0);
	must(memcmp(&u, &again, sizeof(u)) == 0);
}

static void error(const char *text, size_t len)
{
	struct p2p_opp_error e, again;
	char out[P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_error_decode(&e, text, len) != 0)
		return;
	must(p2p_opp_error_encode(&e, out, sizeof(out), &n) == 0);
	must(p2p_opp_error_decode(&again, out, n) == 0);
	must(memcmp(&e, &again, sizeof(e)) == 0);
}

static void open(const char *text, size_t len)
{
	struct p2p_opp_open x, again;
	char out[2 * P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_open_decode(&x, text, len) != 0)
		return;
	must(p2p_opp_open_encode(&x, out, sizeof(out), &n) == 0);
	must(p2p_opp_open_decode(&again, out, n) == 0);
	must(memcmp(&x, &again, sizeof(x)) == 0);
}

static void opened(const char *text, size_t len)
{
	struct p2p_opp_opened x, again;
	char out[2 * P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_opened_decode(&x, text, len) != 0)
		return;
	must(p2p_opp_opened_encode(&x, out, sizeof(out), &n) == 0);
	must(p2p_opp_opened_decode(&again, out, n) == 0);
	must(memcmp(&x, &again, sizeof(x)) == 0);
}

static void calls(const char *text, size_t len)
{
	struct p2p_opp_calls x, again;
	char out[2 * P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_calls_decode(&x, text, len) != 0)
		return;
	must(p2p_opp_calls_encode(&x, out, sizeof(out), &n) == 0);
	must(p2p_opp_calls_decode(&again, out, n) == 0);
	must(memcmp(&x, &again, sizeof(x)) == 0);
}

static void enrol(const char *text, size_t len)
{
	struct p2p_opp_enrol x, again;
	char out[2 * P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_enrol_decode(&x, text, len) != 0)
		return;
	must(p2p_opp_enrol_encode(&x, out, sizeof(out), &n) == 0);
	must(p2p_opp_enrol_decode(&again, out, n) == 0);
	must(memcmp(&x, &again, sizeof(x)) == 0);
}

static void enrolled(const char *text, size_t len)
{
	struct p2p_opp_enrolled x, again;
	char out[2 * P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_enrolled_decode(&x, text, len) != 0)
		return;
	must(p2p_opp_enrolled_encode(&x, out, sizeof(out), &n) == 0);
	must(p2p_opp_enrolled_decode(&again, out, n) == 0);
	must(memcmp(&x, &again, sizeof(x)) == 0);
}

static void secret(const char *text, size_t len)
{
	struct p2p_opp_secret x, again;
	char out[2 * P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_secret_decode(&x, text, len) != 0)
		return;
	must(p2p_opp_secret_encode(&x, out, sizeof(out), &n) == 0);
	must(p2p_opp_secret_decode(&again, out, n) == 0);
	must(memcmp(&x, &again, sizeof(x)) == 0);
}

static void revocations(const char *text, size_t len)
{
	struct p2p_opp_revocations x, again;
	char out[2 * P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_revocations_decode(&x, text, len) != 0)
		return;
	must(p2p_opp_revocations_encode(&x, out, sizeof(out), &n) == 0);
	must(p2p_opp_revocations_decode(&again, out, n) == 0);
	must(memcmp(&x, &again, sizeof(x)) == 0);
}

static void keys(const char *text, size_t len)
{
	struct p2p_opp_keys x, again;
	char out[P2P_OPP_BODY_MAX];
	size_t n;

	if (p2p_opp_keys_decode(&x, text, len) != 0)
		return;
	must(x.n > 0 && x.n <= P2P_OPP_USERS_MAX);
	must(p2p_opp_keys_encode(&x, out, sizeof(out), &n) == 0);
	must(p2p_opp_keys_decode(&again, out, n) == 0);
	must(x.n == again.n && memcmp(x.key, again.key, x.n * sizeof(x.key[0])) == 0);
}

static void users(const char *text, size_t len)
{
	struct p2p_opp_users x, again;
	char out[P2P_OPP_BODY_MAX], twice[P2P_OPP_BODY_MAX];
	size_t n, m;

	if (p2p_opp_users_decode(&x, text, len) != 0)
		return;
	must(x.n <= P2P_OPP_USERS_MAX);
	must(p2p_opp_users_encode(&x, out, sizeof(out), &n) == 0);
	must(p2p_opp_users_decode(&again, out, n) == 0);
	must(p2p_opp_users_encode(&again, twice, sizeof(twice), &m) == 0);
	must(n == m && memcmp(out, twice, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const all[])(const char *, size_t) = {
		path,  member, peer,	 user,	 error,	      open, opened,
		calls, enrol,  enrolled, secret, revocations, keys, users};
	char *text;

	if (size == 0)
		return 0;
	/* of exactly this size, so that reading past it is seen */
	text = malloc(size - 1 > 0 ? size - 1 : 1);
	if (text == NULL)
		return 0;
	memcpy(text, data + 1, size - 1);
	all[data[0] % (sizeof(all) / sizeof(all[0]))](text, size - 1);
	free(text);
	return 0;
}
