# The versions that the set-up scripts install. Sourced, never run.
# A change of a recipe must change its version here: caches are named after it.
# shellcheck shell=bash disable=SC2034

# The release that ethrex 24 links; only one RocksDB may be linked, so our own `rocksdb` crate is the 0.24 that uses it too.
LIBROCKSDB_SYS_VERSION="0.17.3+10.4.2"
ROCKSDB_RECIPE="10.4.2-lz4-1"

# The oldest Bitcoin Core that the project supports: the first with testnet4, and with relay of a parent and its fee-paying child.
BITCOIND_MINIMUM=28
BITCOIN_RECIPE="knots-1"

# The signer's device. Debian's rust-src must be of exactly the compiler's release: the standard library uses unstable features.
FIRMWARE_TARGET="thumbv8m.main-none-eabihf"
FIRMWARE_RECIPE="1"

CARGO_DENY_VERSION="0.20.2"
CARGO_NEXTEST_VERSION="0.9.151"
CARGO_FUZZ_VERSION="0.13.2"
