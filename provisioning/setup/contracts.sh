#!/usr/bin/env bash
# Installs the contracts' toolchain (Foundry, solc, OpenZeppelin) from the npm registry, as contracts/package-lock.json pins it.

# shellcheck source=provisioning/setup/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need npm "Run provisioning/setup/packages.sh."
"$repo_dir/contracts/install.sh"
say "forge is ready: $repo_dir/contracts/node_modules/.bin/forge"
