/* SPDX-License-Identifier: GPL-2.0-or-later */
/* authority DIR: an overlay's authority, key and certificate, without its first peer. */
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include "dht-gateway/gateway_authority.h"

int main(int argc, char **argv)
{
	char err[512];

	umask(0077);
	if (argc != 2) {
		fprintf(stderr, "Usage: authority DIR\n");
		return 2;
	}
	if (gw_authority_create(argv[1], (int64_t)time(NULL), err, sizeof(err))) {
		fprintf(stderr, "authority: %s\n", err);
		return 1;
	}
	return 0;
}
