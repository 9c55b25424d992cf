#!/usr/bin/env bash
# Full-size rehearsal: writes a random-weight SANA-Video 2B + Gemma-2-2B + Wan VAE folder (9.6 GB), loads it, encodes a
# prompt, makes one block-causal step and one commit at 480p with one latent frame, decodes it; prints load time, time a
# stage, and memory by region against the plan. Needs 24 GiB of memory and 10 GB of disk.
#   ./scripts/fullsize.sh [--keep] [options of longtake-fullsize]
source "$(dirname "$0")/common.sh"

folder=build/fullsize-model
keep=no
if [[ ${1:-} == --keep ]]; then keep=yes; shift; fi

scripts/install.sh
make_venv .venv-test tools/requirements-test.txt
scripts/build.sh release longtake-fullsize
if [[ ! -f $folder/model_index.json ]]; then
  say "Writing $folder"
  # One step, then the commit; a block of one latent frame.
  .venv-test/bin/python -m tools.make_model --out "$folder" \
    --tokenizer tests/parity/data/models/caption/tokenizer/tokenizer.model \
    --settings '{"timesteps": [1000], "block_latent_frames": 1, "max_latent_frames": 241}'
fi
say "Running one latent frame"
status=0
"$BUILD/longtake-fullsize" --model "$folder" "$@" || status=$?
if [[ $keep == no ]]; then rm -r "$folder"; fi
exit "$status"
