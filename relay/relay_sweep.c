/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What nobody released is found here, whoever crashed:
 *  - each call's lease: every lease_s rtpengine is asked whether its packets still grow;
 *  - deletions that got no answer are repeated;
 *  - each instance's own list of calls is compared with the table: calls of ours that it no longer
 *    has (it was restarted) are dropped, calls that we do not know (we were restarted) are taken
 *    over, calls that moved to another instance are deleted;
 *  - unanswered calls of a Kamailio that is gone (relay_owner.c). */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include "relay/relay_priv.h"

#define TICK_S 1
/* Nobody waits for these; rtpengine may be busy with a list. */
#define REPLY_MS 1000
/* A call younger than this may be missing from a list that was made before it. */
#define YOUNG_MS 3000

struct visit {
	struct relay *relay;
	struct relay_call *call;
};

static uint64_t seconds(int64_t s)
{
	return (uint64_t)s * 1000;
}

static void on_state(int err, const struct ng_reply *reply, void *arg)
{
	struct visit v = *(struct visit *)arg;
	struct relay *relay = v.relay;
	struct relay_call *call = v.call;
	const struct relay_settings *set = relay->settings;
	uint64_t now = relay_now_ms(), limit;
	struct ng_call_state state;

	free(arg);
	relay->sweeping--;
	call->asked = false;
	if (err != 0 || call->removed || call->state != RELAY_CALL_LIVE || call->delete_wanted) {
		relay_call_release(relay, call);
		return;
	}
	if (ng_reply_unknown_call(reply)) {
		/* pinned by others too? then those will learn of it themselves */
		if (call->pins == 1) {
			relay->count.lost++;
			relay_call_drop(relay, call);
		}
		relay_call_release(relay, call);
		return;
	}
	if (reply->result == NG_RESULT_OK) {
		ng_reply_call_state(reply, &state);
		call->held = state.held;
		if (state.tags > 1)
			call->answered = true;
		if (state.packets != call->packets) {
			call->packets = state.packets;
			call->media_ms = now;
		}
		limit = state.tags < 2 && !call->answered ? seconds(set->ring_timeout_s)
			: state.held			  ? seconds(set->hold_timeout_s)
							  : seconds(set->media_timeout_s);
		if (now - call->media_ms >= limit) {
			relay->count.swept++;
			p2p_log(relay->log, P2P_LOG_INFO,
				"call %s at rtpengine %s: no packet for %llu s, deleted", call->id,
				ng_instance_name(call->instance),
				(unsigned long long)(now - call->media_ms) / 1000);
			call->delete_wanted = true;
		}
	}
	relay_call_release(relay, call);
}

static void ask_state(struct relay *relay, struct relay_call *call)
{
	struct ng_request *request;
	struct visit *v;

	relay_calls_renew(relay->calls, call, relay_lease_end(relay));
	if (!ng_instance_usable(call->instance) || call->delete_wanted || call->asked)
		return;
	v = malloc(sizeof(*v));
	request = ng_request_query(call->id);
	if (v != NULL && request != NULL) {
		*v = (struct visit){.relay = relay, .call = call};
		if (ng_instance_send(call->instance, request, REPLY_MS, on_state, v) == 0) {
			relay_calls_pin(call);
			call->asked = true;
			relay->sweeping++;
			v = NULL;
		}
	}
	free(v);
	ng_request_free(request);
}

static void sweep_leases(struct relay *relay, uint64_t now)
{
	struct relay_call *call;

	while (relay->sweeping < (unsigned int)relay->settings->sweep_max_pending) {
		call = relay_calls_expired(relay->calls, RELAY_CALL_LIVE, now);
		if (call == NULL)
			return;
		ask_state(relay, call);
	}
}

static void sweep_deletions(struct relay *relay, uint64_t now)
{
	struct relay_call *call;
	int i;

	for (i = 0; i < relay->settings->sweep_max_pending; i++) {
		call = relay_calls_expired(relay->calls, RELAY_CALL_DELETING, now);
		if (call == NULL)
			return;
		if (now - call->deleting_ms >= seconds(relay->settings->delete_retry_s)) {
			p2p_log(relay->log, P2P_LOG_WARN,
				"call %s: rtpengine %s never answered the deletion, given up",
				call->id, ng_instance_name(call->instance));
			relay_call_drop(relay, call);
			continue;
		}
		relay->count.delete_retries++;
		relay_call_delete(relay, call);
	}
}

struct comparison {
	struct relay *relay;
	struct ng_instance *instance;
	uint64_t begun_ms;
};

static bool on_listed(const char *id, size_t len, void *arg)
{
	struct comparison *cmp = arg;
	struct relay *relay = cmp->relay;
	size_t plen = strlen(relay->settings->prefix);
	struct relay_call *call;

	/* what somebody else made there is none of our business */
	if (len <= plen || len > RELAY_CALL_ID_MAX ||
	    memcmp(id, relay->settings->prefix, plen) != 0 || id[plen] != '-' ||
	    memchr(id, '\0', len) != NULL)
		return true;
	call = relay_calls_find(relay->calls, id, len);
	if (call != NULL && call->instance == cmp->instance) {
		call->seen = relay->comparison;
		return true;
	}
	if (call != NULL) {
		if (call->pins == 0)
			relay_delete_at(relay, cmp->instance, id);
		return true;
	}
	if (relay_calls_count(relay->calls, RELAY_CALL_LIVE) >=
		    (size_t)relay->settings->max_calls ||
	    relay_calls_add(relay->calls, &call, id, len, cmp->instance, relay_now_ms(),
			    relay_lease_end(relay)) != 0)
		return false;
	call->adopted = true;
	call->seen = relay->comparison;
	relay->count.adopted++;
	return true;
}

static void drop_unseen(struct relay_call *call, void *arg)
{
	struct comparison *cmp = arg;
	struct relay *relay = cmp->relay;

	if (call->instance != cmp->instance || call->seen == relay->comparison || call->pins > 0 ||
	    call->created_ms + YOUNG_MS > cmp->begun_ms)
		return;
	if (call->state == RELAY_CALL_LIVE)
		relay->count.lost++;
	relay_call_drop(relay, call);
}

static void on_list(int err, const struct ng_reply *reply, void *arg)
{
	struct comparison cmp = *(struct comparison *)arg;
	struct relay *relay = cmp.relay;
	uint64_t lost = relay->count.lost, adopted = relay->count.adopted;
	int n;

	free(arg);
	relay->reconciling[ng_instance_index(cmp.instance)] = false;
	if (err != 0 || reply->result != NG_RESULT_OK || relay->closing)
		return;
	relay->comparison++;
	n = ng_reply_calls(reply, on_listed, &cmp);
	/* only a whole list says what is missing in it */
	if (n >= 0 && n < relay->settings->list_max)
		relay_calls_visit(relay->calls, 0, SIZE_MAX, drop_unseen, &cmp);
	if (relay->count.lost != lost)
		p2p_log(relay->log, P2P_LOG_WARN, "rtpengine %s lost %llu calls",
			ng_instance_name(cmp.instance),
			(unsigned long long)(relay->count.lost - lost));
	if (relay->count.adopted != adopted)
		p2p_log(relay->log, P2P_LOG_INFO, "rtpengine %s: took over %llu calls",
			ng_instance_name(cmp.instance),
			(unsigned long long)(relay->count.adopted - adopted));
}

static void compare(struct relay *relay, struct ng_instance *instance, uint64_t now)
{
	unsigned int i = ng_instance_index(instance);
	struct ng_request *request;
	struct comparison *cmp;

	if (relay->reconciling[i])
		return;
	relay->reconcile_ms[i] = now;
	cmp = malloc(sizeof(*cmp));
	request = ng_request_list((unsigned int)relay->settings->list_max);
	if (cmp != NULL && request != NULL) {
		*cmp = (struct comparison){.relay = relay, .instance = instance, .begun_ms = now};
		if (ng_instance_send(instance, request, REPLY_MS, on_list, cmp) == 0) {
			relay->reconciling[i] = true;
			cmp = NULL;
		}
	}
	free(cmp);
	ng_request_free(request);
}

void relay_sweep_instance_up(struct relay *relay, struct ng_instance *instance)
{
	compare(relay, instance, relay_now_ms());
}

void relay_sweep_instance_gone(struct relay *relay, struct ng_instance *instance)
{
	relay->reconciling[ng_instance_index(instance)] = false;
	relay->reconcile_ms[ng_instance_index(instance)] = 0;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct relay *relay = arg;
	uint64_t now = relay_now_ms();
	struct ng_instance *instance;
	unsigned int i;

	(void)fd;
	(void)what;
	sweep_leases(relay, now);
	sweep_deletions(relay, now);
	relay_owner_sweep(relay, now);
	for (i = 0; i < NG_INSTANCES_MAX; i++) {
		instance = ng_pool_at(relay->pool, i);
		if (instance != NULL && ng_instance_usable(instance) &&
		    now - relay->reconcile_ms[i] >= seconds(relay->settings->reconcile_interval_s))
			compare(relay, instance, now);
	}
}

int relay_sweep_start(struct relay *relay)
{
	static const struct timeval tick = {.tv_sec = TICK_S};

	relay->sweep_timer = event_new(relay->base, -1, EV_PERSIST, on_tick, relay);
	if (relay->sweep_timer == NULL || event_add(relay->sweep_timer, &tick) != 0)
		return ENOMEM;
	return 0;
}

void relay_sweep_stop(struct relay *relay)
{
	if (relay->sweep_timer != NULL)
		event_free(relay->sweep_timer);
	relay->sweep_timer = NULL;
}
