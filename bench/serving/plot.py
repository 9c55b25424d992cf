"""Draws continuity over load, a line for each policy, as SVG.

    longtake-serving | python -m bench.serving.plot docs/scheduler.svg

Reads what longtake-serving prints for each run, of a search or of given loads; runs that stopped early have no figure. Uses
nothing beyond Python.
"""

import re
import sys
from pathlib import Path

COLOURS = {
    "ours": "#0b6e4f",
    "edf": "#3a7ca5",
    "slackserve_queues": "#8e5ea2",
    "round_robin": "#c98a1b",
    "equal_shape": "#b5423c",
    "fcfs": "#555555",
}
WIDTH, HEIGHT, LEFT, TOP = 330, 240, 48, 34  # of a panel, and its margins
LOWEST = 0.8  # continuity at the foot of the panel


def panel(runs: list[dict], title: str, offset: int, loads: list[float]) -> list[str]:
    def x(load: float) -> float:
        return offset + LEFT + WIDTH * (load - loads[0]) / (loads[-1] - loads[0])

    def y(continuity: float) -> float:
        return TOP + HEIGHT * (1 - (max(continuity, LOWEST) - LOWEST) / (1 - LOWEST))

    parts = [f'<text x="{offset + LEFT}" y="{TOP - 12}" font-weight="bold">{title}</text>']
    for continuity in (0.8, 0.85, 0.9, 0.95, 1.0):
        parts.append(
            f'<path d="M{x(loads[0]):.1f} {y(continuity):.1f}H{x(loads[-1]):.1f}" stroke="#ddd"/>'
            f'<text x="{offset + LEFT - 6}" y="{y(continuity) + 4:.1f}" text-anchor="end">{continuity:.0%}</text>'
        )
    parts.append(f'<path d="M{x(loads[0]):.1f} {y(0.99):.1f}H{x(loads[-1]):.1f}" stroke="#999" stroke-dasharray="4 3"/>')
    for load in loads:
        parts.append(f'<text x="{x(load):.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{load:g}</text>')
    parts.append(
        f'<text x="{offset + LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 34}" text-anchor="middle">'
        "live video offered / saturated rate</text>"
    )
    for policy, colour in reversed(COLOURS.items()):  # ours on top
        of_policy = sorted({(run["load"], run["continuity"]) for run in runs if run["policy"] == policy})
        if not of_policy:
            continue
        points = " ".join(f"{x(load):.1f},{y(continuity):.1f}" for load, continuity in of_policy)
        width = 3 if policy == "ours" else 1.5
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
    return parts


def parse(text: str) -> list[dict]:
    lines = re.findall(r"^(equal|mixed) +(\w+) +load ([\d.]+) continuity ([\d.]+) ", text, re.MULTILINE)
    return [
        {"sizes": sizes, "policy": policy, "load": float(load), "continuity": float(continuity)}
        for sizes, policy, load, continuity in lines
    ]


def draw(runs: list[dict]) -> str:
    loads = [i / 10 for i in range(int(10 * max(run["load"] for run in runs)) + 2)]
    parts = []
    for i, sizes in enumerate(("equal", "mixed")):
        of_size = [run for run in runs if run["sizes"] == sizes]
        parts += panel(of_size, f"continuity, {sizes} sizes", i * (WIDTH + LEFT + 20), loads)
    right = 2 * (WIDTH + LEFT + 20)
    for i, policy in enumerate(policy for policy in COLOURS if any(run["policy"] == policy for run in runs)):
        row = TOP + 14 + 20 * i
        parts.append(
            f'<path d="M{right} {row}h24" stroke="{COLOURS[policy]}" stroke-width="3"/>'
            f'<text x="{right + 30}" y="{row + 4}">{policy}</text>'
        )
    size = f'width="{right + 120}" height="{TOP + HEIGHT + 46}"'
    style = 'font-family="sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}><rect width="100%" height="100%" fill="#fff"/>'
    return head + "".join(parts) + "</svg>\n"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    runs = parse(sys.stdin.read())
    if not runs:
        sys.exit("plot: no run on standard input")
    Path(sys.argv[1]).write_text(draw(runs))


if __name__ == "__main__":
    main()
