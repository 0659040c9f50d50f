/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An order: RESOLVING the peers' public keys -> the folder is changed, records are signed and kept
 * by the store -> PUTTING users' records -> PUTTING the rules, which name the change -> told. Only
 * the first and the last wait for anybody; what is between is done at one stroke, so that two
 * orders for one user come one after the other.
 * The order of the rules is written first and signed last: where the file's is above that of the
 * record, an order was interrupted, and all is signed anew at the next start. */
#include "dht-gateway/enrol/gateway_user_enrolment.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/enrol/gateway_auth.h"
#include "dht-gateway/enrol/gateway_auth_rules.h"
#include "dht-gateway/enrol/gateway_auth_store.h"
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/keys/gateway_seal.h"
#include "dht-gateway/gateway_settings.h"
#include "lib/base/bytes.h"

/* Until it must be signed again. */
#define LIFE_MS (365ull * 24 * 3600 * 1000)
#define RESOLVE_MS 5000
#define TEXT_MAX 512

struct task {
	struct gw *gw;
	struct gw_enrol_order o;
	gw_enrol_h *h;
	void *arg;
	unsigned int resolving; /* peer[resolving] is being looked for */
	unsigned int puts;
	bool late, cancelled;
	bool rules_put;
	/* while signing */
	struct gw_authority *authority;
	struct gw_enrolled_rules rules;
	uint64_t now_ms;
	unsigned int signed_users;
	char err[TEXT_MAX];
};

static void task_end(struct task *t, int err)
{
	t->h(err, t->err, t->arg);
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
}

static void puts_begin(struct task *t);

static void on_put(int err, void *arg)
{
	struct task *t = arg;

	t->late = t->late || err;
	t->cancelled = t->cancelled || err == ECANCELED;
	if (--t->puts)
		return;
	if (t->cancelled) {
		task_end(t, ECANCELED);
		return;
	}
	if (!t->rules_put) {
		puts_begin(t);
		return;
	}
	if (t->late)
		snprintf(t->err, sizeof(t->err),
			 "done, but the DHT has not taken it all yet: it is put until it has");
	task_end(t, t->late ? EINPROGRESS : 0);
}

/* --- signing ---------------------------------------------------------------------------------- */

/* One record into the store. */
static int keep(struct task *t, struct p2p_record *rec, const struct p2p_enrolment *en)
{
	struct gw *gw = t->gw;
	uint8_t bytes[P2P_RECORD_MAX];
	size_t len;
	int err;

	rec->overlay = gw->overlay;
	memcpy(rec->pubkey, gw->anchor->pubkey, sizeof(rec->pubkey));
	rec->expiry_ms = t->now_ms + LIFE_MS;
	if (rec->expiry_ms < rec->order)
		rec->expiry_ms = rec->order + LIFE_MS;
	err = p2p_enrolment_encode(en, rec);
	if (!err)
		err = p2p_record_sign(rec, gw_authority_crypto(t->authority), bytes, sizeof(bytes),
				      &len);
	if (err)
		return err;
	err = en->subject == P2P_ENROLMENT_OVERLAY
		      ? gw_auth_rules_add(gw->rules, rec, en, bytes, len, true)
		      : gw_auth_store_add(gw->enrolments, rec, en, bytes, len);
	if (!err && gw_auth_store_put(gw->enrolments, &rec->key,
				      p2p_enrolment_value_id(en, &gw->anchor->hit),
				      en->subject == P2P_ENROLMENT_OVERLAY, on_put, t) == 0)
		t->puts++;
	return err == EALREADY ? 0 : err;
}

static int permission_make(struct task *t, struct p2p_enrolment *en, const struct gw_enrolled *u,
			   const struct p2p_hit *peer)
{
	struct p2p_key key;
	int err = u->len ? gw_record_key_user(t->gw, u->name, u->len, &key) : 0;

	if (!err)
		err = p2p_permission_sign(en->permission, &t->gw->overlay, u->len ? &key : NULL,
					  peer, t->now_ms + LIFE_MS,
					  gw_authority_crypto(t->authority));
	en->permission_len = P2P_PERMISSION_LEN;
	return err;
}

static int seal(struct task *t, struct p2p_enrolment *en, const struct gw_enrolled *u,
		const struct p2p_key *key, const struct gw_enrolled_peer *p)
{
	const struct gw *gw = t->gw;
	size_t len = p2p_digests_len(u->digests);

	en->digests = u->digests;
	strcpy(en->realm, u->realm);
	en->sealed_len = (uint8_t)(len + (p ? GW_SEAL_PEER_EXTRA : GW_SEAL_ANY_EXTRA));
	return p ? gw_seal_peer(en->sealed, u->ha1, len, &gw->overlay, key, p->pubkey, gw->crypto)
		 : gw_seal_any(en->sealed, u->ha1, len, &gw->overlay, key, gw->secret.b,
			       gw->secret.len, gw->crypto);
}

/* The record for one peer, or for any (p NULL). */
static int sign_one(struct task *t, const struct gw_enrolled *u, const struct p2p_key *key,
		    const struct gw_enrolled_peer *p, enum gw_enrolled_state state)
{
	struct p2p_record rec = {.kind = P2P_RECORD_ENROLMENT, .key = *key, .order = u->order};
	struct p2p_enrolment en = {0};
	int err = 0;

	if (state == GW_ENROLLED_NEVER)
		return 0;
	en.subject = !u->len ? P2P_ENROLMENT_PEER : p ? P2P_ENROLMENT_USER : P2P_ENROLMENT_USER_ANY;
	if (p)
		en.peer = p->hit;
	rec.tombstone = u->removed || state == GW_ENROLLED_NO;
	if (!rec.tombstone)
		err = permission_make(t, &en, u, p ? &p->hit : NULL);
	if (!err && !rec.tombstone && u->len)
		err = seal(t, &en, u, key, p);
	return err ? err : keep(t, &rec, &en);
}

static int user_key(const struct gw *gw, const struct gw_enrolled *u, struct p2p_key *key)
{
	return u->len ? gw_auth_key(gw, u->name, u->len, key)
		      : p2p_key_make_hit(key, gw->secret.b, gw->secret.len, P2P_RECORD_ENROLMENT,
					 &u->peer[0].hit, gw->crypto);
}

static int sign_user(struct task *t, const struct gw_enrolled *u)
{
	struct p2p_key key;
	int err = user_key(t->gw, u, &key);

	if (!err && u->len)
		err = sign_one(t, u, &key, NULL, u->any);
	for (unsigned int i = 0; i < u->n_peers && !err; i++)
		err = sign_one(t, u, &key, &u->peer[i], u->peer[i].state);
	if (err) {
		snprintf(t->err, sizeof(t->err), "the enrolment of '%s' cannot be signed: %s",
			 u->len ? u->name : "a peer", strerror(err));
		return err;
	}
	t->signed_users++;
	/* the rules tell of it */
	if (t->rules.n_changed == P2P_CHANGED_MAX)
		memmove(t->rules.changed, t->rules.changed + 1,
			sizeof(t->rules.changed) - sizeof(t->rules.changed[0]));
	else
		t->rules.n_changed++;
	t->rules.changed[t->rules.n_changed - 1] = p2p_be32(key.b);
	t->rules.changes++;
	return 0;
}

static uint64_t order_next(const struct task *t, uint64_t last)
{
	return t->now_ms > last ? t->now_ms : last + 1;
}

static int rules_sign(struct task *t)
{
	static const uint8_t name = 0;
	const struct gw *gw = t->gw;
	struct p2p_record rec = {.kind = P2P_RECORD_ENROLMENT, .order = t->rules.order};
	struct p2p_enrolment en = {
		.subject = P2P_ENROLMENT_OVERLAY,
		.digests = t->rules.digests,
		.permission_required = t->rules.permission_required,
		.changes = t->rules.changes,
		.n_changed = t->rules.n_changed,
	};
	int err;

	strcpy(en.realm, t->rules.realm);
	memcpy(en.changed, t->rules.changed, sizeof(en.changed));
	err = p2p_key_make(&rec.key, gw->secret.b, gw->secret.len, P2P_RECORD_ENROLMENT, &name, 1,
			   gw->crypto);
	return err ? err : keep(t, &rec, &en);
}

/* All that were signed are on their way when the last of them is told; the rules come after. */
static void puts_begin(struct task *t)
{
	char dir_err[TEXT_MAX] = "";
	int err;

	t->rules_put = true;
	t->puts = 1;
	err = gw_authority_load(&t->authority, t->gw->settings->authority_dir, dir_err,
				sizeof(dir_err));
	if (!err)
		err = rules_sign(t);
	gw_authority_free(t->authority);
	t->authority = NULL;
	if (err) {
		snprintf(t->err, sizeof(t->err), "the overlay's rules cannot be signed: %s",
			 *dir_err ? dir_err : strerror(err));
		task_end(t, err);
		return;
	}
	on_put(0, t);
}

/* --- the folder ------------------------------------------------------------------------------- */

static int refuse(struct task *t, int err, const char *text)
{
	snprintf(t->err, sizeof(t->err), "%s", text);
	return err;
}

/* Peers of `more` that u does not have, or has again. */
static int peers_merge(struct task *t, struct gw_enrolled *u, const struct gw_enrolled *more,
		       enum gw_enrolled_state state)
{
	for (unsigned int i = 0; i < more->n_peers; i++) {
		struct gw_enrolled_peer *p = gw_enrolled_peer_find(u, &more->peer[i].hit);

		if (!p && state == GW_ENROLLED_NO)
			return refuse(t, ENOENT, "that peer was not allowed anyway");
		if (state == GW_ENROLLED_YES && gw_member_revoked(t->gw, &more->peer[i].hit))
			return refuse(t, EINVAL, "that peer was put out of the overlay");
		if (!p && u->n_peers == GW_ENROLLED_PEERS_MAX)
			return refuse(t, ENOSPC, "a user has 32 peers at most, or any");
		if (!p) {
			p = &u->peer[u->n_peers++];
			*p = more->peer[i];
		}
		p->state = state;
	}
	return 0;
}

static bool somewhere(const struct gw_enrolled *u)
{
	bool yes = u->any == GW_ENROLLED_YES;

	for (unsigned int i = 0; i < u->n_peers && !yes; i++)
		yes = u->peer[i].state == GW_ENROLLED_YES;
	return yes;
}

static void password_set(struct gw_enrolled *u, const struct gw_enrolled *from)
{
	u->digests = from->digests;
	memcpy(u->ha1, from->ha1, sizeof(u->ha1));
	strcpy(u->realm, from->realm);
}

static int user_change(struct task *t, struct gw_enrolled *u, int found)
{
	const struct gw_enrolled *want = &t->o.user;
	bool there = !found && !u->removed;

	if (t->o.what == GW_ENROL_ADD) {
		if (there)
			return refuse(t, EEXIST, "that user is enrolled already");
		if (found)
			*u = *want;
		u->removed = false;
		u->any = want->any ? want->any : u->any ? GW_ENROLLED_NO : GW_ENROLLED_NEVER;
		for (unsigned int i = 0; i < u->n_peers; i++)
			u->peer[i].state = GW_ENROLLED_NO;
		password_set(u, want);
		return peers_merge(t, u, want, GW_ENROLLED_YES);
	}
	if (!there)
		return refuse(t, ENOENT, "no such user is enrolled");
	switch (t->o.what) {
	case GW_ENROL_PASSWD:
		password_set(u, want);
		return 0;
	case GW_ENROL_REMOVE:
		u->removed = true;
		return 0;
	case GW_ENROL_ALLOW:
		if (want->any)
			u->any = GW_ENROLLED_YES;
		return peers_merge(t, u, want, GW_ENROLLED_YES);
	default:
		if (want->any && u->any != GW_ENROLLED_YES)
			return refuse(t, ENOENT, "the user was not allowed at any peer anyway");
		if (want->any)
			u->any = GW_ENROLLED_NO;
		else if (u->any == GW_ENROLLED_YES)
			return refuse(t, EINVAL,
				      "the user is allowed at any peer: deny that first (--any)");
		if (peers_merge(t, u, want, GW_ENROLLED_NO))
			return ENOENT;
		return somewhere(u) ? 0
				    : refuse(t, EINVAL,
					     "no peer would be left: remove the user instead");
	}
}

static int peer_change(struct task *t, struct gw_enrolled *u, int found)
{
	bool allow = t->o.what == GW_ENROL_PEER_ALLOW;

	if (found && !allow)
		return refuse(t, ENOENT, "that peer may not serve any user anyway");
	if (found)
		*u = t->o.user;
	u->peer[0].state = allow ? GW_ENROLLED_YES : GW_ENROLLED_NO;
	return 0;
}

static int rules_save(struct task *t)
{
	return gw_enrolled_rules_save(t->gw->settings->authority_dir, &t->rules, t->err,
				      sizeof(t->err));
}

static int one(struct task *t)
{
	const char *dir = t->gw->settings->authority_dir;
	struct gw_enrolled u = t->o.user;
	int err = gw_enrolled_load(dir, &u, t->err, sizeof(t->err));

	if (!err || err == ENOENT)
		err = t->o.user.len ? user_change(t, &u, err) : peer_change(t, &u, err);
	if (!err) {
		u.order = order_next(t, u.order);
		err = rules_save(t);
	}
	if (!err)
		err = gw_enrolled_save(dir, &u, t->err, sizeof(t->err));
	if (!err)
		err = sign_user(t, &u);
	OPENSSL_cleanse(&u, sizeof(u));
	return err;
}

struct refresh {
	struct task *t;
	int err;
};

static bool refresh_one(const struct gw_enrolled *found, void *arg)
{
	struct refresh *r = arg;
	struct task *t = r->t;
	struct gw_enrolled u = *found;

	for (unsigned int i = 0; i < u.n_peers; i++)
		if (u.peer[i].state == GW_ENROLLED_YES && gw_member_revoked(t->gw, &u.peer[i].hit))
			u.peer[i].state = GW_ENROLLED_NO;
	u.order = order_next(t, u.order);
	r->err = gw_enrolled_save(t->gw->settings->authority_dir, &u, t->err, sizeof(t->err));
	if (!r->err)
		r->err = sign_user(t, &u);
	OPENSSL_cleanse(&u, sizeof(u));
	return !r->err;
}

static int all(struct task *t)
{
	struct refresh r = {.t = t};
	int err = gw_enrolled_scan(t->gw->settings->authority_dir, refresh_one, &r, t->err,
				   sizeof(t->err));

	return r.err ? r.err : err == ENOENT ? 0 : err;
}

static bool is_user(const struct gw_enrolled *u, void *arg)
{
	bool *users = arg;

	*users = *users || (u->len && !u->removed);
	return !*users;
}

struct lacking {
	uint8_t digests;
	bool found;
	char name[P2P_NAME_MAX + 1];
};

static bool is_lacking(const struct gw_enrolled *u, void *arg)
{
	struct lacking *l = arg;

	if (!u->len || u->removed || (l->digests & ~u->digests) == 0)
		return true;
	l->found = true;
	memcpy(l->name, u->name, u->len + 1);
	return false;
}

/* Nobody may be asked for a digest that there is no HA1 for. */
static int digests_check(struct task *t, uint8_t digests)
{
	struct lacking l = {.digests = digests};

	gw_enrolled_scan(t->gw->settings->authority_dir, is_lacking, &l, t->err, sizeof(t->err));
	if (!l.found)
		return 0;
	snprintf(t->err, sizeof(t->err),
		 "user '%s' has no HA1 for %s: give it its password again first (user passwd)",
		 l.name, p2p_digests_text(digests));
	return EEXIST;
}

static int rules_change(struct task *t, int found)
{
	const struct gw_enrolled_rules *want = &t->o.rules;

	if (t->o.what != GW_ENROL_RULES)
		return found == ENOENT ? refuse(t, ENOENT,
						"the overlay has no realm yet: p2psipctl overlay "
						"rules --realm REALM")
				       : found;
	if (found && found != ENOENT)
		return found;
	if (found)
		t->rules = (struct gw_enrolled_rules){.digests = P2P_DIGEST_MD5};
	if (*want->realm && *t->rules.realm && strcmp(want->realm, t->rules.realm)) {
		bool users = false;

		gw_enrolled_scan(t->gw->settings->authority_dir, is_user, &users, t->err,
				 sizeof(t->err));
		if (users)
			return refuse(t, EEXIST,
				      "users are enrolled: their passwords hold for the realm that "
				      "is");
	}
	if (*want->realm)
		strcpy(t->rules.realm, want->realm);
	if (want->digests && digests_check(t, want->digests))
		return EEXIST;
	if (want->digests)
		t->rules.digests = want->digests;
	if (!t->o.keep_permission)
		t->rules.permission_required = want->permission_required;
	return *t->rules.realm ? 0 : refuse(t, EINVAL, "the overlay has no realm yet: --realm");
}

static void work(struct task *t)
{
	struct gw *gw = t->gw;
	const char *dir = gw->settings->authority_dir;
	int err = gw_authority_load(&t->authority, dir, t->err, sizeof(t->err));

	if (!err && memcmp(gw_authority_anchor(t->authority)->pubkey, gw->anchor->pubkey,
			   sizeof(gw->anchor->pubkey)))
		err = refuse(t, EINVAL, "the authority here is another overlay's");
	t->now_ms = gw_wall(gw);
	t->puts = 1;
	if (!err)
		err = rules_change(t,
				   gw_enrolled_rules_load(dir, &t->rules, t->err, sizeof(t->err)));
	t->rules.order = order_next(t, t->rules.order);
	if (!err && t->o.what == GW_ENROL_REFRESH)
		err = all(t);
	else if (!err && t->o.what != GW_ENROL_RULES)
		err = one(t);
	/* signed or not: what was signed is told to all */
	if (!err || t->signed_users) {
		int err2 = rules_save(t);

		err = err ? err : err2;
	}
	gw_authority_free(t->authority);
	t->authority = NULL;
	if (err && t->puts == 1) {
		task_end(t, err);
		return;
	}
	t->late = t->late || err;
	on_put(0, t);
}

/* --- public keys ------------------------------------------------------------------------------ */

static void resolve(struct task *t);

static void on_peer(int err, const struct p2p_record *rec, void *arg)
{
	struct task *t = arg;
	char hit[P2P_HIT_TEXT_MAX];

	if (err) {
		p2p_hit_print(&t->o.user.peer[t->resolving].hit, hit);
		snprintf(t->err, sizeof(t->err), "%s: %s", hit,
			 err == ENOENT ? "the overlay has no such peer (it must have been up once)"
				       : "its record was not found in time");
		task_end(t, err);
		return;
	}
	memcpy(t->o.user.peer[t->resolving].pubkey, rec->pubkey, P2P_PUBKEY_LEN);
	t->resolving++;
	resolve(t);
}

static void resolve(struct task *t)
{
	struct gw *gw = t->gw;
	struct gw_enrolled *u = &t->o.user;

	for (; t->resolving < u->n_peers; t->resolving++) {
		struct gw_enrolled_peer *p = &u->peer[t->resolving];

		if (p2p_hit_cmp(&p->hit, &gw->hit)) {
			gw_peers_get(gw->peers, &p->hit, RESOLVE_MS, on_peer, t);
			return;
		}
		memcpy(p->pubkey, gw->pubkey, sizeof(p->pubkey));
	}
	work(t);
}

void gw_enrol_order(struct gw *gw, const struct gw_enrol_order *order, gw_enrol_h *h, void *arg)
{
	struct task *t;

	if (!gw->enrolled) {
		h(EPERM, "this overlay has no authority: its users are not enrolled", arg);
		return;
	}
	t = calloc(1, sizeof(*t));
	if (!t) {
		h(ENOMEM, "no memory", arg);
		return;
	}
	t->gw = gw;
	t->o = *order;
	t->h = h;
	t->arg = arg;
	/* who is taken away need not be there any more */
	if (order->what == GW_ENROL_DENY || order->what == GW_ENROL_PEER_DENY)
		work(t);
	else
		resolve(t);
}

static void on_rekeyed(int err, const char *text, void *arg)
{
	struct gw *gw = arg;

	if (err && err != EINPROGRESS && err != ENOENT)
		p2p_log(gw->log, P2P_LOG_ERR,
			"users' enrolment is not signed anew for the new secret: %s", text);
	else if (!err)
		p2p_log(gw->log, P2P_LOG_INFO, "users' enrolment was signed anew");
}

void gw_enrol_rekeyed(struct gw *gw)
{
	struct gw_enrol_order o = {.what = GW_ENROL_REFRESH};

	gw_enrol_order(gw, &o, on_rekeyed, gw);
}

static void on_resumed(int err, const char *text, void *arg)
{
	struct gw *gw = arg;

	if (err && err != EINPROGRESS)
		p2p_log(gw->log, P2P_LOG_ERR, "users' enrolment is not signed anew: %s", text);
}

void gw_enrol_resume(struct gw *gw)
{
	struct gw_enrol_order o = {.what = GW_ENROL_REFRESH};
	const char *dir = gw->settings->authority_dir;
	struct gw_enrolled_rules rules;
	char err[TEXT_MAX];

	if (!gw->enrolled || !*dir || gw_enrolled_rules_load(dir, &rules, err, sizeof(err)) ||
	    rules.order <= gw_auth_rules_order(gw->rules))
		return;
	p2p_log(gw->log, P2P_LOG_INFO,
		"%s is ahead of what was signed: users' enrolment is signed anew", dir);
	gw_enrol_order(gw, &o, on_resumed, gw);
}
