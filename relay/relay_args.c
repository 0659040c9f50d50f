/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "relay/relay_args.h"

/* RFC 3261: Call-IDs and tags are of visible ASCII characters. */
static bool plain(const struct resp_arg *a, size_t max)
{
	size_t i;

	if (a->len == 0 || a->len > max)
		return false;
	for (i = 0; i < a->len; i++)
		if (a->s[i] <= 0x20 || a->s[i] >= 0x7f)
			return false;
	return true;
}

static bool handle_ok(const struct resp_arg *a)
{
	return a->len == RELAY_HANDLE_LEN && strspn(a->s, "0123456789abcdef") == RELAY_HANDLE_LEN;
}

static int side(const struct resp_arg *a, bool *overlay)
{
	if (strcmp(a->s, "ua") == 0)
		*overlay = false;
	else if (strcmp(a->s, "ovl") == 0)
		*overlay = true;
	else
		return EINVAL;
	return 0;
}

static int ice(const struct resp_arg *a, const char **ng)
{
	if (strcmp(a->s, "remove") == 0)
		*ng = "remove";
	else if (strcmp(a->s, "force") == 0)
		*ng = "force";
	else if (strcmp(a->s, "keep") == 0)
		*ng = NULL;
	else
		return EINVAL;
	return 0;
}

static int transport(const struct resp_arg *a, enum ng_transport *t)
{
	static const char *const names[] = {
		[NG_TRANSPORT_KEEP] = "keep",	   [NG_TRANSPORT_RTP] = "rtp",
		[NG_TRANSPORT_SDES] = "srtp-sdes", [NG_TRANSPORT_DTLS] = "srtp-dtls",
		[NG_TRANSPORT_OSRTP] = "osrtp",
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(a->s, names[i]) == 0) {
			*t = (enum ng_transport)i;
			return 0;
		}
	}
	return EINVAL;
}

static int family(const struct resp_arg *a, enum relay_family *f)
{
	if (strcmp(a->s, "auto") == 0)
		*f = RELAY_FAMILY_AUTO;
	else if (strcmp(a->s, "ipv4") == 0)
		*f = RELAY_FAMILY_IPV4;
	else if (strcmp(a->s, "ipv6") == 0)
		*f = RELAY_FAMILY_IPV6;
	else
		return EINVAL;
	return 0;
}

/* Does a media section name a profile with feedback: m=audio 49170 RTP/SAVPF 0? */
static bool feedback(const char *sdp, size_t len)
{
	const char *p, *end = sdp + len, *e, *word;

	for (p = sdp; p < end; p = e + 1) {
		e = memchr(p, '\n', (size_t)(end - p));
		if (e == NULL)
			e = end;
		if (e - p < 2 || p[0] != 'm' || p[1] != '=')
			continue;
		word = memmem(p, (size_t)(e - p), "AVPF", 4);
		if (word != NULL && word + 4 < e && word[4] == ' ')
			return true;
	}
	return false;
}

static int flags(struct relay_args *args, const struct resp_arg *a)
{
	char *save, *word;

	if (a->len >= sizeof(args->flag_text) || !plain(a, a->len))
		return EINVAL;
	memcpy(args->flag_text, a->s, a->len + 1);
	for (word = strtok_r(args->flag_text, ",", &save); word != NULL;
	     word = strtok_r(NULL, ",", &save)) {
		if (args->n_flags == RELAY_FLAGS_MAX)
			return EINVAL;
		args->flags[args->n_flags++] = word;
	}
	return 0;
}

/* What has been given, and once only. */
enum key { HANDLE, CALLID, FROMTAG, TOTAG, FROM, TO, ICE, FLAGS, TRANSPORT, FAMILY, SDP, KEYS };

static const char *const key_names[KEYS] = {"handle", "callid", "fromtag",   "totag",  "from", "to",
					    "ice",    "flags",	"transport", "family", "sdp"};

int relay_args_parse(struct relay_args *a, const char *prefix, int argc,
		     const struct resp_arg *argv, unsigned int need, const char **err)
{
	const struct resp_arg *v[KEYS] = {NULL};
	int i, k;

	memset(a, 0, sizeof(*a));
	if (argc % 2 == 0) {
		*err = "a keyword without a value";
		return EINVAL;
	}
	for (i = 1; i < argc; i += 2) {
		for (k = 0; k < KEYS && strcasecmp(argv[i].s, key_names[k]) != 0; k++)
			;
		if (k == KEYS || v[k] != NULL) {
			*err = k == KEYS ? "unknown keyword" : "keyword given twice";
			return EINVAL;
		}
		v[k] = &argv[i + 1];
	}
	*err = NULL;
	if (v[HANDLE] == NULL || !handle_ok(v[HANDLE]))
		*err = "handle must be 16 hexadecimal digits, lower case";
	else if (v[CALLID] == NULL || !plain(v[CALLID], RELAY_CALLID_MAX))
		*err = "callid is missing, too long, or not of visible ASCII characters";
	else if (v[FROMTAG] != NULL && !plain(v[FROMTAG], RELAY_TAG_MAX))
		*err = "fromtag is empty, too long, or not of visible ASCII characters";
	else if (v[TOTAG] != NULL && !plain(v[TOTAG], RELAY_TAG_MAX))
		*err = "totag is empty, too long, or not of visible ASCII characters";
	else if (v[FROM] != NULL && side(v[FROM], &a->from_overlay) != 0)
		*err = "from must be ua or ovl";
	else if (v[TO] != NULL && side(v[TO], &a->to_overlay) != 0)
		*err = "to must be ua or ovl";
	else if (v[ICE] != NULL && ice(v[ICE], &a->ice) != 0)
		*err = "ice must be remove, force or keep";
	else if (v[FLAGS] != NULL && flags(a, v[FLAGS]) != 0)
		*err = "flags are too many or too long";
	else if (v[TRANSPORT] != NULL && transport(v[TRANSPORT], &a->transport) != 0)
		*err = "transport must be rtp, srtp-sdes, srtp-dtls, osrtp or keep";
	else if (v[FAMILY] != NULL && family(v[FAMILY], &a->family) != 0)
		*err = "family must be ipv4, ipv6 or auto";
	else if (v[SDP] != NULL && (v[SDP]->len == 0 || v[SDP]->len > RELAY_SDP_MAX))
		*err = "sdp is empty or longer than 60 KiB";
	else if (v[SDP] != NULL && memchr(v[SDP]->s, '\0', v[SDP]->len) != NULL)
		*err = "sdp has a NUL in it";
	else if ((need & RELAY_NEED_SDP) &&
		 (v[SDP] == NULL || v[FROM] == NULL || v[TO] == NULL || v[FROMTAG] == NULL))
		*err = "fromtag, from, to and sdp are needed";
	else if ((need & RELAY_NEED_TO_TAG) && v[TOTAG] == NULL)
		*err = "totag is needed";
	if (*err != NULL)
		return EINVAL;
	if (v[ICE] == NULL)
		a->ice = "remove";
	a->from_tag = v[FROMTAG] != NULL ? v[FROMTAG]->s : NULL;
	a->to_tag = v[TOTAG] != NULL ? v[TOTAG]->s : NULL;
	if (v[SDP] != NULL) {
		a->sdp = v[SDP]->s;
		a->sdp_len = v[SDP]->len;
		a->feedback = feedback(a->sdp, a->sdp_len);
	}
	/* the handle first: two calls never have the same beginning */
	snprintf(a->id, sizeof(a->id), "%s-%s-%s", prefix, v[HANDLE]->s, v[CALLID]->s);
	return 0;
}
