#!/usr/bin/env bash
# Installs the Debian 12 packages that the build, the tests and the demo need. Installs nothing where all are there.
# CONTRIBUTING.md says why each is needed.
source "$(dirname "$0")/common.sh"

packages=(
  ca-certificates
  ccache
  cmake
  ffmpeg
  g++
  git
  libabsl-dev
  libbenchmark-dev
  libboost-dev
  libcjose-dev
  libcli11-dev
  libdnnl-dev
  libgmock-dev
  libgrpc++-dev
  libgtest-dev
  libicu-dev
  libprotobuf-dev
  libsentencepiece-dev
  libspdlog-dev
  libssl-dev
  libx264-dev
  ninja-build
  nlohmann-json3-dev
  pkg-config
  prometheus-cpp-dev
  protobuf-compiler
  protobuf-compiler-grpc
  python3
  python3-venv
)

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  say "All ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  command -v sudo > /dev/null || die "run as root or install sudo; missing packages: ${missing[*]}"
  as_root=(sudo)
fi
say "Installing ${#missing[@]} packages: ${missing[*]}"
"${as_root[@]}" apt-get update --quiet
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
