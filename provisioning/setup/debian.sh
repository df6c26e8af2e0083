# A private apt: packages of another Debian suite, downloaded with the archive's signatures checked, unpacked into a folder
# of ours. The host's own packages, lists and settings are not touched, and no root is needed. Sourced after lib.sh.
# shellcheck shell=bash disable=SC2154

# Prepares the private apt for a suite and downloads its lists.
# The source is the host's own Debian archive with the suite replaced, and the host's `Acquire::` settings (mirrors, proxies,
# limits) apply: what the host may fetch, and how, stays the host's decision.
#   $1 suite   $2... packages that count as installed
private_apt_open() {
    local suite=$1 package uri keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    shift
    command -v apt-get >/dev/null || return 1
    private_apt=$cache_dir/apt/$suite
    mkdir -p "$private_apt"/{lists/partial,archives/partial,empty}

    # `$(...)` below is apt's own notation.
    # shellcheck disable=SC2016
    uri=$(
        apt-get indextargets --no-release-info --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' \
            | awk -v codename="$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" '
                $2 == "main" && ($1 == codename || $1 ~ /^(oldstable|stable|testing|unstable|sid)$/) { print $3; exit }'
    ) || true
    if [ -z "${uri:-}" ] || [ "$(. /etc/os-release && echo "${ID:-}")" != debian ]; then
        say "no Debian archive among this machine's apt sources"
        return 1
    fi

    # apt checks the suite's signature against Debian's own keys; without their file, against all the keys that the host trusts.
    local signed_by=
    if [ -r "$keyring" ]; then signed_by="[signed-by=$keyring] "; fi
    printf 'deb %s%s %s main\n' "$signed_by" "$uri" "$suite" > "$private_apt/sources.list"
    # Declared as installed: what only their maintainer scripts would need, and those do not run.
    for package in "$@"; do
        printf 'Package: %s\nStatus: install ok installed\nVersion: 9999\nArchitecture: %s\nMulti-Arch: foreign\nMaintainer: nobody\nDescription: stub\n\n' \
            "$package" "$(dpkg --print-architecture)"
    done > "$private_apt/status"
    {
        apt-config dump | grep '^Acquire' || true
        cat <<CONF
Dir::Etc::main "$private_apt/empty/none";
Dir::Etc::parts "$private_apt/empty";
Dir::Etc::sourcelist "$private_apt/sources.list";
Dir::Etc::sourceparts "$private_apt/empty";
Dir::Etc::preferences "$private_apt/empty/none";
Dir::Etc::preferencesparts "$private_apt/empty";
Dir::State::lists "$private_apt/lists";
Dir::State::extended_states "$private_apt/extended_states";
Dir::State::status "$private_apt/status";
Dir::Cache::archives "$private_apt/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
// apt's own unprivileged user cannot enter a home folder; without root there is no other user to switch to anyway.
APT::Sandbox::User "$(id -un)";
CONF
    } > "$private_apt/apt.conf"

    say "reading the package list of Debian $suite"
    if ! private_apt_run update > "$private_apt/log" 2>&1; then
        tail_of "$private_apt/log"
        say "the package list of Debian $suite cannot be read; see above and $private_apt/log"
        return 1
    fi
}

# Runs apt-get in the private apt.
private_apt_run() {
    APT_CONFIG=$private_apt/apt.conf DEBIAN_FRONTEND=noninteractive apt-get --yes "$@" < /dev/null
}

# The newest version of package $1 whose version matches the regular expression $2; empty if there is none.
private_apt_version() {
    APT_CONFIG=$private_apt/apt.conf apt-cache madison "$1" | awk -F '[ |]+' -v wanted="$2" '$3 ~ wanted { print $3; exit }'
}
