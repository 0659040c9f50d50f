/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who offered a call. A Kamailio's unanswered calls die with it (its transactions are gone, so
 * nobody will bring their answers); answered ones go on, and a BYE finds them. */
#include <stdlib.h>
#include <string.h>
#include "relay/relay_priv.h"

struct relay_owner *relay_owner_join(struct relay *relay, const char *instance, size_t len)
{
	struct relay_owner *o;

	TAILQ_FOREACH(o, &relay->owners, entry) {
		if (o->len == len && memcmp(o->instance, instance, len) == 0)
			break;
	}
	if (o == NULL) {
		o = calloc(1, sizeof(*o) + len + 1);
		if (o == NULL)
			return NULL;
		memcpy(o->instance, instance, len);
		o->len = len;
		TAILQ_INSERT_TAIL(&relay->owners, o, entry);
	}
	o->connections++;
	o->left_ms = 0;
	return o;
}

void relay_owner_leave(struct relay *relay, struct relay_owner *owner)
{
	(void)relay;
	if (--owner->connections == 0)
		owner->left_ms = relay_now_ms();
}

struct gone {
	struct relay *relay;
	uint64_t now_ms;
};

static bool is_gone(const struct gone *g, const struct relay_owner *o)
{
	return o->connections == 0 &&
	       g->now_ms - o->left_ms >= (uint64_t)g->relay->settings->owner_grace_s * 1000;
}

static void disown(struct relay_call *call, void *arg)
{
	const struct gone *g = arg;

	if (call->owner == NULL || !is_gone(g, call->owner))
		return;
	relay_call_own(call, NULL);
	if (!call->answered) {
		g->relay->count.orphaned++;
		relay_call_delete(g->relay, call);
	}
}

void relay_owner_sweep(struct relay *relay, uint64_t now_ms)
{
	struct gone g = {.relay = relay, .now_ms = now_ms};
	struct relay_owner *o, *next;
	bool any = false;

	TAILQ_FOREACH(o, &relay->owners, entry) {
		if (is_gone(&g, o) && o->calls > 0)
			any = true;
	}
	if (any)
		relay_calls_visit(relay->calls, 0, SIZE_MAX, disown, &g);
	for (o = TAILQ_FIRST(&relay->owners); o != NULL; o = next) {
		next = TAILQ_NEXT(o, entry);
		if (is_gone(&g, o) && o->calls == 0) {
			TAILQ_REMOVE(&relay->owners, o, entry);
			free(o);
		}
	}
}

void relay_owners_free(struct relay *relay)
{
	struct relay_owner *o;

	while ((o = TAILQ_FIRST(&relay->owners)) != NULL) {
		TAILQ_REMOVE(&relay->owners, o, entry);
		free(o);
	}
}
