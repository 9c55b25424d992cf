"""Draws what longtake-autoscale measured, as PNG: pods over time, and what each metric costs with several targets.

    longtake-autoscale --part policies targets | python -m bench.serving.plot_autoscaling docs/autoscaling.png

Reads the lines of JSON on standard input; several outputs may follow each other.
"""

import json
import statistics
import sys

from bench import charts


def over_time(result: dict, scenario: str) -> tuple:
    """Ready pods of each fleet that is scaled, mean of the seeds, beside the load that comes."""
    minutes = [at / 2 for at in range(len(result["load"][scenario]))]
    series = [("load, in servers", minutes, result["load"][scenario])]
    fleets = result["policies"][scenario]
    for name in sorted(fleets, key=lambda name: fleets[name]["order"]):
        if name.startswith("fixed"):
            continue
        timeline = fleets[name]["timeline"]
        series.append((name, [second / 60 for second in timeline["when"]], timeline["ready"]))
    return (f"{scenario}: servers that are ready", "minutes", series)


def costs(result: dict, scenario: str) -> tuple:
    """One point a target: pod-hours against the share of viewers whose video did not come as it should."""
    points: dict[str, list[tuple[float, float]]] = {}
    for name, fleet in (result["targets"][scenario] | result["policies"][scenario]).items():
        if name == "fixed_mean":
            continue  # so much worse than all others that these would be one line at the bottom
        metric = name.split()[0]
        spoiled = 100 * (1 - statistics.fmean(fleet["continuity"]))
        points.setdefault(metric, []).append((statistics.fmean(fleet["pod_hours"]), spoiled))
    series = [(metric, *zip(*sorted(found), strict=True)) for metric, found in points.items()]
    return (f"{scenario}: viewers whose video came late, stood still or did not come, of a hundred", "pod-hours", series)


def merged(results: list[dict]) -> dict:
    """One result of several, of which each has some parts and scenarios."""
    whole: dict[str, dict] = {}
    for result in results:
        for part in ("load", "policies", "targets"):
            whole.setdefault(part, {}).update(result.get(part) or {})
    return whole


def draw(result: dict, path: str) -> None:
    panels = [over_time(result, scenario) for scenario in result["policies"]]
    panels += [costs(result, scenario) for scenario in result.get("targets", {})]
    charts.save(panels, path)


def main() -> None:
    results = [json.loads(line) for line in sys.stdin if line.startswith("{")]
    if len(sys.argv) != 2 or not results:
        sys.exit(__doc__)
    draw(merged(results), sys.argv[1])


if __name__ == "__main__":
    main()
