/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The modules' commands about the users of this server's Kamailio: PUBLISH, WITHDRAW, CONFIRM,
 * SYNCED and SERVES. */
#include "config.h"
#include "dht-gateway/gateway_resp_impl.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/location/gateway_users.h"
#include "lib/base/bytes.h"

/* PUBLISH name seq [instance-hash]... */
void gw_resp_on_publish(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	uint32_t instances[GW_RESP_ARGS_MAX];
	uint64_t seq, seen = 0;
	size_t n = 0;
	int err;

	if (!gw_resp_arg_name(req, &argv[1]) || !gw_resp_arg_u64(req, &argv[2], "seq", &seq))
		return;
	for (int i = 3; i < argc && n < GW_RESP_ARGS_MAX; i++) {
		uint8_t raw[4];

		if (p2p_hex_parse(raw, sizeof(raw), argv[i].s, argv[i].len) || !p2p_be32(raw)) {
			resp_reply_error(req, "BADARG",
					 "an instance is 8 hexadecimal digits, not all 0");
			return;
		}
		instances[n++] = p2p_be32(raw);
	}
	err = gw_users_publish(r->gw->users, argv[1].s, argv[1].len, gw_resp_kamailio(req), seq,
			       instances, n, &seen);
	switch (err) {
	case 0:
	case EALREADY:
		resp_reply_ok(req);
		break;
	case ESTALE:
		resp_reply_error(req, "STALE", "%" PRIu64, seen);
		break;
	case ENOSPC:
		resp_reply_error(req, "BUSY", "no room for more users ([limits] users_max)");
		break;
	default:
		resp_reply_error(req, "INTERNAL", "%s", strerror(err));
	}
}

/* WITHDRAW name seq */
void gw_resp_on_withdraw(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	uint64_t seq, seen = 0;
	int err;

	(void)argc;
	if (!gw_resp_arg_name(req, &argv[1]) || !gw_resp_arg_u64(req, &argv[2], "seq", &seq))
		return;
	err = gw_users_withdraw(r->gw->users, argv[1].s, argv[1].len, gw_resp_kamailio(req), seq,
				&seen);
	if (err == ESTALE)
		resp_reply_error(req, "STALE", "%" PRIu64, seen);
	else if (err && err != ENOENT && err != EBUSY)
		resp_reply_error(req, "INTERNAL", "%s", strerror(err));
	else
		resp_reply_ok(req); /* unknown, or another Kamailio's by now: not this one's */
}

/* Where those who wait are told: a channel that is theirs alone. */
#define CONFIRM_CHANNEL "confirms:"
#define CONFIRM_CHANNEL_MAX 64

struct confirm {
	struct gw_resp *r;
	struct resp_request *req; /* NULL: told on the channel */
	uint64_t seq;
	char name[P2P_NAME_MAX + 1];
	char channel[CONFIRM_CHANNEL_MAX + 1];
};

static void on_confirmed(int err, void *arg)
{
	struct confirm *c = arg;
	char text[24 + P2P_NAME_MAX];
	int n;

	if (c->req && !err) {
		resp_reply_ok(c->req);
	} else if (c->req && err == EBUSY) {
		resp_reply_error(c->req, "BUSY", "too many wait for a confirmation");
	} else if (c->req) {
		resp_reply_error(c->req, "TIMEOUT", "not confirmed in time");
	} else if (!err) {
		n = snprintf(text, sizeof(text), "%" PRIu64 " %s", c->seq, c->name);
		resp_server_publish(c->r->server, c->channel, text, (size_t)n);
	}
	free(c);
}

/* CONFIRM name seq deadline_ms [channel] */
void gw_resp_on_confirm(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	const size_t prefix = strlen(CONFIRM_CHANNEL);
	struct gw_resp *r = arg;
	struct confirm *c;
	uint64_t ms, seq;

	if (!gw_resp_arg_name(req, &argv[1]) || !gw_resp_arg_u64(req, &argv[2], "seq", &seq) ||
	    !gw_resp_arg_deadline(req, &argv[3], &ms))
		return;
	if (argc > 4 &&
	    (argv[4].len <= prefix || argv[4].len > CONFIRM_CHANNEL_MAX ||
	     memcmp(argv[4].s, CONFIRM_CHANNEL, prefix) || memchr(argv[4].s, 0, argv[4].len))) {
		resp_reply_error(req, "BADARG", "the channel is 'confirms:' and a word of yours");
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		resp_reply_error(req, "INTERNAL", "no memory");
		return;
	}
	c->r = r;
	c->seq = seq;
	memcpy(c->name, argv[1].s, argv[1].len);
	if (argc > 4) {
		memcpy(c->channel, argv[4].s, argv[4].len);
		resp_reply_ok(req);
	} else {
		c->req = req;
	}
	gw_users_confirm(r->gw->users, argv[1].s, argv[1].len, ms, on_confirmed, c);
}

/* SYNCED n */
void gw_resp_on_synced(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;
	uint64_t n;
	size_t orphans;

	(void)argc;
	if (!gw_resp_arg_u64(req, &argv[1], "n", &n))
		return;
	orphans = gw_users_synced(r->gw->users, gw_resp_kamailio(req));
	p2p_log(r->gw->log, P2P_LOG_INFO,
		"Kamailio instance %016" PRIx64 " has named its %" PRIu64 " users; %zu orphans",
		gw_resp_kamailio(req), n, orphans);
	resp_reply_int(req, (int64_t)orphans);
}

/* SERVES name */
void gw_resp_on_serves(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct gw_resp *r = arg;

	(void)argc;
	if (gw_resp_arg_name(req, &argv[1]))
		resp_reply_int(req, gw_users_serves(r->gw->users, argv[1].s, argv[1].len));
}
