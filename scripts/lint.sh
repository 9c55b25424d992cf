#!/usr/bin/env bash
# Checks format and style of what is committed: clang-format and clang-tidy (C++), ruff (Python) where they are installed.
#   ./scripts/lint.sh [C++ files for clang-tidy; none: all]
source "$(dirname "$0")/common.sh"

mapfile -t sources < <(git ls-files '*.h' '*.cc')
say "clang-format: ${#sources[@]} files"
clang-format --dry-run --Werror "${sources[@]}"

tidy=("$@")
if ((${#tidy[@]} == 0)); then mapfile -t tidy < <(git ls-files '*.cc'); fi
[[ -f $BUILD/compile_commands.json ]] || scripts/build.sh release
say "clang-tidy: ${#tidy[@]} files"
printf '%s\n' "${tidy[@]}" | xargs --max-procs="$(nproc)" --max-args=4 clang-tidy --quiet -p "$BUILD"

say "ruff"
if command -v ruff > /dev/null; then
  ruff format --check .
  ruff check .
else
  die "ruff is not installed"
fi
