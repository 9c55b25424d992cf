#!/usr/bin/env bash
# Builds the image without a daemon and tries it as a cluster runs it: as a user that nobody knows, without capabilities,
# with a read-only root file system, without a network, with the ConfigMap of deploy/kubernetes/base.
#   ./scripts/image-test.sh            compiles in the image, as `docker build` does; ccache's folder is kept between calls
#   ./scripts/image-test.sh --staged   takes the programs of build/release instead (./scripts/build.sh)
#   ./scripts/image-test.sh --cuda     builds the target cuda, with the toolkit of /usr/local/cuda; tries it without a device
# Needs root and Debian's buildah, mmdebstrap, podman and runc. Writes out/image: the list of packages as SPDX, logs, a
# video. The last line is JSON.
source "$(dirname "$0")/common.sh"

target=cpu
staged=no
for option in "$@"; do
  case $option in
    --staged) staged=yes ;;
    --cuda) target=cuda ;;
    *) die "unknown option $option" ;;
  esac
done
((EUID == 0)) || die "run as root"
for tool in buildah mmdebstrap podman runc; do
  command -v "$tool" > /dev/null || die "$tool is missing: apt-get install --no-install-recommends buildah mmdebstrap podman runc"
done

base=localhost/longtake-base:bookworm
image=localhost/longtake:$target
name=longtake-image-test-$$
# No user and no group of the image.
user=$((20000 + RANDOM))
run=out/image
mkdir -p "$run"
work=$(mktemp -d)
cleanup() {
  podman rm --force --ignore "$name" > /dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
seconds() { awk -v from="$1" -v to="$(date +%s.%N)" 'BEGIN {printf "%.2f", to - from}'; }

# ---- Build -----------------------------------------------------------------------------------------------------------

# Debian without documents, as the image debian:bookworm-slim is.
if ! buildah inspect --type image "$base" > /dev/null 2>&1; then
  say "Base image from Debian's packages"
  mmdebstrap --quiet --variant=minbase --mode=root \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    bookworm "$work/base.tar"
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$work/base.tar" / > /dev/null
  buildah commit --quiet --rm "$container" "$base" > /dev/null
  rm "$work/base.tar"
fi

options=(--build-arg "BASE=$base" --build-arg "REVISION=$(git rev-parse HEAD)")
if [[ $staged == yes ]]; then
  deploy/image/stage.sh "$BUILD" "$work/staged"
  options+=(--build-context "staged=$work/staged")
fi
if [[ $target == cuda ]]; then
  toolkit=localhost/longtake-cuda-toolkit
  if ! buildah inspect --type image "$toolkit" > /dev/null 2>&1; then
    say "An image of what building takes of CUDA's toolkit"
    # In the layout of NVIDIA's own; the whole toolkit has several GiB.
    home=targets/$(uname -m)-linux
    mkdir -p "$work/toolkit/$home/lib"
    cp --recursive --dereference /usr/local/cuda/{bin,nvvm} "$work/toolkit/"
    cp --recursive --dereference /usr/local/cuda/include "$work/toolkit/$home/"
    cp --archive /usr/local/cuda/lib64/{libcudart,libcublasLt}.so* /usr/local/cuda/lib64/lib{cudart_static,cudadevrt,culibos}.a \
      "$work/toolkit/$home/lib/"
    ln -s "$home/include" "$work/toolkit/include"
    ln -s "$home/lib" "$work/toolkit/lib64"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$work/toolkit" /usr/local/cuda > /dev/null
    buildah commit --quiet --rm "$container" "$toolkit" > /dev/null
    rm -r "$work/toolkit"
  fi
  options+=(--build-arg "CUDA_IMAGE=$toolkit")
fi
say "Building $image (log in $run/build-$target.log)"
began=$(date +%s.%N)
buildah bud --isolation chroot --pull=never --layers --format oci --target "$target" --tag "$image" "${options[@]}" . \
  > "$run/build-$target.log" 2>&1 || { tail -n 30 "$run/build-$target.log" >&2; die "the image was not built"; }
build_seconds=$(seconds "$began")
bytes() { podman image inspect --format '{{.Size}}' "$1"; }

say "Packages of the image: $run/longtake-$target.spdx.json"
make_venv .venv-deploy tools/requirements-deploy.txt
root=$(podman image mount "$image")
.venv-deploy/bin/debsbom generate --root "$root" --sbom-type spdx --distro-name "longtake-$target" \
  --distro-arch "$(dpkg --print-architecture)" --out "$run/longtake-$target"
packages=$(dpkg-query --admindir="$root/var/lib/dpkg" --show | wc -l)
podman image unmount "$image" > /dev/null

# ---- Run -------------------------------------------------------------------------------------------------------------

# As Kubernetes mounts them: a volume that belongs to root and the pod's group; the ConfigMap read-only.
mkdir -m 2770 "$work/store"
chown "root:$user" "$work/store"
mkdir "$work/config"
cp deploy/kubernetes/base/server.toml "$work/config/"
chmod 755 "$work" "$work/config"
# Podman's own limits are above what some machines allow it to set.
limits=(--ulimit nofile=1024:1024 --ulimit nproc=1024:1024)

start() {
  podman run --detach --name "$name" --runtime runc --read-only --read-only-tmpfs=false --user "$user:$user" \
    --cap-drop all --security-opt no-new-privileges --network none --memory 1g --cpus 2 --stop-timeout 30 \
    "${limits[@]}" --volume "$work/store:/var/lib/longtake" --volume "$work/config:/etc/longtake:ro" \
    "$image" --config /etc/longtake/server.toml > /dev/null
}
inside() { podman exec "$name" "$@"; }
# probe PATH: the status that the HTTP port answers. The image has no curl, but bash has sockets.
# shellcheck disable=SC2016  # expanded inside
probe() {
  inside bash -c 'exec 3<> /dev/tcp/127.0.0.1/9090 && printf "GET %s HTTP/1.0\r\n\r\n" "$0" >&3 && read -r _ status _ <&3 && echo "$status"' \
    "$1" 2> /dev/null || echo none
}
wait_ready() {
  local waited
  for ((waited = 0; waited < 600; ++waited)); do
    [[ $(probe /readyz) != 200 ]] || return 0
    [[ $(podman inspect --format '{{.State.Running}}' "$name") == true ]] || break
    sleep 0.1
  done
  podman logs "$name" >&2
  die "the server was not ready"
}
# stop: SIGTERM, as Kubernetes sends it. Sets `stop_seconds`.
stop() {
  local began status
  began=$(date +%s.%N)
  podman kill --signal TERM "$name" > /dev/null
  status=$(podman wait "$name")
  stop_seconds=$(seconds "$began")
  podman logs "$name" > "$run/server-$target.log" 2>&1
  podman rm "$name" > /dev/null
  # The server takes less than it was told to where memory does not suffice.
  if grep 'keep_mib=' "$run/server-$target.log"; then die "deploy/kubernetes/base: memory does not suffice for server.toml"; fi
  [[ $status == 0 ]] || { tail "$run/server-$target.log" >&2; die "after SIGTERM the server ended with status $status"; }
}

say "Starting it as user $user"
began=$(date +%s.%N)
start
wait_ready
start_seconds=$(seconds "$began")
for path in /livez /startupz /metrics; do [[ $(probe $path) == 200 ]] || die "$path does not answer"; done
[[ $(inside id -u) == "$user" ]] || die "it runs as another user"
# shellcheck disable=SC2016
[[ $(inside sh -c 'grep CapEff /proc/1/status; grep NoNewPrivs /proc/1/status' | awk '{print $2}' | xargs) == "0000000000000000 1" ]] ||
  die "it has capabilities"
for path in /file /tmp/file /usr/share/longtake/file; do
  if inside touch "$path" 2> /dev/null; then die "$path can be written"; fi
done
inside sh -c "ldd /usr/lib/longtake/*" > "$run/libraries-$target.txt" || die "ldd"
if [[ $target == cpu ]] && grep -q 'not found' "$run/libraries-$target.txt"; then die "a library is missing"; fi

say "The bundled model is the one of this checkout"
(cd models/longtake-tiny && find . -type f ! -name '*.md' -printf '%P\n' | sort | xargs sha256sum) > "$work/config/SHA256SUMS"
inside longtake-verify-model /usr/share/longtake/models/longtake-tiny /etc/longtake/SHA256SUMS

say "A video through the image's client"
# Nothing has a name without a network, so no proxy of this machine's environment plays a part.
inside longtake generate "a red ball rolls over the meadow" --seconds 5 --server 127.0.0.1:50051 --keep --output - > "$run/video.mp4"
video=$(ffprobe -v error -count_frames -show_entries stream=width,height,nb_read_frames -of csv=p=0 "$run/video.mp4")
[[ $video == 256,160,* ]] || die "no video: $video"
listed=$(inside longtake list --server 127.0.0.1:50051 | grep -c videos/)

say "SIGTERM ends it; the next one on its volume has the video"
stop
first_stop_seconds=$stop_seconds
start
wait_ready
[[ $(inside longtake list --server 127.0.0.1:50051 | grep -c videos/) == "$listed" ]] || die "the video is gone"

say "A video that SIGTERM cuts goes on in the next one: a minute"
# Its client takes it as fast as it plays, so that it outlasts the time that SIGTERM leaves.
story=("a red ball rolls over the meadow" --seconds 60 --seed 7 --server 127.0.0.1:50051 --output -)
inside longtake generate "${story[@]}" --keep --max-lead 5 > "$run/cut.mp4" 2> /dev/null &
client=$!
until (($(stat --format %s "$run/cut.mp4") > 100000)); do
  kill -0 "$client" || die "the client has ended"
  sleep 0.2
done
stop
if wait "$client"; then die "the video was not cut"; fi
start
wait_ready
cut=$(inside longtake list --server 127.0.0.1:50051 | grep -o 'videos/[0-9a-f]*' | head -n 1)
inside longtake watch "$cut" --server 127.0.0.1:50051 --output - > "$run/whole.mp4"
inside longtake generate "${story[@]}" > "$run/undisturbed.mp4"
cut_bytes=$(stat --format %s "$run/cut.mp4") whole_bytes=$(stat --format %s "$run/whole.mp4")
((cut_bytes < whole_bytes)) || die "nothing of it was left to make"
cmp --bytes "$cut_bytes" "$run/cut.mp4" "$run/whole.mp4" || die "a chunk that was sent is not in the whole video"
cmp "$run/whole.mp4" "$run/undisturbed.mp4" || die "it differs from the video that nothing has cut"
stop

if [[ $target == cuda ]]; then
  say "The cuda backend is loaded, and there is no device"
  message=$(podman run --rm --runtime runc --read-only --user "$user:$user" --cap-drop all --network none \
    "${limits[@]}" "$image" 2>&1 || true)
  tail -n 1 <<< "$message"
  if grep -q 'shared object' <<< "$message"; then die "the cuda backend was not loaded"; fi
fi

printf '{"image": "%s", "compiled_in_image": %s, "image_bytes": %s, "base_bytes": %s, "packages": %s, "build_seconds": %s, ' \
  "$image" "$([[ $staged == no ]] && echo true || echo false)" "$(bytes "$image")" "$(bytes "$base")" "$packages" "$build_seconds"
printf '"start_seconds": %s, "stop_seconds": %s, "video": "%s", "bytes_before_and_behind_the_cut": [%s, %s]}\n' \
  "$start_seconds" "$first_stop_seconds" "$video" "$cut_bytes" "$((whole_bytes - cut_bytes))"
