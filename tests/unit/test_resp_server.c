/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The RESP server over real unix sockets in a temporary directory, server and clients on one
 * thread: the clients' sockets do not block, and pump() turns the loop until nothing happens any
 * more. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "lib/base/log.h"
#include "lib/io/resp_server.h"
#include "tests/unit/alloc.h"

static struct event_base *base;
static struct resp_server *server;
static struct resp_server_config cfg;
static char dir[64], path[108];
static struct resp_request *held[600];
static int n_held, n_closed;
static bool allow_all;
static char last_log[512];
static int n_log;

/* --- commands ----------------------------------------------------------------------------------
 */

static void hold_h(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	(void)argc;
	(void)argv;
	(void)arg;
	held[n_held++] = req;
}

/* its arguments, as an array of [length, bytes] */
static void args_h(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	int i;

	assert_ptr_equal(arg, &cfg);
	resp_reply_array(req, (size_t)argc - 1);
	for (i = 1; i < argc; i++) {
		resp_reply_array(req, 2);
		resp_reply_int(req, (int64_t)argv[i].len);
		assert_int_equal(argv[i].s[argv[i].len], 0);
		resp_reply_bulk(req, argv[i].s, argv[i].len);
	}
}

static void kinds_h(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	(void)argc;
	(void)argv;
	(void)arg;
	resp_reply_array(req, 7);
	resp_reply_ok(req);
	resp_reply_nil(req);
	resp_reply_array(req, 0);
	resp_reply_u64(req, UINT64_MAX);
	resp_reply_int(req, -7);
	resp_reply_error(req, "STALE", "%d\r\n+OK", 17);
	resp_reply_str(req, "end");
}

static void big_h(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	static char big[4096];

	(void)argc;
	(void)argv;
	(void)arg;
	resp_reply_bulk(req, big, sizeof(big));
}

static void deep_h(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	int i;

	(void)argc;
	(void)argv;
	(void)arg;
	for (i = 0; i < 12; i++)
		resp_reply_array(req, 1);
	resp_reply_ok(req);
}

/* the server goes while it works */
static void bye_h(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	(void)argc;
	(void)argv;
	(void)arg;
	resp_server_free(server);
	server = NULL;
	assert_null(resp_request_client(req));
	resp_reply_array(req, 1);
	resp_reply_str(req, "to nobody");
}

static const struct resp_command commands[] = {
	{"HOLD", 1, 1, false, hold_h, "wait"},
	{"ARGS", 1, 0, false, args_h, "show"},
	{"KINDS", 1, 1, false, kinds_h, "all kinds of replies"},
	{"BIG", 1, 1, false, big_h, "4 KiB"},
	{"DEEP", 1, 1, false, deep_h, "too deep"},
	{"BYE", 1, 1, false, bye_h, "end"},
	{"AFTER", 2, 3, true, args_h, "needs a handshake"},
	{0},
};

static void closed_h(struct resp_client *client, void *arg)
{
	(void)arg;
	if (resp_client_data(client) != NULL)
		n_closed++;
}

static bool allow_h(uid_t uid, gid_t gid, pid_t pid, void *arg)
{
	(void)arg;
	assert_int_equal(uid, getuid());
	assert_int_equal(gid, getgid());
	assert_int_equal(pid, getpid());
	return allow_all;
}

static void handshake_h(struct resp_request *req, int argc, const struct resp_arg *argv, void *arg)
{
	(void)arg;
	if (argc != 4) {
		resp_reply_error(req, "BADARG", "who are you?");
		return;
	}
	resp_client_set_data(resp_request_client(req), &n_closed);
	resp_reply_array(req, 2);
	resp_reply_str(req, "client");
	resp_reply_bulk(req, argv[2].s, argv[2].len);
}

static void info_h(struct resp_request *req, void *arg)
{
	(void)arg;
	resp_reply_str(req, "# server");
}

static void sink(enum p2p_log_level level, const char *msg, void *arg)
{
	(void)level;
	(void)arg;
	snprintf(last_log, sizeof(last_log), "%s", msg);
	n_log++;
}

static const struct p2p_log logger = {.sink = sink, .level = P2P_LOG_DBG};

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/p2psip-resp-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	n_held = n_closed = 0;
	allow_all = true;
	last_log[0] = '\0';
	n_log = 0;
	cfg = (struct resp_server_config){
		.path = path,
		.mode = 0660,
		.max_bulk = 1000,
		.max_args = 8,
		.max_clients = 4,
		.max_output = 65536,
		.max_pending = 16,
		.commands = commands,
		.arg = &cfg,
		.allow = allow_h,
		.closed = closed_h,
		.info = info_h,
		.version = 1,
		.handshake = handshake_h,
		.log = &logger,
	};
	base = event_base_new();
	return resp_server_new(&server, base, &cfg);
}

static int tear_down(void **state)
{
	(void)state;
	resp_server_free(server);
	server = NULL;
	while (n_held > 0)
		resp_reply_ok(held[--n_held]);
	event_base_free(base);
	if (access(path, F_OK) == 0)
		unlink(path);
	return rmdir(dir);
}

static void pump(void)
{
	int i;

	for (i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* --- a client -----------------------------------------------------------------------------------
 */

static int dial(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(sun.sun_path, path);
	assert_ok(connect(fd, (struct sockaddr *)&sun, sizeof(sun)));
	pump();
	return fd;
}

static void say_n(int fd, const char *s, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, s, len, MSG_NOSIGNAL);

		if (n > 0) {
			s += n;
			len -= (size_t)n;
		} else if (errno != EAGAIN) {
			break;
		}
		pump();
	}
	pump();
}

static void say(int fd, const char *s)
{
	say_n(fd, s, strlen(s));
}

/* What has come: exactly this. */
static void hears(int fd, const char *want)
{
	char got[8192];
	size_t n = 0;
	ssize_t r;

	while (n < sizeof(got) - 1 && (r = recv(fd, got + n, sizeof(got) - 1 - n, 0)) > 0)
		n += (size_t)r;
	got[n] = '\0';
	assert_string_equal(got, want);
}

static void ended(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), 0);
	close(fd);
}

#define PING "*1\r\n$4\r\nPING\r\n"
#define HOLD "*1\r\n$4\r\nHOLD\r\n"

static void test_builtins(void **state)
{
	int fd = dial();

	(void)state;
	say(fd, PING);
	hears(fd, "+PONG\r\n");
	say(fd, "*2\r\n$4\r\nping\r\n$2\r\nhi\r\n");
	hears(fd, "$2\r\nhi\r\n");
	say(fd, "*2\r\n$4\r\nEcho\r\n$0\r\n\r\n");
	hears(fd, "$0\r\n\r\n");
	say(fd, "*1\r\n$4\r\nINFO\r\n");
	hears(fd, "$8\r\n# server\r\n");
	say(fd, "*2\r\n$7\r\nCOMMAND\r\n$5\r\nCOUNT\r\n");
	hears(fd, ":15\r\n");
	say(fd, "*0\r\n" PING);
	hears(fd, "+PONG\r\n");
	say(fd, "*1\r\n$5\r\nKINDS\r\n");
	hears(fd, "*7\r\n+OK\r\n$-1\r\n*0\r\n$20\r\n18446744073709551615\r\n:-7\r\n"
		  "-STALE 17  +OK\r\n$3\r\nend\r\n");
	say(fd, "*3\r\n$4\r\nARGS\r\n$3\r\na\r\n\r\n$0\r\n\r\n");
	hears(fd, "*2\r\n*2\r\n:3\r\n$3\r\na\r\n\r\n*2\r\n:0\r\n$0\r\n\r\n");
	say_n(fd, "*2\r\n$4\r\nARGS\r\n$3\r\na\0b\r\n", 23);
	{
		char got[64];

		assert_int_equal(recv(fd, got, sizeof(got), 0), 21);
		assert_memory_equal(got, "*1\r\n*2\r\n:3\r\n$3\r\na\0b\r\n", 21);
	}
	say(fd, "*1\r\n$4\r\nNOPE\r\n");
	hears(fd, "-BADARG unknown command, or wrong number of arguments\r\n");
	say(fd, "*2\r\n$4\r\nHOLD\r\n$1\r\nx\r\n");
	hears(fd, "-BADARG wrong number of arguments for HOLD\r\n");
	say(fd, "*1\r\n$4\r\nQUIT\r\n" PING);
	hears(fd, "+OK\r\n");
	ended(fd);
}

static void test_command_docs(void **state)
{
	static const char start[] = "*30\r\n$7\r\nCOMMAND\r\n*6\r\n$7\r\nsummary\r\n";
	char got[8192];
	int fd = dial();

	(void)state;
	say(fd, "*2\r\n$7\r\nCOMMAND\r\n$4\r\ndocs\r\n");
	assert_true(recv(fd, got, sizeof(got), 0) > 200);
	assert_memory_equal(got, start, sizeof(start) - 1);
	say(fd, "*1\r\n$7\r\nCOMMAND\r\n");
	assert_true(recv(fd, got, sizeof(got), 0) > 100);
	assert_memory_equal(got, "*15\r\n$7\r\nCOMMAND\r\n", 18);
	say(fd, "*2\r\n$7\r\nCOMMAND\r\n$4\r\nLIST\r\n");
	hears(fd, "-BADARG COMMAND knows COUNT and DOCS\r\n");
	close(fd);
}

/* Byte by byte, and all at once: the same. */
static void test_pieces(void **state)
{
	static const char in[] = PING "*3\r\n$4\r\nARGS\r\n$1\r\na\r\n$2\r\nbc\r\n" PING;
	static const char out[] =
		"+PONG\r\n*2\r\n*2\r\n:1\r\n$1\r\na\r\n*2\r\n:2\r\n$2\r\nbc\r\n+PONG\r\n";
	int fd = dial();
	size_t i;

	(void)state;
	say(fd, in);
	hears(fd, out);
	for (i = 0; i < sizeof(in) - 1; i++)
		say_n(fd, in + i, 1);
	hears(fd, out);
	close(fd);
}

static void test_handshake(void **state)
{
	int fd = dial();

	(void)state;
	say(fd, "*2\r\n$5\r\nAFTER\r\n$1\r\nx\r\n");
	hears(fd, "-NOHANDSHAKE HANDSHAKE comes before AFTER\r\n");
	say(fd, "*4\r\n$9\r\nHANDSHAKE\r\n$1\r\n2\r\n$1\r\nk\r\n$2\r\nid\r\n");
	hears(fd, "-PROTO this server speaks version 1\r\n");
	say(fd, "*4\r\n$9\r\nHANDSHAKE\r\n$2\r\n1x\r\n$1\r\nk\r\n$2\r\nid\r\n");
	hears(fd, "-BADARG bad version\r\n");
	say(fd, "*2\r\n$9\r\nHANDSHAKE\r\n$1\r\n1\r\n"); /* the program refuses it */
	hears(fd, "-BADARG who are you?\r\n");
	say(fd, "*2\r\n$5\r\nAFTER\r\n$1\r\nx\r\n");
	hears(fd, "-NOHANDSHAKE HANDSHAKE comes before AFTER\r\n");
	say(fd, "*4\r\n$9\r\nhandshake\r\n$1\r\n1\r\n$1\r\nk\r\n$2\r\nid\r\n");
	hears(fd, "*2\r\n$6\r\nclient\r\n$1\r\nk\r\n");
	say(fd, "*2\r\n$5\r\nAFTER\r\n$1\r\nx\r\n");
	hears(fd, "*1\r\n*2\r\n:1\r\n$1\r\nx\r\n");
	close(fd);
	pump();
	assert_int_equal(n_closed, 1);
}

/* Replies come in the order of the commands, whenever they were made. */
static void test_order(void **state)
{
	int fd = dial();

	(void)state;
	say(fd, HOLD HOLD PING HOLD);
	hears(fd, "");
	assert_int_equal(n_held, 3);
	resp_reply_int(held[2], 3);
	resp_reply_array(held[1], 2); /* a part of it */
	resp_reply_int(held[1], 21);
	pump();
	hears(fd, "");
	resp_reply_int(held[0], 1);
	pump();
	hears(fd, ":1\r\n*2\r\n:21\r\n");
	resp_reply_int(held[1], 22);
	pump();
	hears(fd, ":22\r\n+PONG\r\n:3\r\n");
	n_held = 0;
	close(fd);
}

/* The client went before its reply came. */
static void test_gone(void **state)
{
	struct resp_server_stats st;
	int fd = dial();

	(void)state;
	say(fd, HOLD HOLD HOLD PING);
	assert_int_equal(n_held, 3);
	resp_reply_str(held[1], "made, not sent");
	resp_reply_array(held[2], 2);
	close(fd);
	pump();
	assert_null(resp_request_client(held[0]));
	resp_reply_ok(held[0]);
	resp_reply_ok(held[2]);
	resp_reply_ok(held[2]);
	n_held = 0;
	resp_server_stats(server, &st);
	assert_int_equal(st.clients, 0);
	assert_int_equal(st.connections, 1);
	assert_int_equal(st.commands, 4);
}

/* More than max_pending are not read, until replies make room. */
static void test_pending(void **state)
{
	int fd = dial(), i;

	(void)state;
	for (i = 0; i < 20; i++)
		say(fd, HOLD);
	say(fd, PING);
	assert_int_equal(n_held, 16);
	resp_reply_ok(held[0]);
	pump();
	assert_int_equal(n_held, 17);
	for (i = 1; i < n_held; i++) {
		resp_reply_ok(held[i]);
		pump();
	}
	assert_int_equal(n_held, 20);
	n_held = 0;
	{
		char want[20 * 5 + 8] = "";

		for (i = 0; i < 20; i++)
			strcat(want, "+OK\r\n");
		strcat(want, "+PONG\r\n");
		hears(fd, want);
	}
	close(fd);
}

static void refused(const char *in, size_t len, const char *why)
{
	char want[256];
	int fd = dial();

	say_n(fd, in, len);
	snprintf(want, sizeof(want), "-BADARG protocol error: %s\r\n", why);
	hears(fd, want);
	ended(fd);
}

#define REFUSED(in, why) refused(in, sizeof(in) - 1, why)

static void test_protocol_errors(void **state)
{
	static char big[8192];

	(void)state;
	REFUSED("PING\r\n", "Protocol error, got \"P\" as reply type byte");
	REFUSED("\0\0\0", "Protocol error, got \"\\x00\" as reply type byte");
	REFUSED("+PING\r\n", "a command is an array of bulk strings");
	REFUSED("$4\r\nPING\r\n", "a command is an array of bulk strings");
	REFUSED(":4\r\n", "a command is an array of bulk strings");
	REFUSED("*-1\r\n", "a command is an array of bulk strings");
	REFUSED("*1\r\n$-1\r\n", "a command is an array of bulk strings");
	REFUSED("*1\r\n+PING\r\n", "an argument is not a bulk string");
	REFUSED("*1\r\n*1\r\n$4\r\nPING\r\n", "an argument is not a bulk string");
	REFUSED("*9\r\n", "too many arguments");
	REFUSED("*2147483647\r\n", "too many arguments");
	REFUSED("*99999999999999999999\r\n", "Bad multi-bulk length");
	REFUSED("*1\r\n$99999999999999999999\r\n", "Bad bulk string length");
	memset(big, 'x', sizeof(big));
	memcpy(big, "*1\r\n$8000\r\n", 11);
	refused(big, sizeof(big), "argument too long");
	memcpy(big, "*1\r\n$1001\r\n", 11);
	memcpy(big + 11 + 1001, "\r\n", 2);
	refused(big, 11 + 1001 + 2, "argument too long");
	memset(big, '9', sizeof(big));
	big[0] = '*';
	refused(big, sizeof(big), "argument too long"); /* a line without end */
	/* and all of this one line in the log */
	assert_int_equal(n_log, 1);
	assert_non_null(strstr(last_log, ": protocol error: Protocol error, got \"P\""));
	/* what came before it was answered */
	{
		int fd = dial();

		say(fd, PING HOLD "x");
		hears(fd, "+PONG\r\n");
		resp_reply_ok(held[0]);
		n_held = 0;
		pump();
		hears(fd, "+OK\r\n-BADARG protocol error: Protocol error, got \"x\" as reply type "
			  "byte\r\n");
		ended(fd);
	}
}

static void test_largest(void **state)
{
	char in[4096], a[1001];
	int fd = dial(), n;

	(void)state;
	memset(a, 'a', 1000);
	a[1000] = '\0';
	n = snprintf(in, sizeof(in), "*2\r\n$4\r\nARGS\r\n$1000\r\n%s\r\n", a);
	say_n(fd, in, (size_t)n);
	n = snprintf(in, sizeof(in), "*1\r\n*2\r\n:1000\r\n$1000\r\n%s\r\n", a);
	hears(fd, in);
	/* each argument is short enough, all of them are not */
	n = snprintf(in, sizeof(in),
		     "*4\r\n$4\r\nARGS\r\n$1000\r\n%s\r\n$1000\r\n%s\r\n$8\r\n12345678\r\n", a, a);
	say_n(fd, in, (size_t)n);
	hears(fd, "-BADARG protocol error: command too long\r\n");
	ended(fd);
}

/* A client that does not read: cut off at max_output, the others are served. */
static void test_slow(void **state)
{
	struct resp_server_stats st;
	int fd = dial(), other = dial(), i, size = 4096;
	char c;

	(void)state;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (i = 0; i < 600; i++) {
		if (send(fd, "*1\r\n$3\r\nBIG\r\n", 13, MSG_NOSIGNAL) < 0)
			break;
		pump();
	}
	say(other, PING);
	hears(other, "+PONG\r\n");
	/* it was stopped being listened to long before */
	resp_server_stats(server, &st);
	assert_int_equal(st.clients, 2);
	assert_true(st.commands < 200);
	/* but one reply may be too much at once: */
	say(fd, "");
	close(fd);
	pump();
	fd = dial();
	for (i = 0; i < 16; i++)
		say(fd, HOLD);
	for (i = 15; i >= 0; i--) { /* the wrong way round: all is kept */
		static char big[8192];

		resp_reply_bulk(held[i], big, sizeof(big));
	}
	n_held = 0;
	pump();
	resp_server_stats(server, &st);
	assert_int_equal(st.cut_off, 1);
	assert_int_equal(st.clients, 1);
	assert_non_null(strstr(last_log, "it does not read its replies"));
	assert_int_equal(recv(fd, &c, 1, 0), 0);
	close(fd);
	close(other);
}

static void test_deep(void **state)
{
	struct resp_server_stats st;
	int fd = dial();

	(void)state;
	say(fd, "*1\r\n$4\r\nDEEP\r\n");
	resp_server_stats(server, &st);
	assert_int_equal(st.cut_off, 1);
	close(fd);
}

static void test_pubsub(void **state)
{
	struct resp_server_stats st;
	int a = dial(), b = dial(), i;

	(void)state;
	assert_int_equal(resp_server_publish(server, "users", "x", 1), 0);
	say(a, "*3\r\n$9\r\nSUBSCRIBE\r\n$5\r\nusers\r\n$5\r\npeers\r\n");
	hears(a, "*3\r\n$9\r\nsubscribe\r\n$5\r\nusers\r\n:1\r\n"
		 "*3\r\n$9\r\nsubscribe\r\n$5\r\npeers\r\n:2\r\n");
	say(a, "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nusers\r\n"); /* again: no second copy */
	hears(a, "*3\r\n$9\r\nsubscribe\r\n$5\r\nusers\r\n:2\r\n");
	say(b, "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\npeers\r\n");
	hears(b, "*3\r\n$9\r\nsubscribe\r\n$5\r\npeers\r\n:1\r\n");
	resp_server_stats(server, &st);
	assert_int_equal(st.subscribers, 2);
	assert_int_equal(resp_server_publish(server, "users", "alice", 5), 1);
	assert_int_equal(resp_server_publish(server, "peers", "", 0), 2);
	pump();
	hears(a, "*3\r\n$7\r\nmessage\r\n$5\r\nusers\r\n$5\r\nalice\r\n"
		 "*3\r\n$7\r\nmessage\r\n$5\r\npeers\r\n$0\r\n\r\n");
	hears(b, "*3\r\n$7\r\nmessage\r\n$5\r\npeers\r\n$0\r\n\r\n");
	say(a, PING);
	hears(a, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
	say(a, HOLD);
	hears(a, "-BADARG a subscribed client may only SUBSCRIBE, UNSUBSCRIBE, PING, QUIT\r\n");
	say(a, "*2\r\n$11\r\nUNSUBSCRIBE\r\n$5\r\nusers\r\n");
	hears(a, "*3\r\n$11\r\nunsubscribe\r\n$5\r\nusers\r\n:1\r\n");
	say(a, "*1\r\n$11\r\nUNSUBSCRIBE\r\n*1\r\n$11\r\nUNSUBSCRIBE\r\n");
	hears(a, "*3\r\n$11\r\nunsubscribe\r\n$5\r\npeers\r\n:0\r\n"
		 "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
	resp_server_stats(server, &st);
	assert_int_equal(st.subscribers, 1);
	/* a message never falls into a reply */
	say(a, HOLD "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nusers\r\n");
	assert_int_equal(n_held, 1);
	resp_reply_array(held[0], 2);
	resp_reply_int(held[0], 1);
	assert_int_equal(resp_server_publish(server, "users", "bob", 3), 1);
	resp_reply_int(held[0], 2);
	n_held = 0;
	pump();
	hears(a, "*2\r\n:1\r\n:2\r\n*3\r\n$9\r\nsubscribe\r\n$5\r\nusers\r\n:1\r\n"
		 "*3\r\n$7\r\nmessage\r\n$5\r\nusers\r\n$3\r\nbob\r\n");
	/* bounds */
	say(b, "*2\r\n$9\r\nSUBSCRIBE\r\n$0\r\n\r\n");
	hears(b, "-BADARG bad channel name\r\n");
	for (i = 0; i < 20; i++) {
		char cmd[64];

		snprintf(cmd, sizeof(cmd), "*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\n%c%c\r\n", 'a' + i,
			 'a' + i);
		say(b, cmd);
	}
	{
		char got[4096];
		ssize_t n = recv(b, got, sizeof(got) - 1, 0);

		assert_true(n > 0);
		got[n] = '\0';
		assert_non_null(strstr(got, "-BADARG more than 16 channels\r\n"));
	}
	/* a subscriber that does not read is cut off, and memory is bounded */
	for (i = 0; i < 100000; i++)
		(void)resp_server_publish(server, "peers", "0123456789", 10);
	pump();
	resp_server_stats(server, &st);
	assert_int_equal(st.clients, 1);
	close(a);
	close(b);
}

static void test_clients(void **state)
{
	struct resp_server_stats st;
	int fd[5], i, pair[2];

	(void)state;
	for (i = 0; i < 5; i++)
		fd[i] = dial();
	hears(fd[4], "-BUSY too many clients\r\n");
	ended(fd[4]);
	assert_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	assert_int_equal(resp_server_adopt(server, pair[0]), EBUSY);
	close(fd[3]);
	pump();
	assert_ok(resp_server_adopt(server, pair[0]));
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	say(pair[1], PING);
	hears(pair[1], "+PONG\r\n");
	close(pair[1]);
	pump();
	allow_all = false;
	fd[3] = dial();
	hears(fd[3], "-DENIED not for you\r\n");
	ended(fd[3]);
	resp_server_stats(server, &st);
	assert_int_equal(st.refused, 2);
	assert_int_equal(st.clients, 3);
	for (i = 0; i < 3; i++)
		close(fd[i]);
}

static void test_file(void **state)
{
	struct resp_server *second;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct stat st;
	mode_t old;
	int fd;

	(void)state;
	assert_ok(stat(path, &st));
	assert_int_equal(st.st_mode & 07777, 0660);
	/* somebody listens: not taken away from them */
	assert_int_equal(resp_server_new(&second, base, &cfg), EADDRINUSE);
	resp_server_free(server);
	server = NULL;
	assert_int_equal(stat(path, &st), -1);
	/* what a crash left behind */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sun.sun_path, path);
	assert_ok(bind(fd, (struct sockaddr *)&sun, sizeof(sun)));
	close(fd);
	old = umask(077);
	cfg.mode = 0666;
	assert_ok(resp_server_new(&server, base, &cfg));
	umask(old);
	assert_ok(stat(path, &st));
	assert_int_equal(st.st_mode & 07777, 0666);
	/* the file is another server's by now: it stays */
	assert_ok(unlink(path));
	assert_ok(resp_server_new(&second, base, &cfg));
	resp_server_free(server);
	assert_ok(stat(path, &st));
	server = second;
	resp_server_free(server);
	server = NULL;
	/* no socket: not ours to remove */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(resp_server_new(&second, base, &cfg), ENOTSOCK);
	assert_ok(unlink(path));
	cfg.group = "no such group, surely";
	assert_int_equal(resp_server_new(&second, base, &cfg), ENOENT);
	cfg.group = NULL;
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	cfg.path =
		"/tmp/"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	assert_int_equal(resp_server_new(&second, base, &cfg), ENAMETOOLONG);
	cfg.path = "/nonexistent/s";
	assert_int_equal(resp_server_new(&second, base, &cfg), ENOENT);
	cfg.max_args = 1;
	assert_int_equal(resp_server_new(&second, base, &cfg), EINVAL);
}

static void test_end(void **state)
{
	int a = dial(), b = dial();

	(void)state;
	say(b, HOLD "*4\r\n$9\r\nHANDSHAKE\r\n$1\r\n1\r\n$1\r\nk\r\n$2\r\nid\r\n");
	say(a, PING "*1\r\n$3\r\nBYE\r\n" PING);
	assert_null(server);
	hears(a, "+PONG\r\n"); /* what was answered before still came */
	ended(a);
	ended(b);
	assert_int_equal(n_closed, 1);
	/* a reply to a client of a server that is no more */
	resp_reply_str(held[0], "late");
	n_held = 0;
	pump();
}

/* Nothing of a server stays when one of its allocations fails; nothing crashes when one fails while
 * it serves: at worst the client is cut off. */
static int allocate_server(void *arg)
{
	struct resp_server *s = NULL;
	int err = resp_server_new(&s, base, &cfg);

	(void)arg;
	if (err == 0)
		resp_server_free(s);
	return err;
}

static int allocate_serving(void *arg)
{
	struct resp_server_stats st;
	int fd, err = 0;

	(void)arg;
	alloc_fail_end();
	fd = dial();
	alloc_fail_at(*(unsigned int *)arg);
	say(fd, "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n*1\r\n$11\r\nUNSUBSCRIBE\r\n" PING HOLD
		"*1\r\n$5\r\nKINDS\r\n");
	resp_server_publish(server, "a", "x", 1);
	pump();
	while (n_held > 0)
		resp_reply_ok(held[--n_held]);
	pump();
	err = alloc_fail_end() ? ENOMEM : 0;
	close(fd);
	pump();
	resp_server_stats(server, &st);
	assert_int_equal(st.clients, 0);
	return err;
}

static void test_alloc(void **state)
{
	unsigned int n;

	(void)state;
	resp_server_free(server);
	server = NULL;
	alloc_loop(allocate_server, NULL, false);
	assert_ok(resp_server_new(&server, base, &cfg));
	for (n = 0; allocate_serving(&n) != 0; n++)
		assert_true(n < 1000);
	assert_true(n > 10);
	/* accepting */
	for (n = 0; n < 12; n++) {
		int fd;

		alloc_fail_at(n);
		fd = dial();
		alloc_fail_end();
		close(fd);
		pump();
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_builtins), T(test_command_docs), T(test_pieces),	 T(test_handshake),
		T(test_order),	  T(test_gone),		T(test_pending), T(test_protocol_errors),
		T(test_largest),  T(test_slow),		T(test_deep),	 T(test_pubsub),
		T(test_clients),  T(test_end),		T(test_alloc),	 T(test_file),
	};

	alloc_wrap_libevent();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
