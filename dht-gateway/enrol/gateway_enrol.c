/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/enrol/gateway_enrol.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/peers/gateway_serve.h"
#include "lib/io/https_tls.h"
#include "lib/model/userset.h"

bool gw_enrol_here(const struct gw *gw)
{
	char path[PATH_MAX];

	return gw->enrolled && *gw->settings->authority_dir &&
	       snprintf(path, sizeof(path), "%s/%s", gw->settings->authority_dir,
			GW_AUTHORITY_KEY) < (int)sizeof(path) &&
	       !access(path, R_OK);
}

int gw_enrol_authority(const struct gw *gw, struct gw_authority **ap, char *err, size_t errlen)
{
	const char *dir = gw->settings->authority_dir;
	struct gw_authority *a;
	int ret;

	if (!gw->enrolled) {
		snprintf(err, errlen, "this overlay has no authority");
		return ENOENT;
	}
	if (!gw_enrol_here(gw)) {
		snprintf(err, errlen, "the overlay's authority is not here (%s has no %s)",
			 *dir ? dir : "[overlay] authority_dir", GW_AUTHORITY_KEY);
		return ENOENT;
	}
	ret = gw_authority_load(&a, dir, err, errlen);
	if (ret)
		return ret;
	if (memcmp(&gw_authority_anchor(a)->overlay, &gw->overlay, sizeof(gw->overlay))) {
		snprintf(err, errlen, "%s: the authority of another overlay", dir);
		gw_authority_free(a);
		return EINVAL;
	}
	*ap = a;
	return 0;
}

/* --- invitations -------------------------------------------------------------------------------
 */

static void locator_text(const struct p2p_locator *l, char text[P2P_TOKEN_ADDRESS_MAX])
{
	char host[INET6_ADDRSTRLEN];

	inet_ntop(l->family == 4 ? AF_INET : AF_INET6, l->addr, host, sizeof(host));
	snprintf(text, P2P_TOKEN_ADDRESS_MAX, l->family == 4 ? "%s:%u" : "[%s]:%u", host, l->port);
}

/* Where others reach this gateway, as our own records say. */
static void addresses_known(const struct gw *gw, struct p2p_token *token)
{
	struct p2p_locator gateway[P2P_USERSET_GATEWAYS_MAX];
	struct p2p_record rec;
	unsigned int n;

	memset(&rec, 0, sizeof(rec));
	if (gw_peers_locators(gw->peers, &rec))
		gw_serve_locators(gw->serve, &rec);
	n = p2p_record_gateways(&rec, gateway);
	for (unsigned int i = 0; i < n && token->n_addresses < P2P_TOKEN_ADDRESSES_MAX; i++)
		locator_text(&gateway[i], token->address[token->n_addresses++]);
}

static int address_given(const char *address, struct p2p_token *token, char *err, size_t errlen)
{
	char *to = token->address[0];
	const char *colon = strrchr(address, ':');
	bool port = colon && (*address != '[' || colon[-1] == ']') &&
		    (*address == '[' || strchr(address, ':') == colon);
	bool bare6 = !port && *address != '[' && colon;
	int n = bare6	? snprintf(to, P2P_TOKEN_ADDRESS_MAX, "[%s]:%d", address, GW_PEERS_PORT)
		: !port ? snprintf(to, P2P_TOKEN_ADDRESS_MAX, "%s:%d", address, GW_PEERS_PORT)
			: snprintf(to, P2P_TOKEN_ADDRESS_MAX, "%s", address);

	if (n < 0 || n >= P2P_TOKEN_ADDRESS_MAX || p2p_token_address_check(to)) {
		snprintf(err, errlen,
			 "'%.100s' is no address like 192.0.2.1, 192.0.2.1:7443 or "
			 "peer1.example.org",
			 address);
		return EINVAL;
	}
	token->n_addresses = 1;
	return 0;
}

int gw_enrol_invite(struct gw *gw, uint64_t ttl_s, const char *address, char text[P2P_TOKEN_MAX],
		    char *err, size_t errlen)
{
	struct p2p_token token = {.overlay = gw->overlay, .hit = gw->hit};
	struct gw_authority *a;
	uint64_t now = gw_wall(gw);
	int ret = gw_enrol_authority(gw, &a, err, errlen);

	if (ret)
		return ret;
	gw_authority_free(a);
	if (!gw->settings->peers_enabled) {
		snprintf(err, errlen, "other gateways are not listened to ([peers] enabled)");
		return EINVAL;
	}
	if (address && *address) {
		ret = address_given(address, &token, err, errlen);
		if (ret)
			return ret;
	} else {
		addresses_known(gw, &token);
	}
	if (!token.n_addresses) {
		snprintf(err, errlen,
			 "it is not known at which address others reach this gateway: "
			 "say it (--address)");
		return EINVAL;
	}
	token.expiry_s = now / 1000 + ttl_s;
	ret = gw_crypto_random(token.secret, sizeof(token.secret));
	if (!ret)
		ret = p2p_token_print(&token, text);
	if (!ret)
		ret = gw_roster_invite(gw->settings->authority_dir, token.secret,
				       token.expiry_s * 1000, now);
	OPENSSL_cleanse(&token, sizeof(token));
	if (ret)
		snprintf(err, errlen, "%s: the invitation cannot be kept: %s",
			 gw->settings->authority_dir, strerror(ret));
	else
		p2p_log(gw->log, P2P_LOG_INFO, "an invitation was made, good for %llu s",
			(unsigned long long)ttl_s);
	return ret;
}

/* --- certificates ------------------------------------------------------------------------------
 */

static int refuse(struct p2p_opp_error *error, int status, enum p2p_opp_error_code code,
		  const char *reason)
{
	memset(error, 0, sizeof(*error));
	error->code = code;
	snprintf(error->reason, sizeof(error->reason), "%s", reason);
	return status;
}

/* Signs, and writes down who has what. */
static int issue(struct gw *gw, struct gw_authority *a, EVP_PKEY *key, const struct p2p_hit *hit,
		 X509 **cp)
{
	const char *dir = gw->settings->authority_dir;
	uint64_t now = gw_wall(gw);
	int64_t from_s = (int64_t)(now / 1000) - GW_CERT_BEFORE_S;
	int64_t until_s = (int64_t)(now / 1000) + gw->settings->certificate_days * 86400;
	struct gw_member member = {.since_ms = now};
	int err = gw_roster_member(dir, hit, &member);

	if (err && err != ENOENT)
		return err;
	member.hit = *hit;
	member.until_ms = (uint64_t)until_s * 1000;
	err = gw_crypto_pubkey(key, member.pubkey);
	if (!err)
		err = gw_authority_issue(a, key, from_s, until_s, cp);
	if (err)
		return err;
	err = gw_roster_put(dir, &member);
	if (err) {
		X509_free(*cp);
		*cp = NULL;
	}
	return err;
}

static void bootstrap_add(struct p2p_opp_enrolled *out, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void bootstrap_add(struct p2p_opp_enrolled *out, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (out->n_bootstrap == P2P_OPP_BOOTSTRAP_MAX)
		return;
	va_start(ap, fmt);
	n = vsnprintf(out->bootstrap[out->n_bootstrap], P2P_OPP_ADDRESS_MAX, fmt, ap);
	va_end(ap);
	out->n_bootstrap += n > 0 && n < P2P_OPP_ADDRESS_MAX;
}

/* Our own DHT node first, then those that we joined by. */
static void bootstrap_fill(const struct gw *gw, struct p2p_opp_enrolled *out)
{
	const struct gw_settings *s = gw->settings;
	bool any4 = !strcmp(s->bind4, "0.0.0.0"), any6 = !strcmp(s->bind6, "::");

	if (*s->bind4 && !any4)
		bootstrap_add(out, "%s:%d", s->bind4, (int)s->port);
	if (*s->bind6 && !any6)
		bootstrap_add(out, "[%s]:%d", s->bind6, (int)s->port);
	if (any4 || any6)
		bootstrap_add(out, ":%d", (int)s->port);
	for (size_t i = 0; i < s->bootstrap.n; i++)
		if (strchr(s->bootstrap.v[i], ':'))
			bootstrap_add(out, "%s", s->bootstrap.v[i]);
}

static int enrolled_fill(struct gw *gw, const struct gw_authority *a, X509 *cert, bool invited,
			 struct p2p_opp_enrolled *out)
{
	int err = gw_cert_base64(cert, out->certificate, sizeof(out->certificate));

	if (!err)
		err = gw_cert_base64(gw_authority_anchor(a)->cert, out->authority,
				     sizeof(out->authority));
	if (err || !invited)
		return err;
	out->secret.generation = gw->secrets.e[0].generation;
	out->secret.len = (uint8_t)gw->secret.len;
	memcpy(out->secret.b, gw->secret.b, gw->secret.len);
	bootstrap_fill(gw, out);
	return 0;
}

/* Is this one to get a certificate? 0, or why not. */
static int admissible(struct gw *gw, const struct p2p_hit *hit, const struct p2p_opp_enrol *ask,
		      struct p2p_opp_error *error)
{
	const char *dir = gw->settings->authority_dir;
	struct gw_member member;
	int err;

	if (gw_member_revoked(gw, hit))
		return refuse(error, 403, P2P_OPP_E_MEMBER, "this Host Identity was revoked");
	if (!ask->invited) {
		err = gw_roster_member(dir, hit, &member);
		if (err || member.revoked_ms)
			return refuse(error, 403, P2P_OPP_E_MEMBER,
				      "this Host Identity is not a member");
		return 0;
	}
	err = gw_roster_redeem(dir, ask->token, hit, gw_wall(gw));
	switch (err) {
	case 0:
		return 0;
	case ENOENT:
		return refuse(error, 403, P2P_OPP_E_INVITATION, "there is no such invitation");
	case EALREADY:
		return refuse(error, 403, P2P_OPP_E_INVITATION,
			      "the invitation was used by another peer");
	case ESTALE:
		return refuse(error, 403, P2P_OPP_E_INVITATION, "the invitation has expired");
	default:
		p2p_log(gw->log, P2P_LOG_ERR, "%s: an invitation cannot be used: %s", dir,
			strerror(err));
		return refuse(error, 503, P2P_OPP_E_BUSY,
			      "the authority's folder cannot be written");
	}
}

int gw_enrol_answer(struct gw *gw, X509 *cert, const struct p2p_hit *hit,
		    const struct p2p_opp_enrol *ask, struct p2p_opp_enrolled *out,
		    struct p2p_opp_error *error)
{
	char text[P2P_HIT_TEXT_MAX], err[256];
	struct gw_authority *a;
	X509 *issued = NULL;
	int ret = gw_enrol_authority(gw, &a, err, sizeof(err)), status;

	p2p_hit_print(hit, text);
	if (ret == ENOENT)
		return refuse(error, 404, P2P_OPP_E_NOTFOUND, "the authority is not here");
	if (ret) {
		p2p_log(gw->log, P2P_LOG_ERR, "%s", err);
		return refuse(error, 503, P2P_OPP_E_BUSY, "the authority cannot be used");
	}
	memset(out, 0, sizeof(*out));
	status = admissible(gw, hit, ask, error);
	if (status) {
		gw->metrics.enrol_refused++;
		/* each reason has its line */
		snprintf(err, sizeof(err), "%s is refused %s: %s", text,
			 ask->invited ? "membership" : "a certificate", error->reason);
		gw_warn_source(gw, err, strlen(err), "%s", err);
		goto out;
	}
	ret = issue(gw, a, X509_get0_pubkey(cert), hit, &issued);
	if (!ret)
		ret = enrolled_fill(gw, a, issued, ask->invited, out);
	if (ret) {
		p2p_log(gw->log, P2P_LOG_ERR, "%s gets no certificate: %s", text, strerror(ret));
		status = refuse(error, 503, P2P_OPP_E_BUSY, "the certificate cannot be made");
		goto out;
	}
	gw->metrics.enrol_issued++;
	p2p_log(gw->log, P2P_LOG_INFO, "%s %s", text,
		ask->invited ? "is a member of the overlay now" : "has got another certificate");
out:
	X509_free(issued);
	gw_authority_free(a);
	return status;
}

int gw_enrol_own(struct gw *gw, X509 **cp, char *err, size_t errlen)
{
	struct gw_authority *a;
	int ret = gw_enrol_authority(gw, &a, err, errlen);

	if (ret)
		return ret;
	ret = issue(gw, a, gw->tls->key, &gw->hit, cp);
	if (ret)
		snprintf(err, errlen, "a certificate for this peer: %s", strerror(ret));
	gw_authority_free(a);
	return ret;
}
