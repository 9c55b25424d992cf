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

# As in the image: nothing else says where libraries are.
linked=$(env --unset=LD_LIBRARY_PATH ldd "${staged[@]}")
if grep 'not found' <<< "$linked" >&2; then exit 1; fi
mapfile -t libraries < <(awk '$2 == "=>" && $3 ~ /^\// {print $3}' <<< "$linked" | grep -v "^$(realpath "$home")/" | sort -u)
# Where /lib is a link to /usr/lib, dpkg knows a file by one of its two names. One call for all: each reads dpkg's whole list.
short=("${libraries[@]#/usr}")
owners=$(dpkg-query --search "${short[@]}" "${short[@]/#//usr}" 2> /dev/null || true)
awk -F ': ' '
  NR == FNR { owner[$2] = $1; next }
  { path = $1 in owner ? $1 : "/usr" $1
    if (!(path in owner)) { print "no package has " $1 > "/dev/stderr"; exit 1 }
    package = owner[path]; sub(/:.*/, "", package); print package }
' <(printf '%s\n' "$owners") <(printf '%s\n' "${short[@]}") | sort -u > "$out/packages"
