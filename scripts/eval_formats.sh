#!/usr/bin/env bash
# The quality of each weight format: the same prompts and seeds through servers that compute in bfloat16, float8 and NVFP4;
# PSNR of their videos against the first format's, and what the evaluator sees in each. Options:
#   --backend cpu|cuda   cpu (default) multiplies exactly what a device would, slowly; cuda needs a device
#   --formats A,B,...    of --dtype: bfloat16,float8,nvfp4, or float32,int8 with --backend cpu; int8 is the text encoder's too
#   --model DIR          models/longtake-tiny
#   --keep FOLDER        videos and tables; run again, it goes on where it was (out/formats)
#   --jobs N             videos at a time (3)
#   others               to `python -m tools.eval` (--quick, --prompts N, --long N, --switches N)
source "$(dirname "$0")/common.sh"
source scripts/serve.sh

model=models/longtake-tiny backend=cpu formats=bfloat16,float8,nvfp4 keep=out/formats jobs=3 options=()
while (($#)); do
  case $1 in
    --model) model=$2 && shift 2 ;;
    --backend) backend=$2 && shift 2 ;;
    --formats) formats=$2 && shift 2 ;;
    --keep) keep=$2 && shift 2 ;;
    --jobs) jobs=$2 && shift 2 ;;
    *) options+=("$1") && shift ;;
  esac
done

scripts/install.sh
make_venv .venv-test tools/requirements-test.txt
scripts/build.sh release longtake longtake-server

folders=()
for format in ${formats//,/ }; do
  folder=$keep/$format
  folders+=("$folder")
  mkdir -p "$folder"
  say "$format"
  types=(--dtype "$format")
  [[ $format != int8 ]] || types+=(--text-dtype int8)
  start_server "$model" "$folder/server.log" --backend "$backend" "${types[@]}" --max-sessions "$((jobs + 1))" --live-places 0
  .venv-test/bin/python -m tools.eval --model "$model" --server "$address" --keep "$folder" --no-psnr --alone 0 --jobs "$jobs" \
    "${options[@]}" | tee "$folder/table.txt"
  stop_server
done
.venv-test/bin/python -m tools.eval.formats "${folders[@]}"
