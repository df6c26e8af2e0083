#!/usr/bin/env bash
# A Bitcoin node for the devnet and the tests. Prints the path of `bitcoind` on stdout.
#
# A `bitcoind` on PATH is taken if it is recent enough. Otherwise Debian's bitcoin-knots is unpacked privately, with the C
# library that it was built for, behind wrappers that refuse every chain but regtest and signet: Knots leaves Bitcoin on
# mainnet and testnet4 by a hard fork of its own. Production runs Bitcoin Core; see docs.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=provisioning/setup/versions.sh
. "$setup_dir/versions.sh"
# shellcheck source=provisioning/setup/debian.sh
. "$setup_dir/debian.sh"

suite=forky
out=$cache_dir/bitcoin/$BITCOIN_RECIPE
mkdir -p "$cache_dir/bitcoin"

# Core says "Bitcoin Core daemon version v28.1.0", Knots "Bitcoin Knots version v29.4.knots2026...".
major_version() {
    "$1" --version 2>/dev/null | sed -n '1s/.*version v\([0-9][0-9]*\)\..*/\1/p'
}

choose() {
    # Written in one step: env.sh may read it at any moment.
    printf '%s\n' "$1" > "$cache_dir/bitcoin/chosen.$$"
    mv "$cache_dir/bitcoin/chosen.$$" "$cache_dir/bitcoin/chosen"
    echo "$1"
    exit 0
}

on_path=$(command -v bitcoind || true)
if [ -n "$on_path" ] && [ "$on_path" != "$out/bin/bitcoind" ]; then
    found=$(major_version "$on_path")
    if [ "${found:-0}" -ge "$BITCOIND_MINIMUM" ]; then
        say "using $on_path, version $found"
        choose "$on_path"
    fi
    say "$on_path is version ${found:-unknown}; $BITCOIND_MINIMUM or later is needed"
fi

if [ ! -e "$out/complete" ]; then
    hold_lock bitcoin
fi
if [ ! -e "$out/complete" ]; then
    manual="Install Bitcoin Core $BITCOIND_MINIMUM or later yourself and put its bitcoind and bitcoin-cli on PATH."
    private_apt_open "$suite" debconf systemd-standalone-sysusers openssl-provider-legacy \
        || die "bitcoin-knots cannot be fetched from Debian $suite. $manual"
    say "downloading bitcoin-knots and the libraries it needs"
    rm -f "$private_apt"/archives/*.deb
    private_apt_run --download-only install bitcoin-knots > "$private_apt/log" 2>&1 || {
        tail_of "$private_apt/log"
        die "bitcoin-knots cannot be downloaded; see above and $private_apt/log. $manual"
    }

    work=$cache_dir/bitcoin/.work
    rm -rf "$work"
    mkdir -p "$work/root" "$work/bin"
    for deb in "$private_apt"/archives/*.deb; do
        dpkg-deb --extract "$deb" "$work/root"
    done

    libraries=$(cd "$work/root" && find usr/lib -name libc.so.6 -printf '%h\n' | head -n 1)
    loader=$(cd "$work/root" && find usr/lib -name 'ld-linux*.so.*' | head -n 1)
    { [ -n "$libraries" ] && [ -n "$loader" ]; } || die "Debian's libc6 has no libc.so.6 or loader in usr/lib any more; $setup_dir/bitcoin.sh must follow"
    for name in bitcoind bitcoin-cli; do
        [ -x "$work/root/usr/bin/$name" ] || die "Debian's bitcoin-knots has no usr/bin/$name any more; $setup_dir/bitcoin.sh must follow"
        sed -e "s|@ROOT@|$out/root|g; s|@NAME@|$name|g; s|@LOADER@|$loader|g; s|@LIBRARIES@|$libraries|g" \
            "$setup_dir/bitcoin-wrapper.sh" > "$work/bin/$name"
        chmod +x "$work/bin/$name"
    done
    touch "$work/complete"
    rm -rf "$out"
    mv "$work" "$out"
    rm -rf "$private_apt"
fi

found=$(major_version "$out/bin/bitcoind")
[ "${found:-0}" -ge "$BITCOIND_MINIMUM" ] \
    || die "$out/bin/bitcoind answers as version '${found:-none}', expected $BITCOIND_MINIMUM or later. Remove $out and run this again."
say "using Bitcoin Knots $found from Debian $suite (regtest and signet only)"
choose "$out/bin/bitcoind"
