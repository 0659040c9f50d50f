/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A treap: a search tree by key and signer, a heap by a hash that nobody outside can foresee, so
 * that its depth is logarithmic whatever keys come. */
#include "lib/model/held.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/shared.h"
#include "lib/proto/record_head.h"

/* Key and signer's public key, one behind the other in a record. */
#define ID_AT 22
#define ID_LEN (P2P_KEY_LEN + P2P_PUBKEY_LEN)
#define SIGNER_BUCKETS 1024
/* The oldest of so many goes when there is no room. */
#define EVICT_SAMPLE 8

struct signer {
	struct signer *chain;
	size_t n;
	uint8_t pubkey[P2P_PUBKEY_LEN];
};

struct node {
	struct node *left, *right;
	struct signer *signer;
	struct p2p_shared *record;
	uint32_t priority;
	bool verified;
};

struct p2p_held {
	struct p2p_held_config cfg;
	struct node *root;
	size_t n, bytes;
	uint64_t lost, evictions;
	struct signer *signer[SIGNER_BUCKETS];
};

static int id_cmp(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, ID_LEN);
}

static const uint8_t *id_of(const struct node *n)
{
	return n->record->bytes + ID_AT;
}

int p2p_held_new(struct p2p_held **hp, const struct p2p_held_config *config)
{
	struct p2p_held *h;

	if (config->max == 0 || config->signer_max == 0)
		return EINVAL;
	h = calloc(1, sizeof(*h));
	if (h == NULL)
		return ENOMEM;
	h->cfg = *config;
	*hp = h;
	return 0;
}

/* --- signers -----------------------------------------------------------------------------------
 */

static struct signer **signer_slot(struct p2p_held *h, const uint8_t *pubkey)
{
	struct signer **sp =
		&h->signer[p2p_hash(&h->cfg.hash_key, pubkey, P2P_PUBKEY_LEN) % SIGNER_BUCKETS];

	while (*sp != NULL && memcmp((*sp)->pubkey, pubkey, P2P_PUBKEY_LEN) != 0)
		sp = &(*sp)->chain;
	return sp;
}

static struct signer *signer_of(struct p2p_held *h, const uint8_t *pubkey)
{
	struct signer **sp = signer_slot(h, pubkey);

	if (*sp == NULL) {
		*sp = calloc(1, sizeof(**sp));
		if (*sp != NULL)
			memcpy((*sp)->pubkey, pubkey, P2P_PUBKEY_LEN);
	}
	return *sp;
}

static void signer_put(struct p2p_held *h, struct signer *s)
{
	struct signer **sp;

	if (s->n > 0)
		return;
	sp = signer_slot(h, s->pubkey);
	*sp = s->chain;
	free(s);
}

/* --- the tree ----------------------------------------------------------------------------------
 */

static struct node *find(const struct p2p_held *h, const uint8_t *id)
{
	struct node *n = h->root;

	while (n != NULL) {
		int c = id_cmp(id, id_of(n));

		if (c == 0)
			return n;
		n = c < 0 ? n->left : n->right;
	}
	return NULL;
}

/* The lowest one whose id is above (or, `same`, the) given one. */
static struct node *above(const struct p2p_held *h, const uint8_t *id, bool same)
{
	struct node *n = h->root, *best = NULL;

	while (n != NULL) {
		int c = id_cmp(id_of(n), id);

		if (c > 0 || (same && c == 0)) {
			best = n;
			n = n->left;
		} else {
			n = n->right;
		}
	}
	return best;
}

/* Cuts a tree in two: below id, and the rest. */
static void split(struct node *n, const uint8_t *id, struct node **below, struct node **rest)
{
	while (n != NULL) {
		if (id_cmp(id_of(n), id) < 0) {
			*below = n;
			below = &n->right;
			n = n->right;
		} else {
			*rest = n;
			rest = &n->left;
			n = n->left;
		}
	}
	*below = NULL;
	*rest = NULL;
}

static size_t bytes_of(const struct node *n)
{
	return sizeof(*n) + sizeof(*n->record) + n->record->len;
}

static void insert(struct p2p_held *h, struct node *n)
{
	struct node **np = &h->root;

	while (*np != NULL && (*np)->priority >= n->priority)
		np = id_cmp(id_of(n), id_of(*np)) < 0 ? &(*np)->left : &(*np)->right;
	split(*np, id_of(n), &n->left, &n->right);
	*np = n;
	n->signer->n++;
	h->n++;
	h->bytes += bytes_of(n);
}

static void unlink_node(struct p2p_held *h, struct node *n)
{
	struct node **np = &h->root, *a, *b;

	while (*np != n)
		np = id_cmp(id_of(n), id_of(*np)) < 0 ? &(*np)->left : &(*np)->right;
	a = n->left;
	b = n->right;
	while (a != NULL && b != NULL) {
		if (a->priority >= b->priority) {
			*np = a;
			np = &a->right;
			a = a->right;
		} else {
			*np = b;
			np = &b->left;
			b = b->left;
		}
	}
	*np = a != NULL ? a : b;
	n->signer->n--;
	h->n--;
	h->bytes -= bytes_of(n);
}

static void node_drop(struct p2p_held *h, struct node *n)
{
	struct signer *s = n->signer;

	unlink_node(h, n);
	p2p_shared_drop(n->record);
	free(n);
	signer_put(h, s);
}

void p2p_held_free(struct p2p_held *h)
{
	if (h == NULL)
		return;
	while (h->root != NULL)
		node_drop(h, h->root);
	free(h);
}

/* --- records -----------------------------------------------------------------------------------
 */

static void head_of(const struct node *n, struct p2p_record_head *head)
{
	/* what is kept was read before */
	if (p2p_record_head(head, n->record->bytes, n->record->len) != 0)
		memset(head, 0, sizeof(*head));
}

static uint64_t order_of(const struct node *n)
{
	struct p2p_record_head head;

	head_of(n, &head);
	return head.order;
}

static void fill(const struct node *n, struct p2p_held_record *out)
{
	struct p2p_record_head head;

	head_of(n, &head);
	*out = (struct p2p_held_record){
		.bytes = n->record->bytes,
		.len = n->record->len,
		.order = head.order,
		.expiry_ms = head.expiry_ms,
		.tombstone = head.tombstone,
		.verified = n->verified,
	};
}

/* Somewhere in the tree, the oldest of a few neighbours. */
static void evict(struct p2p_held *h)
{
	uint8_t id[ID_LEN] = {0};
	uint64_t where[2] = {++h->evictions, 0};
	struct node *n, *oldest = NULL;
	unsigned int i;

	for (i = 0; i + sizeof(uint64_t) <= ID_LEN; i += sizeof(uint64_t)) {
		uint64_t r;

		where[1] = i;
		r = p2p_hash(&h->cfg.hash_key, where, sizeof(where));
		memcpy(id + i, &r, sizeof(r));
	}
	n = above(h, id, true);
	for (i = 0; i < EVICT_SAMPLE && h->root != NULL; i++) {
		if (n == NULL) {
			memset(id, 0, sizeof(id));
			n = above(h, id, true);
		}
		if (oldest == NULL || order_of(n) < order_of(oldest))
			oldest = n;
		n = above(h, id_of(n), false);
	}
	if (oldest != NULL) {
		node_drop(h, oldest);
		h->lost++;
	}
}

/* Room for one more signer under the key of id; false: all that are there are newer. */
static bool key_room(struct p2p_held *h, const uint8_t *id, uint64_t order)
{
	uint8_t first[ID_LEN] = {0};
	struct node *n, *oldest = NULL;
	unsigned int count = 0;

	memcpy(first, id, P2P_KEY_LEN);
	for (n = above(h, first, true); n != NULL && memcmp(id_of(n), id, P2P_KEY_LEN) == 0;
	     n = above(h, id_of(n), false)) {
		if (oldest == NULL || order_of(n) < order_of(oldest))
			oldest = n;
		count++;
	}
	if (count < P2P_HELD_SIGNERS_MAX)
		return true;
	if (order_of(oldest) >= order)
		return false;
	node_drop(h, oldest);
	return true;
}

static int replace(struct node *old, const struct p2p_record_head *head, const void *bytes,
		   size_t len, bool verified, uint64_t *order)
{
	struct p2p_record_head was;
	int c;

	head_of(old, &was);
	c = p2p_record_head_cmp(head, bytes, len, &was, old->record->bytes, old->record->len);
	if (c == 0) {
		old->verified = old->verified || verified;
		return EALREADY;
	}
	if (!verified)
		return c < 0 ? ESTALE : EPERM;
	/* one that nobody has verified holds nothing up */
	if (c < 0 && old->verified) {
		*order = was.order;
		return ESTALE;
	}
	return 0;
}

/* A record as p2p_held_put has it; copy NULL: to be made. */
static int put(struct p2p_held *h, const void *bytes, size_t len, struct p2p_shared *copy,
	       bool verified, uint64_t *order)
{
	struct p2p_record_head head;
	struct signer *s;
	struct node *old, *n;
	int err = p2p_record_head(&head, bytes, len);

	if (err != 0)
		return err;
	old = find(h, head.key);
	if (old != NULL) {
		err = replace(old, &head, bytes, len, verified, order);
		if (err == EALREADY && copy != NULL && copy->len == old->record->len) {
			p2p_shared_keep(copy);
			p2p_shared_drop(old->record);
			old->record = copy;
		}
		if (err != 0)
			return err;
	}
	n = malloc(sizeof(*n));
	copy = copy != NULL ? p2p_shared_keep(copy) : p2p_shared_new(bytes, len);
	s = n != NULL && copy != NULL ? signer_of(h, head.pubkey) : NULL;
	if (s == NULL) {
		p2p_shared_drop(copy);
		free(n);
		return ENOMEM;
	}
	n->signer = s;
	n->priority = (uint32_t)p2p_hash(&h->cfg.hash_key, head.key, ID_LEN);
	n->verified = verified;
	n->record = copy;
	s->n++; /* it stays while others go */
	if (old != NULL) {
		node_drop(h, old);
	} else if (s->n > h->cfg.signer_max || !key_room(h, head.key, head.order)) {
		s->n--;
		signer_put(h, s);
		p2p_shared_drop(copy);
		free(n);
		return ENOSPC;
	} else if (h->n >= h->cfg.max) {
		evict(h);
	}
	s->n--;
	insert(h, n);
	return 0;
}

int p2p_held_put(struct p2p_held *h, const void *bytes, size_t len, bool verified, uint64_t *order)
{
	return put(h, bytes, len, NULL, verified, order);
}

int p2p_held_share(struct p2p_held *h, struct p2p_shared *record, bool verified, uint64_t *order)
{
	return put(h, record->bytes, record->len, record, verified, order);
}

unsigned int p2p_held_get(const struct p2p_held *h, const struct p2p_key *key,
			  struct p2p_held_record out[P2P_HELD_SIGNERS_MAX])
{
	uint8_t first[ID_LEN] = {0};
	const struct node *n;
	unsigned int count = 0;

	memcpy(first, key->b, P2P_KEY_LEN);
	for (n = above(h, first, true); n != NULL && count < P2P_HELD_SIGNERS_MAX &&
					memcmp(id_of(n), key->b, P2P_KEY_LEN) == 0;
	     n = above(h, id_of(n), false))
		fill(n, &out[count++]);
	return count;
}

static struct node *node_of(const struct p2p_held *h, const struct p2p_key *key,
			    const uint8_t pubkey[P2P_PUBKEY_LEN])
{
	uint8_t id[ID_LEN];

	memcpy(id, key->b, P2P_KEY_LEN);
	memcpy(id + P2P_KEY_LEN, pubkey, P2P_PUBKEY_LEN);
	return find(h, id);
}

int p2p_held_find(const struct p2p_held *h, const struct p2p_key *key,
		  const uint8_t pubkey[P2P_PUBKEY_LEN], struct p2p_held_record *out)
{
	const struct node *n = node_of(h, key, pubkey);

	if (n == NULL)
		return ENOENT;
	fill(n, out);
	return 0;
}

void p2p_held_verified(struct p2p_held *h, const struct p2p_key *key,
		       const uint8_t pubkey[P2P_PUBKEY_LEN])
{
	struct node *n = node_of(h, key, pubkey);

	if (n != NULL)
		n->verified = true;
}

int p2p_held_del(struct p2p_held *h, const struct p2p_key *key,
		 const uint8_t pubkey[P2P_PUBKEY_LEN])
{
	struct node *n = node_of(h, key, pubkey);

	if (n == NULL)
		return ENOENT;
	node_drop(h, n);
	return 0;
}

bool p2p_held_next(const struct p2p_held *h, const struct p2p_key *after, struct p2p_key *next)
{
	uint8_t id[ID_LEN] = {0};
	const struct node *n;

	if (after != NULL) {
		memcpy(id, after->b, P2P_KEY_LEN);
		memset(id + P2P_KEY_LEN, 0xff, P2P_PUBKEY_LEN);
	}
	n = above(h, id, after == NULL);
	if (n == NULL)
		return false;
	memcpy(next->b, id_of(n), P2P_KEY_LEN);
	return true;
}

size_t p2p_held_count(const struct p2p_held *h)
{
	return h->n;
}

size_t p2p_held_bytes(const struct p2p_held *h)
{
	return h->bytes;
}

uint64_t p2p_held_lost(const struct p2p_held *h)
{
	return h->lost;
}
