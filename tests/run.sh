#!/usr/bin/env bash
# Builds everything and runs every test: tests/run.sh [--sanitize] [ctest arguments, e.g. -R dialects]
# --sanitize: with AddressSanitizer and UndefinedBehaviorSanitizer, in build-sanitize. It takes some times as long.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh"

preset=default build=build
if [ "${1:-}" = --sanitize ]; then
  preset=sanitize build=build-sanitize
  shift
fi
step "packages" install_packages
step "configure" configure $preset
step "build" ninja -C $build -j "$(jobs)"
step "test" ctest --test-dir $build --output-on-failure --timeout 900 -j "$(nproc)" "$@"
