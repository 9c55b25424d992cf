#!/usr/bin/env bash
# Measures the bundled model on held-out prompts: what the MP4s show that the server delivers. A table, and last one line of JSON.
# First the control on drawn clips. Options go to `python -m tools.eval`:
#   --quick          a few prompts, for tests
#   --keep FOLDER    keeps videos and what was seen in them; run again, it goes on where it was
#   --jobs N         videos made and looked at at a time (3)
#   --maker torch    the reference generator in place of the server (EVAL_PYTHON: an interpreter that has torch)
source "$(dirname "$0")/common.sh"
source scripts/serve.sh

begin=$SECONDS
model=models/longtake-tiny
jobs=3
control=(--maker drawn --no-psnr)
client=1
for ((i = 1; i <= $#; ++i)); do
  case ${!i} in
    --quick) control+=(--quick) ;;
    --keep | --prompts | --long | --switches | --short | --series | --level) j=$((i + 1)) && control+=("${!i}" "${!j}") ;;
    --jobs) j=$((i + 1)) && jobs=${!j} && control+=(--jobs "$jobs") ;;
    --model) j=$((i + 1)) && model=${!j} ;;
    --maker) j=$((i + 1)) && [[ ${!j} == client ]] || client=0 ;;
  esac
done

scripts/install.sh
make_venv .venv-test tools/requirements-test.txt
scripts/build.sh release longtake longtake-server longtake-module

say "Control: drawn clips"
.venv-test/bin/python -m tools.eval "${control[@]}"
say "$((SECONDS - begin)) s"

mkdir -p out
options=()
if ((client)); then
  # As many places as there are requests at a time, all of them for offline videos.
  start_server "$model" out/eval-server.log --max-sessions "$((jobs + 1))" --live-places 0
  options=(--server "$address")
  python=.venv-test/bin/python
fi
say "The model"  # nothing is printed after its line of JSON
"${python:-${EVAL_PYTHON:-python3}}" -m tools.eval "${options[@]}" "$@"
