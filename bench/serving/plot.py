"""Draws the highest load that each policy sustains, with its interval, as SVG.

    longtake-serving | python -m bench.serving.plot docs/scheduler.svg

Reads the JSON of longtake-serving's last line.
"""

import json
import statistics
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

matplotlib.rcParams["svg.fonttype"] = "none"  # text, not outlines of its letters
matplotlib.rcParams["svg.hashsalt"] = "longtake"  # the same bytes each time

# Student's t at 97.5 %, by degrees of freedom from 1; beyond them the last, which is the safer one.
STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval."""
    if len(values) < 2:
        return values[0], 0
    t = STUDENT[min(len(values) - 1, len(STUDENT)) - 1]
    return statistics.fmean(values), t * statistics.stdev(values) / len(values) ** 0.5


def draw(result: dict, path: str) -> None:
    sizes = [name for name in ("equal", "mixed") if f"load_at_99_{name}" in result]
    figure, panels = pyplot.subplots(1, len(sizes), figsize=(4.5 * len(sizes), 2.4), sharey=True, squeeze=False)
    # JSON's keys come in the order of the alphabet; the best is to stand on top, in each panel in the same row.
    first = result[f"load_at_99_{sizes[0]}"]
    policies = sorted(first, key=lambda policy: statistics.fmean(first[policy]))
    for panel, name in zip(panels[0], sizes, strict=True):
        loads = result[f"load_at_99_{name}"]
        for row, policy in enumerate(policies):
            mean, half = interval(loads[policy])
            panel.errorbar(mean, row, xerr=half, fmt="o", capsize=3, color="#0b6e4f" if policy == "ours" else "#555555")
            panel.plot(loads[policy], [row] * len(loads[policy]), "|", color="#aaaaaa")
        panel.set_yticks(range(len(policies)), policies)
        panel.set_xlim(left=0)
        panel.set_xlabel(f"load with continuity of 0.99, {name} sizes")
        panel.grid(axis="x", color="#dddddd")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    lines = sys.stdin.read().splitlines()
    if not lines or not lines[-1].startswith("{"):
        sys.exit("plot: standard input does not end with JSON")
    draw(json.loads(lines[-1]), sys.argv[1])


if __name__ == "__main__":
    main()
