#!/usr/bin/env bash
# Builds RocksDB once, as a unity build, for every profile and every clone on this machine.
#
# The build script of librocksdb-sys compiles 330 C++ files one by one, for each profile again (about 15 minutes of two
# cores). Here they are compiled in a few chunks, which parses the common headers once per chunk (about 5 minutes), and
# kept in the cache folder. Without this cache a plain `cargo build` still works, only slower.
#
# Result:  $ALYS_CACHE/rocksdb/RECIPE/lib/librocksdb.a   the library
#          $ALYS_CACHE/rocksdb/RECIPE/lib/librocksdb.so  a linker script: librocksdb.a and the C++ runtime it needs
#          $ALYS_CACHE/rocksdb/RECIPE/include            the headers, for bindgen
# Prints the folder on stdout. `env.sh` exports ROCKSDB_LIB_DIR and ROCKSDB_INCLUDE_DIR for it.
#
# ROCKSDB_STATIC is left unset on purpose: cargo then asks the linker for `-lrocksdb`, finds the linker script, and links
# the archive statically together with libstdc++. No crate needs a build script for that, and the archive is not copied
# into an rlib for every profile.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=provisioning/setup/versions.sh
. "$setup_dir/versions.sh"

chunks=8
jobs=${ALYS_JOBS:-2}
out=$cache_dir/rocksdb/$ROCKSDB_RECIPE

# What the workspace has locked is what must be built; a newer crate has other headers and other symbols.
locked=$(awk '/^name = "librocksdb-sys"$/ { getline; gsub(/version = |"/, ""); print }' "$repo_dir/Cargo.lock" 2>/dev/null || true)
if [ -n "$locked" ] && [ "$locked" != "$LIBROCKSDB_SYS_VERSION" ]; then
    die "Cargo.lock has librocksdb-sys $locked, but this recipe is for $LIBROCKSDB_SYS_VERSION. Update provisioning/setup/versions.sh."
fi

if [ -e "$out/complete" ]; then
    say "RocksDB is in the cache: $out"
    echo "$out"
    exit 0
fi

hold_lock rocksdb
if [ -e "$out/complete" ]; then
    echo "$out"
    exit 0
fi

need g++ "Run provisioning/setup/packages.sh."
need cargo "Install Rust (rustup) as README.md says."

work=$cache_dir/rocksdb/.work-$ROCKSDB_RECIPE
rm -rf "$work"
mkdir -p "$work/fetch/src" "$work/objects" "$work/out/lib"

say "fetching the sources through cargo"
cat > "$work/fetch/Cargo.toml" <<TOML
[workspace]
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
librocksdb-sys = { version = "=$LIBROCKSDB_SYS_VERSION", default-features = false, features = ["lz4"] }
TOML
touch "$work/fetch/src/lib.rs"
metadata=$(cd "$work/fetch" && cargo metadata --format-version 1)
crate_dir() {
    printf '%s' "$metadata" | grep -o '"manifest_path":"[^"]*/'"$1"'-[0-9][^"/]*/Cargo.toml"' | head -n 1 \
        | sed 's/^"manifest_path":"//; s|/Cargo.toml"$||'
}
sys=$(crate_dir librocksdb-sys)
lz4=$(crate_dir lz4-sys)
[ -d "$sys/rocksdb" ] || die "cargo fetched no sources of librocksdb-sys $LIBROCKSDB_SYS_VERSION (looked for '$sys/rocksdb')"
[ -e "$lz4/liblz4/lib/lz4.h" ] || die "cargo fetched no header of lz4 (looked for '$lz4/liblz4/lib/lz4.h')"

# Neighbours in the list share headers and were written together, so chunks are runs of the list, cut by size.
# build_version.cc exists in two versions; the crate's own is the filled-in one.
grep -v '^util/build_version\.cc$' "$sys/rocksdb_lib_sources.txt" | tr -d ' \r' | grep . > "$work/sources"
(cd "$sys/rocksdb" && xargs wc -c < "$work/sources") | grep -v ' total$' | awk -v n="$chunks" -v dir="$work" '
    { size[NR] = $1; file[NR] = $2; total += $1 }
    END {
        for (i = 1; i <= NR; i++) {
            chunk = int(n * seen / total); seen += size[i]
            printf "#include \"%s\"\n", file[i] > (dir "/chunk" chunk ".cc")
        }
        printf "#include \"../build_version.cc\"\n" > (dir "/chunk" int(n * seen / (total + 1)) ".cc")
    }'

say "compiling $(wc -l < "$work/sources") files in $chunks chunks, $jobs at a time (about 5 minutes of two idle cores)"
# The definitions are those of the crate's build script for Linux with the feature lz4, the only one that ethrex enables.
compile() {
    local name=$1 started=$EPOCHSECONDS
    if ! g++ -c "$work/$name.cc" -o "$work/objects/$name.o" -std=c++17 -O2 -g0 -fPIC -ffunction-sections -fdata-sections -w \
        -I"$sys/rocksdb/include" -I"$sys/rocksdb" -I"$sys" -I"$lz4/liblz4/lib" \
        -DNDEBUG=1 -DLZ4=1 -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT \
        -DROCKSDB_SUPPORT_THREAD_LOCAL 2> "$work/$name.log"; then
        tail_of "$work/$name.log" 30
        return 1
    fi
    say "  $name of $chunks compiled in $((EPOCHSECONDS - started)) s"
}
export -f compile say tail_of
export work sys lz4 chunks
printf '%s\n' "$work"/chunk*.cc | sed 's|.*/||; s|\.cc$||' | xargs -P "$jobs" -I{} bash -c 'compile {}' rocksdb.sh \
    || die "RocksDB does not compile; logs are in $work"

ar crs "$work/out/lib/librocksdb.a" "$work"/objects/*.o
echo "INPUT ( $out/lib/librocksdb.a -lstdc++ )" > "$work/out/lib/librocksdb.so"
cp -r "$sys/rocksdb/include" "$work/out/include"
touch "$work/out/complete"
rm -rf "$out"
mv "$work/out" "$out"
rm -rf "$work"
say "RocksDB is ready: $out ($(du -sh "$out" | cut -f1))"
echo "$out"
