#!/usr/bin/env bash
# Full-size rehearsal: writes a random-weight SANA-Video 2B + Gemma-2-2B + Wan VAE folder (9.6 GB), loads it, encodes a
# prompt, makes one block-causal step and one commit at 480p with one latent frame, decodes it; prints the time of each
# pass, and memory by region against the plan. Needs 24 GiB of memory and 10 GB of disk.
#   ./scripts/fullsize.sh [--keep] [options of longtake-fullsize]
# With --block it makes LongSANA's first block of 11 latent frames and the second of 10, four steps each, so that the
# second has a history and the decoder's caches are full: some 25 minutes on two idle cores.
#   ./scripts/fullsize.sh --block [--keep] [options of longtake-fullsize]
source "$(dirname "$0")/common.sh"

# One step, then the commit; a block of one latent frame.
settings='{"timesteps": [1000], "block_latent_frames": 1, "max_latent_frames": 241}'
folder=build/fullsize-model
latents=1
if [[ ${1:-} == --block ]]; then
  # The tool's defaults, which are LongSANA's.
  settings='{}'
  folder=build/fullsize-block-model
  latents=21
  shift
fi
keep=no
if [[ ${1:-} == --keep ]]; then keep=yes; shift; fi

scripts/install.sh
make_venv .venv-test tools/requirements-test.txt
scripts/build.sh release longtake-fullsize
if [[ ! -f $folder/model_index.json ]]; then
  say "Writing $folder"
  .venv-test/bin/python -m tools.make_model --out "$folder" \
    --tokenizer tests/parity/data/models/caption/tokenizer/tokenizer.model \
    --settings "$settings"
fi
say "Making $latents latent frames"
status=0
"$BUILD/longtake-fullsize" --model "$folder" --latents "$latents" "$@" || status=$?
if [[ $keep == no ]]; then rm -r "$folder"; fi
exit "$status"
