// SPDX-License-Identifier: GPL-2.0-or-later
#include "p2p_route_tls_table.h"

#include <stdio.h>
#include <string.h>

static int heads(int max)
{
	int n = 1;

	while (n < max)
		n *= 2;
	return n;
}

size_t tls_table_size(int max)
{
	return (size_t)max * sizeof(struct tls_peer) + 2 * (size_t)heads(max) * sizeof(int);
}

void tls_table_init(struct tls_table *t, void *memory, int max, const struct p2p_hash_key *key)
{
	int i, n = heads(max);

	memset(memory, 0, tls_table_size(max));
	t->key = *key;
	t->max = max;
	t->n = 0;
	t->wanted = -1;
	t->mask = n - 1;
	t->peer = memory;
	t->by_hit = (int *)(t->peer + max);
	t->by_addr = t->by_hit + n;
	for (i = 0; i < n; i++)
		t->by_hit[i] = t->by_addr[i] = -1;
}

static bool addr_equal(const struct tls_address *a, const struct tls_address *b)
{
	return a->port == b->port && a->len == b->len && memcmp(a->ip, b->ip, a->len) == 0;
}

static int *hit_head(struct tls_table *t, const struct p2p_hit *hit)
{
	return &t->by_hit[p2p_hash(&t->key, hit, sizeof(*hit)) & (uint64_t)t->mask];
}

static int *addr_head(struct tls_table *t, const struct tls_address *addr)
{
	uint8_t b[18] = {0};

	memcpy(b, addr->ip, addr->len);
	b[16] = (uint8_t)(addr->port >> 8);
	b[17] = (uint8_t)addr->port;
	return &t->by_addr[p2p_hash(&t->key, b, sizeof(b)) & (uint64_t)t->mask];
}

static void addr_link(struct tls_table *t, struct tls_peer *p, const struct tls_address *addr)
{
	int *head = addr_head(t, addr);

	p->addr = *addr;
	p->addr_next = *head;
	*head = (int)(p - t->peer);
}

static void addr_unlink(struct tls_table *t, struct tls_peer *p)
{
	int i = (int)(p - t->peer), *link = addr_head(t, &p->addr);

	while (*link != i)
		link = &t->peer[*link].addr_next;
	*link = p->addr_next;
}

static bool is_idle(const struct tls_peer *p)
{
	return p->state != TLS_PROVING && p->held == NULL && !p->wanted;
}

static void peer_drop(struct tls_table *t, struct tls_peer *p)
{
	int i = (int)(p - t->peer), *link = hit_head(t, &p->hit);
	unsigned int generation = p->generation;

	while (*link != i)
		link = &t->peer[*link].hit_next;
	*link = p->hit_next;
	addr_unlink(t, p);
	memset(p, 0, sizeof(*p));
	p->generation = generation + 1;
	t->n--;
}

struct tls_peer *tls_table_find(struct tls_table *t, const struct p2p_hit *hit)
{
	int i;

	for (i = *hit_head(t, hit); i >= 0; i = t->peer[i].hit_next)
		if (p2p_hit_cmp(&t->peer[i].hit, hit) == 0)
			return &t->peer[i];
	return NULL;
}

/* A free slot, or NULL. */
static struct tls_peer *room_make(struct tls_table *t)
{
	struct tls_peer *old = NULL;
	int i;

	for (i = 0; i < t->max; i++) {
		struct tls_peer *p = &t->peer[i];

		if (!p->used)
			return p;
		if (is_idle(p) && (old == NULL || p->used_ms < old->used_ms))
			old = p;
	}
	if (old != NULL)
		peer_drop(t, old);
	return old;
}

struct tls_peer *tls_table_get(struct tls_table *t, const struct p2p_hit *hit,
			       const struct tls_address *addr, const char *uri, uint64_t now_ms)
{
	struct tls_peer *p = tls_table_find(t, hit);
	int *head;

	if (p == NULL) {
		p = room_make(t);
		if (p == NULL)
			return NULL;
		p->used = true;
		p->hit = *hit;
		p->held_end = &p->held;
		head = hit_head(t, hit);
		p->hit_next = *head;
		*head = (int)(p - t->peer);
		addr_link(t, p, addr);
		t->n++;
	} else if (!addr_equal(&p->addr, addr)) {
		addr_unlink(t, p);
		addr_link(t, p, addr);
		memset(p->con, 0, sizeof(p->con));
		p->state = TLS_UNPROVEN;
		p->generation++; /* the answer to a question to the former address means nothing */
	}
	snprintf(p->uri, sizeof(p->uri), "%s", uri);
	p->used_ms = now_ms;
	return p;
}

bool tls_peer_has(const struct tls_peer *p, int con)
{
	int i;

	for (i = 0; i < TLS_CONS; i++)
		if (con != 0 && p->con[i] == con)
			return true;
	return false;
}

/* Of several peers at one address those go that nobody wants any more. */
static int claims(struct tls_table *t, const struct tls_address *addr, uint64_t now_ms,
		  const struct p2p_hit *meant, struct tls_peer **p)
{
	int i, next, n = 0;

	*p = NULL;
	for (i = *addr_head(t, addr); i >= 0; i = t->peer[i].addr_next)
		n += addr_equal(&t->peer[i].addr, addr);
	for (i = n > 0 ? *addr_head(t, addr) : -1; i >= 0; i = next) {
		struct tls_peer *q = &t->peer[i];

		next = q->addr_next;
		if (!addr_equal(&q->addr, addr))
			continue;
		if (n > 1 && is_idle(q) && now_ms > q->used_ms + TLS_SHARED_MS) {
			peer_drop(t, q);
			n--;
		} else if (*p == NULL || (meant != NULL && p2p_hit_cmp(&q->hit, meant) == 0)) {
			*p = q;
		}
	}
	return n;
}

enum tls_verdict tls_table_gate(struct tls_table *t, const struct tls_address *addr, int con,
				const struct p2p_hit *meant, uint64_t now_ms, struct tls_peer **out)
{
	struct tls_peer *p;
	int n = claims(t, addr, now_ms, meant, &p);

	*out = p;
	if (n == 0)
		return TLS_PASS;
	if (n > 1 && meant == NULL)
		return TLS_WHOSE;
	if (meant != NULL && p2p_hit_cmp(&p->hit, meant) != 0)
		return TLS_REFUSE;
	p->used_ms = now_ms;
	if (tls_peer_has(p, con))
		return TLS_PASS;
	if (p->state == TLS_REFUSED && now_ms < p->since_ms)
		return TLS_REFUSE;
	return TLS_HOLD;
}

bool tls_table_want(struct tls_table *t, struct tls_peer *p)
{
	if (p->wanted)
		return false;
	p->wanted = true;
	p->wanted_next = t->wanted;
	t->wanted = (int)(p - t->peer);
	return true;
}

struct tls_peer *tls_table_wanted(struct tls_table *t)
{
	struct tls_peer *p;

	if (t->wanted < 0)
		return NULL;
	p = &t->peer[t->wanted];
	t->wanted = p->wanted_next;
	p->wanted = false;
	return p;
}

bool tls_peer_hold(struct tls_peer *p, struct tls_held *m)
{
	if (p->n_held >= TLS_HELD_MAX)
		return false;
	m->next = NULL;
	*p->held_end = m;
	p->held_end = &m->next;
	p->n_held++;
	return true;
}

struct tls_held *tls_peer_release(struct tls_peer *p)
{
	struct tls_held *first = p->held;

	p->held = NULL;
	p->held_end = &p->held;
	p->n_held = 0;
	return first;
}

void tls_peer_proving(struct tls_peer *p, uint64_t now_ms)
{
	p->state = TLS_PROVING;
	p->since_ms = now_ms;
}

void tls_peer_proven(struct tls_peer *p, int con)
{
	p->state = TLS_PROVEN;
	if (tls_peer_has(p, con))
		return;
	memmove(p->con + 1, p->con, (TLS_CONS - 1) * sizeof(p->con[0]));
	p->con[0] = con;
}

void tls_peer_refused(struct tls_peer *p, uint64_t until_ms)
{
	p->state = TLS_REFUSED;
	p->since_ms = until_ms;
	memset(p->con, 0, sizeof(p->con));
}
