#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: C++ (ctest), the Python client and tools (pytest), the module runner over
# the committed parity set, and the TypeScript client (Node's own runner). Needs neither torch nor a model download.
source "$(dirname "$0")/common.sh"
begin=$SECONDS

scripts/install.sh
make_venv .venv-test tools/requirements-test.txt
scripts/build.sh release

say "C++ tests"
# The limit is for what hangs: on a machine with much else to do, three minutes' tests may take an hour.
ctest --test-dir "$BUILD" -j "$(nproc)" --timeout 7200 --output-on-failure --no-tests=error

say "Python tests"
.venv-test/bin/python -m pytest

say "Parity with diffusers and transformers on the committed set"
.venv-test/bin/python -m tools.parity tests/parity/data --runner "$BUILD/longtake-module"

say "The TypeScript client"
clients/typescript/build.sh
node --test tests/typescript/*.test.mjs

say "All tests passed in $((SECONDS - begin)) s"
