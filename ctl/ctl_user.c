/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2psipctl user ..., peer allow|deny, overlay rules: orders for the gateway that has the overlay's
 * authority. A password becomes its HA1 here; it stands in no argument, and goes no further. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include "ctl/ctl.h"
#include "ctl/ctl_password.h"
#include "ctl/ctl_reply.h"
#include "lib/base/bytes.h"

/* "ENROLUSER" what name, HA1 twice, and each peer with its word */
#define ARGS_MAX 80
/* Besides the answer's own: the DHT is waited for. */
#define WAIT_MS 30000

struct request {
	const char *argv[ARGS_MAX];
	int argc;
	char hex[2][2 * P2P_HA1_SHA256_LEN + 1];
};

static void add(struct request *r, const char *arg)
{
	if (r->argc < ARGS_MAX)
		r->argv[r->argc++] = arg;
}

static int send(const struct ctl_options *o, const struct request *r)
{
	struct ctl_conn *c;
	char err[512], text[512];
	int ret = ctl_connect(&c, o->gateway, o->timeout_ms + WAIT_MS, err, sizeof(err));

	if (ret)
		return ctl_die("%s", err);
	ret = ctl_word(c, r->argc, (const char **)r->argv, text, sizeof(text), err, sizeof(err));
	ctl_close(c);
	if (ret)
		return ctl_die("%s", err);
	if (strcmp(text, "OK"))
		fprintf(stderr, "p2psipctl: %s\n", text);
	return 0;
}

/* Realm and digests of the overlay, which the HA1s are for. */
static int rules_get(const struct ctl_options *o, char realm[P2P_REALM_MAX + 1], uint8_t *digests)
{
	const char *argv[] = {"RULES"};
	char err[512], text[64];
	struct ctl_conn *c;
	int ret = ctl_connect(&c, o->gateway, o->timeout_ms, err, sizeof(err));

	if (ret)
		return ctl_die("%s", err);
	ret = ctl_value(c, 1, argv, "realm", realm, P2P_REALM_MAX + 1, err, sizeof(err));
	if (!ret)
		ret = ctl_value(c, 1, argv, "digests", text, sizeof(text), err, sizeof(err));
	ctl_close(c);
	if (!ret && p2p_digests_parse(digests, text, strlen(text))) {
		snprintf(err, sizeof(err), "unknown digests '%s'", text);
		ret = EPROTO;
	}
	return ret ? ctl_die("%s (p2psipctl overlay rules --realm REALM makes them)", err) : 0;
}

static int password(const struct ctl_options *o, struct request *r, const char *name)
{
	char pass[CTL_PASSWORD_MAX], realm[P2P_REALM_MAX + 1], err[256];
	uint8_t ha1[P2P_HA1_MAX], digests, got;
	static const enum p2p_digest each[] = {P2P_DIGEST_MD5, P2P_DIGEST_SHA256};
	int ret = rules_get(o, realm, &digests);

	if (ret)
		return ret;
	/* both, whatever is asked for today: another digest then needs no other passwords */
	got = P2P_DIGEST_MD5 | P2P_DIGEST_SHA256;
	ret = o->ha1 ? ctl_password_read_ha1(&got, ha1, err, sizeof(err))
		     : ctl_password_read(pass, name, err, sizeof(err));
	if (ret)
		return ctl_die("%s", err);
	for (unsigned int i = 0; i < 2 && !ret; i++) {
		size_t at, len;

		if ((got & each[i]) == 0 ||
		    p2p_digests_find(P2P_DIGEST_MD5 | P2P_DIGEST_SHA256, each[i], &at, &len))
			continue;
		if (!o->ha1)
			ret = ctl_password_ha1(name, realm, pass, each[i], ha1 + at);
		p2p_hex_print(r->hex[i], ha1 + at, len);
		add(r, "HA1");
		add(r, p2p_digests_text((uint8_t)each[i]));
		add(r, r->hex[i]);
	}
	OPENSSL_cleanse(pass, sizeof(pass));
	OPENSSL_cleanse(ha1, sizeof(ha1));
	return ret ? ctl_die("the digest cannot be computed") : 0;
}

/* The peers, for what needs some. */
static int where(const struct ctl_options *o, struct request *r)
{
	if (o->any == (o->n_peers > 0)) {
		ctl_die("at which peers? --peer HIT, once for each, or --any");
		return 2;
	}
	for (unsigned int i = 0; i < o->n_peers; i++) {
		add(r, "PEER");
		add(r, o->peer[i]);
	}
	if (o->any)
		add(r, "ANY");
	return 0;
}

static int user(const struct ctl_options *o, const char *name, const char *what, bool peers,
		bool pass)
{
	struct request r = {.argv = {"ENROLUSER", what, name}, .argc = 3};
	int ret = peers ? where(o, &r) : 0;

	if (!ret && pass)
		ret = password(o, &r, name);
	if (!ret)
		ret = send(o, &r);
	OPENSSL_cleanse(&r, sizeof(r));
	return ret;
}

int ctl_user_add(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	return user(o, argv[0], "ADD", true, true);
}

int ctl_user_passwd(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	return user(o, argv[0], "PASSWD", false, true);
}

int ctl_user_remove(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	return user(o, argv[0], "REMOVE", false, false);
}

int ctl_user_allow(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	return user(o, argv[0], o->deny ? "DENY" : "ALLOW", true, false);
}

int ctl_user_deny(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	return user(o, argv[0], "DENY", true, false);
}

int ctl_user_list(const struct ctl_options *o, int argc, char **argv)
{
	struct ctl_conn *c;
	char err[512];
	int ret = ctl_connect(&c, o->gateway, o->timeout_ms, err, sizeof(err));

	(void)argc;
	(void)argv;
	if (ret)
		return ctl_die("%s", err);
	ret = ctl_list(c, "ENROLLED", "500", o->json, stdout, err, sizeof(err));
	ctl_close(c);
	return ret ? ctl_die("%s", err) : 0;
}

int ctl_user_refresh(const struct ctl_options *o, int argc, char **argv)
{
	struct request r = {.argv = {"REFRESH"}, .argc = 1};

	(void)argc;
	(void)argv;
	return send(o, &r);
}

static int peer(const struct ctl_options *o, char **argv, const char *what)
{
	struct request r = {.argv = {"ENROLPEER", what, argv[0]}, .argc = 3};

	return send(o, &r);
}

int ctl_peer_allow(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	return peer(o, argv, "ALLOW");
}

int ctl_peer_deny(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	return peer(o, argv, "DENY");
}

int ctl_overlay_rules(const struct ctl_options *o, int argc, char **argv)
{
	const char *const values[] = {o->realm, o->digests, o->permission};
	static const char *const words[] = {"REALM", "DIGESTS", "PERMISSION"};
	const char *show[] = {"RULES"};
	struct request r = {.argv = {"RULES"}, .argc = 1};
	struct ctl_conn *c;
	char err[512];
	int ret;

	(void)argc;
	(void)argv;
	for (int i = 0; i < 3; i++) {
		if (values[i]) {
			add(&r, words[i]);
			add(&r, values[i]);
		}
	}
	if (r.argc > 1)
		return send(o, &r);
	ret = ctl_connect(&c, o->gateway, o->timeout_ms, err, sizeof(err));
	if (ret)
		return ctl_die("%s", err);
	ret = ctl_pairs(c, 1, show, o->json, stdout, err, sizeof(err));
	ctl_close(c);
	return ret ? ctl_die("%s", err) : 0;
}
