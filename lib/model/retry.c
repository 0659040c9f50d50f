/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/retry.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct one {
	struct p2p_key key;
	bool waits; /* else it is being tried, or is none any more: what comes next may have its
		     * place */
	uint32_t failures;
	uint64_t order, due_ms;
	uint64_t round; /* of its last failure */
};

struct p2p_retry {
	struct p2p_retry_config config;
	size_t n, waiting;
	uint64_t round; /* a new one with each success */
	uint32_t in_a_row;
	uint64_t all_until_ms;
	struct one one[];
};

int p2p_retry_new(struct p2p_retry **rp, const struct p2p_retry_config *config)
{
	struct p2p_retry *r;

	if (config->max == 0 || config->first_ms == 0 || config->most_ms == 0 ||
	    config->in_a_row == 0 || config->all_ms == 0)
		return EINVAL;
	r = calloc(1, sizeof(*r) + config->max * sizeof(r->one[0]));
	if (r == NULL)
		return ENOMEM;
	r->config = *config;
	r->round = 1;
	*rp = r;
	return 0;
}

void p2p_retry_free(struct p2p_retry *r)
{
	free(r);
}

static struct one *find(struct p2p_retry *r, const struct p2p_key *key)
{
	size_t i;

	for (i = 0; i < r->n; i++) {
		if (memcmp(&r->one[i].key, key, sizeof(*key)) == 0)
			return &r->one[i];
	}
	return NULL;
}

static struct one *add(struct p2p_retry *r, const struct p2p_key *key)
{
	struct one *o = NULL;
	size_t i;

	if (r->n < r->config.max) {
		o = &r->one[r->n++];
	} else {
		for (i = 0; i < r->n && r->waiting < r->n; i++) {
			if (!r->one[i].waits && (o == NULL || r->one[i].due_ms < o->due_ms))
				o = &r->one[i];
		}
	}
	if (o != NULL)
		*o = (struct one){.key = *key};
	return o;
}

static uint64_t wait_of(const struct p2p_retry *r, uint32_t failures)
{
	uint64_t ms = r->config.first_ms;

	while (--failures > 0 && ms < r->config.most_ms)
		ms *= 2;
	return ms < r->config.most_ms ? ms : r->config.most_ms;
}

bool p2p_retry_failed(struct p2p_retry *r, const struct p2p_key *key, uint64_t order,
		      uint64_t now_ms)
{
	struct one *o = find(r, key);

	if (o == NULL)
		o = add(r, key);
	/* the same one again says nothing of the others */
	if ((o == NULL || o->round != r->round) && r->in_a_row < r->config.in_a_row)
		r->in_a_row++;
	if (o == NULL || r->in_a_row >= r->config.in_a_row)
		r->all_until_ms = now_ms + r->config.all_ms;
	if (o == NULL)
		return false;
	if (!o->waits)
		r->waiting++;
	if (!o->waits || order > o->order)
		o->order = order;
	o->waits = true;
	o->round = r->round;
	if (o->failures < UINT32_MAX)
		o->failures++;
	o->due_ms = now_ms + wait_of(r, o->failures);
	return true;
}

void p2p_retry_succeeded(struct p2p_retry *r, const struct p2p_key *key, uint64_t order,
			 uint64_t now_ms)
{
	struct one *o = r->n > 0 ? find(r, key) : NULL;
	size_t i;

	if (r->in_a_row >= r->config.in_a_row) {
		for (i = 0; i < r->n; i++) {
			if (r->one[i].round != r->round)
				continue;
			r->one[i].failures = 0;
			if (r->one[i].due_ms > now_ms)
				r->one[i].due_ms = now_ms;
		}
	}
	r->in_a_row = 0;
	r->all_until_ms = 0;
	r->round++;
	if (o == NULL || (o->waits && o->order > order))
		return;
	r->waiting -= o->waits;
	*o = r->one[--r->n];
}

bool p2p_retry_take(struct p2p_retry *r, uint64_t now_ms, struct p2p_key *key, uint64_t *order)
{
	size_t i;

	for (i = 0; i < r->n && r->waiting > 0; i++) {
		struct one *o = &r->one[i];

		if (!o->waits || now_ms < o->due_ms)
			continue;
		o->waits = false;
		r->waiting--;
		*key = o->key;
		*order = o->order;
		return true;
	}
	return false;
}

unsigned int p2p_retry_at_once(const struct p2p_retry *r, uint64_t now_ms)
{
	if (now_ms < r->all_until_ms)
		return 0;
	return r->all_until_ms != 0 ? 1 : UINT_MAX;
}

size_t p2p_retry_waiting(const struct p2p_retry *r)
{
	return r->waiting;
}
