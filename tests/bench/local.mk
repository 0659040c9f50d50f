# SPDX-License-Identifier: GPL-2.0-or-later
# Benchmarks: never part of check. `make bench`, or `make bench BENCH=register`; options for the
# runner go into BENCH_FLAGS.
noinst_PROGRAMS += tests/bench/sipload
tests_bench_sipload_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE
tests_bench_sipload_SOURCES = \
	tests/bench/sipload.c \
	tests/bench/sipload.h \
	tests/bench/sipload_call.c \
	tests/bench/sipload_lookup.c \
	tests/bench/sipload_net.c \
	tests/bench/sipload_probe.c \
	tests/bench/sipload_register.c \
	tests/bench/sipload_sip.c \
	tests/bench/sipload_stats.c \
	tests/bench/sipload_visible.c

EXTRA_DIST += \
	tests/bench/bench \
	tests/bench/cfg/proxy.cfg \
	tests/bench/cfg/register.cfg \
	tests/bench/p2pbench/__init__.py \
	tests/bench/p2pbench/baseline.py \
	tests/bench/p2pbench/calls.py \
	tests/bench/p2pbench/contact.py \
	tests/bench/p2pbench/dmq.py \
	tests/bench/p2pbench/fresh.py \
	tests/bench/p2pbench/invite.py \
	tests/bench/p2pbench/location.py \
	tests/bench/p2pbench/net.py \
	tests/bench/p2pbench/overlay.py \
	tests/bench/p2pbench/peers.py \
	tests/bench/p2pbench/proc.py \
	tests/bench/p2pbench/register.py \
	tests/bench/p2pbench/results.py \
	tests/bench/p2pbench/sides.py

bench: all
	$(srcdir)/tests/bench/bench --build . $(BENCH_FLAGS) $(BENCH)
.PHONY: bench

# The simulator, and what docs/scaling.md shows of it (some minutes).
noinst_PROGRAMS += tests/bench/sim/sim
tests_bench_sim_sim_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE
tests_bench_sim_sim_LDADD = $(P2POPP_LIBS) -lm
tests_bench_sim_sim_SOURCES = \
	tests/bench/sim/sim.c \
	tests/bench/sim/sim.h \
	tests/bench/sim/sim_engine.c \
	tests/bench/sim/sim_lookups.c \
	tests/bench/sim/sim_members.c \
	tests/bench/sim/sim_records.c \
	tests/bench/sim/sim_report.c

EXTRA_DIST += tests/bench/sim/plots.py

sim-plots: tests/bench/sim/sim
	$(srcdir)/tests/bench/sim/plots.py tests/bench/sim/sim $(srcdir)/docs/scaling
.PHONY: sim-plots
