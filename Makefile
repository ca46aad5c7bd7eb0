# Two commands matter: `make demo` and `make test`. Both need cargo; what else they need (a C compiler,
# PostgreSQL) is installed with apt-get where that is possible, see scripts/bootstrap.
#
# Every target builds with the same profile and the same package set. A different set would give shared
# crates other features, and cargo would build half of the graph a second time.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup build bins demo test fmt lint roundtrip chaos properties matrix fuzz revocation conformance bench sqlx check-sqlx \
    observability observability-live manifests deployed rehearse supply-chain sbom image image-rehearsal

# A freshly installed cargo is found even before the shell was opened anew.
export PATH := $(PATH):$(HOME)/.cargo/bin

# All servers of these targets are on this machine, where no proxy leads.
comma := ,
export NO_PROXY := 127.0.0.1,localhost$(addprefix $(comma),$(or $(NO_PROXY),$(no_proxy)))
export no_proxy := $(NO_PROXY)

PROFILE ?= demo
CARGO_FLAGS = --profile $(PROFILE) --locked --workspace
# cargo's profile `dev` is the one whose folder has another name.
BIN = $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
# What roundtrip, chaos and revocation export: a folder of NDJSON, or generated resources.
TRIAL = $(if $(DATA),--data '$(DATA)') $(if $(GENERATE),--generate $(GENERATE)) \
    $(if $(SEED),--seed $(SEED)) $(if $(LINE_BYTES),--line-bytes $(LINE_BYTES))

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  make demo      ARGS="--once --json --patients N --dir DIR --listen ADDRESS --keep"'
	@echo '  make roundtrip DATA=DIR  |  GENERATE=N [SEED=S] [LINE_BYTES=B]'
	@echo '  make chaos     [N=KILLS]  with the same choice of data'
	@echo '  make properties [DATA=DIR] [SEED=S] [N=CASES] [ARGS="--filters N --only CASE"]'
	@echo '  make revocation [HOW="revoke suspend-app suspend-vendor suspend-practice narrow-scopes"]  with the same choice of data'
	@echo '  make matrix    [ARGS=--rows]'
	@echo '  make fuzz      [N=CASES] [SEED=S] [ARGS="--only CASE"]'
	@echo '  make conformance [PATIENTS=300] [SEED=1] [US_CORE=6.1.0|7.0.0]'
	@echo '  make deployed  [OVERLAY=dev|production]'
	@echo '  make bench     CASE=template  |  CASE=mapping [PATIENTS=10000] [SEED=1]'
	@echo '  make observability [METRICS="http://127.0.0.1:8082/metrics …"]'

setup:
	@scripts/bootstrap

build: setup
	@cargo build $(CARGO_FLAGS) --all-targets

# The programs alone, for the targets that only run them.
bins: setup
	@cargo build $(CARGO_FLAGS) --bins

demo: bins ## Export two practices out of PostgreSQL into S3, on this machine alone
	@exec $(BIN)/headgate demo $(ARGS)

test: build ## All tests, on a private PostgreSQL and S3 of their own
	@cargo test $(CARGO_FLAGS) --all-targets

fmt: ## Format the code
	@cargo fmt --all

lint: setup ## Formatting and clippy, as CI does them
	@cargo fmt --all --check
	@cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings

roundtrip: bins ## Load NDJSON as a practice, export it, compare line for line
	@exec $(BIN)/roundtrip $(TRIAL)

chaos: bins ## The same while the worker is killed with kill -9, N times
	@exec $(BIN)/chaos $(if $(N),--kills $(N)) $(TRIAL)

properties: bins ## Random kick-offs and every search parameter, against a slow oracle
	@exec $(BIN)/properties $(if $(DATA),--data '$(DATA)') $(if $(GENERATE),--generate $(GENERATE)) \
	    $(if $(SEED),--seed $(SEED)) $(if $(N),--cases $(N)) $(ARGS)

revocation: bins ## Take authority away while an export runs, and measure how soon it is over
	@exec $(BIN)/revocation $(addprefix --how ,$(HOW)) $(TRIAL)

matrix: bins ## Who may do what at the admin API, asked of a running one
	@exec $(BIN)/matrix $(ARGS)

fuzz: bins ## Random and mutated requests at everything that strangers reach
	@exec $(BIN)/fuzz $(if $(SEED),--seed $(SEED)) $(if $(N),--cases $(N)) $(ARGS)

PATIENTS ?= $(if $(filter mapping,$(CASE)),10000,300)
US_CORE ?= 6.1.0
CONFORMANCE = $(or $(CARGO_TARGET_DIR),target)/conformance-export

# Needs Node.js 20.19 and Python 3.11 for the validators, which are installed below target/. Coverage of must-support
# elements is that of US Core 6.1.0, and its page is written for the usual population only.
conformance: bins ## Export the reference EHR and validate every resource against US Core
	@rm -rf $(CONFORMANCE)
	@$(BIN)/conformance --patients $(PATIENTS) --seed $(or $(SEED),1) --us-core $(US_CORE) --out $(CONFORMANCE)
	@scripts/conformance/run --ndjson $(CONFORMANCE) --us-core $(US_CORE) --sources $(CONFORMANCE).sources.tsv \
	    $(if $(filter 6.1.0,$(US_CORE)),$(if $(filter 300,$(PATIENTS)),--coverage-out docs/MUST_SUPPORT.md),--no-coverage)

bench: setup ## Measure: CASE=template (templates alone), CASE=mapping (export against COPY of the SQL form)
ifeq ($(CASE),mapping)
	@cargo build --release --locked --workspace --bins
	@exec $(or $(CARGO_TARGET_DIR),target)/release/mapping-bench --patients $(PATIENTS) --seed $(or $(SEED),1)
else
	@cargo bench --locked -p headgate-domain --bench template
endif

sqlx: setup ## Describe the SQL statements of crates/store anew, after they or the schema changed
	@scripts/sqlx-prepare

check-sqlx: setup ## Whether the committed descriptions are up to date
	@scripts/sqlx-prepare --check

observability: ## Check alert rules, dashboards and runbooks; METRICS="URL…": that running programs export it all
	@scripts/observability/check $(METRICS)

observability-live: bins ## The same against a demo that is started for it
	@scripts/observability/live $(BIN)/headgate

manifests: ## Render the Kubernetes manifests and check them: schemas, checkov, rules of our own
	@scripts/manifests/run

OVERLAY ?= dev
PODS = $(or $(CARGO_TARGET_DIR),target)/manifests/$(OVERLAY).pods.json

deployed: bins ## Start the pods of the manifests on this machine and export: OVERLAY=dev|production
	@mkdir -p $(dir $(PODS)) && scripts/manifests/run pods $(OVERLAY) >$(PODS)
	@exec $(BIN)/deployed --pods $(PODS)

rehearse: bins ## Follow docs/OPERATIONS.md as it stands, on this machine; REHEARSE_UPDATE=1 writes its outputs anew
	@exec $(BIN)/rehearse $(ARGS)

image: ## Look at the Dockerfile and compose.yaml, without a container engine
	@scripts/image/check

# As root on Debian with podman, buildah, runc and debootstrap; says what it did and what not.
image-rehearsal: ## Build the image on stand-ins of its base images, and run it and compose.yaml
	@scripts/image/rehearse

sbom: setup ## What is linked into the image's executable, as CycloneDX below target/sbom
	@scripts/supply-chain/validate $(or $(CARGO_TARGET_DIR),target)/sbom/headgate.cdx.json

supply-chain: setup ## Licences, bans, sources, unused dependencies, advisories (ADVISORY_DB=DIR), bill of materials
	@scripts/supply-chain/check $(CARGO_FLAGS)
