#!/usr/bin/env bash
# Looks for inputs that crash what reads files and requests: ./scripts/fuzz.sh [--seconds S | --runs N] [TARGET...]
# Installs clang, builds the preset fuzz, and runs each target (all of tests/fuzz/targets by default) for S seconds (60)
# or N inputs. What it finds lies in out/fuzz/TARGET and goes on from there the next time. The last line is JSON.
source "$(dirname "$0")/common.sh"

limit=-max_total_time=60
targets=()
while (($# > 0)); do
  case $1 in
    --seconds) limit=-max_total_time=${2:?--seconds: a number is missing}; shift 2 ;;
    --runs) limit=-runs=${2:?--runs: a number is missing}; shift 2 ;;
    -*) die "$1: not known; ./scripts/fuzz.sh [--seconds S | --runs N] [TARGET...]" ;;
    *) targets+=("$1"); shift ;;
  esac
done
if ((${#targets[@]} == 0)); then
  for source in tests/fuzz/targets/*.cc; do
    target=$(basename "$source" .cc)
    [[ $target == planted ]] || targets+=("$target")
  done
fi
for target in "${targets[@]}"; do
  [[ -d tests/fuzz/corpus/$target ]] || die "$target: there is no such target; tests/fuzz/targets has them"
done

scripts/install.sh
install_packages clang libclang-rt-14-dev
scripts/build.sh fuzz "${targets[@]/#/fuzz_}"

# The sanitizer keeps freed memory for a while; 16 MiB of it leave the limit of memory to the target. It keeps no stacks
# of allocations, which cost a third of the time: a finding shows them when its input is run again without this.
export ASAN_OPTIONS=quarantine_size_mb=16:malloc_context_size=0 UBSAN_OPTIONS=print_stacktrace=1

# figure LOG NAME: the number that libFuzzer's statistics give for it, or 0.
figure() { sed -n "s/^stat::$2: *//p" "$1" | grep . || echo 0; }

found=0
results=()
for target in "${targets[@]}"; do
  folder=out/fuzz/$target
  mkdir -p "$folder/corpus"
  # Inputs of 4 KiB hold all that these parsers tell apart; longer ones cost in proportion to their length. Inputs are
  # chosen evenly: libFuzzer's weighing of them by rare features (entropic) makes a run of stored_video or
  # tokenizer_files 1.4 and 2.4 times as long, and covers as much in the same time.
  options=("$limit" -max_len=4096 -timeout=20 -rss_limit_mb=768 -malloc_limit_mb=256 -entropic=0 -print_final_stats=1
    "-artifact_prefix=$folder/")
  [[ ! -f tests/fuzz/dictionaries/$target.dict ]] || options+=("-dict=tests/fuzz/dictionaries/$target.dict")
  say "$target"
  state=ok
  if ! "build/fuzz/fuzz_$target" "${options[@]}" "$folder/corpus" "tests/fuzz/corpus/$target" > "$folder/log" 2>&1; then
    state=found
    found=$((found + 1))
    grep -E 'ERROR|runtime error|^fuzz:|Test unit written' "$folder/log" || tail -n 20 "$folder/log"
  fi
  runs=$(figure "$folder/log" number_of_executed_units)
  rate=$(figure "$folder/log" average_exec_per_sec)
  printf '    %s runs, %s a second, peak of %s MiB: %s\n' "$runs" "$rate" "$(figure "$folder/log" peak_rss_mb)" "$state"
  results+=("\"$target\":{\"runs\":$runs,\"per_second\":$rate,\"state\":\"$state\"}")
done
printf '{"found":%d,"targets":{%s}}\n' "$found" "$(IFS=,; echo "${results[*]}")"
((found == 0))
