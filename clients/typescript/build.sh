#!/usr/bin/env bash
# Makes the client: src/generated from proto/, and dist/ from src/. Needs protoc, python3-protobuf and tsc, which scripts/install.sh
# installs; nothing of it comes from npm's registry.
source "$(dirname "$0")/../../scripts/common.sh"

for program in protoc tsc; do
  command -v "$program" > /dev/null || die "$program is not there; scripts/install.sh installs it"
done
client=clients/typescript
rm -rf "$client/src/generated" "$client/dist"
mkdir "$client/src/generated"
protoc -I proto --plugin=protoc-gen-typescript="$client/generate.py" --typescript_out="$client/src/generated" proto/longtake/v1/*.proto
tsc --project "$client"
