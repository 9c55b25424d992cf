"""Long videos, and a server that is killed every few seconds: ./scripts/faults.sh killed-servers.

Some servers share a store and a Redis. Videos are created at random ones and watched through random ones, and every few seconds
one server is killed (SIGKILL) and started again. The last line is JSON; the exit status is 1 where a video did not end, has other
bytes than where nothing is disturbed, or made a viewer wait for longer than the lease and three seconds.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import time
import uuid
from pathlib import Path

import longtake

from tests.faults.cluster import Cluster, Places, Setup
from tests.faults.pool import PROMPTS, Request, Undisturbed
from tests.faults.processes import pause, say
from tests.faults.watchers import GrpcViewer

WITHIN = 3.0  # seconds beyond the lease by which a viewer has more


def disturbed(cluster: Cluster, a: argparse.Namespace, wanted: list[Request], rng: random.Random) -> list[GrpcViewer]:
    """The viewers, when all have ended. Videos are asked for evenly over the time of the kills."""
    viewers: list[GrpcViewer] = []
    kills = 0
    began = time.monotonic()
    while kills < a.kills or len(viewers) < len(wanted):
        elapsed = time.monotonic() - began
        if len(viewers) < len(wanted) and elapsed >= len(viewers) * a.every * a.kills / len(wanted):
            request = wanted[len(viewers)]
            try:
                # A request whose answer was lost is repeated, and is one video.
                name = request.create(cluster.client(cluster.any_server(rng)), str(uuid.UUID(int=request.seed)))
                viewers.append(GrpcViewer(name, cluster, random.Random(rng.random())))
                viewers[-1].start()
            except longtake.Error as error:
                say(f"a video cannot be created yet: {error}")
        if kills < a.kills and elapsed >= a.every * (kills + 1):
            server = cluster.any_server(rng)
            server.end(signal.SIGKILL)
            kills += 1
            say(f"{server.name} was killed: {kills} of {a.kills}")
        cluster.tend()
        pause()
    for viewer in viewers:
        viewer.join()
    return viewers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build/release"))
    parser.add_argument("--model", type=Path, default=Path("models/longtake-tiny"))
    parser.add_argument("--out", type=Path, default=Path("out/killed-servers"))
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--videos", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20, help="of each video")
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--every", type=float, default=20, help="seconds between two kills")
    parser.add_argument("--lease", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    shutil.rmtree(a.out, ignore_errors=True)
    a.out.mkdir(parents=True)
    places = Places(a.build, a.model, a.out, a.lease)
    wanted = [Request(PROMPTS[i % len(PROMPTS)], i, a.seconds) for i in range(a.videos)]
    say(f"{a.videos} videos of {a.seconds:.0f} s, undisturbed")
    with Cluster(Setup(servers=1, shared=False), places, "undisturbed") as cluster:
        expected = Undisturbed(cluster.client(cluster.servers[0]), wanted)
    say(f"the same at {a.servers} servers, of which one is killed every {a.every:.0f} s")
    with Cluster(Setup(servers=a.servers), places, "killed") as cluster:
        viewers = disturbed(cluster, a, wanted, random.Random(a.seed))
        taken_over = sum(server.log_text().count("video is taken over") for server in cluster.servers)
    for viewer in viewers:
        if viewer.error is not None:
            say(f"{viewer.video}: {viewer.error}")
    pairs = list(zip(viewers, wanted, strict=True))
    equal = sum(viewer.ends == 1 and viewer.recording == expected[request] for viewer, request in pairs)
    result = {
        "servers": a.servers,
        "kills": a.kills,
        "videos": len(viewers),
        "ended": sum(viewer.ends == 1 for viewer in viewers),
        "bytes_equal": equal,
        "repeated_chunks": sum(viewer.repeated for viewer in viewers),
        "resumed": sum(viewer.resumed for viewer in viewers),
        "taken_over": taken_over,
        "longest_pause_s": round(max(viewer.longest_break for viewer in viewers), 2),
        "lease_s": a.lease,
    }
    print(json.dumps(result))
    right = equal == len(wanted) and result["repeated_chunks"] == 0 and result["longest_pause_s"] <= a.lease + WITHIN
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
