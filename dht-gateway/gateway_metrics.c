/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_metrics.h"
#include "dht-gateway/location/gateway_announce.h"
#include "dht-gateway/peers/gateway_ask.h"
#include "dht-gateway/enrol/gateway_auth_store.h"
#include "dht-gateway/location/gateway_cache.h"
#include "dht-gateway/members/gateway_gossip.h"
#include "dht-gateway/location/gateway_hold.h"
#include "dht-gateway/gateway_load.h"
#include "dht-gateway/location/gateway_lookup.h"
#include "dht-gateway/members/gateway_peers.h"
#include "dht-gateway/peers/gateway_serve.h"
#include "dht-gateway/peers/gateway_session.h"
#include "dht-gateway/location/gateway_sync.h"
#include "dht-gateway/location/gateway_users.h"
#include "dht-gateway/location/gateway_watch.h"
#include "lib/io/https_client.h"
#include "lib/io/https_server.h"

#define COUNTER(name, member, labels, help)                                                        \
	{                                                                                          \
		"p2psip_gateway_" name, METRIC_COUNTER, offsetof(struct gw_metrics, member),       \
			labels, help                                                               \
	}
#define GAUGE(name, member, labels, help)                                                          \
	{                                                                                          \
		"p2psip_gateway_" name, METRIC_GAUGE, offsetof(struct gw_metrics, member), labels, \
			help                                                                       \
	}

const struct metric gw_metrics_table[] = {
	COUNTER("routes_total", route_found, "result=\"found\"", "Lookups answered, by result."),
	COUNTER("routes_total", route_notfound, "result=\"notfound\"",
		"Lookups answered, by result."),
	COUNTER("routes_total", route_timeout, "result=\"timeout\"",
		"Lookups answered, by result."),
	COUNTER("routes_total", route_busy, "result=\"busy\"", "Lookups answered, by result."),
	COUNTER("lookups_total", lookups, NULL, "Lookups asked for."),
	COUNTER("lookups_cached_total", route_cached, NULL, "Of these, answered from the cache."),
	COUNTER("lookups_joined_total", lookups_joined, NULL,
		"Of these, answered by the search of another."),
	COUNTER("lookups_told_total", lookups_told, NULL,
		"Of these, answered by what a holder told while it was searched."),
	COUNTER("timeouts_ours_total", timeouts_ours, NULL,
		"Deadlines of questions to other gateways that were over while this one was late "
		"itself: nobody is doubted for them."),
	COUNTER("overloads_total", overloads, NULL,
		"Times when more came than could be done, and some lookups were turned down."),
	GAUGE("late_ms", late_ms, NULL, "How late the gateway's loop is in the mean, ms."),
	COUNTER("searches_total", searches, NULL, "Searches of the DHT for lookups."),
	COUNTER("searches_incomplete_total", searches_incomplete, NULL, "Of these, not completed."),
	COUNTER("publishes_total", publishes, NULL, "Users taken to be published."),
	COUNTER("withdrawals_total", withdrawals, NULL, "Users taken to be withdrawn."),
	COUNTER("stale_total", stale, NULL, "Wishes refused because a later one was known."),
	COUNTER("puts_total", puts, NULL, "Records of users handed to the DHT."),
	COUNTER("puts_failed_total", puts_failed, NULL, "Of these, failed (they are tried again)."),
	COUNTER("puts_stale_total", puts_stale, NULL,
		"Of these, older than one of our own that is out there (signed again)."),
	COUNTER("puts_unconfirmed_total", puts_unconfirmed, NULL,
		"Puts that were acknowledged but could not be read back."),
	COUNTER("announces_total", announces, NULL,
		"Requests by which holders were told of users served here."),
	COUNTER("announces_failed_total", announces_failed, NULL, "Of these, not answered."),
	COUNTER("announces_refused_total", announces_refused, NULL,
		"Records that a holder refused."),
	COUNTER("announces_missing_total", announces_missing, NULL,
		"Records that a holder had lost, and is told again."),
	COUNTER("announced_partly_total", announced_partly, NULL,
		"Records that all living holders have, fewer than a majority of all."),
	COUNTER("announced_here_total", announced_here, NULL,
		"Records of other peers' users announced here."),
	COUNTER("announced_bad_total", announced_bad, NULL, "Of these, and of changes, refused."),
	COUNTER("holder_queries_total", holder_queries, NULL, "Requests to holders for lookups."),
	COUNTER("held_asked_total", asked_here, NULL,
		"Keys that other gateways asked for here, as one of their holders."),
	COUNTER("held_answers_total", holders_yes, "result=\"found\"",
		"Lookups that holders have answered."),
	COUNTER("held_answers_total", holders_no, "result=\"absent\"",
		"Lookups that holders have answered."),
	COUNTER("held_answers_total", holders_unknown, "result=\"unknown\"",
		"Lookups that holders have answered."),
	COUNTER("changes_told_total", changes_told, NULL,
		"Requests by which others were told of changes."),
	COUNTER("changes_lost_total", changes_lost, NULL,
		"Changes that others could not be told of."),
	COUNTER("changes_heard_total", changes_heard, NULL, "Records that holders told us of."),
	COUNTER("sync_pages_total", sync_pages, NULL,
		"Pages of records that other holders told when they were asked for all."),
	COUNTER("sync_records_total", sync_records, NULL, "Records in them."),
	COUNTER("sync_failures_total", sync_failures, NULL, "Such questions without an answer."),
	COUNTER("values_good_total", values_good, NULL, "Values read from the DHT that were good."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_SIZE], "fault=\"wrong size\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_MAGIC], "fault=\"not a record\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_VERSION], "fault=\"unknown version\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_KIND], "fault=\"wrong kind\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_FLAGS], "fault=\"unknown flags\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_BODY], "fault=\"malformed body\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_UNKNOWN], "fault=\"unknown part\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_OVERLAY], "fault=\"wrong overlay\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_KEY], "fault=\"wrong key\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_SIGNER], "fault=\"wrong signer\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_FUTURE], "fault=\"dated ahead\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_LIFE], "fault=\"wrong life time\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_SIGNATURE], "fault=\"bad signature\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_NO_PERMISSION], "fault=\"no permission\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_BAD_PERMISSION],
		"fault=\"wrong permission\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_OLD_PERMISSION],
		"fault=\"expired permission\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_REPLAYED], "fault=\"replayed\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_bad_total", values_bad[P2P_RECORD_UNCHECKED],
		"fault=\"could not be checked\"",
		"Values read from the DHT that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_SIZE], "fault=\"wrong size\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_MAGIC],
		"fault=\"not a record\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_VERSION],
		"fault=\"unknown version\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_KIND], "fault=\"wrong kind\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_FLAGS],
		"fault=\"unknown flags\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_BODY],
		"fault=\"malformed body\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_UNKNOWN],
		"fault=\"unknown part\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_OVERLAY],
		"fault=\"wrong overlay\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_KEY], "fault=\"wrong key\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_SIGNER],
		"fault=\"wrong signer\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_FUTURE],
		"fault=\"dated ahead\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_LIFE],
		"fault=\"wrong life time\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_SIGNATURE],
		"fault=\"bad signature\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_NO_PERMISSION],
		"fault=\"no permission\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_BAD_PERMISSION],
		"fault=\"wrong permission\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_OLD_PERMISSION],
		"fault=\"expired permission\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("values_refused_total", values_refused[P2P_RECORD_UNCHECKED],
		"fault=\"could not be checked\"",
		"Values that others wanted stored here, and that were no good, by fault."),
	COUNTER("events_total", events_users, "channel=\"users\"", "Changes told to the modules."),
	COUNTER("events_total", events_peers, "channel=\"peers\"", "Changes told to the modules."),
	COUNTER("events_total", events_sessions, "channel=\"sessions\"",
		"Changes told to the modules."),
	COUNTER("events_total", events_auth, "channel=\"auth\"", "Changes told to the modules."),
	COUNTER("events_total", events_moves, "channel=\"moves\"", "Changes told to the modules."),
	COUNTER("reputs_total", reputs_kicked, NULL,
		"Times that everything was put again because nodes came."),
	COUNTER("routes_refuted_total", route_refuted, NULL,
		"Records that the peer they name said are stale."),
	COUNTER("routes_moved_total", route_moved, NULL,
		"Users found at the peer that the former one named."),
	COUNTER("asks_total", asks_yes, "result=\"yes\"",
		"Questions to other gateways, by answer."),
	COUNTER("asks_total", asks_orphan, "result=\"orphan\"",
		"Questions to other gateways, by answer."),
	COUNTER("asks_total", asks_no, "result=\"no\"", "Questions to other gateways, by answer."),
	COUNTER("asks_total", asks_moved, "result=\"moved\"",
		"Questions to other gateways, by answer."),
	COUNTER("asks_total", asks_timeout, "result=\"timeout\"",
		"Questions to other gateways, by answer."),
	COUNTER("asks_total", asks_failed, "result=\"failed\"",
		"Questions to other gateways, by answer."),
	COUNTER("asks_together_total", asks_together, NULL,
		"Questions about users that went to a peer together with others."),
	COUNTER("asks_skipped_total", asks_not_asked, NULL,
		"Questions not asked: the peer does not answer, or wants to be left alone."),
	COUNTER("breaker_opened_total", breaker_opened, NULL,
		"Times that a peer's gateway did not answer, and was left alone."),
	COUNTER("probes_total", probes, NULL, "Probes of such peers."),
	GAUGE("members", members_alive, "state=\"alive\"",
	      "Members of the overlay seen within ten minutes, this one among them."),
	GAUGE("members", members_suspect, "state=\"suspect\"",
	      "Members of the overlay seen within ten minutes, this one among them."),
	GAUGE("members", members_dead, "state=\"dead\"",
	      "Members of the overlay seen within ten minutes, this one among them."),
	COUNTER("member_exchanges_total", exchanges_ok, "result=\"ok\"",
		"Exchanges with other members that this one began."),
	COUNTER("member_exchanges_total", exchanges_failed, "result=\"failed\"",
		"Exchanges with other members that this one began."),
	COUNTER("member_exchanges_served_total", exchanges_served, NULL,
		"Exchanges that other members began."),
	COUNTER("member_news_total", news_told, "way=\"told\"",
		"Peer records and suspicions that members told each other."),
	COUNTER("member_news_total", news_heard, "way=\"heard\"",
		"Peer records and suspicions that members told each other."),
	COUNTER("member_suspicions_total", member_suspicions, NULL,
		"Times that a member was suspect here."),
	COUNTER("member_refuted_total", member_refuted, NULL,
		"Of these, refuted by the member itself."),
	COUNTER("member_deaths_total", member_deaths, NULL,
		"Times that a member was taken for dead here."),
	COUNTER("member_records_bad_total", member_records_bad, NULL,
		"Peer records told by members that were no good."),
	GAUGE("peers_broken", peers_broken, NULL, "Peers that are left alone now."),
	GAUGE("peer_connections", ask_connections, "side=\"client\"",
	      "Connections between gateways."),
	GAUGE("peer_connections", serve_connections, "side=\"server\"",
	      "Connections between gateways."),
	COUNTER("peer_connects_total", ask_connects, "side=\"client\"", "Connections opened."),
	COUNTER("peer_connects_total", serve_accepted, "side=\"server\"", "Connections opened."),
	COUNTER("asks_reused_total", ask_reused, NULL,
		"Requests over a connection that was there."),
	COUNTER("peer_requests_total", asked, NULL,
		"Requests of other gateways, without exchanges."),
	COUNTER("peer_requests_refused_total", asked_strangers, "reason=\"stranger\"",
		"Requests refused: of other overlays or without proof of membership; too many."),
	COUNTER("peer_requests_refused_total", serve_busy, "reason=\"busy\"",
		"Requests refused: of other overlays or without proof of membership; too many."),
	COUNTER("certificates_issued_total", enrol_issued, NULL,
		"Certificates of peers that the authority issued here."),
	COUNTER("certificates_refused_total", enrol_refused, NULL,
		"Requests for one that were refused: by the invitation, or revoked."),
	COUNTER("revocations_total", revocations, NULL,
		"Revocations of peers that this gateway has learned of."),
	COUNTER("peer_connections_closed_total", serve_closed, NULL,
		"Connections closed because they were too slow, or too many from one address."),
	COUNTER("answers_total", answers_yes, "result=\"yes\"", "Answers about users served here."),
	COUNTER("answers_total", answers_orphan, "result=\"orphan\"",
		"Answers about users served here."),
	COUNTER("answers_total", answers_no, "result=\"no\"", "Answers about users served here."),
	COUNTER("answers_total", answers_moved, "result=\"moved\"",
		"Answers about users served here."),
	COUNTER("answers_total", answers_unknown, "result=\"unknown\"",
		"Answers about users served here."),
	COUNTER("session_opens_total", opens_ok, "result=\"open\"",
		"Sessions asked for at other gateways, by what came of it."),
	COUNTER("session_opens_total", opens_uncommon, "result=\"uncommon\"",
		"Sessions asked for at other gateways, by what came of it."),
	COUNTER("session_opens_total", opens_refused, "result=\"refused\"",
		"Sessions asked for at other gateways, by what came of it."),
	COUNTER("session_opens_total", opens_failed, "result=\"failed\"",
		"Sessions asked for at other gateways, by what came of it."),
	COUNTER("session_accepts_total", accepts_ok, "result=\"open\"",
		"Sessions that other gateways asked for, by what came of it."),
	COUNTER("session_accepts_total", accepts_uncommon, "result=\"uncommon\"",
		"Sessions that other gateways asked for, by what came of it."),
	COUNTER("session_accepts_total", accepts_replay, "result=\"replay\"",
		"Sessions that other gateways asked for, by what came of it."),
	COUNTER("session_accepts_total", accepts_busy, "result=\"busy\"",
		"Sessions that other gateways asked for, by what came of it."),
	COUNTER("session_accepts_total", accepts_bad, "result=\"bad\"",
		"Sessions that other gateways asked for, by what came of it."),
	COUNTER("session_renewals_total", renews_ok, "result=\"ok\"",
		"Renewals of sessions asked for."),
	COUNTER("session_renewals_total", renews_failed, "result=\"failed\"",
		"Renewals of sessions asked for."),
	COUNTER("session_renewed_total", renewed_by_peer, NULL,
		"Renewals that other gateways asked for."),
	COUNTER("session_closes_total", closes_idle, "reason=\"unused\"",
		"Sessions that ended, by the reason."),
	COUNTER("session_closes_total", closes_peer, "reason=\"peer\"",
		"Sessions that ended, by the reason."),
	COUNTER("session_closes_total", closes_expired, "reason=\"expired\"",
		"Sessions that ended, by the reason."),
	COUNTER("session_closes_total", closes_unknown, "reason=\"unknown\"",
		"Sessions that ended, by the reason."),
	COUNTER("session_closes_total", closes_changed, "reason=\"changed\"",
		"Sessions that ended, by the reason."),
	COUNTER("session_closes_total", closes_restarted, "reason=\"restarted\"",
		"Sessions that ended, by the reason."),
	COUNTER("session_closes_total", closes_revoked, "reason=\"revoked\"",
		"Sessions that ended, by the reason."),
	COUNTER("session_closes_refused_total", closes_inuse, NULL,
		"Sessions that the other side would not close, for calls run over them."),
	GAUGE("sessions", sessions_initiator, "role=\"initiator\"", "Sessions that are open."),
	GAUGE("sessions", sessions_responder, "role=\"responder\"", "Sessions that are open."),
	GAUGE("session_calls", session_calls, NULL, "Calls over them, by the modules' count."),
	COUNTER("auths_total", auths_ok, "result=\"ok\"",
		"Questions about users' digests, by answer."),
	COUNTER("auths_total", auths_absent, "result=\"absent\"",
		"Questions about users' digests, by answer."),
	COUNTER("auths_total", auths_denied, "result=\"denied\"",
		"Questions about users' digests, by answer."),
	COUNTER("auths_total", auths_timeout, "result=\"timeout\"",
		"Questions about users' digests, by answer."),
	COUNTER("auths_total", auths_busy, "result=\"busy\"",
		"Questions about users' digests, by answer."),
	COUNTER("auth_searches_total", auth_searches, NULL,
		"Searches of the DHT for users' enrolment."),
	COUNTER("auth_changes_total", auth_changes, NULL,
		"Changes of users' enrolment that the overlay's rules told of."),
	COUNTER("enrolment_puts_total", enrolment_puts, NULL,
		"Enrolment records handed to the DHT."),
	GAUGE("enrolments", enrolments, NULL, "Enrolment records that are kept and put again."),
	GAUGE("permission_required", permission_required, NULL,
	      "1 where user records without the authority's permission are refused."),
	GAUGE("users", users_claimed, "state=\"claimed\"", "Users by what is wanted of them."),
	GAUGE("users", users_orphan, "state=\"orphan\"", "Users by what is wanted of them."),
	GAUGE("users", users_gone, "state=\"gone\"", "Users by what is wanted of them."),
	GAUGE("users_in_flight", users_in_flight, NULL, "Users whose put is under way."),
	GAUGE("users_dirty", users_dirty, NULL, "Users whose last wish the DHT was not told yet."),
	GAUGE("confirms_waiting", confirms_waiting, NULL,
	      "Registrations that wait until others find the user."),
	GAUGE("announce_records", announce_records, NULL,
	      "Records of our own that holders are told of."),
	GAUGE("announce_waiting", announce_waiting, NULL,
	      "Of these, waiting for a holder, counted for each."),
	GAUGE("engine_waiting", engine_waiting, NULL,
	      "Of these, waiting to be put into the engine."),
	GAUGE("held_records", held, NULL, "Records that are held for other peers."),
	GAUGE("held_bytes", held_bytes, NULL, "Their size."),
	GAUGE("held_watchers", watchers, NULL, "Keys that others watch here, counted for each."),
	GAUGE("changes_waiting", telling, NULL, "Keys that others are yet to be told of."),
	GAUGE("arcs", arcs, NULL, "Arcs of the ring whose records this gateway holds."),
	GAUGE("arcs_unsynced", arcs_unsynced, NULL,
	      "Of these, those of which it may not have all records yet."),
	GAUGE("cache_names", cache_entries, NULL, "Names whose records are remembered."),
	GAUGE("peers", peers_known, NULL, "Peers that were heard of."),
	GAUGE("lookups_pending", lookups_pending, NULL, "Lookups that wait."),
	GAUGE("watches", watches, NULL, "Names that are listened for."),
	GAUGE("dht_connected", dht_connected, NULL,
	      "1 while other nodes answer, or none is needed."),
	GAUGE("dht_nodes", dht_good4, "family=\"ipv4\"", "Good nodes in the routing table."),
	GAUGE("dht_nodes", dht_good6, "family=\"ipv6\"", "Good nodes in the routing table."),
	GAUGE("dht_values", dht_stored, NULL, "Values kept for others and for oneself."),
	GAUGE("dht_value_bytes", dht_stored_bytes, NULL,
	      "Memory that they take, as [dht] store_bytes counts it."),
	COUNTER("dht_dropped_total", dht_dropped, NULL,
		"Values from the DHT that found the queue full."),
	COUNTER("dht_operations_total", dht_puts, "kind=\"put\"", "Operations begun."),
	COUNTER("dht_operations_total", dht_gets, "kind=\"get\"", "Operations begun."),
	GAUGE("clients", clients, NULL, "Connections to the modules' socket."),
	COUNTER("commands_total", commands, NULL, "Commands of the modules."),
	COUNTER("command_errors_total", command_errors, NULL, "Of these, answered by an error."),
	COUNTER("clients_cut_off_total", clients_cut_off, NULL,
		"Connections closed because they did not read."),
	COUNTER("limits_reached_total", limit_users, "limit=\"users\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_searches, "limit=\"searches\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_load, "limit=\"load\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_confirms, "limit=\"confirms\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_queries, "limit=\"queries\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_moves, "limit=\"moves\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_watchers, "limit=\"watchers\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_kamailios, "limit=\"kamailios\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_held_peer, "limit=\"held_peer\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_clients, "limit=\"clients\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_held, "limit=\"held\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_cache, "limit=\"cache\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_watches, "limit=\"watches\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_peers, "limit=\"peers\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	COUNTER("limits_reached_total", limit_store, "limit=\"store\"",
		"Times that a bound was reached, by bound (limits.md says what happens then)."),
	GAUGE("epoch", epoch, NULL, "This peer's epoch."),
	GAUGE("lease_left_ms", lease_left_ms, NULL, "How long others still believe our records."),
	GAUGE("uptime_seconds", uptime_s, NULL, "Since the start."),
	{.name = NULL},
};

static void refresh_held(struct gw *gw)
{
	struct gw_metrics *m = &gw->metrics;
	struct gw_announces_stats announce;
	struct gw_holds_stats held;
	struct gw_sync_stats sync;

	gw_announces_stats(gw->announces, &announce);
	gw_holds_stats(gw->holds, &held);
	gw_sync_stats(gw->sync, &sync);
	m->confirms_waiting = gw_users_confirms(gw->users);
	m->announce_records = announce.records;
	m->announce_waiting = announce.waiting;
	m->engine_waiting = announce.engine_waiting;
	m->held = held.records;
	m->limit_held = held.lost;
	m->held_bytes = held.bytes;
	m->watchers = held.watchers;
	m->telling = held.telling;
	m->arcs = sync.arcs;
	m->arcs_unsynced = sync.unsynced;
	m->sync_pages = sync.pages;
	m->sync_records = sync.records;
	m->sync_failures = sync.failures;
}

void gw_metrics_refresh(struct gw *gw)
{
	struct gw_metrics *m = &gw->metrics;
	struct p2p_published_stats pub;
	struct https_client_stats client;
	struct https_server_stats server;
	struct dht_stats dht = {0};
	uint64_t lease = gw_peers_lease(gw->peers), wall = gw_wall(gw);

	gw_asks_stats(gw->asks, &client);
	gw_serve_stats(gw->serve, &server);
	gw_sessions_metrics(gw->sessions, m);
	m->late_ms = gw_load_late_ms(gw->load);
	m->peers_broken = gw_asks_broken(gw->asks);
	gw_gossip_metrics(gw->gossip, m);
	m->ask_connections = client.connections;
	m->ask_connects = client.connects;
	m->ask_reused = client.reused;
	m->serve_connections = server.connections;
	m->serve_accepted = server.accepted;
	m->serve_busy = server.refused_busy;
	m->serve_closed = server.closed_limit + server.closed_slow;
	p2p_published_stats(gw_users_table(gw->users), &pub);
	m->users_claimed = pub.claimed;
	m->users_orphan = pub.orphans;
	m->users_gone = pub.gone;
	m->users_in_flight = pub.in_flight;
	m->users_dirty = pub.dirty;
	m->enrolments = gw_auth_store_count(gw->enrolments);
	m->permission_required = atomic_load(&gw->permission_required);
	m->cache_entries = gw_cache_count(gw->cache);
	m->limit_cache = gw_cache_evicted(gw->cache);
	m->limit_watches = gw_watches_evicted(gw->watches);
	m->limit_peers = gw_peers_evicted(gw->peers);
	m->peers_known = gw_peers_count(gw->peers);
	m->lookups_pending = gw_lookups_count(gw->lookups);
	m->watches = gw_watches_count(gw->watches);
	refresh_held(gw);
	if (gw->dht)
		gw->dht_ops->stats(gw->dht, &dht);
	m->dht_connected = dht.connected;
	m->dht_good4 = dht.good4;
	m->dht_good6 = dht.good6;
	m->dht_stored = dht.stored;
	m->dht_stored_bytes = dht.stored_bytes;
	m->dht_dropped = dht.dropped;
	m->limit_store = dht.refused;
	m->dht_puts = dht.puts;
	m->dht_gets = dht.gets;
	for (int i = 0; i < P2P_RECORD_FAULTS; i++)
		m->values_refused[i] = atomic_load(&gw->refused[i]);
	m->epoch = gw->epoch;
	m->lease_left_ms = lease > wall ? lease - wall : 0;
	m->uptime_s = (gw_mono(gw) - gw->started_ms) / 1000;
}
