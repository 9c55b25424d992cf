#!/usr/bin/env bash
# Shows the page of the HTTP port in a headless browser and checks it; screenshots are in out/web.
#   ./scripts/web-test.sh [--mock] [pytest's options]
# --mock: against tests/web/mock_server.py, which needs no build; else against build/release/longtake-server.
source "$(dirname "$0")/common.sh"

options=()
if [[ ${1:-} == --mock ]]; then
  options+=(--mock)
  shift
fi

missing=()
for program in chromium ffmpeg; do command -v "$program" > /dev/null || missing+=("$program"); done
if ((${#missing[@]} > 0)); then
  as_root=()
  if ((EUID != 0)); then
    command -v sudo > /dev/null || die "run as root or install sudo; missing packages: ${missing[*]}"
    as_root=(sudo)
  fi
  say "Installing ${missing[*]}"
  "${as_root[@]}" apt-get update --quiet
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
fi
make_venv .venv-web tools/requirements-web.txt
if ((${#options[@]} == 0)); then
  scripts/install.sh
  scripts/build.sh release longtake-server
fi

say "The page in chromium"
.venv-web/bin/python -m pytest tests/web -p no:cacheprovider "${options[@]}" "$@"
say "Screenshots are in $PWD/out/web"
