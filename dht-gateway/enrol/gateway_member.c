/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/enrol/gateway_member.h"
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/gateway_map.h"

/* Certificates that were found good. */
#define VERDICTS_MAX 4096
#define PEM_MAX 4096
#define REVOKED_DIR "revoked"

struct verdict {
	int64_t from_s, until_s;
};

struct revoked {
	struct p2p_revocation r;
	uint64_t when_ms;
	uint16_t len;
	uint8_t bytes[P2P_RECORD_MAX];
};

struct gw_members {
	struct gw *gw;
	struct gw_anchor anchor; /* cert NULL: a closed overlay */
	X509 *cert;		 /* ours */
	struct gw_map *verdicts; /* struct verdict by the certificate's hash */
	struct gw_map *by_hit;	 /* struct revoked by the HIT; not owned */
	struct revoked **revoked;
	uint32_t n_revoked, cap;
};

static int path_of(const struct gw_members *m, const char *name, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/%s", m->gw->settings->state_dir, name) >= PATH_MAX
		       ? ENAMETOOLONG
		       : 0;
}

static void verdict_drop(void *value, void *arg)
{
	(void)arg;
	free(value);
}

/* --- certificates ------------------------------------------------------------------------------
 */

static enum gw_cert_fault judge(struct gw_members *m, X509 *cert, const struct p2p_hit *hit)
{
	struct gw *gw = m->gw;
	struct p2p_hit own;
	enum gw_cert_fault fault =
		gw_cert_check_peer(cert, m->anchor.cert, &m->anchor.overlay,
				   (int64_t)(gw_wall(gw) / 1000), gw->crypto, &own);

	if (!fault && p2p_hit_cmp(&own, hit))
		fault = GW_CERT_KEY;
	return fault;
}

enum gw_cert_fault gw_member_check(struct gw *gw, X509 *cert, const struct p2p_hit *hit)
{
	struct gw_members *m = gw->members;
	int64_t now_s = (int64_t)(gw_wall(gw) / 1000);
	/* the HIT as well: what was judged is this certificate with this key */
	uint8_t id[32 + P2P_HIT_LEN];
	enum gw_cert_fault fault;
	unsigned int len = 32;
	struct verdict *v;

	if (gw_member_revoked(gw, hit))
		return GW_CERT_REVOKED;
	if (X509_digest(cert, EVP_sha256(), id, &len) != 1 || len != 32) {
		ERR_clear_error();
		return judge(m, cert, hit);
	}
	memcpy(id + 32, hit->b, P2P_HIT_LEN);
	v = gw_map_get(m->verdicts, id, sizeof(id));
	if (v && now_s >= v->from_s && now_s < v->until_s)
		return GW_CERT_OK;
	fault = judge(m, cert, hit);
	if (fault || v)
		return fault;
	v = malloc(sizeof(*v));
	if (!v)
		return fault;
	v->from_s = gw_cert_from(cert);
	v->until_s = gw_cert_until(cert);
	if (gw_map_put(m->verdicts, id, sizeof(id), v))
		free(v);
	return fault;
}

const struct gw_anchor *gw_members_anchor(const struct gw_members *m)
{
	return m && m->anchor.cert ? &m->anchor : NULL;
}

X509 *gw_members_cert(const struct gw_members *m)
{
	return m->cert;
}

static int own_check(struct gw_members *m, X509 *cert, enum gw_cert_fault *fault)
{
	*fault = judge(m, cert, &m->gw->hit);
	return !*fault || *fault == GW_CERT_EXPIRED || *fault == GW_CERT_EARLY ? 0 : EINVAL;
}

int gw_members_renew(struct gw_members *m, X509 *cert)
{
	char path[PATH_MAX], pem[PEM_MAX];
	enum gw_cert_fault fault;
	size_t len;
	int err = own_check(m, cert, &fault);

	if (!err)
		err = gw_cert_print(&cert, 1, pem, sizeof(pem), &len);
	if (!err)
		err = path_of(m, GW_PEER_CERT, path);
	if (!err)
		err = gw_file_replace(path, pem, len);
	if (err)
		return err;
	X509_free(m->cert);
	m->cert = cert;
	return 0;
}

/* --- revocations -------------------------------------------------------------------------------
 */

bool gw_member_revoked(const struct gw *gw, const struct p2p_hit *hit)
{
	return gw->members && gw->members->by_hit &&
	       gw_map_peek(gw->members->by_hit, hit, sizeof(*hit)) != NULL;
}

uint32_t gw_revocations_count(const struct gw_members *m)
{
	return m->n_revoked;
}

int gw_revocation_bytes(const struct gw_members *m, uint32_t number, const uint8_t **bytes,
			size_t *len)
{
	if (!number || number > m->n_revoked)
		return ENOENT;
	*bytes = m->revoked[number - 1]->bytes;
	*len = m->revoked[number - 1]->len;
	return 0;
}

int gw_revocation_get(const struct gw_members *m, uint32_t number, struct p2p_revocation *out,
		      uint64_t *when_ms)
{
	if (!number || number > m->n_revoked)
		return ENOENT;
	*out = m->revoked[number - 1]->r;
	*when_ms = m->revoked[number - 1]->when_ms;
	return 0;
}

static int revoked_path(const struct gw_members *m, uint32_t number, char path[PATH_MAX])
{
	char name[32];

	snprintf(name, sizeof(name), REVOKED_DIR "/%08u", number);
	return path_of(m, name, path);
}

/* stored: one that was in force stays so, whatever the clock says now. */
static int record_check(struct gw_members *m, const void *bytes, size_t len, bool stored,
			struct revoked *out, enum p2p_record_fault *fault)
{
	struct gw *gw = m->gw;
	struct p2p_record_expect expect = {.overlay = &m->anchor.overlay,
					   .hit = &m->anchor.hit,
					   .kind = P2P_RECORD_REVOCATION,
					   .now_ms = gw_wall(gw)};
	struct p2p_record rec;
	struct p2p_key key;

	if (stored && p2p_record_decode(&rec, bytes, len) == P2P_RECORD_OK)
		expect.now_ms = rec.order;
	*fault = p2p_record_check(&rec, NULL, bytes, len, &expect, gw->crypto);
	if (*fault == P2P_RECORD_OK)
		*fault = p2p_revocation_decode(&out->r, &rec);
	if (*fault == P2P_RECORD_OK &&
	    (p2p_revocation_key(&key, &m->anchor.overlay, out->r.number, gw->crypto) ||
	     memcmp(&key, &rec.key, sizeof(key))))
		*fault = P2P_RECORD_BAD_KEY;
	if (*fault != P2P_RECORD_OK)
		return EBADMSG;
	out->when_ms = rec.order;
	out->len = (uint16_t)len;
	memcpy(out->bytes, bytes, len);
	return 0;
}

static int remember(struct gw_members *m, const struct revoked *one)
{
	static const struct p2p_hit none;
	struct revoked *r = malloc(sizeof(*r));
	int err = 0;

	if (r && m->n_revoked == m->cap) {
		uint32_t cap = m->cap ? 2 * m->cap : 16;
		struct revoked **next = realloc(m->revoked, cap * sizeof(struct revoked *));

		if (next) {
			m->revoked = next;
			m->cap = cap;
		}
	}
	if (!r || m->n_revoked == m->cap) {
		free(r);
		return ENOMEM;
	}
	*r = *one;
	if (p2p_hit_cmp(&r->r.hit, &none))
		err = gw_map_put(m->by_hit, &r->r.hit, sizeof(r->r.hit), r);
	if (err) {
		free(r);
		return err;
	}
	m->revoked[m->n_revoked++] = r;
	return 0;
}

int gw_revocation_add(struct gw_members *m, const void *bytes, size_t len,
		      enum p2p_record_fault *fault)
{
	char path[PATH_MAX];
	struct revoked one;
	int err;

	*fault = P2P_RECORD_OK;
	if (!m->anchor.cert)
		return EBADMSG;
	err = record_check(m, bytes, len, false, &one, fault);
	if (err)
		return err;
	if (one.r.number <= m->n_revoked)
		return EALREADY;
	if (one.r.number > m->n_revoked + 1)
		return ERANGE;
	err = path_of(m, REVOKED_DIR, path);
	if (!err)
		err = gw_file_mkdir(path);
	if (!err)
		err = revoked_path(m, one.r.number, path);
	if (!err)
		err = gw_file_replace(path, bytes, len);
	return err ? err : remember(m, &one);
}

static int revoked_load(struct gw_members *m, char *err, size_t errlen)
{
	char path[PATH_MAX], bytes[P2P_RECORD_MAX + 1];
	enum p2p_record_fault fault;
	struct revoked one;
	size_t len;
	int ret;

	while (m->n_revoked < P2P_REVOCATIONS_MAX) {
		ret = revoked_path(m, m->n_revoked + 1, path);
		if (!ret)
			ret = gw_file_read(path, bytes, sizeof(bytes), &len);
		if (ret == ENOENT)
			return 0;
		if (!ret) {
			ret = record_check(m, bytes, len, true, &one, &fault);
			if (ret) {
				snprintf(err, errlen, "%s: %s", path, p2p_record_fault_text(fault));
				return ret;
			}
			ret = one.r.number == m->n_revoked + 1 ? remember(m, &one) : EINVAL;
		}
		if (ret) {
			snprintf(err, errlen, "%s: %s", path, strerror(ret));
			return ret;
		}
	}
	return 0;
}

/* --- its life ----------------------------------------------------------------------------------
 */

static int own_load(struct gw_members *m, char *err, size_t errlen)
{
	enum gw_cert_fault fault;
	char path[PATH_MAX];
	int ret = path_of(m, GW_PEER_CERT, path);

	if (!ret)
		ret = gw_cert_load(&m->cert, path, err, errlen);
	if (ret == ENOENT)
		snprintf(err, errlen,
			 "%s is missing: this peer has not joined the overlay yet (p2psipctl join)",
			 path);
	if (ret)
		return ret;
	ret = own_check(m, m->cert, &fault);
	if (ret)
		snprintf(err, errlen, "%s: %s", path, gw_cert_fault_text(fault));
	else if (fault)
		p2p_log(m->gw->log, P2P_LOG_ERR,
			"%s: %s; other peers will not speak with this one until it is renewed",
			path, gw_cert_fault_text(fault));
	return ret;
}

int gw_members_new(struct gw_members **mp, struct gw *gw, char *err, size_t errlen)
{
	struct gw_members *m = calloc(1, sizeof(*m));
	char path[PATH_MAX];
	int ret;

	snprintf(err, errlen, "no memory");
	if (!m)
		return ENOMEM;
	m->gw = gw;
	ret = path_of(m, GW_AUTHORITY_CERT, path);
	if (!ret)
		ret = gw_anchor_load(&m->anchor, path, err, errlen);
	if (ret == ENOENT) {
		*mp = m;
		return 0;
	}
	if (ret)
		goto fail;
	ret = gw_map_new(&m->verdicts, VERDICTS_MAX, true, verdict_drop, NULL);
	if (!ret)
		ret = gw_map_new(&m->by_hit, P2P_REVOCATIONS_MAX, false, NULL, NULL);
	if (!ret)
		ret = own_load(m, err, errlen);
	if (!ret)
		ret = revoked_load(m, err, errlen);
	if (ret)
		goto fail;
	gw->enrolled = true;
	gw->overlay = m->anchor.overlay;
	gw->anchor = &m->anchor;
	*mp = m;
	return 0;
fail:
	gw_members_free(m);
	return ret;
}

void gw_members_free(struct gw_members *m)
{
	if (!m)
		return;
	if (m->verdicts)
		gw_map_free(m->verdicts);
	if (m->by_hit)
		gw_map_free(m->by_hit);
	for (uint32_t i = 0; i < m->n_revoked; i++)
		free(m->revoked[i]);
	free(m->revoked);
	X509_free(m->cert);
	gw_anchor_clear(&m->anchor);
	free(m);
}
