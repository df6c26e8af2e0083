#!/bin/sh
# Compiles the contracts and writes what the Rust bindings and the genesis need of them to bindings/artifacts.
#
#   ./generate.sh           writes them
#   ./generate.sh --check   changes nothing; fails if they are not what the sources compile to
set -eu
cd "$(dirname "$0")"

case "${1:-}" in
    "") check=no ;;
    --check) check=yes ;;
    *) echo "generate.sh: expected nothing or --check, found: $1" >&2; exit 2 ;;
esac

forge=node_modules/.alys-bin/forge
if [ ! -x "$forge" ]; then
    echo "contracts: expected Foundry in contracts/node_modules, found none: run \`make contracts\` (or contracts/install.sh) first" >&2
    exit 1
fi

# A folder of its own: tests may be compiling into out/ right now, and a stale cache must not answer for the compiler.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
"$forge" build --skip test --force --out "$work/out" --cache-path "$work/cache" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

mkdir "$work/artifacts"
node - "$work" Bridge DemoToken <<'JS'
"use strict";
const fs = require("node:fs");
const { keccak256 } = require("js-sha3");
const [work, ...names] = process.argv.slice(2);
for (const name of names) {
  const built = JSON.parse(fs.readFileSync(`${work}/out/${name}.sol/${name}.json`, "utf8"));
  const metadata = typeof built.metadata === "string" ? JSON.parse(built.metadata) : built.metadata;
  const code = (part) => {
    if (Object.keys(part.linkReferences).length + Object.keys(part.immutableReferences ?? {}).length > 0) {
      throw new Error(`${name}: expected code that is complete as it is, found library links or immutables`);
    }
    return part.object;
  };
  const { optimizer, evmVersion, viaIR } = metadata.settings;
  const artifact = {
    contractName: name,
    compiler: { solc: metadata.compiler.version, optimizer, evmVersion, viaIR },
    abi: built.abi,
    storageLayout: built.storageLayout.storage.map(({ label, slot, offset, type }) => ({
      label,
      slot,
      offset,
      // Without the number that the compiler gives to a declaration: it changes with unrelated edits.
      type: type.replace(/\)\d+/, ")"),
    })),
    bytecode: code(built.bytecode),
    deployedBytecode: code(built.deployedBytecode),
    deployedBytecodeHash: `0x${keccak256(Buffer.from(built.deployedBytecode.object.slice(2), "hex"))}`,
  };
  fs.writeFileSync(`${work}/artifacts/${name}.json`, JSON.stringify(artifact, null, 2) + "\n");
}
JS

if [ $check = yes ]; then
    if ! diff -rq "$work/artifacts" bindings/artifacts >"$work/diff"; then
        cat "$work/diff" >&2
        echo "contracts: expected bindings/artifacts to be what the sources compile to, found the differences above: run contracts/generate.sh and commit" >&2
        exit 1
    fi
    echo "contracts: bindings/artifacts are what the sources compile to"
else
    mkdir -p bindings/artifacts
    cp "$work"/artifacts/*.json bindings/artifacts/
    echo "contracts: wrote bindings/artifacts"
fi
