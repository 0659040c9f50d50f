/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments of the relay's commands (separated by NUL), and specs of its instances. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "relay/relay_args.h"

#define ARGS_MAX 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1), *p, *end, err[128];
	struct resp_arg argv[ARGS_MAX];
	struct relay_args a;
	struct ng_spec spec;
	const char *why;
	int argc = 0;

	must(copy != NULL);
	memcpy(copy, data, size);
	copy[size] = '\0';
	end = copy + size;
	if (ng_spec_parse(&spec, copy, err, sizeof(err)) == 0)
		must(spec.weight >= 1 && spec.weight <= NG_WEIGHT_MAX && spec.addr_len > 0);
	for (p = copy; p <= end && argc < ARGS_MAX; p += argv[argc++].len + 1)
		argv[argc] = (struct resp_arg){.s = p, .len = strlen(p)};
	if (argc >= 1 && relay_args_parse(&a, "p2p", argc, argv, data[0] & 3, &why) == 0) {
		must(strlen(a.id) > 21 && strlen(a.id) <= RELAY_CALL_ID_MAX);
		must(strpbrk(a.id, "\r\n") == NULL);
		must(!(data[0] & RELAY_NEED_SDP) || (a.sdp != NULL && a.from_tag != NULL));
	}
	free(copy);
	return 0;
}
