#!/usr/bin/env bash
# Installs the packages on two Debian machines, a signer's and a node's, and runs their services there, as
# docs/installing.md says it: systemd in namespaces of its own over a clean Debian, a cable between them, and a Bitcoin node.
#   packages-boot.sh PROGRAMS
# Needs root, and a kernel with overlayfs, namespaces and nftables. Everything it starts, it stops.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 1 ] || die "expected PROGRAMS, found $# arguments"
programs=$1
for command in mmdebstrap nsenter unshare setpriv ip curl; do
    need "$command" "Run provisioning/setup/packages.sh."
done
[ "$(id -u)" -eq 0 ] || die "expected root, to boot machines in namespaces; found user $(id -u)"
bitcoind=$("$setup_dir/bitcoin.sh")
bitcoin_cli=$(dirname "$bitcoind")/bitcoin-cli

# 1. A clean Debian of this machine's release, since the programs need its libraries. Fetched once.
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ -n "$suite" ] || die "expected a Debian release (VERSION_CODENAME in /etc/os-release), found none"
image=$cache_dir/roots/$suite-1.tar
if [ ! -e "$image" ]; then
    hold_lock roots
fi
if [ ! -e "$image" ]; then
    mkdir -p "$cache_dir/roots"
    say "fetching a clean Debian $suite"
    options=()
    # Where this machine's archives need settings of their own.
    for file in /etc/apt/apt.conf.d/*; do
        if grep -qsE '^Acquire::' "$file"; then options+=("--aptopt=$file"); fi
    done
    mmdebstrap --format=tar --variant=minbase --include=systemd,dbus,nftables,procps,libssl3,libstdc++6 "${options[@]}" \
        "$suite" "$image.new" 2> "$cache_dir/roots/log" || {
        tail_of "$cache_dir/roots/log"
        die "a clean Debian cannot be made; see above and $cache_dir/roots/log"
    }
    mv "$image.new" "$image"
fi

work=$(mktemp -d)
pids=()
stop() {
    local pid
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2> /dev/null || true
        wait "$pid" 2> /dev/null || true
    done
    umount "$work/layers" || true
    rm -rf "$work"
}
trap stop EXIT
mkdir "$work/clean" "$work/layers" "$work/bitcoin"
tar --extract --file "$image" --directory "$work/clean"
# The upper layers of an overlay must not be on an overlay themselves.
mount -t tmpfs -o mode=755 tmpfs "$work/layers"

passed=0
ok() {
    passed=$((passed + 1))
    say "ok: $*"
}
# Whatever fails shows what the machines said.
failed() {
    local host
    for host in signer node; do
        on "$host" journalctl --no-pager --lines=10 --output=cat >&2 || true
        on "$host" journalctl --no-pager --lines=10 --output=cat --namespace="alys-$host" >&2 || true
    done
    die "expected $1, found: ${2:-nothing}"
}

# What the first process of a machine does before systemd takes over.
cat > "$work/boot" << 'BOOT'
set -euo pipefail
layers=$1 clean=$2 bitcoin=$3
root=$layers/root
mkdir -p "$layers"/{upper,work,root}
mount -t overlay -o "lowerdir=$clean,upperdir=$layers/upper,workdir=$layers/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/var/lib/bitcoind"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"
mount --bind "$bitcoin" "$root/var/lib/bitcoind"
ip link set lo up
cd "$root"
pivot_root . mnt
umount --lazy /mnt
cd /
# As a container's manager has to: systemd hands credentials to its services by mounts.
mount --make-rshared /
exec env -i container=alys-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system
BOOT

declare -A init
boot() {
    mkdir "$work/layers/$1"
    unshare --fork --kill-child --pid --mount --propagation private --uts --ipc --net --cgroup \
        bash "$work/boot" "$work/layers/$1" "$work/clean" "$work/bitcoin" > "$work/$1.console" 2>&1 < /dev/null &
    pids+=("$!")
    until_true "the machine $1 to boot" runs "$1" "$!"
}
runs() {
    init[$1]=$(pgrep --parent "$2" --exact systemd) || return 1
    on "$1" systemctl is-system-running > /dev/null 2>&1
}
on() {
    local host=$1
    shift
    nsenter --target "${init[$host]}" --mount --uts --ipc --net --pid --cgroup --root --wd="/proc/${init[$host]}/root" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
on_network_of() { nsenter --target "${init[$1]}" --net "${@:2}"; }
until_true() {
    local what=$1 left=300
    shift
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || failed "$what within a minute"
        # What is awaited here announces itself to nobody.
        sleep 0.2
    done
}

boot signer
boot node
ip link add link0 netns "${init[signer]}" type veth peer name link0 netns "${init[node]}"
on_network_of signer ip address add 192.0.2.11/24 dev link0
on_network_of node ip address add 192.0.2.10/24 dev link0
for host in signer node; do on_network_of "$host" ip link set link0 up; done
ok "two machines run $(on signer systemctl --version | sed -n '1s/ (.*//p'), with a cable between them"

# 2. Packages, as root would install them; nothing starts by itself.
ALYS_DEB_COMPRESSION=gzip:1 "$setup_dir/packages-deb.sh" "$programs" "$work/debs" 2> "$work/log" || {
    cat "$work/log" >&2
    die "the packages cannot be built"
}
put() { on "$1" /bin/sh -c "cat > '$2'"; }
for host in signer node; do
    for package in alys-doctor "alys-$host"; do put "$host" "/tmp/$package.deb" < "$(echo "$work/debs/${package}_"*.deb)"; done
    on "$host" dpkg --install /tmp/alys-doctor.deb "/tmp/alys-$host.deb" > "$work/log" 2>&1 \
        || failed "packages to be installed on the $host" "$(cat "$work/log")"
    on "$host" systemctl is-active --quiet "alys-$host.service" && failed "no service to start before it is configured"
done
ok "installed by dpkg with all that they depend on"

# 3. The Bitcoin node, on the node's machine.
on node groupadd --system bitcoin
group=$(on node getent group bitcoin | cut -d: -f3)
mkdir -p "$work/bitcoin/regtest"
chgrp -R "$group" "$work/bitcoin"
chmod 0750 "$work/bitcoin" "$work/bitcoin/regtest"
# Not through the function: what is noted to be killed would be a shell that waits for it.
nsenter --target "${init[node]}" --net setpriv --regid="$group" --clear-groups "$bitcoind" -regtest -datadir="$work/bitcoin" -server -listen=0 \
    -rpcport=8332 -rpccookieperms=group -txindex -fallbackfee=0.0001 > "$work/bitcoind.log" 2>&1 &
pids+=("$!")
ask_bitcoin() { on_network_of node "$bitcoin_cli" -regtest -datadir="$work/bitcoin" -rpcport=8332 -rpcwait "$@"; }
ask_bitcoin createwallet miner > /dev/null
address=$(ask_bitcoin getnewaddress)
ask_bitcoin generatetoaddress 110 "$address" > /dev/null
height=$(ask_bitcoin getblockcount)
ok "a Bitcoin node at height $height"

# 4. The workstation makes what the member's machines get. A federation of one needs nobody else.
mkdir "$work/desk"
cd "$work/desk"
provision() { "$programs/alys-provision" "$@" > "$work/log" 2>&1 || failed "alys-provision $1 $2 to succeed" "$(cat "$work/log")"; }
printf 'officers of this test\n' > passphrase
for officer in ann ben; do
    provision officer create --name "$officer" --output officers --passphrase-fd 3 3< passphrase
done
provision ca create --ca signer-ca --name "alice signer"
provision ca create --ca client-ca --name "alice clients"
provision ca issue-signer --ca signer-ca --output signer
provision ca issue-client --ca client-ca --role node --name "alice node" --output node
provision ca export --ca client-ca --output client-ca.pem
provision ca export --ca signer-ca --output signer-ca.pem

# 5. The signer's configuration from its example, the addresses, the passphrase as a credential, the keys.
key_of() { sed -n 2p "officers/$1.pub"; }
on signer cat /usr/share/doc/alys-signer/examples/signer.toml \
    | awk '/^\[/ { skip = /^\[(token|counter|officers)\]/ } !skip' > signer.toml
printf '[officers]\nthreshold = 2\nkeys = ["%s", "%s"]\n\n[counter]\nkind = "development-file"\npath = "/var/lib/alys-signer/counter"\n' \
    "$(key_of ann)" "$(key_of ben)" >> signer.toml
put signer /etc/alys-signer/signer.toml < signer.toml
for file in signer/signer.pem client-ca.pem client-ca.crl.pem; do put signer "/etc/alys-signer/tls/${file##*/}" < "$file"; done
on signer install -m 0640 -g alys-signer /dev/null /etc/alys-signer/tls/signer.key
put signer /etc/alys-signer/tls/signer.key < signer/signer.key
on signer sed -i 's/^# \(add element inet alys_signer nodes4\)/\1/' /etc/alys-signer/firewall.nft
on signer mkdir -p /etc/systemd/system/alys-signer.service.d
on signer cp /usr/share/alys-signer/node.conf /usr/share/alys-signer/passphrase.conf /etc/systemd/system/alys-signer.service.d/
printf 'a passphrase of this machine\n' | on signer systemd-creds encrypt --name=passphrase - /etc/alys-signer/passphrase.cred
on signer systemctl daemon-reload
# shellcheck disable=SC2016
printf 'a passphrase of this machine\n' | on signer runuser -u alys-signer -- \
    alys-signer init --config /etc/alys-signer/signer.toml --passphrase-fd 0 > card.json 2> "$work/log" \
    || failed "alys-signer init to make keys" "$(cat "$work/log")"
provision parameters regtest --start-height "$height" --start-hash "$(ask_bitcoin getbestblockhash)" \
    --recovery-key 79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798 \
    --recovery-key c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5 \
    --member alice=0x1111111111111111111111111111111111111111 --output parameters.toml
provision assemble --parameters parameters.toml --card alice=card.json --output chain.toml
provision policy template --parameters parameters.toml --output policy.toml
for officer in ann ben; do
    provision officer sign --key "officers/$officer.key" --passphrase-fd 3 policy.toml 3< passphrase
done
for file in chain.toml policy.toml policy.toml.*.minisig; do put signer "/etc/alys-signer/$file" < "$file"; done
on signer systemctl enable --now alys-signer-firewall.service 2> "$work/log" || failed "the firewall to start" "$(cat "$work/log")"
on signer systemctl enable --now alys-signer.service 2> "$work/log" || failed "the signer to start" "$(cat "$work/log")"
ok "the signer runs, its passphrase from a credential"

# 6. The node, and blocks.
on node cat /usr/share/doc/alys-node/examples/node.toml | sed 's#/.cookie#/regtest/.cookie#' > node.toml
put node /etc/alys-node/node.toml < node.toml
put node /etc/alys-node/chain.toml < chain.toml
for file in node/node.pem signer-ca.pem signer-ca.crl.pem; do put node "/etc/alys-node/tls/${file##*/}" < "$file"; done
on node install -m 0640 -g alys-node /dev/null /etc/alys-node/tls/node.key
put node /etc/alys-node/tls/node.key < node/node.key
on node mkdir -p /etc/systemd/system/alys-node.service.d
printf '[Service]\nSupplementaryGroups=bitcoin\n' | put node /etc/systemd/system/alys-node.service.d/bitcoin.conf
on node systemctl daemon-reload
on node systemctl enable --now alys-node.service 2> "$work/log" || failed "the node to start" "$(cat "$work/log")"
blocks() {
    local head
    head=$(on node alys-node status --config /etc/alys-node/node.toml 2> "$work/log") || return 1
    printf '%s\n' "$head" > "$work/status"
    [ "$(sed -n 's/.*"height": *\([0-9]*\).*/\1/p' "$work/status" | sort -n | tail -1)" -ge "$1" ]
}
until_true "three blocks" blocks 3
ok "the node runs, and the signer signs its blocks"

# 7. What the units promise holds for the processes.
main_pid() { on "$1" systemctl show --property=MainPID --value "alys-$1.service"; }
for host in signer node; do
    pid=$(main_pid "$host")
    for line in 'NoNewPrivs:	1' 'Seccomp:	2' 'CapEff:	0000000000000000' 'CapBnd:	0000000000000000'; do
        on "$host" grep -qx "$line" "/proc/$pid/status" || failed "$line of the $host's process" "$(on "$host" cat "/proc/$pid/status")"
    done
    on "$host" grep -qE '^Max core file size +0 +0 ' "/proc/$pid/limits" || failed "no core dumps of the $host"
    inside() { on "$host" nsenter --target "$pid" --mount --root --setuid="$(on "$host" id -u "alys-$host")" "$@"; }
    for path in /etc/alys-$host/x /usr/x /var/lib/x; do
        inside touch "$path" 2> "$work/log" && failed "the $host not to write $path" "success"
    done
    inside touch "/var/lib/alys-$host/x" || failed "the $host to write its own state"
    inside ls /root 2> "$work/log" && failed "no homes for the $host" "it sees root's"
done
locked=$(on signer grep VmLck "/proc/$(main_pid signer)/status" | tr -dc 0-9)
# Reads to the end: a `grep -q` that leaves early breaks the pipe of whoever still writes, which is a failure here.
said() { [ -n "$(on signer journalctl --namespace=alys-signer --no-pager --output=cat | grep -F "$1")" ]; }
if [ "$locked" -gt 0 ]; then
    ok "processes without privileges, writing their own state only; the signer's memory is locked"
elif prlimit --memlock=unlimited:unlimited true 2> /dev/null; then
    failed "the signer's memory to be locked" "$locked kB"
else
    # Whoever made this machine a container's took the right to lock memory away; the signer has to say so.
    until_true "the signer to say that its memory is not locked" said 'memory is not locked'
    ok "processes without privileges, writing their own state only; this kernel lets nobody lock memory, and the signer says so"
fi

# 8. Only the node reaches the signer, and only its port.
# The handshake fails in either case: curl has no certificate. It ends with 28 where nobody answers.
reached() {
    local status=0
    on_network_of node curl --silent --insecure --connect-timeout 3 --interface "$1" "https://192.0.2.11:$2" > /dev/null 2>&1 || status=$?
    [ "$status" -ne 28 ] && [ "$status" -ne 7 ]
}
on_network_of node ip address add 192.0.2.99/24 dev link0
reached 192.0.2.10 7700 || failed "the node to reach the signer's port"
reached 192.0.2.99 7700 && failed "another address not to reach the signer's port" "it does"
ok "the firewall lets in the node alone"

# 9. Certificates are read again, and a restart of the signer costs nothing but time.
on signer systemctl reload alys-signer.service
until_true "certificates to be read again" said 'certificates are read again'
on signer systemctl restart alys-signer.service
height=$(sed -n 's/.*"height": *\([0-9]*\).*/\1/p' "$work/status" | sort -n | tail -1)
until_true "blocks after the signer's restart" blocks $((height + 3))
for host in node signer; do
    on "$host" systemctl stop "alys-$host.service"
    result=$(on "$host" systemctl show --property=Result --value "alys-$host.service")
    [ "$result" = success ] || failed "the $host to stop in order" "$result"
done
ok "read again, restarted, stopped in order"

# 10. What the doctor thinks of these machines.
for host in signer node; do
    on "$host" alys-doctor --host "$host" --json > "$work/report.json" || true
    grep -q '"check": "unit"' "$work/report.json" || failed "the doctor's report on the $host" "$(cat "$work/report.json")"
done
ok "the doctor looks at both"

printf '%d checks of the packages passed\n' "$passed"
