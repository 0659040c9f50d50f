/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/enrol/gateway_roster.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/keys/gateway_file.h"
#include "lib/base/bytes.h"

#define ID_LEN 16
#define TEXT_MAX 512
/* An invitation that expired so long ago is forgotten. */
#define FORGET_MS (24 * 3600000ull)

static int path_of(char path[PATH_MAX], const char *dir, const char *sub, const uint8_t id[ID_LEN])
{
	char hex[2 * ID_LEN + 1];

	p2p_hex_print(hex, id, ID_LEN);
	return snprintf(path, PATH_MAX, "%s/%s/%s", dir, sub, hex) >= PATH_MAX ? ENAMETOOLONG : 0;
}

static int sub_make(const char *dir, const char *sub)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", dir, sub) >= (int)sizeof(path))
		return ENAMETOOLONG;
	return gw_file_mkdir(path);
}

/* The files of a folder whose names are ids; half-written ones have others. */
static int scan(const char *dir, const char *sub,
		bool (*fn)(const uint8_t id[ID_LEN], const char *path, void *arg), void *arg)
{
	char path[PATH_MAX];
	uint8_t id[ID_LEN];
	struct dirent *e;
	DIR *d;

	if (snprintf(path, sizeof(path), "%s/%s", dir, sub) >= (int)sizeof(path))
		return ENAMETOOLONG;
	d = opendir(path);
	if (!d)
		return errno;
	while ((e = readdir(d))) {
		if (p2p_hex_parse(id, sizeof(id), e->d_name, strlen(e->d_name)) ||
		    path_of(path, dir, sub, id))
			continue;
		if (!fn(id, path, arg))
			break;
	}
	closedir(d);
	return 0;
}

static bool count_one(const uint8_t id[ID_LEN], const char *path, void *arg)
{
	size_t *n = arg;

	(void)id;
	(void)path;
	(*n)++;
	return true;
}

static int full(const char *dir, const char *sub, size_t max)
{
	size_t n = 0;
	int err = scan(dir, sub, count_one, &n);

	return err ? err : n >= max ? ENOSPC : 0;
}

/* --- members -----------------------------------------------------------------------------------
 */

static int member_read(const char *path, const uint8_t id[ID_LEN], struct gw_member *out)
{
	struct gw_member m = {0};
	char text[TEXT_MAX], key[2 * P2P_PUBKEY_LEN + 1];
	size_t len;
	int err = gw_file_read(path, text, sizeof(text), &len);

	if (err)
		return err;
	if (sscanf(text, "key %66[0-9a-f]\nsince %" SCNu64 "\nuntil %" SCNu64 "\nrevoked %" SCNu64,
		   key, &m.since_ms, &m.until_ms, &m.revoked_ms) != 4 ||
	    p2p_hex_parse(m.pubkey, sizeof(m.pubkey), key, strlen(key)))
		return EINVAL;
	memcpy(m.hit.b, id, sizeof(m.hit.b));
	*out = m;
	return 0;
}

int gw_roster_member(const char *dir, const struct p2p_hit *hit, struct gw_member *out)
{
	char path[PATH_MAX];
	int err = path_of(path, dir, "members", hit->b);

	return err ? err : member_read(path, hit->b, out);
}

int gw_roster_put(const char *dir, const struct gw_member *m)
{
	char path[PATH_MAX], text[TEXT_MAX], key[2 * P2P_PUBKEY_LEN + 1];
	int n, err = sub_make(dir, "members");

	if (!err)
		err = path_of(path, dir, "members", m->hit.b);
	if (!err && access(path, F_OK))
		err = full(dir, "members", GW_ROSTER_MEMBERS_MAX);
	if (err)
		return err;
	p2p_hex_print(key, m->pubkey, sizeof(m->pubkey));
	n = snprintf(text, sizeof(text),
		     "key %s\nsince %" PRIu64 "\nuntil %" PRIu64 "\nrevoked %" PRIu64 "\n", key,
		     m->since_ms, m->until_ms, m->revoked_ms);
	return gw_file_replace(path, text, (size_t)n);
}

struct members {
	bool (*fn)(const struct gw_member *m, void *arg);
	void *arg;
};

static bool member_one(const uint8_t id[ID_LEN], const char *path, void *arg)
{
	struct members *s = arg;
	struct gw_member m;

	return member_read(path, id, &m) ? true : s->fn(&m, s->arg);
}

int gw_roster_scan(const char *dir, bool (*fn)(const struct gw_member *m, void *arg), void *arg)
{
	struct members s = {.fn = fn, .arg = arg};

	return scan(dir, "members", member_one, &s);
}

/* --- invitations -------------------------------------------------------------------------------
 */

struct invitation {
	uint64_t expiry_ms;
	bool used;
	struct p2p_hit hit;
};

static int id_of(const uint8_t secret[P2P_TOKEN_SECRET_LEN], uint8_t id[ID_LEN])
{
	static const char label[] = "p2psip-invitation"; /* its NUL too */
	uint8_t msg[sizeof(label) + P2P_TOKEN_SECRET_LEN], hash[32];
	int err;

	memcpy(msg, label, sizeof(label));
	memcpy(msg + sizeof(label), secret, P2P_TOKEN_SECRET_LEN);
	err = gw_crypto_sha256(msg, sizeof(msg), hash);
	memcpy(id, hash, ID_LEN);
	return err;
}

static int invitation_read(const char *path, struct invitation *out)
{
	struct invitation inv = {0};
	char text[TEXT_MAX], used[64];
	size_t len;
	int err = gw_file_read(path, text, sizeof(text), &len);

	if (err)
		return err;
	if (sscanf(text, "expires %" SCNu64 "\nused %63s", &inv.expiry_ms, used) != 2)
		return EINVAL;
	inv.used = strcmp(used, "no") != 0;
	if (inv.used && p2p_hit_parse(&inv.hit, used, strlen(used)))
		return EINVAL;
	*out = inv;
	return 0;
}

static int invitation_write(const char *path, const struct invitation *inv)
{
	char text[TEXT_MAX], used[P2P_HIT_TEXT_MAX] = "no";
	int n;

	if (inv->used)
		p2p_hit_print(&inv->hit, used);
	n = snprintf(text, sizeof(text), "expires %" PRIu64 "\nused %s\n", inv->expiry_ms, used);
	return gw_file_replace(path, text, (size_t)n);
}

static bool forget_one(const uint8_t id[ID_LEN], const char *path, void *arg)
{
	const uint64_t *now = arg;
	struct invitation inv;

	(void)id;
	if (!invitation_read(path, &inv) && inv.expiry_ms + FORGET_MS < *now)
		unlink(path);
	return true;
}

int gw_roster_invite(const char *dir, const uint8_t secret[P2P_TOKEN_SECRET_LEN],
		     uint64_t expiry_ms, uint64_t now_ms)
{
	struct invitation inv = {.expiry_ms = expiry_ms};
	char path[PATH_MAX];
	uint8_t id[ID_LEN];
	int err = sub_make(dir, "invitations");

	if (!err)
		err = scan(dir, "invitations", forget_one, &now_ms);
	if (!err)
		err = full(dir, "invitations", GW_ROSTER_INVITATIONS_MAX);
	if (!err)
		err = id_of(secret, id);
	if (!err)
		err = path_of(path, dir, "invitations", id);
	return err ? err : invitation_write(path, &inv);
}

int gw_roster_redeem(const char *dir, const uint8_t secret[P2P_TOKEN_SECRET_LEN],
		     const struct p2p_hit *hit, uint64_t now_ms)
{
	struct invitation inv;
	char path[PATH_MAX];
	uint8_t id[ID_LEN];
	int err = id_of(secret, id);

	if (!err)
		err = path_of(path, dir, "invitations", id);
	if (!err)
		err = invitation_read(path, &inv);
	if (err)
		return err;
	if (inv.used && p2p_hit_cmp(&inv.hit, hit))
		return EALREADY;
	if (inv.expiry_ms <= now_ms)
		return ESTALE;
	if (inv.used)
		return 0;
	inv.used = true;
	inv.hit = *hit;
	return invitation_write(path, &inv);
}
