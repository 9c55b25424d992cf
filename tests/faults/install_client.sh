#!/usr/bin/env bash
# Installs clients/python into a folder of its own, with what a virtual environment has: install_client.sh VENV FOLDER
set -euo pipefail
venv=$(cd "$1" && pwd)
folder=$2
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH=$venv/bin:$PATH "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
  --upgrade --target "$folder" ./clients/python
