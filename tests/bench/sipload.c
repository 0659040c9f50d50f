/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sipload: options and limits. */
#include "sipload.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: sipload register|call|visible|lookup --local ADDR:PORT --target ADDR:PORT "
	"[options]\n"
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
	"  --instance          add a +sip.instance; --acknowledged tells who had a 200\n"
	"call:\n"
	"  --also ADDR:PORT    a second target: each user is called through both, in turn\n"
	"  --callee ADDR:PORT  the called side's socket; --callee-netns NS\n"
	"  --count N           calls to each target (default --users), user after user, round and "
	"round\n"
	"  --sdp               offer and answer one audio stream\n"
	"  --ring MS           180 to 200 (15), --hold MS ACK to BYE (5), --gap MS to the next "
	"(10)\n"
	"  --active N          calls at a time (default 1, or 1000 with --rate)\n"
	"register, mixed:\n"
	"  --pool N            the first N users are registered already, with --cseq; --mix M "
	"refreshes\n"
	"                      of theirs for each first registration of another\n"
	"visible (registers at --target), lookup (no --target): MESSAGEs to users\n"
	"  --via ADDR:PORT     a proxy they go to; up to 16\n"
	"  --callee, --callee-netns as above; visible: the users' contact is --contact\n"
	"  visible: --delay MS after the 200 (0), --gap MS until the next (10), --timeout in all;\n"
	"           with --expires 0: how long they still arrive; --probe-every N: only each "
	"N-th\n"
	"           user is probed (1)\n"
	"  lookup:  --count N at --rate, --random users, --active N at most at a time\n"
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
	OPT_POOL,
	OPT_MIX,
	OPT_VIA,
	OPT_DELAY,
	OPT_RANDOM,
	OPT_ACKNOWLEDGED,
	OPT_PROBE_EVERY,
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
	{"pool", 1, NULL, OPT_POOL},
	{"mix", 1, NULL, OPT_MIX},
	{"via", 1, NULL, OPT_VIA},
	{"delay", 1, NULL, OPT_DELAY},
	{"acknowledged", 0, NULL, OPT_ACKNOWLEDGED},
	{"random", 0, NULL, OPT_RANDOM},
	{"probe-every", 1, NULL, OPT_PROBE_EVERY},
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

	if (end == text || *end != '\0' || !(r >= 0 && r <= 100000)) {
		fprintf(stderr, "sipload: %s: not a rate from 0 to 100000\n", text);
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
	case OPT_POOL:
		return number_read(arg, 1, 200000, &o->pool);
	case OPT_MIX:
		return number_read(arg, 1, 1000, &o->mix);
	case OPT_VIA:
		return o->vias == SL_VIAS ? E2BIG : addr_read(arg, &o->via[o->vias++]);
	case OPT_DELAY:
		return number_read(arg, 0, 60000, &o->delay_ms);
	case OPT_PROBE_EVERY:
		return number_read(arg, 1, 200000, &o->probe_every);
	case OPT_ACKNOWLEDGED:
		o->acknowledged = 1;
		return 0;
	case OPT_RANDOM:
		o->random = 1;
		return 0;
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

/* What a mode cannot do without */
enum { TARGET = 1, CALLEE = 2, RATE = 4, VIA = 8 };

static const struct mode {
	const char *name;
	int (*run)(const struct sl_opts *o);
	unsigned int needs;
} modes[] = {
	{"register", register_run, TARGET | RATE},
	{"call", call_run, TARGET | CALLEE},
	{"visible", visible_run, TARGET | CALLEE | RATE | VIA},
	{"lookup", lookup_run, CALLEE | RATE | VIA},
};

static int options_fit(const struct sl_opts *o, const struct mode *m)
{
	return o->local.len != 0 && (!(m->needs & TARGET) || o->target.len != 0) &&
	       (!(m->needs & CALLEE) || o->callee.len != 0) &&
	       (!(m->needs & RATE) || o->rate > 0) && (!(m->needs & VIA) || o->vias > 0) &&
	       (o->mix == 0) == (o->pool == 0) && o->pool < o->users;
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
		.probe_every = 1,
	};
	size_t i;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option_take(opt, optarg, &o) != 0) {
			fputs(usage, stderr);
			return 2;
		}
	}
	o.mode = optind == argc - 1 ? argv[optind] : "";
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(o.mode, modes[i].name) == 0)
			break;
	}
	if (i == sizeof(modes) / sizeof(modes[0]) || !options_fit(&o, &modes[i])) {
		fputs(usage, stderr);
		return 2;
	}
	if (o.count == 0)
		o.count = o.users;
	if (o.also.len != 0)
		o.count *= 2;
	if (o.active == 0)
		o.active = o.rate > 0 ? 1000 : 1;
	if (o.contact.len == 0)
		o.contact = modes[i].needs & CALLEE ? o.callee : o.local;
	return modes[i].run(&o);
}
