/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes on a daemon's unix socket, through a socket pair, in two pieces. */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "lib/io/resp_server.h"

static struct resp_request *held;

static void args_h(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	int i;

	(void)arg;
	resp_reply_array(req, (size_t)argc);
	for (i = 0; i < argc; i++) {
		must(argv[i].s[argv[i].len] == '\0');
		resp_reply_bulk(req, argv[i].s, argv[i].len);
	}
}

/* The reply comes with the next HOLD. */
static void hold_h(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	(void)argc;
	(void)argv;
	(void)arg;
	if (held != NULL)
		resp_reply_error(held, "BUSY", "%s", "late");
	held = req;
}

static void info_h(struct resp_request *req, void *arg)
{
	(void)arg;
	resp_reply_nil(req);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct resp_command commands[] = {
		{"ARGS", 1, 5, false, args_h, "show"},
		{"DONE", 1, 0, true, args_h, "after a handshake"},
		{"HOLD", 1, 1, false, hold_h, "wait"},
		{0},
	};
	static const struct resp_server_config config_base = {
		.mode = 0600,
		.max_bulk = 512,
		.max_args = 16,
		.max_clients = 2,
		.max_output = 4096,
		.max_pending = 4,
		.commands = commands,
		.info = info_h,
		.version = 1,
	};
	static struct event_base *base;
	static struct resp_server *server;
	struct resp_server_stats st;
	size_t at = 0, half = size / 2, n;
	char sink[4096];
	int pair[2], i;

	if (server == NULL) {
		struct resp_server_config config = config_base;
		char path[64];

		snprintf(path, sizeof(path), "/tmp/p2psip-fuzz-resp-%ld", (long)getpid());
		config.path = path;
		base = event_base_new();
		must(base != NULL && resp_server_new(&server, base, &config) == 0);
		unlink(path); /* only socket pairs come in */
	}
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	must(resp_server_adopt(server, pair[0]) == 0);
	while (at < size) {
		ssize_t r;

		n = at < half ? half - at : size - at;
		r = send(pair[1], data + at, n, MSG_NOSIGNAL);
		if (r > 0)
			at += (size_t)r;
		for (i = 0; i < 4; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
		if (r < 0 && recv(pair[1], sink, sizeof(sink), 0) == 0)
			break; /* it has had enough of us */
		if (r < 0)
			break; /* or does not listen while a reply is owed */
	}
	resp_server_publish(server, "a", data, size < 64 ? size : 64);
	event_base_loop(base, EVLOOP_NONBLOCK);
	while (recv(pair[1], sink, sizeof(sink), 0) > 0)
		event_base_loop(base, EVLOOP_NONBLOCK);
	close(pair[1]);
	for (i = 0; i < 4; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	if (held != NULL)
		resp_reply_ok(held);
	held = NULL;
	for (i = 0; i < 4; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	resp_server_stats(server, &st);
	must(st.clients == 0 && st.subscribers == 0);
	return 0;
}
