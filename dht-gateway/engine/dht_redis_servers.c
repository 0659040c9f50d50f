/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The servers, and the map of who has what: followed as it changes. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include "dht-gateway/engine/dht_redis_impl.h"
#include "lib/base/bytes.h"

#define REFRESH_MS 10000
/* The map is read again at most this often when something points to its being old. */
#define REFRESH_MIN_MS 100

bool redis_server_up(const struct dht_backend *b, unsigned int i)
{
	return i < b->n_servers && redis_conn_up(b->server[i].conn);
}

/* Can anything be asked for; can all of it? What one lost part of a Cluster has is unknown, and
 * waited for; the others' users are found and put as ever. */
static void reachable(const struct dht_backend *b, bool *some, bool *all)
{
	*some = false;
	*all = b->map.known;
	if (!b->map.known)
		return;
	/* of a cluster, set 0 is nobody's */
	for (unsigned int i = b->map.cluster ? 1 : 0; i < b->map.n_sets; i++) {
		const struct redis_map_set *s = &b->map.set[i];
		bool up = false;

		for (unsigned int j = 0; j < s->n; j++)
			up = up || redis_server_up(b, s->node[j]);
		*some = *some || up;
		*all = *all && up;
	}
}

bool redis_all_reachable(const struct dht_backend *b)
{
	bool some, all;

	reachable(b, &some, &all);
	return all;
}

static void status_look(struct dht_backend *b)
{
	bool now, all;

	reachable(b, &now, &all);
	if (now == b->connected)
		return;
	b->connected = now;
	if (!b->closing)
		b->status(b->arg);
}

static void on_state(struct redis_conn *c, bool up, void *arg)
{
	struct server *s = arg;
	struct dht_backend *b = s->b;

	if (up) {
		redis_script_load(b, c);
	} else {
		snprintf(b->why, sizeof(b->why), "%s", redis_conn_why(c));
		b->stale = b->map.cluster;
	}
	status_look(b);
}

void redis_servers_follow(struct dht_backend *b)
{
	/* a place in the map has been given to another node */
	for (unsigned int i = 0; i < b->n_servers; i++) {
		struct server *s = &b->server[i];
		const struct redis_map_node *n = &b->map.node[i];

		if (redis_conn_to(s->conn, n->host, n->port))
			continue;
		redis_conn_free(s->conn);
		s->conn = NULL;
		if (redis_conn_new(&s->conn, b->base, n->host, n->port, &b->login, on_state, s))
			s->conn = NULL; /* without memory: with the next turn */
	}
	while (b->n_servers < b->map.n_nodes) {
		struct server *s = &b->server[b->n_servers];
		const struct redis_map_node *n = &b->map.node[b->n_servers];

		s->b = b;
		s->index = b->n_servers;
		/* without memory: with the next turn */
		if (redis_conn_new(&s->conn, b->base, n->host, n->port, &b->login, on_state, s))
			return;
		b->n_servers++;
	}
}

static void on_slots(const redisReply *reply, void *arg)
{
	struct server *s = arg;
	struct dht_backend *b = s->b;

	b->refreshing = false;
	if (!reply || b->closing)
		return;
	if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "cluster support disabled")) {
		if (!b->map.known)
			redis_map_single(&b->map, s->index);
	} else if (redis_map_slots(&b->map, reply, s->index)) {
		snprintf(b->why, sizeof(b->why), "%s: CLUSTER SLOTS: %.80s",
			 b->map.node[s->index].host,
			 reply->type == REDIS_REPLY_ERROR ? reply->str : "no such reply");
		return;
	}
	b->stale = false;
	b->refreshed_ms = redis_now_ms();
	redis_servers_follow(b);
	status_look(b);
}

void redis_map_refresh(struct dht_backend *b)
{
	const char *argv[] = {"CLUSTER", "SLOTS"};
	uint64_t now = redis_now_ms();

	if (b->refreshing || (b->map.known && !b->map.cluster) ||
	    now - b->refreshed_ms < (b->stale || !b->map.known ? REFRESH_MIN_MS : REFRESH_MS))
		return;
	b->refreshed_ms = now;
	for (unsigned int i = 0; i < b->n_servers; i++) {
		/* not always the same one: it may be cut off from the others */
		struct server *s =
			&b->server[(i + (unsigned int)(now / REFRESH_MIN_MS)) % b->n_servers];

		if (!redis_conn_send(s->conn, 2, argv, NULL, on_slots, s)) {
			b->refreshing = true;
			return;
		}
	}
}

static void on_message(const char *channel, size_t channellen, const void *data, size_t len,
		       void *arg)
{
	struct dht_backend *b = arg;
	const uint8_t *p = data;
	struct dht_watch *w, *next;

	if (len <= 8 || len > 8 + DHT_VALUE_MAX)
		return;
	for (w = TAILQ_FIRST(&b->watches); w; w = next) {
		next = TAILQ_NEXT(w, te);
		if (strlen(w->channel) != channellen || memcmp(w->channel, channel, channellen))
			continue;
		if (b->policy.store && !b->policy.store(DHT_BELL, w->key, p2p_be64(p), p + 8,
							len - 8, b->policy.arg)) {
			b->dropped++;
			return;
		}
		w->found(w->key, p2p_be64(p), p + 8, len - 8, false, w->arg);
	}
}

static void on_listener(struct redis_conn *c, bool up, void *arg)
{
	struct dht_backend *b = arg;
	struct dht_watch *w;

	if (!up)
		return;
	TAILQ_FOREACH(w, &b->watches, te)
		redis_conn_subscribe(c, w->channel);
}

void redis_listen_look(struct dht_backend *b)
{
	if (b->listener && redis_conn_up(b->listener))
		return;
	if (b->listener && redis_server_up(b, b->listens_at) &&
	    redis_conn_to(b->listener, b->map.node[b->listens_at].host,
			  b->map.node[b->listens_at].port))
		return; /* about to be */
	for (unsigned int i = 0; i < b->n_servers; i++) {
		const struct redis_map_node *n = &b->map.node[i];

		if (!redis_server_up(b, i))
			continue;
		redis_conn_free(b->listener);
		b->listener = NULL;
		if (redis_conn_new(&b->listener, b->base, n->host, n->port, &b->login, on_listener,
				   b))
			return;
		redis_conn_on_message(b->listener, on_message, b);
		b->listens_at = i;
		return;
	}
}
