/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Published users: see published.h and docs/states.md.
 *
 * Every entry is in the hash table by its name, and either in the heap of due entries, or in flight
 * and then in the table of attempts. The heap has room for all entries before one is added, so that
 * no state change can fail for lack of memory. */
#include "lib/model/published.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Those known; without a connection they make room. */
#define KAMAILIOS_MAX P2P_PUBLISHED_KAMAILIOS_MAX
#define FLIGHT_BUCKETS 256
/* A holder that says STALE again and again is believed to be broken: that is a failed put then. */
#define STALE_MAX 3

/* One of a user's phones. */
struct phone {
	uint64_t since;
	uint32_t instance;
	bool earlier; /* it was there before since, in a former life */
};

/* There may be hundreds of thousands. */
struct entry {
	LIST_ENTRY(entry) by_name;
	union {
		LIST_ENTRY(entry) by_flight;  /* while in flight */
		TAILQ_ENTRY(entry) by_killed; /* while `killed`, and so not in flight */
	};
	uint64_t hash, id;
	uint64_t kamailio, seq;
	uint64_t order, last_expiry_ms;
	uint64_t due_ms, orphan_until_ms, forget_ms;
	struct phone *phone; /* n_phones of them, by instance; NULL: none */
	uint32_t heap;	     /* index */
	uint32_t generation; /* of its Kamailio's connection, when it was last claimed */
	unsigned int failures;
	uint8_t stales;
	uint8_t desired;     /* enum p2p_desired */
	uint8_t put, before; /* enum p2p_put_state; before: when the put in flight began */
	bool dirty, was_dirty, in_flight, killed, spoiled;
	uint8_t n_phones;
	uint8_t name_len;
	char name[];
};

struct kamailio {
	uint64_t id, seq; /* seq: the highest one taken */
	unsigned int connections;
	uint32_t generation; /* of its synchronisation; 0: the place is free */
	bool resumable;	     /* it has begun one, and all that it named since is still its own */
};

LIST_HEAD(entry_list, entry);

struct p2p_published {
	struct p2p_published_config cfg;
	struct entry_list *bucket;
	size_t n_buckets;
	struct entry **heap;
	size_t n_heap, heap_cap;
	struct entry_list flight[FLIGHT_BUCKETS];
	TAILQ_HEAD(, entry) killed; /* tombstones that were put, the oldest first */
	struct kamailio kamailio[KAMAILIOS_MAX];
	struct p2p_published_stats st;
	uint64_t last_id;
	uint32_t last_generation;
};

const char *p2p_desired_text(enum p2p_desired desired)
{
	static const char *const text[] = {"claimed", "orphan", "gone"};

	return (unsigned int)desired <= P2P_DESIRED_GONE ? text[desired] : "?";
}

const char *p2p_put_state_text(enum p2p_put_state put)
{
	static const char *const text[] = {"nothing", "putting", "put", "killing", "killed"};

	return (unsigned int)put <= P2P_PUT_KILLED ? text[put] : "?";
}

/* --- the heap: due first, then oldest first ----------------------------------------------------
 */

static bool sooner(const struct entry *a, const struct entry *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->id < b->id;
}

static void heap_set(struct p2p_published *p, size_t i, struct entry *e)
{
	p->heap[i] = e;
	e->heap = (uint32_t)i;
}

static void heap_up(struct p2p_published *p, size_t i)
{
	struct entry *e = p->heap[i];

	for (; i > 0 && sooner(e, p->heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap_set(p, i, p->heap[(i - 1) / 2]);
	heap_set(p, i, e);
}

static void heap_down(struct p2p_published *p, size_t i)
{
	struct entry *e = p->heap[i];
	size_t child;

	while ((child = 2 * i + 1) < p->n_heap) {
		if (child + 1 < p->n_heap && sooner(p->heap[child + 1], p->heap[child]))
			child++;
		if (!sooner(p->heap[child], e))
			break;
		heap_set(p, i, p->heap[child]);
		i = child;
	}
	heap_set(p, i, e);
}

static void heap_add(struct p2p_published *p, struct entry *e)
{
	heap_set(p, p->n_heap++, e);
	heap_up(p, e->heap);
}

static void heap_remove(struct p2p_published *p, struct entry *e)
{
	size_t i = e->heap;
	struct entry *last = p->heap[--p->n_heap];

	if (last == e)
		return;
	heap_set(p, i, last);
	heap_up(p, i);
	heap_down(p, last->heap);
}

static void set_due(struct p2p_published *p, struct entry *e, uint64_t due_ms)
{
	e->due_ms = due_ms;
	heap_up(p, e->heap);
	heap_down(p, e->heap);
}

/* --- entries -----------------------------------------------------------------------------------
 */

static size_t *desired_count(struct p2p_published *p, enum p2p_desired desired)
{
	switch (desired) {
	case P2P_DESIRED_CLAIMED:
		return &p->st.claimed;
	case P2P_DESIRED_ORPHAN:
		return &p->st.orphans;
	case P2P_DESIRED_GONE:
		break;
	}
	return &p->st.gone;
}

static void set_desired(struct p2p_published *p, struct entry *e, enum p2p_desired desired)
{
	--*desired_count(p, e->desired);
	++*desired_count(p, desired);
	e->desired = (uint8_t)desired;
}

static void set_dirty(struct p2p_published *p, struct entry *e, bool dirty)
{
	if (dirty && !e->dirty)
		p->st.dirty++;
	else if (!dirty && e->dirty)
		p->st.dirty--;
	e->dirty = dirty;
}

static void set_killed(struct p2p_published *p, struct entry *e, bool killed)
{
	if (killed == e->killed)
		return;
	e->killed = killed;
	if (killed)
		TAILQ_INSERT_TAIL(&p->killed, e, by_killed);
	else
		TAILQ_REMOVE(&p->killed, e, by_killed);
}

static struct entry *find(const struct p2p_published *p, const char *name, size_t len)
{
	uint64_t hash = p2p_hash(&p->cfg.hash_key, name, len);
	struct entry *e;

	LIST_FOREACH(e, &p->bucket[hash & (p->n_buckets - 1)], by_name)
	{
		if (e->hash == hash && e->name_len == len && memcmp(e->name, name, len) == 0)
			return e;
	}
	return NULL;
}

static void entry_free(struct entry *e)
{
	free(e->phone);
	free(e);
}

static void entry_remove(struct p2p_published *p, struct entry *e)
{
	if (e->in_flight) {
		LIST_REMOVE(e, by_flight);
		p->st.in_flight--;
	} else {
		heap_remove(p, e);
	}
	set_killed(p, e, false);
	set_dirty(p, e, false);
	--*desired_count(p, e->desired);
	p->st.entries--;
	LIST_REMOVE(e, by_name);
	entry_free(e);
}

static int entry_add(struct p2p_published *p, const char *name, size_t len, uint64_t now_ms,
		     struct entry **ep)
{
	struct entry *e;

	/* A new user is worth more than a tombstone that was already told. */
	if (p->st.entries >= p->cfg.max && !TAILQ_EMPTY(&p->killed))
		entry_remove(p, TAILQ_FIRST(&p->killed));
	if (p->st.entries >= p->cfg.max)
		return ENOSPC;
	if (p->st.entries >= p->heap_cap) {
		size_t cap = p->heap_cap != 0 ? 2 * p->heap_cap : 64;
		struct entry **heap = realloc(p->heap, cap * sizeof(struct entry *));

		if (heap == NULL)
			return ENOMEM;
		p->heap = heap;
		p->heap_cap = cap;
	}
	e = calloc(1, sizeof(*e) + len + 1);
	if (e == NULL)
		return ENOMEM;
	memcpy(e->name, name, len);
	e->name_len = (uint8_t)len;
	e->hash = p2p_hash(&p->cfg.hash_key, name, len);
	e->id = ++p->last_id;
	e->desired = P2P_DESIRED_CLAIMED;
	e->due_ms = now_ms;
	LIST_INSERT_HEAD(&p->bucket[e->hash & (p->n_buckets - 1)], e, by_name);
	heap_add(p, e);
	p->st.entries++;
	p->st.claimed++;
	*ep = e;
	return 0;
}

/* --- life of the table -------------------------------------------------------------------------
 */

static bool config_valid(const struct p2p_published_config *cfg)
{
	return cfg->max > 0 && cfg->reput_ms > 0 && cfg->retry_min_ms > 0 &&
	       cfg->retry_max_ms >= cfg->retry_min_ms && cfg->tombstone_ms > 0;
}

int p2p_published_new(struct p2p_published **pp, const struct p2p_published_config *config)
{
	struct p2p_published *p;

	if (!config_valid(config))
		return EINVAL;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return ENOMEM;
	p->cfg = *config;
	for (p->n_buckets = 64; p->n_buckets < config->max / 2 && p->n_buckets < (1u << 20);)
		p->n_buckets *= 2;
	p->bucket = calloc(p->n_buckets, sizeof(*p->bucket));
	if (p->bucket == NULL) {
		free(p);
		return ENOMEM;
	}
	TAILQ_INIT(&p->killed);
	*pp = p;
	return 0;
}

void p2p_published_free(struct p2p_published *p)
{
	struct entry *e;
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; i < p->n_buckets; i++) {
		while ((e = LIST_FIRST(&p->bucket[i])) != NULL) {
			LIST_REMOVE(e, by_name);
			entry_free(e);
		}
	}
	free(p->bucket);
	free(p->heap);
	free(p);
}

void p2p_published_configure(struct p2p_published *p, const struct p2p_published_config *config)
{
	struct p2p_published_config cfg = *config;

	cfg.max = p->cfg.max;
	cfg.hash_key = p->cfg.hash_key;
	if (config_valid(&cfg))
		p->cfg = cfg;
}

/* --- Kamailio instances ------------------------------------------------------------------------
 */

static int kamailio_at(const struct p2p_published *p, uint64_t id)
{
	int i;

	for (i = 0; i < KAMAILIOS_MAX; i++) {
		if (p->kamailio[i].generation != 0 && p->kamailio[i].id == id)
			return i;
	}
	return -1;
}

static struct kamailio *kamailio_find(struct p2p_published *p, uint64_t id)
{
	int i = kamailio_at(p, id);

	return i >= 0 ? &p->kamailio[i] : NULL;
}

static bool kamailio_connected(struct p2p_published *p, uint64_t id)
{
	const struct kamailio *k = kamailio_find(p, id);

	return k != NULL && k->connections > 0;
}

bool p2p_published_connected(struct p2p_published *p, uint64_t id)
{
	struct kamailio *k = kamailio_find(p, id);
	size_t i;

	for (i = 0; k == NULL && i < KAMAILIOS_MAX; i++) {
		if (p->kamailio[i].connections == 0) {
			k = &p->kamailio[i];
		}
	}
	if (k == NULL)
		return false;
	if (k->generation == 0 || k->id != id)
		*k = (struct kamailio){.id = id, .generation = ++p->last_generation};
	k->connections++;
	return true;
}

void p2p_published_begin(struct p2p_published *p, uint64_t id)
{
	struct kamailio *k = kamailio_find(p, id);

	if (k == NULL)
		return;
	k->generation = ++p->last_generation;
	k->resumable = true;
}

int p2p_published_resume(const struct p2p_published *p, uint64_t id, uint64_t *seq)
{
	int i = kamailio_at(p, id);

	if (i < 0 || !p->kamailio[i].resumable)
		return ENOENT;
	*seq = p->kamailio[i].seq;
	return 0;
}

void p2p_published_disconnected(struct p2p_published *p, uint64_t id)
{
	struct kamailio *k = kamailio_find(p, id);

	if (k != NULL && k->connections > 0)
		k->connections--;
}

static void claim(struct p2p_published *p, struct entry *e, uint64_t id, uint64_t seq)
{
	struct kamailio *k = kamailio_find(p, e->kamailio);

	if (k != NULL && e->kamailio != id)
		k->resumable = false;
	k = kamailio_find(p, id);
	e->kamailio = id;
	e->seq = seq;
	e->generation = k != NULL ? k->generation : 0;
}

static void taken(struct p2p_published *p, uint64_t id, uint64_t seq)
{
	struct kamailio *k = kamailio_find(p, id);

	if (k != NULL && seq > k->seq)
		k->seq = seq;
}

size_t p2p_published_synced(struct p2p_published *p, uint64_t id, uint64_t now_ms)
{
	const struct kamailio *k = kamailio_find(p, id);
	struct kamailio *other;
	struct entry *e;
	size_t i;

	for (i = 0; i < p->n_buckets; i++) {
		LIST_FOREACH(e, &p->bucket[i], by_name)
		{
			bool lost = e->kamailio == id ? k != NULL && e->generation != k->generation
						      : !kamailio_connected(p, e->kamailio);

			if (e->desired != P2P_DESIRED_CLAIMED || !lost)
				continue;
			other = e->kamailio != id ? kamailio_find(p, e->kamailio) : NULL;
			if (other != NULL)
				other->resumable = false;
			set_desired(p, e, P2P_DESIRED_ORPHAN);
			e->orphan_until_ms = now_ms + p->cfg.orphan_ms;
			if (!e->in_flight && e->due_ms > e->orphan_until_ms)
				set_due(p, e, e->orphan_until_ms);
		}
	}
	return p->st.orphans;
}

/* --- wishes ------------------------------------------------------------------------------------
 */

/* Sorted, without doubles and zeros, so that equal sets compare equal. */
static uint8_t instances_normal(const uint32_t *in, size_t n,
				uint32_t out[P2P_CANDIDATE_INSTANCES_MAX])
{
	size_t i, j, k, count = 0;

	for (i = 0; i < n; i++) {
		for (j = 0; j < count && out[j] < in[i]; j++)
			;
		if (in[i] == 0 || (j < count && out[j] == in[i]) ||
		    j == P2P_CANDIDATE_INSTANCES_MAX)
			continue;
		if (count < P2P_CANDIDATE_INSTANCES_MAX)
			count++;
		for (k = count - 1; k > j; k--)
			out[k] = out[k - 1];
		out[j] = in[i];
	}
	return (uint8_t)count;
}

/* What is to be told has changed: do it now, or when the put in flight is done. */
static void change(struct p2p_published *p, struct entry *e, uint64_t now_ms)
{
	set_dirty(p, e, true);
	e->failures = 0;
	e->stales = 0;
	if (!e->in_flight)
		set_due(p, e, now_ms);
}

/* Did (or may) a record of the user get out? */
static bool is_out(const struct entry *e)
{
	return e->put != P2P_PUT_NOTHING || e->last_expiry_ms != 0;
}

/* NULL: it is not here. */
static const struct phone *phone_of(const struct entry *e, uint32_t instance)
{
	int i;

	for (i = 0; i < e->n_phones; i++)
		if (e->phone[i].instance == instance)
			return &e->phone[i];
	return NULL;
}

static uint8_t instances_get(const struct entry *e, uint32_t instance[P2P_CANDIDATE_INSTANCES_MAX])
{
	int i;

	for (i = 0; i < e->n_phones; i++)
		instance[i] = e->phone[i].instance;
	return e->n_phones;
}

static bool phones_same(const struct entry *e, const uint32_t *instance, uint8_t n)
{
	int i;

	for (i = 0; i < n && i < e->n_phones && e->phone[i].instance == instance[i]; i++)
		;
	return i == n && n == e->n_phones;
}

/* Those that were there before are there since then. ENOMEM: nothing has changed. */
static int phones_set(struct entry *e, const uint32_t *instance, uint8_t n, bool restored,
		      uint64_t now_ms)
{
	struct phone phone[P2P_CANDIDATE_INSTANCES_MAX], *room = e->phone;
	bool gone = e->desired == P2P_DESIRED_GONE;
	int i;

	for (i = 0; i < n; i++) {
		const struct phone *was = gone ? NULL : phone_of(e, instance[i]);

		phone[i] = was != NULL ? *was
				       : (struct phone){.since = now_ms,
							.instance = instance[i],
							.earlier = restored};
	}
	if (n != e->n_phones) {
		room = n > 0 ? malloc(n * sizeof(*room)) : NULL;
		if (n > 0 && room == NULL)
			return ENOMEM;
		free(e->phone);
	}
	if (n > 0)
		memcpy(room, phone, n * sizeof(*room));
	e->phone = room;
	e->n_phones = n;
	return 0;
}

bool p2p_published_age(const struct p2p_published *p, const char *name, size_t len,
		       uint32_t instance, uint64_t now_ms, uint64_t *age_ms, bool *older)
{
	const struct entry *e = find(p, name, len);
	const struct phone *phone =
		e != NULL && e->desired != P2P_DESIRED_GONE ? phone_of(e, instance) : NULL;

	if (phone == NULL)
		return false;
	*age_ms = now_ms > phone->since ? now_ms - phone->since : 0;
	*older = phone->earlier;
	return true;
}

int p2p_published_publish(struct p2p_published *p, const char *name, size_t len, uint64_t kamailio,
			  uint64_t seq, const uint32_t *instances, size_t n_instances,
			  uint64_t now_ms, uint64_t *seen)
{
	uint32_t inst[P2P_CANDIDATE_INSTANCES_MAX] = {0};
	uint8_t n = instances_normal(instances, n_instances, inst);
	struct entry *e;
	bool same, added;

	if (!p2p_name_valid(name, len))
		return EINVAL;
	e = find(p, name, len);
	added = e == NULL;
	if (e != NULL && e->kamailio == kamailio && seq < e->seq) {
		*seen = e->seq;
		return ESTALE;
	}
	if (added && entry_add(p, name, len, now_ms, &e) != 0)
		return ENOSPC;
	/* being put or put, as it is wished now */
	same = !added && e->desired != P2P_DESIRED_GONE && phones_same(e, inst, n);
	if (phones_set(e, inst, n, seq == 0, now_ms) != 0) {
		if (added)
			entry_remove(p, e);
		return ENOSPC;
	}
	taken(p, kamailio, seq);
	claim(p, e, kamailio, seq);
	set_desired(p, e, P2P_DESIRED_CLAIMED);
	set_killed(p, e, false);
	if (same)
		return EALREADY;
	change(p, e, now_ms);
	return 0;
}

int p2p_published_withdraw(struct p2p_published *p, const char *name, size_t len, uint64_t kamailio,
			   uint64_t seq, uint64_t now_ms, uint64_t *seen)
{
	struct entry *e = find(p, name, len);

	if (e != NULL && e->kamailio == kamailio && seq < e->seq) {
		*seen = e->seq;
		return ESTALE;
	}
	taken(p, kamailio, seq);
	if (e == NULL)
		return ENOENT;
	if (e->kamailio != kamailio && e->desired == P2P_DESIRED_CLAIMED &&
	    kamailio_connected(p, e->kamailio))
		return EBUSY;
	claim(p, e, kamailio, seq);
	if (e->desired == P2P_DESIRED_GONE)
		return 0;
	set_desired(p, e, P2P_DESIRED_GONE);
	if (!e->in_flight && !is_out(e))
		entry_remove(p, e);
	else
		change(p, e, now_ms);
	return 0;
}

int p2p_published_serves(const struct p2p_published *p, const char *name, size_t len)
{
	const struct entry *e = find(p, name, len);

	if (e == NULL || e->desired == P2P_DESIRED_GONE)
		return 0;
	return e->desired == P2P_DESIRED_CLAIMED ? 1 : 2;
}

void p2p_published_renew(struct p2p_published *p, uint64_t now_ms, uint64_t spread_ms)
{
	struct entry *e;
	size_t i;

	for (i = 0; i < p->n_buckets; i++) {
		LIST_FOREACH(e, &p->bucket[i], by_name)
		{
			if (e->desired == P2P_DESIRED_GONE)
				continue;
			change(p, e, now_ms + (spread_ms != 0 ? e->hash % spread_ms : 0));
			if (e->in_flight)
				e->spoiled = true;
		}
	}
}

void p2p_published_stale(struct p2p_published *p, const char *name, size_t len, uint64_t order,
			 uint64_t now_ms)
{
	struct entry *e = find(p, name, len);

	if (e != NULL && !e->in_flight && is_out(e) && e->order == order)
		change(p, e, now_ms + p->cfg.retry_min_ms);
}

void p2p_published_withdraw_all(struct p2p_published *p, uint64_t now_ms)
{
	struct entry *e, *next;
	size_t i;

	for (i = 0; i < p->n_buckets; i++) {
		for (e = LIST_FIRST(&p->bucket[i]); e != NULL; e = next) {
			next = LIST_NEXT(e, by_name);
			if (e->desired == P2P_DESIRED_GONE)
				continue;
			set_desired(p, e, P2P_DESIRED_GONE);
			if (!e->in_flight && !is_out(e))
				entry_remove(p, e);
			else
				change(p, e, now_ms);
		}
	}
}

/* --- work --------------------------------------------------------------------------------------
 */

static void job_begin(struct p2p_published *p, struct entry *e, struct p2p_published_job *job)
{
	memset(job, 0, sizeof(*job));
	heap_remove(p, e);
	set_killed(p, e, false);
	/* a new id for each attempt: an answer that comes late is not taken for a later one's */
	e->id = ++p->last_id;
	e->in_flight = true;
	e->spoiled = false;
	e->was_dirty = e->dirty;
	set_dirty(p, e, false);
	e->before = e->put;
	e->put = e->desired == P2P_DESIRED_GONE ? P2P_PUT_KILLING : P2P_PUT_PUTTING;
	LIST_INSERT_HEAD(&p->flight[e->id % FLIGHT_BUCKETS], e, by_flight);
	p->st.in_flight++;
	job->id = e->id;
	job->tombstone = e->put == P2P_PUT_KILLING;
	job->changed = e->was_dirty;
	job->first = e->before == P2P_PUT_NOTHING && e->last_expiry_ms == 0;
	job->last_order = e->order;
	job->last_expiry_ms = e->last_expiry_ms;
	job->name_len = e->name_len;
	memcpy(job->name, e->name, e->name_len + 1);
	job->n_instances = instances_get(e, job->instance);
}

int p2p_published_next(struct p2p_published *p, uint64_t now_ms, struct p2p_published_job *job)
{
	while (p->n_heap > 0 && p->heap[0]->due_ms <= now_ms) {
		struct entry *e = p->heap[0];

		if (e->desired == P2P_DESIRED_ORPHAN && now_ms >= e->orphan_until_ms) {
			set_desired(p, e, P2P_DESIRED_GONE);
			set_dirty(p, e, true);
		}
		if (e->desired == P2P_DESIRED_GONE &&
		    (!is_out(e) || (e->put == P2P_PUT_KILLED && now_ms >= e->forget_ms))) {
			entry_remove(p, e);
			continue;
		}
		job_begin(p, e, job);
		return 0;
	}
	return ENOENT;
}

uint64_t p2p_published_due(const struct p2p_published *p)
{
	return p->n_heap > 0 ? p->heap[0]->due_ms : UINT64_MAX;
}

static uint64_t retry_delay(const struct p2p_published *p, const struct entry *e)
{
	unsigned int shift = e->failures - 1 < 20 ? e->failures - 1 : 20;
	uint64_t delay = p->cfg.retry_min_ms << shift;

	if (delay > p->cfg.retry_max_ms)
		delay = p->cfg.retry_max_ms;
	/* up to a quarter less, different for each user and attempt: no thundering herd */
	return delay - (e->hash ^ (e->failures * 0x9e3779b97f4a7c15ull)) % (delay / 4 + 1);
}

static void job_succeeded(struct p2p_published *p, struct entry *e, uint64_t wall_ms,
			  uint64_t now_ms)
{
	bool killed = e->put == P2P_PUT_KILLING;

	e->put = killed ? P2P_PUT_KILLED : P2P_PUT_PUT;
	e->failures = 0;
	e->stales = 0;
	if (killed)
		e->forget_ms =
			now_ms + (e->last_expiry_ms > wall_ms ? e->last_expiry_ms - wall_ms : 0);
	if (e->dirty || killed != (e->desired == P2P_DESIRED_GONE)) {
		e->due_ms = now_ms;
	} else if (killed) {
		e->due_ms = now_ms + p->cfg.tombstone_ms;
		if (e->due_ms > e->forget_ms)
			e->due_ms = e->forget_ms;
		set_killed(p, e, true);
	} else {
		e->due_ms = now_ms + p->cfg.reput_ms - e->hash % (p->cfg.reput_ms / 4 + 1);
		if (e->desired == P2P_DESIRED_ORPHAN && e->due_ms > e->orphan_until_ms)
			e->due_ms = e->orphan_until_ms;
	}
}

void p2p_published_done(struct p2p_published *p, uint64_t id, enum p2p_put_result result,
			uint64_t order, uint64_t expiry_ms, uint64_t wall_ms, uint64_t now_ms)
{
	struct entry *e;

	LIST_FOREACH(e, &p->flight[id % FLIGHT_BUCKETS], by_flight)
	{
		if (e->id == id)
			break;
	}
	if (e == NULL)
		return;
	LIST_REMOVE(e, by_flight);
	e->in_flight = false;
	p->st.in_flight--;
	/* A put that failed may have reached some holder: it counts as out there. */
	if (e->put == P2P_PUT_PUTTING && expiry_ms > e->last_expiry_ms)
		e->last_expiry_ms = expiry_ms;
	if (order > e->order)
		e->order = order;
	if (result == P2P_PUT_OK) {
		job_succeeded(p, e, wall_ms, now_ms);
	} else {
		bool again = result == P2P_PUT_STALE && ++e->stales <= STALE_MAX;

		/* Asked for something else meanwhile: that is a new thing, and tried at once. */
		again = again || (e->dirty && !e->spoiled);
		e->put = e->before;
		if (e->was_dirty)
			set_dirty(p, e, true);
		if (again) {
			e->due_ms = now_ms;
		} else {
			e->failures++;
			e->stales = 0;
			e->due_ms = now_ms + retry_delay(p, e);
		}
		if (e->desired == P2P_DESIRED_ORPHAN && e->due_ms > e->orphan_until_ms)
			e->due_ms = e->orphan_until_ms;
	}
	heap_add(p, e);
}

/* --- looking -----------------------------------------------------------------------------------
 */

static bool is_confirmed(const struct entry *e)
{
	enum p2p_put_state put = e->in_flight ? e->before : e->put;

	if (e->dirty || (e->in_flight && e->was_dirty))
		return false;
	return put == (e->desired == P2P_DESIRED_GONE ? P2P_PUT_KILLED : P2P_PUT_PUT);
}

static void fill_info(const struct entry *e, struct p2p_published_info *info)
{
	memset(info, 0, sizeof(*info));
	memcpy(info->name, e->name, e->name_len + 1);
	info->name_len = e->name_len;
	info->desired = e->desired;
	info->put = e->put;
	info->dirty = e->dirty;
	info->confirmed = is_confirmed(e);
	info->failures = e->failures;
	info->kamailio = e->kamailio;
	info->seq = e->seq;
	info->order = e->order;
	info->due_ms = e->in_flight ? UINT64_MAX : e->due_ms;
	info->n_instances = instances_get(e, info->instance);
}

int p2p_published_get(const struct p2p_published *p, const char *name, size_t len,
		      struct p2p_published_info *info)
{
	const struct entry *e = find(p, name, len);

	if (e == NULL)
		return ENOENT;
	fill_info(e, info);
	return 0;
}

/* cursor: bucket in the upper, place in its chain in the lower 24 bits */
#define CURSOR_CHAIN 24

void p2p_published_scan(const struct p2p_published *p, uint64_t *cursor, size_t count,
			void (*fn)(const struct p2p_published_info *info, void *arg), void *arg)
{
	uint64_t skip = *cursor & ((1u << CURSOR_CHAIN) - 1), place;
	size_t i;

	for (i = (size_t)(*cursor >> CURSOR_CHAIN); i < p->n_buckets; i++, skip = 0) {
		const struct entry *e;

		place = 0;
		LIST_FOREACH(e, &p->bucket[i], by_name)
		{
			struct p2p_published_info info;

			if (place++ < skip)
				continue;
			if (count == 0) {
				*cursor = (uint64_t)i << CURSOR_CHAIN | (place - 1);
				return;
			}
			count--;
			fill_info(e, &info);
			fn(&info, arg);
		}
	}
	*cursor = 0;
}

void p2p_published_stats(const struct p2p_published *p, struct p2p_published_stats *st)
{
	*st = p->st;
}
