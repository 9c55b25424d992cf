"""The table of scripts/gpu.sh: what the benchmarks printed, against the limits that the project has set itself.

    python -m bench.cuda OUT [--model DIR] [--device h200]

Reads OUT/steps.tsv (step, status, seconds) and OUT/bench-NAME-SUFFIX.json (lines of longtake-bench-cuda; a line's case
and the file's suffix make its key, such as pass-float8), writes OUT/gpu.json and prints the tables. With the folder that
was measured, each launch has its expected time beside it (bench.cuda_costs). Exit 1 where a step has failed, or where
other launches were made than expected. Limits are those of one H200 and only told.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.cuda_costs import by_name
from bench.cuda_device import DEVICES
from bench.cuda_launches import Model


@dataclass(frozen=True)
class Limit:
    """What a benchmark should reach: `key` of its line at most (or at least) `value`."""

    bench: str
    what: str
    key: str
    value: float
    at_least: bool = False


LIMITS = [
    Limit("pass-bfloat16", "pass of a block, s", "seconds", 0.098),
    Limit("pass-bfloat16", "of the products' rate", "of_product_rate", 0.75, at_least=True),
    Limit("pass-float8", "pass of a block in float8, s", "seconds", 0.060),
    Limit("decode-bfloat16", "decoding a block, s", "seconds", 0.30),
    Limit("stream-bfloat16", "stream, frames a second", "frames_per_second", 50, at_least=True),
    Limit("stream-bfloat16", "its transformer alone", "transformer_frames_per_second", 80, at_least=True),
    Limit("clip-bfloat16", "clip of 50 steps with guidance, s", "seconds_of_50_steps", 21),
    Limit("beside-bfloat16", "decoding beside denoising, in turn / beside", "gain", 1.0, at_least=True),
    # Worth a default from here on (--cuda-graphs).
    Limit("graphs-small", "small model's passes, as launches / as graphs", "gain", 1.02, at_least=True),
    Limit("graphs-2b", "2B model's passes, as launches / as graphs", "gain", 1.02, at_least=True),
    Limit("peer-bfloat16", "diffusers compiled / the engine, a pass", "ratio", 2.0, at_least=True),
]
# Of one session at 480p in bfloat16: S and z 1.0 MB a layer, the temporal convolution's tail 7.0 MB.
STATE_BYTES = 161.4e6


LAUNCHES = 40  # lines of the table


def read_benches(out: Path) -> dict[str, dict]:
    benches = {}
    for file in sorted(out.glob("bench-*.json")):
        name, suffix = file.stem.removeprefix("bench-").rsplit("-", 1)
        for line in file.read_text().splitlines():
            if not line.startswith("{"):
                continue
            try:
                bench = json.loads(line)
            except json.JSONDecodeError:  # the program was ended while it wrote
                continue
            benches[f"{bench.get('case', name)}-{suffix}"] = bench
    clip = benches.get("clip-bfloat16")
    if clip is not None:
        # Measured with fewer steps where time is short: all steps take the same time.
        steps = clip["denoise_steps"]
        transformer = clip["frames"] / clip["transformer_frames_per_second"]
        clip["seconds_of_50_steps"] = clip["seconds"] + transformer * (50 / steps - 1)
    return benches


KINDS = ("denoise", "decode")


def launch_lines(bench: dict, expected: dict[str, dict]) -> list[str]:
    """Of one bench "launches": for each kind of pass the launches that took longest, and what they took together; then
    what was expected of each. `expected`: by kind and name, empty where nothing is known."""
    lines = []
    for kind in KINDS:
        launches = bench.get(kind, [])
        rows = expected.get(kind, {})
        total = sum(launch["seconds"] for launch in launches)
        count = sum(launch["calls"] for launch in launches)
        title = f"{kind}, {bench.get('dtype', '')}"
        whole = f"{1e3 * sum(row['seconds'] for row in rows.values()):10.3f}" if rows else ""
        lines.append(f"{title:60} {count:7} {1e3 * total:10.3f} {'':6} {whole}".rstrip())
        for launch in launches[:LAUNCHES]:
            share = launch["seconds"] / total if total else 0
            row = rows.get(launch["name"])
            reckoned = f"{1e3 * row['seconds']:10.3f} {row['bound']}" if row else ""
            figures = f"{launch['calls']:7} {1e3 * launch['seconds']:10.3f} {share:6.1%} {reckoned}"
            lines.append(f"  {launch['name'][:58]:58} {figures}".rstrip())
    return lines


def unexpected_launches(bench: dict, expected: dict[str, dict]) -> list[str]:
    """Where the model of costs and the program differ in what is launched, or how often."""
    differences = []
    for kind, rows in expected.items():
        measured = {launch["name"]: launch["calls"] for launch in bench.get(kind, [])}
        reckoned = {name: row["calls"] for name, row in rows.items()}
        for name in sorted(measured.keys() | reckoned.keys()):
            if measured.get(name, 0) != reckoned.get(name, 0):
                differences.append(f"{kind}: {name}: {measured.get(name, 0)} and not {reckoned.get(name, 0)}")
    return differences


def rows(benches: dict[str, dict], full_size: bool) -> list[dict]:
    """One row a limit, then memory; `met` is null where there is nothing to compare."""
    table = []
    for limit in LIMITS:
        value = benches.get(limit.bench, {}).get(limit.key)
        met = None
        if value is not None and full_size:
            met = value >= limit.value if limit.at_least else value <= limit.value
        table.append({"what": limit.what, "value": value, "limit": limit.value, "at_least": limit.at_least, "met": met})
    stream = benches.get("stream-bfloat16", {})
    used = stream.get("used_bytes", [])
    table.append(
        {
            "what": "memory of a stream, last block / first",
            "value": used[-1] / used[0] if used else None,
            "limit": 1.0,
            "at_least": False,
            "met": used[-1] <= used[0] if used else None,
        }
    )
    state = stream.get("planned_bytes", {}).get("state")
    table.append(
        {
            "what": "state of a session, MB",
            "value": None if state is None else state / 1e6,
            "limit": STATE_BYTES / 1e6,
            "at_least": False,
            "met": state <= STATE_BYTES if state is not None and full_size else None,
        }
    )
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, help="the folder that was measured")
    parser.add_argument("--device", choices=DEVICES, default="h200")
    arguments = parser.parse_args()
    out = arguments.out
    steps = [line.split("\t") for line in (out / "steps.tsv").read_text().splitlines()]
    benches = read_benches(out)
    # A rehearsal's model is small: its figures say nothing about a device.
    full_size = benches.get("pass-bfloat16", {}).get("tokens") == 15600
    table = rows(benches, full_size)

    print(f"{'step':28} {'':12} {'s':>7}")
    for name, status, seconds in steps:
        print(f"{name:28} {status:12} {float(seconds):7.1f}")
    print(f"\n{'measured':44} {'value':>12} {'limit':>12}")
    for row in table:
        value = "not measured" if row["value"] is None else f"{row['value']:.4g}"
        sign = ">=" if row["at_least"] else "<="
        mark = {None: "", True: "  met", False: "  NOT MET"}[row["met"]]
        limit_text = f"{sign} {row['limit']:.4g}"
        print(f"{row['what']:44} {value:>12} {limit_text:>12}{mark}")
    unexpected = []
    for dtype in ("bfloat16", "float8"):
        bench = benches.get(f"launches-{dtype}")
        if bench is None:
            continue
        device = DEVICES[arguments.device]
        launches = Model.read(arguments.model).launches(dtype) if arguments.model else {}
        expected = {kind: by_name(of_kind, device) for kind, of_kind in launches.items()}
        title = f"expected, {device.name}" if expected else ""
        print(f"\n{'launches of one pass':60} {'calls':>7} {'ms':>10} {'':6} {title:>10}".rstrip())
        print("\n".join(launch_lines(bench, expected)))
        unexpected += [f"{dtype}, {difference}" for difference in unexpected_launches(bench, expected)]
    result = {
        "steps": [{"step": n, "status": s, "seconds": float(t)} for n, s, t in steps],
        "table": table,
        "benches": benches,
        "unexpected_launches": unexpected,
    }
    (out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    failed = [name for name, status, _ in steps if status == "failed"]
    if failed:
        print("\nfailed: " + ", ".join(failed))
    if unexpected:
        print("\nlaunches that bench.cuda_costs does not expect:\n  " + "\n  ".join(unexpected))
    return 1 if failed or unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
