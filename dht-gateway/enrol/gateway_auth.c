/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A user's entry:
 *   unread -> READING (a search) -> a record for this peer and 15 ms, or the search's end -> known
 *     -> completed, nothing for this peer -> PAUSE -> READING once more -> known: absent or denied
 *     -> not completed, nothing for this peer -> PAUSE (doubled) -> READING, while somebody waits
 *   known -> told to be changed, or too old -> unread; old ones are answered while they are read
 * The records themselves are gateway_auth_store.c's: what it holds counts like what is found,
 * unless it is suspect, and is never given up for an older one. */
#include "dht-gateway/enrol/gateway_auth.h"
#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include "dht-gateway/enrol/gateway_auth_rules.h"
#include "dht-gateway/enrol/gateway_auth_store.h"
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/gateway_map.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/keys/gateway_seal.h"
#include "dht-gateway/location/gateway_users.h"
#include "lib/model/search.h"
#include "lib/base/bytes.h"
#include "lib/io/https_tls.h"

/* Without a change told, what is known is read again after this. */
#define FRESH_MS 600000
/* How long the modules may use it. */
#define MODULE_TTL_MS 60000
/* After a change: the record that it speaks of may not be everywhere yet. */
#define CHANGED_FRESH_MS 3000
#define CHANGED_READS 4
#define MISS_PAUSE_MS 40
#define RETRY_PAUSE_MS 25
#define RETRY_PAUSE_MAX_MS 400
#define SEARCH_MS 5000
#define WARN_LEFT_MS (30ull * 24 * 3600 * 1000)

enum verdict { UNREAD, SERVED, DENIED, ABSENT };

struct waiter {
	struct user *user;
	LIST_ENTRY(waiter) of_user;
	struct event *timer;
	gw_auth_h *h;
	void *arg;
};

struct user {
	struct gw_auth *a;
	struct p2p_key key;
	bool older;		  /* older_key is set */
	bool at_older;		  /* it is searched under that now */
	struct p2p_key older_key; /* under the secret before, for a while after it has changed */
	enum verdict verdict;
	bool self;	  /* not a user: this peer's permission to serve any */
	bool served;	  /* this peer was allowed to serve it, as far as is known */
	bool stale;	  /* a change was told since it was read */
	bool others;	  /* found: enrolled, for other peers */
	bool withdrawn;	  /* found: the authority's word that it is over */
	bool found;	  /* for this peer */
	uint64_t read_ms; /* mono; 0: never */
	uint64_t fresh_ms;
	uint64_t order; /* of the record in use */
	unsigned int rereads, misses;
	uint64_t pause_ms;
	struct dht_op *op;
	struct event *timer, *deadline;
	bool grace, pausing;
	LIST_HEAD(, waiter) waiters;
	struct gw_auth_answer answer;
	size_t len;
	char name[P2P_NAME_MAX + 1];
};

struct gw_auth {
	struct gw *gw;
	struct gw_map *map; /* by name */
	struct user *self;  /* NULL in a closed overlay */
	size_t n_waiters;
	bool closing;
};

static void search(struct user *u);

int gw_auth_key(const struct gw *gw, const char *name, size_t len, struct p2p_key *key)
{
	return p2p_key_make(key, gw->secret.b, gw->secret.len, P2P_RECORD_ENROLMENT, name, len,
			    gw->crypto);
}

bool gw_auth_read(struct gw *gw, const uint8_t key[20], const void *data, size_t len,
		  struct p2p_record *rec, struct p2p_enrolment *en)
{
	enum p2p_record_fault fault;

	if (!gw_record_read(gw, P2P_RECORD_ENROLMENT, key, &gw->anchor->hit, data, len, rec, NULL))
		return false;
	fault = p2p_enrolment_decode(en, rec);
	if (fault == P2P_RECORD_OK)
		return true;
	gw_warn_fault(gw, fault, key, P2P_KEY_LEN, "a bad enrolment record on the DHT is ignored");
	return false;
}

/* --- those who wait --------------------------------------------------------------------------- */

static void count(struct gw *gw, int err)
{
	switch (err) {
	case 0:
		gw->metrics.auths_ok++;
		break;
	case ENOENT:
		gw->metrics.auths_absent++;
		break;
	case EACCES:
	case EPERM:
		gw->metrics.auths_denied++;
		break;
	case EBUSY:
		gw->metrics.auths_busy++;
		break;
	default:
		gw->metrics.auths_timeout++;
	}
}

static void waiter_end(struct waiter *w, int err, const struct gw_auth_answer *answer)
{
	struct user *u = w->user;
	struct gw *gw = u->a->gw;

	LIST_REMOVE(w, of_user);
	u->a->n_waiters--;
	event_free(w->timer);
	count(gw, err);
	w->h(err, err ? NULL : answer, w->arg);
	free(w);
}

static int verdict_err(const struct user *u)
{
	return u->verdict == SERVED ? 0 : u->verdict == DENIED ? EACCES : ENOENT;
}

static void tell(struct user *u)
{
	while (!LIST_EMPTY(&u->waiters))
		waiter_end(LIST_FIRST(&u->waiters), verdict_err(u), &u->answer);
}

static void on_waiter(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	waiter_end(arg, ETIMEDOUT, NULL);
}

/* --- what is known ---------------------------------------------------------------------------- */

static const struct gw_auth_held *held_for(const struct user *u, uint64_t id)
{
	const struct gw_auth_held *h = gw_auth_store_get(u->a->gw->enrolments, &u->key, id);

	if (!h && u->older)
		h = gw_auth_store_get(u->a->gw->enrolments, &u->older_key, id);
	return h && !h->suspect ? h : NULL;
}

/* The record by which this peer may serve it. NULL: none. */
static const struct gw_auth_held *held_best(const struct user *u)
{
	const struct gw *gw = u->a->gw;
	const struct gw_auth_held *own = held_for(u, p2p_record_value_id(&gw->hit));
	const struct gw_auth_held *any = held_for(u, p2p_record_value_id(&gw->anchor->hit));

	if (u->self)
		return any && !any->rec.tombstone && any->en.subject == P2P_ENROLMENT_PEER &&
				       !p2p_hit_cmp(&any->en.peer, &gw->hit)
			       ? any
			       : NULL;
	if (own && !own->rec.tombstone && own->en.subject == P2P_ENROLMENT_USER &&
	    !p2p_hit_cmp(&own->en.peer, &gw->hit))
		return own;
	return any && !any->rec.tombstone && any->en.subject == P2P_ENROLMENT_USER_ANY ? any : NULL;
}

static int unseal(struct user *u, const struct gw_auth_held *h)
{
	const struct gw *gw = u->a->gw;
	const struct p2p_enrolment *en = &h->en;
	struct gw_auth_answer *a = &u->answer;
	int err = EBADMSG;

	memset(a, 0, sizeof(*a));
	if (u->self)
		return 0;
	a->ttl_ms = MODULE_TTL_MS;
	a->digests = en->digests;
	strcpy(a->realm, en->realm);
	if (en->subject == P2P_ENROLMENT_USER)
		return gw_seal_peer_open(a->ha1, en->sealed, en->sealed_len, &gw->overlay,
					 &h->rec.key, gw->tls->key, gw->crypto);
	for (unsigned int i = 0; err && i < gw->secrets.n; i++)
		err = gw_seal_any_open(a->ha1, en->sealed, en->sealed_len, &gw->overlay,
				       &h->rec.key, gw->secrets.e[i].s.b, gw->secrets.e[i].s.len,
				       gw->crypto);
	return err;
}

/* The authority has taken away what this peer was allowed: its Kamailio lets go of the phones. */
static void gone(struct user *u)
{
	struct gw *gw = u->a->gw;

	u->served = false;
	if (u->self || !gw_users_serves(gw->users, u->name, u->len) || held_best(u->a->self))
		return;
	p2p_log(gw->log, P2P_LOG_INFO, "user '%s' may not be served here any more", u->name);
	gw_auth_event(gw, "gone", u->name, u->len);
}

/* Told once a day and user, by the limit of gw_warn_source at most once a minute. */
static void expiry_warn(struct user *u, const struct gw_auth_held *h)
{
	struct gw *gw = u->a->gw;
	uint64_t now = gw_wall(gw);

	if (h->rec.expiry_ms - now < WARN_LEFT_MS)
		gw_warn_source(gw, "expiry", 6,
			       "the enrolment of '%s' ends in %llu days, others' perhaps too: the "
			       "authority has to sign anew (p2psipctl user refresh)",
			       u->self ? gw->hit_text : u->name,
			       (unsigned long long)((h->rec.expiry_ms - now) / 86400000));
}

static void learn(struct user *u)
{
	const struct gw_auth_held *h = held_best(u);
	struct gw *gw = u->a->gw;
	enum verdict was = u->verdict;
	uint64_t order = u->order;
	int err;

	u->verdict = h ? SERVED : u->others ? DENIED : ABSENT;
	if (h) {
		err = unseal(u, h);
		if (err) {
			gw_warn_source(gw, u->key.b, sizeof(u->key.b),
				       "the enrolment of '%s' cannot be opened by this peer: %s",
				       u->name, strerror(err));
			u->verdict = DENIED;
		}
		expiry_warn(u, h);
	}
	u->order = h ? h->rec.order : 0;
	u->read_ms = gw_mono(gw);
	u->fresh_ms = FRESH_MS;
	if (u->verdict != SERVED)
		OPENSSL_cleanse(&u->answer, sizeof(u->answer));
	/* the modules may have been answered by what came first */
	if (was != UNREAD && !u->self && (was != u->verdict || order != u->order))
		gw_auth_event(gw, "change", u->name, u->len);
	if (u->self && was != SERVED && u->verdict == SERVED)
		gw_users_renew(gw->users); /* what nobody believed so far */
	if (u->verdict == SERVED)
		u->served = true;
	else if (u->served && (u->withdrawn || was == SERVED))
		gone(u);
}

static bool fresh(const struct user *u)
{
	return u->verdict != UNREAD && !u->stale && gw_mono(u->a->gw) - u->read_ms < u->fresh_ms;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len,
		     bool here, void *arg)
{
	struct user *u = arg;
	struct gw *gw = u->a->gw;
	struct p2p_enrolment en;
	struct p2p_record rec;
	bool any;

	(void)id;
	(void)here;
	if (!gw_auth_read(gw, key, data, len, &rec, &en))
		return;
	any = en.subject == P2P_ENROLMENT_USER_ANY || en.subject == P2P_ENROLMENT_PEER;
	if (!any && en.subject != P2P_ENROLMENT_USER)
		return;
	if (en.subject == P2P_ENROLMENT_USER && p2p_hit_cmp(&en.peer, &gw->hit)) {
		u->others = u->others || !rec.tombstone;
		return;
	}
	u->withdrawn = u->withdrawn || rec.tombstone;
	switch (gw_auth_store_add(gw->enrolments, &rec, &en, data, len)) {
	case ESTALE:
		gw_warn_fault(gw, P2P_RECORD_REPLAYED, u->key.b, sizeof(u->key.b),
			      "an enrolment record of '%s' is ignored", u->name);
		return;
	case ENOSPC:
		gw_warn_source(gw, "full", 4,
			       "no room for more enrolment records ([limits] enrolments_max)");
		return;
	default:
		break;
	}
	if (u->found || !held_best(u))
		return;
	u->found = true;
	u->grace = true;
	gw_timer_set(u->timer, P2P_SEARCH_GRACE_MS);
}

static void pause_for(struct user *u, uint64_t ms)
{
	u->pausing = true;
	gw_timer_set(u->timer, ms);
}

/* The overlay's rules said that it has changed, and what was found is what was known: the new
 * record may be on its way still. */
static void look_again(struct user *u, uint64_t order)
{
	if (!u->rereads)
		return;
	if (u->order != order || u->withdrawn) {
		u->rereads = 0;
		return;
	}
	u->rereads--;
	u->fresh_ms = CHANGED_FRESH_MS;
	u->misses = 0;
	if (u->served)
		pause_for(u, CHANGED_FRESH_MS);
}

static void read_end(struct user *u, bool complete)
{
	uint64_t order = u->order;

	u->op = NULL;
	event_del(u->deadline);
	event_del(u->timer);
	u->grace = false;
	if (u->a->closing)
		return;
	if (complete && u->older && !u->at_older && !u->found && !u->withdrawn) {
		u->at_older = true;
		search(u);
		return;
	}
	u->at_older = false;
	if (held_best(u) || (complete && (u->withdrawn || ++u->misses >= P2P_SEARCH_MISSES))) {
		u->stale = false;
		learn(u);
		look_again(u, order);
		tell(u);
		return;
	}
	if (complete) {
		pause_for(u, MISS_PAUSE_MS);
	} else if (!LIST_EMPTY(&u->waiters) || u->stale) {
		pause_for(u, LIST_EMPTY(&u->waiters) ? RETRY_PAUSE_MAX_MS : u->pause_ms);
		if (u->pause_ms * 2 <= RETRY_PAUSE_MAX_MS)
			u->pause_ms *= 2;
	}
}

static void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	(void)nodes;
	read_end(arg, verdict == DHT_COMPLETE);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct user *u = arg;
	struct gw *gw = u->a->gw;

	(void)fd;
	(void)what;
	if (!u->op)
		return;
	gw->dht_ops->cancel(gw->dht, u->op);
	read_end(u, false);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct user *u = arg;

	(void)fd;
	(void)what;
	if (u->pausing) {
		u->pausing = false;
		search(u);
	} else if (u->grace && held_best(u)) {
		/* answered by what has come; the search goes on, and may bring a later one */
		u->grace = false;
		u->stale = false;
		learn(u);
		tell(u);
	}
}

static void search(struct user *u)
{
	struct gw *gw = u->a->gw;

	if (u->op || u->a->closing)
		return;
	if (!u->at_older)
		u->others = u->withdrawn = u->found = false;
	if (!gw->dht || gw->dht_ops->get(gw->dht, (u->at_older ? u->older_key : u->key).b, on_found,
					 on_got, u, &u->op)) {
		u->op = NULL;
		pause_for(u, RETRY_PAUSE_MAX_MS);
		return;
	}
	gw->metrics.auth_searches++;
	gw_timer_set(u->deadline, SEARCH_MS);
}

static void read_begin(struct user *u)
{
	if (u->op || u->pausing)
		return;
	u->misses = 0;
	u->pause_ms = RETRY_PAUSE_MS;
	search(u);
}

static void user_drop(void *value, void *arg)
{
	struct user *u = value;
	struct gw *gw = u->a->gw;

	(void)arg;
	if (u->op && gw->dht)
		gw->dht_ops->cancel(gw->dht, u->op);
	while (!LIST_EMPTY(&u->waiters))
		waiter_end(LIST_FIRST(&u->waiters), ETIMEDOUT, NULL);
	if (u->timer)
		event_free(u->timer);
	if (u->deadline)
		event_free(u->deadline);
	OPENSSL_cleanse(u, sizeof(*u));
	free(u);
}

static int key_of(const struct user *u, const struct gw_secret *s, struct p2p_key *key)
{
	const struct gw *gw = u->a->gw;

	return u->self ? p2p_key_make_hit(key, s->b, s->len, P2P_RECORD_ENROLMENT, &gw->hit,
					  gw->crypto)
		       : p2p_key_make(key, s->b, s->len, P2P_RECORD_ENROLMENT, u->name, u->len,
				      gw->crypto);
}

static int keys_make(struct user *u)
{
	const struct gw *gw = u->a->gw;

	u->older = gw_record_ages(gw) > 1 && !key_of(u, &gw->secrets.e[1].s, &u->older_key);
	return key_of(u, &gw->secret, &u->key);
}

static void user_rekey(const void *key, size_t len, void *value, void *arg)
{
	struct user *u = value;
	struct gw *gw = u->a->gw;

	(void)key;
	(void)len;
	(void)arg;
	if (u->op) {
		gw->dht_ops->cancel(gw->dht, u->op);
		u->op = NULL;
	}
	event_del(u->timer);
	event_del(u->deadline);
	u->pausing = u->grace = u->at_older = false;
	if (keys_make(u))
		return;
	/* known: good until it is read again; wanted: looked for now */
	u->read_ms = 0;
	u->fresh_ms = 0;
	if (!LIST_EMPTY(&u->waiters) || u->served || u->self)
		read_begin(u);
}

void gw_auth_rekey(struct gw_auth *a)
{
	uint64_t cursor = 0;

	gw_auth_store_rekey(a->gw->enrolments);
	if (a->self)
		user_rekey(NULL, 0, a->self, NULL);
	gw_map_scan(a->map, &cursor, SIZE_MAX, user_rekey, NULL);
	gw_auth_rules_rekey(a->gw->rules);
}

/* name NULL: this peer itself. */
static struct user *user_new(struct gw_auth *a, const char *name, size_t len)
{
	struct gw *gw = a->gw;
	struct user *u = calloc(1, sizeof(*u));
	int err;

	if (!u)
		return NULL;
	u->a = a;
	u->self = !name;
	u->len = len;
	if (name)
		memcpy(u->name, name, len);
	u->timer = event_new(gw->base, -1, 0, on_timer, u);
	u->deadline = event_new(gw->base, -1, 0, on_deadline, u);
	err = u->timer && u->deadline ? 0 : ENOMEM;
	if (!err)
		err = keys_make(u);
	if (!err)
		return u;
	user_drop(u, NULL);
	return NULL;
}

static struct user *user_of(struct gw_auth *a, const char *name, size_t len)
{
	struct user *u = gw_map_get(a->map, name, len);

	if (u)
		return u;
	u = user_new(a, name, len);
	if (u && gw_map_put(a->map, name, len, u)) {
		user_drop(u, NULL);
		u = NULL;
	}
	return u;
}

void gw_auth_user(struct gw_auth *a, const char *name, size_t len, uint64_t deadline_ms,
		  gw_auth_h *h, void *arg)
{
	struct gw *gw = a->gw;
	struct user *u = NULL;
	struct waiter *w;
	int err = !gw->enrolled		       ? EPERM
		  : !p2p_name_valid(name, len) ? EINVAL
		  : a->closing		       ? ETIMEDOUT
					       : 0;

	if (!err) {
		u = user_of(a, name, len);
		err = u ? 0 : EBUSY;
	}
	/* what is merely old is answered, and read again */
	if (!err && u->verdict != UNREAD && !u->stale && (fresh(u) || u->verdict == SERVED)) {
		if (!fresh(u))
			read_begin(u);
		err = verdict_err(u);
		count(gw, err);
		h(err, err ? NULL : &u->answer, arg);
		return;
	}
	if (!err && a->n_waiters >= (size_t)gw->settings->lookups_max)
		err = EBUSY;
	w = err ? NULL : calloc(1, sizeof(*w));
	if (w)
		w->timer = event_new(gw->base, -1, 0, on_waiter, w);
	if (!w || !w->timer) {
		free(w);
		err = err ? err : EBUSY;
		count(gw, err);
		h(err, NULL, arg);
		return;
	}
	w->user = u;
	w->h = h;
	w->arg = arg;
	LIST_INSERT_HEAD(&u->waiters, w, of_user);
	a->n_waiters++;
	gw_timer_set(w->timer, deadline_ms);
	if (u->pausing && !u->op) {
		/* nobody has waited so far */
		u->pausing = false;
		event_del(u->timer);
	}
	read_begin(u);
}

static int permission_of(struct user *u, uint8_t *out, uint8_t *n)
{
	const struct gw_auth_held *h = held_best(u);

	/* a permission names the user by the key under the secret in use */
	if (h && memcmp(&h->rec.key, &u->key, sizeof(u->key)))
		h = NULL;
	if (h &&
	    p2p_permission_expiry(h->en.permission, h->en.permission_len) > gw_wall(u->a->gw)) {
		u->served = true;
		memcpy(out, h->en.permission, h->en.permission_len);
		*n = h->en.permission_len;
		return 0;
	}
	if (fresh(u))
		return EACCES;
	read_begin(u);
	return EAGAIN;
}

int gw_auth_permission(struct gw_auth *a, const char *name, size_t len, uint8_t *out, uint8_t *n)
{
	struct user *u;
	int err, err_self;

	if (!a->self)
		return EPERM;
	err_self = permission_of(a->self, out, n);
	if (!err_self)
		return 0;
	u = user_of(a, name, len);
	err = u ? permission_of(u, out, n) : EAGAIN;
	return err == EACCES ? err_self : err;
}

/* --- changes ---------------------------------------------------------------------------------- */

struct change {
	struct gw_auth *a;
	const uint32_t *prefix;
	unsigned int n;
	bool all;
};

static void change_one(const void *key, size_t keylen, void *value, void *arg)
{
	const struct change *c = arg;
	struct user *u = value;
	struct gw *gw = c->a->gw;
	bool hit = c->all;

	(void)key;
	(void)keylen;
	for (unsigned int i = 0; i < c->n && !hit; i++)
		hit = p2p_be32(u->key.b) == c->prefix[i];
	if (!hit || (u->verdict == UNREAD && !u->served))
		return;
	u->stale = true;
	u->rereads = CHANGED_READS;
	if (!u->self && !c->all)
		gw_auth_event(gw, "change", u->name, u->len);
	if (u->self || u->served)
		read_begin(u);
}

void gw_auth_changed(struct gw_auth *a, const uint32_t *prefix, unsigned int n, bool all, bool own)
{
	struct change c = {.a = a, .prefix = prefix, .n = n, .all = all};
	uint64_t cursor = 0;

	for (unsigned int i = 0; i < n && !all && !own; i++)
		gw_auth_store_suspect(a->gw->enrolments, prefix[i], false);
	if (all && !own)
		gw_auth_store_suspect(a->gw->enrolments, 0, true);
	if (a->self)
		change_one(NULL, 0, a->self, &c);
	gw_map_scan(a->map, &cursor, SIZE_MAX, change_one, &c);
	if (all)
		gw_auth_event(a->gw, "all", NULL, 0);
}

int gw_auth_new(struct gw_auth **ap, struct gw *gw)
{
	struct gw_auth *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return ENOMEM;
	a->gw = gw;
	err = gw_map_new(&a->map, (size_t)gw->settings->cache_max, true, user_drop, NULL);
	if (!err && gw->enrolled) {
		a->self = user_new(a, NULL, 0);
		err = a->self ? 0 : ENOMEM;
	}
	if (err) {
		gw_auth_free(a);
		return err;
	}
	*ap = a;
	return 0;
}

void gw_auth_free(struct gw_auth *a)
{
	if (!a)
		return;
	a->closing = true;
	if (a->map)
		gw_map_free(a->map);
	if (a->self)
		user_drop(a->self, NULL);
	free(a);
}
