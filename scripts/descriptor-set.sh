#!/usr/bin/env bash
# Writes the API's descriptor set, by which Envoy makes JSON of gRPC (deploy/envoy).
#   ./scripts/descriptor-set.sh FILE
# With protoc alone (Debian: protobuf-compiler). The details of errors are in it, though no service names them: they come as Any,
# which can be written as JSON only by who knows their types.
source "$(dirname "$0")/common.sh"
(($# == 1)) || die "usage: descriptor-set.sh FILE"
command -v protoc > /dev/null || die "protoc is not installed (Debian: protobuf-compiler)"
mkdir -p "$(dirname "$1")"
protoc -I proto --include_imports --descriptor_set_out="$1" \
  longtake/v1/video_service.proto longtake/v1/model_service.proto google/rpc/error_details.proto
