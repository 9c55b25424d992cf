#!/usr/bin/env bash
# Trains the bundled model on this machine's CPU, or on its GPU where torch sees one.
# scripts/train.sh MINUTES [EXPORT_FOLDER] [further options of `python -m tools.train`]
# Run it again after a kill: it goes on from the last checkpoint (at most two minutes are lost).
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:?minutes}
export_folder=${2:-out/longtake-tiny}
shift $(($# > 1 ? 2 : 1))
exec nice -n 19 "${PYTHON:-python3}" -m tools.train --work "${WORK:-out/train}" --minutes "$minutes" --export "$export_folder" "$@"
