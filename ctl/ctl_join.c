/* SPDX-License-Identifier: GPL-2.0-or-later */
/* join: asks the gateway that a token names to be let in, and writes what it answers. */
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/ctl.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/enrol/gateway_setup.h"
#include "lib/base/clock.h"
#include "lib/io/https_client.h"
#include "lib/proto/key.h"
#include "lib/proto/opp.h"
#include "lib/proto/token.h"

/* For each address, and how many are tried. */
#define ADDRESS_MS 4000
#define ADDRESSES_MAX 4
/* Our clock may be off by so much before we call a token too old ourselves. */
#define SKEW_S 120

struct join {
	struct event_base *base;
	struct https_client *client;
	struct gw_identity *identity;
	struct https_identity tls;
	struct p2p_token token;
	const char *state;
	unsigned int tried;
	bool over; /* answered, well or not: another address would say the same */
	bool joined;
	struct p2p_opp_enrolled enrolled;
	char host[64], address[P2P_TOKEN_ADDRESS_MAX]; /* where it was reached, and by what */
	uint16_t port;
	char err[512];
};

/* The key is what counts (https_client demands it); its certificate says nothing to us yet. */
static bool on_certificate(X509 *cert, const struct p2p_hit *hit, void *arg)
{
	(void)cert;
	(void)hit;
	(void)arg;
	return true;
}

static void on_answer(const struct https_answer *a, void *arg)
{
	struct join *j = arg;
	struct p2p_opp_error error;

	event_base_loopbreak(j->base);
	if (a->err == EPERM) {
		snprintf(j->err, sizeof(j->err),
			 "%s: who answers there is not the peer that invites (another key)",
			 j->address);
		return;
	}
	if (a->err) {
		snprintf(j->err, sizeof(j->err), "%s cannot be reached: %s", j->address, a->text);
		return;
	}
	j->over = true;
	if (a->status == 200) {
		j->joined = !p2p_opp_enrolled_decode(&j->enrolled, a->body, a->len);
		if (!j->joined)
			snprintf(j->err, sizeof(j->err), "%s answers what is not understood here",
				 j->address);
		return;
	}
	if (p2p_opp_error_decode(&error, a->body, a->len))
		snprintf(j->err, sizeof(j->err), "%s answers with status %d", j->address,
			 a->status);
	else if (error.code == P2P_OPP_E_OVERLAY)
		snprintf(j->err, sizeof(j->err), "the peer at %s is in another overlay now",
			 j->address);
	else
		snprintf(j->err, sizeof(j->err), "%s", error.reason);
}

static int ask(struct join *j, const struct sockaddr *addr)
{
	struct p2p_opp_path path = {.version = P2P_OPP_VERSION,
				    .overlay = j->token.overlay,
				    .resource = P2P_OPP_ENROLMENT};
	struct p2p_opp_enrol enrol = {.invited = true};
	char text[P2P_OPP_PATH_MAX], body[128];
	struct https_request *request;
	struct https_ask q = {.method = "POST", .path = text, .body = body};
	int err;

	p2p_opp_path_print(&path, text);
	memcpy(enrol.token, j->token.secret, sizeof(enrol.token));
	err = p2p_opp_enrol_encode(&enrol, body, sizeof(body), &q.len);
	if (!err)
		err = https_client_ask(j->client, &j->token.hit, addr, &q, ADDRESS_MS, on_answer, j,
				       &request);
	OPENSSL_cleanse(&enrol, sizeof(enrol));
	OPENSSL_cleanse(body, sizeof(body));
	if (err) {
		snprintf(j->err, sizeof(j->err), "%s: %s", j->address, strerror(err));
		return err;
	}
	event_base_dispatch(j->base);
	return 0;
}

/* All that one address of the token stands for. */
static void try_address(struct join *j, const char *address)
{
	static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	char host[P2P_TOKEN_ADDRESS_MAX], service[8];
	int err;

	p2p_token_address_split(address, host, &j->port);
	snprintf(service, sizeof(service), "%u", j->port);
	snprintf(j->address, sizeof(j->address), "%s", address);
	err = getaddrinfo(host, service, &hints, &list);
	if (err) {
		snprintf(j->err, sizeof(j->err), "%s: %s", address, gai_strerror(err));
		return;
	}
	for (struct addrinfo *a = list; a && !j->over && j->tried < ADDRESSES_MAX; a = a->ai_next) {
		j->tried++;
		if (!getnameinfo(a->ai_addr, a->ai_addrlen, j->host, sizeof(j->host), NULL, 0,
				 NI_NUMERICHOST))
			ask(j, a->ai_addr);
	}
	freeaddrinfo(list);
}

static int setup(struct join *j)
{
	struct https_client_config config = {
		.idle_max = 1,
		.connections_per_peer = 1,
		.requests_max = 1,
		.idle_s = 10,
		.body_max = P2P_OPP_BODY_MAX,
		.headers_max = 8192,
		.check = on_certificate,
	};
	char hit[P2P_HIT_TEXT_MAX];
	int err;

	p2p_hit_print(gw_identity_hit(j->identity), hit);
	j->tls.key = gw_identity_key(j->identity);
	j->tls.crypto = gw_identity_crypto(j->identity);
	err = gw_cert_make(&j->tls.cert, j->tls.key, hit);
	if (err)
		return err;
	config.identity = j->tls;
	j->base = event_base_new();
	return j->base ? https_client_new(&j->client, j->base, &config) : ENOMEM;
}

static int run(struct join *j)
{
	uint64_t now = p2p_clock_wall(&p2p_clock_system);
	int err;

	err = gw_setup_identity(j->state, &j->identity, j->err, sizeof(j->err));
	if (err)
		return err;
	if (j->token.expiry_s + SKEW_S < now / 1000) {
		snprintf(j->err, sizeof(j->err), "the invitation has expired");
		return ESTALE;
	}
	err = setup(j);
	if (err) {
		snprintf(j->err, sizeof(j->err), "%s", strerror(err));
		return err;
	}
	for (unsigned int i = 0; i < j->token.n_addresses && !j->over; i++)
		try_address(j, j->token.address[i]);
	if (!j->joined)
		return ECONNREFUSED;
	return gw_setup_join(j->state, j->identity, &j->token, &j->enrolled, j->host, j->port, now,
			     j->err, sizeof(j->err));
}

static void done(const struct ctl_options *o, const struct join *j)
{
	char overlay[2 * P2P_OVERLAY_ID_LEN + 1], hit[P2P_HIT_TEXT_MAX];

	p2p_overlay_id_print(&j->token.overlay, overlay);
	p2p_hit_print(gw_identity_hit(j->identity), hit);
	if (o->json)
		printf("{\"overlay\":\"%s\",\"hit\":\"%s\",\"state\":\"%s\"}\n", overlay, hit,
		       j->state);
	else
		printf("This peer, %s, is a member of overlay %s.\n"
		       "Next: start the gateway (systemctl enable --now p2psip-gateway).\n",
		       hit, overlay);
}

int ctl_join(const struct ctl_options *o, int argc, char **argv)
{
	struct join j = {.state = o->state ? o->state : CTL_STATE};
	int err = p2p_token_parse(&j.token, argv[0], strlen(argv[0]));

	(void)argc;
	if (err)
		return ctl_die("%s", err == EBADMSG ? "the token is damaged: was all of it pasted?"
				     : err == EPROTONOSUPPORT
					     ? "the token is of a later version than this program"
					     : "that is no token (p2psipctl invite makes one)");
	if (ctl_become_owner(j.state, NULL))
		return 1;
	signal(SIGPIPE, SIG_IGN);
	err = run(&j);
	if (!err)
		done(o, &j);
	https_client_free(j.client);
	if (j.base)
		event_base_free(j.base);
	X509_free(j.tls.cert);
	gw_identity_free(j.identity);
	OPENSSL_cleanse(&j.token, sizeof(j.token));
	OPENSSL_cleanse(&j.enrolled, sizeof(j.enrolled));
	return err ? ctl_die("%s", j.err) : 0;
}
