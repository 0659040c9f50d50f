/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands that every server has, subscriptions, and the way to those of the table. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/bytes.h"
#include "lib/io/resp_impl.h"

/* Channels per client, and the longest channel's name */
#define CHANNELS_MAX 16
#define CHANNEL_LEN_MAX 64

static void command_entry_docs(struct resp_request *req, const char *name, const char *summary)
{
	/* what redis-cli's help wants to see */
	resp_reply_str(req, name);
	resp_reply_array(req, 6);
	resp_reply_str(req, "summary");
	resp_reply_str(req, summary != NULL ? summary : "");
	resp_reply_str(req, "since");
	resp_reply_str(req, "1.0.0");
	resp_reply_str(req, "group");
	resp_reply_str(req, "generic");
}

static const struct {
	const char *name, *summary;
} builtins[] = {
	{"COMMAND", "names of the commands; DOCS: what they do"},
	{"ECHO", "send the argument back"},
	{"HANDSHAKE", "agree on the protocol version"},
	{"INFO", "the state of the daemon"},
	{"PING", "PONG, or the argument"},
	{"QUIT", "close the connection"},
	{"SUBSCRIBE", "be told what is published on these channels"},
	{"UNSUBSCRIBE", "no longer be told"},
};
#define N_BUILTINS (sizeof(builtins) / sizeof(builtins[0]))

static bool is(const struct resp_arg *arg, const char *word)
{
	return strlen(word) == arg->len && strncasecmp(arg->s, word, arg->len) == 0;
}

static void command_command(struct resp_server *s, struct resp_request *req, int argc,
			    const struct resp_arg *argv)
{
	const struct resp_command *cmd;
	size_t n = N_BUILTINS, i;
	bool docs = argc > 1 && is(&argv[1], "DOCS");

	for (cmd = s->cfg.commands; cmd->name != NULL; cmd++)
		n++;
	if (argc > 1 && is(&argv[1], "COUNT")) {
		resp_reply_int(req, (int64_t)n);
		return;
	}
	if (argc > 1 && !docs) {
		resp_reply_error(req, "BADARG", "COMMAND knows COUNT and DOCS");
		return;
	}
	resp_reply_array(req, docs ? 2 * n : n);
	for (i = 0; i < N_BUILTINS; i++) {
		if (docs)
			command_entry_docs(req, builtins[i].name, builtins[i].summary);
		else
			resp_reply_str(req, builtins[i].name);
	}
	for (cmd = s->cfg.commands; cmd->name != NULL; cmd++) {
		if (docs)
			command_entry_docs(req, cmd->name, cmd->summary);
		else
			resp_reply_str(req, cmd->name);
	}
}

static struct channel *client_channel(struct resp_client *c, const void *name, size_t len)
{
	struct channel *ch;

	LIST_FOREACH(ch, &c->channels, le) {
		if (ch->len == len && memcmp(ch->name, name, len) == 0)
			return ch;
	}
	return NULL;
}

static void client_unsubscribe(struct resp_client *c, struct channel *ch)
{
	LIST_REMOVE(ch, le);
	free(ch);
	if (--c->n_channels == 0)
		c->server->st.subscribers--;
}

/* Each channel is answered by an array of its own; the request ends with the last one. That is what
 * RESP2 asks for, and no array around them: so the request is given an outer level that writes
 * nothing. */
static void subscribe_begin(struct resp_request *req, size_t n)
{
	req->left[0] = n;
	req->depth = 1;
}

static void subscribe_part(struct resp_request *req, const char *what, const void *name, size_t len,
			   int count)
{
	resp_reply_array(req, 3);
	resp_reply_str(req, what);
	if (name != NULL)
		resp_reply_bulk(req, name, len);
	else
		resp_reply_nil(req);
	resp_reply_int(req, count);
}

static void command_subscribe(struct resp_client *c, struct resp_request *req, int argc,
			      const struct resp_arg *argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (argv[i].len == 0 || argv[i].len > CHANNEL_LEN_MAX) {
			resp_reply_error(req, "BADARG", "bad channel name");
			return;
		}
	}
	if (argc - 1 > CHANNELS_MAX || c->n_channels + argc - 1 > CHANNELS_MAX) {
		resp_reply_error(req, "BADARG", "more than %d channels", CHANNELS_MAX);
		return;
	}
	subscribe_begin(req, (size_t)argc - 1);
	for (i = 1; i < argc; i++) {
		if (client_channel(c, argv[i].s, argv[i].len) == NULL) {
			struct channel *ch = malloc(sizeof(*ch) + argv[i].len);

			if (ch == NULL) {
				resp_client_doom(c, "out of memory");
			} else {
				ch->len = argv[i].len;
				memcpy(ch->name, argv[i].s, ch->len);
				LIST_INSERT_HEAD(&c->channels, ch, le);
				if (c->n_channels++ == 0)
					c->server->st.subscribers++;
			}
		}
		subscribe_part(req, "subscribe", argv[i].s, argv[i].len, c->n_channels);
	}
}

static void command_unsubscribe(struct resp_client *c, struct resp_request *req, int argc,
				const struct resp_arg *argv)
{
	struct channel *ch;
	int i;

	if (argc > 1) {
		subscribe_begin(req, (size_t)argc - 1);
		for (i = 1; i < argc; i++) {
			ch = client_channel(c, argv[i].s, argv[i].len);
			if (ch != NULL)
				client_unsubscribe(c, ch);
			subscribe_part(req, "unsubscribe", argv[i].s, argv[i].len, c->n_channels);
		}
		return;
	}
	if (c->n_channels == 0) {
		subscribe_begin(req, 1);
		subscribe_part(req, "unsubscribe", NULL, 0, 0);
		return;
	}
	subscribe_begin(req, (size_t)c->n_channels);
	while ((ch = LIST_FIRST(&c->channels)) != NULL) {
		char name[CHANNEL_LEN_MAX];
		size_t len = ch->len;

		memcpy(name, ch->name, len);
		client_unsubscribe(c, ch);
		subscribe_part(req, "unsubscribe", name, len, c->n_channels);
	}
}

static void command_ping(struct resp_client *c, struct resp_request *req, int argc,
			 const struct resp_arg *argv)
{
	if (c->n_channels > 0) {
		resp_reply_array(req, 2);
		resp_reply_str(req, "pong");
		resp_reply_bulk(req, argc > 1 ? argv[1].s : "", argc > 1 ? argv[1].len : 0);
	} else if (argc > 1) {
		resp_reply_bulk(req, argv[1].s, argv[1].len);
	} else {
		resp_request_write(req, "+PONG\r\n", 7);
		resp_request_part(req);
	}
}

static void command_handshake(struct resp_server *s, struct resp_request *req, int argc,
			      const struct resp_arg *argv)
{
	uint64_t version;

	if (p2p_u64_parse(&version, argv[1].s, argv[1].len) != 0) {
		resp_reply_error(req, "BADARG", "bad version");
		return;
	}
	if (version != (uint64_t)s->cfg.version) {
		resp_reply_error(req, "PROTO", "this server speaks version %d", s->cfg.version);
		return;
	}
	req->handshake = true;
	if (s->cfg.handshake != NULL) {
		s->cfg.handshake(req, argc, argv, s->cfg.arg);
		return;
	}
	resp_reply_array(req, 2);
	resp_reply_str(req, "version");
	resp_reply_u64(req, version);
}

void resp_dispatch(struct resp_server *s, struct resp_client *c, struct resp_request *req, int argc,
		   const struct resp_arg *argv)
{
	const struct resp_command *cmd;

	if (is(&argv[0], "PING") && argc <= 2) {
		command_ping(c, req, argc, argv);
		return;
	}
	if (is(&argv[0], "QUIT")) {
		c->quitting = true;
		resp_reply_ok(req);
		return;
	}
	if (is(&argv[0], "SUBSCRIBE") && argc >= 2) {
		command_subscribe(c, req, argc, argv);
		return;
	}
	if (is(&argv[0], "UNSUBSCRIBE")) {
		command_unsubscribe(c, req, argc, argv);
		return;
	}
	if (c->n_channels > 0) {
		resp_reply_error(req, "BADARG",
				 "a subscribed client may only SUBSCRIBE, UNSUBSCRIBE, PING, QUIT");
		return;
	}
	if (is(&argv[0], "ECHO") && argc == 2) {
		resp_reply_bulk(req, argv[1].s, argv[1].len);
		return;
	}
	if (is(&argv[0], "COMMAND")) {
		command_command(s, req, argc, argv);
		return;
	}
	if (is(&argv[0], "HANDSHAKE") && argc >= 2) {
		command_handshake(s, req, argc, argv);
		return;
	}
	if (is(&argv[0], "INFO") && argc <= 2 && s->cfg.info != NULL) {
		s->cfg.info(req, s->cfg.arg);
		return;
	}
	for (cmd = s->cfg.commands; cmd->name != NULL; cmd++) {
		if (!is(&argv[0], cmd->name))
			continue;
		if (argc < cmd->argc_min || (cmd->argc_max > 0 && argc > cmd->argc_max))
			resp_reply_error(req, "BADARG", "wrong number of arguments for %s",
					 cmd->name);
		else if (cmd->handshake && !c->handshaken)
			resp_reply_error(req, "NOHANDSHAKE", "HANDSHAKE comes before %s",
					 cmd->name);
		else
			cmd->handler(req, argc, argv, s->cfg.arg);
		return;
	}
	resp_reply_error(req, "BADARG", "unknown command, or wrong number of arguments");
}

static void client_message(struct resp_client *c, const char *channel, const void *s, size_t len)
{
	/* a reply of its own, so that it never falls into the middle of another one */
	struct resp_request *req = resp_request_new(c);

	if (req == NULL)
		return;
	resp_reply_array(req, 3);
	resp_reply_str(req, "message");
	resp_reply_str(req, channel);
	resp_reply_bulk(req, s, len);
}

int resp_server_publish(struct resp_server *s, const char *channel, const void *msg, size_t len)
{
	struct resp_client *c, *next;
	size_t chlen = strlen(channel);
	int n = 0;

	for (c = LIST_FIRST(&s->clients); c != NULL; c = next) {
		next = LIST_NEXT(c, le);
		if (c->doomed || client_channel(c, channel, chlen) == NULL)
			continue;
		client_message(c, channel, msg, len);
		n++;
	}
	return n;
}
