#!/usr/bin/env bash
# Measures the bundled model on held-out prompts: a table, and last one line of JSON. First the control on
# drawn clips, whose line of JSON goes into the table's heading. Options as of `python -m tools.eval`; --quick for tests.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
control=(--maker drawn --no-psnr)
for option in "$@"; do [[ $option == --quick ]] && control+=(--quick); done
echo "== control"
"$python" -m tools.eval "${control[@]}"
echo "== model"
exec "$python" -m tools.eval "$@"
