#!/bin/sh
# Installs the contracts' toolchain (Foundry, solc, OpenZeppelin) into contracts/node_modules, as package-lock.json
# pins it. Does nothing when that is already there.
#
# `npm install --no-save` and not `npm ci`: ci insists that the lock file lists Foundry's binaries for every
# platform, also where the registry does not offer them. Whatever the lock file lists is checked against its hash.
#
# Use forge, cast and anvil from node_modules/.alys-bin: the launchers that npm puts into node_modules/.bin lose the exit
# status (1.7.1), so that no failure would ever be seen. This script replaces them, but npm may put them back.
set -eu
cd "$(dirname "$0")"

stamp=node_modules/.alys-installed
wanted=$(cat package.json package-lock.json .npmrc install.sh | sha256sum | cut -d' ' -f1)

command -v npm >/dev/null || { echo "contracts: expected npm (Node.js 20 or later) on PATH, found none" >&2; exit 1; }
mkdir -p node_modules
exec 9>node_modules/.alys-install-lock
if command -v flock >/dev/null; then flock 9; fi

if [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi
echo "contracts: installing Foundry, solc and OpenZeppelin into contracts/node_modules (about 60 MB, 15 s)" >&2
npm install --no-save --no-audit --no-fund --loglevel=error >&2

mkdir -p node_modules/.alys-bin
for tool in forge cast anvil; do
    native=
    for candidate in node_modules/@foundry-rs/"$tool"-*/bin/"$tool"; do
        if [ -x "$candidate" ]; then native=$candidate; fi
    done
    if [ -z "$native" ]; then
        echo "contracts: expected a build of $tool 1.7.1 for $(uname -sm) on npm, found none" >&2
        exit 1
    fi
    ln -sf "../../$native" "node_modules/.alys-bin/$tool"
    # Whoever has the usual folder on PATH gets the same.
    ln -sf "../../$native" "node_modules/.bin/$tool"
    "node_modules/.alys-bin/$tool" --version | head -n 1 >&2
done
if node_modules/.bin/forge build --no-such-option >/dev/null 2>&1; then
    echo "contracts: expected forge to fail on an unknown option, found exit status 0: its failures would go unseen" >&2
    exit 1
fi
echo "$wanted" >"$stamp"
