#!/bin/sh
# Everything that CI asks of the contracts: format, warnings, unit, fuzz and invariant tests, the committed gas figures,
# and that the committed artefacts are what the sources compile to. Installs what is missing.
set -eu
cd "$(dirname "$0")"
./install.sh
forge=node_modules/.alys-bin/forge
"$forge" fmt --check
"$forge" build
"$forge" test --gas-snapshot-check=true --gas-snapshot-emit=false "$@"
./generate.sh --check
