/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of a daemon, which is the same for all. */
#ifndef P2PSIP_IO_DAEMON_ARGS_H
#define P2PSIP_IO_DAEMON_ARGS_H

#include <stdbool.h>
#include "lib/io/metrics.h"
#include "lib/io/settings.h"

struct daemon_program {
	const char *name;
	const char *summary; /* of --help: a sentence */
	const char *config;  /* its file of settings, unless another one is named */
	const char *version; /* of --version, after the name */
	const struct setting *settings;
	const struct metric *metrics;
};

struct daemon_args {
	const char *config;
	bool check, print; /* the settings, and end */
};

/* True: go on. False: what was asked for has been printed, or what is wrong; *status is what the
 * process ends with. */
bool daemon_args(const struct daemon_program *program, int argc, char **argv,
		 struct daemon_args *args, int *status);

#endif
