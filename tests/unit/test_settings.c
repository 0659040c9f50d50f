/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "lib/io/settings.h"
#include "tests/unit/alloc.h"

struct conf {
	int64_t timeout_ms, port;
	bool quick;
	char *name, *secret_file;
	int engine;
	struct setting_list peers;
};

static const char *const engines[] = {"opendht", "memory", NULL};

#define AT(m) offsetof(struct conf, m)
static const struct setting table[] = {
	{"main", "timeout_ms", SETTING_INT, AT(timeout_ms), 10, 5000, "500", NULL, true,
	 "how long"},
	{"main", "name", SETTING_STRING, AT(name), 1, 20, NULL, NULL, false, "who"},
	{"dht", "engine", SETTING_ENUM, AT(engine), 0, 0, "opendht", engines, false, "which"},
	{"dht", "port", SETTING_INT, AT(port), -1, 65535, "4222", NULL, false, NULL},
	{"dht", "bootstrap", SETTING_LIST, AT(peers), 0, 4, "a:1, b:2", NULL, true, "whom"},
	{"main", "quick", SETTING_BOOL, AT(quick), 0, 0, "no", NULL, true, "hurry"},
	{"main", "secret_file", SETTING_STRING, AT(secret_file), 0, 0, NULL, NULL, false, "where"},
	{0},
};

static char path[64];

static int set_up(void **state)
{
	int fd;

	(void)state;
	strcpy(path, "/tmp/p2psip-settings-XXXXXX");
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static void file(const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
}

static void loads(const char *text, struct conf *c)
{
	char err[256];
	int rc;

	file(text, strlen(text));
	memset(c, 0, sizeof(*c));
	rc = settings_load(table, c, path, err, sizeof(err));
	if (rc != 0)
		fail_msg("%s", err);
	assert_string_equal(err, "");
}

/* The message is exactly "path" and this; nothing stays allocated (ASan looks). */
static void refused_n(const char *text, size_t len, const char *message)
{
	struct conf c = {0};
	char err[256], want[256];

	file(text, len);
	assert_int_equal(settings_load(table, &c, path, err, sizeof(err)), EINVAL);
	snprintf(want, sizeof(want), "%s%s", path, message);
	assert_string_equal(err, want);
	assert_null(c.name);
	assert_null(c.peers.v);
}

static void refused(const char *text, const char *message)
{
	refused_n(text, strlen(text), message);
}

static void test_defaults(void **state)
{
	struct conf c = {0};
	char err[256];

	(void)state;
	assert_ok(settings_load(table, &c, NULL, err, sizeof(err)));
	assert_int_equal(c.timeout_ms, 500);
	assert_int_equal(c.port, 4222);
	assert_false(c.quick);
	assert_string_equal(c.name, "");
	assert_string_equal(c.secret_file, "");
	assert_int_equal(c.engine, 0);
	assert_int_equal(c.peers.n, 2);
	assert_string_equal(c.peers.v[0], "a:1");
	assert_string_equal(c.peers.v[1], "b:2");
	settings_free(table, &c);
	settings_free(table, &c); /* twice does no harm */
}

static void test_all(void **state)
{
	struct conf c;

	(void)state;
	loads("# a comment\n"
	      "; another\n"
	      "\n"
	      "[main]\n"
	      "  name = peer one  ; the first\n"
	      "timeout_ms=5000\n"
	      "quick: yes\n"
	      "[dht]\n"
	      "engine = memory\n"
	      "port = -1\n"
	      "bootstrap = [2001:db8::1]:4222\n"
	      "bootstrap = c, d\n"
	      "[main]\n"
	      "secret_file = /etc/x",
	      &c);
	assert_string_equal(c.name, "peer one");
	assert_int_equal(c.timeout_ms, 5000);
	assert_true(c.quick);
	assert_int_equal(c.engine, 1);
	assert_int_equal(c.port, -1);
	assert_int_equal(c.peers.n, 3);
	assert_string_equal(c.peers.v[0], "[2001:db8::1]:4222");
	assert_string_equal(c.peers.v[2], "d");
	assert_string_equal(c.secret_file, "/etc/x");
	settings_free(table, &c);

	/* an empty list takes the default's place; CR LF and a BOM are no harm */
	loads("\xef\xbb\xbf[main]\r\nname = x\r\n[dht]\r\nbootstrap =\r\n", &c);
	assert_string_equal(c.name, "x");
	assert_int_equal(c.peers.n, 0);
	settings_free(table, &c);
}

#define N "[main]\nname = x\n"

static void test_refused(void **state)
{
	char big[400];

	(void)state;
	refused(N "tiemout_ms = 5\n", ":3: [main] unknown key 'tiemout_ms'");
	refused(N "timeout_s = 5\n",
		":3: [main] unknown key 'timeout_s' (wrong unit? it is 'timeout_ms')");
	refused(N "timeout = 5\n",
		":3: [main] unknown key 'timeout' (wrong unit? it is 'timeout_ms')");
	refused(N "port = 5\n", ":3: [main] unknown key 'port'");
	refused(N "Name = y\n", ":3: [main] unknown key 'Name'");
	refused(N "[relay]\nport = 5\n", ":3: unknown section [relay]");
	refused(N "[relay]\n", ":3: unknown section [relay]");
	refused(N "[dht\n", ":3: a section's name ends with ']'");
	refused(N "[dht] port = 1\n", ":3: something after [dht]");
	refused("name = x\n", ":1: key 'name' before any [section]");
	refused(N "name = y\n", ":3: [main] 'name' was already set on line 2");
	refused(N "timeout_ms = 5s\n", ":3: [main] timeout_ms: '5s' is not a number of "
				       "milliseconds (the unit is in the key)");
	refused(N "timeout_ms = 500.5\n", ":3: [main] timeout_ms: '500.5' is not a number of "
					  "milliseconds (the unit is in the key)");
	refused(N "timeout_ms = five\n", ":3: [main] timeout_ms: 'five' is not a number");
	refused(N "timeout_ms =\n", ":3: [main] timeout_ms: '' is not a number");
	refused(N "timeout_ms = 0x20\n", ":3: [main] timeout_ms: '0x20' is not a number of "
					 "milliseconds (the unit is in the key)");
	refused(N "timeout_ms = 9\n",
		":3: [main] timeout_ms: 9 is not within 10 to 5000 milliseconds");
	refused(N "timeout_ms = 5001\n",
		":3: [main] timeout_ms: 5001 is not within 10 to 5000 milliseconds");
	refused(N "[dht]\nport = 99999999999999999999\n",
		":4: [dht] port: 99999999999999999999 is not within -1 to 65535");
	refused(N "quick = true\n", ":3: [main] quick: 'true' is neither yes nor no");
	refused(N "[dht]\nengine = chord\n",
		":4: [dht] engine: 'chord' is none of opendht, memory");
	refused(N "[dht]\nbootstrap = a,,b\n",
		":4: [dht] bootstrap: an empty value between commas");
	refused(N "[dht]\nbootstrap = a,b,\n",
		":4: [dht] bootstrap: an empty value between commas");
	refused(N "[dht]\nbootstrap = a,b,c\nbootstrap = d,e\n",
		":5: [dht] bootstrap: more than 4 values");
	refused("[main]\nname =\n", ":2: [main] name: must not be empty");
	refused("[main]\nname = 123456789012345678901\n",
		":2: [main] name: 21 bytes long, not within 1 to 20");
	refused("[main]\nquick = yes\n", ": [main] name must be set");
	refused("", ": [main] name must be set");
	refused(N "what is this\n", ":3: neither [section] nor key = value");
	/* the first mistake counts, whoever finds it */
	refused(N "what is this\nport = 1\n", ":3: neither [section] nor key = value");
	refused(N "port = 1\nwhat is this\n", ":3: [main] unknown key 'port'");
	refused_n(N "na\0me = 1\n", sizeof(N "na\0me = 1\n") - 1, ":3: not a text file (byte 0)");
	refused(N "\x7f\x45LF\n", ":3: not a text file (byte 127)");
	refused(N "[dht]\nbootstrap =;a\n", ":4: [dht] bootstrap: a value cannot begin with ';'");
	refused(N "[dht]\nbootstrap =a,;b\n", ":4: [dht] bootstrap: a value cannot begin with ';'");
	refused("[main]\nname=;a\n", ":2: [main] name: a value cannot begin with ';'");
	refused(N "quick = yes\rport = 1\n", ":3: not a text file (byte 13)");
	memset(big, 'x', sizeof(big));
	memcpy(big, "[main]\nname = ", 14);
	big[sizeof(big) - 1] = '\0';
	refused(big, ":2: line longer than 197 bytes");
}

static void test_no_file(void **state)
{
	struct conf c = {0};
	char err[256];

	(void)state;
	assert_int_equal(settings_load(table, &c, "/nonexistent/x.conf", err, sizeof(err)), ENOENT);
	assert_string_equal(err, "/nonexistent/x.conf: No such file or directory");
	assert_int_equal(settings_load(table, &c, "/tmp", err, sizeof(err)), EIO);
	assert_int_equal(settings_load(table, &c, "/nonexistent/x.conf", NULL, 0), ENOENT);
}

static void test_print(void **state)
{
	struct conf c, again = {0};
	char err[256], *text = NULL, *text2 = NULL;
	size_t n = 0;
	FILE *f;

	(void)state;
	loads("[main]\nname = x y\nquick = yes\n[dht]\nbootstrap = a, b\n", &c);
	f = open_memstream(&text, &n);
	settings_print(table, &c, f);
	fclose(f);
	assert_string_equal(text, "[main]\n"
				  "timeout_ms = 500\n"
				  "name = x y\n"
				  "quick = yes\n"
				  "secret_file = \n"
				  "\n"
				  "[dht]\n"
				  "engine = opendht\n"
				  "port = 4222\n"
				  "bootstrap = a\n"
				  "bootstrap = b\n");
	file(text, n);
	assert_ok(settings_load(table, &again, path, err, sizeof(err)));
	f = open_memstream(&text2, &n);
	settings_print(table, &again, f);
	fclose(f);
	assert_string_equal(text, text2);
	free(text);
	free(text2);
	settings_free(table, &c);
	settings_free(table, &again);

	f = open_memstream(&text, &n);
	settings_manual(table, f);
	fclose(f);
	assert_non_null(strstr(text, "| `timeout_ms` | 10 to 5000 | `500` | yes | how long |"));
	assert_non_null(strstr(text, "| `name` | text, at most 20 bytes | must be set |  | who |"));
	assert_non_null(strstr(text, "| `engine` | `opendht`, `memory` | `opendht` |  | which |"));
	free(text);
}

static void rejected(const char *key, const char *value, const char *message)
{
	char err[256], want[256];

	assert_int_equal(settings_reject(path, "dht", key, value, err, sizeof(err), "%d is odd", 3),
			 EINVAL);
	snprintf(want, sizeof(want), "%s%s", path, message);
	assert_string_equal(err, want);
}

static void test_reject(void **state)
{
	static const char text[] = N "port = 9\n[dht]\n# port\n port = 3\nbootstrap = a, b\n"
				     "bootstrap = c\n";
	char err[256];

	(void)state;
	file(text, sizeof(text) - 1);
	rejected("port", NULL, ":6: [dht] port: 3 is odd");
	rejected("bootstrap", NULL, ":7: [dht] bootstrap: 3 is odd");
	rejected("bootstrap", "c", ":8: [dht] bootstrap: 3 is odd");
	rejected("engine", NULL, ": [dht] engine: 3 is odd");
	assert_int_equal(settings_reject(NULL, "a", "b", NULL, err, sizeof(err), "no"), EINVAL);
	assert_string_equal(err, "(defaults): [a] b: no");
	assert_int_equal(settings_reject("/nonexistent/x", "a", "b", NULL, err, sizeof(err), "no"),
			 EINVAL);
	assert_string_equal(err, "/nonexistent/x: [a] b: no");
	assert_int_equal(settings_reject(path, "a", "b", NULL, NULL, 0, "no"), EINVAL);
}

static char changes[256];

static void changed(const struct setting *row, bool applied, void *arg)
{
	(void)arg;
	snprintf(changes + strlen(changes), sizeof(changes) - strlen(changes), "%s=%d ", row->key,
		 applied);
}

static void test_reload(void **state)
{
	struct conf c, fresh;

	(void)state;
	loads(N, &c);
	loads("[main]\nname = y\ntimeout_ms = 600\n[dht]\nport = 1\nbootstrap = z\n", &fresh);
	changes[0] = '\0';
	settings_reload(table, &c, &fresh, changed, NULL);
	assert_string_equal(changes, "timeout_ms=1 name=0 port=0 bootstrap=1 ");
	assert_int_equal(c.timeout_ms, 600);
	assert_string_equal(c.name, "x");
	assert_int_equal(c.port, 4222);
	assert_int_equal(c.peers.n, 1);
	assert_string_equal(c.peers.v[0], "z");
	settings_free(table, &fresh);
	settings_free(table, &c);
}

static int allocate(void *arg)
{
	struct conf c = {0};
	char err[256];
	int rc = settings_load(table, &c, path, err, sizeof(err));

	(void)arg;
	if (rc == 0)
		settings_free(table, &c);
	else
		assert_null(c.name);
	return rc;
}

static void test_alloc(void **state)
{
	(void)state;
	file("[main]\nname = x\n[dht]\nbootstrap = a,b,c\n", 39);
	alloc_loop(allocate, NULL, false);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_defaults), T(test_all),	  T(test_refused), T(test_no_file),
		T(test_print),	  T(test_reload), T(test_alloc),   T(test_reject),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
