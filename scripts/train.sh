#!/usr/bin/env bash
# Trains the bundled model on this machine's CPU, or on its GPU where torch sees one.
#   scripts/train.sh MINUTES EXPORT_FOLDER [further options of `python -m tools.train`]
# Run it again after a kill: it goes on from the last checkpoint (at most two minutes are lost).
# WORK: folder of checkpoints (out/train). PICTURES: folder that gets the sample sheets and loss curves as well.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:?minutes}
export_folder=${2:?folder to export to}
shift 2
work=${WORK:-out/train}
nice -n 19 "${PYTHON:-python3}" -m tools.train --work "$work" --minutes "$minutes" --export "$export_folder" "$@"
if [[ -n ${PICTURES:-} ]]; then
  mkdir -p "$PICTURES"
  cp "$work"/*.png "$PICTURES"/
fi
