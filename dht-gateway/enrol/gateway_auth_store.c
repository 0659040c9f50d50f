/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/enrol/gateway_auth_store_impl.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/gateway_state.h"
#include "dht-gateway/keys/gateway_authority.h"
#include "lib/base/bytes.h"

struct ident {
	uint8_t key[P2P_KEY_LEN];
	uint8_t id[8];
};

static void ident_make(struct ident *i, const struct p2p_key *key, uint64_t id)
{
	memcpy(i->key, key->b, sizeof(i->key));
	p2p_put_be64(i->id, id);
}

struct gw_auth_entry *gw_auth_store_find(const struct gw_auth_store *s, const struct p2p_key *key,
					 uint64_t id)
{
	struct ident i;

	ident_make(&i, key, id);
	return gw_map_peek(s->map, &i, sizeof(i));
}

static void entry_drop(void *value, void *arg)
{
	struct gw_auth_store *s = arg;
	struct gw_auth_entry *h = value;

	TAILQ_REMOVE(&s->due, h, due);
	free(h);
}

int gw_auth_store_set(struct gw_auth_store *s, const struct p2p_record *rec,
		      const struct p2p_enrolment *en, const void *bytes, size_t len,
		      struct gw_auth_entry **hp)
{
	uint64_t id = p2p_enrolment_value_id(en, &s->gw->anchor->hit);
	struct gw_auth_entry *h = gw_auth_store_find(s, &rec->key, id);
	struct ident i;
	int err, cmp;

	if (h) {
		cmp = p2p_record_cmp(&h->pub.rec, h->pub.bytes, h->pub.len, rec, bytes, len);
		*hp = h;
		/* one of the same order, signed again, is no older one */
		if (cmp >= 0)
			return h->pub.rec.order > rec->order ? ESTALE : EALREADY;
	} else {
		h = calloc(1, sizeof(*h));
		if (!h)
			return ENOMEM;
		ident_make(&i, &rec->key, id);
		err = gw_map_put(s->map, &i, sizeof(i), h);
		if (err) {
			free(h);
			return err;
		}
		TAILQ_INSERT_HEAD(&s->due, h, due);
	}
	h->pub.rec = *rec;
	h->pub.en = *en;
	h->pub.id = id;
	h->pub.suspect = h->pub.confirmed = false;
	h->pub.len = len;
	memcpy(h->pub.bytes, bytes, len);
	h->next_ms = h->retry_ms = 0;
	TAILQ_REMOVE(&s->due, h, due);
	TAILQ_INSERT_HEAD(&s->due, h, due);
	*hp = h;
	return 0;
}

void gw_auth_store_del(struct gw_auth_store *s, const struct gw_auth_entry *h)
{
	struct ident i;

	ident_make(&i, &h->pub.rec.key, h->pub.id);
	gw_map_del(s->map, &i, sizeof(i));
}

int gw_auth_store_add(struct gw_auth_store *s, const struct p2p_record *rec,
		      const struct p2p_enrolment *en, const void *bytes, size_t len)
{
	struct gw_auth_entry *h;
	int err = gw_auth_store_set(s, rec, en, bytes, len, &h);

	if (err == EALREADY && h->pub.suspect) {
		/* it was read again: what has changed is something else */
		h->pub.suspect = false;
		gw_auth_store_file_add(s, 'R', h->pub.bytes, h->pub.len);
	}
	if (err)
		return err;
	err = gw_auth_store_file_add(s, 'R', bytes, len);
	gw_auth_store_arm(s);
	return err;
}

const struct gw_auth_held *gw_auth_store_get(const struct gw_auth_store *s,
					     const struct p2p_key *key, uint64_t id)
{
	const struct gw_auth_entry *h = gw_auth_store_find(s, key, id);

	return h && h->pub.rec.expiry_ms > gw_wall(s->gw) ? &h->pub : NULL;
}

void gw_auth_store_suspect(struct gw_auth_store *s, uint32_t prefix, bool all)
{
	struct gw_auth_entry *h;

	TAILQ_FOREACH(h, &s->due, due) {
		if (h->pub.suspect || h->pub.en.subject == P2P_ENROLMENT_OVERLAY ||
		    (!all && p2p_be32(h->pub.rec.key.b) != prefix))
			continue;
		h->pub.suspect = true;
		gw_auth_store_file_add(s, 'S', h->pub.rec.key.b, sizeof(h->pub.rec.key.b));
	}
}

void gw_auth_store_rekey(struct gw_auth_store *s)
{
	struct gw_auth_entry *h;
	int err;

	TAILQ_FOREACH(h, &s->due, due)
		if (!h->old_ms)
			h->old_ms = gw_mono(s->gw);
	err = gw_auth_store_file_renew(s);
	if (err)
		gw_warn_source(s->gw, "enrolments", 10, "%s: %s",
			       gw_state_path(s->gw->state, GW_AUTH_STORE_FILE), strerror(err));
}

int gw_auth_store_new(struct gw_auth_store **sp, struct gw *gw, char *err, size_t errlen)
{
	struct gw_auth_store *s = calloc(1, sizeof(*s));
	int ret = ENOMEM;

	if (!s)
		goto fail;
	s->gw = gw;
	TAILQ_INIT(&s->due);
	ret = gw_map_new(&s->map, (size_t)gw->settings->enrolments_max, false, entry_drop, s);
	if (!ret)
		ret = gw_auth_store_file_load(s);
	if (!ret)
		ret = gw_auth_store_file_renew(s);
	if (!ret)
		ret = gw_auth_store_puts_begin(s);
	if (ret)
		goto fail;
	*sp = s;
	return 0;
fail:
	snprintf(err, errlen, "%s: %s", gw_state_path(gw->state, GW_AUTH_STORE_FILE),
		 strerror(ret));
	gw_auth_store_free(s);
	return ret;
}

void gw_auth_store_free(struct gw_auth_store *s)
{
	if (!s)
		return;
	gw_auth_store_puts_end(s);
	if (s->map)
		gw_map_free(s->map);
	if (s->file)
		fclose(s->file);
	free(s);
}

size_t gw_auth_store_count(const struct gw_auth_store *s)
{
	return s ? gw_map_count(s->map) : 0;
}

struct scan {
	void (*fn)(const struct gw_auth_held *held, void *arg);
	void *arg;
};

static void scan_one(const void *key, size_t len, void *value, void *arg)
{
	const struct gw_auth_entry *h = value;
	struct scan *scan = arg;

	(void)key;
	(void)len;
	scan->fn(&h->pub, scan->arg);
}

void gw_auth_store_scan(const struct gw_auth_store *s, uint64_t *cursor, size_t count,
			void (*fn)(const struct gw_auth_held *held, void *arg), void *arg)
{
	struct scan scan = {.fn = fn, .arg = arg};

	gw_map_scan(s->map, cursor, count, scan_one, &scan);
}
