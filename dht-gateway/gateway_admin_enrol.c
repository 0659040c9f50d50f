/* SPDX-License-Identifier: GPL-2.0-or-later */
/* INVITE, MEMBERS, REVOKE. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "dht-gateway/gateway_admin.h"
#include "dht-gateway/enrol/gateway_enrol.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/enrol/gateway_rotate.h"
#include "lib/base/bytes.h"

#define ADDRESS_MAX 128

static const char *code_of(int err)
{
	switch (err) {
	case ENOENT:
		return "NOTFOUND";
	case EINVAL:
		return "BADARG";
	case EBUSY:
		return "BUSY";
	default:
		return "INTERNAL";
	}
}

/* INVITE seconds [address] */
void gw_admin_invite(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	char token[P2P_TOKEN_MAX], err[512];
	uint64_t ttl_s;
	int ret;

	if (p2p_u64_parse(&ttl_s, argv[1].s, argv[1].len) || !ttl_s ||
	    ttl_s > GW_INVITE_TTL_MAX_S) {
		resp_reply_error(req, "BADARG", "an invitation holds for 1 to %d seconds",
				 GW_INVITE_TTL_MAX_S);
		return;
	}
	if (argc > 2 && argv[2].len >= ADDRESS_MAX) {
		resp_reply_error(req, "BADARG", "the address is too long");
		return;
	}
	ret = gw_enrol_invite(gw_admin_gw(arg), ttl_s, argc > 2 ? argv[2].s : NULL, token, err,
			      sizeof(err));
	if (ret)
		resp_reply_error(req, code_of(ret), "%s", err);
	else
		resp_reply_str(req, token);
}

struct members {
	struct gw *gw;
	struct gw_member *v;
	size_t n, cap;
};

static bool gather(const struct gw_member *m, void *arg)
{
	struct members *all = arg;

	if (all->n == all->cap) {
		size_t cap = all->cap ? 2 * all->cap : 64;
		struct gw_member *v = realloc(all->v, cap * sizeof(*v));

		if (!v)
			return false;
		all->v = v;
		all->cap = cap;
	}
	all->v[all->n++] = *m;
	return true;
}

static int by_age(const void *a, const void *b)
{
	const struct gw_member *x = a, *y = b;

	if (x->since_ms != y->since_ms)
		return x->since_ms < y->since_ms ? -1 : 1;
	return p2p_hit_cmp(&x->hit, &y->hit);
}

static struct gw_member *find(struct members *all, const struct p2p_hit *hit)
{
	for (size_t i = 0; i < all->n; i++)
		if (!p2p_hit_cmp(&all->v[i].hit, hit))
			return &all->v[i];
	return NULL;
}

/* The signed list says who is out, whatever the authority's folder does. */
static void merge_revoked(struct members *all)
{
	static const struct p2p_hit none;
	uint32_t n = gw_revocations_count(all->gw->members);
	struct p2p_revocation r;
	uint64_t when_ms;

	for (uint32_t i = 1; i <= n; i++) {
		struct gw_member *m;

		if (gw_revocation_get(all->gw->members, i, &r, &when_ms) ||
		    !p2p_hit_cmp(&r.hit, &none))
			continue;
		m = find(all, &r.hit);
		if (m)
			m->revoked_ms = when_ms;
		else
			gather(&(struct gw_member){.hit = r.hit, .revoked_ms = when_ms}, all);
	}
}

static void pair_date(struct resp_request *req, const char *key, uint64_t ms)
{
	time_t t = (time_t)(ms / 1000);
	char text[40] = "";
	struct tm tm;

	if (ms && gmtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	gw_pair_str(req, key, text);
}

/* MEMBERS [cursor [count]] */
void gw_admin_members(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct members all = {.gw = gw_admin_gw(arg)};
	uint64_t cursor, count, now = gw_wall(all.gw);
	size_t n;

	if (!gw_args_page(req, argc, argv, &cursor, &count))
		return;
	if (!all.gw->enrolled) {
		resp_reply_error(req, "NOTFOUND",
				 "this overlay has no authority: whoever has its "
				 "secret is a member");
		return;
	}
	if (gw_enrol_here(all.gw))
		gw_roster_scan(all.gw->settings->authority_dir, gather, &all);
	merge_revoked(&all);
	if (all.n)
		qsort(all.v, all.n, sizeof(*all.v), by_age);
	n = cursor < all.n ? all.n - cursor : 0;
	if (n > count)
		n = count;
	resp_reply_array(req, 2);
	resp_reply_u64(req, cursor + n < all.n ? cursor + n : 0);
	resp_reply_array(req, n);
	for (size_t i = 0; i < n; i++) {
		const struct gw_member *m = &all.v[cursor + i];

		resp_reply_array(req, 10);
		gw_pair_hit(req, "peer", &m->hit);
		gw_pair_str(req, "state",
			    m->revoked_ms	 ? "revoked"
			    : m->until_ms <= now ? "expired"
						 : "member");
		pair_date(req, "since", m->since_ms);
		pair_date(req, "until", m->until_ms);
		pair_date(req, "revoked", m->revoked_ms);
	}
	free(all.v);
}

/* REVOKE hit */
void gw_admin_revoke(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw *gw = gw_admin_gw(arg);
	struct p2p_hit hit;
	char err[512];
	int ret;

	(void)argc;
	if (p2p_hit_parse(&hit, argv[1].s, argv[1].len)) {
		resp_reply_error(req, "BADARG", "that is no HIT");
		return;
	}
	ret = gw_rotation_revoke(gw->rotation, &hit, err, sizeof(err));
	if (ret) {
		resp_reply_error(req, code_of(ret), "%s", err);
		return;
	}
	resp_reply_array(req, 6);
	gw_pair_hit(req, "revoked", &hit);
	gw_pair_u64(req, "number", gw_revocations_count(gw->members));
	gw_pair_u64(req, "secret_generation", gw->secrets.e[0].generation);
}
