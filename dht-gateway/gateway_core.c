/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_core.h"
#include <errno.h>
#include <limits.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/location/gateway_announce.h"
#include "dht-gateway/enrol/gateway_auth.h"
#include "dht-gateway/enrol/gateway_auth_rules.h"
#include "dht-gateway/enrol/gateway_auth_store.h"
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/engine/gateway_bootstrap.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/location/gateway_hold.h"
#include "dht-gateway/keys/gateway_identity.h"
#include "dht-gateway/enrol/gateway_known.h"
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/enrol/gateway_member.h"
#include "dht-gateway/location/gateway_moves.h"
#include "dht-gateway/engine/gateway_names.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/location/gateway_query.h"
#include "dht-gateway/location/gateway_records.h"
#include "dht-gateway/enrol/gateway_renew.h"
#include "dht-gateway/enrol/gateway_rotate.h"
#include "dht-gateway/location/gateway_route.h"
#include "dht-gateway/peers/gateway_presence.h"
#include "dht-gateway/peers/gateway_serve.h"
#include "dht-gateway/peers/gateway_session.h"
#include "dht-gateway/gateway_load.h"
#include "dht-gateway/gateway_state.h"
#include "dht-gateway/location/gateway_sync.h"
#include "dht-gateway/enrol/gateway_user_enrolment.h"
#include "dht-gateway/location/gateway_users.h"
#include "dht-gateway/location/gateway_watch.h"
#include "lib/io/https_tls.h"

#define TICK_MS 1000
#define SAVE_MS 60000
#define SAVE_SOON_MS 1000
#define REFUSED_MS 60000
/* A node that knows fewer others than a search asks looks for more, at first often. */
#define PROBE_MIN_MS 1000
#define PROBE_MAX_MS 30000
#define PROBE_NODES 8
#define DHT_OPS_MAX 16384
#define REDIS_PASSWORD_MAX 256

struct gw_core {
	struct gw gw;
	const struct dht_ops *both[2]; /* the two engines, where there are two */
	struct gw_identity *identity;
	struct https_identity tls;
	struct gw_bootstrap bootstrap;
	const char *bootstrap_v[GW_BOOTSTRAP_MAX];
	struct event *tick;
	struct gw_names *names;
	bool connected;
	unsigned int good;
	uint64_t probe_ms,
		probe_wait_ms; /* when to search for neighbours, and how long after that */
	uint64_t save_ms, refused_ms;
	uint64_t refused; /* as last logged */
};

/* From the authority, the settings, or the secret. */
static int overlay_id(struct gw *gw, char *err, size_t errlen)
{
	const char *text = gw->settings->overlay_id;
	struct p2p_overlay_id id;
	int ret = *text ? p2p_overlay_id_parse(&id, text, strlen(text)) : 0;

	if (!ret && *text && gw->enrolled && memcmp(&id, &gw->overlay, sizeof(id))) {
		snprintf(err, errlen, "[overlay] id is not that of the authority in %s",
			 gw->settings->state_dir);
		return EINVAL;
	}
	if (!ret && !*text && !gw->enrolled)
		ret = p2p_overlay_id_make(&id, gw->secret.b, gw->secret.len, gw->crypto);
	if (ret)
		snprintf(err, errlen, "the overlay's id: %s", strerror(ret));
	else if (!gw->enrolled)
		gw->overlay = id;
	return ret;
}

static int identity_load(struct gw_core *c, char *err, size_t errlen)
{
	const struct gw_settings *s = c->gw.settings;
	struct gw *gw = &c->gw;
	int ret;

	if (s->identity_create && access(s->identity_file, F_OK) && errno == ENOENT) {
		ret = gw_identity_create(s->identity_file, err, errlen);
		if (ret)
			return ret;
		p2p_log(gw->log, P2P_LOG_INFO, "%s: a new Host Identity was made",
			s->identity_file);
	}
	ret = gw_identity_load(&c->identity, s->identity_file, err, errlen);
	if (ret)
		return ret;
	gw->crypto = gw_identity_crypto(c->identity);
	gw->hit = *gw_identity_hit(c->identity);
	memcpy(gw->pubkey, gw_identity_pubkey(c->identity), sizeof(gw->pubkey));
	p2p_hit_print(&gw->hit, gw->hit_text);
	c->tls.key = gw_identity_key(c->identity);
	c->tls.crypto = gw->crypto;
	gw->tls = &c->tls;
	ret = gw_secrets_load(&gw->secrets, s->secret_file, err, errlen);
	if (ret)
		return ret;
	gw->secret = gw->secrets.e[0].s;
	ret = gw_members_new(&gw->members, gw, err, errlen);
	if (!ret)
		ret = overlay_id(gw, err, errlen);
	if (ret)
		return ret;
	if (gw->enrolled) {
		c->tls.cert = gw_members_cert(gw->members);
		X509_up_ref(c->tls.cert);
		return 0;
	}
	ret = gw_cert_make(&c->tls.cert, c->tls.key, gw->hit_text);
	if (ret)
		snprintf(err, errlen, "the certificate: %s", strerror(ret));
	return ret;
}

static void on_status(void *arg)
{
	struct gw_core *c = arg;
	struct gw *gw = &c->gw;
	struct dht_stats st;

	if (!gw->dht)
		return; /* still opening */
	gw->dht_ops->stats(gw->dht, &st);
	if (st.connected != c->connected)
		p2p_log(gw->log, P2P_LOG_INFO, "DHT: %s (%u IPv4 and %u IPv6 nodes)%s%s",
			st.connected ? "connected" : "disconnected", st.good4, st.good6,
			*st.why ? ": " : "", st.why);
	if (st.connected && !c->connected)
		c->probe_ms = c->probe_wait_ms = 0;
	c->connected = st.connected;
	/* soon: a peer that nobody else is named to finds the others again by what is saved */
	if (st.good4 + st.good6 > c->good && c->save_ms > gw_mono(gw) + SAVE_SOON_MS)
		c->save_ms = gw_mono(gw) + SAVE_SOON_MS;
	c->good = st.good4 + st.good6;
	gw_users_kick(gw->users);
}

static void probe(struct gw_core *c, uint64_t now)
{
	struct gw *gw = &c->gw;
	struct dht_stats st;

	if (!c->connected || now < c->probe_ms)
		return;
	gw->dht_ops->stats(gw->dht, &st);
	if (st.good4 + st.good6 && st.good4 + st.good6 < PROBE_NODES)
		gw_peers_probe(gw->peers);
	c->probe_wait_ms = c->probe_wait_ms ? c->probe_wait_ms * 3 / 2 : PROBE_MIN_MS;
	if (c->probe_wait_ms > PROBE_MAX_MS)
		c->probe_wait_ms = PROBE_MAX_MS;
	c->probe_ms = now + c->probe_wait_ms;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw_core *c = arg;
	struct gw *gw = &c->gw;
	uint64_t now = gw_mono(gw), refused = 0;

	(void)fd;
	(void)what;
	for (int i = 0; i < P2P_RECORD_FAULTS; i++)
		refused += atomic_load(&gw->refused[i]);
	on_status(c);
	probe(c, now);
	if (now >= c->save_ms) {
		int err = gw->dht_ops->save(gw->dht);

		if (err)
			gw_warn_source(gw, "save", 4, "known DHT nodes cannot be saved: %s",
				       strerror(err));
		c->save_ms = now + SAVE_MS;
	}
	if (refused != c->refused && now >= c->refused_ms) {
		p2p_log(gw->log, P2P_LOG_WARN,
			"%llu values that others wanted stored here were refused, the last one: %s",
			(unsigned long long)(refused - c->refused),
			p2p_record_fault_text(
				(enum p2p_record_fault)atomic_load(&gw->refused_fault)));
		c->refused = refused;
		c->refused_ms = now + REFUSED_MS;
	}
	gw_timer_set(c->tick, TICK_MS);
}

/* From the HIT, so that it lasts, and the secret, so that strangers cannot tell who it is. */
static int node_id_make(const struct gw *gw, uint8_t id[DHT_KEY_LEN])
{
	uint8_t mac[32];
	int err = gw->crypto->hmac_sha256(gw->crypto->arg, gw->secret.b, gw->secret.len, &gw->hit,
					  sizeof(gw->hit), mac);

	if (!err)
		memcpy(id, mac, DHT_KEY_LEN);
	return err;
}

/* What the settings name, and what this peer was told when it joined. */
static void bootstrap_all(struct gw_core *c)
{
	struct gw *gw = &c->gw;
	int err;

	for (size_t i = 0; i < gw->settings->bootstrap.n; i++)
		gw_bootstrap_add(&c->bootstrap, gw->settings->bootstrap.v[i]);
	err = gw_bootstrap_load(&c->bootstrap, gw_state_path(gw->state, GW_BOOTSTRAP_FILE));
	if (err)
		p2p_log(gw->log, P2P_LOG_ERR, "%s: %s", gw_state_path(gw->state, GW_BOOTSTRAP_FILE),
			strerror(err));
	for (size_t i = 0; i < c->bootstrap.n; i++)
		c->bootstrap_v[i] = c->bootstrap.entry[i];
}

static int password_read(const char *path, char password[REDIS_PASSWORD_MAX], char *err,
			 size_t errlen)
{
	size_t len;
	int ret = gw_file_read_secret(path, password, REDIS_PASSWORD_MAX, &len, err, errlen);

	if (!ret)
		password[strcspn(password, "\r\n")] = 0;
	return ret;
}

static int dht_open(struct gw_core *c, char *err, size_t errlen)
{
	struct gw *gw = &c->gw;
	const struct gw_settings *s = gw->settings;
	char reason[256] = "", password[REDIS_PASSWORD_MAX] = "", prefix[64] = "p2psip:";
	struct dht_config config = {
		.bind4 = s->bind4,
		.bind6 = s->bind6,
		.port = (uint16_t)s->port,
		.network = gw_secret_network(&gw->overlay),
		.bootstrap = c->bootstrap_v,
		.nodes_file = gw_state_path(gw->state, "nodes"),
		.max_requests = s->max_requests_per_s,
		.max_peer_requests = s->max_peer_requests_per_s,
		.store_bytes = (uint64_t)s->store_bytes,
		.value_ttl_s = (uint32_t)s->record_lifetime_s,
		.max_ops = DHT_OPS_MAX,
		.redis = (const char *const *)s->redis_servers.v,
		.n_redis = s->redis_servers.n,
		.redis_user = s->redis_user,
		.redis_password = password,
		.redis_prefix = prefix,
		.redis_timeout_ms = (uint32_t)s->redis_timeout_ms,
		.both = {c->both[0], c->both[1]},
		.dir = s->memory_dir,
		.policy = {.store = gw_record_policy_store,
			   .edit = gw_record_policy_edit,
			   .arg = gw},
	};
	int ret = node_id_make(gw, config.node_id);

	bootstrap_all(c);
	config.n_bootstrap = c->bootstrap.n;
	if (ret) {
		snprintf(err, errlen, "the DHT's node id: %s", strerror(ret));
		return ret;
	}
	p2p_overlay_id_print(&gw->overlay, prefix + strlen(prefix));
	if (strstr(s->backend, "redis") && *s->redis_password_file) {
		ret = password_read(s->redis_password_file, password, err, errlen);
		if (ret)
			return ret;
	}
	ret = gw->dht_ops->open(&gw->dht, gw->base, &config, on_status, c, reason, sizeof(reason));
	OPENSSL_cleanse(password, sizeof(password));
	if (ret)
		snprintf(err, errlen, "the DHT (%s): %s",
			 *s->backend ? s->backend : gw->dht_ops->name,
			 *reason ? reason : strerror(ret));
	return ret;
}

int gw_core_new(struct gw_core **cp, const struct gw_core_config *config, char *err, size_t errlen)
{
	struct gw_core *c = calloc(1, sizeof(*c));
	struct p2p_hash_key key;
	struct gw *gw;
	int ret = ENOMEM;

	snprintf(err, errlen, "no memory");
	if (!c)
		return ENOMEM;
	gw = &c->gw;
	gw->base = config->base;
	gw->settings = config->settings;
	gw->log = config->log;
	gw->clock = config->clock;
	gw->started_ms = gw_mono(gw);
	gw->dht_ops = config->dht_ops ? config->dht_ops
				      : dht_backend_find(config->settings->backend, c->both);
	if (!gw->dht_ops) {
		snprintf(err, errlen, "no DHT backend '%s'", config->settings->backend);
		ret = EINVAL;
		goto fail;
	}
	ret = gw_crypto_random(&key, sizeof(key));
	if (ret)
		goto fail;
	p2p_limit_init(&gw->limit, 60000, &key);
	ret = gw_file_mkdir(gw->settings->state_dir);
	if (ret) {
		snprintf(err, errlen, "%s: %s", gw->settings->state_dir, strerror(ret));
		goto fail;
	}
	ret = identity_load(c, err, errlen);
	if (ret)
		goto fail;
	ret = gw_state_open(&gw->state, gw, gw->settings->state_dir, err, errlen);
	if (ret)
		goto fail;
	snprintf(err, errlen, "no memory");
	ret = gw_load_new(&gw->load, gw);
	if (!ret)
		ret = gw_cache_new(&gw->cache, gw);
	if (!ret)
		ret = gw_watches_new(&gw->watches, gw);
	if (!ret)
		ret = gw_users_new(&gw->users, gw);
	if (!ret)
		ret = gw_gossip_new(&gw->gossip, gw);
	if (!ret)
		ret = gw_peers_new(&gw->peers, gw);
	if (!ret)
		ret = gw_lookups_new(&gw->lookups, gw);
	if (!ret)
		ret = gw_moves_new(&gw->moves, gw);
	if (!ret)
		ret = gw_routes_new(&gw->routes, gw);
	if (!ret)
		ret = gw_asks_new(&gw->asks, gw);
	if (!ret)
		ret = gw_presences_new(&gw->presences, gw);
	if (!ret)
		ret = gw_sessions_new(&gw->sessions, gw);
	if (!ret)
		ret = gw_auth_new(&gw->auth, gw);
	if (!ret) {
		ret = gw_auth_store_new(&gw->enrolments, gw, err, errlen);
		if (ret)
			goto fail;
	}
	if (!ret)
		ret = gw_auth_rules_new(&gw->rules, gw);
	if (!ret)
		ret = gw_queries_new(&gw->queries, gw);
	if (!ret)
		ret = gw_holds_new(&gw->holds, gw);
	if (!ret)
		ret = gw_sync_new(&gw->sync, gw);
	if (!ret)
		ret = gw_announces_new(&gw->announces, gw);
	if (!ret)
		gw_users_announced(gw->users);
	c->tick = ret ? NULL : event_new(gw->base, -1, 0, on_tick, c);
	if (!c->tick) {
		ret = ret ? ret : ENOMEM;
		goto fail;
	}
	ret = gw_users_restore(gw->users);
	if (ret) {
		snprintf(err, errlen, "the journal of users: %s", strerror(ret));
		goto fail;
	}
	ret = gw_serve_new(&gw->serve, gw, err, errlen);
	if (ret)
		goto fail;
	ret = gw_renewal_new(&gw->renewal, gw);
	if (!ret)
		ret = gw_known_new(&gw->known, gw);
	if (!ret)
		ret = gw_rotation_new(&gw->rotation, gw, err, errlen);
	if (ret)
		goto fail;
	ret = dht_open(c, err, errlen);
	if (ret)
		goto fail;
	ret = gw_names_new(&c->names, gw->base, gw->log, c->bootstrap_v, c->bootstrap.n);
	if (ret) {
		snprintf(err, errlen, "%s", strerror(ret));
		goto fail;
	}
	gw_enrol_resume(gw);
	gw_gossip_start(gw->gossip);
	c->save_ms = gw->started_ms + SAVE_MS / 6;
	gw_timer_set(c->tick, TICK_MS);
	p2p_log(gw->log, P2P_LOG_INFO, "peer %s, epoch %llu%s", gw->hit_text,
		(unsigned long long)gw->epoch,
		gw_state_is_new(gw->state) ? " (new: no earlier state)" : "");
	*cp = c;
	return 0;
fail:
	gw_core_free(c);
	return ret;
}

void gw_core_free(struct gw_core *c)
{
	struct gw *gw;

	if (!c)
		return;
	gw = &c->gw;
	if (c->tick)
		event_free(c->tick);
	gw_names_free(c->names);
	gw_serve_free(gw->serve);
	gw->serve = NULL;
	gw_renewal_free(gw->renewal);
	gw_rotation_free(gw->rotation);
	gw->rotation = NULL;
	gw_known_free(gw->known);
	gw_lookups_free(gw->lookups);
	gw_routes_free(gw->routes);
	gw_sessions_free(gw->sessions);
	gw->sessions = NULL;
	gw_gossip_stop(gw->gossip);
	gw_announces_stop(gw->announces);
	gw_sync_free(gw->sync);
	gw_holds_stop(gw->holds);
	gw_queries_free(gw->queries);
	gw->queries = NULL;
	gw_moves_free(gw->moves);
	gw->moves = NULL;
	gw_presences_free(gw->presences);
	gw_asks_free(gw->asks);
	/* what is under way ends, and its owners are still there to be told */
	if (gw->dht) {
		struct dht_backend *dht = gw->dht;

		gw->dht_ops->close(dht);
		gw->dht = NULL;
	}
	gw_auth_rules_free(gw->rules);
	gw_auth_free(gw->auth);
	gw_auth_store_free(gw->enrolments);
	gw_watches_free(gw->watches);
	gw_users_free(gw->users);
	gw_announces_free(gw->announces);
	gw_holds_free(gw->holds);
	gw_peers_free(gw->peers);
	gw_gossip_free(gw->gossip);
	gw->gossip = NULL;
	gw_cache_free(gw->cache);
	gw_load_free(gw->load);
	gw_state_close(gw->state);
	X509_free(c->tls.cert);
	gw_members_free(gw->members);
	gw_identity_free(c->identity);
	OPENSSL_cleanse(&gw->secret, sizeof(gw->secret));
	OPENSSL_cleanse(&gw->secrets, sizeof(gw->secrets));
	free(c);
}

struct gw *gw_core_gw(struct gw_core *c)
{
	return &c->gw;
}

void gw_core_reloaded(struct gw_core *c, bool sip_uri)
{
	gw_users_configure(c->gw.users);
	gw_auth_rules_configure(c->gw.rules);
	if (sip_uri) {
		gw_users_renew(c->gw.users);
		gw_peers_announce(c->gw.peers);
	}
	gw_sessions_reconsider(c->gw.sessions);
}

void gw_core_stop(struct gw_core *c, void (*stopped)(void *arg), void *arg)
{
	gw_sessions_stop(c->gw.sessions);
	gw_gossip_leave(c->gw.gossip, stopped, arg);
}

void gw_core_summary(struct gw_core *c, char *text, size_t len)
{
	struct gw *gw = &c->gw;
	struct p2p_published_stats st;
	struct dht_stats dht = {0};

	p2p_published_stats(gw_users_table(gw->users), &st);
	gw->dht_ops->stats(gw->dht, &dht);
	snprintf(text, len, "%zu users, %zu peers, DHT %s with %u nodes", st.claimed + st.orphans,
		 gw_peers_count(gw->peers),
		 dht.alone	 ? "alone"
		 : dht.connected ? "connected"
				 : "disconnected",
		 dht.good4 + dht.good6);
}
