"""The real server under simulated viewers: what ./scripts/bench.sh live measures.

  python -m bench.live --build DIR [--quick] [--out DIR] [--docs DIR]

Two servers of one model run side by side, one with batches, one with a pass a batch; they take turns, so that the machine
is one and the same for both. The last line is JSON; everything else is on stderr, and the load generator's files and the
plots are in --out. At most 25 minutes; --quick shows in about two that everything works, with figures that mean little.
"""

import argparse
import json
import math
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

LIMIT_SECONDS = 25 * 60
# The 80 % run and its quotes: many short videos, so that several hundred requests fit into two minutes.
SHORT = {"shortest": 0.6, "longest": 4.0}
WATCHED = {"shortest": 15.0, "longest": 45.0}
OVERLOAD = {"shortest": 2.0, "longest": 10.0}


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def mean_seconds(mix):
    return (mix["longest"] - mix["shortest"]) / math.log(mix["longest"] / mix["shortest"])


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def start_server(build, model, options, stderr):
    """Starts a longtake-server on free ports of 127.0.0.1. Returns its process and the line that names them."""
    command = [build / "longtake-server", "--model", model, "--listen", "127.0.0.1:0"]
    command += ["--shutdown-grace-seconds", "0", "--shutdown-seconds", "3", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    return process, process.stdout.readline()


class Server:
    """A longtake-server on a free port of 127.0.0.1, until stop()."""

    def __init__(self, build, model, out, name, options):
        self.name = name
        self.build = build
        self.out = out
        with open(out / f"server-{name}.log", "w") as log:
            self.process, line = start_server(build, model, options, log)
        ports = re.match(r"port=(\d+) metrics_port=(\d+) http_port=(\d+)", line)
        if ports is None:
            raise SystemExit(f"the server did not start; see {out}/server-{name}.log")
        self.address = f"127.0.0.1:{ports[1]}"
        self.metrics_url = f"http://127.0.0.1:{ports[2]}/metrics"  # where --metrics-listen was given
        self.http_port = int(ports[3])  # 0 without --http-listen
        subprocess.run(
            [build / "longtake", "models", "--server", self.address, "--wait", "120"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        # The path is warm, and the server has seen what its passes take.
        self.load("warm", viewers=2, duration=4, offline=0.5, **SHORT)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def load(self, title, **options):
        """One run of the load generator; its report."""
        path = self.out / f"{title}-{self.name}.json"
        arguments = [self.build / "longtake", "loadtest", "--server", self.address, "--json", path, "--quiet"]
        for name, value in options.items():
            arguments += [f"--{name}", str(value)]
        before = self.cpu_seconds()
        with open(self.out / f"{title}-{self.name}.txt", "w") as table:
            subprocess.run(arguments, check=True, stdout=table, timeout=options["duration"] + 300)
        report = json.loads(path.read_text())
        report["server_cpu_s"] = self.cpu_seconds() - before
        if report["failed"] > 0:
            raise SystemExit(f"{title}: {report['failed']} viewers failed: {report.get('error')}")
        say(
            f"{title:<12}{self.name:<8} {report['viewers']:4} viewers, {report['refused']} refused, first chunk "
            f"{report['first_chunk_s']['p50']:.2f}/{report['first_chunk_s']['p99']:.2f} s, continuity "
            f"{report['continuity']:.4f} ({report['stalls']} stalls), {report['video_s_per_s']:.2f} s of video/s"
        )
        return report

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)


class Firsts:
    """First chunks, promises and stalls of several runs' viewers."""

    def __init__(self, reports):
        each = [viewer for report in reports for viewer in report["each"]]
        started = [viewer for viewer in each if viewer["chunks"] > 0]
        self.seconds = sorted(viewer["first_chunk"] for viewer in started)
        self.quoted = [(viewer["quoted"], viewer["first_chunk"]) for viewer in started if "quoted" in viewer]
        self.stalled = sum(viewer["stalls"] > 0 for viewer in started)
        # Who was promised a chunk, waited for longer, and never saw one.
        self.broken = sum(
            "quoted" in viewer and viewer["chunks"] == 0 and viewer["ended"] - viewer["asked"] > viewer["quoted"]
            for viewer in each
        )

    def quantile(self, share):
        return self.seconds[min(len(self.seconds) - 1, math.ceil(share * len(self.seconds)) - 1)]

    def kept(self):
        return sum(actual <= promised for promised, actual in self.quoted) / (len(self.quoted) + self.broken)

    def over_actual(self):
        return statistics.median(promised / actual for promised, actual in self.quoted)

    def continuity(self):
        return 1 - self.stalled / len(self.seconds)


def measure_passes(build, model, out, quick):
    arguments = [build / "longtake-bench-passes", "--model", model]
    arguments += ["--rounds", "1", "--seconds", "0.2"] if quick else ["--rounds", "5", "--seconds", "1"]
    run = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(run.stdout)
    (out / "passes.json").write_text(run.stdout)
    rates = ", ".join(f"{n}: {rate:.0f}" for n, rate in result["passes_per_s"].items())
    say(f"passes a second by sessions in a batch: {rates}; one at a time {result['one_at_a_time']:.0f}")
    return result


def holds(report, viewers):
    """So many viewers really watched, and 99 % of them without a stall."""
    return report["continuity"] >= 0.99 and report["refused"] == report["left"] == 0 and report["watching_mean"] >= 0.9 * viewers


def find_viewers(server, guess, quick, began):
    """The most simultaneous viewers at 99 % continuity: searched with short runs, confirmed with a long one."""
    short, long, warm = (6, 10, 3) if quick else (40, 300, 10)
    tried = {}

    def short_run(n):
        if n not in tried:
            report = server.load(f"search-{n}", viewers=n, duration=short, warm=warm, seed=n, **WATCHED)
            tried[n] = holds(report, n)
        return tried[n]

    n = max(1, guess)
    while short_run(n) and not quick:
        n += 1
    while n > 1 and not short_run(n):
        n -= 1
    while True:
        report = server.load(f"viewers-{n}", viewers=n, duration=long, warm=warm, seed=1000 + n, **WATCHED)
        if holds(report, n):
            return n, report
        if n == 1 or time.monotonic() - began + long > LIMIT_SECONDS - 90:
            return 0, report
        n -= 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--model", default="models/longtake-tiny")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/live"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--docs", type=pathlib.Path, help="folder that the plots of docs/serving.md are copied to")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    load_average = os.getloadavg()
    say(f"{cpu_model()}, {os.cpu_count()} cores, load average {load_average[0]:.2f} {load_average[1]:.2f}")
    if load_average[0] > 0.3:
        say("the machine is not quiet: the figures are those of a shared one")

    passes = measure_passes(a.build, a.model, a.out, a.quick)
    options = ["--max-sessions", "32", "--max-waiting", "8"]
    servers = []
    try:
        servers.append(Server(a.build, a.model, a.out, "batched", options))
        servers.append(Server(a.build, a.model, a.out, "single", [*options, "--max-batch-passes", "1"]))
        batched, single = servers
        line = measure(a, began, batched, single)
    finally:
        for server in servers:
            server.stop()
    line["passes_per_s"] = {n: round(rate, 1) for n, rate in passes["passes_per_s"].items()}
    line["passes_per_s_one_at_a_time"] = round(passes["one_at_a_time"], 1)
    line["load_average_before"] = load_average[0]
    line["cpu"] = cpu_model()
    line["bench_s"] = round(time.monotonic() - began)
    plot(a, line["viewers_at_99"])
    print(json.dumps(line))


def measure(a, began, batched, single):
    rounds, seconds, warm = (1, 5, 1) if a.quick else (2, 30, 5)
    rate = {batched: [], single: []}
    for _ in range(rounds):
        for server in (batched, single):
            report = server.load("saturated", viewers=16, offline=1, shortest=20, longest=20, duration=seconds, warm=warm)
            rate[server].append(report["video_s_per_s"])
    saturated = {server: sum(values) / len(values) for server, values in rate.items()}

    # 80 % of what both can do, so that neither is beyond its saturation; the same viewers for both.
    arrivals = 0.8 * min(saturated.values()) / mean_seconds(SHORT)
    # In turns: a machine that is a tenth slower for a minute moves a median by more than batches do.
    duration = 10 if a.quick else math.ceil(170 / arrivals)
    at_80 = {batched: [], single: []}
    for turn in range(rounds):
        for server in (batched, single):
            at_80[server].append(
                server.load(f"at-80-{turn}", rate=round(arrivals, 4), duration=duration, seed=80 + turn, **SHORT)
            )
    quoted, quoted_single = (Firsts(at_80[server]) for server in (batched, single))
    viewers, watched = find_viewers(batched, math.floor(saturated[batched]), a.quick, began)
    overload = batched.load(
        "overload",
        rate=round(10 * saturated[batched] / mean_seconds(OVERLOAD), 4),
        duration=6 if a.quick else 60,
        **OVERLOAD,
    )
    cpu = watched["client_cpu_s"] + watched["server_cpu_s"]
    return {
        "viewers_at_99": viewers,
        "continuity": watched["continuity"],
        "video_s_per_s": round(saturated[batched], 3),
        "video_s_per_s_batch1": round(saturated[single], 3),
        "passes_per_s": {},
        "first_chunk_p50_s": round(quoted.quantile(0.5), 4),
        "first_chunk_p99_s": round(quoted.quantile(0.99), 4),
        "quotes": len(quoted.quoted) + quoted.broken,
        "quote_kept": round(quoted.kept(), 4),
        "quote_over_actual_p50": round(quoted.over_actual(), 3),
        "refuse_p99_ms": round(overload["refuse_ms"]["p99"], 2),
        "first_chunk_p50_s_batch1": round(quoted_single.quantile(0.5), 4),
        "continuity_at_80": round(quoted.continuity(), 4),
        "continuity_at_80_batch1": round(quoted_single.continuity(), 4),
        "overload_continuity": overload["continuity"],
        "overload_admitted": overload["admitted"],
        "overload_refused": overload["refused"],
        "client_cpu_share": round(watched["client_cpu_s"] / cpu, 4) if cpu > 0 else 0,
    }


def plot(a, viewers):
    """Where matplotlib is there."""
    out = a.out
    try:
        from bench import charts
    except ImportError as error:
        say(f"no plots: {error}")
        return
    charts.passes(json.loads((out / "passes.json").read_text()), out / "passes.png")
    for path in sorted(out.glob("*-batched.json")):
        charts.loadtest(json.loads(path.read_text()), path.with_suffix(".png"))
    if a.docs is not None:
        pictures = {"passes": "passes", "viewers": f"viewers-{viewers}-batched", "overload": "overload-batched"}
        for name, source in pictures.items():
            if (out / f"{source}.png").exists():
                shutil.copyfile(out / f"{source}.png", a.docs / f"serving-{name}.png")


if __name__ == "__main__":
    main()
