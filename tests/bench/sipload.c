/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sipload: options and limits. */
#include "sipload.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: sipload register|call --local ADDR:PORT --target ADDR:PORT [options]\n"
	"  --local-netns NS    namespace of the (calling) socket; default: the process's own\n"
	"  --domain D          domain of the users (default example.org)\n"
	"  --users N           users u<first>.. (default 100), --first N number of the first (0)\n"
	"  --seed S            letters and digits in Call-IDs; the same seed refreshes\n"
	"  --rate R            requests or calls a second; call, 0: one after the other (0)\n"
	"  --timeout MS        limit of one registration or call (8000)\n"
	"  --max-time MS       limit of the whole run (120000)\n"
	"  --samples           print every measured time too\n"
	"register:\n"
	"  --contact ADDR:PORT where the users are reached (default --local)\n"
	"  --cseq N            1 (default) first, more: refresh; --expires S (3600), 0 ends\n"
	"  --instance          add a +sip.instance\n"
	"call:\n"
	"  --also ADDR:PORT    a second target: each user is called through both, in turn\n"
	"  --callee ADDR:PORT  the called side's socket; --callee-netns NS\n"
	"  --count N           calls to each target (default --users), user after user, round and "
	"round\n"
	"  --sdp               offer and answer one audio stream\n"
	"  --ring MS           180 to 200 (15), --hold MS ACK to BYE (5), --gap MS to the next "
	"(10)\n"
	"  --active N          calls at a time (default 1, or 1000 with --rate)\n"
	"exit status: 0 all answered 2xx, 1 some were not, 2 could not run\n";

enum {
	OPT_LOCAL = 1,
	OPT_LOCAL_NS,
	OPT_TARGET,
	OPT_ALSO,
	OPT_DOMAIN,
	OPT_USERS,
	OPT_FIRST,
	OPT_SEED,
	OPT_RATE,
	OPT_TIMEOUT,
	OPT_MAX,
	OPT_SAMPLES,
	OPT_CONTACT,
	OPT_CSEQ,
	OPT_EXPIRES,
	OPT_INSTANCE,
	OPT_CALLEE,
	OPT_CALLEE_NS,
	OPT_COUNT,
	OPT_SDP,
	OPT_RING,
	OPT_HOLD,
	OPT_GAP,
	OPT_ACTIVE,
};

static const struct option options[] = {
	{"local", 1, NULL, OPT_LOCAL},
	{"local-netns", 1, NULL, OPT_LOCAL_NS},
	{"target", 1, NULL, OPT_TARGET},
	{"domain", 1, NULL, OPT_DOMAIN},
	{"users", 1, NULL, OPT_USERS},
	{"first", 1, NULL, OPT_FIRST},
	{"seed", 1, NULL, OPT_SEED},
	{"rate", 1, NULL, OPT_RATE},
	{"timeout", 1, NULL, OPT_TIMEOUT},
	{"max-time", 1, NULL, OPT_MAX},
	{"samples", 0, NULL, OPT_SAMPLES},
	{"contact", 1, NULL, OPT_CONTACT},
	{"cseq", 1, NULL, OPT_CSEQ},
	{"expires", 1, NULL, OPT_EXPIRES},
	{"instance", 0, NULL, OPT_INSTANCE},
	{"also", 1, NULL, OPT_ALSO},
	{"callee", 1, NULL, OPT_CALLEE},
	{"callee-netns", 1, NULL, OPT_CALLEE_NS},
	{"count", 1, NULL, OPT_COUNT},
	{"sdp", 0, NULL, OPT_SDP},
	{"ring", 1, NULL, OPT_RING},
	{"hold", 1, NULL, OPT_HOLD},
	{"gap", 1, NULL, OPT_GAP},
	{"active", 1, NULL, OPT_ACTIVE},
	{NULL, 0, NULL, 0},
};

static int number_read(const char *text, unsigned long min, unsigned long max, unsigned int *out)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || end == text || *end != '\0' || *text == '-' || n < min || n > max) {
		fprintf(stderr, "sipload: %s: not a number from %lu to %lu\n", text, min, max);
		return EINVAL;
	}
	*out = (unsigned int)n;
	return 0;
}

static int rate_read(const char *text, double *out)
{
	char *end;
	double r = strtod(text, &end);

	if (end == text || *end != '\0' || !(r >= 0 && r <= 20000)) {
		fprintf(stderr, "sipload: %s: not a rate from 0 to 20000\n", text);
		return EINVAL;
	}
	*out = r;
	return 0;
}

static int addr_read(const char *text, struct sl_addr *out)
{
	int err = net_addr_parse(text, out);

	if (err)
		fprintf(stderr, "sipload: %s: not ADDR:PORT or [ADDR]:PORT\n", text);
	return err;
}

static int seed_read(const char *text, const char **out)
{
	size_t i;

	for (i = 0; text[i] != '\0'; i++) {
		if (!isalnum((unsigned char)text[i]) || i >= 32) {
			fprintf(stderr, "sipload: %s: a seed is 1 to 32 letters and digits\n",
				text);
			return EINVAL;
		}
	}
	*out = text;
	return i == 0 ? EINVAL : 0;
}

static int option_take(int opt, const char *arg, struct sl_opts *o)
{
	switch (opt) {
	case OPT_LOCAL:
		return addr_read(arg, &o->local);
	case OPT_TARGET:
		return addr_read(arg, &o->target);
	case OPT_ALSO:
		return addr_read(arg, &o->also);
	case OPT_CONTACT:
		return addr_read(arg, &o->contact);
	case OPT_CALLEE:
		return addr_read(arg, &o->callee);
	case OPT_LOCAL_NS:
		o->local_ns = arg;
		return 0;
	case OPT_CALLEE_NS:
		o->callee_ns = arg;
		return 0;
	case OPT_DOMAIN:
		o->domain = arg;
		return strlen(arg) < 128 ? 0 : EINVAL;
	case OPT_SEED:
		return seed_read(arg, &o->seed);
	case OPT_USERS:
		return number_read(arg, 1, 200000, &o->users);
	case OPT_FIRST:
		return number_read(arg, 0, 799999, &o->first);
	case OPT_COUNT:
		return number_read(arg, 1, 1000000, &o->count);
	case OPT_CSEQ:
		return number_read(arg, 1, 1000000, &o->cseq);
	case OPT_EXPIRES:
		return number_read(arg, 0, 86400, &o->expires);
	case OPT_TIMEOUT:
		return number_read(arg, 100, 60000, &o->timeout_ms);
	case OPT_MAX:
		return number_read(arg, 100, 3600000, &o->max_ms);
	case OPT_RING:
		return number_read(arg, 0, 60000, &o->ring_ms);
	case OPT_HOLD:
		return number_read(arg, 0, 60000, &o->hold_ms);
	case OPT_GAP:
		return number_read(arg, 0, 60000, &o->gap_ms);
	case OPT_ACTIVE:
		return number_read(arg, 1, 5000, &o->active);
	case OPT_RATE:
		return rate_read(arg, &o->rate);
	case OPT_SDP:
		o->sdp = 1;
		return 0;
	case OPT_SAMPLES:
		o->samples = 1;
		return 0;
	case OPT_INSTANCE:
		o->instance = 1;
		return 0;
	default:
		return EINVAL;
	}
}

int main(int argc, char **argv)
{
	struct sl_opts o = {
		.domain = "example.org",
		.seed = "0",
		.users = 100,
		.cseq = 1,
		.expires = 3600,
		.ring_ms = 15,
		.hold_ms = 5,
		.gap_ms = 10,
		.timeout_ms = 8000,
		.max_ms = 120000,
	};
	int opt, is_call;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option_take(opt, optarg, &o) != 0) {
			fputs(usage, stderr);
			return 2;
		}
	}
	o.mode = optind == argc - 1 ? argv[optind] : "";
	is_call = strcmp(o.mode, "call") == 0;
	if ((!is_call && strcmp(o.mode, "register") != 0) || o.local.len == 0 ||
	    o.target.len == 0 || (is_call && o.callee.len == 0) || (!is_call && o.rate <= 0)) {
		fputs(usage, stderr);
		return 2;
	}
	if (is_call) {
		if (o.count == 0)
			o.count = o.users;
		if (o.also.len != 0)
			o.count *= 2;
		if (o.active == 0)
			o.active = o.rate > 0 ? 1000 : 1;
		return call_run(&o);
	}
	if (o.contact.len == 0)
		o.contact = o.local;
	return register_run(&o);
}
