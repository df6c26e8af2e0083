#!/usr/bin/env bash
# Installs the Debian packages that the build and the tests need: only those that are missing.
# As root it installs; with sudo it asks sudo; otherwise it names the command that an administrator has to run.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# package                      what for
wanted=(
    ca-certificates          # registries over TLS
    git                      # version shown by the binaries
    make
    xz-utils                 # unpacks the standard library's sources
    g++                      # RocksDB, blst, libsecp256k1
    cmake
    pkg-config
    libssl-dev               # ethrex
    clang libclang-dev       # bindgen, for RocksDB
    gcc-arm-none-eabi        # the C of blst for the signer's device
    libnewlib-arm-none-eabi
    qemu-system-arm          # the device's board, emulated
    softhsm2                 # a PKCS#11 token in software, for tests and the devnet
    opensc                   # pkcs11-tool: looks into a token from outside
    dpkg-dev binutils        # our own packages: the libraries they depend on, smaller programs
    lintian                  # looks at them
    systemd                  # looks at their units, users and folders
    procps                   # sysctl, which they depend on
    nftables iproute2        # the signer's firewall, in network namespaces
    mmdebstrap curl          # clean machines that our packages are installed on
    jq age minisign          # what the guides in docs/ use beside our own programs
)
# Programs that may have come from elsewhere (a version manager, another archive): the command counts, not the package.
if ! command -v node >/dev/null; then wanted+=(nodejs); fi
if ! command -v npm >/dev/null; then wanted+=(npm); fi
if ! command -v flock >/dev/null; then wanted+=(util-linux); fi

if ! command -v apt-get >/dev/null; then
    for command in g++ cmake pkg-config clang arm-none-eabi-gcc qemu-system-arm node npm make git xz flock; do
        command -v "$command" >/dev/null || missing_commands="${missing_commands:-} $command"
    done
    [ -z "${missing_commands:-}" ] && exit 0
    die "this machine has no apt-get, so install these with its own package manager:$missing_commands.
    The Debian packages that the build is known to work with: ${wanted[*]}"
fi

missing_packages() {
    local package
    for package in "${wanted[@]}"; do
        case $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true) in
            installed) ;;
            *) printf '%s\n' "$package" ;;
        esac
    done
}

if [ -z "$(missing_packages)" ]; then
    say "all ${#wanted[@]} Debian packages are installed"
    exit 0
fi

hold_lock packages
mapfile -t missing < <(missing_packages)
[ ${#missing[@]} -gt 0 ] || exit 0
say "missing: ${missing[*]}"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    # With nobody at the terminal sudo must not ask.
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo --non-interactive true 2>/dev/null; }; then
        as_root=(sudo)
    else
        die "not root, and sudo cannot be used here. Ask an administrator to run:
    apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    fi
fi

log=$cache_dir/packages.log
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 --yes "$@" < /dev/null >> "$log" 2>&1
}
: > "$log"

# A new machine has no package lists; an old one may have lists that name files which the archive has replaced since.
if ! apt --no-install-recommends install "${missing[@]}"; then
    say "the package lists are missing or old: apt-get update"
    apt update || { tail_of "$log"; die "apt-get update failed; see above and $log"; }
    say "installing ${#missing[@]} packages"
    apt --no-install-recommends install "${missing[@]}" || {
        tail_of "$log"
        die "apt-get could not install: ${missing[*]}. See above and $log; the machine's apt sources must offer them."
    }
fi

mapfile -t missing < <(missing_packages)
[ ${#missing[@]} -eq 0 ] || die "still missing after the installation: ${missing[*]}; see $log"
say "installed"
