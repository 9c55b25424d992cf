#!/usr/bin/env bash
# Lays out what the image gets from a build: deploy/image/stage.sh BUILD OUT [CUDA_LIBRARY]
#   OUT/programs   the two programs, stripped, and with CUDA_LIBRARY the cuda backend with cuBLASLt
#   OUT/packages   names of the Debian packages that hold the libraries they are linked with, directly or not
set -euo pipefail
build=$1 out=$2 cuda=${3:-}
home=$out/programs/usr/lib/longtake
mkdir -p "$home" "$out/programs/usr/bin"

# Programs look for longtake-cuda.so in their own folder (cmake/compiler.cmake), so all stand in one.
for program in longtake longtake-server; do
  strip --strip-unneeded -o "$home/$program" "$build/$program"
  ln -sfn "../lib/longtake/$program" "$out/programs/usr/bin/$program"
done
staged=("$home/longtake" "$home/longtake-server")
if [[ -n $cuda ]]; then
  strip --strip-unneeded -o "$home/longtake-cuda.so" "$cuda"
  cublas=$(ldd "$cuda" | awk '$1 ~ /^libcublasLt\.so/ {print $3}')
  [[ -f $cublas ]] || { echo "$cuda: its cuBLASLt is not found" >&2; exit 1; }
  # Beside its user, whose search path is its own folder.
  cp --dereference "$cublas" "$home/"
  staged+=("$home/longtake-cuda.so")
fi

# owner PATH: the package that has the file. Where /lib is a link to /usr/lib, dpkg knows a file by one of the two names.
owner() {
  local path=$1 name
  for name in "$path" "/usr$path" "${path#/usr}"; do
    if dpkg-query --search "$name" 2> /dev/null; then return; fi
  done
  echo "no package has $path" >&2
  return 1
}
if ldd "${staged[@]}" | grep 'not found'; then exit 1; fi
ldd "${staged[@]}" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | grep -v "^$(realpath "$home")/" | sort -u |
  while read -r library; do owner "$library"; done | cut -d: -f1 | sort -u > "$out/packages"
