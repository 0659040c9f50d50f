/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths of resources. */
#include "lib/proto/opp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/proto/key.h"
#include "lib/proto/opp_impl.h"
#include "lib/proto/revocation.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* Resources of one or two words and nothing else. */
static const struct {
	enum p2p_opp_resource resource;
	const char *word, *second;
} plain[] = {
	{P2P_OPP_RECORDS, "records", ""},    {P2P_OPP_QUERY, "records", "query"},
	{P2P_OPP_RANGE, "records", "range"}, {P2P_OPP_CHECK, "records", "check"},
	{P2P_OPP_CHANGES, "changes", ""},    {P2P_OPP_USERS, "users", "query"},
};

static bool plain_print(const struct p2p_opp_path *path, const char *overlay,
			char text[P2P_OPP_PATH_MAX])
{
	size_t i;

	for (i = 0; i < N(plain); i++) {
		if (plain[i].resource == path->resource) {
			snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/%s%s%s", path->version, overlay,
				 plain[i].word, *plain[i].second ? "/" : "", plain[i].second);
			return true;
		}
	}
	return false;
}

void p2p_opp_path_print(const struct p2p_opp_path *path, char text[P2P_OPP_PATH_MAX])
{
	char overlay[2 * P2P_OVERLAY_ID_LEN + 1], key[2 * P2P_KEY_LEN + 1];

	p2p_overlay_id_print(&path->overlay, overlay);
	if (plain_print(path, overlay, text))
		return;
	if (path->resource == P2P_OPP_USER) {
		p2p_hex_print(key, path->key.b, sizeof(path->key.b));
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/users/%s", path->version, overlay, key);
	} else if (path->resource == P2P_OPP_SESSION) {
		p2p_hex_print(key, path->session, sizeof(path->session));
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/sessions/%s", path->version, overlay,
			 key);
	} else if (path->resource == P2P_OPP_REVOCATIONS && path->number > 0) {
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/revocations/%" PRIu32, path->version,
			 overlay, path->number);
	} else if (path->resource == P2P_OPP_REVOCATIONS) {
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/revocations", path->version, overlay);
	} else if (path->resource == P2P_OPP_ENROLMENT) {
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/enrolment", path->version, overlay);
	} else if (path->resource == P2P_OPP_SECRET) {
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/secret", path->version, overlay);
	} else if (path->resource == P2P_OPP_MEMBERS) {
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/members", path->version, overlay);
	} else
		snprintf(text, P2P_OPP_PATH_MAX, "/v%u/%s/peer", path->version, overlay);
}

/* The part up to the next slash or the end; *s goes behind the slash. */
static size_t part(const char **s, const char *end, const char **begin)
{
	const char *p = *s;
	size_t n;

	*begin = p;
	while (p < end && *p != '/')
		p++;
	n = (size_t)(p - *begin);
	*s = p < end ? p + 1 : p;
	return n;
}

static int is(const char *s, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(s, word, n) == 0;
}

static int all_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;

	while (n-- > 0)
		any |= *p++;
	return any == 0;
}

static enum p2p_opp_resource plain_find(const char *word, size_t n, const char **s, const char *end)
{
	const char *second = *s, *p;
	size_t i, m = part(&second, end, &p);

	for (i = 0; i < N(plain); i++) {
		if (is(word, n, plain[i].word) && is(p, m, plain[i].second)) {
			*s = second;
			return plain[i].resource;
		}
	}
	return 0;
}

int p2p_opp_path_parse(struct p2p_opp_path *out, const char *text, size_t len)
{
	struct p2p_opp_path path = {0};
	const char *s = text, *end = text + len, *p;
	uint64_t version;
	size_t n;

	if (len == 0 || len >= P2P_OPP_PATH_MAX || *s++ != '/' || end[-1] == '/')
		return EINVAL;
	n = part(&s, end, &p);
	if (n < 2 || p[0] != 'v' || p2p_u64_parse(&version, p + 1, n - 1) != 0 || version == 0 ||
	    version > P2P_OPP_VERSION_NUMBER_MAX)
		return EINVAL;
	if (version != P2P_OPP_VERSION) {
		out->version = (unsigned int)version;
		return EPROTONOSUPPORT;
	}
	path.version = (unsigned int)version;
	n = part(&s, end, &p);
	if (p2p_overlay_id_parse(&path.overlay, p, n) != 0)
		return EINVAL;
	n = part(&s, end, &p);
	if (is(p, n, "peer")) {
		path.resource = P2P_OPP_PEER;
	} else if (is(p, n, "users")) {
		path.resource = P2P_OPP_USER;
		n = part(&s, end, &p);
		if (is(p, n, "query"))
			path.resource = P2P_OPP_USERS;
		else if (p2p_hex_parse(path.key.b, sizeof(path.key.b), p, n) != 0)
			return EINVAL;
	} else if (is(p, n, "sessions")) {
		path.resource = P2P_OPP_SESSION;
		n = part(&s, end, &p);
		if (p2p_hex_parse(path.session, sizeof(path.session), p, n) != 0 ||
		    all_zero(path.session, sizeof(path.session)))
			return EINVAL;
	} else if (is(p, n, "revocations")) {
		uint64_t number;

		path.resource = P2P_OPP_REVOCATIONS;
		if (s != end) {
			n = part(&s, end, &p);
			if (p2p_u64_parse(&number, p, n) != 0 || number == 0 ||
			    number > P2P_REVOCATIONS_MAX)
				return EINVAL;
			path.number = (uint32_t)number;
		}
	} else if (is(p, n, "enrolment")) {
		path.resource = P2P_OPP_ENROLMENT;
	} else if (is(p, n, "secret")) {
		path.resource = P2P_OPP_SECRET;
	} else if (is(p, n, "members")) {
		path.resource = P2P_OPP_MEMBERS;
	} else {
		path.resource = plain_find(p, n, &s, end);
		if (path.resource == 0)
			return EINVAL;
	}
	if (s != end)
		return EINVAL;
	*out = path;
	return 0;
}
