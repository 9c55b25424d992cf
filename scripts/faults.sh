#!/usr/bin/env bash
# Puts faults into running servers, again and again, and checks after each what viewers have got: docs/faults.md. The last line is JSON.
#   ./scripts/faults.sh [--fault NAME]... [--repetitions N] [--seed N]      # all of them 20 times
#   ./scripts/faults.sh --list
#   ./scripts/faults.sh killed-servers [--servers N] [--videos N] [--seconds S] [--kills N] [--every S] [--lease S] [--seed N]
# The last: long videos, and a kill every 20 s for five minutes. As root all of it runs; else the disk is not full but files may not
# grow, and it cannot be told which server has written what.
source "$(dirname "$0")/common.sh"

suite=tests.faults
if [[ ${1:-} == killed-servers ]]; then
  suite=tests.faults.killed_servers
  shift
fi
scripts/install.sh
# The wall clock of single processes can be moved with it; nothing else needs it.
install_packages libfaketime openssl
make_venv .venv-test tools/requirements-test.txt
scripts/build.sh release longtake-server
client=out/faults-client
tests/faults/install_client.sh .venv-test "$client"
# gRPC would say at each start of a server that it does not follow forks.
GRPC_ENABLE_FORK_SUPPORT=0 PYTHONPATH=$PWD/$client exec .venv-test/bin/python -m "$suite" --build "$BUILD" "$@"
