/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket that p2p_media speaks to. */
#include <stdlib.h>
#include <string.h>
#include "relay/relay_args.h"
#include "relay/relay_priv.h"

#define PROTOCOL_VERSION 1
#define MAX_BULK (64 * 1024)
#define MAX_ARGS 64
#define MAX_OUTPUT (1024 * 1024)
#define INSTANCE_MAX 64

/* A request on its way to rtpengine. */
struct pending {
	struct relay *relay;
	struct resp_request *req;
	bool change; /* it may make a call */
	char id[RELAY_CALL_ID_MAX + 1];
};

static void on_result(enum relay_code code, const char *text, const char *s, size_t len,
		      bool created, void *arg)
{
	struct pending *p = arg;

	/* Kamailio gave up waiting or died: nobody will use or end this call */
	if (code == RELAY_OK && created && p->change && resp_request_client(p->req) == NULL)
		relay_media_delete(p->relay, p->id);
	if (code == RELAY_OK)
		resp_reply_bulk(p->req, s, len);
	else
		resp_reply_error(p->req, relay_code_name(code), "%s", text);
	free(p);
}

static void bad_argument(struct resp_request *req, const char *why)
{
	resp_reply_error(req, "BADARG", "%s", why);
}

static struct pending *pending_new(struct relay *relay, struct resp_request *req, const char *id)
{
	struct pending *p = malloc(sizeof(*p));

	if (p == NULL) {
		resp_reply_error(req, "INTERNAL", "out of memory");
		return NULL;
	}
	p->relay = relay;
	p->req = req;
	p->change = false;
	strcpy(p->id, id);
	return p;
}

/* The operator's word comes before the caller's. */
static const char *family(int setting, enum relay_family asked)
{
	enum relay_family f = setting != RELAY_FAMILY_AUTO ? (enum relay_family)setting : asked;

	return f == RELAY_FAMILY_IPV4 ? "IP4" : f == RELAY_FAMILY_IPV6 ? "IP6" : NULL;
}

static void on_offer_or_answer(struct resp_request *req, int argc, const struct resp_arg *argv,
			       struct relay *relay, bool answer)
{
	const struct relay_settings *s = relay->settings;
	struct resp_client *client = resp_request_client(req);
	struct relay_args a;
	struct ng_offer o;
	struct pending *p;
	const char *why;

	if (relay_args_parse(&a, s->prefix, argc, argv,
			     RELAY_NEED_SDP | (answer ? RELAY_NEED_TO_TAG : 0), &why) != 0) {
		bad_argument(req, why);
		return;
	}
	p = pending_new(relay, req, a.id);
	if (p == NULL)
		return;
	p->change = true;
	o = (struct ng_offer){
		.answer = answer,
		.transport = a.transport,
		/* a phone that did not ask for it may not know the profile; DTLS phones do */
		.feedback = a.to_overlay ? a.feedback : a.transport == NG_TRANSPORT_DTLS,
		.call_id = a.id,
		.from_tag = a.from_tag,
		.to_tag = a.to_tag,
		.from_if = a.from_overlay ? s->overlay_interface : s->ua_interface,
		.to_if = a.to_overlay ? s->overlay_interface : s->ua_interface,
		.to_family = family(a.to_overlay ? s->overlay_family : s->ua_family, a.family),
		.ice = a.ice,
		.flags = a.flags,
		.n_flags = a.n_flags,
		.sdp = a.sdp,
		.sdp_len = a.sdp_len,
	};
	relay_media_offer(relay, &o, client != NULL ? resp_client_data(client) : NULL, on_result,
			  p);
}

static void on_offer(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	on_offer_or_answer(req, argc, argv, arg, false);
}

static void on_answer(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	on_offer_or_answer(req, argc, argv, arg, true);
}

static void on_delete(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct relay *relay = arg;
	struct relay_args a;
	const char *why;

	if (relay_args_parse(&a, relay->settings->prefix, argc, argv, 0, &why) != 0) {
		bad_argument(req, why);
		return;
	}
	/* answered at once: from here on it is the relay's to see to, and no SIP worker waits */
	resp_reply_int(req, relay_media_delete(relay, a.id) ? 1 : 0);
}

static void on_query(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct relay *relay = arg;
	struct relay_args a;
	struct pending *p;
	const char *why;

	if (relay_args_parse(&a, relay->settings->prefix, argc, argv, 0, &why) != 0) {
		bad_argument(req, why);
		return;
	}
	p = pending_new(relay, req, a.id);
	if (p != NULL)
		relay_media_query(relay, a.id, on_result, p);
}

static void on_handshake(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	struct resp_client *client = resp_request_client(req);
	struct relay *relay = arg;
	struct relay_owner *owner;

	if (argc < 4 || argv[3].len == 0 || argv[3].len > INSTANCE_MAX) {
		bad_argument(req, "HANDSHAKE version client instance");
		return;
	}
	if (client != NULL) {
		owner = resp_client_data(client);
		if (owner != NULL)
			relay_owner_leave(relay, owner);
		owner = relay_owner_join(relay, argv[3].s, argv[3].len);
		resp_client_set_data(client, owner);
		if (owner == NULL) {
			resp_reply_error(req, "INTERNAL", "out of memory");
			return;
		}
	}
	resp_reply_array(req, 4);
	resp_reply_str(req, "server");
	resp_reply_str(req, "p2psip-relay");
	resp_reply_str(req, "version");
	resp_reply_u64(req, PROTOCOL_VERSION);
}

static void on_closed(struct resp_client *client, void *arg)
{
	struct relay_owner *owner = resp_client_data(client);

	if (owner != NULL)
		relay_owner_leave(arg, owner);
}

static const struct resp_command commands[] = {
	{"OFFER", 13, 23, true, on_offer, "Anchor an offer: the new SDP"},
	{"ANSWER", 15, 23, true, on_answer, "Anchor an answer: the new SDP"},
	{"DELETE", 5, 9, true, on_delete, "Release a call: 1 if it was known"},
	{"QUERY", 5, 9, true, on_query, "What rtpengine says about a call, JSON"},
	{0},
};

int relay_commands_start(struct relay *relay)
{
	const struct relay_settings *s = relay->settings;
	struct resp_server_config config = {
		.path = s->socket,
		.mode = s->socket_mode_bits,
		.group = s->socket_group[0] != '\0' ? s->socket_group : NULL,
		.max_bulk = MAX_BULK,
		.max_args = MAX_ARGS,
		.max_clients = (int)s->max_clients,
		.max_output = MAX_OUTPUT,
		.max_pending = (int)s->max_pending,
		.commands = commands,
		.arg = relay,
		.closed = on_closed,
		.version = PROTOCOL_VERSION,
		.handshake = on_handshake,
	};
	int err = resp_server_new(&relay->server, relay->base, &config);

	if (err != 0)
		p2p_log(relay->log, P2P_LOG_ERR, "socket %s: %s", s->socket, strerror(err));
	return err;
}
