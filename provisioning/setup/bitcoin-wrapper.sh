#!/bin/sh
# @NAME@ of Debian's bitcoin-knots, unpacked privately and run with its own C library.
# Knots leaves Bitcoin on mainnet and testnet4 by a hard fork of its own: it serves regtest and signet only.
# The process is called after the loader in `ps`; stop it by its pid.
set -eu

refuse() {
    echo "@NAME@: this is Bitcoin Knots for development; it serves only -regtest or -signet, named on the command line ($1)." >&2
    echo "For any other chain install Bitcoin Core." >&2
    exit 2
}

chain=
for argument in "$@"; do
    # Options come first, with one dash or two; what follows the first other word are arguments of an RPC.
    case $argument in
        --*) option=${argument#--} ;;
        -*) option=${argument#-} ;;
        *) break ;;
    esac
    case $option in
        regtest | regtest=1 | chain=regtest | signet | signet=1 | chain=signet) chain=$option ;;
        version | help | h | '?') chain=${chain:-$option} ;;
        regtest=* | signet=* | chain=* | testnet* | main* | noregtest | nosignet | nochain) refuse "found -$option" ;;
    esac
done
[ -n "$chain" ] || refuse "found neither"

exec "@ROOT@/@LOADER@" --inhibit-cache --argv0 "@NAME@" --library-path "@ROOT@/@LIBRARIES@" "@ROOT@/usr/bin/@NAME@" "$@"
