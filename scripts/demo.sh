#!/usr/bin/env bash
# From nothing to a video: installs, builds, starts the server with the bundled model, asks it for a video, stops it.
#   ./scripts/demo.sh ["PROMPT"] [SECONDS]
source "$(dirname "$0")/common.sh"

prompt=${1:-A big red balloon rises slowly over a meadow at sunset}
seconds=${2:-10}
model=models/longtake-tiny
output=out/demo.mp4
log=out/demo-server.log

[[ -f $model/model_index.json ]] || die "$model holds no model_index.json: the bundled model is missing from this checkout"
scripts/install.sh
scripts/build.sh release longtake longtake-server
mkdir -p out
rm -f "$output"

# A port that nothing listens on; two demos at once do not meet.
port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
say "Starting the server on 127.0.0.1:$port (log in $log)"
"$BUILD/longtake-server" --model "$model" --listen "127.0.0.1:$port" > "$log" 2>&1 &
server=$!
stop_server() {
  if kill -0 "$server" 2> /dev/null; then
    kill -TERM "$server"
    wait "$server" || true
  fi
}
trap stop_server EXIT

for ((waited = 0; ; ++waited)); do
  kill -0 "$server" 2> /dev/null || { tail -n 20 "$log" >&2; die "the server ended while it started"; }
  # `longtake models` answers once the model is loaded and warm.
  if "$BUILD/longtake" models --server "127.0.0.1:$port" > out/demo-models.txt 2>&1; then break; fi
  ((waited < 240)) || { tail -n 20 "$log" >&2; die "the server was not ready after 120 s"; }
  sleep 0.5
done

say "Generating $seconds s: $prompt"
"$BUILD/longtake" generate "$prompt" --server "127.0.0.1:$port" --seconds "$seconds" --output "$output"
stop_server
[[ -s $output ]] || die "the client wrote no video"
say "$(ffprobe -v error -show_entries stream=width,height,nb_read_frames -count_frames -of csv=p=0 "$output") (width,height,frames)"
say "The video is $PWD/$output"
