#!/usr/bin/env bash
# Builds the release preset, or the one named: ./scripts/build.sh [release|debug|asan|tsan] [ninja targets]
source "$(dirname "$0")/common.sh"

preset=${1:-release}
shift || true
# A configured folder is not configured again: ninja does that by itself when a CMake file has changed.
if [[ ! -f build/$preset/build.ninja ]]; then
  say "Configuring build/$preset"
  cmake --preset "$preset"
fi
say "Building build/$preset"
cmake --build "build/$preset" --parallel "$(nproc)" ${@:+--target "$@"}
