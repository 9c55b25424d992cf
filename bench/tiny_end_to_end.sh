#!/usr/bin/env bash
# bench/tiny_end_to_end.sh BUILD SECONDS: prints the wall seconds in which the bundled model's server delivers a video of so
# many seconds to the client, text encoding and MP4 included. A first, short video warms the path and is not counted.
source "$(dirname "$0")/../scripts/common.sh"
source scripts/serve.sh
BUILD=$1
seconds=$2
folder=$(mktemp -d)
start_server models/longtake-tiny "$folder/server.log"
prompt="a big red balloon rises slowly over a meadow"
"$BUILD/longtake" generate "$prompt" --offline --server "$address" --seconds 1 --output "$folder/warm.mp4" > /dev/null 2>&1
begin=$(date +%s.%N)
"$BUILD/longtake" generate "$prompt" --offline --server "$address" --seconds "$seconds" --output "$folder/video.mp4" > /dev/null 2>&1
end=$(date +%s.%N)
stop_server
rm -r "$folder"
awk "BEGIN { print $end - $begin }"
