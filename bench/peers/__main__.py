"""Times torch's variants of one case, each in a process of its own that is ended at its time limit.

    python -m bench.peers --case transformer|vae|ltx2|text|tiny [--limit 150] [--only eager:bfloat16:contiguous]

Prints one line of JSON for each variant {mode}:{dtype}:{layout} with its best time, or why there is none; and last one
line with the best of all.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time

WARM_RUNS, TIMED_RUNS = 1, 3


def time_variant(case: str, variant: str) -> dict:
    """Runs in the child: best seconds of one variant."""
    import torch

    from bench.peers.cases import CASES

    mode, dtype, layout = variant.split(":")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    # Packs constant weights once, as an engine would.
    torch._inductor.config.freezing = mode == "compiled"
    call = CASES[case](getattr(torch, dtype), mode == "compiled", layout)
    begin = time.perf_counter()
    for _ in range(WARM_RUNS):
        call()
    warm = time.perf_counter() - begin
    times = []
    for _ in range(TIMED_RUNS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return {"case": case, "variant": variant, "seconds": min(times), "warm_seconds": warm, "torch": torch.__version__}


def run_variant(case: str, variant: str, limit: float) -> dict:
    command = [sys.executable, "-m", "bench.peers", "--case", case, "--child", variant]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"case": case, "variant": variant, "seconds": None, "why": f"not done within {limit:.0f} s"}
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["?"])[-1]
        return {"case": case, "variant": variant, "seconds": None, "why": reason[:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, choices=["transformer", "vae", "ltx2", "text", "tiny"])
    parser.add_argument("--limit", type=float, default=150.0, help="seconds for each variant, compilation included")
    parser.add_argument("--only", help="one variant")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(time_variant(arguments.case, arguments.child)))
        return
    layouts = ["contiguous"] if arguments.case in ("text", "tiny") else ["contiguous", "channels_last"]
    variants = (
        [arguments.only]
        if arguments.only
        else [":".join(parts) for parts in itertools.product(["eager", "compiled"], ["bfloat16", "float32"], layouts)]
    )
    results = []
    for variant in variants:
        results.append(run_variant(arguments.case, variant, arguments.limit))
        print(json.dumps(results[-1]), flush=True)
    timed = [r for r in results if r["seconds"] is not None]
    if not timed:
        sys.exit(f"{arguments.case}: no variant was timed")
    print(json.dumps({"best": min(timed, key=lambda r: r["seconds"])}), flush=True)


if __name__ == "__main__":
    main()
