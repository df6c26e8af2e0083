#!/usr/bin/env bash
# Runs targets of the Makefile one after the other, with their durations; the first failure stops the run and is named.
#   stages.sh STAGE...
# The output of each stage is kept in $CARGO_TARGET_DIR/make-test/STAGE.log.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

logs=${CARGO_TARGET_DIR:-$cache_dir/target}/make-test
mkdir -p "$logs"
rm -f "$logs"/*.log

durations=()
clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# Adds up what the test runners themselves said: nextest, cargo test and forge.
count_tests() {
    cat "$logs"/*.log | sed 's/\x1b\[[0-9;]*m//g' | awk '
        function number_before(word,   found) {
            if (match($0, "[0-9]+ (tests? )?" word)) { found = substr($0, RSTART, RLENGTH); return found + 0 }
            return 0
        }
        # nextest: "Summary [  1.2s] 9 tests run: 8 passed, 1 failed, 2 skipped"; a test that timed out has failed.
        /^ *Summary \[/           { passed += number_before("passed"); failed += number_before("failed") + number_before("timed out") }
        # cargo test: "test result: ok. 8 passed; 1 failed; 0 ignored"
        /^test result: /          { passed += number_before("passed"); failed += number_before("failed") }
        # the attack suite: "59 attacks, none successful: ..."; a successful one fails the stage.
        /^[0-9]+ attacks, none/   { passed += $1 }
        /^[0-9]+ checks of the packages passed/ { passed += $1 }
        # forge: "Ran 2 test suites in 3.1s (3s CPU time): 8 tests passed, 1 failed, 0 skipped (9 total tests)"
        /^Ran [0-9]+ test suites? / { passed += number_before("passed"); failed += number_before("failed") }
        END { printf "%d passed, %d failed\n", passed, failed }'
}

report() {
    printf '\n%-12s %8s\n' stage min:sec
    printf '%s\n' "${durations[@]}"
    printf '%-12s %8s\n\n' total "$(clock $((EPOCHSECONDS - setup_started)))"
    count_tests
}

# A jobserver of `make -j` does not reach through `tee`; cargo uses all cores by itself.
for stage in "$@"; do
    printf '\n=== %s ===\n' "$stage"
    started=$EPOCHSECONDS
    status=0
    env -u MAKEFLAGS make --no-print-directory -C "$repo_dir" "$stage" < /dev/null 2>&1 | tee "$logs/$stage.log" || status=$?
    took=$((EPOCHSECONDS - started))
    durations+=("$(printf '%-12s %8s' "$stage" "$(clock "$took")")")
    if [ "$status" -ne 0 ]; then
        report
        die "the stage '$stage' failed after $(clock "$took"); its output is above and in $logs/$stage.log. Run it alone: make $stage"
    fi
    printf -- '--- %s: done in %s\n' "$stage" "$(clock "$took")"
done
report
