#!/usr/bin/env bash
# Shows the page of the HTTP port, and one of the TypeScript client, in a headless browser and checks them; screenshots are in out/web.
#   ./scripts/web-test.sh [--mock] [pytest's options]
# --mock: the port's page against tests/web/mock_server.py, which needs no build; else against build/release/longtake-server.
source "$(dirname "$0")/common.sh"

options=()
if [[ ${1:-} == --mock ]]; then
  options+=(--mock)
  shift
fi

install_packages chromium ffmpeg
make_venv .venv-web tools/requirements-web.txt
if ((${#options[@]} == 0)); then
  scripts/install.sh
  scripts/build.sh release longtake-server
  clients/typescript/build.sh
fi

say "The pages in chromium"
.venv-web/bin/python -m pytest tests/web -p no:cacheprovider "${options[@]}" "$@"
say "Screenshots are in $PWD/out/web"
