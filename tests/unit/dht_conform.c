/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/dht_conform.h"
#include <ftw.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

bool policy_store(enum dht_kind kind, const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data,
		  size_t len, void *arg)
{
	(void)kind;
	(void)key;
	(void)id;
	(void)arg;
	return len >= 2 && ((const char *)data)[0] == 'v';
}

bool policy_edit(const void *prev, size_t prevlen, const void *next, size_t nextlen, void *arg)
{
	(void)prevlen;
	(void)nextlen;
	(void)arg;
	return ((const char *)next)[1] >= ((const char *)prev)[1];
}

void on_status(void *arg)
{
	((struct net *)arg)->statuses++;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

bool wait_for(struct net *n, const bool *done, unsigned int ms)
{
	struct timeval tv = {.tv_usec = 10000};
	struct event *tick = event_new(n->base, -1, EV_PERSIST, on_tick, NULL);
	uint64_t end = now_ms() + ms;

	event_add(tick, &tv);
	while (!*done && now_ms() < end)
		event_base_loop(n->base, EVLOOP_ONCE);
	event_free(tick);
	return *done;
}

void pause_ms(struct net *n, unsigned int ms)
{
	bool never = false;

	wait_for(n, &never, ms);
}

uint16_t free_port(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_ok(bind(fd, (struct sockaddr *)&sa, sizeof(sa)));
	assert_ok(getsockname(fd, (struct sockaddr *)&sa, &len));
	close(fd);
	return ntohs(sa.sin_port);
}

void node_start(struct net *n, int i)
{
	char boot[32], nodes[96], reason[256] = "";
	const char *const list[] = {boot};
	struct dht_config config = {
		.bind4 = "127.0.0.1",
		.port = i ? free_port() : n->port,
		.network = 4711,
		.node_id = {(uint8_t)(i * 80 + 1)},
		.bootstrap = i ? list : NULL,
		.n_bootstrap = i ? 1 : 0,
		.nodes_file = nodes,
		.max_requests = -1,
		.max_peer_requests = -1,
		.store_bytes = n->store_bytes ? n->store_bytes : 1 << 20,
		.value_ttl_s = 3600,
		.max_ops = 64,
		.redis = n->redis,
		.n_redis = n->n_redis,
		.redis_password = n->password,
		.redis_prefix = "p2psip:test",
		.redis_timeout_ms = 300,
		.both = {n->both[0], n->both[1]},
		.dir = n->dir,
		.policy = {.store = policy_store, .edit = policy_edit},
	};

	snprintf(boot, sizeof(boot), "127.0.0.1:%u", n->port);
	snprintf(nodes, sizeof(nodes), "%s.nodes%d", n->dir, i);
	if (n->ops->open(&n->b[i], n->base, &config, on_status, n, reason, sizeof(reason)))
		fail_msg("node %d: %s", i, reason);
}

struct net *net_start(const char *name, const struct net *like)
{
	struct net *n = calloc(1, sizeof(*n));

	if (like)
		*n = *like;
	n->ops = dht_backend_find(name, n->both);
	assert_non_null(n->ops);
	n->base = event_base_new();
	n->port = free_port();
	snprintf(n->dir, sizeof(n->dir), "/tmp/gwdht.XXXXXX");
	assert_non_null(mkdtemp(n->dir));
	for (int i = 0; i < NODES; i++)
		node_start(n, i);
	for (int i = 0; i < NODES; i++) {
		struct dht_stats st = {0};

		for (int t = 0; t < 200 && !(st.connected && !st.alone); t++) {
			pause_ms(n, 50);
			n->ops->stats(n->b[i], &st);
		}
		assert_true(st.connected);
	}
	return n;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void net_stop(struct net *n)
{
	char path[96];

	for (int i = 0; i < NODES; i++) {
		if (n->b[i])
			n->ops->close(n->b[i]);
		snprintf(path, sizeof(path), "%s.nodes%d", n->dir, i);
		unlink(path);
	}
	event_base_free(n->base);
	nftw(n->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(n);
}

void on_put(int err, unsigned int nodes, void *arg)
{
	struct put *p = arg;

	(void)nodes;
	p->done = true;
	p->err = err;
	p->n++;
}

int put(struct net *n, int node, const uint8_t *key, uint64_t id, const char *text)
{
	struct put p = {0};

	assert_ok(n->ops->put(n->b[node], key, id, text, strlen(text), on_put, &p));
	assert_true(wait_for(n, &p.done, WAIT_MS));
	assert_int_equal(p.n, 1);
	return p.err;
}

void on_found(const uint8_t key[DHT_KEY_LEN], uint64_t id, const void *data, size_t len, bool here,
	      void *arg)
{
	struct get *g = arg;
	unsigned int i = 0;

	(void)key;
	g->here += here;
	g->away += !here;
	while (i < g->n && g->v[i].id != id)
		i++;
	assert_true(i < DHT_VALUES_MAX && len < sizeof(g->v[i].text));
	/* several nodes may answer, with values of different age */
	if (i < g->n && ((const char *)data)[1] < g->v[i].text[1])
		return;
	g->v[i].id = id;
	memcpy(g->v[i].text, data, len);
	g->v[i].text[len] = 0;
	if (i == g->n)
		g->n++;
}

void on_got(enum dht_verdict verdict, unsigned int nodes, void *arg)
{
	struct get *g = arg;

	(void)nodes;
	g->done = true;
	g->ends++;
	g->verdict = verdict;
}

void get(struct net *n, int node, const uint8_t *key, struct get *g)
{
	struct dht_op *op;

	memset(g, 0, sizeof(*g));
	assert_ok(n->ops->get(n->b[node], key, on_found, on_got, g, &op));
	assert_false(g->done); /* never from inside the call */
	assert_true(wait_for(n, &g->done, WAIT_MS));
	assert_int_equal(g->ends, 1);
}

void conform(const char *name, const struct net *like)
{
	static const uint8_t key[DHT_KEY_LEN] = {1}, none[DHT_KEY_LEN] = {2},
			     bells[DHT_KEY_LEN] = {3};
	uint8_t near[DHT_KEY_LEN], lowest[DHT_KEY_LEN] = {[DHT_KEY_LEN - 1] = 1};
	char text[16];
	struct net *n = net_start(name, like);
	struct dht_watch *watch;
	struct dht_stats st;
	struct dht_op *op;
	struct get g, w;
	struct put p[65];

	/* nothing there, and all that could have it said so */
	get(n, 1, none, &g);
	assert_int_equal(g.verdict, DHT_COMPLETE);
	assert_int_equal(g.n, 0);

	/* one peer's value, seen by all */
	assert_ok(put(n, 0, key, 100, "v1 first"));
	/* its own copy is told from those of others, which prove that they took it */
	get(n, 0, key, &g);
	assert_true(g.here <= 1);
	assert_true(g.away >= 1);
	for (int i = 0; i < NODES; i++) {
		get(n, i, key, &g);
		assert_int_equal(g.verdict, DHT_COMPLETE);
		assert_int_equal(g.n, 1);
		assert_int_equal(g.v[0].id, 100);
		assert_string_equal(g.v[0].text, "v1 first");
	}
	/* another peer's beside it */
	assert_ok(put(n, 1, key, 200, "v1 second"));
	get(n, 2, key, &g);
	assert_int_equal(g.n, 2);
	/* a later one takes its place, an older one does not */
	assert_ok(put(n, 0, key, 100, "v3 third"));
	put(n, 1, key, 100, "v2 late");
	get(n, 2, key, &g);
	assert_int_equal(g.n, 2);
	for (unsigned int i = 0; i < g.n; i++)
		assert_string_equal(g.v[i].text, g.v[i].id == 100 ? "v3 third" : "v1 second");
	/* what the policy refuses is not stored with others, whatever the put says */
	put(n, 0, none, 300, "x");
	get(n, 0, none, &g);
	assert_int_equal(g.away, 0);

	/* the lowest and the highest key are keys as others */
	assert_ok(put(n, 0, lowest, 100, "v1 lowest"));
	get(n, 2, lowest, &g);
	assert_int_equal(g.n, 1);
	memset(near, 0xff, sizeof(near));
	assert_ok(put(n, 0, near, 100, "v1 highest"));
	get(n, 2, near, &g);
	assert_int_equal(g.n, 1);
	assert_string_equal(g.v[0].text, "v1 highest");

	/* keys that begin alike are others all the same, whatever lies under them */
	memset(near, 0, sizeof(near));
	near[0] = 4;
	for (uint8_t i = 1; i <= 20; i++) {
		near[DHT_KEY_LEN - 1] = i;
		snprintf(text, sizeof(text), "v1 near %u", i);
		assert_ok(put(n, i % NODES, near, 100, text));
	}
	near[DHT_KEY_LEN - 1] = 7;
	assert_ok(put(n, 0, near, 100, "v2 nearer"));
	for (uint8_t i = 0; i <= 20; i++) {
		near[DHT_KEY_LEN - 1] = i;
		get(n, 1, near, &g);
		assert_int_equal(g.verdict, DHT_COMPLETE);
		assert_int_equal(g.n, i ? 1 : 0);
		if (!i)
			continue;
		snprintf(text, sizeof(text), i == 7 ? "v2 nearer" : "v1 near %u", i);
		assert_int_equal(g.v[0].id, 100);
		assert_string_equal(g.v[0].text, text);
	}

	/* bells */
	memset(&w, 0, sizeof(w));
	assert_ok(n->ops->watch(n->b[2], bells, on_found, &w, &watch));
	pause_ms(n, 500);
	assert_ok(put(n, 0, bells, 1, "v1 ding"));
	assert_ok(n->ops->ring(n->b[0], bells, 11, "v1 ding", 7));
	for (int i = 0; i < 500 && w.n < 1; i++)
		pause_ms(n, 10);
	assert_true(w.n >= 1);
	/* the same value with a later order: told again, and read as it is now */
	assert_ok(put(n, 0, bells, 1, "v2 dong"));
	assert_ok(n->ops->ring(n->b[0], bells, 12, "v2 dong", 7));
	for (int i = 0; i < 500 && !strstr(w.v[w.n - 1].text, "dong"); i++)
		pause_ms(n, 10);
	assert_string_equal(w.v[w.n - 1].text, "v2 dong");
	get(n, 2, bells, &g);
	assert_int_equal(g.n, 1);
	assert_string_equal(g.v[0].text, "v2 dong");
	n->ops->stats(n->b[2], &st);
	assert_int_equal(st.watches, 1);
	n->ops->unwatch(n->b[2], watch);

	/* cancelled: nothing comes */
	memset(&g, 0, sizeof(g));
	assert_ok(n->ops->get(n->b[0], key, on_found, on_got, &g, &op));
	n->ops->cancel(n->b[0], op);
	pause_ms(n, 300);
	assert_int_equal(g.ends, 0);
	assert_int_equal(g.n, 0);

	/* bounds */
	assert_int_equal(n->ops->put(n->b[0], key, 0, "v1", 2, on_put, p), EINVAL);
	assert_int_equal(n->ops->put(n->b[0], key, 1, key, DHT_VALUE_MAX + 1, on_put, p), EINVAL);
	memset(p, 0, sizeof(p));
	for (int i = 0; i < 64; i++)
		assert_ok(n->ops->put(n->b[0], key, 1000 + (uint64_t)i, "v1", 2, on_put, &p[i]));
	assert_int_equal(n->ops->put(n->b[0], key, 2000, "v1", 2, on_put, &p[64]), EBUSY);

	/* closing ends what is under way: each is told once */
	assert_ok(n->ops->get(n->b[1], key, on_found, on_got, &g, &op));
	n->ops->close(n->b[1]);
	n->b[1] = NULL;
	assert_int_equal(g.ends, 1);
	assert_int_equal(g.verdict, DHT_INCOMPLETE);
	n->ops->close(n->b[0]);
	n->b[0] = NULL;
	for (int i = 0; i < 64; i++)
		assert_int_equal(p[i].n, 1);
	net_stop(n);
}
