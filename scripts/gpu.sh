#!/usr/bin/env bash
# Everything on a GPU, from a bare machine, within ten minutes: parity and byte equality of the cuda backend, memory
# checks, benchmarks, a profile. Programs come from build/gpu-bundle where that exists (`--bundle` makes it, on a machine
# with the build's packages and CUDA's toolkit); else they are built. Tables on the screen, all files in --out.
#   ./scripts/gpu.sh [--out DIR] [--quick] [--device N]
#   ./scripts/gpu.sh --bundle      prebuilt programs with the libraries that they need, for sm_90a
#   ./scripts/gpu.sh --rehearse    the same steps without a device, in the host's emulation, on a small model
# Needs python3 with numpy, and on the device cuBLASLt 13. Nothing is fetched.
source "$(dirname "$0")/common.sh"

built=build/gpu
bundle=build/gpu-bundle
out=out/gpu
mode=device
quick=no
device=0
while (($# > 0)); do
  case $1 in
    --out) out=${2:?--out needs a folder}; shift 2 ;;
    --device) device=${2:?--device needs a number}; shift 2 ;;
    --quick) quick=yes; shift ;;
    --bundle) mode=bundle; shift ;;
    --rehearse) mode=rehearse; shift ;;
    *) die "unknown option $1" ;;
  esac
done

device_targets=(longtake_cuda_module longtake-module longtake-bench-cuda
  cuda_device_ops_test cuda_device_engine_test parity_test)

build_for_device() {
  # A folder of its own: the preset's builds for all devices, and its programs are too large to be carried.
  [[ -f $built/build.ninja ]] || cmake --preset cuda -B "$built" -DLONGTAKE_CUDA_ARCHITECTURES=90a-real
  cmake --build "$built" --parallel "$(nproc)" --target "${device_targets[@]}"
}

# Programs, and every library that they need but the compiler's, the driver's and cuBLASLt's, which the device has.
make_bundle() {
  build_for_device
  rm -rf "$bundle"
  mkdir -p "$bundle"
  local programs=(longtake-module longtake-bench-cuda cuda_device_ops_test cuda_device_engine_test parity_test
    longtake-cuda.so)
  for program in "${programs[@]}"; do
    strip --strip-unneeded -o "$bundle/$program" "$built/$program"
  done
  for program in "${programs[@]}"; do ldd "$built/$program"; done |
    awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|libcuda|libcublasLt|libcublas)\.so' |
    xargs cp --dereference --target-directory "$bundle"
  local size
  size=$(du -sm "$bundle" | cut -f1)
  ((size <= 64)) || die "$bundle has $size MiB; more than 64 cannot be carried"
  say "$bundle: $size MiB"
}

if [[ $mode == bundle ]]; then
  make_bundle
  exit 0
fi

# ---- Steps -----------------------------------------------------------------------------------------------------------

mkdir -p "$out"
out=$(realpath "$out")
rm -f "$out"/*.log "$out"/*.json "$out"/steps.tsv
python=${PYTHON_WITH_NUMPY:-}
if [[ -z $python ]]; then
  for candidate in .venv-test/bin/python python3; do
    if command -v "$candidate" > /dev/null && "$candidate" -c 'import numpy' 2> /dev/null; then python=$candidate; break; fi
  done
fi
[[ -n $python ]] || die "no python3 with numpy"

# step NAME SECONDS COMMAND...: runs it with a limit, its output in NAME.log; the script goes on where it fails.
step() {
  local name=$1 limit=$2 status=ok begin=$EPOCHREALTIME
  shift 2
  say "$name"
  timeout "$limit" "$@" > "$out/$name.log" 2>&1 || status=failed
  if [[ $status == failed ]]; then tail -n 15 "$out/$name.log" >&2; fi
  note "$name" "$status" "$begin"
}
note() {
  printf '%s\t%s\t%s\n' "$1" "$2" "$(awk -v a="${3:-$EPOCHREALTIME}" -v b="$EPOCHREALTIME" 'BEGIN {print b - a}')" >> "$out/steps.tsv"
}
# bench NAME SECONDS OPTIONS...: one line of JSON.
bench() {
  local name=$1 limit=$2
  shift 2
  step "bench-$name" "$limit" bash -c '"$@" > "$0"' "$out/bench-$name.json" "$bin/longtake-bench-cuda" --device "$device" "$@"
}

rounds=(--rounds 3)
if [[ $mode == rehearse ]]; then
  scripts/build.sh release longtake_emulation_bench longtake_emulation_runner longtake_cuda_emulation_module \
    cuda_ops_test cuda_engine_test parity_test
  bin=$PWD/$BUILD/emulation
  ops_test=$BUILD/cuda_ops_test engine_test=$bin/cuda_engine_test parity_test=$BUILD/parity_test
  models=$out/models
  small=$models/stream
  tiny=(--tiny)
  rounds=(--rounds 1)
else
  if [[ ! -d $bundle ]]; then
    build_for_device
    bundle=$built
  fi
  bin=$PWD/$bundle
  ops_test=$bin/cuda_device_ops_test engine_test=$bin/cuda_device_engine_test parity_test=$bin/parity_test
  models=build/gpu-models
  small=models/longtake-tiny
  tiny=()
  # cuBLASLt: of the system, of CUDA's toolkit, or of Python's packages.
  cublas=$(find /usr/local/cuda*/lib64 /usr/local/cuda*/targets/*/lib /usr/lib/x86_64-linux-gnu \
    "$("$python" -c 'import site; print(site.getsitepackages()[0])')/nvidia" -name 'libcublasLt.so.13*' 2> /dev/null | head -n 1 || true)
  [[ -n $cublas ]] || ldconfig -p | grep -q 'libcublasLt.so.13' || die "libcublasLt.so.13 is not on this machine"
  export LD_LIBRARY_PATH=$bin:${cublas:+$(dirname "$cublas")}:${LD_LIBRARY_PATH:-}
fi

export LONGTAKE_DEVICE_MODULE=$bin/longtake-module
filter='*'
if [[ $quick == yes ]]; then filter='*linear*:*pass*:*Narrow*'; fi
if [[ $mode == rehearse ]]; then
  note device-information absent
else
  step device-information 30 nvidia-smi
fi
step operations 120 "$ops_test" "--gtest_filter=$filter"
step parity 240 "$parity_test" "--gtest_filter=$filter"
step bytes 120 "$engine_test" "--gtest_filter=$([[ $quick == yes ]] && echo '*Refuses*' || echo '*')"
if [[ $mode == device ]] && command -v compute-sanitizer > /dev/null; then
  for tool in memcheck racecheck; do
    step "sanitizer-$tool" 150 compute-sanitizer --tool "$tool" --error-exitcode 9 "$ops_test" --gtest_filter='*EqualsReference*'
  done
else
  note sanitizer-memcheck absent
  note sanitizer-racecheck absent
fi

step models 180 "$python" -m bench.cuda_models --out "$models" "${tiny[@]}"
# Memory of the whole device while streams run, once a second.
if [[ $mode == device ]]; then
  nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits --loop=1 --id="$device" > "$out/memory.log" 2>&1 &
  sampler=$!
  trap 'kill "$sampler" 2> /dev/null || true' EXIT
fi
for dtype in bfloat16 float8; do bench "pass-$dtype" 90 --case pass --model "$models/stream" --dtype "$dtype"; done
bench decode-bfloat16 60 --case decode --model "$models/stream" "${rounds[@]}"
bench stream-bfloat16 90 --case stream --model "$models/stream"
bench beside-bfloat16 90 --case beside --model "$models/stream" "${rounds[@]}"
bench graphs-small 60 --case graphs --model "$small"
if [[ $quick == no ]]; then bench graphs-2b 90 --case graphs --model "$models/stream"; fi
if [[ $quick == no ]]; then bench clip-bfloat16 90 --case clip --model "$models/clip"; fi
if [[ $mode == device ]] && command -v ncu > /dev/null; then
  step profile 120 ncu --csv --metrics gpu__time_duration.sum --launch-skip 3000 --launch-count 700 \
    "$bin/longtake-bench-cuda" --case stream --latent-frames 10 --model "$models/stream"
else
  note profile absent
fi
if [[ $mode == device ]] && "$python" -c 'import torch, diffusers' 2> /dev/null; then
  step peer-diffusers 200 "$python" -m bench.peers.cuda --model "$models/stream" --runner "$bin/longtake-bench-cuda"
else
  note peer-diffusers absent
fi
say "Files in $out"
"$python" -m bench.cuda "$out"
