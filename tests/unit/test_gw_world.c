/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test_gw_world.h"
#include "tests/unit/test.h"
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <ftw.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/keys/gateway_secret.h"
#include "dht-gateway/location/gateway_users.h"

static void log_sink(enum p2p_log_level level, const char *msg, void *arg)
{
	struct world *w = arg;

	if (level <= P2P_LOG_WARN)
		w->warns++;
	if (level <= P2P_LOG_WARN)
		snprintf(w->warn, sizeof(w->warn), "%s", msg);
	if (getenv("GW_TEST_LOG"))
		fprintf(stderr, "# %s: %s\n", p2p_log_level_name(level), msg);
}

/* A TCP port that nobody listens at. */
uint16_t free_port(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_ok(bind(fd, (struct sockaddr *)&in, len));
	assert_ok(getsockname(fd, (struct sockaddr *)&in, &len));
	close(fd);
	return ntohs(in.sin_port);
}

static void on_users(const char *name, size_t len, void *arg)
{
	struct peer *p = arg;

	(void)name;
	(void)len;
	p->events++;
}

static void on_session(const char *what, const struct p2p_session_id *id, void *arg)
{
	struct peer *p = arg;

	(void)id;
	p->opens += !strcmp(what, "open");
	p->changes += !strcmp(what, "change");
	p->closes += !strcmp(what, "close");
}

static uint64_t shifted_wall(void *arg)
{
	struct peer *p = arg;

	return p2p_clock_wall(&p2p_clock_system) + (uint64_t)p->wall_shift_ms;
}

static uint64_t mono(void *arg)
{
	(void)arg;
	return p2p_clock_mono(&p2p_clock_system);
}

void peer_start(struct world *w, unsigned int i, const char *enabled)
{
	struct peer *p = &w->p[i];
	struct gw_core_config config = {
		.base = w->base,
		.settings = &p->settings,
		.log = &w->log,
		.clock = &p->clock,
	};
	char path[128], err[512];
	FILE *f;

	p->port = p->port ? p->port : free_port();
	p->clock = (struct p2p_clock){.wall_ms = shifted_wall, .mono_ms = mono, .arg = p};
	snprintf(path, sizeof(path), "%s/conf%u", w->dir, i);
	f = fopen(path, "w");
	fprintf(f,
		"[overlay]\nsecret_file = %s/secret\nholders = 0\n"
		"[identity]\nfile = %s/identity%u.pem\nstate_dir = %s/state%u\n"
		"[dht]\nbackend = memory\nmemory_dir = %s/dht\n"
		"[peers]\nlisten = 127.0.0.1:%u\nask_ms = %d\nenabled = %s\n"
		"[sip]\nuri = sip:127.0.0.1:%u;transport=udp, sip:127.0.0.1:%u;transport=tcp\n%s",
		w->dir, w->dir, i, w->dir, i, w->dir, p->port, ASK_MS, enabled, 5060 + i, 5060 + i,
		p->extra);
	fclose(f);
	if (gw_settings_load(&p->settings, path, err, sizeof(err)) ||
	    gw_core_new(&p->core, &config, err, sizeof(err)))
		fail_msg("%s", err);
	p->gw = gw_core_gw(p->core);
	p->gw->users_event = on_users;
	p->gw->sessions_event = on_session;
	p->gw->event_arg = p;
	gw_users_connected(p->gw->users, 1);
	gw_users_begin(p->gw->users, 1);
	gw_users_synced(p->gw->users, 1);
}

void peer_stop(struct peer *p)
{
	gw_core_free(p->core);
	gw_settings_free(&p->settings);
	p->core = NULL;
	p->gw = NULL;
}

int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char path[128], err[512], text[P2P_HIT_TEXT_MAX];

	snprintf(w->dir, sizeof(w->dir), "/tmp/gwpeers.XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	snprintf(path, sizeof(path), "%s/secret", w->dir);
	if (gw_secret_create(path, err, sizeof(err)))
		return -1;
	snprintf(path, sizeof(path), "%s/stranger.pem", w->dir);
	if (gw_identity_create(path, err, sizeof(err)) ||
	    gw_identity_load(&w->stranger, path, err, sizeof(err)))
		return -1;
	p2p_hit_print(gw_identity_hit(w->stranger), text);
	w->stranger_tls.key = gw_identity_key(w->stranger);
	w->stranger_tls.crypto = gw_identity_crypto(w->stranger);
	if (gw_cert_make(&w->stranger_tls.cert, w->stranger_tls.key, text))
		return -1;
	w->log = (struct p2p_log){.sink = log_sink, .arg = w, .level = P2P_LOG_DBG};
	w->base = event_base_new();
	for (unsigned int i = 0; i < PEERS; i++)
		peer_start(w, i, "yes");
	*state = w;
	return 0;
}

int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int teardown(void **state)
{
	struct world *w = *state;

	for (unsigned int i = 0; i < PEERS; i++)
		if (w->p[i].core)
			peer_stop(&w->p[i]);
	X509_free(w->stranger_tls.cert);
	gw_identity_free(w->stranger);
	event_base_free(w->base);
	nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

bool wait_for(struct world *w, const bool *done, unsigned int ms)
{
	bool late = false;
	struct event *ev = event_new(w->base, -1, 0, on_late, &late);

	gw_timer_set(ev, ms);
	while (!*done && !late)
		event_base_loop(w->base, EVLOOP_ONCE);
	event_free(ev);
	return *done;
}

void run_for(struct world *w, unsigned int ms)
{
	const bool never = false;

	wait_for(w, &never, ms);
}

/* --- what the tests do -------------------------------------------------------------------------
 */

void strangers(struct world *w)
{
	for (unsigned int i = 0; i < PEERS; i++)
		gw_gossip_stop(w->p[i].gw->gossip);
}

void serve(struct world *w, unsigned int i, const char *name)
{
	uint64_t seen, found = w->p[i].gw->metrics.puts;

	assert_ok(gw_users_publish(w->p[i].gw->users, name, strlen(name), 1, ++w->p[i].seq, NULL, 0,
				   &seen));
	for (unsigned int n = 0; n < 200 && w->p[i].gw->metrics.puts == found; n++)
		run_for(w, 10);
	run_for(w, 50);
}

void leave(struct world *w, unsigned int i, const char *name)
{
	uint64_t seen;

	assert_ok(
		gw_users_withdraw(w->p[i].gw->users, name, strlen(name), 1, ++w->p[i].seq, &seen));
	run_for(w, 100);
}

static void on_put(int err, unsigned int nodes, void *arg)
{
	(void)nodes;
	(void)arg;
	assert_ok(err);
}

static void gateway_at(struct p2p_record *rec, uint16_t port)
{
	struct p2p_locator *l = &rec->locator[rec->n_locators++];

	*l = (struct p2p_locator){.service = P2P_SERVICE_GATEWAY,
				  .transports = P2P_TRANSPORT_TLS,
				  .family = 4,
				  .port = port,
				  .addr = {127, 0, 0, 1}};
}

/* A record that peer i signs for a user, whether it knows the user or not; its gateway is said to
 * be at that port, 0: it has none. */
void plant(struct world *w, unsigned int i, const char *name, uint16_t port)
{
	static const char uri[] = "sip:127.0.0.1:5099;transport=udp";
	struct gw *gw = w->p[i].gw;
	struct p2p_record rec = {.kind = P2P_RECORD_USER, .epoch = gw->epoch};
	uint8_t buf[P2P_RECORD_MAX];
	size_t len;

	assert_ok(gw_record_key_user(gw, name, strlen(name), &rec.key));
	assert_ok(p2p_record_add_uri(&rec, uri, strlen(uri)));
	if (port)
		gateway_at(&rec, port);
	assert_ok(gw_record_make(gw, &rec, 3600000, 0, buf, &len));
	assert_ok(gw->dht_ops->put(gw->dht, rec.key.b, p2p_record_value_id(&gw->hit), buf, len,
				   on_put, NULL));
	run_for(w, 50);
}

void on_routed(int err, const struct p2p_candidate_set *cands,
	       const struct gw_session_answer *sessions, void *arg)
{
	struct routed *r = arg;

	assert_false(r->done);
	r->done = true;
	r->err = err;
	if (err)
		return;
	r->cands = *cands;
	memcpy(r->session, sessions, cands->n * sizeof(*sessions));
}

struct routed route(struct world *w, unsigned int i, const char *name, bool fresh)
{
	struct routed r = {0};
	uint64_t start = gw_mono(w->p[i].gw);

	gw_route(w->p[i].gw->routes, name, strlen(name), 3000, fresh, on_routed, &r);
	assert_true(wait_for(w, &r.done, 5000));
	r.ms = gw_mono(w->p[i].gw) - start;
	return r;
}

void assert_at(const struct routed *r, const struct world *w, unsigned int i)
{
	assert_ok(r->err);
	assert_int_equal(r->cands.n, 1);
	assert_ok(p2p_hit_cmp(&r->cands.c[0].hit, &w->p[i].gw->hit));
}

const struct gw_metrics *metrics(const struct world *w, unsigned int i)
{
	return &w->p[i].gw->metrics;
}
