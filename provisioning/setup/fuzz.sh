#!/usr/bin/env bash
# Fuzzes every target of tests/fuzz for its share of SECONDS, from the committed corpus.
#   fuzz.sh SECONDS [TARGET...]
# First the committed corpus is held against what is made today, and must reach every accepting path of every target.
# What is found new goes to the cache, not into the clone. The first crash fails the run, and its input stays in the cache.
# Coverage needs no nightly compiler: only sanitizers do, and the code under test has no unsafe.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds=${1:?"seconds for all targets together"}
shift
fuzz_dir=$repo_dir/tests/fuzz
found_dir=$cache_dir/fuzz
export CARGO_TARGET_DIR=$cache_dir/target-fuzz
PATH=$cache_dir/tools/bin:$PATH

command -v cargo-fuzz > /dev/null || "$setup_dir/tools.sh"

targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for file in "$fuzz_dir"/targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

# Parts of the time: one for decoders, more where an input takes long, and most for sequences, which are the slowest and
# go deepest.
parts_of() {
    case $1 in
        sequence) echo 8 ;;
        deposits | headers | proofs) echo 2 ;;
        *) echo 1 ;;
    esac
}
all_parts=0
for target in "${targets[@]}"; do all_parts=$((all_parts + $(parts_of "$target"))); done

cd "$fuzz_dir"
say "building ${#targets[@]} targets (log: $cache_dir/fuzz-build.log)"
mkdir -p "$found_dir"
hold_lock fuzz
# cargo-fuzz has no --locked; where this passes, its build has nothing to change in Cargo.lock.
cargo metadata --locked --format-version 1 > /dev/null 2> "$cache_dir/fuzz-build.log" || {
    tail_of "$cache_dir/fuzz-build.log"
    die "tests/fuzz/Cargo.lock does not fit its Cargo.toml or those of the crates under test; 'cargo update --workspace' there"
}
cargo fuzz build --fuzz-dir . --sanitizer none --release > "$cache_dir/fuzz-build.log" 2>&1 || {
    tail_of "$cache_dir/fuzz-build.log"
    die "the fuzz targets do not build; see above and $cache_dir/fuzz-build.log"
}
programs=$CARGO_TARGET_DIR/$(rustc -vV | sed -n 's/^host: //p')/release

"$programs/seeds" check corpus > "$found_dir/seeds.log" 2>&1 || {
    tail_of "$found_dir/seeds.log"
    die "the committed corpus has rotted; '$programs/seeds write corpus' in tests/fuzz makes the seeds anew"
}

total=0
for target in "${targets[@]}"; do
    mkdir -p "$found_dir/$target" "$found_dir/crashes/$target"
    log=$found_dir/$target.log
    share=$((seconds * $(parts_of "$target") / all_parts))
    if [ "$share" -lt 1 ]; then share=1; fi
    # The first folder takes what is new; the committed corpus is read.
    "$programs/$target" \
        "$found_dir/$target" "corpus/$target" -max_total_time="$share" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$found_dir/crashes/$target/" > "$log" 2>&1 || {
        tail_of "$log"
        die "target $target failed; its input is in $found_dir/crashes/$target, the log is $log"
    }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    total=$((total + runs))
    say "$target: $runs executions in $share s, no failure"
done
say "$total executions of ${#targets[@]} targets, none failed"
