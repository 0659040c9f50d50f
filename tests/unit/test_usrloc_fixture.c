/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test_usrloc_fixture.h"

_Thread_local int mock_locks_held;
struct usrloc_fixture fixture = {.location = str_init("location")};
struct pul_shared *pul_shared = &fixture.shared;
struct p2p_hash_key pul_hash_key;
struct pul_settings pul_settings;

void pul_count(enum pul_counter c)
{
	fixture.counted[c]++;
}

void pul_wake_soon(void)
{
	mock_lock_none_held();
	atomic_fetch_add(&fixture.wakes, 1);
}

uint64_t pul_now_ms(void)
{
	return fixture.now_ms;
}

struct p2p_name usrloc_name(const char *text)
{
	struct p2p_name name;

	name.len = strlen(text);
	strcpy(name.s, text);
	return name;
}

struct p2p_name usrloc_name_nr(unsigned int i)
{
	struct p2p_name name;

	name.len = (size_t)snprintf(name.s, sizeof(name.s), "user%u", i);
	return name;
}

int usrloc_add(const struct p2p_name *name, const char *ruid, uint32_t instance)
{
	str aor = {(char *)(uintptr_t)name->s, (int)name->len};
	str r = {(char *)(uintptr_t)ruid, (int)strlen(ruid)};

	return pul_users_add(name, &fixture.location, &aor, &r, instance);
}

void usrloc_del(const struct p2p_name *name, const char *ruid)
{
	str r = {(char *)(uintptr_t)ruid, (int)strlen(ruid)};

	pul_users_remove(name, &r);
}

int usrloc_setup(void **state)
{
	(void)state;
	memset(&fixture.shared, 0, sizeof(fixture.shared));
	memset(fixture.counted, 0, sizeof(fixture.counted));
	fixture.now_ms = 1000000;
	pul_settings.cache_fresh_ms = 30000;
	pul_settings.cache_max_s = 3600;
	pul_settings.withdrawn_max = 1000;
	fixture.shared.gateway_up = 1;
	if (pul_users_init(6) != 0)
		return -1;
	pul_settings.auth_cache_s = 60;
	if (pul_cache_new(&pul_routes, 640) != 0 || pul_sessions_init(16) != 0 ||
	    pul_auth_init(64) != 0)
		return -1;
	return 0;
}

int usrloc_teardown(void **state)
{
	(void)state;
	pul_users_destroy();
	pul_cache_free(pul_routes);
	pul_routes = NULL;
	pul_sessions_destroy();
	pul_auth_destroy();
	return 0;
}

void usrloc_candidate(struct p2p_candidate *c, unsigned int nr, uint32_t ttl_ms, unsigned int uris)
{
	unsigned int i;

	memset(c, 0, sizeof(*c));
	c->hit.b[0] = 0x20;
	c->hit.b[15] = (uint8_t)nr;
	c->order = nr;
	c->ttl_ms = ttl_ms;
	c->n_uris = (uint8_t)uris;
	for (i = 0; i < uris; i++)
		snprintf(c->uri[i], sizeof(c->uri[i]), "sip:192.0.2.%u:506%u", nr, i);
	c->n_instances = (uint8_t)(nr % (P2P_CANDIDATE_INSTANCES_MAX + 1));
	for (i = 0; i < c->n_instances; i++)
		c->instance[i] = nr * 100 + i;
}

struct pul_job usrloc_take(void)
{
	struct pul_job job;

	assert_true(pul_users_take(&fixture.cursor, &job));
	return job;
}
