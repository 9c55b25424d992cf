#!/usr/bin/env bash
# From nothing to a video: installs, builds, starts the server with the bundled model, asks it for a video, stops it.
#   ./scripts/demo.sh ["PROMPT"] [SECONDS]
#   ./scripts/demo.sh --web [PORT]    # serves a page on which videos are made and watched, until it is interrupted
source "$(dirname "$0")/common.sh"
source scripts/serve.sh

web=no
if [[ ${1:-} == --web ]]; then
  web=yes
  http_port=${2:-8080}
  set --
fi
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

if [[ $web == yes ]]; then
  say "Starting the server (log in $log)"
  start_server "$model" "$log" --http-listen "127.0.0.1:$http_port"
  say "Open http://127.0.0.1:$http_port/ in a browser; Ctrl-C ends the server"
  # The server gets an interrupt, too, and ends by it; a second signal would end it in the middle of that.
  trap : INT
  while kill -0 "$server" 2> /dev/null; do wait "$server" || true; done
  exit
fi

say "Starting the server (log in $log)"
start_server "$model" "$log"

say "Generating $seconds s: $prompt"
"$BUILD/longtake" generate "$prompt" --server "$address" --seconds "$seconds" --output "$output"
stop_server
[[ -s $output ]] || die "the client wrote no video"
say "$(ffprobe -v error -show_entries stream=width,height,nb_read_frames -count_frames -of csv=p=0 "$output") (width,height,frames)"
say "The video is $PWD/$output"
