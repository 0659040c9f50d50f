/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "lib/base/clock.h"
#include "relay/ng/ng_pool.h"

struct ng_instance {
	struct ng_pool *pool;
	struct ng_spec spec;
	struct ng_client *client;
	struct event *ping_timer;
	enum ng_health health;
	unsigned int index, calls, failures;
	bool draining, ping_pending;
	uint64_t up_count, down_count, since_ms, ping_sent_us;
	unsigned int rtt_us;
};

struct ng_pool {
	struct event_base *base;
	struct ng_pool_config config;
	struct ng_request *ping;
	struct event *reaper; /* frees drained instances outside of anybody's callback */
	struct ng_instance *at[NG_INSTANCES_MAX];
	bool closing;
};

/* A request on its way, so that its outcome reaches both the asker and the instance's health. */
struct errand {
	struct ng_instance *instance;
	ng_done_h *done;
	void *arg;
};

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

const char *ng_health_name(enum ng_health health)
{
	switch (health) {
	case NG_UP:
		return "up";
	case NG_DOWN:
		return "down";
	case NG_UNKNOWN:
		break;
	}
	return "unknown";
}

static int spec_address(struct ng_spec *spec, char *text)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&spec->addr;
	struct sockaddr_in *in = (struct sockaddr_in *)&spec->addr;
	char *port, *end, *host = text;
	unsigned long n;

	if (strncmp(text, "udp:", 4) != 0)
		return EINVAL;
	host += 4;
	port = strrchr(host, ':');
	if (port == NULL || port[1] < '0' || port[1] > '9')
		return EINVAL;
	*port++ = '\0';
	n = strtoul(port, &end, 10);
	if (*end != '\0' || n < 1 || n > 65535)
		return EINVAL;
	if (host[0] == '[') {
		end = strchr(host, ']');
		if (end == NULL || end[1] != '\0')
			return EINVAL;
		*end = '\0';
		if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) != 1)
			return EINVAL;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)n);
		spec->addr_len = sizeof(*in6);
	} else {
		if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
			return EINVAL;
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)n);
		spec->addr_len = sizeof(*in);
	}
	return 0;
}

static bool name_ok(const char *s)
{
	return s[0] != '\0' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       strlen(s);
}

int ng_spec_parse(struct ng_spec *spec, const char *text, char *err, size_t errlen)
{
	struct ng_spec s = {.weight = 1};
	char copy[160], *save, *name, *address, *word, *value, *end;
	unsigned long n;

	if (strlen(text) >= sizeof(copy)) {
		snprintf(err, errlen, "instance: too long");
		return EINVAL;
	}
	strcpy(copy, text);
	name = strtok_r(copy, " \t", &save);
	address = strtok_r(NULL, " \t", &save);
	if (name == NULL || address == NULL) {
		snprintf(err, errlen, "instance \"%s\": must be: name udp:ADDRESS:PORT [weight N]",
			 text);
		return EINVAL;
	}
	if (strlen(name) > NG_INSTANCE_NAME_MAX || !name_ok(name)) {
		snprintf(err, errlen,
			 "instance \"%s\": the name must be 1 to %d letters, digits, '.', '_', '-'",
			 text, NG_INSTANCE_NAME_MAX);
		return EINVAL;
	}
	strcpy(s.name, name);
	if (strlen(address) >= sizeof(s.text)) {
		snprintf(err, errlen, "instance \"%s\": address too long", text);
		return EINVAL;
	}
	strcpy(s.text, address);
	if (spec_address(&s, address) != 0) {
		snprintf(err, errlen,
			 "instance \"%s\": the address must be udp:ADDRESS:PORT, IPv6 in brackets",
			 text);
		return EINVAL;
	}
	while ((word = strtok_r(NULL, " \t", &save)) != NULL) {
		value = strtok_r(NULL, " \t", &save);
		if (strcmp(word, "weight") != 0 || value == NULL || value[0] < '0' ||
		    value[0] > '9') {
			snprintf(err, errlen, "instance \"%s\": after the address only: weight N",
				 text);
			return EINVAL;
		}
		n = strtoul(value, &end, 10);
		if (*end != '\0' || n < 1 || n > NG_WEIGHT_MAX) {
			snprintf(err, errlen, "instance \"%s\": weight must be 1 to %d", text,
				 NG_WEIGHT_MAX);
			return EINVAL;
		}
		s.weight = (unsigned int)n;
	}
	*spec = s;
	return 0;
}

static void instance_free(struct ng_instance *in)
{
	struct ng_pool *pool = in->pool;

	if (pool->at[in->index] == in && pool->config.gone != NULL && !pool->closing)
		pool->config.gone(in, pool->config.arg);
	ng_client_free(in->client);
	if (pool->at[in->index] == in)
		pool->at[in->index] = NULL;
	if (in->ping_timer != NULL)
		event_free(in->ping_timer);
	free(in);
}

static void health_set(struct ng_instance *in, enum ng_health health, const char *why)
{
	struct ng_pool *pool = in->pool;
	bool first = in->health == NG_UNKNOWN;

	if (in->health == health || pool->closing)
		return;
	in->health = health;
	in->since_ms = now_us() / 1000;
	if (health == NG_UP)
		in->up_count++;
	else
		in->down_count++;
	p2p_log(pool->config.log, health == NG_DOWN ? P2P_LOG_ERR : P2P_LOG_INFO,
		"rtpengine %s (%s) is %s%s%s", in->spec.name, in->spec.text, ng_health_name(health),
		first ? "" : ": ", first ? "" : why);
	if (pool->config.changed != NULL)
		pool->config.changed(in, health, pool->config.arg);
}

static void outcome(struct ng_instance *in, int err)
{
	if (err == 0 || err == EBADMSG) {
		/* a strange answer is one too; a stranger could not have known the cookie */
		in->failures = 0;
	} else if (err == ECONNREFUSED) {
		in->failures++;
		health_set(in, NG_DOWN, "connection refused");
	} else if (err == ETIMEDOUT && ++in->failures >= in->pool->config.fail_after) {
		health_set(in, NG_DOWN, "no answer");
	}
}

static void ping_arm(struct ng_instance *in)
{
	unsigned int ms = in->pool->config.ping_interval_ms;
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
			     .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	evtimer_add(in->ping_timer, &tv);
}

static void on_pong(int err, const struct ng_reply *reply, void *arg)
{
	struct ng_instance *in = arg;

	in->ping_pending = false;
	if (err == ECANCELED)
		return;
	outcome(in, err);
	if (err == 0 && reply->result == NG_RESULT_PONG) {
		in->rtt_us = (unsigned int)(now_us() - in->ping_sent_us);
		health_set(in, NG_UP, "answers again");
	}
}

static void on_ping_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ng_instance *in = arg;

	(void)fd;
	(void)what;
	ping_arm(in);
	if (in->draining && in->calls == 0) {
		struct timeval now = {0, 0};

		evtimer_add(in->pool->reaper, &now);
		return;
	}
	if (in->ping_pending)
		return;
	in->ping_sent_us = now_us();
	/* EBUSY: the requests under way tell more than a ping would */
	if (ng_client_send(in->client, in->pool->ping, in->pool->config.ping_timeout_ms, on_pong,
			   in) == 0)
		in->ping_pending = true;
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
	struct ng_pool *pool = arg;
	unsigned int i;

	(void)fd;
	(void)what;
	for (i = 0; i < NG_INSTANCES_MAX; i++) {
		struct ng_instance *in = pool->at[i];

		if (in == NULL || !in->draining || in->calls > 0 ||
		    ng_client_pending(in->client) > 0)
			continue;
		p2p_log(pool->config.log, P2P_LOG_INFO, "rtpengine %s (%s) has drained and is gone",
			in->spec.name, in->spec.text);
		instance_free(in);
	}
}

int ng_pool_new(struct ng_pool **pp, struct event_base *base, const struct ng_pool_config *config)
{
	struct ng_pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return ENOMEM;
	pool->base = base;
	pool->config = *config;
	pool->ping = ng_request_ping();
	pool->reaper = evtimer_new(base, on_reap, pool);
	if (pool->ping == NULL || pool->reaper == NULL) {
		ng_pool_free(pool);
		return ENOMEM;
	}
	*pp = pool;
	return 0;
}

void ng_pool_cancel(struct ng_pool *pool)
{
	struct ng_client *client;
	unsigned int i;

	pool->closing = true;
	for (i = 0; i < NG_INSTANCES_MAX; i++) {
		if (pool->at[i] == NULL)
			continue;
		evtimer_del(pool->at[i]->ping_timer);
		client = pool->at[i]->client;
		pool->at[i]->client = NULL;
		ng_client_free(client);
	}
}

void ng_pool_free(struct ng_pool *pool)
{
	unsigned int i;

	if (pool == NULL)
		return;
	ng_pool_cancel(pool);
	for (i = 0; i < NG_INSTANCES_MAX; i++)
		if (pool->at[i] != NULL)
			instance_free(pool->at[i]);
	if (pool->reaper != NULL)
		event_free(pool->reaper);
	ng_request_free(pool->ping);
	free(pool);
}

static int instance_add(struct ng_pool *pool, const struct ng_spec *spec)
{
	struct ng_client_config cc = {
		.addr = spec->addr,
		.addr_len = spec->addr_len,
		.max_pending = pool->config.max_pending,
		.retransmit_ms = pool->config.retransmit_ms,
	};
	struct ng_instance *in;
	unsigned int i;
	int err;

	for (i = 0; i < NG_INSTANCES_MAX && pool->at[i] != NULL; i++)
		;
	if (i == NG_INSTANCES_MAX)
		return ENOSPC;
	in = calloc(1, sizeof(*in));
	if (in == NULL)
		return ENOMEM;
	in->pool = pool;
	in->index = i;
	in->spec = *spec;
	in->since_ms = now_us() / 1000;
	in->ping_timer = evtimer_new(pool->base, on_ping_timer, in);
	err = in->ping_timer == NULL ? ENOMEM : ng_client_new(&in->client, pool->base, &cc);
	if (err != 0) {
		instance_free(in);
		return err;
	}
	pool->at[i] = in;
	on_ping_timer(-1, 0, in);
	return 0;
}

static bool spec_same_address(const struct ng_spec *a, const struct ng_spec *b)
{
	return a->addr_len == b->addr_len && memcmp(&a->addr, &b->addr, a->addr_len) == 0;
}

int ng_pool_set(struct ng_pool *pool, const struct ng_spec *spec, size_t n)
{
	bool kept[NG_INSTANCES_MAX] = {false};
	unsigned int i;
	int err, first = 0;
	size_t k;

	if (n > NG_INSTANCES_MAX)
		return E2BIG;
	for (i = 0; i < NG_INSTANCES_MAX; i++) {
		struct ng_instance *in = pool->at[i];

		if (in == NULL)
			continue;
		for (k = 0; k < n; k++)
			if (!kept[k] && strcmp(spec[k].name, in->spec.name) == 0 &&
			    spec_same_address(&spec[k], &in->spec))
				break;
		if (k == n) {
			if (!in->draining)
				p2p_log(pool->config.log, P2P_LOG_INFO,
					"rtpengine %s (%s) drains: %u calls", in->spec.name,
					in->spec.text, in->calls);
			in->draining = true;
			continue;
		}
		kept[k] = true;
		in->draining = false;
		in->spec.weight = spec[k].weight;
	}
	for (k = 0; k < n; k++) {
		if (kept[k])
			continue;
		err = instance_add(pool, &spec[k]);
		if (err != 0 && first == 0)
			first = err;
		if (err != 0)
			p2p_log(pool->config.log, P2P_LOG_ERR, "rtpengine %s (%s): %s",
				spec[k].name, spec[k].text, strerror(err));
	}
	return first;
}

void ng_pool_tune(struct ng_pool *pool, const struct ng_pool_config *config)
{
	pool->config.ping_interval_ms = config->ping_interval_ms;
	pool->config.ping_timeout_ms = config->ping_timeout_ms;
	pool->config.fail_after = config->fail_after;
	pool->config.max_pending = config->max_pending;
	pool->config.retransmit_ms = config->retransmit_ms;
}

struct ng_instance *ng_pool_pick(struct ng_pool *pool, uint32_t tried)
{
	struct ng_instance *best = NULL;
	unsigned int i;

	for (i = 0; i < NG_INSTANCES_MAX; i++) {
		struct ng_instance *in = pool->at[i];

		if (in == NULL || in->health != NG_UP || in->draining || (tried >> i & 1))
			continue;
		/* (calls + 1) / weight, without dividing */
		if (best == NULL || (uint64_t)(in->calls + 1) * best->spec.weight <
					    (uint64_t)(best->calls + 1) * in->spec.weight)
			best = in;
	}
	return best;
}

struct ng_instance *ng_pool_at(struct ng_pool *pool, unsigned int index)
{
	return index < NG_INSTANCES_MAX ? pool->at[index] : NULL;
}

struct ng_instance *ng_pool_find(struct ng_pool *pool, const char *name)
{
	unsigned int i;

	for (i = 0; i < NG_INSTANCES_MAX; i++)
		if (pool->at[i] != NULL && strcmp(pool->at[i]->spec.name, name) == 0)
			return pool->at[i];
	return NULL;
}

unsigned int ng_pool_up(const struct ng_pool *pool)
{
	unsigned int i, n = 0;

	for (i = 0; i < NG_INSTANCES_MAX; i++)
		if (pool->at[i] != NULL && pool->at[i]->health == NG_UP && !pool->at[i]->draining)
			n++;
	return n;
}

unsigned int ng_instance_index(const struct ng_instance *in)
{
	return in->index;
}

const char *ng_instance_name(const struct ng_instance *in)
{
	return in->spec.name;
}

bool ng_instance_usable(const struct ng_instance *in)
{
	return in->health == NG_UP;
}

void ng_instance_call_add(struct ng_instance *in)
{
	in->calls++;
}

void ng_instance_call_remove(struct ng_instance *in)
{
	if (in->calls > 0)
		in->calls--;
}

static void on_done(int err, const struct ng_reply *reply, void *arg)
{
	struct errand e = *(struct errand *)arg;

	free(arg);
	if (err != ECANCELED)
		outcome(e.instance, err);
	if (e.done != NULL)
		e.done(err, reply, e.arg);
}

int ng_instance_send(struct ng_instance *in, const struct ng_request *request,
		     unsigned int deadline_ms, ng_done_h *done, void *arg)
{
	struct errand *e;
	int err;

	if (in->client == NULL)
		return ECANCELED;
	e = malloc(sizeof(*e));
	if (e == NULL)
		return ENOMEM;
	*e = (struct errand){.instance = in, .done = done, .arg = arg};
	err = ng_client_send(in->client, request, deadline_ms, on_done, e);
	if (err != 0)
		free(e);
	return err;
}

void ng_instance_stats(const struct ng_instance *in, struct ng_instance_stats *st)
{
	*st = (struct ng_instance_stats){
		.name = in->spec.name,
		.address = in->spec.text,
		.health = in->health,
		.draining = in->draining,
		.weight = in->spec.weight,
		.calls = in->calls,
		.up_count = in->up_count,
		.down_count = in->down_count,
		.since_ms = in->since_ms,
		.rtt_us = in->rtt_us,
	};
	if (in->client == NULL)
		return;
	st->pending = ng_client_pending(in->client);
	ng_client_stats(in->client, &st->client);
}
