# `make help` lists the targets.

GO ?= go
# The library of the sandbox's server is built without cgo by this tag. cmd/cipherstream-sandbox
# needs it, and tests. Without the tracing pages of gRPC, which nobody serves, the linker leaves out what nobody calls.
TAGS := gms_pure_go,grpcnotrace

STATICCHECK_VERSION        := v0.8.2
GOVULNCHECK_VERSION        := v1.9.0
PROTOC_GEN_GO_VERSION      := v1.36.12
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2

# Settings of the targets below: make fuzz FUZZTIME=5m, make bench-run ROWS=10000000
FUZZTIME  ?= 30s
BENCH     ?= .
BENCHTIME ?= 1s
ROWS      ?= 1000000
ROUNDS    ?= 7
# Where bench-run, bench-peers, bench-service and bench-start write their figures too, for bench-compare: make bench-run JSON=now.json
JSON      ?=
FIGURES    = $(if $(JSON),-json '$(JSON)')
# Rows of each stream of bench-service.
SERVICE_ROWS ?= 100000
KILLS     ?= 2000
DEATHS    ?= 100
SOAK      ?= 5m
JOB_ROUNDS ?= 300
HANGING   ?= 10000
STALLS    ?= 100
HOOK_ROUNDS ?= 200
STREAM_KILLS ?= 200
PARTITION_RUNS ?= 200
STATE_KILLS ?= 100
# Rows of one transaction, and of a first copy, that soak sends through a data stream; and changes that wait in bench-stream.
STREAM_ROWS ?= 5000000
STREAM_COPY ?= 1000000
STREAM_CHANGES ?= 100000

# What is tested with Go alone: no server, no other program.
UNIT := ./cmd/cipherstream/scaffold ./engine/diag ./engine/document ./engine/plan ./engine/pipelinetest ./integration/repo \
	./plugins/columns ./plugins/contract ./plugins/deduplicate ./plugins/derive ./plugins/formula/trial ./plugins/limit ./plugins/where ./plugins/internal/naming ./plugins/internal/parse \
	./sdk/config ./sdk/control ./sdk/fault ./sdk/runner ./sdk/wire

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
# A build of a commit that has no tag v1.2.3 is no release, and says so itself.
VERSION   ?= $(shell git describe --tags --match 'v[0-9]*' --exact-match 2>/dev/null | sed 's/^v//')
LDFLAGS    = -s -w $(if $(VERSION),-X $(MODULE)/cmd/cipherstream/session.release=$(VERSION))

# Evaluated when used, that is after deps had its chance to install gcc.
RACE = $(if $(shell command -v gcc),-race,$(warning no gcc: the tests run without the race detector))

# A process that is built with the race detector sleeps a second before it ends, so that
# threads which still run may report a race. The suite starts thousands of processes,
# whose threads have been waited for.
export GORACE := atexit_sleep_ms=0

# Packages whose own process holds little of ours: it starts programs and servers, asks SQL, and compares what they
# give with what other readers read, millions of values, which the race detector makes many times slower. The programs
# that they start are built as for users, without it, in either case. So they run without the detector, but for
# RACED_OUTSIDE: tests in whose own process the engine, a plugin, or the loader and the server of the sandbox do several
# things at once.
OUTSIDE       := ./integration/datastream ./integration/e2e ./integration/isolation ./integration/record ./integration/sandbox ./integration/service
RACED_OUTSIDE := ^(TestBreakages|TestProxy|TestRecorder|TestReceivers|TestHang|TestDescendants|TestThreads|TestEachJobOnce|TestEventsInOrder|TestOneJobOfManyOrders|TestTwins|TestSoak|TestEveryForm|TestThirdPartyPlugin|TestSpoiltDataSocket|TestLoadCreatesTheDatabase|TestLoadFailures|TestLoadOverwritesOnlyWhenTold|TestLoadSomeTables|TestCancelledLoadLeavesNothing|TestEveryServerHoldsTheGeneratedRows|TestOfficialClientReadsTheSandbox)$$
# The three of them that take longest, each in a run of its own.
LONG          := ./integration/e2e ./integration/sandbox ./integration/service
# Packages that start programs and servers as those of OUTSIDE do, and do one thing at a time in their own process, with
# code that the tests beside it do with the race detector.
PROCESSES     := ./integration/breaking ./integration/debugging ./integration/draft ./integration/editors ./integration/examples \
	./integration/incremental ./integration/javascriptplugin ./integration/mistakes ./integration/mysqlchanges ./integration/mysqlsource ./integration/nodeplugin \
	./integration/python ./integration/pythonplugin ./integration/scaffold ./plugins/bundle ./plugins/mysqlchanges/row
# Tests by name that start processes of their own binary, over and over, one after the other, and of values by the million or
# of every byte of something, or of thousands of requests, or of hours of a clock of their own, in one goroutine of their own
# or nearly so, which the race detector makes many times slower as well. They run without it, in full; smaller tests of the
# same packages run with it: those of TestBucketForgotten's and TestEveryFieldOfEveryOperation's start the same loops and servers.
LARGE       := ./cmd/cipherstream/pipeline ./cmd/cipherstream/plugin ./sdk/stagetest/suite ./engine/decrypt ./engine/sandbox ./engine/service/api ./engine/service/job ./engine/service/schedule ./engine/service/store/sqlite ./plugins/aesgcm ./plugins/internal/zone ./plugins/parquet ./plugins/formula ./plugins/zip ./sdk/envelope ./sdk/wire
LARGE_TESTS := ^(TestBucketForgotten|TestEveryFieldOfEveryOperation|TestForeignFiltersAreChecked|TestForeignFilterKeepsSecrets|TestPluginTestConfines|TestReplayIsConfined|TestForeignProcesses|TestBrokenProcessesFail|TestBase64|TestChunks|TestClocksThatAreSaid|TestCorruptEveryByte|TestDataIsFrozen|TestEveryByte|TestEveryCut|TestEveryHour|TestEveryKeyPointsAtARow|TestIndexLimit|TestKilledWhileAppending|TestKilledWithJobs|TestLargePractice|TestLongText|TestLongValues|TestOtherJSON|TestOtherReadersAgree|TestOutputs|TestPageIndex|TestPathsAgree|TestPowerLoss|TestPracticeHasWhatExportsMustSurvive|TestSetUpMakesSense|TestSharesOfTheLedger|TestStreamPowerLoss|TestTicksOfYears|TestValuesFitTheSchema|TestVisitsTablesMakeSense)$$
# As the programs that the tests start are built, and the linters read, so that every package is compiled once for all of
# it, and once more for the race detector, which needs cgo.
UNRACED := CGO_ENABLED=0 -vet=off -tags $(TAGS) -timeout 45m
# What reads the sources, and runs nothing of them.
SOURCES := ./integration/repo
# All other packages, as go test takes them.
INSIDE = $(filter-out $(patsubst ./%,$(MODULE)/%,$(SOURCES) $(OUTSIDE) $(PROCESSES) $(ON_DISK)),$(shell $(GO) list -tags $(TAGS) ./...))
MODULE = $(shell $(GO) list -m)

SCRIPTS := integration/scripts
# Where temporary files are that shall not be in memory: records that say when they are not on a disk, programs whose memory
# is limited.
DISK := TMPDIR=$(or $(TMPDIR),/tmp)
ON_DISK := ./cmd/cipherstream/service ./engine/host
# By itself, not by make: what calls make is run by `make -n` too.
LINT    := bash $(SCRIPTS)/lint.sh $(TAGS) $(STATICCHECK_VERSION) $(GOVULNCHECK_VERSION)

# In CI a server that cannot be had is a failure, not a skipped test.
ifneq ($(CI),)
export CIPHERSTREAM_REQUIRE_SERVERS := 1
endif

.DEFAULT_GOAL := help
.PHONY: help deps test test-unit lint soak fuzz bench bench-run bench-start bench-compare bench-peers bench-service bench-jobs bench-webhooks bench-stream bench-plugins build docs proto clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

deps: ## install what the tests need beside Go: MariaDB, Python, gcc, Node.js, nginx, Chromium, Docker and images of MySQL and MinIO (as root on Debian; elsewhere say so)
	@bash $(SCRIPTS)/deps.sh

# Lint vets the tests, so that go test need not. Two runs of go test go on at once, the longest first: those outside wait
# much, for servers and for what takes its time, so that more of them than there are processors run beside each other.
# Before that every package is compiled once, because go commands that run beside each other would each compile all of them;
# what does not compile is what they have to say.
test: deps ## lint and every test, with the race detector (see OUTSIDE and LARGE); the last line has the counts
	@CGO_ENABLED=0 $(GO) list -export -tags $(TAGS) ./... >/dev/null 2>&1 & \
	$(GO) list -export $(RACE) -tags $(TAGS) ./... >/dev/null 2>&1; wait
	@$(GO) run ./integration/testsummary \
		-memory -together 2 -check '$(LINT)' \
		$(foreach package,$(LONG),-test '$(if $(filter %/service,$(package)),$(DISK)) $(UNRACED) -parallel 3 -skip $(RACED_OUTSIDE) $(package)') \
		-test '-vet=off $(RACE) -tags $(TAGS) -timeout 45m -skip $(LARGE_TESTS) $(INSIDE)' \
		-test '$(DISK) $(UNRACED) -p 2 -skip $(RACED_OUTSIDE) $(filter-out $(LONG),$(OUTSIDE)) $(PROCESSES)' \
		-test '$(DISK) -vet=off $(RACE) -tags $(TAGS) -timeout 45m -p 1 $(ON_DISK)' \
		-test '$(UNRACED) -p 1 -run $(LARGE_TESTS) $(LARGE)' \
		-test '$(UNRACED) $(SOURCES)' \
		-test '$(DISK) -vet=off $(RACE) -tags $(TAGS) -timeout 45m -p 1 -run $(RACED_OUTSIDE) $(OUTSIDE)'; \
	status=$$?; bash integration/images/engine.sh stop; exit $$status

test-unit: ## the tests that need nothing but Go: no server, no other program
	@$(GO) test -tags $(TAGS) $(UNIT)

lint: ## gofmt, go vet, staticcheck, the types as macOS has them, and govulncheck where its database can be had
	@$(LINT)

# JOB_ROUNDS is how often a part of each service with jobs is killed, and STALLS how often a worker stands still.
# Every kind of death (killed, stopped, too large, the program itself) for every place and server; then deaths at any moment.
soak: deps ## the long form of the deaths, of the kill rounds, of broken connections, of ten million rows, of jobs and webhooks under all of that and of ten streams at once (DEATHS=100, KILLS=2000, SOAK=5m, JOB_ROUNDS=300, STALLS=100, HOOK_ROUNDS=200, STREAM_KILLS=200), of extracts by several connections under a writing load (PARTITION_RUNS=200), and of runs and jobs that go on where the last has ended (STATE_KILLS=100)
	$(GO) test -tags $(TAGS) -count=1 -timeout 3h -parallel 8 -v -run '^(TestDeath|TestMemoryLimitLeavesNothing)' ./integration/e2e -deaths $(DEATHS)
	$(GO) test -tags $(TAGS) -count=1 -timeout 3h -v -run 'TestKillRounds|TestConnectionReset|TestSoak' ./integration/e2e -rounds $(KILLS) -soak $(SOAK)
	$(GO) test -tags $(TAGS) -count=1 -timeout 1h -v -run '^TestExtremeRows$$' ./integration/e2e -extreme-rows 10000000
	$(GO) test -tags $(TAGS) -count=1 -timeout 1h -v -run 'TestKilledWithJobs|TestPowerLoss' ./engine/service/store/sqlite -rounds 100
	$(GO) test -tags $(TAGS) -count=1 -timeout 3h -v -run TestServiceEnds ./integration/service -kills $$(($(KILLS) / 10))
	$(GO) test -tags $(TAGS) -count=1 -timeout 6h -v -run '^(TestJobsSurvive|TestStoppedWorkers)$$' ./integration/service -job-rounds $(JOB_ROUNDS) -stalls $(STALLS)
	$(GO) test -tags $(TAGS) -count=1 -timeout 3h -v -run '^TestWebhooksSurvive$$' ./integration/service -hook-rounds $(HOOK_ROUNDS)
	$(GO) test -tags $(TAGS) -count=1 -timeout 3h -v -run '^TestStreamSurvives$$' ./integration/datastream -stream-kills $(STREAM_KILLS)
	$(GO) test -tags $(TAGS) -count=1 -timeout 3h -parallel 1 -v -run '^(TestLargeTransaction|TestFirstCopy)$$' ./integration/datastream -stream-rows $(STREAM_ROWS) -stream-copy $(STREAM_COPY)
	$(GO) test -tags $(TAGS) -count=1 -timeout 3h -v -run '^(TestTransfers|TestStoppedCommits)$$' ./integration/partitions -partition-runs $(PARTITION_RUNS)
	$(GO) test -tags $(TAGS) -count=1 -timeout 3h -v -run '^TestNothingIsLeftOut$$' ./integration/incremental -state-kills $(STATE_KILLS)
	$(GO) test -tags $(TAGS) -count=1 -timeout 3h -v -run '^TestScheduleLeavesNothingOut$$' ./integration/service -state-kills $(STATE_KILLS)

fuzz: ## every fuzz target for FUZZTIME each
	@bash $(SCRIPTS)/fuzz.sh $(TAGS) $(FUZZTIME)

bench: deps ## benchmarks of source decode, wire and stages (BENCH=regexp, BENCHTIME=1s)
	$(GO) test -tags $(TAGS) -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) \
		./plugins/... ./sdk/wire ./sdk/envelope

bench-run: deps ## the whole program side by side with the mariadb client (ROWS=1000000, ROUNDS=7)
	@$(GO) run -tags $(TAGS) ./integration/bench -rows $(ROWS) -rounds $(ROUNDS) $(FIGURES)

bench-peers: deps ## programs of others beside this one, for the same rows: time, CPU, memory, and which values they get wrong (ROWS=1000000, ROUNDS=7)
	@bash $(SCRIPTS)/deps.sh mariadb-dump mydumper || true
	@$(GO) run -tags $(TAGS) ./integration/bench -peers -rows $(ROWS) -rounds $(ROUNDS) $(FIGURES)

bench-start: deps ## what it takes until something runs: a plugin process, a command, reference lists through a warm pool (ROUNDS=7)
	@$(GO) run -tags $(TAGS) ./integration/bench -start -rows 1000 -rounds $(ROUNDS) $(FIGURES)

bench-compare: ## the figures of two benches beside each other, made with JSON=FILE on one quiet machine; fails where an aim got worse by a tenth, beyond the noise of the rounds (OLD=FILE NEW=FILE)
	@$(GO) run -tags $(TAGS) ./integration/bench -compare '$(OLD)' '$(NEW)'

bench-service: deps ## the service side by side with run and the mariadb client: latencies, streams, memory (SERVICE_ROWS=100000, ROUNDS=7)
	@$(GO) run -tags $(TAGS) ./integration/bench -service -rows $(SERVICE_ROWS) -rounds $(ROUNDS) $(FIGURES)

bench-jobs: deps ## jobs of the service: accepted, taken, run and listed, and one large one beside run --job (ROWS=1000000, ROUNDS=7)
	@$(GO) run -tags $(TAGS) ./integration/bench -jobs -rows $(ROWS) -rounds $(ROUNDS)

bench-webhooks: deps ## deliveries of webhooks beside 10,000 that wait for a receiver that hangs: how long they take (HANGING=10000)
	$(GO) test -tags $(TAGS) -count=1 -v -run '^TestSlowReceiver$$' ./integration/service -hanging $(HANGING) -timed 1000

bench-stream: deps ## the data stream beside the server's own replica, on the same log: changes a second, and how late each is (STREAM_CHANGES=100000)
	$(GO) test -tags $(TAGS) -count=1 -timeout 30m -run '^$$' -bench '^BenchmarkStream$$' -benchtime 1x ./integration/datastream -stream-changes $(STREAM_CHANGES)

bench-plugins: deps ## what a filter costs a row in each language that has an SDK: Go, Python and JavaScript (ROWS=1000000, ROUNDS=7)
	@$(GO) run -tags $(TAGS) ./integration/bench -plugins -rows $(ROWS) -rounds $(ROUNDS)

docs: deps ## write the pages anew that are made from the code: those of docs/, and the catalogue's, pipelines/README.md
	$(GO) test -tags $(TAGS) -count=1 -run '^(TestAPIFaults|TestStagePages|TestLimits)$$' ./integration/pages -update
	$(GO) test -tags $(TAGS) -count=1 -run '^TestExactness$$' ./integration/mysqlsource -update
	$(GO) test -tags $(TAGS) -count=1 -run TestCatalogueDocs ./cmd/cipherstream/pipeline -update

build: ## ./dist/cipherstream-OS-ARCH and the sandbox beside it, for Linux and macOS, amd64 and arm64
	@for platform in $(PLATFORMS); do \
		os=$${platform%/*} arch=$${platform#*/}; \
		for program in cipherstream cipherstream-sandbox; do \
			echo "dist/$$program-$$os-$$arch"; \
			CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' \
				-o dist/$$program-$$os-$$arch ./cmd/$$program || exit 1; \
		done; \
	done

proto: ## generate sdk/control/controlpb with protoc and the pinned generators
	@bash $(SCRIPTS)/deps.sh protoc
	@bash $(SCRIPTS)/proto.sh $(PROTOC_GEN_GO_VERSION) $(PROTOC_GEN_GO_GRPC_VERSION)

clean: ## remove ./dist
	rm -rf dist
