#!/usr/bin/env bash
# Builds everything and runs every test: tests/run.sh [ctest arguments, e.g. -R dialects]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh"

step "packages" install_packages
step "configure" configure
step "build" ninja -C build -j "$(jobs)"
step "test" ctest --test-dir build --output-on-failure --timeout 900 -j "$(nproc)" "$@"
