#!/bin/sh
# Installs the contracts' toolchain (Foundry, solc, OpenZeppelin) into contracts/node_modules, as package-lock.json
# pins it. Does nothing when that is already there.
#
# `npm install --no-save` and not `npm ci`: ci insists that the lock file lists Foundry's binaries for every
# platform, also where the registry does not offer them. Whatever the lock file lists is checked against its hash.
set -eu
cd "$(dirname "$0")"

stamp=node_modules/.alys-installed
wanted=$(cat package.json package-lock.json .npmrc | sha256sum | cut -d' ' -f1)

command -v npm >/dev/null || { echo "contracts: expected npm (Node.js 20 or later) on PATH, found none" >&2; exit 1; }
mkdir -p node_modules
exec 9>node_modules/.alys-install-lock
command -v flock >/dev/null && flock 9

if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi
echo "contracts: installing Foundry, solc and OpenZeppelin into contracts/node_modules (about 60 MB, 15 s)" >&2
npm install --no-save --no-audit --no-fund --loglevel=error >&2
node_modules/.bin/forge --version >&2
echo "$wanted" >"$stamp"
