# PostOffice. One non-recursive Makefile; object folders are keyed by compiler and sanitizer, so
# switching between them costs nothing.
#
#   make                build ./websocket-server
#   make run            install what is missing, build, start the server with embedded storage
#   make test           install what is missing, build, run every test that a change must pass
#   make check          unit tests, layers, fuzz corpora (no Redis, seconds)
#   make scripts-test   each script that runs inside Redis, against a real Redis (seconds)
#   make live           redis and mailbox against a Redis that is killed and starved (a part of e2e)
#   make conformance    tables of frames and of request heads against the real binary (a minute)
#   make e2e            the real binary, a real Redis, real clients
#   make clients        the table of behaviours of the client libraries: Python and JavaScript, two ways to run the server
#   make clients-test   the same for every library and every way (minutes; scripts/setup --clients)
#   make SAN=address,undefined check e2e
#   make torture        unit tests with allocations that fail
#   make lint           clang-tidy, cppcheck, clang-format, shellcheck, luacheck
#   make fuzz-NAME FUZZ_SECONDS=60
#   make bench-idle bench-echo bench-mail bench-admin bench-redis bench-instructions bench-fair bench-storm
#   make install DESTDIR= PREFIX=/usr/local SYSCONFDIR=/etc
#   make deb            the package of this machine's Debian, in dist/
#   make deb-test       installs, upgrades and purges the package in bare roots (as root)
#   make dist           tarballs with a static websocket-server, for amd64 and arm64 (ARCHES=amd64: for one)
#   make dist-test      builds them twice and tries them in empty roots, as containers and under qemu (root, minutes)
#   make clean

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
# STATIC=1: statically linked, with the libraries that CFLAGS and LDFLAGS name (scripts/dist does).
STATIC ?=
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
FUZZ_SECONDS ?= 60
# Processes that run end-to-end tests side by side: these mostly wait. 0: all in one.
E2E_JOBS ?= $(if $(SAN),3,4)
PYTHON ?= /usr/bin/python3
VERSION := 0.1.0
MAKEFLAGS += --no-builtin-rules
# make V=1 shows the commands
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)")

comma := ,
KEY := $(notdir $(firstword $(CC)))$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(STATIC),-static)
B := build/$(KEY)
# The plain gcc build is the product and lies in the root; others stay in their folder.
BIN := $(if $(SAN)$(STATIC),$(B)/websocket-server,websocket-server)
# A cross compiler's own archiver knows its objects.
AR := $(if $(filter %-gcc,$(CC)),$(CC:%-gcc=%-ar),ar)

WARN := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wcast-qual -Wwrite-strings -Wvla -Wundef -Wformat=2
HARDEN := -fstack-protector-strong -fPIE -U_FORTIFY_SOURCE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
CFLAGS ?= -O2 -g
POCFLAGS := -std=gnu11 -D_GNU_SOURCE -DPOSTOFFICE_VERSION='"$(VERSION)"' -I. -fno-omit-frame-pointer \
        $(WARN) $(HARDEN) $(CFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined)
LDFLAGS ?=
# -u: common/libc_static.c is linked in any case, before a library wants what glibc cannot do statically.
POLDFLAGS := $(if $(STATIC),-static-pie -Wl$(comma)-u$(comma)getaddrinfo$(comma)--wrap=dlopen,-pie) -Wl,-z,relro,-z,now $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN))
LIBS := -levent_core -lhiredis -lcjson -lsodium -lz -lssl -lcrypto

SOURCES := $(filter-out $(if $(STATIC),,common/libc_static.c),$(wildcard common/*.c config/*.c shm/*.c worker/*.c worker/*/*.c master/*.c))
# The scripts that run inside Redis become C arrays. No tracked file includes a generated file.
LUA := build/lua/mailbox_lua.c
LUA_OBJECT := worker/mailbox/mailbox_lua.o
OBJECTS := $(SOURCES:%.c=$(B)/%.o) $(B)/$(LUA_OBJECT)
MAIN := $(B)/master/main.o
ARCHIVE := $(B)/libpostoffice.a

UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
LIVE := $(patsubst tests/live/%.c,%,$(wildcard tests/live/*.c))
FUZZ := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: always all run test check programs unit torture torture-programs layers corpora fuzz-programs scripts-test live conformance e2e clients clients-test lint dist dist-test upgrade-test deb deb-test bare-test clean install uninstall bench-idle bench-echo bench-mail bench-admin bench-redis bench-instructions bench-fair bench-storm

all: $(BIN)

$(BIN): $(MAIN) $(ARCHIVE)
	$(call say,LINK $@)
	$(Q)$(CC) $(POCFLAGS) $(POLDFLAGS) -o $@ $(MAIN) $(ARCHIVE) $(LIBS)

$(ARCHIVE): $(filter-out $(MAIN),$(OBJECTS))
	@rm -f $@
	$(call say,AR   $@)
	$(Q)$(AR) rcs $@ $^

# The folder is a prerequisite because a removed script must leave the arrays too.
$(LUA): scripts/embed_lua worker/mailbox/lua $(wildcard worker/mailbox/lua/*.lua)
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing; scripts/embed_lua needs Python 3 (scripts/setup installs it, or say PYTHON=...)" >&2; exit 1; }
	$(call say,LUA  $@)
	$(Q)$(PYTHON) scripts/embed_lua $(@D)

$(B)/$(LUA_OBJECT): $(LUA)
	@mkdir -p $(@D)
	$(call say,CC   $@)
	$(Q)$(CC) $(POCFLAGS) -MMD -MP -c -o $@ $<

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC   $@)
	$(Q)$(CC) $(POCFLAGS) -MMD -MP -c -o $@ $<

# The stamp changes with SYSCONFDIR, so that another value compiles the one file that knows it again.
$(B)/config/find.o: POCFLAGS += -DPOSTOFFICE_SYSCONFDIR='"$(SYSCONFDIR)"'
$(B)/config/find.o: $(B)/sysconfdir
$(B)/sysconfdir: always
	@mkdir -p $(@D)
	@echo '$(SYSCONFDIR)' | cmp -s - $@ || echo '$(SYSCONFDIR)' >$@

$(B)/tests/%: $(B)/tests/%.o $(ARCHIVE)
	$(call say,LINK $@)
	$(Q)$(CC) $(POCFLAGS) $(POLDFLAGS) -o $@ $< $(ARCHIVE) $(LIBS) -lcmocka

-include $(OBJECTS:.o=.d) $(wildcard $(B)/tests/*/*.d)

run:
	+@MAKE="$(MAKE)" scripts/run --build

test:
	@scripts/setup --test
	@$(MAKE) --no-print-directory -j$$(nproc) programs
	@$(MAKE) --no-print-directory -j$$(nproc) -O check
	@$(MAKE) --no-print-directory scripts-test
	@$(MAKE) --no-print-directory conformance
	@$(MAKE) --no-print-directory e2e
	@$(MAKE) --no-print-directory clients

check: layers unit corpora

# All that check and e2e run; its order does not matter, so make -j builds it.
programs: $(BIN) $(UNIT:%=$(B)/tests/unit/%) $(FUZZ:%=$(B)/tests/fuzz/fuzz_%) $(LIVE:%=$(B)/tests/live/%) \
    $(B)/tests/scripts/print_script

# One test alone: make $(B)/tests/unit/test_ws && build/gcc/tests/unit/test_ws
# (make -j -O runs them side by side, and keeps together what each says.)
unit: $(UNIT:%=unit-%)

# RUN=: a program that runs the tests of another architecture, such as qemu-aarch64-static.
unit-%: $(B)/tests/unit/%
	@echo "== $<"; $(RUN) $<

# Unit tests in which allocations of the product fail: tests/torture/torture.c says how.
torture:
	@$(MAKE) --no-print-directory -j$$(nproc) SAN=address,undefined torture-programs
	@$(PYTHON) tests/torture/torture.py build/$(notdir $(firstword $(CC)))-address-undefined/tests/torture $(UNIT)

torture-programs: $(UNIT:%=$(B)/tests/torture/%) $(B)/tests/torture/planted

# Allocations of these objects go to torture.c.
REDIRECT := objcopy --redefine-syms=tests/torture/symbols
TORTURE := -Wl,--wrap=_cmocka_run_group_tests,--wrap=mkdtemp

$(B)/tests/torture/libpostoffice.a: $(ARCHIVE) tests/torture/symbols
	@mkdir -p $(@D)
	$(Q)$(REDIRECT) $< $@

$(B)/tests/torture/planted_redirected.o: $(B)/tests/torture/planted_parts.o tests/torture/symbols
	$(Q)$(REDIRECT) $< $@

$(B)/tests/torture/planted: $(B)/tests/torture/planted.o $(B)/tests/torture/planted_redirected.o $(B)/tests/torture/torture.o
	$(call say,LINK $@)
	$(Q)$(CC) $(POCFLAGS) $(POLDFLAGS) $(TORTURE) -o $@ $^ $(LIBS) -lcmocka

$(B)/tests/torture/test_%.o: $(B)/tests/unit/test_%.o tests/torture/spared tests/torture/symbols
	@mkdir -p $(@D)
	$(Q)objcopy --redefine-syms=tests/torture/spared $(ALSO) $< $@

$(B)/tests/torture/test_receipts.o: ALSO := --redefine-syms=tests/torture/symbols # it includes receipts.c

$(B)/tests/torture/test_%: $(B)/tests/torture/test_%.o $(B)/tests/torture/torture.o $(B)/tests/torture/spared.o $(B)/tests/torture/libpostoffice.a
	$(call say,LINK $@)
	$(Q)$(CC) $(POCFLAGS) $(POLDFLAGS) $(TORTURE) -o $@ $^ $(LIBS) -lcmocka

# The rooms, by includes and by the objects' symbols; the walks of ARCHITECTURE.md; and the tests of both.
layers: $(OBJECTS)
	@$(PYTHON) tests/layers.py --build $(B) --objects $(OBJECTS)
	@$(PYTHON) tests/walks.py
	@POSTOFFICE_BUILD=$(abspath $(B)) $(PYTHON) -m pytest -q -rfEs -p no:cacheprovider tests/test_layers.py

# The fuzz targets as ordinary programs that replay their corpora.
$(B)/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(ARCHIVE)
	$(call say,LINK $@)
	$(Q)$(CC) $(POCFLAGS) $(POLDFLAGS) -o $@ $< $(B)/tests/fuzz/replay.o $(ARCHIVE) $(LIBS)

corpora: $(FUZZ:%=$(B)/tests/fuzz/fuzz_%)
	@set -e; for t in $(FUZZ); do $(B)/tests/fuzz/fuzz_$$t tests/fuzz/corpus/$$t; done

# Its office is the fixture of the unit tests.
$(B)/tests/fuzz/fuzz_web build/fuzz/fuzz_web: LIBS += -lcmocka

# libFuzzer (clang), over an archive of its own; new inputs go to tests/fuzz/found/NAME, which git ignores.
F := build/fuzz
FUZZFLAGS := -std=gnu11 -D_GNU_SOURCE -DPOSTOFFICE_VERSION='"$(VERSION)"' -I. -O1 -g -fno-omit-frame-pointer \
        -fsanitize=address,undefined -fno-sanitize-recover=undefined

$(F)/$(LUA_OBJECT): $(LUA)
	@mkdir -p $(@D)
	$(call say,CC   $@)
	$(Q)clang $(FUZZFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

$(F)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC   $@)
	$(Q)clang $(FUZZFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

$(F)/libpostoffice.a: $(patsubst %.c,$(F)/%.o,$(filter-out master/main.c,$(SOURCES))) $(F)/$(LUA_OBJECT)
	@rm -f $@
	$(call say,AR   $@)
	$(Q)ar rcs $@ $^

$(F)/fuzz_%: $(F)/tests/fuzz/fuzz_%.o $(F)/libpostoffice.a
	$(call say,LINK $@)
	$(Q)clang $(FUZZFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

-include $(SOURCES:%.c=$(F)/%.d) $(F)/$(LUA_OBJECT:.o=.d) $(wildcard $(F)/tests/fuzz/*.d)

fuzz-programs: $(FUZZ:%=$(F)/fuzz_%)

fuzz-%: $(F)/fuzz_%
	@mkdir -p tests/fuzz/found/$*
	$(F)/fuzz_$* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	    tests/fuzz/found/$* tests/fuzz/corpus/$*

PYTEST = POSTOFFICE_BINARY=$(abspath $(BIN)) POSTOFFICE_BUILD=$(abspath $(B)) POSTOFFICE_SAN="$(SAN)" \
    $(PYTHON) -m pytest -q -rfEs -p no:cacheprovider

# Redis runs the scripts, so one run without a sanitizer is enough.
scripts-test: $(B)/tests/scripts/print_script
	@$(PYTEST) tests/scripts

conformance: $(BIN)
	@$(PYTEST) -n $(E2E_JOBS) --dist loadfile tests/conformance

live: $(BIN) $(LIVE:%=$(B)/tests/live/%)
	@$(PYTEST) tests/e2e/test_live.py

e2e: $(BIN) $(LIVE:%=$(B)/tests/live/%)
	@$(PYTEST) -n $(E2E_JOBS) --dist loadfile tests/e2e

# Rows of one library and variant run in one process: these share their servers.
clients: $(BIN)
	@$(PYTEST) -n $(E2E_JOBS) --dist loadgroup tests/clients

clients-test: $(BIN)
	@POSTOFFICE_CLIENTS_ALL=1 $(PYTEST) -n $(E2E_JOBS) --dist loadgroup tests/clients

# The version that tests/packages/previous names beside this one, at one Redis: upgrade and rollback, node by node.
upgrade-test: $(BIN)
	@$(PYTEST) tests/packages/test_upgrade.py

# As root: every block of commands that README.md, docs/operations.md and the man pages print, on a bare Debian 12.
printed-test:
	@$(PYTHON) -m pytest -q -rfEs -p no:cacheprovider tests/packages/test_printed.py

# Memory of 20,000 idle sessions, plain and over TLS: fails above 1.5 KiB and 16.5 KiB each.
bench-idle: $(BIN) $(B)/tests/bench/bench_idle
	@POSTOFFICE_BINARY=$(abspath $(BIN)) $(PYTHON) tests/bench/idle.py $(abspath $(B)/tests/bench/bench_idle)

# What 5,000 reconnects at once cost the sessions that talk, in plain text and over TLS.
bench-storm: $(BIN) $(B)/tests/bench/bench_idle $(B)/tests/bench/bench_storm
	@POSTOFFICE_BINARY=$(abspath $(BIN)) $(PYTHON) tests/bench/storm.py $(abspath $(B)/tests/bench/bench_idle) $(abspath $(B)/tests/bench/bench_storm)

# Echo by our codec and connections beside a bare epoll loop, in one run: CPU a message.
bench-echo: $(BIN) $(B)/tests/bench/bench_echo
	@$(B)/tests/bench/bench_echo $(abspath $(BIN)) $(ROUNDS) $(MS)

# Mails accepted a second beside redis-benchmark's XADD of the same bytes, in one run.
bench-mail: $(BIN) $(B)/tests/bench/bench_mail
	@POSTOFFICE_BINARY=$(abspath $(BIN)) ROUNDS=$(ROUNDS) MS=$(MS) $(PYTHON) tests/bench/mail.py $(abspath $(B)/tests/bench/bench_mail)

# What the clerk's work (500 calls and a scrape a second) costs the mails of bench-mail, in one run. RATE= other calls a second.
bench-admin: $(BIN) $(B)/tests/bench/bench_mail
	@POSTOFFICE_BINARY=$(abspath $(BIN)) ROUNDS=$(ROUNDS) MS=$(MS) RATE=$(RATE) $(PYTHON) tests/bench/clerk.py $(abspath $(B)/tests/bench/bench_mail)

# Instructions for a message, by callgrind. TREE= another checkout, BEFORE= the output of an earlier run to compare
# with, REPEAT= measurements to take the median of.
bench-instructions: $(BIN)
	@$(PYTHON) tests/bench/instructions.py $(TREE) $(if $(BEFORE),--against $(BEFORE)) --repeat $(or $(REPEAT),1)

# Memory, file and CPU of Redis for stored mail, by size and recipients.
bench-redis: $(BIN)
	@POSTOFFICE_BINARY=$(abspath $(BIN)) $(PYTHON) tests/bench/redis_bytes.py

# What one hostile token costs everybody else: mail of innocent pairs before and under each load, memory of workers and
# Redis. SECONDS= under load a row, ROWS=name,name some of them.
bench-fair: $(BIN)
	@POSTOFFICE_BINARY=$(abspath $(BIN)) SECONDS=$(SECONDS) ROWS=$(ROWS) $(PYTHON) tests/bench/fair.py

lint:
	@scripts/lint

dist:
	@scripts/dist $(ARCHES)

dist-test:
	@$(PYTHON) -m pytest -q -rfEs -p no:cacheprovider tests/packages/test_dist.py tests/packages/test_container.py

clean:
	rm -rf build dist websocket-server

UNITDIR ?= $(PREFIX)/lib/systemd/system
DOCDIR ?= $(PREFIX)/share/doc/postoffice
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
ETC := $(DESTDIR)$(SYSCONFDIR)
# Scripts, unit and examples name /usr/local and /etc; `placed FILE` prints one with the places of this install.
placed := sed -E -e 's,/etc/(postoffice|default/|init\.d/),@etc@/\1,g' -e 's,/usr/local/,$(PREFIX)/,g' -e 's,@etc@,$(SYSCONFDIR),g'

# A file in SYSCONFDIR that is there already stays. config.json is a link to the environment that serves: production, or
# zhycit where an earlier version has installed that one.
install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(ETC)/postoffice $(ETC)/init.d $(ETC)/default $(ETC)/logrotate.d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(DOCDIR)/examples $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(COMPLETIONDIR)
	install -d -m 750 $(DESTDIR)/var/log/postoffice
	install -m 755 $(BIN) $(DESTDIR)$(PREFIX)/sbin/websocket-server
	install -m 755 scripts/jwks-fetch scripts/postoffice-address scripts/postoffice-restore $(DESTDIR)$(PREFIX)/sbin/
	name=config-production.json; [ ! -e $(ETC)/postoffice/config-zhycit.json ] || name=config-zhycit.json; \
	    for f in config/config-*.json; do to=$(ETC)/postoffice/$${f##*/}; [ -e $$to ] || $(placed) $$f | install -m 644 /dev/stdin $$to || exit; done; \
	    [ -e $(ETC)/postoffice/config.json ] || ln -s $$name $(ETC)/postoffice/config.json
	$(placed) scripts/init.d/websocket-server | install -m 755 /dev/stdin $(ETC)/init.d/websocket-server
	$(placed) scripts/postoffice.service | install -m 644 /dev/stdin $(DESTDIR)$(UNITDIR)/postoffice.service
	ln -sf postoffice.service $(DESTDIR)$(UNITDIR)/websocket-server.service
	[ -e $(ETC)/default/postoffice ] || $(placed) scripts/examples/default | install -m 644 /dev/stdin $(ETC)/default/postoffice
	[ -e $(ETC)/logrotate.d/postoffice ] || $(placed) scripts/examples/logrotate | install -m 644 /dev/stdin $(ETC)/logrotate.d/postoffice
	install -m 644 scripts/examples/* $(DESTDIR)$(DOCDIR)/examples/
	install -m 644 README.md LICENSE CHANGELOG.md docs/*.md $(DESTDIR)$(DOCDIR)/
	install -m 644 docs/man/*.5 $(DESTDIR)$(MANDIR)/man5/
	install -m 644 docs/man/*.8 $(DESTDIR)$(MANDIR)/man8/
	install -m 644 scripts/completions/websocket-server.bash $(DESTDIR)$(COMPLETIONDIR)/websocket-server

# Leaves SYSCONFDIR/postoffice with its keys, and what else in SYSCONFDIR the operator may have changed.
uninstall:
	cd $(DESTDIR)$(PREFIX)/sbin && rm -f websocket-server jwks-fetch postoffice-address postoffice-restore
	rm -f $(ETC)/init.d/websocket-server \
	    $(DESTDIR)$(UNITDIR)/postoffice.service $(DESTDIR)$(UNITDIR)/websocket-server.service \
	    $(patsubst docs/man/%,$(DESTDIR)$(MANDIR)/man8/%,$(wildcard docs/man/*.8)) \
	    $(patsubst docs/man/%,$(DESTDIR)$(MANDIR)/man5/%,$(wildcard docs/man/*.5)) $(DESTDIR)$(COMPLETIONDIR)/websocket-server
	rm -rf $(DESTDIR)$(DOCDIR)

# The package. Built in a copy of the tree, so that nothing is left here; SOURCE_DATE_EPOCH is the changelog's.
D := build/deb
deb:
	@command -v dh >/dev/null || { echo "make: debhelper is missing (scripts/setup --packages installs it)" >&2; exit 1; }
	rm -rf $(D)
	mkdir -p $(D)/postoffice dist
	cp -a $(filter-out build dist run websocket-server,$(wildcard *)) $(D)/postoffice/
	rm -rf $(D)/postoffice/config/keys
	cd $(D)/postoffice && dpkg-buildpackage -us -uc -b
	mv $(D)/*.deb $(D)/*.changes $(D)/*.buildinfo dist/
	rm -rf $(D)

# As root: `make run` on a bare Debian 12, and there all that printed-test runs.
bare-test:
	@$(PYTHON) -m pytest -q -rfEsP -p no:cacheprovider tests/packages/test_bare.py tests/packages/test_printed.py

# As root. Bare roots are made for the test; what this machine lacks is skipped, and named.
deb-test: all deb
	@$(PYTHON) -m pytest -q -rfEs -p no:cacheprovider tests/packages/test_deb.py tests/packages/test_deb_life.py
