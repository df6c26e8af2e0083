#!/usr/bin/env bash
# Builds the packages from programs that are built already, installs them into an empty root, and checks what a host would
# get: units, users, modes, rules, and that nothing is lost on upgrade, removal and purge.
#   packages-check.sh PROGRAMS
# Needs root for owners of files. What it makes is in a temporary folder; it starts no service.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 1 ] || die "expected PROGRAMS, found $# arguments"
programs=$1
for command in dpkg dpkg-deb systemd-analyze systemd-sysusers systemd-tmpfiles nft lintian setpriv; do
    need "$command" "Run provisioning/setup/packages.sh."
done
[ "$(id -u)" -eq 0 ] || die "expected root, to install packages into a folder with their owners; found user $(id -u)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Another user has to reach the root inside.
chmod 0755 "$work"
passed=0
ok() {
    passed=$((passed + 1))
    say "ok: $*"
}
failed() { die "expected $1, found: ${2:-nothing}"; }

# 1. Built twice, the same bytes.
export ALYS_DEB_COMPRESSION=gzip:1
"$setup_dir/packages-deb.sh" "$programs" "$work/debs" 2> "$work/log" || { cat "$work/log" >&2; die "the packages cannot be built"; }
"$setup_dir/packages-deb.sh" "$programs" "$work/again" alys-signer 2> "$work/log" || { cat "$work/log" >&2; die "the packages cannot be built again"; }
count=0
for deb in "$work"/debs/*.deb; do count=$((count + 1)); done
for deb in "$work"/again/*.deb; do
    cmp "$deb" "$work/debs/$(basename "$deb")" || failed "the same package from the same programs" "$(basename "$deb") differs"
done
[ "$count" -eq 4 ] || failed "four packages" "$count"
ok "$count packages; the signer's has the same bytes when it is built again"

# 2. Contents: all is root's, nobody else writes, no secret by its name, no set-user-id.
for deb in "$work"/debs/*.deb; do
    dpkg-deb --contents "$deb" > "$work/contents"
    if awk '$2 != "root/root"' "$work/contents" | grep .; then failed "all files to be root's" "the above, in $deb"; fi
    if awk '$1 !~ /^l/ && ($1 ~ /^.....w/ || $1 ~ /^........w/ || $1 ~ /[sS]/)' "$work/contents" | grep .; then
        failed "files that only root changes" "the above, in $deb"
    fi
    if grep -E '\.(key|sealed|redb|cred)$|/pin$' "$work/contents"; then failed "no secrets" "the above, in $deb"; fi
done
ok "owners and modes in the packages"
# The developers have no mail address yet.
lintian --no-cfg --allow-root --fail-on error --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$work"/debs/*.deb > "$work/lintian" 2>&1 || {
    cat "$work/lintian" >&2
    die "lintian finds errors"
}
ok "lintian: no errors ($(grep -c '^W:' "$work/lintian" || true) warnings)"
# Against this machine's packages; nothing is installed.
dpkg --no-act --install "$work"/debs/*.deb > "$work/log" 2>&1 || { cat "$work/log" >&2; die "dependencies are not met"; }
ok "dependencies exist"

# 3. Installed into an empty root, twice, as an upgrade does.
root=$work/root
mkdir -p "$root"/{etc,var/lib/dpkg/{info,updates,triggers},var/log,run,usr/lib,usr/bin}
touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
run_dpkg() {
    # The empty root has no libc; that the dependencies exist was checked above.
    dpkg --root="$root" --force-depends --force-script-chrootless "$@" > "$work/log" 2>&1 || { cat "$work/log" >&2; die "dpkg $* failed"; }
}
run_dpkg --install "$work"/debs/*.deb
cp -a "$root/etc/passwd" "$work/passwd"
printf '# changed by the operator\n' >> "$root/etc/alys-signer/firewall.nft"
echo key > "$root/var/lib/alys-signer/keys.sealed"
run_dpkg --install "$work"/debs/*.deb
cmp "$work/passwd" "$root/etc/passwd" || failed "a second installation to make no users" "another passwd"
grep -q 'changed by the operator' "$root/etc/alys-signer/firewall.nft" || failed "an operator's change to outlive an upgrade"
ok "installed twice, the operator's change kept"

uid_of() { awk -F: -v name="$1" '$1 == name { print $3 }' "$root/etc/passwd"; }
for user in alys-signer alys-node; do
    [ -n "$(uid_of "$user")" ] || failed "the user $user" "none"
    grep -q "^$user:.*:/usr/sbin/nologin$" "$root/etc/passwd" || failed "no shell for $user"
done
expect_mode() {
    local found
    found=$(stat --format='%a %u' "$root$1")
    [ "$found" = "$2 $3" ] || failed "$1 with mode and owner $2 $3" "$found"
}
expect_mode /var/lib/alys-signer 700 "$(uid_of alys-signer)"
expect_mode /var/lib/alys-node 700 "$(uid_of alys-node)"
expect_mode /var/lib/alys-provision 700 0
expect_mode /etc/alys-signer 750 0
expect_mode /etc/alys-node/tls 750 0
expect_mode /etc/alys-signer/firewall.nft 644 0
ok "users, owners and modes after the installation"
if find "$root/etc/systemd" -name '*.wants' 2>/dev/null | grep .; then failed "no service to be enabled" "the above"; fi
for unit in alys-signer:signer.toml alys-node:node.toml; do
    grep -q "^ConditionPathExists=/etc/${unit%:*}/${unit#*:}$" "$root/usr/lib/systemd/system/${unit%:*}.service" \
        || failed "${unit%:*}.service to wait for its configuration"
    [ ! -e "$root/etc/${unit%:*}/${unit#*:}" ] || failed "no configuration before somebody makes it" "${unit#*:}"
done
ok "nothing runs before it is configured"

# 4. Units: well-formed, with programs that exist, and as strict as they were.
while read -r program; do
    [ -x "$root$program" ] || [ -x "$program" ] || failed "the program $program that a unit names"
done < <(sed -nE 's/^Exec[A-Za-z]+=[-+@!:]*([^ ]+).*/\1/p' "$root"/usr/lib/systemd/system/alys-*.service "$root"/usr/share/alys-signer/*.conf | sort -u)
# Every other file that a unit or its drop-ins name, where the package brings it.
while read -r file; do
    [ -e "$root$file" ] || failed "$file, which a unit names, to be in the packages"
done < <(grep -hoE '/usr/share/(doc/)?alys-[a-z./-]+' "$root"/usr/lib/systemd/system/alys-*.service | sed 's/\.$//' | sort -u)
units=$work/units
mkdir "$units"
cp "$root"/usr/lib/systemd/system/alys-*.service "$units"
# For the check of the programs' paths: those of the root.
sed -i "s#=/usr/bin/alys#=$root/usr/bin/alys#" "$units"/*.service
SYSTEMD_UNIT_PATH="$units:" systemd-analyze verify --man=no "$units"/alys-*.service > "$work/verify" 2>&1 || true
if grep -E 'alys|firewall' "$work/verify"; then failed "units without a fault" "the above"; fi
ok "systemd-analyze verify"
# What weighs too little in the rating below, or is not rated.
for setting in LimitCORE=0 LimitMEMLOCK=infinity MemorySwapMax=0 MemoryDenyWriteExecute=yes DevicePolicy=closed IPAddressDeny=any; do
    grep -qx "$setting" "$units/alys-signer.service" || failed "alys-signer.service to have $setting"
done
# Exposure times ten: a setting that is taken away lets it rise above.
for rating in alys-signer:13 alys-node:15 alys-signer-firewall:24; do
    systemd-analyze security --offline=true --no-pager --threshold="${rating#*:}" "$units/${rating%:*}.service" > "$work/log" 2>&1 || {
        cat "$work/log" >&2
        failed "${rating%:*}.service to have an exposure of at most ${rating#*:} tenths" "the above"
    }
done
ok "systemd-analyze security"

# 5. The firewall's rules, with the addresses as installed and with all of the template's examples.
for addresses in as-installed examples; do
    cp "$root/etc/alys-signer/firewall.nft" "$work/firewall.nft"
    if [ "$addresses" = examples ]; then sed -i 's/^# add element/add element/' "$work/firewall.nft"; fi
    sed "s#/etc/alys-signer/firewall.nft#$work/firewall.nft#" "$root/usr/share/alys-signer/signer.nft" > "$work/signer.nft"
    nft --check --file "$work/signer.nft" || failed "rules that nft takes" "$addresses"
done
ok "nft takes the rules"

# 6. A passphrase reaches the signer as the drop-in says: as its user, from a credential, by a descriptor.
credentials=$root/run/credentials
install -d -m 0500 -o "$(uid_of alys-signer)" "$credentials"
printf 'a passphrase of this test\n' > "$credentials/passphrase"
chown "$(uid_of alys-signer)" "$credentials/passphrase"
chmod 0400 "$credentials/passphrase"
rm "$root/var/lib/alys-signer/keys.sealed"
example=$root/usr/share/doc/alys-signer/examples/signer.toml
awk '/^\[/ { skip = /^\[(token|counter)\]/ } !skip' "$example" | sed "s#/var/lib#$root/var/lib#" > "$work/signer.toml"
chmod 0644 "$work/signer.toml"
line=$(sed -n "s#^ExecStart=/bin/sh -c '\(.*\)'\$#\1#p" "$root/usr/share/alys-signer/passphrase.conf")
line=${line//%d/$credentials}
line=${line//\/usr\/bin\/alys-signer run --config \/etc\/alys-signer\/signer.toml/$root/usr/bin/alys-signer init --config $work/signer.toml}
case $line in *" init "*"--passphrase-fd 3 3< $credentials/"*) ;; *) failed "the drop-in's command to be as this check knows it" "$line" ;; esac
setpriv --reuid="$(uid_of alys-signer)" --regid="$(uid_of alys-signer)" --clear-groups --no-new-privs --bounding-set=-all \
    env -i PATH=/usr/bin:/bin /bin/sh -c "ulimit -c 0; $line" > "$work/card.json" 2> "$work/log" < /dev/null || {
    cat "$work/log" >&2
    die "alys-signer init by the drop-in's command failed"
}
grep -q '"bls_possession"' "$work/card.json" || failed "a member card" "$(head -c 200 "$work/card.json")"
expect_mode /var/lib/alys-signer/keys.sealed 600 "$(uid_of alys-signer)"
expect_mode /var/lib/alys-signer/state.redb 600 "$(uid_of alys-signer)"
if find "$root" "$work/card.json" "$work/log" -type f -not -path "$credentials/*" -exec grep -l 'a passphrase of this test' {} +; then
    failed "the passphrase to be nowhere else" "it is in the above"
fi
ok "a credential opens the keys, as the signer's user without privileges; the example configuration is read"

# 7. The node reads its example as far as the chain spec that is not there.
"$root/usr/bin/alys-node" db inspect --config "$root/usr/share/doc/alys-node/examples/node.toml" > "$work/log" 2>&1 \
    && failed "no node without a chain spec" "success"
grep -q 'chain spec' "$work/log" || failed "the node to read its example configuration and miss the chain spec" "$(cat "$work/log")"
"$root/usr/bin/alys-doctor" --host signer --config "$work/signer.toml" --json > "$work/report.json" \
    && failed "the doctor to find a host without anything at fault" "success"
grep -q '"check": "chain"' "$work/report.json" || failed "the doctor to miss the chain spec" "$(cat "$work/report.json")"
ok "the node's example is read; the doctor finds what is missing"

# 8. Removed and purged: the keys stay.
run_dpkg --remove alys-signer alys-node alys-provision alys-doctor
[ -e "$root/etc/alys-signer/firewall.nft" ] || failed "configuration to outlive a removal"
run_dpkg --purge alys-signer alys-node alys-provision alys-doctor
[ ! -e "$root/usr/bin/alys-signer" ] || failed "no program after a purge" alys-signer
[ -e "$root/var/lib/alys-signer/keys.sealed" ] || failed "keys to outlive a purge"
ok "removed and purged; keys and state stay"

printf '%d checks of the packages passed\n' "$passed"
