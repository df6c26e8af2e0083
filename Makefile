# What a person types. Each target says what it does in `make help`; the work is done by cargo and by the scripts in
# provisioning/setup, which can be run on their own.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

setup := provisioning/setup
# Builds, tests and the devnet share one environment: caches, RocksDB, bitcoind, the device's target.
in_env := . $(setup)/env.sh;

# Cargo.lock decides what is built; a manifest that does not agree with it is an error, not a reason to rewrite it.
cargo_flags := --workspace --locked

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { sub(/:.*/, "", $$1); printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make devnet ONCE=1   stop after one round trip      make devnet FRESH=1   begin a new chain"
	@echo "  make devnet BACKEND=pkcs11   keys in PKCS#11 tokens: three sealed by SoftHSM, the fourth signing in our test module"
	@echo "  make devnet ONCE=1 SLOTS=200   then measure the time between blocks over 200 slots; see target/devnet/summary.json"
	@echo "  Caches are in \$$ALYS_CACHE (now $${ALYS_CACHE:-$$HOME/.cache/alys})."

## The appliance

# ONCE, FRESH, SLOTS and BACKEND reach the program as environment variables: make exports what is set on its command line.
# The program that was just built is run, not `cargo run -p`: cargo would choose features for one package and build again.
.PHONY: devnet
devnet: build setup-bitcoin ## Run a federation of four with bitcoind, signers and a miner on this machine
	@$(in_env) exec "$$CARGO_TARGET_DIR/debug/alys-devnet"

.PHONY: build
build: setup-rocksdb ## Build all programs
	$(in_env) cargo build $(cargo_flags) --bins

# What is packed is built for release; `make check-packages` packs what the tests have built.
.PHONY: packages
packages: setup-rocksdb ## Build Debian packages for signer, node and workstation (a release build) into target/packages
	$(in_env) cargo build $(cargo_flags) --release --bins
	$(in_env) $(setup)/packages-deb.sh "$$CARGO_TARGET_DIR/release" target/packages

.PHONY: bench
bench: setup-rocksdb ## Run the benchmarks (a release build)
	$(in_env) cargo bench $(cargo_flags)

## Tests: `make test` runs these stages in this order, and any of them can be run alone:
## what a stage needs is installed first

stages := setup fmt clippy docs deny no-std contracts unit firmware check-packages attack fuzz-smoke e2e

.PHONY: test
test: ## Install what is missing, then run every check and test
	@$(in_env) $(setup)/stages.sh $(stages)

.PHONY: fmt
fmt: ## Check the formatting
	cargo fmt --all --check
	cd tests/fuzz && cargo fmt --check
	cd signer-firmware/boards && cargo fmt --all --check

.PHONY: clippy
clippy: setup-rocksdb ## Lint everything; a warning is an error
	$(in_env) cargo clippy $(cargo_flags) --all-targets -- -D warnings

.PHONY: docs
docs: setup-rocksdb ## Build the API documentation; a warning is an error
	$(in_env) RUSTDOCFLAGS="-D warnings" cargo doc $(cargo_flags) --no-deps

.PHONY: deny
deny: setup-tools ## Check licences, sources and banned crates of all dependencies
	$(in_env) cargo deny --locked check bans licenses sources
	$(in_env) cargo deny --locked --manifest-path signer-firmware/boards/Cargo.toml --config deny.toml check bans sources

.PHONY: no-std
no-std: setup-firmware ## Build what also runs on the signer's device, for the device
	$(in_env) cargo build --locked --target thumbv8m.main-none-eabihf --no-default-features \
		--package alys-protocol --package alys-signer-core --package alys-firmware-core

# Boards are built for a microcontroller alone, so they are a workspace of their own.
board := alys-device-mps2-an505
firmware_build := cd signer-firmware/boards && cargo build --locked --release --target thumbv8m.main-none-eabihf
firmware_image := $$CARGO_TARGET_DIR/thumbv8m.main-none-eabihf/release/$(board)

.PHONY: firmware-image
firmware-image: setup-firmware ## Build the signer device's image for the emulated board
	$(in_env) $(firmware_build)

.PHONY: firmware
firmware: setup-firmware ## Lint and build the signer device's image, and test it in the emulator
	$(in_env) cd signer-firmware/boards && cargo clippy --locked --release --target thumbv8m.main-none-eabihf -- -D warnings
	$(in_env) $(firmware_build)
	$(in_env) ALYS_FIRMWARE_IMAGE="$(firmware_image)" cargo test $(cargo_flags) --test emulated -- --test-threads=2

.PHONY: firmware-report
firmware-report: setup-firmware ## Measure the device's memory, instructions and flash wear into docs/device-report.md
	$(in_env) $(firmware_build)
	$(in_env) ALYS_FIRMWARE_IMAGE="$(firmware_image)" cargo run --locked --quiet --package alys-firmware-emulator --example firmware-report > docs/device-report.md.new
	mv docs/device-report.md.new docs/device-report.md

# forge is content when it finds no test at all; we are not.
.PHONY: contracts
contracts: setup-contracts ## Test the contracts, and that their committed artefacts are what the sources compile to
	$(in_env) cd contracts && forge fmt --check
	$(in_env) cd contracts && forge test | awk '{ print } /^Ran [1-9]/ { ran = 1 } END { if (!ran) print "forge found no tests"; exit !ran }'
	$(in_env) cd contracts && ./generate.sh --check

# All targets are built in one go, programs among them, so that the stages e2e and unit see the same features and
# nothing is compiled twice.
.PHONY: unit
unit: setup-rocksdb setup-contracts setup-bitcoin setup-tools ## Run unit, property and simulator tests, and the examples in the documentation
	$(in_env) cargo build $(cargo_flags) --all-targets
	$(in_env) cargo nextest run $(cargo_flags) --no-fail-fast -E 'not (binary(e2e) | binary(attack) | binary(emulated))'
	$(in_env) cargo test $(cargo_flags) --doc

# Needs root, to install into a folder with owners and to boot machines in namespaces.
.PHONY: check-packages
check-packages: setup-rocksdb setup-bitcoin ## Pack the programs of the tests, check what a host would get, and run the services on booted machines
	$(in_env) cargo build $(cargo_flags) --all-targets
	$(in_env) $(setup)/packages-check.sh "$$CARGO_TARGET_DIR/debug"
	$(in_env) $(setup)/packages-boot.sh "$$CARGO_TARGET_DIR/debug"

.PHONY: attack
attack: setup-rocksdb ## Attack real signers with all the nodes of a federation; ends with the count of attacks
	$(in_env) cargo build $(cargo_flags) --all-targets
	$(in_env) cargo test $(cargo_flags) --test attack

# SECONDS is for all targets together. What is found new is kept in the cache.
.PHONY: fuzz
fuzz: setup-tools ## Fuzz every decoder and proof verifier, and sequences of requests beside an oracle (SECONDS=600)
	@$(setup)/fuzz.sh $(if $(filter command environment,$(origin SECONDS)),$(SECONDS),600)

.PHONY: fuzz-smoke
fuzz-smoke: setup-tools ## The same for a minute
	@$(setup)/fuzz.sh 60

# Four at a time: each scenario is a whole federation, which waits for its slots most of the time and takes a fifth of
# one core. The longest comes first, in the order of names.
.PHONY: e2e
e2e: setup-rocksdb setup-bitcoin ## Run the end-to-end suite on real processes
	$(in_env) cargo build $(cargo_flags) --all-targets
	$(in_env) cargo test $(cargo_flags) --test e2e -- --test-threads=4

## Set-up: each part does nothing when it is done already

setup_parts := setup-rocksdb setup-bitcoin setup-contracts setup-firmware setup-tools

.PHONY: setup
setup: $(setup_parts) ## Install what builds and tests need

.PHONY: setup-packages
setup-packages: ## Debian packages
	@$(setup)/packages.sh

.PHONY: $(setup_parts)
setup-rocksdb: setup-packages ## RocksDB, built once
	@$(setup)/rocksdb.sh > /dev/null
setup-bitcoin: setup-packages ## A bitcoind for regtest
	@$(setup)/bitcoin.sh > /dev/null
setup-contracts: setup-packages ## Foundry, solc and OpenZeppelin
	@$(setup)/contracts.sh
setup-firmware: setup-packages ## The compilation target of the signer's device
	@$(setup)/firmware-target.sh > /dev/null
setup-tools: setup-packages ## cargo-deny, cargo-nextest and cargo-fuzz
	@$(setup)/tools.sh

.PHONY: clean-cache
clean-cache: ## Remove all that was built and downloaded (not the chains of the devnet in this clone)
	@cache="$${ALYS_CACHE:-$$HOME/.cache/alys}"; \
	for part in target target-fuzz fuzz rocksdb bitcoin firmware roots tools tools-target apt; do rm -rf "$${cache:?}/$$part"; done; \
	rm -f "$$cache"/*.lock "$$cache"/*.log; \
	echo "removed the caches in $$cache"
