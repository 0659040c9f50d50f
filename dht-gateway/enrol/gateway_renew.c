/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/enrol/gateway_renew.h"
#include <errno.h>
#include <event2/event.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/enrol/gateway_enrol.h"
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/keys/gateway_leaf.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/peers/gateway_serve.h"
#include "dht-gateway/gateway_state.h"
#include "lib/io/https_tls.h"
#include "lib/model/userset.h"

#define CHECK_MS 60000
#define ASK_MS 5000
#define WARN_MS (24 * 3600000ull)

struct gw_renewal {
	struct gw *gw;
	struct event *timer;
	struct gw_ask *ask;
	bool reading; /* gw_peers_get will call back */
	bool over;    /* and then only memory is left */
	bool inviter_known;
	struct p2p_hit inviter, asked;
	uint64_t turn; /* whom to ask next: 0 the inviter */
	struct p2p_opp_enrolled got;
	uint64_t warned_ms; /* mono */
	char why[160];
};

/* --- Kamailio's --------------------------------------------------------------------------------
 */

/* What is in the state folder can be read by its group only if it may pass through. */
static void passable(const struct gw *gw)
{
	const char *state = gw->settings->state_dir;
	size_t n = strlen(state);
	struct stat st;

	if (!strncmp(gw->settings->tls_dir, state, n) && gw->settings->tls_dir[n] == '/' &&
	    !stat(state, &st) && (st.st_mode & 0011) != 0011 &&
	    chmod(state, (st.st_mode & 07777) | 0011))
		p2p_log(gw->log, P2P_LOG_WARN, "%s: cannot be made passable for Kamailio: %s",
			state, strerror(errno));
}

static void leaf_update(struct gw *gw)
{
	const struct gw_settings *s = gw->settings;
	struct group *group = *s->socket_group ? getgrnam(s->socket_group) : NULL;
	struct gw_leaf_config c = {
		.dir = s->tls_dir,
		.group = group && group->gr_gid != getegid() ? group->gr_gid : (gid_t)-1,
		.hit = &gw->hit,
		.peer_key = gw->tls->key,
		.peer = gw_members_cert(gw->members),
		.authority = gw_members_anchor(gw->members)->cert,
		.now_s = (int64_t)(gw_wall(gw) / 1000),
		.days = s->tls_days,
	};
	char err[256];
	bool changed;

	if (!*s->tls_dir)
		return;
	passable(gw);
	if (gw_leaf_update(&c, &changed, err, sizeof(err))) {
		gw_warn_source(gw, "leaf", 4, "%s", err);
	} else if (changed) {
		p2p_log(gw->log, P2P_LOG_INFO, "%s: a new certificate for Kamailio", s->tls_dir);
		if (gw->tls_event)
			gw->tls_event(gw->event_arg);
	}
}

/* --- ours --------------------------------------------------------------------------------------
 */

static void lifetime(const struct gw *gw, int64_t *left_s, int64_t *all_s)
{
	X509 *cert = gw_members_cert(gw->members);

	*left_s = gw_cert_until(cert) - (int64_t)(gw_wall(gw) / 1000);
	*all_s = gw_cert_until(cert) - gw_cert_from(cert) - GW_CERT_BEFORE_S;
}

const char *gw_renewal_state(const struct gw *gw)
{
	int64_t left_s, all_s;

	lifetime(gw, &left_s, &all_s);
	return left_s <= 0	    ? "expired"
	       : left_s < all_s / 6 ? "ends soon"
	       : left_s < all_s / 3 ? "renewal due"
				    : "good";
}

static void take(struct gw_renewal *r, X509 *cert)
{
	struct gw *gw = r->gw;
	int err = gw_members_renew(gw->members, cert);

	if (err) {
		X509_free(cert);
		snprintf(r->why, sizeof(r->why), "the new one is of no use: %s", strerror(err));
		return;
	}
	X509_free(gw->tls->cert);
	gw->tls->cert = cert;
	X509_up_ref(cert);
	gw_serve_identity(gw->serve);
	gw_asks_identity(gw->asks);
	r->warned_ms = 0;
	r->turn = 0;
	p2p_log(gw->log, P2P_LOG_INFO, "this peer's certificate was renewed");
	leaf_update(gw);
}

static int read_enrolled(const char *body, size_t len, void *arg)
{
	struct gw_renewal *r = arg;

	return p2p_opp_enrolled_decode(&r->got, body, len);
}

static void on_answer(const struct gw_answer *a, void *arg)
{
	struct gw_renewal *r = arg;
	X509 *cert;

	r->ask = NULL;
	if (a->err)
		snprintf(r->why, sizeof(r->why), "%s", a->text);
	else if (gw_cert_parse_base64(&cert, r->got.certificate, strlen(r->got.certificate)))
		snprintf(r->why, sizeof(r->why), "the answer has no certificate");
	else
		take(r, cert);
}

static void on_peer(int err, const struct p2p_record *rec, void *arg)
{
	struct gw_renewal *r = arg;
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	struct p2p_opp_path path = {.version = P2P_OPP_VERSION,
				    .overlay = r->gw->overlay,
				    .resource = P2P_OPP_ENROLMENT};
	struct gw_question q = {
		.method = "POST", .path = &path, .body = "{}", .len = 2, .read = read_enrolled};
	unsigned int n;

	r->reading = false;
	if (r->over) {
		free(r);
		return;
	}
	n = err ? 0 : p2p_record_gateways(rec, gateway);
	err = n ? gw_asks_question(r->gw->asks, &r->asked, gateway, n, &q, ASK_MS, on_answer, r,
				   &r->ask)
		: ENOENT;
	if (err) {
		r->ask = NULL;
		snprintf(r->why, sizeof(r->why), "no peer that was asked has the authority");
	}
}

struct nth {
	uint64_t n;
	bool found;
	struct p2p_hit hit;
};

static void nth_peer(const struct gw_peer_info *info, void *arg)
{
	struct nth *nth = arg;

	nth->hit = info->hit;
	nth->found = true;
}

/* Another one at each turn. */
static bool choose(struct gw_renewal *r)
{
	struct nth nth = {0};
	uint64_t cursor;

	if (r->turn == 0 && r->inviter_known && !gw_member_revoked(r->gw, &r->inviter)) {
		r->turn = 1;
		r->asked = r->inviter;
		return true;
	}
	cursor = r->turn > 0 ? r->turn - 1 : 0;
	gw_peers_scan(r->gw->peers, &cursor, 1, nth_peer, &nth);
	r->turn = cursor ? cursor + 1 : 0;
	r->asked = nth.hit;
	return nth.found && p2p_hit_cmp(&nth.hit, &r->gw->hit) &&
	       !gw_member_revoked(r->gw, &nth.hit);
}

static void renew(struct gw_renewal *r)
{
	char err[256];
	X509 *cert;

	if (r->ask || r->reading)
		return;
	if (gw_enrol_here(r->gw)) {
		if (gw_enrol_own(r->gw, &cert, err, sizeof(err)))
			snprintf(r->why, sizeof(r->why), "%.150s", err);
		else
			take(r, cert);
		return;
	}
	if (!choose(r))
		return;
	r->reading = true;
	gw_peers_get(r->gw->peers, &r->asked, ASK_MS, on_peer, r);
}

static void warn(struct gw_renewal *r, int64_t left_s)
{
	uint64_t now = gw_mono(r->gw);

	if (r->warned_ms && now < r->warned_ms + WARN_MS)
		return;
	r->warned_ms = now ? now : 1;
	if (left_s <= 0)
		p2p_log(r->gw->log, P2P_LOG_ERR,
			"this peer's certificate has expired, and could not be renewed (%s): other "
			"peers refuse it",
			*r->why ? r->why : "the authority was not found");
	else
		p2p_log(r->gw->log, P2P_LOG_WARN,
			"this peer's certificate ends in %lld hours, and could not be renewed yet: "
			"%s",
			(long long)(left_s / 3600),
			*r->why ? r->why : "the authority was not found");
}

void gw_renewal_check(struct gw_renewal *r)
{
	int64_t left_s, all_s;

	if (!r || !r->gw->enrolled)
		return;
	leaf_update(r->gw);
	lifetime(r->gw, &left_s, &all_s);
	if (left_s >= all_s / 3)
		return;
	renew(r);
	lifetime(r->gw, &left_s, &all_s);
	if (left_s < all_s / 6)
		warn(r, left_s);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gw_renewal *r = arg;

	(void)fd;
	(void)what;
	gw_renewal_check(r);
	gw_timer_set(r->timer, CHECK_MS);
}

int gw_inviter_load(const struct gw *gw, struct p2p_hit *hit)
{
	char text[P2P_HIT_TEXT_MAX + 2];
	size_t len;
	int err = gw_file_read(gw_state_path(gw->state, GW_INVITER_FILE), text, sizeof(text), &len);

	if (err)
		return err;
	text[strcspn(text, "\n")] = 0;
	return p2p_hit_parse(hit, text, strlen(text));
}

int gw_renewal_new(struct gw_renewal **rp, struct gw *gw)
{
	struct gw_renewal *r = calloc(1, sizeof(*r));

	if (!r)
		return ENOMEM;
	r->gw = gw;
	r->timer = event_new(gw->base, -1, 0, on_timer, r);
	if (!r->timer) {
		free(r);
		return ENOMEM;
	}
	if (gw->enrolled) {
		r->inviter_known = !gw_inviter_load(gw, &r->inviter);
		leaf_update(gw);
		gw_timer_set(r->timer, CHECK_MS / 12);
	}
	*rp = r;
	return 0;
}

void gw_renewal_free(struct gw_renewal *r)
{
	if (!r)
		return;
	if (r->ask)
		gw_ask_cancel(r->ask);
	event_free(r->timer);
	r->over = true;
	if (!r->reading)
		free(r);
}
