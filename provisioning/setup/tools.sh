#!/usr/bin/env bash
# Installs the cargo tools that `make test` runs, where they are missing: cargo-deny, cargo-nextest and cargo-fuzz, from the crate registry.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=provisioning/setup/versions.sh
. "$setup_dir/versions.sh"

root=$cache_dir/tools
# cargo keeps its record of installed tools and the tools themselves in the same folder.
PATH=$root/bin:$PATH
# In the clone, so that rust-toolchain.toml chooses the compiler.
cd "$repo_dir"
need cargo "Install Rust (rustup) as README.md says."

install_tool() {
    local tool=$1 version=$2 started=$EPOCHSECONDS
    if command -v "$tool" >/dev/null; then
        say "$tool is there: $(command -v "$tool")"
        return
    fi
    hold_lock tools
    if command -v "$tool" >/dev/null; then return; fi
    say "installing $tool $version (a few minutes, once; log: $cache_dir/tools.log)"
    # The environment of our own build does not apply. Unoptimised, because these tools run for seconds and compile for minutes.
    env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET CARGO_PROFILE_DEV_DEBUG=0 \
        CARGO_TARGET_DIR="$cache_dir/tools-target" \
        cargo install --locked --debug --root "$root" --version "$version" "$tool" < /dev/null > "$cache_dir/tools.log" 2>&1 || {
        tail_of "$cache_dir/tools.log"
        die "$tool $version cannot be installed; see above and $cache_dir/tools.log"
    }
    rm -rf "$cache_dir/tools-target"
    say "$tool installed in $((EPOCHSECONDS - started)) s"
}

install_tool cargo-deny "$CARGO_DENY_VERSION"
install_tool cargo-nextest "$CARGO_NEXTEST_VERSION"
install_tool cargo-fuzz "$CARGO_FUZZ_VERSION"
