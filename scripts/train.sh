#!/usr/bin/env bash
# Trains the bundled model on this machine's CPU, or on its GPU where torch sees one.
#   scripts/train.sh MINUTES EXPORT_FOLDER [further options of `python -m tools.train`]
# Run it again after a kill: it goes on from the last checkpoint (at most two minutes are lost).
# WORK: folder of checkpoints (out/train). PICTURES: folder that gets the sample sheets and loss curves as well.
# WHEELS: folder of wheels of what this machine's Python lacks and cannot download; installed under WORK.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:?minutes}
export_folder=${2:?folder to export to}
shift 2
work=${WORK:-out/train}
python=${PYTHON:-python3}
mkdir -p "$work"
if [[ -n ${WHEELS:-} ]]; then
  [[ -d $work/site ]] || "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$work/site" "$WHEELS"/*.whl
  export PYTHONPATH=$work/site${PYTHONPATH:+:$PYTHONPATH}
fi
nice -n 19 "$python" -m tools.train --work "$work" --minutes "$minutes" --export "$export_folder" "$@"
if [[ -n ${PICTURES:-} ]]; then
  mkdir -p "$PICTURES"
  cp "$work"/*.png "$PICTURES"/
fi
