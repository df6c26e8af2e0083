#!/usr/bin/env bash
# Builds the .deb packages of all hosts from programs that are built already.
#   packages-deb.sh PROGRAMS OUTPUT [PACKAGE...]
# PROGRAMS is the folder with the programs (target/release); OUTPUT gets the packages, all four or those that are named. The same programs give the same
# packages, byte by byte: times are SOURCE_DATE_EPOCH, by default the last commit's.
# ALYS_DEB_COMPRESSION is dpkg-deb's type and level (xz:6); tests take gzip:1.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -ge 2 ] || die "expected PROGRAMS OUTPUT [PACKAGE...], found $# arguments"
programs=$(realpath "$1")
mkdir -p "$2"
output=$(realpath "$2")
shift 2
[ $# -gt 0 ] || set -- alys-doctor alys-provision alys-node alys-signer
for command in dpkg-deb dpkg-shlibdeps strip gzip; do need "$command" "Install dpkg-dev and binutils."; done

bundles=$repo_dir/provisioning/bundles
compression=${ALYS_DEB_COMPRESSION:-xz:6}
version=$(awk -F '"' '/^\[workspace.package\]/ { on = 1 } on && /^version/ { print $2; exit }' "$repo_dir/Cargo.toml")
architecture=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$repo_dir" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

declare -A summary=(
    [alys-signer]="signer of an Alys federation member"
    [alys-node]="node of the Alys side chain"
    [alys-provision]="provisioning of an Alys federation member"
    [alys-doctor]="checks a host of an Alys federation"
)
declare -A description=(
    [alys-signer]=" Holds a member's keys and signs only what its rules allow. To be installed on a
 machine of its own, with a hardened unit and a firewall that lets in the node."
    [alys-node]=" Consensus, peg coordination and execution. Holds no signing key."
    [alys-provision]=" Certificates, chain spec, configurations and officers' signatures, for a
 workstation that is best kept offline."
    [alys-doctor]=" Looks at files, certificates, policy, clock, swap, firewall and units of a
 signer, node or provisioning host, and explains each finding."
)
# Beside the libraries that the programs are linked to.
declare -A needs=(
    [alys-signer]="systemd (>= 250), nftables, procps, alys-doctor"
    [alys-node]="systemd (>= 250), procps, alys-doctor"
    [alys-provision]="systemd (>= 250), procps"
    [alys-doctor]=""
)

build() {
    local package=$1 tree=$work/$1 source target mode name
    mkdir -p "$tree/DEBIAN"
    : > "$tree/DEBIAN/conffiles"
    local binaries=()
    while read -r name source target mode; do
        [ "$name" = "$package" ] || continue
        case $source in
            bin:*)
                [ -x "$programs/${source#bin:}" ] || die "expected the program $programs/${source#bin:}, found none: build it first"
                install -D -m "$mode" "$programs/${source#bin:}" "$tree$target"
                strip --strip-unneeded --remove-section=.comment "$tree$target"
                binaries+=(-e "$tree$target")
                ;;
            repo:*) install -D -m "$mode" "$repo_dir/${source#repo:}" "$tree$target" ;;
            *) install -D -m "$mode" "$bundles/$source" "$tree$target" ;;
        esac
        case $target in /etc/*) printf '%s\n' "$target" >> "$tree/DEBIAN/conffiles" ;; esac
    done < <(grep -v '^#' "$bundles/packages.list" | grep .)
    [ ${#binaries[@]} -gt 0 ] || die "packages.list has no program for $package"
    [ -s "$tree/DEBIAN/conffiles" ] || rm "$tree/DEBIAN/conffiles"

    local doc=$tree/usr/share/doc/$package
    mkdir -p "$doc"
    {
        printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: alys\n\n'
        printf 'Files: *\nCopyright: the Alys developers\nLicense: Expat or Apache-2.0\n\n'
        printf 'License: Expat\n'
        sed 's/^$/./; s/^/ /' "$repo_dir/LICENSE-MIT"
        printf '\nLicense: Apache-2.0\n On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.\n'
    } > "$doc/copyright"
    printf '%s (%s) unstable; urgency=medium\n\n  * Built from the sources of this version.\n\n -- The Alys developers <alys@localhost>  %s\n' \
        "$package" "$version" "$(date --utc --date="@$SOURCE_DATE_EPOCH" --rfc-email)" | gzip -9n > "$doc/changelog.gz"

    # dpkg-shlibdeps wants a source package around it.
    local source_tree=$work/$package.source libraries depends
    mkdir -p "$source_tree/debian"
    printf 'Source: alys\n\nPackage: %s\nArchitecture: any\n' "$package" > "$source_tree/debian/control"
    libraries=$(cd "$source_tree" && dpkg-shlibdeps -O "${binaries[@]}" 2> "$work/shlibdeps.log") || {
        tail_of "$work/shlibdeps.log"
        die "the libraries of $package belong to no package"
    }
    libraries=${libraries#shlibs:Depends=}
    depends=$libraries
    [ -z "${needs[$package]}" ] || depends="$depends, ${needs[$package]}"

    local script
    if [ "$package" != alys-doctor ]; then
        for script in postinst prerm postrm; do
            install -m 0755 "$bundles/maintainer/$script" "$tree/DEBIAN/$script"
        done
    fi
    cat > "$tree/DEBIAN/control" <<CONTROL
Package: $package
Source: alys
Version: $version
Architecture: $architecture
Maintainer: The Alys developers <alys@localhost>
Installed-Size: $(du -k -s --apparent-size --exclude=DEBIAN "$tree" | cut -f1)
Depends: $depends
Section: net
Priority: optional
Description: ${summary[$package]}
${description[$package]}
CONTROL
    (cd "$tree" && find . -type f -not -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum > DEBIAN/md5sums)
    # Times before dpkg-deb clamps them: folders and files made here are all newer.
    find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Z"${compression%%:*}" -z"${compression##*:}" --build "$tree" \
        "$output/${package}_${version}_${architecture}.deb" > /dev/null
    say "${package}_${version}_${architecture}.deb ($(du -k "$output/${package}_${version}_${architecture}.deb" | cut -f1) KiB; $depends)"
}

for package in "$@"; do build "$package"; done
