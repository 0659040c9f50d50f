/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "relay/ng/ng_pool.h"
#include "relay/relay_call.h"

#define BUCKETS_MIN 256

TAILQ_HEAD(lease_list, relay_call);

struct relay_calls {
	struct p2p_hash_key key;
	struct relay_call **bucket;
	size_t n_buckets; /* a power of two */
	struct lease_list list[RELAY_CALL_STATES];
	size_t count[RELAY_CALL_STATES];
};

int relay_calls_new(struct relay_calls **cp, const struct p2p_hash_key *key)
{
	struct relay_calls *calls = calloc(1, sizeof(*calls));
	int i;

	if (calls == NULL)
		return ENOMEM;
	calls->key = *key;
	calls->n_buckets = BUCKETS_MIN;
	calls->bucket = calloc(calls->n_buckets, sizeof(struct relay_call *));
	if (calls->bucket == NULL) {
		free(calls);
		return ENOMEM;
	}
	for (i = 0; i < RELAY_CALL_STATES; i++)
		TAILQ_INIT(&calls->list[i]);
	*cp = calls;
	return 0;
}

void relay_calls_free(struct relay_calls *calls)
{
	int i;

	if (calls == NULL)
		return;
	for (i = 0; i < RELAY_CALL_STATES; i++)
		while (!TAILQ_EMPTY(&calls->list[i]))
			relay_calls_remove(calls, TAILQ_FIRST(&calls->list[i]));
	free(calls->bucket);
	free(calls);
}

static struct relay_call **slot_of(struct relay_calls *calls, const char *id, size_t len)
{
	return &calls->bucket[p2p_hash(&calls->key, id, len) & (calls->n_buckets - 1)];
}

struct relay_call *relay_calls_find(struct relay_calls *calls, const char *id, size_t len)
{
	struct relay_call *call;

	for (call = *slot_of(calls, id, len); call != NULL; call = call->next)
		if (call->id_len == len && memcmp(call->id, id, len) == 0)
			return call;
	return NULL;
}

/* Doubling keeps chains short; when memory is short the chains just get longer. */
static void grow(struct relay_calls *calls)
{
	size_t n = calls->n_buckets * 2, i, old_n = calls->n_buckets;
	struct relay_call **old = calls->bucket, **bucket, *call, *next, **slot;

	bucket = calloc(n, sizeof(struct relay_call *));
	if (bucket == NULL)
		return;
	calls->bucket = bucket;
	calls->n_buckets = n;
	for (i = 0; i < old_n; i++) {
		for (call = old[i]; call != NULL; call = next) {
			next = call->next;
			slot = slot_of(calls, call->id, call->id_len);
			call->next = *slot;
			*slot = call;
		}
	}
	free(old);
}

int relay_calls_add(struct relay_calls *calls, struct relay_call **cp, const char *id, size_t len,
		    struct ng_instance *instance, uint64_t now_ms, uint64_t lease_ms)
{
	struct relay_call *call, **slot;

	if (calls->count[RELAY_CALL_LIVE] + calls->count[RELAY_CALL_DELETING] >= calls->n_buckets)
		grow(calls);
	call = calloc(1, sizeof(*call) + len + 1);
	if (call == NULL)
		return ENOMEM;
	memcpy(call->id, id, len);
	call->id_len = len;
	call->instance = instance;
	call->created_ms = now_ms;
	call->media_ms = now_ms;
	call->lease_ms = lease_ms;
	slot = slot_of(calls, id, len);
	call->next = *slot;
	*slot = call;
	TAILQ_INSERT_TAIL(&calls->list[RELAY_CALL_LIVE], call, by_lease);
	calls->count[RELAY_CALL_LIVE]++;
	ng_instance_call_add(instance);
	*cp = call;
	return 0;
}

void relay_calls_remove(struct relay_calls *calls, struct relay_call *call)
{
	struct relay_call **slot;

	if (call->removed)
		return;
	for (slot = slot_of(calls, call->id, call->id_len); *slot != call; slot = &(*slot)->next)
		;
	*slot = call->next;
	TAILQ_REMOVE(&calls->list[call->state], call, by_lease);
	calls->count[call->state]--;
	ng_instance_call_remove(call->instance);
	call->instance = NULL;
	call->removed = true;
	if (call->pins == 0)
		free(call);
}

void relay_calls_pin(struct relay_call *call)
{
	call->pins++;
}

void relay_calls_unpin(struct relay_call *call)
{
	assert(call->pins > 0);
	if (--call->pins == 0 && call->removed)
		free(call);
}

void relay_calls_renew(struct relay_calls *calls, struct relay_call *call, uint64_t lease_ms)
{
	if (call->removed)
		return;
	call->lease_ms = lease_ms;
	TAILQ_REMOVE(&calls->list[call->state], call, by_lease);
	TAILQ_INSERT_TAIL(&calls->list[call->state], call, by_lease);
}

void relay_calls_state(struct relay_calls *calls, struct relay_call *call,
		       enum relay_call_state state, uint64_t lease_ms)
{
	if (call->removed)
		return;
	TAILQ_REMOVE(&calls->list[call->state], call, by_lease);
	calls->count[call->state]--;
	call->state = state;
	call->lease_ms = lease_ms;
	TAILQ_INSERT_TAIL(&calls->list[state], call, by_lease);
	calls->count[state]++;
}

void relay_calls_move(struct relay_call *call, struct ng_instance *instance)
{
	if (call->removed || call->instance == instance)
		return;
	ng_instance_call_remove(call->instance);
	call->instance = instance;
	ng_instance_call_add(instance);
}

struct relay_call *relay_calls_expired(struct relay_calls *calls, enum relay_call_state state,
				       uint64_t now_ms)
{
	struct relay_call *call = TAILQ_FIRST(&calls->list[state]);

	return call != NULL && call->lease_ms <= now_ms ? call : NULL;
}

size_t relay_calls_count(const struct relay_calls *calls, enum relay_call_state state)
{
	return calls->count[state];
}

uint64_t relay_calls_visit(struct relay_calls *calls, uint64_t cursor, size_t min,
			   relay_call_visit_h *f, void *arg)
{
	struct relay_call *call, *next;
	size_t n = 0;

	while (cursor < calls->n_buckets && n < min) {
		for (call = calls->bucket[cursor]; call != NULL; call = next) {
			next = call->next;
			f(call, arg);
			n++;
		}
		cursor++;
	}
	return cursor < calls->n_buckets ? cursor : 0;
}
