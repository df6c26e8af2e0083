#!/usr/bin/env bash
# The compilation target of the signer's device: core and alloc for a Cortex-M33.
#
# The first of these that works:
#   1. the toolchain has the target already, or `rustup target add` installs it (RUSTUP_AUTO_INSTALL=0 forbids the download);
#   2. core and alloc are built from Debian's rust-src of exactly the compiler's release;
#   3. the same from shared/toolchain/rust-library-RELEASE.tar.xz beside the clone.
# 2 and 3 need one minute, once, and leave a sysroot in the cache.
#
# Prints the RUSTFLAGS to use on stdout (nothing in case 1). `env.sh` exports them as
# CARGO_TARGET_THUMBV8M_MAIN_NONE_EABIHF_RUSTFLAGS. ALYS_FIRMWARE_SOURCE=rustup|debian|shared insists on one way.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=provisioning/setup/versions.sh
. "$setup_dir/versions.sh"
# shellcheck source=provisioning/setup/debian.sh
. "$setup_dir/debian.sh"

target=$FIRMWARE_TARGET
only=${ALYS_FIRMWARE_SOURCE:-}
case $only in
    '' | rustup | debian | shared) ;;
    *) die "ALYS_FIRMWARE_SOURCE is '$only'; expected rustup, debian or shared" ;;
esac

# In the clone, so that rust-toolchain.toml chooses the compiler.
cd "$repo_dir"
need rustc "Install Rust (rustup) as README.md says."
release=$(rustc --version | awk '{ print $2 }')
commit=$(rustc --version --verbose | awk '/^commit-hash:/ { print substr($2, 1, 9) }')
folder=$cache_dir/firmware
# Named after compiler and recipe: cargo does not notice a sysroot that was rebuilt in place.
sysroot=$folder/$release-$commit-$FIRMWARE_RECIPE
shared_archive=$(dirname "$repo_dir")/shared/toolchain/rust-library-$release.tar.xz
mkdir -p "$folder"

finish() {
    printf '%s' "$1" > "$folder/rustflags.$$"
    mv "$folder/rustflags.$$" "$folder/rustflags"
    printf '%s\n' "$1"
    exit 0
}

installed() {
    local rlibs
    rlibs=("$(rustc --print sysroot)/lib/rustlib/$target/lib"/libcore-*.rlib)
    [ -e "${rlibs[0]}" ]
}

if [ -z "$only" ] || [ "$only" = rustup ]; then
    if installed; then
        say "the toolchain has $target"
        finish ""
    fi
fi
if [ -z "$only" ] && [ -e "$sysroot/complete" ]; then
    say "the sysroot for $target is in the cache: $sysroot"
    finish "--sysroot=$sysroot"
fi

hold_lock firmware

if [ "$only" = rustup ] || { [ -z "$only" ] && [ "${RUSTUP_AUTO_INSTALL:-1}" != 0 ]; }; then
    if command -v rustup >/dev/null; then
        say "rustup target add $target"
        if rustup target add "$target" > "$folder/rustup.log" 2>&1 && installed; then
            finish ""
        fi
        tail_of "$folder/rustup.log" 3
    fi
    [ -z "$only" ] || die "rustup cannot install $target"
    say "rustup cannot install $target; building it from source"
fi
if [ -z "$only" ] && [ -e "$sysroot/complete" ]; then
    finish "--sysroot=$sysroot"
fi

work=$folder/.work
rm -rf "$work"
mkdir -p "$work"

# Each leaves the standard library's sources, with `vendor/`, in $library.
from_debian() {
    local suite version
    for suite in trixie-backports forky sid; do
        private_apt_open "$suite" || continue
        version=$(private_apt_version rust-src "^${release//./\\.}[+~-]")
        if [ -z "$version" ]; then
            say "Debian $suite has no rust-src $release"
            continue
        fi
        say "downloading rust-src $version from Debian $suite (about 45 MB)"
        if ! (cd "$work" && private_apt_run download "rust-src=$version") > "$private_apt/log" 2>&1; then
            tail_of "$private_apt/log"
            continue
        fi
        dpkg-deb --extract "$work"/rust-src_*.deb "$work/root"
        rm -rf "$private_apt" "$work"/rust-src_*.deb
        library=$(echo "$work"/root/usr/src/rustc-*/library)
        [ -d "$library/core" ] && return 0
        say "rust-src $version has no folder usr/src/rustc-*/library"
        library=
    done
    return 1
}
from_shared() {
    [ -r "$shared_archive" ] || { say "there is no $shared_archive"; return 1; }
    say "unpacking $shared_archive"
    tar -xJf "$shared_archive" -C "$work"
    library=$work/library
}

library=
case $only in
    debian) from_debian || true ;;
    shared) from_shared || true ;;
    *) from_debian || from_shared || true ;;
esac
[ -n "$library" ] || die "no way to get core and alloc $release for $target.
    With access to the Rust project's servers: rustup target add $target
    Otherwise put the sources of the standard library of Rust $release, with vendor/, into
    $shared_archive"

[ -d "$library/vendor" ] || die "the sources of Rust $release have no vendor/ (looked in $library)"

say "building core and alloc $release for $target"
mkdir -p "$work/probe/src"
printf '#![no_std]\n' > "$work/probe/src/lib.rs"
printf '[workspace]\n[package]\nname = "probe"\nversion = "0.0.0"\nedition = "2024"\n' > "$work/probe/Cargo.toml"
# Offline, with the vendored crates only. The bootstrap variable opens -Zbuild-std on a stable compiler for this one build;
# what is compiled against the sysroot afterwards is plain stable Rust.
(
    cd "$work/probe"
    env -u CARGO_BUILD_TARGET -u CARGO_ENCODED_RUSTFLAGS \
        RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT="$library" CARGO_TARGET_DIR="$work/target" \
        RUSTFLAGS="-Cembed-bitcode=yes --remap-path-prefix=$library=/rustc/$release/library" \
        cargo build --release --offline --target "$target" -Zbuild-std=core,alloc \
        --config 'source.crates-io.replace-with="vendored"' --config "source.vendored.directory=\"$library/vendor\""
) > "$folder/build.log" 2>&1 || { tail_of "$folder/build.log" 30; die "core and alloc do not build; see above and $folder/build.log"; }

destination=$work/sysroot/lib/rustlib/$target/lib
mkdir -p "$destination"
cp "$work/target/$target/release/deps"/lib{core,alloc,compiler_builtins}-*.rlib "$destination/"
# Crates for the host (build scripts, macros) are compiled without --target, so they never look here.
touch "$work/sysroot/complete"
rm -rf "$sysroot"
mv "$work/sysroot" "$sysroot"
rm -rf "$work"
say "the sysroot is ready: $sysroot"
finish "--sysroot=$sysroot"
