/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/enrol/gateway_user_enrolment_file.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/keys/gateway_file.h"
#include "lib/base/bytes.h"

#define USER_HEAD "p2psip-user 1"
#define RULES_HEAD "p2psip-rules 1"
#define NAME_LEN 40

static const char *const states[] = {"never", "yes", "no"};

/* --- text ------------------------------------------------------------------------------------- */

int gw_enrolled_print(const struct gw_enrolled *u, char *text, size_t cap, size_t *len)
{
	char hit[P2P_HIT_TEXT_MAX], hex[2 * P2P_HA1_MAX + 1];
	struct p2p_text t;

	p2p_text_init(&t, text, cap);
	p2p_text_add(&t, USER_HEAD "\norder %" PRIu64 "\n", u->order);
	if (u->len)
		p2p_text_add(&t, "name %s\n", u->name);
	if (u->removed)
		p2p_text_add(&t, "removed yes\n");
	if (u->any != GW_ENROLLED_NEVER)
		p2p_text_add(&t, "any %s\n", states[u->any]);
	if (u->digests) {
		p2p_hex_print(hex, u->ha1, p2p_digests_len(u->digests));
		p2p_text_add(&t, "realm %s\ndigests %s\nha1 %s\n", u->realm,
			     p2p_digests_text(u->digests), hex);
		OPENSSL_cleanse(hex, sizeof(hex));
	}
	for (unsigned int i = 0; i < u->n_peers; i++) {
		p2p_hit_print(&u->peer[i].hit, hit);
		p2p_hex_print(hex, u->peer[i].pubkey, P2P_PUBKEY_LEN);
		p2p_text_add(&t, "peer %s %s %s\n", hit, hex, states[u->peer[i].state]);
	}
	*len = t.len;
	return t.cut ? EMSGSIZE : 0;
}

int gw_enrolled_rules_print(const struct gw_enrolled_rules *r, char *text, size_t cap, size_t *len)
{
	struct p2p_text t;

	p2p_text_init(&t, text, cap);
	p2p_text_add(&t, RULES_HEAD "\norder %" PRIu64 "\nrealm %s\ndigests %s\npermission %s\n",
		     r->order, r->realm, p2p_digests_text(r->digests),
		     r->permission_required ? "required" : "optional");
	p2p_text_add(&t, "changes %" PRIu64 "\n", r->changes);
	for (unsigned int i = 0; i < r->n_changed; i++)
		p2p_text_add(&t, "changed %08" PRIx32 "\n", r->changed[i]);
	*len = t.len;
	return t.cut ? EMSGSIZE : 0;
}

/* A line: a word, a space, a value. */
struct line {
	const char *key, *value;
	size_t keylen, len;
};

/* 0, ENOENT at the end, EINVAL. */
static int line_next(const char **p, const char *end, struct line *l)
{
	const char *nl = memchr(*p, '\n', (size_t)(end - *p)), *space;

	if (*p == end)
		return ENOENT;
	space = nl ? memchr(*p, ' ', (size_t)(nl - *p)) : NULL;
	if (!space)
		return EINVAL;
	l->key = *p;
	l->keylen = (size_t)(space - *p);
	l->value = space + 1;
	l->len = (size_t)(nl - l->value);
	*p = nl + 1;
	return 0;
}

static bool is(const struct line *l, const char *word)
{
	return l->keylen == strlen(word) && !memcmp(l->key, word, l->keylen);
}

static bool value_is(const char *s, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(s, word, len);
}

static int state_parse(enum gw_enrolled_state *state, const char *s, size_t len)
{
	for (unsigned int i = GW_ENROLLED_YES; i <= GW_ENROLLED_NO; i++) {
		if (value_is(s, len, states[i])) {
			*state = (enum gw_enrolled_state)i;
			return 0;
		}
	}
	return EINVAL;
}

static int realm_parse(char realm[P2P_REALM_MAX + 1], const struct line *l)
{
	if (!p2p_realm_valid(l->value, l->len))
		return EINVAL;
	memcpy(realm, l->value, l->len);
	realm[l->len] = 0;
	return 0;
}

/* HIT, public key, state */
static int peer_parse(struct gw_enrolled *u, const struct line *l)
{
	struct gw_enrolled_peer *p = &u->peer[u->n_peers];
	const char *key = memchr(l->value, ' ', l->len), *state, *end = l->value + l->len;

	if (u->n_peers == GW_ENROLLED_PEERS_MAX || !key)
		return EINVAL;
	key++;
	state = memchr(key, ' ', (size_t)(end - key));
	if (!state || p2p_hit_parse(&p->hit, l->value, (size_t)(key - 1 - l->value)) ||
	    gw_enrolled_peer_find(u, &p->hit) ||
	    p2p_hex_parse(p->pubkey, sizeof(p->pubkey), key, (size_t)(state - key)) ||
	    state_parse(&p->state, state + 1, (size_t)(end - state - 1)))
		return EINVAL;
	u->n_peers++;
	return 0;
}

static int user_line(struct gw_enrolled *u, const struct line *l)
{
	if (is(l, "order"))
		return p2p_u64_parse(&u->order, l->value, l->len);
	if (is(l, "name")) {
		if (!p2p_name_valid(l->value, l->len))
			return EINVAL;
		memcpy(u->name, l->value, l->len);
		u->name[l->len] = 0;
		u->len = l->len;
		return 0;
	}
	if (is(l, "removed")) {
		u->removed = value_is(l->value, l->len, "yes");
		return u->removed ? 0 : EINVAL;
	}
	if (is(l, "any"))
		return state_parse(&u->any, l->value, l->len);
	if (is(l, "realm"))
		return realm_parse(u->realm, l);
	if (is(l, "digests"))
		return p2p_digests_parse(&u->digests, l->value, l->len);
	if (is(l, "ha1"))
		return u->digests ? p2p_hex_parse(u->ha1, p2p_digests_len(u->digests), l->value,
						  l->len)
				  : EINVAL;
	return is(l, "peer") ? peer_parse(u, l) : EINVAL;
}

/* The first line, whole. */
static int head(const char **p, const char *end, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(end - *p) <= n || memcmp(*p, word, n) || (*p)[n] != '\n')
		return EINVAL;
	*p += n + 1;
	return 0;
}

int gw_enrolled_parse(struct gw_enrolled *out, const char *text, size_t len)
{
	const char *p = text, *end = text + len;
	struct gw_enrolled u = {0};
	struct line l;
	int err = head(&p, end, USER_HEAD);

	while (!err && !(err = line_next(&p, end, &l)))
		err = user_line(&u, &l);
	if (err == ENOENT)
		err = (u.len ? u.digests && *u.realm : u.n_peers == 1) ? 0 : EINVAL;
	if (!err)
		*out = u;
	OPENSSL_cleanse(&u, sizeof(u));
	return err;
}

static int rules_line(struct gw_enrolled_rules *r, const struct line *l)
{
	uint8_t raw[4];

	if (is(l, "order"))
		return p2p_u64_parse(&r->order, l->value, l->len);
	if (is(l, "realm"))
		return realm_parse(r->realm, l);
	if (is(l, "digests"))
		return p2p_digests_parse(&r->digests, l->value, l->len);
	if (is(l, "permission")) {
		r->permission_required = value_is(l->value, l->len, "required");
		return r->permission_required || value_is(l->value, l->len, "optional") ? 0
											: EINVAL;
	}
	if (is(l, "changes"))
		return p2p_u64_parse(&r->changes, l->value, l->len);
	if (!is(l, "changed") || r->n_changed == P2P_CHANGED_MAX ||
	    p2p_hex_parse(raw, sizeof(raw), l->value, l->len))
		return EINVAL;
	r->changed[r->n_changed++] = p2p_be32(raw);
	return 0;
}

int gw_enrolled_rules_parse(struct gw_enrolled_rules *out, const char *text, size_t len)
{
	const char *p = text, *end = text + len;
	struct gw_enrolled_rules r = {0};
	struct line l;
	int err = head(&p, end, RULES_HEAD);

	while (!err && !(err = line_next(&p, end, &l)))
		err = rules_line(&r, &l);
	if (err == ENOENT)
		err = *r.realm && r.digests && r.n_changed <= r.changes ? 0 : EINVAL;
	if (!err)
		*out = r;
	return err;
}

/* --- files ------------------------------------------------------------------------------------ */

static int users_dir(const char *dir, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/users", dir) >= PATH_MAX ? ENAMETOOLONG : 0;
}

static int user_path(const char *dir, const struct gw_enrolled *u, char path[PATH_MAX])
{
	uint8_t hash[32];
	char hex[NAME_LEN + 1];
	/* a HIT has a byte 0, and a name none */
	int err = u->len ? gw_crypto_sha256(u->name, u->len, hash)
			 : gw_crypto_sha256(u->peer[0].hit.b, sizeof(u->peer[0].hit.b), hash);

	if (err)
		return err;
	p2p_hex_print(hex, hash, NAME_LEN / 2);
	return snprintf(path, PATH_MAX, "%s/users/%s", dir, hex) >= PATH_MAX ? ENAMETOOLONG : 0;
}

static int user_read(const char *path, struct gw_enrolled *u, char *err, size_t errlen)
{
	char text[GW_ENROLLED_TEXT_MAX];
	size_t len;
	int ret = gw_file_read_secret(path, text, sizeof(text), &len, err, errlen);

	if (ret)
		return ret;
	ret = gw_enrolled_parse(u, text, len);
	OPENSSL_cleanse(text, sizeof(text));
	if (ret)
		snprintf(err, errlen, "%s: no enrolment of a user, or a damaged one", path);
	return ret;
}

int gw_enrolled_load(const char *dir, struct gw_enrolled *u, char *err, size_t errlen)
{
	char path[PATH_MAX];
	int ret = user_path(dir, u, path);

	if (ret) {
		snprintf(err, errlen, "%s: %s", dir, strerror(ret));
		return ret;
	}
	return user_read(path, u, err, errlen);
}

int gw_enrolled_save(const char *dir, const struct gw_enrolled *u, char *err, size_t errlen)
{
	char path[PATH_MAX], text[GW_ENROLLED_TEXT_MAX];
	size_t len;
	int ret = users_dir(dir, path);

	if (!ret)
		ret = gw_file_mkdir(path);
	if (!ret)
		ret = user_path(dir, u, path);
	if (!ret)
		ret = gw_enrolled_print(u, text, sizeof(text), &len);
	if (!ret)
		ret = gw_file_replace(path, text, len);
	OPENSSL_cleanse(text, sizeof(text));
	if (ret)
		snprintf(err, errlen, "%s: %s", path, strerror(ret));
	return ret;
}

int gw_enrolled_scan(const char *dir, bool (*fn)(const struct gw_enrolled *u, void *arg), void *arg,
		     char *err, size_t errlen)
{
	char path[PATH_MAX];
	struct gw_enrolled u;
	struct dirent *de;
	int ret = users_dir(dir, path), bad = 0;
	DIR *d = ret ? NULL : opendir(path);

	if (!d) {
		ret = ret ? ret : errno;
		snprintf(err, errlen, "%s: %s", path, strerror(ret));
		return ret;
	}
	while ((de = readdir(d))) {
		uint8_t raw[NAME_LEN / 2];

		if (strlen(de->d_name) != NAME_LEN ||
		    p2p_hex_parse(raw, sizeof(raw), de->d_name, NAME_LEN))
			continue;
		if (snprintf(path, sizeof(path), "%s/users/%s", dir, de->d_name) >=
		    (int)sizeof(path))
			continue;
		ret = user_read(path, &u, err, errlen);
		if (ret && ret != ENOENT)
			bad = EINVAL;
		if (!ret && !fn(&u, arg))
			break;
	}
	closedir(d);
	OPENSSL_cleanse(&u, sizeof(u));
	return bad;
}

int gw_enrolled_rules_load(const char *dir, struct gw_enrolled_rules *r, char *err, size_t errlen)
{
	char path[PATH_MAX], text[GW_ENROLLED_TEXT_MAX];
	size_t len;
	int ret = snprintf(path, sizeof(path), "%s/rules", dir) >= (int)sizeof(path) ? ENAMETOOLONG
										     : 0;

	if (!ret)
		ret = gw_file_read(path, text, sizeof(text), &len);
	if (!ret)
		ret = gw_enrolled_rules_parse(r, text, len);
	if (ret)
		snprintf(err, errlen, "%s: %s", path,
			 ret == EINVAL ? "no rules of an overlay, or damaged ones" : strerror(ret));
	return ret;
}

int gw_enrolled_rules_save(const char *dir, const struct gw_enrolled_rules *r, char *err,
			   size_t errlen)
{
	char path[PATH_MAX], text[GW_ENROLLED_TEXT_MAX];
	size_t len;
	int ret = snprintf(path, sizeof(path), "%s/rules", dir) >= (int)sizeof(path) ? ENAMETOOLONG
										     : 0;

	if (!ret)
		ret = gw_enrolled_rules_print(r, text, sizeof(text), &len);
	if (!ret)
		ret = gw_file_replace(path, text, len);
	if (ret)
		snprintf(err, errlen, "%s: %s", path, strerror(ret));
	return ret;
}

struct gw_enrolled_peer *gw_enrolled_peer_find(struct gw_enrolled *u, const struct p2p_hit *hit)
{
	for (unsigned int i = 0; i < u->n_peers; i++)
		if (!p2p_hit_cmp(&u->peer[i].hit, hit))
			return &u->peer[i];
	return NULL;
}
