"""Compares this build with that of an earlier commit: scripts/bench.sh before, which builds both.

    python -m bench.before --before build/before [--rounds N]

The cases are those of bench.cpu, without torch: a model's parts at their real width, and the bundled model through server and
client. The two builds take turns, so that what else the machine does hits both; medians over the rounds are compared. A ratio
above 1 means that this build is faster.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from bench.cpu import LATENT_FRAMES, cpu_name

BUILD = Path("build/release")
MODELS = Path("build/bench-models")
VIDEO_SECONDS = 20


def output_of(tree: Path, command: list) -> str:
    done = subprocess.run([str(c) for c in command], cwd=tree, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"failed in {tree}: {' '.join(map(str, command))}")
    return done.stdout


def part(tree: Path, case: str) -> tuple[float, float]:
    """Seconds of a pass, and peak memory over the plan."""
    command = [BUILD / "longtake-bench", "--case", case, "--model", MODELS / case]
    command += ["--latent-frames", LATENT_FRAMES[case], "--rounds", 5]
    run = json.loads(output_of(tree, command).splitlines()[-1])
    return run["seconds"], run["memory_vs_plan"]


def bundled(tree: Path) -> float:
    """Seconds in which the bundled model's video reaches the client."""
    return float(output_of(tree, ["bench/tiny_end_to_end.sh", BUILD, VIDEO_SECONDS]).split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="the earlier commit's tree, built")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    trees = {"before": arguments.before, "now": Path()}

    seconds: dict[str, dict[str, list[float]]] = {}
    memory: dict[str, float] = {}
    for case in [*LATENT_FRAMES, "bundled"]:
        seconds[case] = {"before": [], "now": []}
        for turn in range(arguments.rounds):
            for name, tree in trees.items():
                print(f"==> {case}: {name}, round {turn + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
                if case == "bundled":
                    taken = bundled(tree)
                else:
                    taken, peak = part(tree, case)
                    if name == "now":
                        memory[case] = max(memory.get(case, 0), peak)
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
