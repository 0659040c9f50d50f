/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is this user with you? */
#include "lib/proto/opp.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/opp_impl.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const char *const presences[] = {
	[P2P_OPP_NO] = "no",
	[P2P_OPP_YES] = "yes",
	[P2P_OPP_ORPHAN] = "orphan",
	[P2P_OPP_MOVED] = "moved",
};

const char *p2p_opp_presence_text(enum p2p_opp_presence presence)
{
	return (size_t)presence < N(presences) && presences[presence] ? presences[presence] : "?";
}

int p2p_opp_put_user(struct p2p_text *t, const struct p2p_opp_user *user)
{
	char hit[P2P_HIT_TEXT_MAX];

	if ((size_t)user->presence >= N(presences) || presences[user->presence] == NULL)
		return EINVAL;
	p2p_text_add(t, "\"user\":\"%s\"", presences[user->presence]);
	if (user->presence == P2P_OPP_MOVED) {
		p2p_hit_print(&user->hit, hit);
		p2p_text_add(t, ",\"hit\":\"%s\"", hit);
	}
	if (user->presence != P2P_OPP_YES || user->n_phones == 0)
		return 0;
	if (user->n_phones > P2P_OPP_LIST_MAX)
		return EINVAL;
	p2p_text_add(t, ",\"phones\":[");
	for (unsigned int i = 0; i < user->n_phones; i++) {
		if (user->phone[i].instance == 0 || user->phone[i].age_ms > P2P_OPP_AGE_MAX_MS)
			return EINVAL;
		p2p_text_add(t, "%s{\"instance\":\"%08" PRIx32 "\",\"age_ms\":%" PRIu64 "}",
			     i > 0 ? "," : "", user->phone[i].instance, user->phone[i].age_ms);
	}
	p2p_text_add(t, "]");
	return 0;
}

int p2p_opp_user_encode(const struct p2p_opp_user *user, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{");
	if (p2p_opp_put_user(&t, user) != 0)
		return EINVAL;
	p2p_text_add(&t, "}");
	return p2p_opp_put_end(&t, len);
}

static int get_phone(json_object *o, struct p2p_opp_user *user)
{
	json_object *v;
	uint8_t raw[4];
	int64_t age;

	if (!json_object_is_type(o, json_type_object) ||
	    p2p_opp_get_hex(o, "instance", raw, sizeof(raw)) != 0 ||
	    !json_object_object_get_ex(o, "age_ms", &v) || !json_object_is_type(v, json_type_int))
		return EBADMSG;
	age = json_object_get_int64(v);
	user->phone[user->n_phones].instance =
		(uint32_t)raw[0] << 24 | (uint32_t)raw[1] << 16 | (uint32_t)raw[2] << 8 | raw[3];
	if (age < 0 || age > P2P_OPP_AGE_MAX_MS || user->phone[user->n_phones].instance == 0)
		return EBADMSG;
	user->phone[user->n_phones++].age_ms = (uint64_t)age;
	return 0;
}

static int get_phones(json_object *o, struct p2p_opp_user *user)
{
	json_object *list;
	size_t n;
	int err;

	user->n_phones = 0;
	if (user->presence != P2P_OPP_YES)
		return 0;
	err = p2p_opp_find_list(o, "phones", P2P_OPP_LIST_MAX, &list, &n);
	for (size_t i = 0; err == 0 && i < n; i++)
		err = get_phone(json_object_array_get_idx(list, i), user);
	return err;
}

int p2p_opp_get_user(json_object *o, struct p2p_opp_user *user)
{
	int presence, err = p2p_opp_get_word(o, "user", presences, N(presences), &presence);

	if (err == 0) {
		user->presence = (enum p2p_opp_presence)presence;
		if (user->presence == P2P_OPP_MOVED)
			err = p2p_opp_get_hit(o, &user->hit);
	}
	return err != 0 ? err : get_phones(o, user);
}

int p2p_opp_user_decode(struct p2p_opp_user *out, const char *text, size_t len)
{
	struct p2p_opp_user user = {0};
	json_object *o;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = p2p_opp_get_user(o, &user);
	if (err == 0)
		*out = user;
	json_object_put(o);
	return err;
}

/* --- many at once ------------------------------------------------------------------------------
 */

int p2p_opp_keys_encode(const struct p2p_opp_keys *keys, char *buf, size_t cap, size_t *len)
{
	char hex[2 * P2P_KEY_LEN + 1];
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	if (keys->n == 0 || keys->n > P2P_OPP_USERS_MAX)
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"keys\":[");
	for (unsigned int i = 0; i < keys->n; i++) {
		p2p_hex_print(hex, keys->key[i].b, sizeof(keys->key[i].b));
		p2p_text_add(&t, "%s\"%s\"", i > 0 ? "," : "", hex);
	}
	p2p_text_add(&t, "]}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_keys_decode(struct p2p_opp_keys *out, const char *text, size_t len)
{
	struct p2p_opp_keys keys = {0};
	json_object *o, *list;
	size_t n = 0;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = p2p_opp_get_list(o, "keys", P2P_OPP_USERS_MAX, &list, &n);
	if (err == 0 && n == 0)
		err = EBADMSG;
	for (size_t i = 0; err == 0 && i < n; i++) {
		const char *hex =
			p2p_opp_string_of(json_object_array_get_idx(list, i), 2 * P2P_KEY_LEN + 1);

		if (hex == NULL ||
		    p2p_hex_parse(keys.key[i].b, sizeof(keys.key[i].b), hex, strlen(hex)) != 0)
			err = EBADMSG;
	}
	keys.n = (uint8_t)n;
	if (err == 0)
		*out = keys;
	json_object_put(o);
	return err;
}

int p2p_opp_users_encode(const struct p2p_opp_users *users, char *buf, size_t cap, size_t *len)
{
	struct p2p_text t;

	if (cap == 0)
		return EMSGSIZE;
	if (users->n > P2P_OPP_USERS_MAX)
		return EINVAL;
	p2p_text_init(&t, buf, cap);
	p2p_text_add(&t, "{\"users\":[");
	for (unsigned int i = 0; i < users->n; i++) {
		struct p2p_opp_user user = {.presence = users->a[i].presence,
					    .hit = users->a[i].hit};

		p2p_text_add(&t, i > 0 ? ",{" : "{");
		if (users->a[i].known && p2p_opp_put_user(&t, &user) != 0)
			return EINVAL;
		p2p_text_add(&t, "}");
	}
	p2p_text_add(&t, "]}");
	return p2p_opp_put_end(&t, len);
}

int p2p_opp_users_decode(struct p2p_opp_users *out, const char *text, size_t len)
{
	struct p2p_opp_users users = {0};
	json_object *o, *list;
	size_t n = 0;
	int err = p2p_opp_body_parse(text, len, &o);

	if (err != 0)
		return err;
	err = p2p_opp_get_list(o, "users", P2P_OPP_USERS_MAX, &list, &n);
	for (size_t i = 0; err == 0 && i < n; i++) {
		json_object *one = json_object_array_get_idx(list, i);
		struct p2p_opp_user user = {0};

		if (!json_object_is_type(one, json_type_object)) {
			err = EBADMSG;
		} else if (json_object_object_get_ex(one, "user", NULL)) {
			err = p2p_opp_get_user(one, &user);
			users.a[i].known = true;
			users.a[i].presence = user.presence;
			users.a[i].hit = user.hit;
		}
	}
	users.n = (uint8_t)n;
	if (err == 0)
		*out = users;
	json_object_put(o);
	return err;
}
