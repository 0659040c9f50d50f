/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine on Redis: the map of a Cluster, and what every engine must do on a real server and on
 * a real Cluster of three masters and three replicas, with servers that die, hang, restart, and
 * hold what nobody should believe. Without redis-server on the machine the latter are skipped. */
#include "config.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "dht-gateway/engine/dht_redis_map.h"
#include "tests/unit/dht_conform.h"

#define SERVERS 6
#define PASSWORD "a word to pass"

struct servers {
	char dir[64];
	int n;
	bool cluster, secret;
	pid_t pid[SERVERS];
	uint16_t port[SERVERS];
	char address[SERVERS][32];
	const char *list[SERVERS];
	struct net like;
};

/* --- the map --- */

static redisReply *parse(const char *text)
{
	redisReader *r = redisReaderCreate();
	void *reply = NULL;

	redisReaderFeed(r, text, strlen(text));
	redisReaderGetReply(r, &reply);
	redisReaderFree(r);
	assert_non_null(reply);
	return reply;
}

static void test_slots(void **state)
{
	(void)state;
	/* the specification's own example */
	assert_int_equal(redis_slot("123456789", 9), 0x31c3 % REDIS_SLOTS);
	assert_int_equal(redis_slot("", 0), 0);
}

static void test_addresses(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {
		{"192.0.2.1", "192.0.2.1", 6379},	   {"192.0.2.1:7000", "192.0.2.1", 7000},
		{"[2001:db8::1]", "2001:db8::1", 6379},	   {"[2001:db8::1]:1", "2001:db8::1", 1},
		{"/run/redis.sock", "/run/redis.sock", 0},
	};
	static const char *const bad[] = {"",
					  "redis.example.org",
					  "192.0.2.1:",
					  "192.0.2.1:0",
					  "192.0.2.1:65536",
					  "[2001:db8::1",
					  "[]:1",
					  "192.0.2.1:1x",
					  "[2001:db8::1]x"};
	struct redis_map_node n;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_ok(redis_address(good[i].text, &n));
		assert_string_equal(n.host, good[i].host);
		assert_int_equal(n.port, good[i].port);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(redis_address(bad[i], &n), EINVAL);
}

static void test_map(void **state)
{
	static struct redis_map m, before;
	static const char *const bad[] = {
		":1\r\n",
		"*1\r\n:1\r\n",
		"*1\r\n*2\r\n:0\r\n:1\r\n",
		"*1\r\n*3\r\n:5\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:0\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n$1\r\na\r\n",
	};
	const struct redis_map_set *s;
	redisReply *r;
	bool ask;

	(void)state;
	redis_map_init(&m);
	assert_null(redis_map_find(&m, 0));
	assert_int_equal(redis_map_node(&m, "192.0.2.1", 9, 7000), 0);
	assert_int_equal(redis_map_node(&m, "192.0.2.1", 9, 7000), 0);
	redis_map_single(&m, 0);
	assert_int_equal(redis_map_find(&m, 16383)->node[0], 0);

	/* two sets, one of a server that does not know its address; a hole between them */
	r = parse("*2\r\n"
		  "*4\r\n:0\r\n:99\r\n*3\r\n$0\r\n\r\n:7000\r\n$1\r\nx\r\n"
		  "*3\r\n$9\r\n192.0.2.2\r\n:7000\r\n$1\r\ny\r\n"
		  "*3\r\n:200\r\n:16383\r\n*2\r\n$9\r\n192.0.2.3\r\n:7000\r\n");
	assert_ok(redis_map_slots(&m, r, 0));
	freeReplyObject(r);
	s = redis_map_find(&m, 99);
	assert_int_equal(s->n, 2);
	assert_int_equal(s->node[0], 0);
	assert_string_equal(m.node[s->node[1]].host, "192.0.2.2");
	assert_null(redis_map_find(&m, 100));
	assert_string_equal(m.node[redis_map_find(&m, 200)->node[0]].host, "192.0.2.3");
	before = m;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		r = parse(bad[i]);
		assert_int_equal(redis_map_slots(&m, r, 0), EINVAL);
		freeReplyObject(r);
		assert_memory_equal(m.owners, before.owners, sizeof(m.owners));
		assert_memory_equal(m.set, before.set, sizeof(m.set));
	}

	/* moved: this slot only; asked elsewhere: remembered by nobody */
	assert_string_equal(
		m.node[redis_map_redirect(&m, "MOVED 150 192.0.2.4:7001", 0, &ask)].host,
		"192.0.2.4");
	assert_false(ask);
	assert_int_equal(m.node[redis_map_find(&m, 150)->node[0]].port, 7001);
	assert_null(redis_map_find(&m, 151));
	assert_string_equal(m.node[redis_map_redirect(&m, "ASK 150 192.0.2.5:7001", 0, &ask)].host,
			    "192.0.2.5");
	assert_true(ask);
	assert_string_equal(m.node[redis_map_find(&m, 150)->node[0]].host, "192.0.2.4");
	assert_int_equal(redis_map_redirect(&m, "MOVED 150 :7000", 0, &ask), 0);
	assert_int_equal(redis_map_redirect(&m, "MOVED 16384 192.0.2.4:7001", 0, &ask), -1);
	assert_int_equal(redis_map_redirect(&m, "MOVED 1 192.0.2.4", 0, &ask), -1);
	assert_int_equal(redis_map_redirect(&m, "MOVED 1 192.0.2.4:x", 0, &ask), -1);
	assert_int_equal(redis_map_redirect(&m, "MOVED", 0, &ask), -1);
	assert_int_equal(redis_map_redirect(&m, "ERR no", 0, &ask), -1);
	/* there is an end to it */
	for (unsigned int i = 0; i < 2 * REDIS_NODES_MAX; i++) {
		char text[48];

		snprintf(text, sizeof(text), "MOVED %u 198.51.100.1:%u", i, 1000 + i);
		redis_map_redirect(&m, text, 0, &ask);
	}
	assert_int_equal(m.n_nodes, REDIS_NODES_MAX);
	/* those are in use; once the map is read they are not, and others get their places, but not
	 * that of who was asked, nor those of the settings */
	assert_int_equal(redis_map_node(&m, "203.0.113.1", 11, 1), -1);
	m.n_fixed = 1;
	for (unsigned int i = 0; i < 3 * REDIS_NODES_MAX; i++) {
		char text[96], host[24];
		int len = snprintf(host, sizeof(host), "203.0.113.%u", i);

		snprintf(text, sizeof(text),
			 "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$%d\r\n%s\r\n:7000\r\n", len, host);
		r = parse(text);
		assert_ok(redis_map_slots(&m, r, 2));
		freeReplyObject(r);
		s = redis_map_find(&m, 0);
		assert_string_equal(m.node[s->node[0]].host, host);
	}
	assert_int_equal(m.n_nodes, REDIS_NODES_MAX);
	assert_string_equal(m.node[0].host, before.node[0].host);
	assert_string_equal(m.node[2].host, before.node[2].host);
}

/* --- servers --- */

static uint16_t free_tcp_port(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);

	/* the bus of a cluster takes the port 10000 above */
	for (;;) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		sa.sin_port = 0;
		assert_ok(bind(fd, (struct sockaddr *)&sa, sizeof(sa)));
		assert_ok(getsockname(fd, (struct sockaddr *)&sa, &len));
		close(fd);
		if (ntohs(sa.sin_port) < 55000)
			return ntohs(sa.sin_port);
	}
}

static bool answers(const struct servers *s, int i)
{
	struct timeval tv = {.tv_usec = 200000};
	redisContext *c = redisConnectWithTimeout("127.0.0.1", s->port[i], tv);
	redisReply *r = NULL;
	bool ok = false;

	if (c && !c->err) {
		redisSetTimeout(c, tv);
		if (s->secret)
			freeReplyObject(redisCommand(c, "AUTH %s", PASSWORD));
		r = redisCommand(c, "PING");
		ok = r && r->type == REDIS_REPLY_STATUS;
	}
	if (r)
		freeReplyObject(r);
	if (c)
		redisFree(c);
	return ok;
}

static void server_start(struct servers *s, int i)
{
	char port[16], dir[80], name[96];

	snprintf(port, sizeof(port), "%u", s->port[i]);
	snprintf(dir, sizeof(dir), "%s/%d", s->dir, i);
	mkdir(dir, 0700);
	snprintf(name, sizeof(name), "%s/log", dir);
	s->pid[i] = fork();
	assert_true(s->pid[i] >= 0);
	if (!s->pid[i]) {
		const char *argv[24] = {
			"redis-server", "--port",    port,     "--bind", "127.0.0.1",
			"--dir",	dir,	     "--save", "",	 "--appendonly",
			"no",		"--logfile", name};
		int n = 13;

		if (s->cluster) {
			argv[n++] = "--cluster-enabled";
			argv[n++] = "yes";
			argv[n++] = "--cluster-node-timeout";
			argv[n++] = "1000";
			/* as docs/engines.md asks for: else nothing at all is answered until
			 * a dead master's replica has taken over */
			argv[n++] = "--cluster-require-full-coverage";
			argv[n++] = "no";
		}
		if (s->secret) {
			argv[n++] = "--requirepass";
			argv[n++] = PASSWORD;
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	for (int t = 0; t < 200 && !answers(s, i); t++) {
		assert_int_equal(waitpid(s->pid[i], NULL, WNOHANG), 0);
		usleep(50000);
	}
	assert_true(answers(s, i));
}

static void server_kill(struct servers *s, int i)
{
	if (s->pid[i] <= 0)
		return;
	kill(s->pid[i], SIGKILL);
	waitpid(s->pid[i], NULL, 0);
	s->pid[i] = 0;
}

static void run(const char *command)
{
	int status = system(command);

	if (status)
		fail_msg("%s: %d", command, status);
}

static struct servers *servers_start(int n, bool cluster, bool secret)
{
	struct servers *s = calloc(1, sizeof(*s));
	char command[512];
	int len;

	if (system("command -v redis-server >/dev/null && command -v redis-cli >/dev/null")) {
		free(s);
		print_message("skipped: no redis-server on this machine\n");
		skip();
	}
	snprintf(s->dir, sizeof(s->dir), "/tmp/gwredis.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->n = n;
	s->cluster = cluster;
	s->secret = secret;
	for (int i = 0; i < n; i++) {
		s->port[i] = free_tcp_port();
		snprintf(s->address[i], sizeof(s->address[i]), "127.0.0.1:%u", s->port[i]);
		s->list[i] = s->address[i];
		server_start(s, i);
	}
	if (cluster) {
		len = snprintf(command, sizeof(command),
			       "redis-cli --cluster-yes --cluster create");
		for (int i = 0; i < n; i++)
			len += snprintf(command + len, sizeof(command) - (size_t)len, " %s",
					s->address[i]);
		snprintf(command + len, sizeof(command) - (size_t)len,
			 " --cluster-replicas 1 >%s/create 2>&1", s->dir);
		run(command);
		/* redis-cli says so before all have heard of it */
		snprintf(command, sizeof(command),
			 "for i in $(seq 100); do redis-cli -p %u cluster info | grep -q "
			 "cluster_state:ok && redis-cli -p %u cluster nodes | grep -c slave | "
			 "grep -q 3 && exit 0; sleep 0.1; done; exit 1",
			 s->port[n - 1], s->port[0]);
		run(command);
	}
	s->like.redis = s->list;
	s->like.n_redis = cluster ? 2 : (size_t)n; /* the others are found */
	s->like.password = secret ? PASSWORD : NULL;
	return s;
}

static void servers_stop(struct servers *s)
{
	char command[128];

	for (int i = 0; i < s->n; i++)
		server_kill(s, i);
	snprintf(command, sizeof(command), "rm -rf %s", s->dir);
	run(command);
	free(s);
}

/* A command to a server, as anybody could give it who can reach it. */
static redisReply *tell(struct servers *s, int i, const char *fmt, ...)
{
	redisContext *c = redisConnect("127.0.0.1", s->port[i]);
	redisReply *r;
	va_list ap;

	assert_true(c && !c->err);
	va_start(ap, fmt);
	r = redisvCommand(c, fmt, ap);
	va_end(ap);
	redisFree(c);
	assert_non_null(r);
	return r;
}

static void test_one_server(void **state)
{
	struct servers *s = servers_start(1, false, true);

	(void)state;
	conform("redis", &s->like);
	servers_stop(s);
}

static void test_cluster(void **state)
{
	struct servers *s = servers_start(SERVERS, true, false);

	(void)state;
	conform("redis", &s->like);
	servers_stop(s);
}

static void key_of(unsigned int i, uint8_t key[DHT_KEY_LEN])
{
	memset(key, 0, DHT_KEY_LEN);
	memcpy(key, &i, sizeof(i));
}

#define KEYS 60

/* Values on all three masters; how many of them a read finds. */
static unsigned int found(struct net *n, int node, unsigned int *complete)
{
	uint8_t key[DHT_KEY_LEN];
	unsigned int there = 0;
	struct get g;

	*complete = 0;
	for (unsigned int i = 0; i < KEYS; i++) {
		key_of(i, key);
		get(n, node, key, &g);
		there += g.n == 1;
		*complete += g.verdict == DHT_COMPLETE;
	}
	return there;
}

/* Have all keys reached the replicas? */
static bool replicated(struct servers *s, long long keys)
{
	long long there = 0;

	for (int i = 0; i < s->n; i++) {
		redisReply *role = tell(s, i, "ROLE"), *size = tell(s, i, "DBSIZE");

		if (!strcmp(role->element[0]->str, "slave"))
			there += size->integer;
		freeReplyObject(role);
		freeReplyObject(size);
	}
	return there == keys;
}

static void test_a_master_dies(void **state)
{
	struct servers *s = servers_start(SERVERS, true, false);
	struct net *n = net_start("redis", &s->like);
	uint8_t key[DHT_KEY_LEN];
	unsigned int complete;
	redisReply *r;
	uint64_t t;

	(void)state;
	for (unsigned int i = 0; i < KEYS; i++) {
		key_of(i, key);
		assert_ok(put(n, 0, key, 7, "v1"));
	}
	for (int i = 0; i < 100 && !replicated(s, KEYS); i++)
		pause_ms(n, 100);
	assert_true(replicated(s, KEYS));
	assert_int_equal(found(n, 1, &complete), KEYS);
	assert_int_equal(complete, KEYS);
	r = tell(s, 0, "ROLE");
	assert_string_equal(r->element[0]->str, "master");
	freeReplyObject(r);
	server_kill(s, 0);
	/* every value is read on, from the replica; of what is not there nothing is concluded */
	t = now_ms();
	assert_int_equal(found(n, 1, &complete), KEYS);
	assert_true(complete < KEYS);
	print_message("one master killed: %d reads took %lu ms, %u of them not from a master\n",
		      KEYS, (unsigned long)(now_ms() - t), KEYS - complete);
	/* soon the replica is the master, and takes writes */
	for (int i = 0; i < 150 && complete < KEYS; i++) {
		pause_ms(n, 100);
		assert_int_equal(found(n, 1, &complete), KEYS);
	}
	assert_int_equal(complete, KEYS);
	for (unsigned int i = 0; i < KEYS; i++) {
		key_of(i, key);
		assert_ok(put(n, 0, key, 7, "v2"));
	}
	/* it comes back as a replica */
	server_start(s, 0);
	pause_ms(n, 1000);
	assert_int_equal(found(n, 2, &complete), KEYS);
	net_stop(n);
	servers_stop(s);
}

/* A master and its replica are gone: the others' values are found and put, of theirs nothing is
 * concluded, and it is said what is missing. */
static void test_a_part_is_lost(void **state)
{
	struct servers *s = servers_start(SERVERS, true, false);
	struct net *n = net_start("redis", &s->like);
	uint8_t key[DHT_KEY_LEN];
	unsigned int there, complete, good = 0;
	char node[64] = "";
	struct dht_stats st;
	redisReply *r;

	(void)state;
	for (unsigned int i = 0; i < KEYS; i++) {
		key_of(i, key);
		assert_ok(put(n, 0, key, 7, "v1"));
	}
	for (int i = 0; i < 100 && !replicated(s, KEYS); i++)
		pause_ms(n, 100);
	r = tell(s, 0, "ROLE");
	assert_int_equal(r->elements, 3);
	assert_int_equal(r->element[2]->elements, 1);
	snprintf(node, sizeof(node), "%s", r->element[2]->element[0]->element[1]->str);
	freeReplyObject(r);
	for (int i = 1; i < SERVERS; i++)
		if (s->port[i] == atoi(node))
			server_kill(s, i);
	server_kill(s, 0);
	pause_ms(n, 300);
	there = found(n, 1, &complete);
	assert_true(there > KEYS / 3 && there < KEYS);
	assert_int_equal(complete, there);
	for (unsigned int i = 0; i < KEYS; i++) {
		key_of(i, key);
		good += put(n, 0, key, 7, "v2") == 0;
	}
	assert_int_equal(good, there);
	n->ops->stats(n->b[0], &st);
	assert_true(st.connected);
	assert_true(*st.why);
	net_stop(n);
	servers_stop(s);
}

static void test_slots_move(void **state)
{
	struct servers *s = servers_start(SERVERS, true, false);
	struct net *n = net_start("redis", &s->like);
	uint8_t key[DHT_KEY_LEN];
	unsigned int complete;
	char command[256];

	(void)state;
	for (unsigned int i = 0; i < KEYS; i++) {
		key_of(i, key);
		assert_ok(put(n, 0, key, 7, "v1"));
	}
	snprintf(command, sizeof(command),
		 "redis-cli --cluster rebalance %s --cluster-weight "
		 "$(redis-cli -p %u cluster myid)=3 --cluster-threshold 1 >%s/move 2>&1",
		 s->address[0], s->port[0], s->dir);
	run(command);
	assert_int_equal(found(n, 1, &complete), KEYS);
	assert_int_equal(complete, KEYS);
	for (unsigned int i = 0; i < KEYS; i++) {
		key_of(i, key);
		assert_ok(put(n, 2, key, 7, "v2"));
	}
	net_stop(n);
	servers_stop(s);
}

/* A server that hangs costs its time and no more; one that was restarted has lost everything, the
 * script too, and is used again; subscriptions come back by themselves. */
static void test_hangs_and_restarts(void **state)
{
	static const uint8_t key[DHT_KEY_LEN] = {9};
	struct servers *s = servers_start(1, false, false);
	struct net *n = net_start("redis", &s->like);
	struct dht_watch *watch;
	struct dht_stats st;
	struct get g, w = {0};
	uint64_t t = now_ms();

	(void)state;
	assert_ok(n->ops->watch(n->b[1], key, on_found, &w, &watch));
	kill(s->pid[0], SIGSTOP);
	get(n, 0, key, &g);
	assert_int_equal(g.verdict, DHT_INCOMPLETE);
	assert_int_equal(put(n, 0, key, 1, "v1"), ENETUNREACH);
	assert_true(now_ms() - t < 4000);
	n->ops->stats(n->b[0], &st);
	assert_false(st.connected);
	assert_non_null(strstr(st.why, "in time"));
	kill(s->pid[0], SIGCONT);
	server_kill(s, 0);
	pause_ms(n, 300);
	server_start(s, 0);
	for (int i = 0; i < 100 && !st.connected; i++) {
		pause_ms(n, 100);
		n->ops->stats(n->b[0], &st);
	}
	assert_true(st.connected);
	assert_string_equal(st.why, "");
	assert_ok(put(n, 0, key, 1, "v2"));
	get(n, 2, key, &g);
	assert_string_equal(g.v[0].text, "v2");
	for (int i = 0; i < 100 && !w.n; i++) {
		n->ops->ring(n->b[0], key, 5, "v2", 2);
		pause_ms(n, 100);
	}
	assert_int_equal(w.n, 1);
	/* the script alone is forgotten */
	freeReplyObject(tell(s, 0, "SCRIPT FLUSH"));
	assert_ok(put(n, 0, key, 1, "v3"));
	net_stop(n);
	servers_stop(s);
}

static void test_wrong_password(void **state)
{
	struct servers *s = servers_start(1, false, true);
	struct net n = {.ops = dht_backend_find("redis", NULL), .base = event_base_new()};
	struct dht_stats st;

	(void)state;
	n.redis = s->list;
	n.n_redis = 1;
	n.password = "wrong";
	node_start(&n, 0);
	pause_ms(&n, 500);
	n.ops->stats(n.b[0], &st);
	assert_false(st.connected);
	assert_non_null(strstr(st.why, s->address[0]));
	assert_non_null(strstr(st.why, "AUTH"));
	assert_null(strstr(st.why, "wrong "));
	n.ops->close(n.b[0]);
	event_base_free(n.base);
	servers_stop(s);
}

/* What others put into the hash by themselves is not believed, and does no harm. */
static void test_hostile_values(void **state)
{
	static const uint8_t key[DHT_KEY_LEN] = {0xab};
	char name[80], big[2000];
	struct servers *s = servers_start(1, false, false);
	struct net *n = net_start("redis", &s->like);
	struct get g;
	unsigned int refused = 0;

	(void)state;
	snprintf(name, sizeof(name), "p2psip:test:{ab%038d}", 0);
	memset(big, 'v', sizeof(big));
	assert_ok(put(n, 0, key, 1, "v1"));
	freeReplyObject(tell(s, 0, "HSET %s nonsense v1", name));
	freeReplyObject(tell(s, 0, "HSET %s 0000000000000002 %s", name, "v"));
	freeReplyObject(tell(s, 0, "HSET %s 0000000000000003 %s", name, "zzzzx not to be taken"));
	freeReplyObject(tell(s, 0, "HSET %s 0000000000000004 %b", name, big, sizeof(big)));
	get(n, 1, key, &g);
	assert_int_equal(g.verdict, DHT_COMPLETE);
	assert_int_equal(g.n, 1);
	assert_int_equal(g.v[0].id, 1);
	/* one that is no value at all is written over, unless it is too long to be compared */
	assert_ok(put(n, 0, key, 2, "v1"));
	assert_int_equal(put(n, 0, key, 4, "v1"), EIO);
	/* so many that have not expired are refused */
	for (unsigned int i = 100; i < 300; i++)
		refused += put(n, 0, key, i, "v1") == EIO;
	assert_true(refused > 50);
	/* a key that is no hash */
	freeReplyObject(tell(s, 0, "DEL %s", name));
	freeReplyObject(tell(s, 0, "SET %s v1", name));
	get(n, 1, key, &g);
	assert_int_equal(g.verdict, DHT_INCOMPLETE);
	assert_int_equal(put(n, 0, key, 1, "v1"), EIO);
	/* messages */
	{
		struct dht_watch *watch;
		struct get w = {0};

		snprintf(name, sizeof(name), "p2psip:test:bell:ab%038d", 0);
		assert_ok(n->ops->watch(n->b[1], key, on_found, &w, &watch));
		pause_ms(n, 500);
		freeReplyObject(tell(s, 0, "PUBLISH %s x", name));
		freeReplyObject(tell(s, 0, "PUBLISH %s 12345678x", name));
		freeReplyObject(tell(s, 0, "PUBLISH %s %b", name, big, sizeof(big)));
		freeReplyObject(tell(s, 0, "PUBLISH %s 12345678v1", name));
		pause_ms(n, 300);
		assert_int_equal(w.n, 1);
		assert_string_equal(w.v[0].text, "v1");
	}
	net_stop(n);
	servers_stop(s);
}

/* An overlay changes its engine, peer by peer: one that has both finds, and is found by, those that
 * have either. */
static void test_change_over(void **state)
{
	static const uint8_t key[DHT_KEY_LEN] = {0xcd};
	struct servers *s = servers_start(1, false, false);
	struct net *old = net_start("memory", NULL), *new = net_start("redis", &s->like);
	struct net both = s->like;
	struct dht_stats st;
	struct get g;

	(void)state;
	both.ops = dht_backend_find("memory redis", both.both);
	both.base = event_base_new();
	memcpy(both.dir, old->dir, sizeof(both.dir));
	node_start(&both, 0);
	pause_ms(&both, 500);
	assert_ok(put(old, 0, key, 1, "v1 old"));
	assert_ok(put(new, 0, key, 2, "v1 new"));
	get(&both, 0, key, &g);
	assert_int_equal(g.verdict, DHT_COMPLETE);
	assert_int_equal(g.n, 2);
	assert_ok(put(&both, 0, key, 3, "v1 both"));
	get(old, 1, key, &g);
	assert_int_equal(g.n, 2);
	get(new, 1, key, &g);
	assert_int_equal(g.n, 2);
	/* one of the two is gone: what the other has is found, of the rest nothing is concluded */
	server_kill(s, 0);
	get(&both, 0, key, &g);
	assert_int_equal(g.verdict, DHT_INCOMPLETE);
	assert_int_equal(g.n, 2);
	assert_ok(put(&both, 0, key, 3, "v2 both"));
	both.ops->stats(both.b[0], &st);
	assert_true(st.connected);
	assert_non_null(strstr(st.why, "redis is not connected"));
	both.ops->close(both.b[0]);
	event_base_free(both.base);
	net_stop(old);
	net_stop(new);
	servers_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_one_server),
		cmocka_unit_test(test_cluster),
		cmocka_unit_test(test_a_master_dies),
		cmocka_unit_test(test_a_part_is_lost),
		cmocka_unit_test(test_slots_move),
		cmocka_unit_test(test_hangs_and_restarts),
		cmocka_unit_test(test_wrong_password),
		cmocka_unit_test(test_hostile_values),
		cmocka_unit_test(test_change_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
