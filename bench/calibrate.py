"""The real server against the simulator: what ./scripts/bench.sh calibrate measures.

  python -m bench.calibrate --build DIR [--load L ...] [--runs N] [--duration S] [--seed S] [--out DIR]

Measures what passes and encoding take (longtake-pass-times), lets the viewers of `longtake loadtest --rate R --seed S` come to a
real server of the bundled model, and simulates the same viewers (longtake-replay). Loads are shares of what the machine makes. A
machine that others use is not as fast from one minute to the next. So each run is simulated with the passes' mean times of that
run, which the server's metrics have: the table's are multiplied until the simulated passes take as long. Both then are of one
machine, and what is compared is what follows from its speed: queues, batches, admission, first chunks, stalls. The last line is
JSON: simulated over real, the median of the runs, to be within 10 % for first chunks and continuity.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import urllib.request

from bench.live import Server, cpu_model, mean_seconds, say

MIX = {"shortest": 0.6, "longest": 4.0}
SERVER = {"max-sessions": 32, "max-waiting": 8}
PASSES = re.compile(r'^longtake_pass_device_seconds_(sum|count)\{kind="(\w+)"\} (\S+)$', re.MULTILINE)


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
    encoding = (table["encode"] + table["encode_begin"] / table["block_latents"]) * table["fps"] / table["frames_per_latent"]
    lost = 1 - table["engine_speed"][1]
    return 1 / (engine + lost * encoding)


def passes_of(server):
    """Seconds and number of the passes so far, by kind."""
    with urllib.request.urlopen(server.metrics_url, timeout=10) as answer:
        return {(what, kind): float(value) for what, kind, value in PASSES.findall(answer.read().decode())}


def means(before, after):
    """Mean seconds of a pass between two looks, by kind."""
    out = {}
    for what, kind in after:
        passes = after["count", kind] - before.get(("count", kind), 0)
        if what == "sum" and passes > 0:
            out[kind] = (after["sum", kind] - before.get(("sum", kind), 0)) / passes
    return out


def scaled(table, text, transformer, decode):
    table = dict(table)
    table["transformer"] = [[latents, seconds * transformer] for latents, seconds in table["transformer"]]
    table["text"] = text
    table["decode"] *= decode
    return table


def replay(build, path, table, passes, options):
    """Reports of the simulation whose passes take as long as `passes` on average."""
    transformer = decode = 1.0
    for _ in range(4):
        path.write_text(json.dumps(scaled(table, passes["encode_prompt"], transformer, decode)))
        command = [build / "longtake-replay", "--table", path, *options_of(options)]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        reports = json.loads(run.stdout)
        simulated = {kind: statistics.fmean(each["pass_seconds"][kind] for each in reports) for kind in ("denoise", "decode")}
        transformer *= passes["denoise"] / simulated["denoise"]
        decode *= passes["decode"] / simulated["decode"]
    return reports


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
    """Of each figure: the medians of the runs, the median of simulated / real, and the real ones' (largest - least) / median."""
    out = {}
    for name in real[0]:
        measured = [run[name] for run in real]
        middle = statistics.median(measured)
        ratios = [s[name] / r[name] for s, r in zip(simulated, real, strict=True) if r[name]]
        out[name] = {
            "real": middle,
            "simulated": statistics.median(run[name] for run in simulated),
            "ratio": statistics.median(ratios) if ratios else None,
            "ratios": ratios,
            "real_scatter": (max(measured) - min(measured)) / middle if middle else None,
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
    parser.add_argument("--rounds", type=int, default=3, help="of longtake-pass-times")
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)

    table = measure_table(a.build, a.model, a.out / "table.json", a.rounds)
    made = rate_of(table)
    say(f"the machine makes {made:.2f} s of video a second; encoding a latent frame takes {1e3 * table['encode']:.1f} ms")
    server = Server(a.build, a.model, a.out, "calibrate", [*options_of(SERVER), "--metrics-listen", "127.0.0.1:0"])
    result = {}
    try:
        for load in a.load:
            viewers = {"rate": round(load * made / mean_seconds(MIX), 4), "duration": a.duration, "seed": a.seed, **MIX}
            real, simulated = [], []
            for run in range(a.runs):
                before = passes_of(server)
                real.append(figures(server.load(f"load-{load}-{run}", **viewers)))
                passes = means(before, passes_of(server))
                path = a.out / f"table-{load}-{run}.json"
                runs = [figures(report) for report in replay(a.build, path, table, passes, {**viewers, **SERVER})]
                simulated.append({name: statistics.fmean(each[name] for each in runs) for name in runs[0]})
                say(f"passes: {json.dumps(passes)}; simulated: {json.dumps(simulated[-1])}")
            result[str(load)] = {"rate": viewers["rate"], **compare(real, simulated)}
            for name, row in compare(real, simulated).items():
                ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
                scatter = "-" if row["real_scatter"] is None else f"{row['real_scatter']:.2f}"
                both = f"real {row['real']:.3f} simulated {row['simulated']:.3f}"
                say(f"load {load} {name:<22} {both} ratio {ratio} scatter {scatter}")
    finally:
        server.stop()
    print(json.dumps({"seed": a.seed, "machine_video_s_per_s": made, "cpu": cpu_model(), "loads": result}))


if __name__ == "__main__":
    main()
