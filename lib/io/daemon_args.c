/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/io/daemon_args.h"

#include <getopt.h>
#include <stdio.h>

static void usage(const struct daemon_program *p, FILE *f)
{
	fprintf(f,
		"Usage: %s [options]\n"
		"%s\n\n"
		"  -c, --config FILE     settings (default %s)\n"
		"  -t, --check-config    read the settings, say what is wrong with them, and end\n"
		"  -p, --print-config    print the settings as they would be used, and end\n"
		"      --manual          print the table of settings as Markdown, and end\n"
		"      --metrics         print the table of metrics as Markdown, and end\n"
		"  -V, --version         print the version, and end\n"
		"  -h, --help            print this, and end\n",
		p->name, p->summary, p->config);
}

bool daemon_args(const struct daemon_program *program, int argc, char **argv,
		 struct daemon_args *args, int *status)
{
	enum { OPT_MANUAL = 256, OPT_METRICS };
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 't'},
		{"print-config", no_argument, NULL, 'p'},
		{"manual", no_argument, NULL, OPT_MANUAL},
		{"metrics", no_argument, NULL, OPT_METRICS},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int opt;

	*args = (struct daemon_args){.config = program->config};
	*status = 0;
	while ((opt = getopt_long(argc, argv, "c:tpVh", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			args->config = optarg;
			break;
		case 't':
			args->check = true;
			break;
		case 'p':
			args->print = true;
			break;
		case OPT_MANUAL:
			settings_manual(program->settings, stdout);
			return false;
		case OPT_METRICS:
			metrics_manual(program->metrics, stdout);
			return false;
		case 'V':
			printf("%s %s\n", program->name, program->version);
			return false;
		case 'h':
			usage(program, stdout);
			return false;
		default:
			*status = 2;
			break;
		}
	}
	if (*status == 0 && optind == argc)
		return true;
	usage(program, stderr);
	*status = 2;
	return false;
}
