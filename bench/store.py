"""What it costs to store videos: ./scripts/bench.sh store.

    python -m bench.store --build DIR [--rounds N]

Two servers of the bundled model, one with --store and one without, take turns: each makes some offline videos at once, which
keeps it busy all the time, and one live one, whose first chunk is timed. A ratio of 1 means that storing costs nothing.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import time

from bench.live import Server, cpu_model, say

VIDEOS, SECONDS = 4, 20


def made(server) -> float:
    """Seconds of video a second."""
    command = [server.build / "longtake", "generate", "a red ball bounces", "--offline", "--keep", "--quiet"]
    command += ["--seconds", str(SECONDS), "--server", server.address, "--max-wait", "600", "-o", "/dev/null"]
    began = time.monotonic()
    clients = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(VIDEOS)]
    if any(client.wait() != 0 for client in clients):
        raise SystemExit(f"a video failed on the server {server.name}")
    return VIDEOS * SECONDS / (time.monotonic() - began)


def first_chunk(server) -> float:
    command = [server.build / "longtake", "generate", "a red ball", "--keep", "--seconds", "1", "--json"]
    command += ["--server", server.address, "-o", "/dev/null"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout)["first_chunk_seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--rounds", type=int, default=7)
    a = parser.parse_args()
    out = pathlib.Path("build/bench-store")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)

    options = {"memory": [], "stored": ["--store", str(out / "store")]}
    servers = [Server(a.build, "models/longtake-tiny", out, name, more) for name, more in options.items()]
    rates = {server.name: [] for server in servers}
    firsts = {server.name: [] for server in servers}
    for turn in range(a.rounds):
        for server in servers:
            rates[server.name].append(made(server))
            firsts[server.name].extend(first_chunk(server) for _ in range(3))
        say(f"round {turn + 1} of {a.rounds}: " + ", ".join(f"{n} {r[-1]:.2f} s of video/s" for n, r in rates.items()))
    for server in servers:
        server.stop()
    stored = sum(path.stat().st_size for path in (out / "store").rglob("*") if path.is_file())
    shutil.rmtree(out / "store")
    rate = {name: statistics.median(each) for name, each in rates.items()}
    first = {name: statistics.median(each) for name, each in firsts.items()}
    print(
        json.dumps(
            {
                "cpu": cpu_model(),
                "video_s_per_s": {name: round(each, 2) for name, each in rate.items()},
                "stored_over_memory": round(rate["stored"] / rate["memory"], 3),
                "first_chunk_s": {name: round(each, 3) for name, each in first.items()},
                "stored_mib": round(stored / 2**20, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
