#!/usr/bin/env bash
# Benchmarks. `serving` plays simulated viewers to the scheduler: policies against each other, machines, what a decision
# costs. It needs no model; docs/scheduler.md says how long it takes; the last line is JSON. --quick shows in a minute that it works:
#   ./scripts/bench.sh serving [--quick] [longtake-serving's options]
# `autoscale` plays a day and a peak to fleets of such servers, scaled by several metrics as Kubernetes does it, and of fixed
# sizes. It needs no model; docs/autoscaling.md says how long it takes; the last line is JSON. --quick shows in seconds that it works:
#   ./scripts/bench.sh autoscale [--quick] [longtake-autoscale's options]
# `calibrate` lets the same viewers come to the real server and to the simulator; the last line is JSON:
#   ./scripts/bench.sh calibrate [--load L ...] [--runs N] [--duration S] [--seed S] [--out DIR]
# `live` starts the real server with the bundled model and lets simulated viewers come; the last line is JSON. At most 25
# minutes; --quick, two, shows that it works. Nothing else should run meanwhile.
#   ./scripts/bench.sh live [--quick] [--out DIR] [--docs DIR]
# `front` measures the server's front with a fake engine: memory of idle watchers, throughput, latency; two minutes:
#   ./scripts/bench.sh front
# `http` lets 2,000 viewers read 20 videos over HTTP while they are made; two minutes; the last line is JSON:
#   ./scripts/bench.sh http [--viewers N] [--videos N] [--seconds S]
# `store` measures what storing videos costs; four minutes; the last line is JSON:
#   ./scripts/bench.sh store [--rounds N]
# `loading` measures what a cache of packed weights saves at the start; some five minutes; the last line is JSON:
#   ./scripts/bench.sh loading [--layers N] [--rounds N] [--dtype TYPE]
# `cpu` measures the engine against torch + diffusers and against oneDNN's matrix product, alternating, on this machine.
#   ./scripts/bench.sh cpu [--venv DIR] [--quick] [--limit SECONDS] [--case transformer|vae|ltx2|text|tiny_decoder|int8]
# `before` measures the same engine against its state at an earlier commit, both builds in turns; some 15 minutes beside the
# build; the last line is JSON:
#   ./scripts/bench.sh before COMMIT [--rounds N]
# --venv: an environment that has tools/requirements-bench.txt; else .venv-bench is made (torch: several gigabytes).
# --limit: for each variant of torch, compilation included (150). Nothing else should run meanwhile.
source "$(dirname "$0")/common.sh"

if [[ ${1:-} == serving ]]; then
  shift
  scripts/install.sh
  scripts/build.sh release longtake-serving
  exec "$BUILD/longtake-serving" "$@"
fi
if [[ ${1:-} == autoscale ]]; then
  shift
  scripts/install.sh
  scripts/build.sh release longtake-autoscale
  exec "$BUILD/longtake-autoscale" "$@"
fi
if [[ ${1:-} == calibrate ]]; then
  shift
  scripts/install.sh
  scripts/build.sh release longtake longtake-server longtake-pass-times longtake-replay
  exec "$PYTHON" -m bench.calibrate --build "$BUILD" "$@"
fi
if [[ ${1:-} == live ]]; then
  shift
  scripts/install.sh
  make_venv .venv-test tools/requirements-test.txt
  scripts/build.sh release longtake longtake-server longtake-bench-passes
  exec .venv-test/bin/python -m bench.live --build "$BUILD" "$@"
fi
if [[ ${1:-} == front ]]; then
  scripts/install.sh
  scripts/build.sh release longtake-frontbench
  for mode in idle throughput latency; do "$BUILD/longtake-frontbench" "$mode"; done
  exit 0
fi
if [[ ${1:-} == http ]]; then
  shift
  scripts/install.sh
  scripts/build.sh release longtake longtake-server
  exec "$PYTHON" -m bench.http --build "$BUILD" "$@"
fi
if [[ ${1:-} == store ]]; then
  shift
  scripts/install.sh
  scripts/build.sh release longtake longtake-server
  exec "$PYTHON" -m bench.store --build "$BUILD" "$@"
fi
if [[ ${1:-} == loading ]]; then
  shift
  scripts/install.sh
  make_venv .venv-test tools/requirements-test.txt
  scripts/build.sh release longtake-fullsize
  exec .venv-test/bin/python -m bench.loading --build "$BUILD" "$@"
fi
if [[ ${1:-} == before ]]; then
  commit=$(git rev-parse --verify --quiet "${2:-}^{commit}") || die "before needs a commit"
  shift 2
  scripts/install.sh
  make_venv .venv-test tools/requirements-test.txt
  before=build/before
  if [[ ! -f $before/commit || $(<"$before/commit") != "$commit" ]]; then
    rm -rf "$before"
    mkdir -p "$before"
    git archive "$commit" | tar -x -C "$before"
    printf '%s\n' "$commit" > "$before/commit"
  fi
  python=$PWD/.venv-test/bin/python
  for tree in "$before" .; do
    (cd "$tree" && scripts/build.sh release longtake-bench longtake longtake-server &&
      "$python" -m bench.models --out build/bench-models)
  done
  exec .venv-test/bin/python -m bench.before --before "$before" "$@"
fi
[[ ${1:-} == cpu ]] || die "usage: ./scripts/bench.sh serving [OPTIONS] | autoscale [OPTIONS] | calibrate [OPTIONS] | live [OPTIONS] | front | store [--rounds N] | loading [OPTIONS] | before COMMIT [--rounds N] | cpu [--venv DIR] [--quick] [--limit SECONDS]"
shift
venv=.venv-bench
options=()
while (($# > 0)); do
  case $1 in
    --venv) venv=${2:?--venv needs a folder}; shift 2 ;;
    --quick) options+=(--quick); shift ;;
    --limit) options+=(--limit "${2:?--limit needs seconds}"); shift 2 ;;
    --case) options+=(--case "${2:?--case needs a name}"); shift 2 ;;
    *) die "unknown option $1" ;;
  esac
done

scripts/install.sh
if [[ $venv == .venv-bench ]]; then make_venv "$venv" tools/requirements-bench.txt; fi
scripts/build.sh release longtake-bench longtake longtake-server
say "Random-weight folders in build/bench-models"
"$venv/bin/python" -m bench.models --out build/bench-models
"$venv/bin/python" -m bench.cpu --build "$BUILD" --models build/bench-models --peers-python "$venv/bin/python" "${options[@]}"
