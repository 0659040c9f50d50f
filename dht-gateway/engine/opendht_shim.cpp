/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dht-gateway/engine/opendht_shim.h"
#include <opendht/dhtrunner.h>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <future>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>

namespace
{

/* "P2" and the next: the types of this overlay software's values. */
constexpr dht::ValueType::Id RECORD_TYPE = 0x5032;
constexpr dht::ValueType::Id BELL_TYPE = 0x5033;

/* At one place at most so much of the store. */
constexpr unsigned PLACE_SHARE = 16;

/* What a stored value takes beside its bytes: dht::Value, OpenDHT's entry of it and its place among
 * all of the one who put it, the timer of its end, malloc's share of each.
 * tests/unit/test_opendht_shim measures it. */
constexpr size_t VALUE_OVERHEAD = 650;

using node_list = std::vector<std::shared_ptr<dht::Node>>;

dht::InfoHash to_hash(const uint8_t key[ODHT_KEY_LEN])
{
	static_assert(HASH_LEN == ODHT_KEY_LEN, "OpenDHT's keys are of another length");
	return dht::InfoHash(key, ODHT_KEY_LEN);
}

/* Where a record lies. OpenDHT keeps a search for each of its keys that something is put to or read
 * from, for an hour: so records whose keys begin with the same 10 bits share one of OpenDHT's.
 * Their own key is the value's user type, by which it is asked for, and their id stands in front of
 * the record, behind a mark: 0, and in this node's own copy another (odht_put). */
constexpr size_t PLACES = 1024;
constexpr size_t MARK_LEN = 4;
constexpr size_t HEAD_LEN = MARK_LEN + 8;

dht::InfoHash place_of(const uint8_t key[ODHT_KEY_LEN])
{
	/* the middle of them all: a key of zeros only is none for OpenDHT */
	const uint8_t place[ODHT_KEY_LEN] = {key[0], static_cast<uint8_t>((key[1] & 0xc0) | 0x20)};

	return to_hash(place);
}

size_t place_number(const dht::InfoHash &place)
{
	return static_cast<size_t>(place.data()[0]) << 2 | place.data()[1] >> 6;
}

std::string name_of(const uint8_t key[ODHT_KEY_LEN])
{
	return std::string(reinterpret_cast<const char *>(key), ODHT_KEY_LEN);
}

uint64_t be64(const uint8_t *p)
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n = n << 8 | p[i];
	return n;
}

/* Of a record with this key, from its head: what OpenDHT tells it by from others in its place.
 * Nobody can make another one that has the same. */
dht::Value::Id value_id(const std::string &name, const uint8_t head[HEAD_LEN])
{
	uint8_t all[ODHT_KEY_LEN + 8];

	memcpy(all, name.data(), ODHT_KEY_LEN);
	memcpy(all + ODHT_KEY_LEN, head + MARK_LEN, 8);
	dht::Value::Id id = be64(dht::InfoHash::get(all, sizeof(all)).data());
	return id ? id : 1;
}

/* Is it a record as odht_put sends them, where it belongs? */
bool is_record(const dht::InfoHash &place, const dht::Value &v)
{
	static const uint8_t no_mark[MARK_LEN] = {};

	return v.user_type.size() == ODHT_KEY_LEN && v.data.size() > HEAD_LEN &&
	       !memcmp(v.data.data(), no_mark, MARK_LEN) &&
	       place == place_of(reinterpret_cast<const uint8_t *>(v.user_type.data())) &&
	       v.id == value_id(v.user_type, v.data.data());
}

/* What a callback needs, shared with it: it may come while, and shortly after, its owner goes. */
struct sink {
	std::mutex mtx;
	bool open{true};
	std::atomic<bool> connected{false};
	odht_config config{};
	/* of our own copies: see odht_put */
	uint8_t mark[MARK_LEN];
	/* Of all values that are there: what they take (see counted). At a place only those of
	 * others: who asks there has all of them compared. */
	std::atomic<uint64_t> bytes{0};
	std::atomic<uint64_t> place[PLACES]{};
	std::atomic<uint64_t> refused{0};

	bool room_for(uint64_t len, const std::atomic<uint64_t> *at)
	{
		if (bytes + len <= config.store_bytes &&
		    (!at || *at + len <= config.store_bytes / PLACE_SHARE))
			return true;
		refused++;
		return false;
	}

	void value(uint64_t tag, const dht::Value &v)
	{
		if (v.type != RECORD_TYPE && v.type != BELL_TYPE)
			return;
		size_t head = v.type == RECORD_TYPE ? HEAD_LEN : 0;
		if (v.data.size() <= head)
			return;
		const uint8_t *data = v.data.data();
		std::lock_guard<std::mutex> lock(mtx);
		if (open)
			config.value(tag, head ? be64(data + MARK_LEN) : v.id, data + head,
				     v.data.size() - head, head && !memcmp(data, mark, MARK_LEN),
				     config.arg);
	}
	void done(uint64_t tag, bool ok, unsigned nodes)
	{
		std::lock_guard<std::mutex> lock(mtx);
		if (open)
			config.done(tag, ok, nodes, config.arg);
	}
	void status()
	{
		std::lock_guard<std::mutex> lock(mtx);
		if (open)
			config.status(config.arg);
	}
};

uint64_t cost_of(const dht::Value &v)
{
	return v.size() + VALUE_OVERHEAD;
}

/* A value that counts for as long as it lives, whoever keeps it: OpenDHT does not say when it
 * drops one, nor how much lies at a place. */
class counted : public dht::Value
{
      public:
	counted(dht::Value &&v, std::shared_ptr<sink> keeper, std::atomic<uint64_t> *where)
	    : dht::Value(std::move(v)), out(std::move(keeper)), at(where), cost(cost_of(*this))
	{
		out->bytes += cost;
		if (at)
			*at += cost;
	}
	~counted()
	{
		out->bytes -= cost;
		if (at)
			*at -= cost;
	}
	counted(const counted &) = delete;
	counted &operator=(const counted &) = delete;

      private:
	std::shared_ptr<sink> out;
	std::atomic<uint64_t> *at; /* in *out; NULL: at none */
	uint64_t cost;
};

/* Runs f, and turns whatever it throws into an errno. */
template <typename F> int guarded(F &&f, char *reason = nullptr, size_t reasonlen = 0) noexcept
{
	int err = 0;
	const char *what = "";
	try {
		f();
	} catch (const std::bad_alloc &) {
		err = ENOMEM;
	} catch (const std::system_error &e) {
		err = e.code().value() > 0 ? e.code().value() : EIO;
		if (reason)
			snprintf(reason, reasonlen, "%s", e.what());
		return err;
	} catch (const std::exception &e) {
		err = EIO;
		if (reason)
			snprintf(reason, reasonlen, "%s", e.what());
		return err;
	} catch (...) {
		err = EIO;
		what = "unknown exception";
	}
	if (err && reason)
		snprintf(reason, reasonlen, "%s", what);
	return err;
}

} // namespace

struct odht_listener {
	dht::InfoHash key;
	std::shared_future<size_t> token;
};

struct odht {
	std::shared_ptr<sink> out{std::make_shared<sink>()};
	std::mutex stats_mtx;
	odht_info stats{};
	/* last: goes first, and with it the thread that uses the others */
	dht::DhtRunner runner;
};

namespace
{

using node_handler = void (*)(const uint8_t id[ODHT_KEY_LEN], const void *sa, size_t salen,
			      void *arg);

/* OpenDHT 3 gives a node's address as an object, 2 as a sockaddr and its length: what does not
 * compile for the library at hand is no candidate. */
template <typename N>
auto node_tell(const N &n, node_handler node, void *arg) -> decltype(n.addr.get(), void())
{
	node(n.id.data(), n.addr.get(), n.addr.getLength(), arg);
}

template <typename N>
auto node_tell(const N &n, node_handler node, void *arg) -> decltype(n.ss, n.sslen, void())
{
	node(n.id.data(), &n.ss, n.sslen, arg);
}

dht::ValueType value_type(const odht_config &config, odht_type type, std::shared_ptr<sink> out)
{
	const odht_policy policy = config.policy;
	/* OpenDHT stores what v, next is afterwards, and drops what it was. */
	return dht::ValueType(
		type == ODHT_BELL ? BELL_TYPE : RECORD_TYPE,
		type == ODHT_BELL ? "p2psip bell" : "p2psip record",
		std::chrono::seconds(type == ODHT_BELL ? ODHT_BELL_TTL_S : config.value_ttl_s),
		[policy, type, out](dht::InfoHash key, std::shared_ptr<dht::Value> &v,
				    const dht::InfoHash &, const dht::SockAddr &) {
			/* nothing of OpenDHT's own around the record: it would be stored unread */
			if (v->isEncrypted() || v->owner || v->recipient || !v->signature.empty())
				return false;
			const uint8_t *data = v->data.data();
			std::atomic<uint64_t> *at = nullptr;
			bool ok;
			if (type == ODHT_BELL) {
				ok = v->user_type.empty() &&
				     policy.store(type, key.data(), v->id, data, v->data.size(),
						  policy.arg);
			} else {
				at = &out->place[place_number(key)];
				ok = is_record(key, *v) &&
				     policy.store(
					     type,
					     reinterpret_cast<const uint8_t *>(v->user_type.data()),
					     be64(data + MARK_LEN), data + HEAD_LEN,
					     v->data.size() - HEAD_LEN, policy.arg);
			}
			if (!ok || !out->room_for(cost_of(*v), at))
				return false;
			v = std::make_shared<counted>(std::move(*v), out, at);
			return true;
		},
		[policy, type, out](dht::InfoHash key, const std::shared_ptr<dht::Value> &prev,
				    std::shared_ptr<dht::Value> &next, const dht::InfoHash &,
				    const dht::SockAddr &) {
			if (type != ODHT_RECORD || next->type != prev->type ||
			    next->user_type != prev->user_type || !is_record(key, *next) ||
			    prev->data.size() <= HEAD_LEN ||
			    !policy.edit(prev->data.data() + HEAD_LEN, prev->data.size() - HEAD_LEN,
					 next->data.data() + HEAD_LEN, next->data.size() - HEAD_LEN,
					 policy.arg))
				return false;
			next = std::make_shared<counted>(std::move(*next), out,
							 &out->place[place_number(key)]);
			return true;
		});
}

void start(odht *d, const odht_config *config)
{
	dht::DhtRunner::Config rc;
	dht::DhtRunner::Context ctx;
	auto &nc = rc.dht_config.node_config;

	nc.node_id = to_hash(config->node_id);
	nc.network = config->network;
	nc.max_req_per_sec = config->max_requests;
	nc.max_peer_req_per_sec = config->max_peer_requests;
	/* No limit of OpenDHT's own. What it does when it is over it, with a single address that
	 * stores here, never ends (2.4: Dht::expireStore goes past the end of its table); and its
	 * sum of bytes goes below zero, and so over any limit, where values change their size. */
	nc.max_store_size = -1;
	nc.max_store_keys = -1;
	/* Values are repeated by who put them. OpenDHT's own maintenance would announce them anew
	 * when they are put, in place of the put, which then fails. */
	nc.maintain_storage = false;
	nc.public_stable = true;
	rc.threaded = true;
	if (config->bind4) {
		rc.bind4.setFamily(AF_INET);
		rc.bind4.setAddress(config->bind4);
		rc.bind4.setPort(config->port);
	}
	if (config->bind6) {
		rc.bind6.setFamily(AF_INET6);
		rc.bind6.setAddress(config->bind6);
		rc.bind6.setPort(config->port);
	}
	auto out = d->out;
	memcpy(out->mark, config->node_id, MARK_LEN);
	out->mark[0] |= 1; /* never 0 */
	ctx.statusChangedCallback = [out](dht::NodeStatus s4, dht::NodeStatus s6) {
		out->connected =
			s4 == dht::NodeStatus::Connected || s6 == dht::NodeStatus::Connected;
		out->status();
	};
	d->runner.run(rc, std::move(ctx));
	d->runner.setStorageLimit(std::numeric_limits<size_t>::max());
	/* The thread runs now, but knows nobody to talk to yet: the types are there before the
	 * first packet that could bring a value. */
	d->runner.registerType(value_type(*config, ODHT_RECORD, out));
	d->runner.registerType(value_type(*config, ODHT_BELL, out));
	if ((config->bind4 && !d->runner.getBound(AF_INET)) ||
	    (config->bind6 && !d->runner.getBound(AF_INET6)))
		throw std::system_error(EADDRNOTAVAIL, std::generic_category(),
					"one of the addresses cannot be bound");
	snprintf(d->stats.node_id, sizeof(d->stats.node_id), "%s",
		 d->runner.getNodeId().toString().c_str());
}

} // namespace

int odht_new(struct odht **dp, const struct odht_config *config, char *reason, size_t reasonlen)
{
	odht *d = new (std::nothrow) odht();

	if (!d)
		return ENOMEM;
	int err = guarded(
		[&] {
			d->out->config = *config;
			start(d, config);
		},
		reason, reasonlen);
	if (err) {
		odht_free(d);
		return err;
	}
	*dp = d;
	return 0;
}

void odht_free(struct odht *d)
{
	if (!d)
		return;
	{
		std::lock_guard<std::mutex> lock(d->out->mtx);
		d->out->open = false;
	}
	guarded([&] { d->runner.join(); });
	guarded([&] { delete d; });
}

int odht_bootstrap(struct odht *d, const char *host, const char *port)
{
	return guarded([&] { d->runner.bootstrap(host, port); });
}

int odht_node_import(struct odht *d, const uint8_t id[ODHT_KEY_LEN], const void *sa, size_t salen)
{
	return guarded([&] {
		dht::SockAddr addr(static_cast<const sockaddr *>(sa),
				   static_cast<socklen_t>(salen));

		d->runner.bootstrap(to_hash(id), addr);
		/* that only puts it into the table; this asks it, so that we are connected as soon
		 * as one answers */
		d->runner.bootstrap(addr);
	});
}

int odht_nodes_export(struct odht *d,
		      void (*node)(const uint8_t id[ODHT_KEY_LEN], const void *sa, size_t salen,
				   void *arg),
		      void *arg)
{
	return guarded([&] {
		for (const auto &n : d->runner.exportNodes())
			node_tell(n, node, arg);
	});
}

int odht_put(struct odht *d, enum odht_type type, const uint8_t key[ODHT_KEY_LEN], uint64_t id,
	     const void *data, size_t len, uint64_t tag)
{
	return guarded([&] {
		auto out = d->out;
		const uint8_t *bytes = static_cast<const uint8_t *>(data);
		std::shared_ptr<dht::Value> v;
		dht::InfoHash place;
		if (type == ODHT_BELL) {
			v = std::make_shared<counted>(dht::Value(BELL_TYPE, bytes, len, id), out,
						      nullptr);
			place = to_hash(key);
		} else {
			std::vector<uint8_t> all(HEAD_LEN + len);
			for (int i = 0; i < 8; i++)
				all[MARK_LEN + i] = static_cast<uint8_t>(id >> (56 - 8 * i));
			memcpy(all.data() + HEAD_LEN, data, len);
			dht::Value record(RECORD_TYPE, std::move(all));
			record.user_type = name_of(key);
			record.id = value_id(record.user_type, record.data.data());
			v = std::make_shared<counted>(std::move(record), out, nullptr);
			place = place_of(key);
		}
		/* Not permanent: a permanent put costs three times the memory, and needs a sequence
		 * number of 16 bits to be replaced. The gateway repeats its puts itself.
		 *
		 * OpenDHT keeps a copy in our own store, and reports each value of a get once: our
		 * copy hides those of others, so that nothing could be learnt by reading back. Once
		 * the value has been sent, our copy, which is v itself, is made another by a mark.
		 * This is OpenDHT's thread, the only one that uses it. */
		d->runner.put(place, v,
			      dht::DoneCallback([out, tag, v](bool ok, const node_list &n) {
				      if (v->type == RECORD_TYPE)
					      memcpy(v->data.data(), out->mark, MARK_LEN);
				      out->done(tag, ok, static_cast<unsigned>(n.size()));
			      }));
	});
}

int odht_get(struct odht *d, const uint8_t key[ODHT_KEY_LEN], uint64_t tag)
{
	return guarded([&] {
		auto out = d->out;
		d->runner.get(
			place_of(key),
			dht::GetCallback(
				[out, tag](const std::vector<std::shared_ptr<dht::Value>> &vals) {
					for (const auto &v : vals)
						out->value(tag, *v);
					return true;
				}),
			dht::DoneCallback(
				[out, tag](bool ok,
					   const std::vector<std::shared_ptr<dht::Node>> &nodes) {
					out->done(tag, ok, static_cast<unsigned>(nodes.size()));
				}),
			{}, dht::Where().userType(name_of(key)));
	});
}

int odht_listen(struct odht *d, const uint8_t key[ODHT_KEY_LEN], uint64_t tag,
		struct odht_listener **lp)
{
	odht_listener *l = new (std::nothrow) odht_listener();

	if (!l)
		return ENOMEM;
	int err = guarded([&] {
		auto out = d->out;
		l->key = to_hash(key);
		l->token = d->runner
				   .listen(l->key, dht::ValueCallback([out, tag](const auto &vals,
										 bool expired) {
						   if (!expired)
							   for (const auto &v : vals)
								   out->value(tag, *v);
						   return true;
					   }))
				   .share();
	});
	if (err) {
		delete l;
		return err;
	}
	*lp = l;
	return 0;
}

void odht_unlisten(struct odht *d, struct odht_listener *l)
{
	if (!l)
		return;
	guarded([&] { d->runner.cancelListen(l->key, l->token); });
	delete l;
}

void odht_info_get(struct odht *d, struct odht_info *info)
{
	std::lock_guard<std::mutex> lock(d->stats_mtx);
	*info = d->stats;
	info->connected = d->out->connected;
	info->refused = d->out->refused;
	info->stored_bytes = d->out->bytes;
}

void odht_info_refresh(struct odht *d)
{
	guarded([&] {
		d->runner.getNodeInfo([d](std::shared_ptr<dht::NodeInfo> ni) {
			if (!ni)
				return;
			std::lock_guard<std::mutex> lock(d->stats_mtx);
			d->stats.good4 = ni->ipv4.good_nodes;
			d->stats.good6 = ni->ipv6.good_nodes;
			d->stats.dubious = ni->ipv4.dubious_nodes + ni->ipv6.dubious_nodes;
			d->stats.stored = ni->storage_values;
		});
	});
}
