/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/location/gateway_user_keys.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/location/gateway_records.h"
#include "lib/base/hash.h"

/* There are as many as users, so each is as small as can be. */
struct node {
	struct node *chain;
	struct p2p_key key;
	uint8_t len;
	char name[];
};

struct gw_user_keys {
	struct gw *gw;
	struct p2p_hash_key hash_key;
	struct node **bucket;
	size_t n_buckets, n, max;
	bool missing; /* some are not here */
	bool (*served)(const char *name, size_t len, void *arg);
	void *arg;
};

static struct node **slot(const struct gw_user_keys *k, const struct p2p_key *key)
{
	struct node **np =
		&k->bucket[p2p_hash(&k->hash_key, key, sizeof(*key)) & (k->n_buckets - 1)];

	while (*np && memcmp(&(*np)->key, key, sizeof(*key)))
		np = &(*np)->chain;
	return np;
}

/* Does somebody ask by this key still? */
static bool in_use(const struct gw_user_keys *k, const struct node *n)
{
	struct p2p_key key;

	for (unsigned int age = 0; age < gw_record_ages(k->gw); age++)
		if (!gw_record_key_user_at(k->gw, n->name, n->len, age, &key) &&
		    !memcmp(&key, &n->key, sizeof(key)))
			return true;
	return false;
}

/* Those that are served no more go. */
static void sweep(struct gw_user_keys *k)
{
	for (size_t i = 0; i < k->n_buckets; i++)
		for (struct node **np = &k->bucket[i]; *np;) {
			struct node *n = *np;

			if (k->served(n->name, n->len, k->arg) && in_use(k, n)) {
				np = &n->chain;
				continue;
			}
			*np = n->chain;
			free(n);
			k->n--;
		}
}

static int add(struct gw_user_keys *k, const struct p2p_key *key, const char *name, size_t len)
{
	struct node *n, **np;

	if (len > P2P_NAME_MAX)
		return EINVAL;
	if (k->n >= k->max)
		sweep(k);
	n = k->n < k->max ? malloc(sizeof(*n) + len) : NULL;
	if (!n)
		return ENOMEM;
	n->key = *key;
	n->len = (uint8_t)len;
	memcpy(n->name, name, len);
	np = slot(k, key);
	n->chain = *np;
	*np = n;
	k->n++;
	return 0;
}

void gw_user_keys_learn(struct gw_user_keys *k, const char *name, size_t len)
{
	for (unsigned int age = 0; age < gw_record_ages(k->gw); age++) {
		struct p2p_key key;
		int err = gw_record_key_user_at(k->gw, name, len, age, &key);

		if (!err && !*slot(k, &key))
			err = add(k, &key, name, len);
		k->missing = k->missing || err;
	}
}

int gw_user_keys_find(const struct gw_user_keys *k, const struct p2p_key *key, const char **name,
		      size_t *len)
{
	const struct node *n = *slot(k, key);

	if (!n)
		return k->missing ? EAGAIN : ENOENT;
	*name = n->name;
	*len = n->len;
	return 0;
}

int gw_user_keys_new(struct gw_user_keys **kp, struct gw *gw, size_t max,
		     bool (*served)(const char *name, size_t len, void *arg), void *arg)
{
	struct gw_user_keys *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return ENOMEM;
	k->gw = gw;
	k->max = max;
	k->served = served;
	k->arg = arg;
	/* with one secret, and full, a chain has two or so */
	for (k->n_buckets = 64; k->n_buckets < max / 8 && k->n_buckets < (size_t)1 << 20;)
		k->n_buckets *= 2;
	k->bucket = calloc(k->n_buckets, sizeof(struct node *));
	err = k->bucket ? gw_crypto_random(&k->hash_key, sizeof(k->hash_key)) : ENOMEM;
	if (err) {
		gw_user_keys_free(k);
		return err;
	}
	*kp = k;
	return 0;
}

void gw_user_keys_free(struct gw_user_keys *k)
{
	if (!k)
		return;
	for (size_t i = 0; k->bucket && i < k->n_buckets; i++)
		for (struct node *n; (n = k->bucket[i]);) {
			k->bucket[i] = n->chain;
			free(n);
		}
	free(k->bucket);
	free(k);
}
