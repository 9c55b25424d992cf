#!/usr/bin/env bash
# Everything on a GPU, from a bare machine without a network, in one command of ten minutes. Programs come from an archive
# that --bundle makes on a machine with the build's packages and CUDA's toolkit. The most telling steps come first, each is
# a process of its own with a limit, and a step that no longer fits into the time is left out.
#   ./scripts/gpu.sh --bundle      build/gpu-bundle.tar.xz: programs for sm_90 with the libraries that they need
#   ./scripts/gpu.sh [--out DIR] [--limit SECONDS] [--device N]
#   ./scripts/gpu.sh --peer        diffusers instead of all that (bench/peers/cuda.py); needs torch and diffusers
#   ./scripts/gpu.sh --rehearse [--quick]   the same steps without a device, in the host's emulation, on a small model
# Results: gpu.tar.gz (all logs; written anew after each step), table.txt and gpu.json in --out. Needs python3 with numpy,
# and on the device cuBLASLt 13.
source "$(dirname "$0")/common.sh"

archive=build/gpu-bundle.tar.xz
run=build/gpu-run # everything else, made anew
out=out/gpu
mode=device
quick=no
device=0
limit=560
# What is carried to a device machine, in MiB: the archive, and with all tracked files.
most_archive=30
most_carried=60

while (($# > 0)); do
  case $1 in
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --device) device=${2:?--device needs a number}; shift 2 ;;
    --limit) limit=${2:?--limit needs seconds}; shift 2 ;;
    --quick) quick=yes; shift ;;
    --bundle) mode=bundle; shift ;;
    --peer) mode=peer; shift ;;
    --rehearse) mode=rehearse; shift ;;
    *) die "unknown option $1" ;;
  esac
done

# ---- The archive -----------------------------------------------------------------------------------------------------

programs=(longtake-module longtake-bench-cuda longtake-probe-cuda longtake-cuda.so ops_test engine_test parity_test)

# pack ARCHIVE LEVEL FILE...: the programs, in the order of `programs`, and every library that they need but the
# compiler's, the driver's and cuBLASLt's, which the device has.
pack() {
  local to=$1 level=$2 folder
  shift 2
  folder=$(mktemp -d)
  local i
  for i in "${!programs[@]}"; do strip --strip-unneeded -o "$folder/${programs[i]}" "${@:i+1:1}"; done
  for i in "$@"; do ldd "$i"; done |
    awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|libcuda|libcublasLt|libcublas)\.so' |
    xargs cp --dereference --target-directory "$folder"
  tar --create --directory "$folder" . | xz "-$level" --threads=0 > "$to"
  rm -rf "$folder"
}

mib() { awk -v bytes="$1" 'BEGIN {printf "%.1f", bytes / 1048576}'; }

# check_sizes BYTES: of the archive.
check_sizes() {
  local tracked
  (($1 <= most_archive << 20)) || die "the archive has $(mib "$1") MiB, more than $most_archive"
  git rev-parse --is-inside-work-tree > /dev/null 2>&1 || { say "no repository: the tracked files are not counted"; return; }
  tracked=$(git ls-files -z | xargs -0 cat 2> /dev/null | wc -c)
  (($1 + tracked <= most_carried << 20)) ||
    die "archive and tracked files have $(mib $(($1 + tracked))) MiB, more than $most_carried"
  say "to carry: archive $(mib "$1") MiB, tracked files $(mib "$tracked") MiB"
}

if [[ $mode == bundle ]]; then
  built=build/gpu # a folder of its own: the preset's builds for all devices
  [[ -f $built/build.ninja ]] || cmake --preset cuda -B "$built" -DLONGTAKE_CUDA_ARCHITECTURES=90-real
  cmake --build "$built" --parallel "$(nproc)" --target longtake_cuda_module longtake-module longtake-bench-cuda \
    longtake-probe-cuda cuda_device_ops_test cuda_device_engine_test parity_test
  pack "$archive" 9 "$built"/{longtake-module,longtake-bench-cuda,longtake-probe-cuda,longtake-cuda.so} \
    "$built"/{cuda_device_ops_test,cuda_device_engine_test,parity_test}
  check_sizes "$(stat -c %s "$archive")"
  exit 0
fi

# ---- Steps -----------------------------------------------------------------------------------------------------------

rm -rf "$run"
mkdir -p "$run/logs" "$out"
out=$(realpath "$out")
rm -f "$out"/{gpu.tar.gz,table.txt,gpu.json}
logs=$PWD/$run/logs
python=${PYTHON_WITH_NUMPY:-}
if [[ -z $python ]]; then
  for candidate in .venv-test/bin/python python3; do
    if command -v "$candidate" > /dev/null && "$candidate" -c 'import numpy' 2> /dev/null; then python=$candidate; break; fi
  done
fi
[[ -n $python ]] || die "no python3 with numpy"

least=5 # seconds that a step is begun with
# step NAME SECONDS COMMAND...: its output goes to NAME.log. The script goes on where it fails.
step() {
  local name=$1 most=$2 status=ok begin=$EPOCHREALTIME left=$((limit - SECONDS))
  shift 2
  # The emulation only shows that the steps work, on a machine that may be busy.
  if [[ $mode == rehearse ]]; then most=$((most * 20)); fi
  if ((left < least)); then note "$name" skipped; return; fi
  timeout -k 5 "$((most < left ? most : left))" "$@" > "$logs/$name.log" 2>&1 || status=failed
  note "$name" "$status" "$begin"
  if [[ $status == failed ]]; then tail -n 12 "$logs/$name.log" | cut -c 1-300; fi
}
note() {
  local seconds
  seconds=$(awk -v a="${3:-$EPOCHREALTIME}" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.2f", b - a}')
  printf '%s\t%s\t%s\n' "$1" "$2" "$seconds" >> "$logs/steps.tsv"
  printf '%4d s  %-8s %7.1f s  %s\n' "$SECONDS" "$2" "$seconds" "$1"
  save
}
# A file that is complete at any time: whoever ends this script finds what there was until then.
save() {
  # 1: a log grew meanwhile.
  tar --create --gzip --file "$run/gpu.tar.gz" --directory "$logs" --warning=no-file-changed . || (($? == 1))
  mv "$run/gpu.tar.gz" "$out/gpu.tar.gz"
}
# shards NAME SECONDS COUNT PROGRAM FILTER: so many processes at once, each with its share of the tests. An error of the
# device that sticks takes one share with it.
shards() {
  # shellcheck disable=SC2016  # for the inner shell
  step "$1" "$2" "${device_env[@]}" GTEST_TOTAL_SHARDS="$3" bash -c '
    status=0 pids=()
    for ((i = 0; i < GTEST_TOTAL_SHARDS; ++i)); do
      GTEST_SHARD_INDEX=$i "$0" --gtest_filter="$1" > "$2-$i.log" 2>&1 &
      pids+=($!)
    done
    for i in "${!pids[@]}"; do
      wait "${pids[i]}" || { status=1; grep -hE "FAILED|Failure|emulation:" "$2-$i.log" | head -n 20; }
    done
    grep -hE "tests? ran|PASSED|SKIPPED" "$2"-*.log
    exit "$status"' "$4" "$5" "$logs/$1"
}
# bench NAME SECONDS OPTIONS...: lines of JSON into bench-NAME.json, each as it is known.
bench() {
  local name=$1 most=$2
  shift 2
  # shellcheck disable=SC2016
  step "bench-$name" "$most" "${device_env[@]}" bash -c 'exec "$@" > "$0"' "$logs/bench-$name.json" \
    "$bin/longtake-bench-cuda" --device "$device" "$@"
}

bin=$PWD/$run/bin
mkdir -p "$bin"
shares=12
rounds=(--rounds 3)
device_env=(env)
if [[ $mode == rehearse ]]; then
  scripts/build.sh release longtake_emulation_bench longtake_emulation_probe longtake_emulation_runner \
    longtake_cuda_emulation_module cuda_ops_test cuda_engine_test parity_test
  emulation=$BUILD/emulation
  pack "$run/bundle.tar.xz" 0 "$emulation"/{longtake-module,longtake-bench-cuda,longtake-probe-cuda,longtake-cuda.so} \
    "$BUILD/cuda_ops_test" "$emulation/cuda_engine_test" "$BUILD/parity_test"
  if [[ -f $archive ]]; then check_sizes "$(stat -c %s "$archive")"; else check_sizes "$((most_archive << 20))"; fi
  archive=$run/bundle.tar.xz
  SECONDS=0 # the limit is of the steps
  models=$run/models
  small=$models/stream
  tiny=(--tiny)
  rounds=(--rounds 1)
  shares=2
else
  models=build/gpu-models
  small=models/longtake-tiny
  tiny=(--clip-steps 6)
fi
export PYTHONUNBUFFERED=1
"$python" -m bench.cuda_models --out "$models" "${tiny[@]}" > "$logs/models.log" 2>&1 &
writing_models=$!
trap 'kill "$writing_models" ${sampler:+"$sampler"} 2> /dev/null || true' EXIT

[[ -f $archive ]] || die "$archive is missing: make it by ./scripts/gpu.sh --bundle and bring it along"
tar --extract --xz --file "$archive" --directory "$bin"
if [[ $mode != rehearse ]]; then
  # Of Python's packages first: torch then has the same library, and the comparison is of equals. For our programs alone.
  cublas=$(find "$("$python" -c 'import site; print(site.getsitepackages()[0])')/nvidia" /usr/local/cuda*/lib64 \
    /usr/local/cuda*/targets/*/lib /usr/lib/x86_64-linux-gnu -name 'libcublasLt.so.13*' 2> /dev/null | head -n 1 || true)
  device_env=(env "LD_LIBRARY_PATH=$bin${cublas:+:$(dirname "$cublas")}")
else
  device_env=(env "LD_LIBRARY_PATH=$bin" LONGTAKE_EMULATION_DEVICES=2)
fi
device_env+=("LONGTAKE_DEVICE_MODULE=$bin/longtake-module")

# shellcheck disable=SC2016
environment='
  nvidia-smi -L; nvidia-smi --query-gpu=driver_version,memory.used,memory.total,clocks.sm,clocks.max.sm --format=csv
  nproc; uname -r; "$2" --version; echo "cuBLASLt: $3"
  missing=0
  for program in "$1"/*; do
    if ldd "$program" 2>&1 | grep "not found"; then echo "  by $program"; missing=1; fi
  done
  exit "$missing"'
step environment 30 "${device_env[@]}" bash -c "$environment" - "$bin" "$python" "${cublas:-as the system finds it}"

# The models are written meanwhile.
wait_for_models() {
  local begin=$EPOCHREALTIME status=ok
  while kill -0 "$writing_models" 2> /dev/null && ((SECONDS < limit - least)); do sleep 0.2; done
  [[ -f $models/clip/longtake.json ]] || status=failed
  note models "$status" "$begin"
  [[ $status == ok ]] || tail -n 5 "$logs/models.log"
}

if [[ $mode == peer ]]; then
  wait_for_models
  if "$python" -c 'import torch, diffusers' 2> /dev/null; then
    # shellcheck disable=SC2016
    step bench-peer "$limit" "${device_env[@]}" bash -c 'exec "$@" > "$0"' "$logs/bench-peer-bfloat16.json" \
      "$python" -m bench.peers.cuda --model "$models/stream" --runner "$bin/longtake-bench-cuda" --device "$device"
  else
    note bench-peer absent
  fi
else
  step probe 60 "${device_env[@]}" "$bin/longtake-probe-cuda" "$device"
  if [[ $quick == yes ]]; then
    shards operations 90 "$shares" "$bin/ops_test" '*linear*:*_203*'
  else
    shards operations 90 "$shares" "$bin/ops_test" '-*RowBytes*'
  fi
  if [[ $mode == device ]]; then step row-bytes 60 "${device_env[@]}" "$bin/ops_test" --gtest_filter='*RowBytes*'; fi
  wait_for_models
  if [[ $mode == device ]]; then # memory of the whole device, once a second
    nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits --loop=1 --id="$device" > "$logs/memory.log" 2>&1 &
    sampler=$!
  fi
  bench main-bfloat16 150 --case pass,decode,stream,launches --model "$models/stream" "${rounds[@]}"
  shards parity 80 "$((shares / 2))" "$bin/parity_test" "$([[ $quick == yes ]] && echo '*pass*' || echo '*')"
  step bytes 60 "${device_env[@]}" "$bin/engine_test" "--gtest_filter=$([[ $quick == yes ]] && echo '*Refuses*' || echo '*')"
  bench main-float8 60 --case pass,launches --model "$models/stream" --dtype float8
  bench graphs-small 30 --case graphs --model "$small"
  bench beside-bfloat16 60 --case beside --model "$models/stream" "${rounds[@]}"
  if [[ $quick == no ]]; then bench clip-bfloat16 60 --case clip --model "$models/clip"; fi
  if [[ $mode == device ]] && command -v compute-sanitizer > /dev/null; then
    # Few and small: memcheck takes a hundred times as long.
    step memcheck 60 "${device_env[@]}" compute-sanitizer --tool memcheck --error-exitcode 9 "$bin/ops_test" \
      --gtest_filter='*EqualsReference/*_203:*EqualsReference/linear*:*EqualsReference/*attention*:*EqualsReference/depthwise*'
    step racecheck 60 "${device_env[@]}" compute-sanitizer --tool racecheck --error-exitcode 9 "$bin/ops_test" \
      --gtest_filter='*EqualsReference/linear_attention*:*EqualsReference/cross_attention*:*EqualsReference/conv_*:*EqualsReference/rms_norm_203'
  else
    note memcheck absent
    note racecheck absent
  fi
  if [[ $quick == no ]]; then bench graphs-2b 60 --case graphs --model "$models/stream"; fi
fi

status=0
card=h200
if [[ $mode != rehearse ]] && nvidia-smi --query-gpu=name --format=csv,noheader --id="$device" | grep -q H100; then card=h100; fi
"$python" -m bench.cuda "$logs" --model "$models/stream" --device "$card" > "$logs/table.txt" || status=$?
cat "$logs/table.txt"
cp "$logs/table.txt" "$logs/gpu.json" "$out"
save
say "$SECONDS of $limit s; results in $out"
# What comes back from a device machine: at most 8 files of 16 MiB.
find "$out" -type f -size +16M | grep . && die "a file of $out is too large to come back"
exit "$status"
