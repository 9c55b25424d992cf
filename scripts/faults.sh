#!/usr/bin/env bash
# Servers that are killed while they make videos: three share a store and a Redis, one is killed every 20 s for five minutes, and every
# video must end with the bytes that it has where nothing is disturbed. Seven minutes; the last line is JSON.
#   ./scripts/faults.sh [--servers N] [--videos N] [--seconds S] [--kills N] [--every S] [--lease S] [--seed N]
source "$(dirname "$0")/common.sh"
scripts/install.sh
scripts/build.sh release longtake-server
exec "$PYTHON" -m tests.faults.killed_servers --build "$BUILD" "$@"
