/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a node of OpenDHT that is none of ours puts, and says: only records that are put together as
 * docs/records.md has it, where they belong, are stored, whatever else a policy would take; and
 * what is stored counts for the memory that it takes, as long as it is there. */
#include <opendht/dhtrunner.h>
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>
extern "C" {
#include <setjmp.h>
#include <cmocka.h>
}
#include "dht-gateway/engine/opendht_shim.h"

namespace
{

/* Sanitizers keep what is free, and a shadow of all: memory is not what it is without them. */
#if defined(__SANITIZE_ADDRESS__)
constexpr bool weighs_more = true;
#elif defined(__has_feature)
constexpr bool weighs_more = __has_feature(address_sanitizer);
#else
constexpr bool weighs_more = false;
#endif

constexpr dht::ValueType::Id RECORD = 0x5032;
constexpr uint32_t NETWORK = 4712;
using key_bytes = std::array<uint8_t, ODHT_KEY_LEN>;

struct seen {
	std::mutex mtx;
	std::vector<std::string> stored, found;
	unsigned edits{0}, done{0};
	bool forgets{false};
};

bool store(odht_type, const uint8_t *, uint64_t id, const void *data, size_t len, void *arg)
{
	auto s = static_cast<seen *>(arg);
	std::lock_guard<std::mutex> lock(s->mtx);

	if (!s->forgets)
		s->stored.push_back(std::to_string(id) + " " +
				    std::string(static_cast<const char *>(data), len));
	return true;
}

bool edit(const void *, size_t, const void *, size_t, void *arg)
{
	auto s = static_cast<seen *>(arg);
	std::lock_guard<std::mutex> lock(s->mtx);

	s->edits++;
	return true;
}

void on_value(uint64_t, uint64_t id, const void *data, size_t len, bool here, void *arg)
{
	auto s = static_cast<seen *>(arg);
	std::lock_guard<std::mutex> lock(s->mtx);

	s->found.push_back(std::to_string(id) + " " +
			   std::string(static_cast<const char *>(data), len) +
			   (here ? " here" : ""));
}

void on_done(uint64_t, bool, unsigned, void *arg)
{
	auto s = static_cast<seen *>(arg);
	std::lock_guard<std::mutex> lock(s->mtx);

	s->done++;
}

void on_status(void *)
{
}

uint16_t free_port()
{
	sockaddr_in sa{};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	sa.sin_family = AF_INET;
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, reinterpret_cast<sockaddr *>(&sa), sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, reinterpret_cast<sockaddr *>(&sa), &len), 0);
	close(fd);
	return ntohs(sa.sin_port);
}

template <typename F> bool wait_for(F &&f)
{
	for (int i = 0; i < 1000; i++) {
		if (f())
			return true;
		std::this_thread::sleep_for(std::chrono::milliseconds(20));
	}
	return false;
}

dht::InfoHash place_of(const key_bytes &key)
{
	key_bytes place{};

	place[0] = key[0];
	place[1] = (key[1] & 0xc0) | 0x20;
	return dht::InfoHash(place.data(), place.size());
}

std::string name_of(const key_bytes &key)
{
	return std::string(key.begin(), key.end());
}

std::vector<uint8_t> data_of(uint64_t id, const std::string &record, uint8_t mark = 0)
{
	std::vector<uint8_t> data(12);

	data[0] = mark;
	for (int i = 0; i < 8; i++)
		data[4 + i] = static_cast<uint8_t>(id >> (56 - 8 * i));
	data.insert(data.end(), record.begin(), record.end());
	return data;
}

uint64_t value_id(const key_bytes &key, uint64_t id)
{
	std::vector<uint8_t> all(key.begin(), key.end());
	uint64_t out = 0;

	for (int i = 0; i < 8; i++)
		all.push_back(static_cast<uint8_t>(id >> (56 - 8 * i)));
	auto hash = dht::InfoHash::get(all);
	for (int i = 0; i < 8; i++)
		out = out << 8 | hash[i];
	return out;
}

/* It puts what it likes. */
struct stranger {
	dht::DhtRunner runner;

	explicit stranger(uint16_t port)
	{
		dht::DhtRunner::Config rc;

		rc.dht_config.node_config.network = NETWORK;
		rc.dht_config.node_config.maintain_storage = false;
		rc.threaded = true;
		runner.run(free_port(), rc);
		runner.registerType(dht::ValueType(RECORD, "record", std::chrono::hours(1)));
		runner.bootstrap("127.0.0.1", std::to_string(port));
	}
	~stranger()
	{
		runner.join();
	}

	std::future<void> begin(const dht::InfoHash &place, const std::string &user_type,
				const std::vector<uint8_t> &data, uint64_t id)
	{
		auto v = std::make_shared<dht::Value>(RECORD, data, id);
		auto ended = std::make_shared<std::promise<void>>();

		v->user_type = user_type;
		runner.put(place, v,
			   dht::DoneCallbackSimple([ended](bool) { ended->set_value(); }));
		return ended->get_future();
	}
	bool put(const dht::InfoHash &place, const std::string &user_type,
		 const std::vector<uint8_t> &data, uint64_t id)
	{
		return begin(place, user_type, data, id).wait_for(std::chrono::seconds(20)) ==
		       std::future_status::ready;
	}
};

/* A gateway's node, and a stranger's that has met it. */
struct scene {
	struct seen seen;
	odht *node{nullptr};
	uint16_t port{free_port()};
	std::unique_ptr<struct stranger> other;

	explicit scene(uint64_t store_bytes = 1 << 20, uint32_t ttl_s = 3600)
	{
		odht_config config{};
		char reason[256] = "";

		config.bind4 = "127.0.0.1";
		config.port = port;
		config.network = NETWORK;
		config.node_id[0] = 1;
		config.max_requests = config.max_peer_requests = -1;
		config.store_bytes = store_bytes;
		config.value_ttl_s = ttl_s;
		config.policy.store = store;
		config.policy.edit = edit;
		config.value = on_value;
		config.done = on_done;
		config.status = on_status;
		config.arg = config.policy.arg = &seen;
		if (odht_new(&node, &config, reason, sizeof(reason)))
			fail_msg("%s", reason);
	}
	~scene()
	{
		other.reset();
		odht_free(node);
	}

	/* A new one: it knows of nothing that was put before. */
	void meet()
	{
		other.reset();
		other = std::make_unique<struct stranger>(port);
		met();
	}
	void met()
	{
		assert_true(wait_for([this] { return info().good4 > 0; }));
	}

	void put(const dht::InfoHash &place, const std::string &user_type,
		 const std::vector<uint8_t> &data, uint64_t id)
	{
		if (!other)
			meet();
		assert_true(other->put(place, user_type, data, id));
	}
	/* A record of the n-th key at a place. */
	void put(uint8_t place, uint32_t n)
	{
		const key_bytes key{
			{place, 0, static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)}};

		put(place_of(key), name_of(key), data_of(1, std::string(200, 'r')),
		    value_id(key, 1));
	}

	odht_info info()
	{
		odht_info got{};

		odht_info_refresh(node);
		odht_info_get(node, &got);
		return got;
	}
	bool stores(uint64_t n)
	{
		return wait_for([this, n] { return info().stored == n; });
	}
};

void test_only_records_are_stored(void **)
{
	scene s;
	const key_bytes key{{7, 0x41, 1}}, other{{7, 0x41, 2}}, none{{7, 0x41, 3}},
		far{{8, 0x41, 1}};
	const auto good = data_of(5, "record");
	auto id = value_id(key, 5);

	s.put(place_of(key), "", good, id);
	s.put(place_of(key), "short", good, id + 1);
	s.put(place_of(key), name_of(far), good, value_id(far, 5));
	s.put(dht::InfoHash(key.data(), key.size()), name_of(key), good, id);
	s.put(place_of(key), name_of(key), good, id + 2);
	s.put(place_of(key), name_of(key), data_of(6, "record"), id + 3);
	s.put(place_of(key), name_of(other), good, id + 4);
	s.put(place_of(key), name_of(key), data_of(8, "record", 1), value_id(key, 8));
	s.put(place_of(key), name_of(key), data_of(9, ""), value_id(key, 9));
	s.put(place_of(key), name_of(key), {1, 2, 3}, id + 5);
	s.put(place_of(key), name_of(key), {}, id + 6);
	assert_true(s.seen.stored.empty());
	/* as it should be; and no other takes its place without being one */
	s.put(place_of(key), name_of(key), good, id);
	assert_int_equal(s.seen.stored.size(), 1);
	assert_string_equal(s.seen.stored[0].c_str(), "5 record");
	s.put(place_of(key), name_of(other), data_of(5, "takes it"), id);
	s.put(place_of(key), name_of(key), data_of(6, "takes it"), id);
	s.put(place_of(key), name_of(key), data_of(5, "takes it", 1), id);
	assert_int_equal(s.seen.edits, 0);
	s.put(place_of(key), name_of(key), data_of(5, "later"), id);
	assert_int_equal(s.seen.edits, 1);
	assert_int_equal(s.seen.stored.size(), 1);
	/* it is what is asked for by its key, and nothing else */
	assert_int_equal(odht_get(s.node, none.data(), 1), 0);
	assert_true(wait_for([&s] { return s.seen.done == 1; }));
	assert_true(s.seen.found.empty());
	assert_int_equal(odht_get(s.node, key.data(), 2), 0);
	assert_true(wait_for([&s] { return s.seen.done == 2; }));
	assert_true(!s.seen.found.empty());
}

/* A stranger keeps whatever it likes, and tells it to who asks. */
void test_what_strangers_say(void **)
{
	scene s;
	const key_bytes key{{7, 0x41, 1}};

	s.meet();
	s.put(place_of(key), name_of(key), {1, 2, 3}, 11);
	s.put(place_of(key), name_of(key), {}, 12);
	s.put(place_of(key), name_of(key), data_of(6, ""), 13);
	s.put(place_of(key), name_of(key), data_of(6, "any", 9), 14);
	assert_int_equal(odht_get(s.node, key.data(), 1), 0);
	assert_true(wait_for([&s] { return s.seen.done == 1; }));
	/* nothing that is shorter than a record's head */
	assert_int_equal(s.seen.found.size(), 1);
	assert_string_equal(s.seen.found[0].c_str(), "6 any");
}

/* What lies at a place counts there until it is gone, however often and long it is repeated. */
void test_a_place(void **)
{
	using clock = std::chrono::steady_clock;
	constexpr unsigned MOST = 8, TTL_S = 4;
	constexpr uint64_t EACH = 900;
	scene s(16 * MOST * EACH, TTL_S);

	s.meet();
	for (unsigned i = 0; i < MOST + 4; i++)
		s.put(1, i);
	assert_true(s.stores(MOST));
	assert_int_equal(s.info().refused, 4);
	s.put(2, 1);
	assert_true(s.stores(MOST + 1));
	/* each time by somebody who has to ask first whether it is there */
	auto begun = clock::now();
	while (clock::now() - begun < std::chrono::milliseconds(TTL_S * 1600)) {
		s.meet();
		for (unsigned i = 0; i < MOST; i++)
			s.put(1, i);
		s.put(1, 1000);
		std::this_thread::sleep_for(std::chrono::milliseconds(TTL_S * 100));
	}
	for (unsigned i = MOST; i < 3 * MOST; i++)
		s.put(1, i);
	assert_true(s.stores(MOST));
	/* and when they are gone, all that they took is free */
	assert_true(s.stores(0));
	assert_true(wait_for([&s] { return s.info().stored_bytes == 0; }));
	s.meet();
	for (unsigned i = 0; i < MOST + 4; i++)
		s.put(1, 100 + i);
	assert_true(s.stores(MOST));
}

size_t resident()
{
	size_t all = 0, pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu %zu", &all, &pages), 2);
	fclose(f);
	return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

/* The stranger of test_memory: it puts n records for each port that it reads, and says so. */
void putter(int in, int out)
{
	constexpr uint32_t AT_ONCE = 64;
	uint32_t n[2], done = 0;
	uint16_t port;

	if (read(in, &port, sizeof(port)) != sizeof(port))
		_exit(1);
	struct stranger s(port);
	while (read(in, n, sizeof(n)) == sizeof(n)) {
		while (n[0] < n[1]) {
			std::vector<std::future<void>> all;
			for (uint32_t i = 0; i < AT_ONCE && n[0] < n[1]; i++, n[0]++) {
				const key_bytes key{{static_cast<uint8_t>(n[0]),
						     static_cast<uint8_t>(n[0] >> 2 & 0xc0),
						     static_cast<uint8_t>(n[0] >> 8),
						     static_cast<uint8_t>(n[0] >> 16), 1}};
				all.push_back(s.begin(place_of(key), name_of(key),
						      data_of(1, std::string(200, 'r')),
						      value_id(key, 1)));
			}
			for (auto &f : all)
				f.wait();
		}
		done++;
		if (write(out, &done, sizeof(done)) != sizeof(done))
			break;
	}
	_exit(0);
}

/* store_bytes says what a value takes: against what the process really has grown by. */
void test_memory(void **)
{
	constexpr uint32_t FEW = 2000, MANY = 8000;
	constexpr unsigned WAIT_S = 240;
	int to[2], from[2];

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	alarm(WAIT_S);
	/* in a process of its own: what it keeps is not to be weighed */
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		alarm(WAIT_S);
		close(to[1]);
		putter(to[0], from[1]);
	}
	scene s(1 << 30);
	auto put = [&](uint32_t begin, uint32_t end) {
		const uint32_t n[2] = {begin, end};
		uint32_t done;

		assert_int_equal(write(to[1], n, sizeof(n)), sizeof(n));
		assert_int_equal(read(from[0], &done, sizeof(done)), sizeof(done));
		assert_true(s.stores(end));
	};
	s.seen.forgets = true;
	assert_int_equal(write(to[1], &s.port, sizeof(s.port)), sizeof(s.port));
	s.met();
	put(0, FEW);
	size_t rss = resident();
	uint64_t counted = s.info().stored_bytes;
	put(FEW, FEW + MANY);
	double grown = static_cast<double>(resident() - rss);
	double count = static_cast<double>(s.info().stored_bytes - counted);
	printf("# each of %u values of 200 bytes: %.0f bytes resident, %.0f counted\n", MANY,
	       grown / MANY, count / MANY);
	for (int fd : {to[0], to[1], from[0], from[1]})
		close(fd);
	assert_int_equal(waitpid(pid, nullptr, 0), pid);
	alarm(0);
	if (!weighs_more)
		assert_true(count > 0.85 * grown && count < 1.15 * grown);
}

} // namespace

int main()
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_records_are_stored),
		cmocka_unit_test(test_what_strangers_say),
		cmocka_unit_test(test_a_place),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, nullptr, nullptr);
}
