#!/usr/bin/env bash
# Lets a server do all that it can for half an hour, in equal cycles, and measures whether it grows; a second one beside it, which is
# made to leak, must be caught: docs/soak.md. The last line is JSON, the exit status 1 where one grows or the other was not caught.
#   ./scripts/soak.sh [--minutes M] [--settle M] [--limit MIB_AN_HOUR] [--leak MIB_AN_HOUR]
source "$(dirname "$0")/common.sh"

scripts/install.sh
install_packages openssl
make_venv .venv-test tools/requirements-test.txt
scripts/build.sh release longtake-server longtake-soak-probe longtake-soak-leak
client=out/soak-client
tests/faults/install_client.sh .venv-test "$client"
# gRPC would say at each start of a server that it does not follow forks.
GRPC_ENABLE_FORK_SUPPORT=0 PYTHONPATH=$PWD/$client exec .venv-test/bin/python -m tests.soak --build "$BUILD" "$@"
