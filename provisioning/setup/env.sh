# The environment of builds, tests and the devnet. Source it from bash or zsh:
#
#     . provisioning/setup/env.sh
#
# It only names what the set-up scripts have made, and leaves alone what you have set yourself. It can be sourced again.
# shellcheck shell=bash

alys_setup_dir=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd)
# shellcheck source=provisioning/setup/versions.sh
. "$alys_setup_dir/versions.sh"

export ALYS_CACHE="${ALYS_CACHE:-$HOME/.cache/alys}"
# One target folder for all clones: what a dependency costs is paid once.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ALYS_CACHE/target}"

alys_path_add() {
    case ":$PATH:" in
        *":$1:"*) ;;
        *) if [ -d "$1" ]; then PATH="$1:$PATH"; fi ;;
    esac
}
alys_path_add "$ALYS_CACHE/tools/bin"
alys_path_add "$(dirname "$(dirname "$alys_setup_dir")")/contracts/node_modules/.bin"
alys_path_add "$ALYS_CACHE/bitcoin/$BITCOIN_RECIPE/bin"
export PATH

# RocksDB from the cache (rocksdb.sh). ROCKSDB_STATIC must not be set: the folder holds a linker script that brings
# the static archive and the C++ runtime together.
if [ -z "${ROCKSDB_LIB_DIR:-}" ] && [ -e "$ALYS_CACHE/rocksdb/$ROCKSDB_RECIPE/complete" ]; then
    export ROCKSDB_LIB_DIR="$ALYS_CACHE/rocksdb/$ROCKSDB_RECIPE/lib"
    export ROCKSDB_INCLUDE_DIR="$ALYS_CACHE/rocksdb/$ROCKSDB_RECIPE/include"
    unset ROCKSDB_STATIC
fi

# The Bitcoin node that bitcoin.sh chose.
if [ -z "${BITCOIND_EXE:-}" ] && [ -r "$ALYS_CACHE/bitcoin/chosen" ]; then
    BITCOIND_EXE=$(cat "$ALYS_CACHE/bitcoin/chosen")
    export BITCOIND_EXE
fi

# The sysroot of the device's target (firmware-target.sh); empty where rustup has installed the target.
if [ -z "${CARGO_TARGET_THUMBV8M_MAIN_NONE_EABIHF_RUSTFLAGS:-}" ] && [ -r "$ALYS_CACHE/firmware/rustflags" ]; then
    CARGO_TARGET_THUMBV8M_MAIN_NONE_EABIHF_RUSTFLAGS=$(cat "$ALYS_CACHE/firmware/rustflags")
    export CARGO_TARGET_THUMBV8M_MAIN_NONE_EABIHF_RUSTFLAGS
fi

unset -f alys_path_add
unset alys_setup_dir
