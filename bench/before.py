"""Compares this build with that of an earlier commit: scripts/bench.sh before, which builds both.

    python -m bench.before --before build/before [--rounds N]

The cases are those of bench.cpu, without torch: a model's parts at their real width, and the bundled model through server and
client. The two builds take turns, so that what else the machine does hits both; medians over the rounds are compared. A ratio
above 1 means that this build is faster.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from bench.cpu import LATENT_FRAMES, bundled_run, cpu_name, engine_run

BUILD = Path("build/release")
MODELS = Path("build/bench-models")
PASS_ROUNDS = 5  # of each run of longtake-bench, whose best counts
VIDEO_SECONDS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="the earlier commit's tree, built")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    trees = {"before": arguments.before, "now": Path()}

    seconds: dict[str, dict[str, list[float]]] = {}
    memory: dict[str, float] = {}
    # An engine from before the LTX-2 VAE does not run that case.
    old = {"ltx2"} if not (arguments.before / "engine/models/ltx2").exists() else set()
    for case in [*(c for c in LATENT_FRAMES if c not in old), "bundled"]:
        seconds[case] = {"before": [], "now": []}
        for turn in range(arguments.rounds):
            for name, tree in trees.items():
                print(f"==> {case}: {name}, round {turn + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
                if case == "bundled":
                    taken = bundled_run(BUILD, VIDEO_SECONDS, tree)
                else:
                    run = engine_run(BUILD, MODELS, case, PASS_ROUNDS, tree)
                    taken = run["seconds"]
                    if name == "now":
                        memory[case] = max(memory.get(case, 0), run["memory_vs_plan"])
                seconds[case][name].append(taken)

    ratios = {case: statistics.median(s["before"]) / statistics.median(s["now"]) for case, s in seconds.items()}
    print(f"\n{cpu_name()}; {arguments.rounds} rounds; medians, and from the quickest to the slowest")
    print(f"{'case':12} {'before s':>24} {'now s':>24} {'before/now':>11} {'peak/plan':>9}")
    for case, taken in seconds.items():
        cells = [f"{statistics.median(t):8.3f} ({min(t):.3f} - {max(t):.3f})" for t in (taken["before"], taken["now"])]
        peak = f"{memory[case]:9.3f}" if case in memory else ""
        print(f"{case:12} {cells[0]:>24} {cells[1]:>24} {ratios[case]:11.3f} {peak}")
    print(
        json.dumps(
            {
                "cpu": cpu_name(),
                "before_over_now": {case: round(ratio, 3) for case, ratio in ratios.items()},
                "memory_vs_plan": {case: round(peak, 3) for case, peak in memory.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
