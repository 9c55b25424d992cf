"""The real server against the simulator: what ./scripts/bench.sh calibrate measures.

  python -m bench.calibrate --build DIR [--load L ...] [--runs N] [--duration S] [--seed S] [--out DIR]

Measures what passes take (longtake-pass-times), lets the viewers of `longtake loadtest --rate R --seed S` come to a real server of the
bundled model, and simulates the same viewers on the measured table (longtake-replay). Loads are shares of what the simulated
machine makes. Passes are measured again after each run, and each run is compared with the table from beside it, for a machine that others
use changes its speed. The last line is JSON; the difference of the medians is to be within 10 % for the first chunk's median and mean and
for continuity.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

from bench.live import Server, mean_seconds, say

MIX = {"shortest": 0.6, "longest": 4.0}
SERVER = {"max-sessions": 32, "max-waiting": 8}


def options_of(options):
    return [str(word) for name, value in options.items() for word in (f"--{name}", value)]


def measure_table(build, model, path, rounds):
    command = [build / "longtake-pass-times", "--model", model, "--rounds", str(rounds), "--table", path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.loads(path.read_text())


def rate_of(table):
    """Seconds of video a second that the table's machine makes, its encoders at work beside."""
    latents, seconds = table["transformer"][-1]
    block = table["block_latents"] * ((table["steps"] + 1) * seconds / latents + table["decode"])
    engine = block / (table["block_latents"] * table["frames_per_latent"] / table["fps"])  # device seconds a second of video
    encoding = table["encode"] * table["fps"] / table["frames_per_latent"]
    lost = 1 - table["engine_speed"][1]
    return 1 / (engine + lost * encoding)


def averaged(tables):
    """One table of two, of the machine before a run and after it."""
    first, second = tables
    table = dict(first)
    for name in ("text", "decode", "encode", "encoder_speed"):
        table[name] = (first[name] + second[name]) / 2
    pairs = zip(first["transformer"], second["transformer"], strict=True)
    table["transformer"] = [[a[0], (a[1] + b[1]) / 2] for a, b in pairs]
    table["engine_speed"] = [(a + b) / 2 for a, b in zip(first["engine_speed"], second["engine_speed"], strict=True)]
    table["noise"] = first["noise"] + second["noise"]
    return table


def figures(report):
    each = report.get("each")
    mean = report["first_chunk_s"].get("mean")
    if mean is None:
        mean = statistics.fmean(viewer["first_chunk"] for viewer in each if viewer["live"] and "first_chunk" in viewer)
    return {
        "first_chunk_mean_s": mean,
        "first_chunk_p50_s": report["first_chunk_s"]["p50"],
        "first_chunk_p95_s": report["first_chunk_s"]["p95"],
        "continuity": report["continuity"],
        "refused": report["refused"] / report["viewers"],
        "quote_kept": report["quote_kept"],
        "quote_over_actual_p50": report["quote_over_actual_p50"],
    }


def compare(real, simulated):
    """Medians over the runs, their ratio, and the runs' scatter: (largest - least) / median."""
    out = {}
    for name in real[0]:
        sides = [[run[name] for run in runs] for runs in (real, simulated)]
        middle = [statistics.median(side) for side in sides]
        out[name] = {
            "real": middle[0],
            "simulated": middle[1],
            "ratio": middle[1] / middle[0] if middle[0] else None,
            "real_scatter": (max(sides[0]) - min(sides[0])) / middle[0] if middle[0] else None,
        }
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--model", default="models/longtake-tiny")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/calibrate"))
    parser.add_argument("--load", type=float, nargs="+", default=[0.4, 0.8], help="shares of what the machine makes")
    parser.add_argument("--runs", type=int, default=5, help="real runs at each load")
    parser.add_argument("--duration", type=float, default=100, help="seconds in which viewers come, of each run")
    parser.add_argument("--rounds", type=int, default=3, help="of longtake-pass-times, before and after each run")
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)

    tables = [measure_table(a.build, a.model, a.out / "table-0.json", a.rounds)]
    made = rate_of(tables[0])
    say(f"the machine makes {made:.2f} s of video a second; encoding a latent frame takes {1e3 * tables[0]['encode']:.1f} ms")
    server = Server(a.build, a.model, a.out, "calibrate", options_of(SERVER))
    result = {}
    try:
        for load in a.load:
            viewers = {"rate": round(load * made / mean_seconds(MIX), 4), "duration": a.duration, "seed": a.seed, **MIX}
            real, simulated = [], []
            for run in range(a.runs):
                real.append(figures(server.load(f"load-{load}-{run}", **viewers)))
                path = a.out / f"table-{len(tables)}.json"
                tables.append(measure_table(a.build, a.model, path, a.rounds))
                path.write_text(json.dumps(averaged(tables[-2:])))
                replay = subprocess.run(
                    [a.build / "longtake-replay", "--table", path, *options_of({**viewers, **SERVER})],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                runs = [figures(report) for report in json.loads(replay.stdout)]
                simulated.append({name: statistics.median(each[name] for each in runs) for name in runs[0]})
            result[str(load)] = {"rate": viewers["rate"], **compare(real, simulated)}
            for name, row in compare(real, simulated).items():
                ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
                scatter = "-" if row["real_scatter"] is None else f"{row['real_scatter']:.2f}"
                say(f"load {load} {name:<22} real {row['real']:.3f} simulated {row['simulated']:.3f} ratio {ratio} scatter {scatter}")
    finally:
        server.stop()
    print(json.dumps({"seed": a.seed, "machine_video_s_per_s": made, "loads": result}))


if __name__ == "__main__":
    sys.exit(main())
