# SPDX-License-Identifier: GPL-2.0-or-later
# Tools of the system tests and the benchmarks.
EMU_MODEL = \
	tests/tools/emu_command.c \
	tests/tools/emu_command.h \
	tests/tools/emu_hub.c \
	tests/tools/emu_hub.h \
	tests/tools/emu_link.c \
	tests/tools/emu_link.h \
	tests/tools/emu_queue.c \
	tests/tools/emu_queue.h

noinst_PROGRAMS += tests/tools/netemu
tests_tools_netemu_SOURCES = tests/tools/netemu.c $(EMU_MODEL)

noinst_PROGRAMS += tests/tools/certtool
tests_tools_certtool_SOURCES = tests/tools/certtool.c
tests_tools_certtool_CPPFLAGS = $(AM_CPPFLAGS) $(OPENSSL_CFLAGS)
tests_tools_certtool_LDADD = dht-gateway/libgatewaykeys.la lib/libp2pcore.la $(OPENSSL_LIBS)

noinst_PROGRAMS += tests/tools/tlscerts
tests_tools_tlscerts_SOURCES = tests/tools/tlscerts.c
tests_tools_tlscerts_CPPFLAGS = $(AM_CPPFLAGS) $(OPENSSL_CFLAGS)
tests_tools_tlscerts_LDADD = dht-gateway/libgatewaykeys.la lib/libp2pcore.la $(OPENSSL_LIBS)

if WITH_CMOCKA
check_PROGRAMS += tests/unit/test_emu
TESTS += tests/unit/test_emu
tests_unit_test_emu_SOURCES = tests/unit/test_emu.c $(EMU_MODEL) $(UNIT_ALLOC) $(UNIT_COMMON)
tests_unit_test_emu_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_emu_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_emu_LDADD = $(CMOCKA_LIBS) $(LIBEVENT_LIBS)
endif

# A wall clock that is off, for a program that is told so by LD_PRELOAD.
noinst_LTLIBRARIES += tests/tools/clockshift.la
tests_tools_clockshift_la_SOURCES = tests/tools/clockshift.c
tests_tools_clockshift_la_LDFLAGS = -module -avoid-version -shared -rpath /nowhere
