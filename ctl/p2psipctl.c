/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2psipctl: the operator's command for what is no SIP. */
#include "config.h"
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "ctl/ctl.h"
#include "ctl/ctl_reply.h"
#include "dht-gateway/keys/gateway_identity.h"
#include "dht-gateway/keys/gateway_secret.h"

#define RUN CTL_RUN
#define STATE CTL_STATE
#define TIMEOUT_MS 6000
#define PAGE "500"

struct command {
	const char *words; /* "identity new" */
	const char *args;  /* for the help */
	int argc_min, argc_max;
	int (*run)(const struct ctl_options *o, int argc, char **argv);
	const char *help;
};

int ctl_die(const char *fmt, ...)
{
	va_list ap;

	fputs("p2psipctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

/* --- keys and secrets ---------------------------------------------------------------------------
 */

static int identity_new(const struct ctl_options *o, int argc, char **argv)
{
	const char *path = argc ? argv[0] : STATE "/identity.pem";
	struct gw_identity *id = NULL;
	char err[512], hit[P2P_HIT_TEXT_MAX];

	(void)o;
	if (gw_identity_create(path, err, sizeof(err)) ||
	    gw_identity_load(&id, path, err, sizeof(err)))
		return ctl_die("%s", err);
	p2p_hit_print(gw_identity_hit(id), hit);
	printf("%s\n", hit);
	gw_identity_free(id);
	return 0;
}

static int identity_show(const struct ctl_options *o, int argc, char **argv)
{
	const char *path = argc ? argv[0] : STATE "/identity.pem";
	struct gw_identity *id = NULL;
	char err[512], hit[P2P_HIT_TEXT_MAX];

	if (gw_identity_load(&id, path, err, sizeof(err)))
		return ctl_die("%s", err);
	p2p_hit_print(gw_identity_hit(id), hit);
	if (o->json)
		printf("{\"hit\":\"%s\"}\n", hit);
	else
		printf("%s\n", hit);
	gw_identity_free(id);
	return 0;
}

static int secret_new(const struct ctl_options *o, int argc, char **argv)
{
	const char *path = argc ? argv[0] : STATE "/overlay.secret";
	char err[512];

	(void)o;
	if (gw_secret_create(path, err, sizeof(err)))
		return ctl_die("%s", err);
	fprintf(stderr,
		"%s: a new overlay secret; copy it to all peers of the overlay, mode 0600\n", path);
	return 0;
}

/* --- questions to the daemons ----------------------------------------------------------------- */

int ctl_ask(const struct ctl_options *o, const char *path, struct ctl_conn **cp)
{
	char err[256];

	if (!ctl_connect(cp, path, o->timeout_ms, err, sizeof(err)))
		return 0;
	return ctl_die("%s", err);
}

/* One command, its answer as pairs. */
static int pairs(const struct ctl_options *o, const char *path, const char *command)
{
	const char *argv[] = {command};
	struct ctl_conn *c;
	char err[256];
	int ret;

	if (ctl_ask(o, path, &c))
		return 1;
	ret = ctl_pairs(c, 1, argv, o->json, stdout, err, sizeof(err));
	ctl_close(c);
	return ret ? ctl_die("%s", err) : 0;
}

static int status(const struct ctl_options *o, int argc, char **argv)
{
	static const char *const names[] = {"gateway", "relay"};
	const char *paths[] = {o->gateway, o->relay};
	const char *command[] = {"STATUS"};
	int ret = 0;

	(void)argc;
	(void)argv;
	if (o->json)
		putchar('{');
	for (int i = 0; i < 2; i++) {
		struct ctl_conn *c = NULL;
		char err[256];

		if (o->json)
			printf("%s\"%s\":", i ? "," : "", names[i]);
		else
			printf("%s%s (%s)\n", i ? "\n" : "", names[i], paths[i]);
		fflush(stdout);
		if (ctl_connect(&c, paths[i], o->timeout_ms, err, sizeof(err)) ||
		    ctl_pairs(c, 1, command, o->json, stdout, err, sizeof(err))) {
			/* a peer without media anchoring has no relay: what is there is shown */
			if (o->json)
				ctl_json_error(stdout, err);
			else
				printf("  not there: %s\n", err);
			ret = i == 0 ? 1 : ret;
		}
		ctl_close(c);
	}
	if (o->json)
		puts("}");
	return ret;
}

/* A paged list, all of it. */
int ctl_show_list(const struct ctl_options *o, const char *path, const char *command)
{
	struct ctl_conn *c;
	char err[256];
	int ret;

	if (ctl_ask(o, path, &c))
		return 1;
	ret = ctl_list(c, command, PAGE, o->json, stdout, err, sizeof(err));
	ctl_close(c);
	return ret ? ctl_die("%s", err) : 0;
}

static int users(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return ctl_show_list(o, o->gateway, "USERS");
}

static int records(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return ctl_show_list(o, o->gateway, "RECORDS");
}

static int peers(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return ctl_show_list(o, o->gateway, "PEERS");
}

static int sessions(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return ctl_show_list(o, o->gateway, "SESSIONS");
}

static int calls(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return ctl_show_list(o, o->relay, "CALLS");
}

static int lookup(const struct ctl_options *o, int argc, char **argv)
{
	const char *command[] = {"LOOKUP", argv[0]};
	struct ctl_conn *c;
	char err[256];
	int ret;

	(void)argc;
	if (ctl_ask(o, o->gateway, &c))
		return 1;
	ret = ctl_rows(c, 2, command, o->json, stdout, err, sizeof(err));
	ctl_close(c);
	return ret ? ctl_die("%s: %s", argv[0], err) : 0;
}

static int rtpengines(const struct ctl_options *o, int argc, char **argv)
{
	const char *command[] = {"INSTANCES"};
	struct ctl_conn *c;
	char err[256];
	int ret;

	(void)argc;
	(void)argv;
	if (ctl_ask(o, o->relay, &c))
		return 1;
	ret = ctl_rows(c, 1, command, o->json, stdout, err, sizeof(err));
	ctl_close(c);
	return ret ? ctl_die("%s", err) : 0;
}

/* "gateway" (the default) or "relay" */
static const char *daemon_path(const struct ctl_options *o, const char *name)
{
	if (!strcmp(name, "gateway"))
		return o->gateway;
	if (!strcmp(name, "relay"))
		return o->relay;
	return NULL;
}

static int text(const struct ctl_options *o, int argc, char **argv, const char *command,
		const char *arg)
{
	const char *path = argc ? daemon_path(o, argv[0]) : o->gateway;
	const char *words[] = {command, arg};
	struct ctl_conn *c;
	char err[256];
	int ret;

	if (!path)
		return ctl_die("'%s' is neither gateway nor relay", argv[0]);
	if (ctl_ask(o, path, &c))
		return 1;
	ret = ctl_text(c, arg ? 2 : 1, words, stdout, err, sizeof(err));
	ctl_close(c);
	return ret ? ctl_die("%s", err) : 0;
}

static int metrics(const struct ctl_options *o, int argc, char **argv)
{
	return text(o, argc, argv, "METRICS", NULL);
}

static int reload(const struct ctl_options *o, int argc, char **argv)
{
	return text(o, argc, argv, "RELOAD", NULL);
}

static int loglevel(const struct ctl_options *o, int argc, char **argv)
{
	return text(o, 1, argv, "LOGLEVEL", argc > 1 ? argv[1] : NULL);
}

static int relay_status(const struct ctl_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return pairs(o, o->relay, "STATUS");
}

static const struct command commands[] = {
	{"status", "", 0, 0, status, "both daemons at a glance"},
	{"users", "", 0, 0, users, "the users that this peer publishes"},
	{"records", "", 0, 0, records, "records of users last read from the DHT"},
	{"peers", "", 0, 0, peers, "peers that were heard of"},
	{"sessions", "", 0, 0, sessions, "sessions with other peers"},
	{"lookup", "NAME", 1, 1, lookup, "the other peers that serve a user, read afresh"},
	{"calls", "", 0, 0, calls, "calls whose media this peer anchors"},
	{"rtpengines", "", 0, 0, rtpengines, "the relay's rtpengines and their health"},
	{"relay status", "", 0, 0, relay_status, "the relay alone"},
	{"metrics", "[gateway|relay]", 0, 1, metrics, "Prometheus text"},
	{"reload", "[gateway|relay]", 0, 1, reload, "read the settings again"},
	{"loglevel", "gateway|relay [LEVEL]", 1, 2, loglevel, "show or set: err, warn, info, dbg"},
	{"identity new", "[FILE]", 0, 1, identity_new, "make a Host Identity; prints its HIT"},
	{"identity show", "[FILE]", 0, 1, identity_show, "print the HIT"},
	{"overlay rules", "", 0, 0, ctl_overlay_rules,
	 "show or set realm, digests, permission of users"},
	{"user add", "NAME", 1, 1, ctl_user_add, "enrol a user: --peer HIT ... or --any"},
	{"user passwd", "NAME", 1, 1, ctl_user_passwd, "give a user another password"},
	{"user remove", "NAME", 1, 1, ctl_user_remove, "a user is one no more"},
	{"user allow", "NAME", 1, 1, ctl_user_allow, "at one peer more: --peer HIT, or --any"},
	{"user deny", "NAME", 1, 1, ctl_user_deny, "at one peer less"},
	{"user list", "", 0, 0, ctl_user_list, "the users that are enrolled"},
	{"user refresh", "", 0, 0, ctl_user_refresh, "sign the enrolment of all anew"},
	{"peer allow", "HIT", 1, 1, ctl_peer_allow, "a peer may serve any user"},
	{"peer deny", "HIT", 1, 1, ctl_peer_deny, "it may not any more"},
	{"overlay create", "", 0, 0, ctl_overlay_create, "begin an overlay with this peer"},
	{"overlay secret new", "[FILE]", 0, 1, secret_new,
	 "make the secret of an overlay without an authority"},
	{"invite", "", 0, 0, ctl_invite, "a token that lets one peer join"},
	{"join", "TOKEN", 1, 1, ctl_join, "join an overlay"},
	{"peer list", "", 0, 0, ctl_peer_list, "the overlay's members"},
	{"peer revoke", "HIT", 1, 1, ctl_peer_revoke, "put a peer out of the overlay"},
	{.words = NULL},
};

static void usage(FILE *f)
{
	fprintf(f, "Usage: p2psipctl [options] command\n\n");
	for (const struct command *c = commands; c->words; c++) {
		char head[64];

		snprintf(head, sizeof(head), "%s %s", c->words, c->args);
		fprintf(f, "  %-32s %s\n", head, c->help);
	}
	fprintf(f,
		"\n"
		"  -g, --gateway SOCKET  the gateway's (default " RUN "/gateway-admin.sock)\n"
		"  -r, --relay SOCKET    the relay's (default " RUN "/relay-admin.sock)\n"
		"  -t, --timeout MS      for each answer (default %d)\n"
		"  -j, --json            answers as JSON\n"
		"      --peer HIT        where a user may register; once for each peer\n"
		"      --any             at any peer of the overlay\n"
		"      --deny            user allow: not there any more\n"
		"      --ha1             standard input has HA1s, not a password\n"
		"      --realm, --digests, --permission\n"
		"                        overlay rules: a realm; MD5, SHA-256 or both; required "
		"or\n"
		"                        optional\n"
		"      --state DIR       this peer's state (overlay create, join; default " STATE
		")\n"
		"      --authority DIR   the authority's (overlay create; default "
		"STATE/authority)\n"
		"      --expires TIME    of an invitation, like 15m, 1h, 2d (default 1h)\n"
		"      --address ADDR    host or host:port where the invited reach this gateway\n"
		"  -V, --version         print the version, and end\n"
		"  -h, --help            print this, and end\n"
		"FILE: " STATE "/identity.pem or " STATE "/overlay.secret unless given.\n",
		TIMEOUT_MS);
}

/* How many of argv are the command's words; 0: it is another. */
static int words_match(const char *words, int argc, char **argv)
{
	int n = 0;

	while (*words) {
		size_t len = strcspn(words, " ");

		if (n == argc || strlen(argv[n]) != len || strncmp(argv[n], words, len))
			return 0;
		n++;
		words += len;
		words += *words == ' ';
	}
	return n;
}

int main(int argc, char **argv)
{
	enum { OPT_STATE = 256, OPT_AUTHORITY, OPT_EXPIRES, OPT_ADDRESS };
	enum { OPT_PEER = 512, OPT_ANY, OPT_DENY, OPT_HA1, OPT_REALM, OPT_DIGESTS, OPT_PERMISSION };
	static const struct option longs[] = {
		{"peer", required_argument, NULL, OPT_PEER},
		{"any", no_argument, NULL, OPT_ANY},
		{"deny", no_argument, NULL, OPT_DENY},
		{"ha1", no_argument, NULL, OPT_HA1},
		{"realm", required_argument, NULL, OPT_REALM},
		{"digests", required_argument, NULL, OPT_DIGESTS},
		{"permission", required_argument, NULL, OPT_PERMISSION},
		{"state", required_argument, NULL, OPT_STATE},
		{"authority", required_argument, NULL, OPT_AUTHORITY},
		{"expires", required_argument, NULL, OPT_EXPIRES},
		{"address", required_argument, NULL, OPT_ADDRESS},
		{"gateway", required_argument, NULL, 'g'},
		{"relay", required_argument, NULL, 'r'},
		{"timeout", required_argument, NULL, 't'},
		{"json", no_argument, NULL, 'j'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct ctl_options o = {
		.gateway = RUN "/gateway-admin.sock",
		.relay = RUN "/relay-admin.sock",
		.timeout_ms = TIMEOUT_MS,
	};
	char *end;
	unsigned long ms;
	int opt;

	umask(0077);
	while ((opt = getopt_long(argc, argv, "g:r:t:jVh", longs, NULL)) != -1) {
		switch (opt) {
		case 'g':
			o.gateway = optarg;
			break;
		case 'r':
			o.relay = optarg;
			break;
		case 't':
			errno = 0;
			ms = strtoul(optarg, &end, 10);
			if (*end || errno || !ms || ms > 600000) {
				ctl_die("--timeout: '%s' is not within 1 to 600000", optarg);
				return 2;
			}
			o.timeout_ms = (unsigned int)ms;
			break;
		case 'j':
			o.json = true;
			break;
		case OPT_PEER:
			if (o.n_peers == CTL_PEERS_MAX)
				return ctl_die("--peer: %d at most, or --any", CTL_PEERS_MAX);
			o.peer[o.n_peers++] = optarg;
			break;
		case OPT_ANY:
			o.any = true;
			break;
		case OPT_DENY:
			o.deny = true;
			break;
		case OPT_HA1:
			o.ha1 = true;
			break;
		case OPT_REALM:
			o.realm = optarg;
			break;
		case OPT_DIGESTS:
			o.digests = optarg;
			break;
		case OPT_PERMISSION:
			o.permission = optarg;
			break;
		case OPT_STATE:
			o.state = optarg;
			break;
		case OPT_AUTHORITY:
			o.authority = optarg;
			break;
		case OPT_EXPIRES:
			o.expires = optarg;
			break;
		case OPT_ADDRESS:
			o.address = optarg;
			break;
		case 'V':
			printf("p2psipctl %s\n", P2PSIP_VERSION);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	argc -= optind;
	argv += optind;
	for (const struct command *c = commands; c->words; c++) {
		int n = words_match(c->words, argc, argv);

		if (!n)
			continue;
		if (argc - n < c->argc_min || argc - n > c->argc_max) {
			ctl_die("usage: p2psipctl %s %s", c->words, c->args);
			return 2;
		}
		return c->run(&o, argc - n, argv + n);
	}
	if (argc)
		ctl_die("no command '%s'", argv[0]);
	usage(stderr);
	return 2;
}
