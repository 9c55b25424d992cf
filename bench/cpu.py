"""Runs the engine and torch in turns on the same work and prints the table and the last line of scripts/bench.sh.

    python -m bench.cpu --build build/release --models DIR --peers-python .venv-bench/bin/python [--quick] [--case NAME]

For each case: engine (with oneDNN's matrix product between its own rounds), all variants of torch, the engine again, the
best variant again; the best time of each side counts. Figures are seconds; ratios above 1 mean that the engine is faster.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

LATENT_FRAMES = {"transformer": 1, "vae": 2, "ltx2": 2, "text": 1}
TINY_DECODER = "tiny_decoder"  # a case of its own: against the full decoder and not against torch
INT8 = "int8"  # another: against the engine's other type


def say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


def output_of(command: list, tree: Path = Path()) -> str:
    """What the command prints, run in that tree of sources. Ends the program if the command fails."""
    done = subprocess.run([str(c) for c in command], cwd=tree, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"failed in {tree}: {' '.join(map(str, command))}")
    return done.stdout


def lines_of(command: list, tree: Path = Path()) -> list[dict]:
    return [json.loads(line) for line in output_of(command, tree).splitlines() if line.startswith("{")]


def engine_run(build: Path, models: Path, case: str, rounds: int, tree: Path = Path(), options: tuple = ()) -> dict:
    """What longtake-bench says of one part of a model. Paths are relative to the tree."""
    command = [build / "longtake-bench", "--case", case, "--model", models / case]
    command += ["--latent-frames", LATENT_FRAMES[case], "--rounds", rounds, *options]
    return lines_of(command, tree)[-1]


def bundled_run(build: Path, video_seconds: int, tree: Path = Path()) -> float:
    """Seconds in which a video of the bundled model goes through the running server to the client."""
    return float(output_of(["bench/tiny_end_to_end.sh", build, video_seconds], tree).split()[-1])


def peers_run(arguments, case: str, only: str | None = None) -> list[dict]:
    command = [arguments.peers_python, "-m", "bench.peers", "--case", case, "--limit", arguments.limit]
    return lines_of(command + (["--only", only] if only else []))


def measure(arguments, case: str) -> dict:
    """Engine, peers, engine, best peer."""
    rounds = 2 if arguments.quick else 5
    say(f"{case}: engine")
    runs = [engine_run(arguments.build, arguments.models, case, rounds)]
    say(f"{case}: torch, every variant (up to {arguments.limit:.0f} s each)")
    *variants, best = peers_run(arguments, case)
    for variant in variants:
        seconds = f"{variant['seconds']:.3f} s" if variant["seconds"] else variant["why"]
        say(f"  {variant['variant']:34} {seconds}")
    say(f"{case}: engine and the best of torch again")
    runs.append(engine_run(arguments.build, arguments.models, case, rounds))
    again = peers_run(arguments, case, best["best"]["variant"])[-1]
    engine = min(runs, key=lambda r: r["seconds"])
    return {
        **engine,
        "gemm_seconds": min(r["gemm_seconds"] for r in runs),
        "memory_vs_plan": max(r["memory_vs_plan"] for r in runs),
        "torch_seconds": min(best["best"]["seconds"], again["best"]["seconds"]),
        "torch_variant": best["best"]["variant"],
        "torch_variants": variants,
    }


def tiny_decoder(arguments) -> dict:
    """The tiny decoder and the full one on the same latents, in turns: taew2_1's shape, and the bundled model's own."""
    results = {}
    for name, model in ((TINY_DECODER, arguments.models / TINY_DECODER), ("bundled_tiny_decoder", Path("models/longtake-tiny"))):
        say(f"{name}: both decoders")
        command = [arguments.build / "longtake-bench", "--case", TINY_DECODER, "--model", model]
        results[name] = lines_of([*command, "--latent-frames", 2, "--rounds", 2 if arguments.quick else 5])[-1]
    return results


def int8(arguments) -> dict:
    """The parts that can be of int8, in it and in the machine's own type, in turns."""
    if "avx512_vnni" not in Path("/proc/cpuinfo").read_text():
        say("int8: left out, this machine has no avx512_vnni")
        return {}
    results = {}
    for part, option in (("transformer", "--dtype"), ("text", "--text-dtype")):
        say(f"int8: {part}")
        turns = [
            [
                engine_run(arguments.build, arguments.models, part, 3, options=("--no-gemm", option, dtype))
                for dtype in ("auto", "int8")
            ]
            for _ in range(1 if arguments.quick else 2)
        ]
        results[part] = [min(runs, key=lambda r: r["seconds"]) for runs in zip(*turns, strict=True)]
    return results


def tiny_realtime(arguments) -> tuple[float, float]:
    """Video seconds a wall second: the bundled model through the running server, and torch on the same weights."""
    say("bundled model: server and client")
    seconds = 4 if arguments.quick else 20
    ours = seconds / bundled_run(arguments.build, seconds)
    say("bundled model: torch")
    best = peers_run(arguments, "tiny")[-1]["best"]
    return ours, 4 / best["seconds"]  # bench/peers/tiny.py makes 4 seconds


def cpu_name() -> str:
    info = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.*)", info)
    family = re.search(r"cpu family\s*:\s*(\d+)", info)
    return f"{name[1] if name else 'unknown'} (family {family[1] if family else '?'}, {info.count('processor')} cores)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build/release"))
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--peers-python", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=150.0, help="seconds for each variant of torch")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--case", choices=[*LATENT_FRAMES, TINY_DECODER, INT8], help="nothing but this one")
    arguments = parser.parse_args()

    begin = time.monotonic()
    results = {case: measure(arguments, case) for case in LATENT_FRAMES if arguments.case in (None, case)}
    tiny, tiny_torch = tiny_realtime(arguments) if arguments.case is None else (0, 0)
    decoders = tiny_decoder(arguments) if arguments.case in (None, TINY_DECODER) else {}
    int8_results = int8(arguments) if arguments.case in (None, INT8) else {}
    ran = [*results.values(), *decoders.values(), *(wide for wide, _ in int8_results.values())]
    if not ran:
        sys.exit("nothing was measured")
    any_result = ran[0]

    print(f"\n{cpu_name()}; {any_result['numerics_id']}; {(time.monotonic() - begin) / 60:.0f} minutes")
    print(
        f"{'case':12} {'engine s':>9} {'gemm s':>9} {'torch s':>9}  {'vs gemm':>8} {'vs torch':>8} {'peak/plan':>9}  torch's best"
    )
    for case, r in results.items():
        print(
            f"{case:12} {r['seconds']:9.3f} {r['gemm_seconds']:9.3f} {r['torch_seconds']:9.3f}  "
            f"{r['gemm_seconds'] / r['seconds']:8.2f} {r['torch_seconds'] / r['seconds']:8.2f} {r['memory_vs_plan']:9.2f}  "
            f"{r['torch_variant']}"
        )
        overhead = r["plan_bytes"] / r["weights_bytes"]
        print(f"{'':12} plan {r['plan_bytes'] / 2**20:.0f} MiB, {overhead:.2f} of the weights")
        for variant in r["torch_variants"]:
            seconds = f"{variant['seconds']:9.3f}" if variant["seconds"] else f"     none: {variant['why']}"
            print(f"{'':32}{seconds}  torch {variant['variant']}")

    for name, r in decoders.items():
        times = r["full_seconds"] / r["seconds"]
        print(f"{name:20} {r['seconds']:9.3f} s, the full one {r['full_seconds']:9.3f} s: {times:.1f} times")

    for part, (wide, narrow) in int8_results.items():
        print(
            f"{part} in int8: {narrow['seconds']:.3f} s, in {wide['dtype']} {wide['seconds']:.3f} s: "
            f"{wide['seconds'] / narrow['seconds']:.2f} times; weights {narrow['weights_bytes'] / wide['weights_bytes']:.2f}"
        )

    def ratio(case: str, other: str) -> float:
        return round(results[case][f"{other}_seconds"] / results[case]["seconds"], 3)

    last = {"cpu": cpu_name(), "isa": any_result["isa"]}
    for case in results:
        if case != "text":
            last[f"{case}_vs_gemm"] = ratio(case, "gemm")
        last[f"{case}_vs_torch"] = ratio(case, "torch")
    for name, r in decoders.items():
        last[f"{name}_vs_full"] = round(r["full_seconds"] / r["seconds"], 2)
    for part, (wide, narrow) in int8_results.items():
        last[f"{part}_int8_vs_{wide['dtype']}"] = round(wide["seconds"] / narrow["seconds"], 2)
    last["memory_vs_plan"] = {case: round(r["memory_vs_plan"], 3) for case, r in results.items()}
    if arguments.case is None:
        print(f"{'tiny':12} {tiny:.2f} x real time end to end; torch without MP4 {tiny_torch:.2f} x")
        last["tiny_realtime"] = round(tiny, 2)
    print(json.dumps(last))


if __name__ == "__main__":
    main()
