/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a node of OpenDHT that is none of ours puts, and says: only records that are put together as
 * docs/records.md has it, where they belong, are stored, whatever else a policy would take. */
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
#include <unistd.h>
#include <vector>
extern "C" {
#include <setjmp.h>
#include <cmocka.h>
}
#include "dht-gateway/engine/opendht_shim.h"

namespace
{

constexpr dht::ValueType::Id RECORD = 0x5032;
constexpr uint32_t NETWORK = 4712;
using key_bytes = std::array<uint8_t, ODHT_KEY_LEN>;

struct seen {
	std::mutex mtx;
	std::vector<std::string> stored, found;
	unsigned edits{0}, done{0};
};

bool store(odht_type, const uint8_t *, uint64_t id, const void *data, size_t len, void *arg)
{
	auto s = static_cast<seen *>(arg);
	std::lock_guard<std::mutex> lock(s->mtx);

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

/* A gateway's node, and a stranger's that has met it. */
struct scene {
	struct seen seen;
	odht *node{nullptr};
	dht::DhtRunner stranger;

	scene()
	{
		odht_config config{};
		dht::DhtRunner::Config rc;
		char reason[256] = "";

		config.bind4 = "127.0.0.1";
		config.port = free_port();
		config.network = NETWORK;
		config.node_id[0] = 1;
		config.max_requests = config.max_peer_requests = -1;
		config.store_bytes = 1 << 20;
		config.value_ttl_s = 3600;
		config.policy.store = store;
		config.policy.edit = edit;
		config.value = on_value;
		config.done = on_done;
		config.status = on_status;
		config.arg = config.policy.arg = &seen;
		if (odht_new(&node, &config, reason, sizeof(reason)))
			fail_msg("%s", reason);
		rc.dht_config.node_config.network = NETWORK;
		rc.dht_config.node_config.maintain_storage = false;
		rc.threaded = true;
		stranger.run(free_port(), rc);
		stranger.registerType(dht::ValueType(RECORD, "record", std::chrono::hours(1)));
		stranger.bootstrap("127.0.0.1", std::to_string(config.port));
		assert_true(wait_for([this] {
			odht_info info{};

			odht_info_refresh(node);
			odht_info_get(node, &info);
			return info.good4 > 0;
		}));
	}
	~scene()
	{
		stranger.join();
		odht_free(node);
	}

	void put(const dht::InfoHash &place, const std::string &user_type,
		 const std::vector<uint8_t> &data, uint64_t id)
	{
		auto v = std::make_shared<dht::Value>(RECORD, data, id);
		auto ended = std::make_shared<std::promise<void>>();

		v->user_type = user_type;
		stranger.put(place, v,
			     dht::DoneCallbackSimple([ended](bool) { ended->set_value(); }));
		assert_true(ended->get_future().wait_for(std::chrono::seconds(20)) ==
			    std::future_status::ready);
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

} // namespace

int main()
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_records_are_stored),
		cmocka_unit_test(test_what_strangers_say),
	};

	return cmocka_run_group_tests(tests, nullptr, nullptr);
}
