"""What each kernel of the CUDA backend should cost on a device, computed without one.

    python -m bench.cuda_costs [--model DIR] [--device h200] [--dtype bfloat16] [--json]

For one denoising pass of a block and for one decoded latent frame: every launch by name, how many there are, what they
move and compute, and the time that follows (cuda_device.py). scripts/gpu.sh prints these times beside the measured ones.
The model is the first generation's transformer with a Wan VAE: a folder, or without --model the 2B model, block-causal
at 480p.
"""

import argparse
import json
from pathlib import Path

from bench.cuda_device import DEVICES, Device
from bench.cuda_launches import Launches, Model


def by_name(launches: Launches, device: Device) -> dict[str, dict]:
    """What launches of one name do together, the longest first."""
    rows: dict[str, dict] = {}
    for launch in launches:
        row = rows.setdefault(
            launch.name, {"calls": 0, "seconds": 0.0, "bytes": 0.0, "flops": 0.0, "instructions": 0.0, "by": {}}
        )
        row["calls"] += launch.count
        row["seconds"] += launch.seconds(device)
        row["bytes"] += launch.count * launch.bytes
        row["flops"] += launch.count * (launch.dense + launch.mma)
        row["instructions"] += launch.count * launch.instructions
        bound = launch.bound(device)
        row["by"][bound] = row["by"].get(bound, 0.0) + launch.seconds(device)
    for row in rows.values():
        row["bound"] = max(row.pop("by").items(), key=lambda bound: bound[1])[0]
    return dict(sorted(rows.items(), key=lambda row: -row[1]["seconds"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a folder; without one the 2B model")
    parser.add_argument("--device", choices=DEVICES, default="h200")
    parser.add_argument("--dtype", choices=("bfloat16", "float8"), default="bfloat16")
    parser.add_argument("--json", action="store_true", help="one object instead of tables")
    arguments = parser.parse_args()
    device = DEVICES[arguments.device]
    model = Model.read(arguments.model) if arguments.model else Model.two_billion()
    tables = {kind: by_name(launches, device) for kind, launches in model.launches(arguments.dtype).items()}
    if arguments.json:
        print(json.dumps(tables))
        return
    print(f"Expected on one {device.name}, {arguments.dtype}. Not measured.\n")
    for kind, rows in tables.items():
        total = sum(row["seconds"] for row in rows.values())
        calls = sum(row["calls"] for row in rows.values())
        print(f"{kind:52} {'calls':>6} {'GB':>8} {'TFLOP':>8} {'10^9 instr':>11} {'ms':>9}")
        print(f"{'':52} {calls:6} {'':8} {'':8} {'':11} {1e3 * total:9.3f}")
        for name, row in rows.items():
            figures = f"{row['bytes'] / 1e9:8.3f} {row['flops'] / 1e12:8.3f} {row['instructions'] / 1e9:11.3f}"
            print(f"  {name:50} {row['calls']:6} {figures} {1e3 * row['seconds']:9.3f}  {row['bound']}")
        print()


if __name__ == "__main__":
    main()
