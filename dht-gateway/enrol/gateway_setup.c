/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/enrol/gateway_setup.h"
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/engine/gateway_bootstrap.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/enrol/gateway_known.h"
#include "dht-gateway/enrol/gateway_renew.h"
#include "dht-gateway/enrol/gateway_roster.h"
#include "dht-gateway/keys/gateway_secret.h"

#define PEM_MAX 4096

static int path_of(char path[PATH_MAX], const char *dir, const char *name, char *err, size_t errlen)
{
	if (snprintf(path, PATH_MAX, "%s/%s", dir, name) < PATH_MAX)
		return 0;
	snprintf(err, errlen, "%s: %s", dir, strerror(ENAMETOOLONG));
	return ENAMETOOLONG;
}

static int say(int ret, const char *path, char *err, size_t errlen)
{
	if (ret)
		snprintf(err, errlen, "%s: %s", path, strerror(ret));
	return ret;
}

int gw_setup_identity(const char *dir, struct gw_identity **ip, char *err, size_t errlen)
{
	char path[PATH_MAX];
	int ret = say(gw_file_mkdir(dir), dir, err, errlen);

	if (!ret)
		ret = path_of(path, dir, GW_SETUP_SECRET, err, errlen);
	if (!ret && !access(path, F_OK)) {
		snprintf(err, errlen, "%s is there: this peer is in an overlay already", path);
		return EEXIST;
	}
	if (!ret)
		ret = path_of(path, dir, GW_SETUP_IDENTITY, err, errlen);
	if (!ret && access(path, F_OK) && errno == ENOENT)
		ret = gw_identity_create(path, err, errlen);
	return ret ? ret : gw_identity_load(ip, path, err, errlen);
}

static int pem_write(const char *dir, const char *name, X509 *cert, char *err, size_t errlen)
{
	char path[PATH_MAX], pem[PEM_MAX];
	size_t len;
	int ret = path_of(path, dir, name, err, errlen);

	if (!ret)
		ret = say(gw_cert_print(&cert, 1, pem, sizeof(pem), &len), path, err, errlen);
	return ret ? ret : say(gw_file_replace(path, pem, len), path, err, errlen);
}

static bool is_other(const struct gw_member *m, void *arg)
{
	const struct p2p_hit **hit = arg;

	if (!p2p_hit_cmp(&m->hit, *hit))
		return true;
	*hit = NULL;
	return false;
}

/* One that was interrupted when it was made is gone on with; one that is at work is not touched. */
static int authority_get(const char *dir, const struct p2p_hit *hit, uint64_t now_ms,
			 struct gw_authority **ap, char *err, size_t errlen)
{
	const struct p2p_hit *other = hit;
	int ret = gw_authority_create(dir, (int64_t)(now_ms / 1000), err, errlen);

	if (ret && ret != EEXIST)
		return ret;
	if (ret == EEXIST && !gw_roster_scan(dir, is_other, &other) && !other) {
		snprintf(err, errlen,
			 "%s: the authority of an overlay that has peers already: let this one "
			 "join it (p2psipctl invite, there, and p2psipctl join, here)",
			 dir);
		return EEXIST;
	}
	return gw_authority_load(ap, dir, err, errlen);
}

int gw_setup_create(const char *state_dir, const char *authority_dir, int64_t days, uint64_t now_ms,
		    const struct gw_identity *identity, struct p2p_overlay_id *overlay, char *err,
		    size_t errlen)
{
	int64_t from_s = (int64_t)(now_ms / 1000) - GW_CERT_BEFORE_S;
	int64_t until_s = (int64_t)(now_ms / 1000) + days * 86400;
	struct gw_member member = {.hit = *gw_identity_hit(identity),
				   .since_ms = now_ms,
				   .until_ms = (uint64_t)until_s * 1000};
	struct gw_authority *a = NULL;
	char path[PATH_MAX];
	X509 *cert = NULL;
	int ret = authority_get(authority_dir, &member.hit, now_ms, &a, err, errlen);

	if (ret)
		return ret;
	memcpy(member.pubkey, gw_identity_pubkey(identity), sizeof(member.pubkey));
	ret = say(gw_authority_issue(a, gw_identity_key(identity), from_s, until_s, &cert),
		  authority_dir, err, errlen);
	if (!ret)
		ret = say(gw_roster_put(authority_dir, &member), authority_dir, err, errlen);
	if (!ret)
		ret = pem_write(state_dir, GW_PEER_CERT, cert, err, errlen);
	if (!ret)
		ret = pem_write(state_dir, GW_AUTHORITY_CERT, gw_authority_anchor(a)->cert, err,
				errlen);
	if (!ret)
		ret = path_of(path, state_dir, GW_SETUP_SECRET, err, errlen);
	if (!ret)
		ret = gw_secret_create(path, err, errlen);
	if (!ret)
		*overlay = gw_authority_anchor(a)->overlay;
	X509_free(cert);
	gw_authority_free(a);
	return ret;
}

/* --- joining -----------------------------------------------------------------------------------
 */

struct papers {
	struct gw_anchor anchor;
	X509 *cert;
};

static void papers_clear(struct papers *p)
{
	X509_free(p->cert);
	gw_anchor_clear(&p->anchor);
}

/* Is it all what the token promises, and for us? */
static int papers_read(struct papers *p, const struct gw_identity *identity,
		       const struct p2p_token *token, const struct p2p_opp_enrolled *e,
		       uint64_t now_ms, char *err, size_t errlen)
{
	enum gw_cert_fault fault;
	X509 *authority = NULL;
	struct p2p_hit hit;
	int ret = gw_cert_parse_base64(&authority, e->authority, strlen(e->authority));

	if (!ret) {
		ret = gw_anchor_init(&p->anchor, authority);
		if (ret)
			X509_free(authority);
	}
	if (ret || memcmp(&p->anchor.overlay, &token->overlay, sizeof(token->overlay))) {
		snprintf(err, errlen, "the answer is of another overlay's authority");
		return EBADMSG;
	}
	if (gw_cert_parse_base64(&p->cert, e->certificate, strlen(e->certificate)) ||
	    !e->secret.len) {
		snprintf(err, errlen, "the answer is not whole");
		return EBADMSG;
	}
	fault = gw_cert_check_peer(p->cert, p->anchor.cert, &p->anchor.overlay,
				   (int64_t)(now_ms / 1000), gw_identity_crypto(identity), &hit);
	if (!fault && p2p_hit_cmp(&hit, gw_identity_hit(identity)))
		fault = GW_CERT_KEY;
	if (fault) {
		snprintf(err, errlen, "the certificate in the answer is of no use: %s",
			 gw_cert_fault_text(fault));
		return EBADMSG;
	}
	return 0;
}

static void bootstrap_fill(struct gw_bootstrap *b, const struct p2p_opp_enrolled *e,
			   const char *host)
{
	for (unsigned int i = 0; i < e->n_bootstrap; i++) {
		char text[2 * P2P_OPP_ADDRESS_MAX];
		const char *s = e->bootstrap[i];

		if (*s == ':')
			snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]%s" : "%s%s", host,
				 s);
		else
			snprintf(text, sizeof(text), "%s", s);
		gw_bootstrap_add(b, text);
	}
}

static int secret_write(const char *path, const struct p2p_opp_secret *s)
{
	struct gw_secrets secrets;
	int ret;

	memset(&secrets, 0, sizeof(secrets));
	secrets.n = 1;
	secrets.e[0].s.len = s->len;
	memcpy(secrets.e[0].s.b, s->b, s->len);
	secrets.e[0].generation = s->generation;
	ret = gw_secrets_save(&secrets, path);
	OPENSSL_cleanse(&secrets, sizeof(secrets));
	return ret;
}

int gw_setup_join(const char *dir, const struct gw_identity *identity,
		  const struct p2p_token *token, const struct p2p_opp_enrolled *e, const char *host,
		  uint16_t port, uint64_t now_ms, char *err, size_t errlen)
{
	struct gw_bootstrap bootstrap = {0};
	struct papers papers = {0};
	char path[PATH_MAX], inviter[P2P_HIT_TEXT_MAX + 1], gateways[256];
	int ret = papers_read(&papers, identity, token, e, now_ms, err, errlen);

	p2p_hit_print(&token->hit, inviter);
	snprintf(gateways, sizeof(gateways), "%s %s %u\n", inviter, host, port);
	strcat(inviter, "\n");
	bootstrap_fill(&bootstrap, e, host);
	if (!ret)
		ret = pem_write(dir, GW_PEER_CERT, papers.cert, err, errlen);
	if (!ret)
		ret = pem_write(dir, GW_AUTHORITY_CERT, papers.anchor.cert, err, errlen);
	if (!ret)
		ret = path_of(path, dir, GW_BOOTSTRAP_FILE, err, errlen);
	if (!ret)
		ret = say(gw_bootstrap_save(&bootstrap, path), path, err, errlen);
	if (!ret)
		ret = path_of(path, dir, GW_KNOWN_FILE, err, errlen);
	if (!ret)
		ret = say(gw_file_replace(path, gateways, strlen(gateways)), path, err, errlen);
	if (!ret)
		ret = path_of(path, dir, GW_INVITER_FILE, err, errlen);
	if (!ret)
		ret = say(gw_file_replace(path, inviter, strlen(inviter)), path, err, errlen);
	if (!ret)
		ret = path_of(path, dir, GW_SETUP_SECRET, err, errlen);
	if (!ret)
		ret = say(secret_write(path, &e->secret), path, err, errlen);
	papers_clear(&papers);
	return ret;
}
