# Shared by the set-up scripts: strict mode, the cache folder, messages with timings, locks.
# Sourced, never run.
# shellcheck shell=bash disable=SC2034

set -euo pipefail

setup_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo_dir=$(cd "$setup_dir/../.." && pwd)
cache_dir=${ALYS_CACHE:-$HOME/.cache/alys}
mkdir -p "$cache_dir"

# Exported, so that the commands that `xargs` starts count from the same moment.
export setup_started=${setup_started:-$EPOCHSECONDS}

# Scripts print their result (a path) on stdout, so everything said to a person goes to stderr.
say() {
    printf '[%s %4ss] %s\n' "$(basename "$0" .sh)" "$((EPOCHSECONDS - setup_started))" "$*" >&2
}

die() {
    printf '\n%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null 2>&1 || die "the command '$1' is missing; expected it on PATH. $2"
}

# Holds a lock on the cache until the script ends, so that two runs (a devnet and a test) do not build the same thing.
# Descriptor 9 is inherited by children on purpose: a script killed half-way keeps others out until its compilers are gone.
hold_lock() {
    exec 9>"$cache_dir/$1.lock"
    if ! flock --nonblock 9; then
        say "another run is at work on $1; waiting for it (lock: $cache_dir/$1.lock)"
        flock 9
    fi
}

# The last lines of a log, for an error message.
tail_of() {
    tail -n "${2:-20}" "$1" | sed 's/^/    /' >&2
}
