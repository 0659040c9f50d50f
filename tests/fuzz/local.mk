# SPDX-License-Identifier: GPL-2.0-or-later
# Fuzzers. Everywhere: each decoder's corpus is run by fuzz_main.c, as a test. With clang and
# --enable-fuzzers: libFuzzer programs beside them, tests/fuzz/lf_<name>; run one as
#   tests/fuzz/lf_record -max_total_time=60 <a folder for what it finds> $(top_srcdir)/tests/fuzz/corpus/record
FUZZ_CPPFLAGS = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS) $(HIREDIS_CFLAGS) $(INIH_CFLAGS)
FUZZ_MAIN = tests/fuzz/fuzz_main.c tests/fuzz/fuzz.h

fuzz_programs = \
	tests/fuzz/fuzz_enrolment \
	tests/fuzz/fuzz_members \
	tests/fuzz/fuzz_name \
	tests/fuzz/fuzz_negotiate \
	tests/fuzz/fuzz_opp \
	tests/fuzz/fuzz_opp_records \
	tests/fuzz/fuzz_record \
	tests/fuzz/fuzz_resp \
	tests/fuzz/fuzz_settings \
	tests/fuzz/fuzz_text \
	tests/fuzz/fuzz_token
check_PROGRAMS += $(fuzz_programs)
dist_check_SCRIPTS += tests/fuzz/run_corpus
TESTS += tests/fuzz/run_corpus

tests_fuzz_fuzz_enrolment_SOURCES = tests/fuzz/fuzz_enrolment.c $(FUZZ_MAIN)
tests_fuzz_fuzz_enrolment_LDADD = lib/libp2pcore.la

tests_fuzz_fuzz_members_SOURCES = tests/fuzz/fuzz_members.c $(FUZZ_MAIN)
tests_fuzz_fuzz_members_LDADD = $(P2POPP_LIBS)

tests_fuzz_fuzz_name_SOURCES = tests/fuzz/fuzz_name.c $(FUZZ_MAIN)
tests_fuzz_fuzz_name_LDADD = lib/libp2pcore.la

tests_fuzz_fuzz_negotiate_SOURCES = tests/fuzz/fuzz_negotiate.c $(FUZZ_MAIN)
tests_fuzz_fuzz_negotiate_LDADD = lib/libp2pcore.la

tests_fuzz_fuzz_opp_SOURCES = tests/fuzz/fuzz_opp.c $(FUZZ_MAIN)
tests_fuzz_fuzz_opp_LDADD = $(P2POPP_LIBS)

tests_fuzz_fuzz_opp_records_SOURCES = tests/fuzz/fuzz_opp_records.c $(FUZZ_MAIN)
tests_fuzz_fuzz_opp_records_LDADD = $(P2POPP_LIBS)

tests_fuzz_fuzz_record_SOURCES = tests/fuzz/fuzz_record.c $(FUZZ_MAIN)
tests_fuzz_fuzz_record_LDADD = lib/libp2pcore.la

tests_fuzz_fuzz_resp_SOURCES = tests/fuzz/fuzz_resp.c $(FUZZ_MAIN)
tests_fuzz_fuzz_resp_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_fuzz_resp_LDADD = $(P2PIO_LIBS)

tests_fuzz_fuzz_settings_SOURCES = tests/fuzz/fuzz_settings.c $(FUZZ_MAIN)
tests_fuzz_fuzz_settings_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_fuzz_settings_LDADD = $(P2PIO_LIBS)

tests_fuzz_fuzz_text_SOURCES = tests/fuzz/fuzz_text.c $(FUZZ_MAIN)
tests_fuzz_fuzz_text_LDADD = lib/libp2pcore.la

tests_fuzz_fuzz_token_SOURCES = tests/fuzz/fuzz_token.c $(FUZZ_MAIN)
tests_fuzz_fuzz_token_LDADD = lib/libp2pcore.la

if WITH_FUZZERS
# The library's sources once more, so that the fuzzer sees their branches.
LF_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
LF_LINK = $(AM_LDFLAGS) -fsanitize=fuzzer,address,undefined
LF_LIBS = $(LIBEVENT_LIBS) $(HIREDIS_LIBS) $(INIH_LIBS)
noinst_PROGRAMS += \
	tests/fuzz/lf_enrolment \
	tests/fuzz/lf_name \
	tests/fuzz/lf_negotiate \
	tests/fuzz/lf_members \
	tests/fuzz/lf_opp \
	tests/fuzz/lf_opp_records \
	tests/fuzz/lf_record \
	tests/fuzz/lf_resp \
	tests/fuzz/lf_settings \
	tests/fuzz/lf_text \
	tests/fuzz/lf_token
tests_fuzz_lf_enrolment_SOURCES = tests/fuzz/fuzz_enrolment.c $(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_enrolment_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_enrolment_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_token_SOURCES = tests/fuzz/fuzz_token.c $(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_token_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_token_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_name_SOURCES = tests/fuzz/fuzz_name.c $(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_name_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_name_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_negotiate_SOURCES = tests/fuzz/fuzz_negotiate.c $(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_negotiate_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_negotiate_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_members_SOURCES = tests/fuzz/fuzz_members.c $(lib_libp2popp_la_SOURCES) $(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_members_CPPFLAGS = $(AM_CPPFLAGS) $(JSONC_CFLAGS)
tests_fuzz_lf_members_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_members_LDFLAGS = $(LF_LDFLAGS)
tests_fuzz_lf_members_LDADD = $(JSONC_LIBS)
tests_fuzz_lf_opp_SOURCES = tests/fuzz/fuzz_opp.c $(lib_libp2popp_la_SOURCES) $(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_opp_CPPFLAGS = $(AM_CPPFLAGS) $(JSONC_CFLAGS)
tests_fuzz_lf_opp_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_opp_LDFLAGS = $(LF_LDFLAGS)
tests_fuzz_lf_opp_LDADD = $(JSONC_LIBS)
tests_fuzz_lf_opp_records_SOURCES = tests/fuzz/fuzz_opp_records.c $(lib_libp2popp_la_SOURCES) $(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_opp_records_CPPFLAGS = $(AM_CPPFLAGS) $(JSONC_CFLAGS)
tests_fuzz_lf_opp_records_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_opp_records_LDFLAGS = $(LF_LDFLAGS)
tests_fuzz_lf_opp_records_LDADD = $(JSONC_LIBS)
tests_fuzz_lf_record_SOURCES = tests/fuzz/fuzz_record.c $(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_record_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_record_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_text_SOURCES = tests/fuzz/fuzz_text.c $(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_text_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_text_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_resp_SOURCES = tests/fuzz/fuzz_resp.c $(lib_libp2pcore_la_SOURCES) $(lib_libp2pio_la_SOURCES)
tests_fuzz_lf_resp_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_lf_resp_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_resp_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_resp_LDADD = $(LF_LIBS)
tests_fuzz_lf_settings_SOURCES = tests/fuzz/fuzz_settings.c $(lib_libp2pcore_la_SOURCES) $(lib_libp2pio_la_SOURCES)
tests_fuzz_lf_settings_CPPFLAGS = $(FUZZ_CPPFLAGS)
tests_fuzz_lf_settings_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_settings_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_settings_LDADD = $(LF_LIBS)
endif

EXTRA_DIST += tests/fuzz/corpus tests/fuzz/make_corpus.py
