/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/enrol/gateway_auth_rules.h"
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/enrol/gateway_auth.h"
#include "dht-gateway/enrol/gateway_auth_store.h"
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/gateway_settings.h"
#include "lib/proto/key.h"

/* Between two readings: while none was found, and after. */
#define POLL_FIRST_MS 500
#define POLL_MS 10000
#define READ_MS 5000

struct gw_auth_rules {
	struct gw *gw;
	struct p2p_key key;
	bool known;
	uint64_t order;
	struct p2p_enrolment en;
	struct dht_watch *watch;
	struct dht_op *op;
	struct event *timer;
};

/* What the settings and the rules make of it; the engine's thread reads it. */
void gw_auth_rules_configure(struct gw_auth_rules *r)
{
	struct gw *gw = r->gw;
	bool required = gw->enrolled && (gw->settings->permission == GW_PERMISSION_REQUIRED ||
					 (gw->settings->permission == GW_PERMISSION_OVERLAY &&
					  r->known && r->en.permission_required));

	if (atomic_exchange(&gw->permission_required, required) != required)
		p2p_log(gw->log, P2P_LOG_INFO, "user records without a permission are %s",
			required ? "refused" : "taken");
}

/* Those who changed between the rules that are known and these. */
static void changes(struct gw_auth_rules *r, const struct p2p_enrolment *en, bool own)
{
	struct gw *gw = r->gw;
	uint64_t n = en->changes - r->en.changes;

	if (!r->known || en->changes < r->en.changes || n > en->n_changed) {
		gw_auth_changed(gw->auth, NULL, 0, true, own);
	} else if (n) {
		gw->metrics.auth_changes += n;
		gw_auth_changed(gw->auth, en->changed + en->n_changed - n, (unsigned int)n, false,
				own);
	}
}

static void take(struct gw_auth_rules *r, const struct p2p_record *rec,
		 const struct p2p_enrolment *en)
{
	struct gw *gw = r->gw;
	bool other = !r->known || strcmp(en->realm, r->en.realm) || en->digests != r->en.digests ||
		     en->permission_required != r->en.permission_required;

	r->known = true;
	r->order = rec->order;
	r->en = *en;
	gw_auth_rules_configure(r);
	if (!other)
		return;
	p2p_log(gw->log, P2P_LOG_INFO,
		"the overlay's rules: realm \"%s\", digest %s, permission %s", en->realm,
		p2p_digests_text(en->digests),
		en->permission_required ? "required" : "not required");
	gw_auth_event(gw, "rules", NULL, 0);
}

int gw_auth_rules_add(struct gw_auth_rules *r, const struct p2p_record *rec,
		      const struct p2p_enrolment *en, const void *bytes, size_t len, bool own)
{
	int err;

	if (memcmp(&rec->key, &r->key, sizeof(r->key)) || rec->tombstone)
		return EINVAL;
	if (r->known && rec->order < r->order)
		return ESTALE;
	err = gw_auth_store_add(r->gw->enrolments, rec, en, bytes, len);
	if (err)
		return err;
	changes(r, en, own);
	take(r, rec, en);
	return 0;
}

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct gw_auth_rules *r = arg;
	struct gw *gw = r->gw;
	struct p2p_enrolment en;
	struct p2p_record rec;

	(void)id;
	(void)here;
	if (!gw_auth_read(gw, key, data, len, &rec, &en) || en.subject != P2P_ENROLMENT_OVERLAY)
		return;
	if (gw_auth_rules_add(r, &rec, &en, data, len, false) != ESTALE)
		return;
	gw_warn_fault(gw, P2P_RECORD_REPLAYED, r->key.b, sizeof(r->key.b),
		      "rules of the overlay are ignored");
}

static void arm(struct gw_auth_rules *r)
{
	gw_timer_set(r->timer, r->known ? POLL_MS : POLL_FIRST_MS);
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	struct gw_auth_rules *r = arg;

	(void)verdict;
	(void)nodes;
	r->op = NULL;
	arm(r);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gw_auth_rules *r = arg;
	struct gw *gw = r->gw;

	(void)fd;
	(void)what;
	if (r->op) {
		gw->dht_ops->cancel(gw->dht, r->op);
		r->op = NULL;
	}
	if (gw->dht && !r->watch && gw->dht_ops->watch(gw->dht, r->key.b, on_found, r, &r->watch))
		r->watch = NULL;
	if (!gw->dht || gw->dht_ops->get(gw->dht, r->key.b, on_found, on_got, r, &r->op)) {
		r->op = NULL;
		arm(r);
		return;
	}
	gw_timer_set(r->timer, READ_MS);
}

uint64_t gw_auth_rules_order(const struct gw_auth_rules *r)
{
	return r->known ? r->order : 0;
}

const struct p2p_enrolment *gw_auth_rules_get(const struct gw_auth_rules *r)
{
	return r && r->known ? &r->en : NULL;
}

static int key_make(struct gw_auth_rules *r)
{
	static const uint8_t name = 0;
	const struct gw *gw = r->gw;

	return p2p_key_make(&r->key, gw->secret.b, gw->secret.len, P2P_RECORD_ENROLMENT, &name, 1,
			    gw->crypto);
}

void gw_auth_rules_rekey(struct gw_auth_rules *r)
{
	struct gw *gw = r->gw;

	if (!gw->enrolled || key_make(r))
		return;
	if (r->op && gw->dht)
		gw->dht_ops->cancel(gw->dht, r->op);
	if (r->watch && gw->dht)
		gw->dht_ops->unwatch(gw->dht, r->watch);
	r->op = NULL;
	r->watch = NULL;
	gw_timer_set(r->timer, POLL_FIRST_MS);
}

int gw_auth_rules_new(struct gw_auth_rules **rp, struct gw *gw)
{
	struct gw_auth_rules *r = calloc(1, sizeof(*r));
	const struct gw_auth_held *h;
	int err;

	if (!r)
		return ENOMEM;
	r->gw = gw;
	err = key_make(r);
	r->timer = err ? NULL : event_new(gw->base, -1, 0, on_timer, r);
	if (!r->timer) {
		free(r);
		return err ? err : ENOMEM;
	}
	*rp = r;
	if (!gw->enrolled) {
		gw_auth_rules_configure(r);
		return 0;
	}
	h = gw_auth_store_get(gw->enrolments, &r->key, p2p_record_value_id(&gw->anchor->hit));
	if (h && h->en.subject == P2P_ENROLMENT_OVERLAY)
		take(r, &h->rec, &h->en);
	gw_auth_rules_configure(r);
	gw_timer_set(r->timer, POLL_FIRST_MS / 5);
	return 0;
}

void gw_auth_rules_free(struct gw_auth_rules *r)
{
	if (!r)
		return;
	if (r->op && r->gw->dht)
		r->gw->dht_ops->cancel(r->gw->dht, r->op);
	if (r->watch && r->gw->dht)
		r->gw->dht_ops->unwatch(r->gw->dht, r->watch);
	event_free(r->timer);
	free(r);
}
