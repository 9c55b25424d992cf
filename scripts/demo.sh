#!/usr/bin/env bash
# From nothing to a video: installs, builds, starts the server with the bundled model, asks it for a video, stops it.
#   ./scripts/demo.sh ["PROMPT"] [SECONDS]
source "$(dirname "$0")/common.sh"
source scripts/serve.sh

prompt=${1:-A red balloon rises slowly over a meadow at sunset}
seconds=${2:-10}
model=models/longtake-tiny
output=out/demo.mp4
log=out/demo-server.log

[[ -f $model/model_index.json ]] || die "$model holds no model_index.json: the bundled model is missing from this checkout"
scripts/install.sh
scripts/build.sh release longtake longtake-server
mkdir -p out
rm -f "$output"

say "Starting the server (log in $log)"
start_server "$model" "$log"

say "Generating $seconds s: $prompt"
"$BUILD/longtake" generate "$prompt" --server "$address" --seconds "$seconds" --output "$output"
stop_server
[[ -s $output ]] || die "the client wrote no video"
say "$(ffprobe -v error -show_entries stream=width,height,nb_read_frames -count_frames -of csv=p=0 "$output") (width,height,frames)"
say "The video is $PWD/$output"
