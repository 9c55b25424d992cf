#!/usr/bin/env bash
# Installs the Debian 12 packages that the build, the tests and the demo need. Installs nothing where all are there.
# CONTRIBUTING.md says why each is needed.
source "$(dirname "$0")/common.sh"

packages=(
  ca-certificates
  ccache
  cmake
  curl
  ffmpeg
  g++
  git
  libabsl-dev
  libbenchmark-dev
  libboost-dev
  libcjose-dev
  libcli11-dev
  libcurl4-openssl-dev
  libdnnl-dev
  libgmock-dev
  libgrpc++-dev
  libgtest-dev
  libhiredis-dev
  libicu-dev
  libpng-dev
  libprotobuf-dev
  libre2-dev
  libsentencepiece-dev
  libspdlog-dev
  libssl-dev
  libtinyxml2-dev
  libturbojpeg0-dev
  libwebp-dev
  libx264-dev
  ninja-build
  nlohmann-json3-dev
  node-typescript
  nodejs
  pkg-config
  prometheus-cpp-dev
  protobuf-compiler
  protobuf-compiler-grpc
  python3
  python3-protobuf
  python3-venv
  redis-tools
)

install_packages "${packages[@]}"
