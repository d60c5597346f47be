#!/usr/bin/env bash
# Builds qwench, compiles the example model, and lets it write: examples/quickstart.sh ["prompt"]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh"

prompt=${1:-"In the beginning"}

write() {
  printf '%s' "$prompt"
  build/tiny-moe run --raw -n 60 --temp 0.7 --seed 1 "$prompt"
}

step "packages" install_packages
step "configure" configure
step "build qwench" ninja -C build -j "$(jobs)" qwench
step "compile examples/tiny-moe/model to build/tiny-moe" \
  build/bin/qwench compile examples/tiny-moe/model -o build/tiny-moe -v
step "build/tiny-moe run --raw \"$prompt\"" write
