"""Viewers over HTTP: ./scripts/bench.sh http.

    python -m bench.http --build DIR [--viewers N] [--videos N] [--seconds S]

A server of the bundled model makes some offline videos, and many viewers read them as growing files meanwhile, each over a
connection of its own. Says what the server took of memory, and whether each viewer got its whole video. Viewers are coroutines of
one process on the same machine, so that they read as fast as it lets them.
"""

import argparse
import asyncio
import json
import pathlib
import re
import resource
import time
import urllib.request

from bench.live import Server, cpu_model, say

# A body in chunks ends with an empty one.
END = b"0\r\n\r\n"


def post(url, body):
    with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=60) as answer:
        return json.load(answer)


def resident(server) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{server.process.pid}/status").read_text())[1]) << 10


async def view(port, video, seen):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/videos/{video}/stream.mp4 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    size, tail = 0, b""
    while part := await reader.read(1 << 16):
        size += len(part)
        tail = (tail + part)[-len(END) :]
    seen.append((size, tail == END))
    writer.close()


async def view_all(port, videos, viewers):
    seen = []
    await asyncio.gather(*(view(port, videos[i % len(videos)], seen) for i in range(viewers)))
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--model", default="models/longtake-tiny")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/http"))
    parser.add_argument("--viewers", type=int, default=2000)
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10, help="of each video")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a viewer is a descriptor, here and in the server

    options = ["--http-listen", "127.0.0.1:0", "--max-sessions", "8"]
    options += ["--max-waiting", str(a.videos), "--max-wait-seconds", "3600"]
    server = Server(a.build, a.model, a.out, "http", options)
    try:
        port = server.http_port
        body = {"prompt": "a red ball bounces", "seconds": a.seconds, "offline": True}
        before = resident(server)
        videos = [post(f"http://127.0.0.1:{port}/v1/videos", {**body, "seed": seed})["id"] for seed in range(a.videos)]
        say(f"{a.viewers} viewers of {a.videos} videos of {a.seconds:.0f} s")
        began = time.monotonic()
        seen = asyncio.run(view_all(port, videos, a.viewers))
        seconds = time.monotonic() - began
        result = {
            "cpu": cpu_model(),
            "viewers": len(seen),
            "whole": sum(whole for _, whole in seen),
            "mib_sent": sum(size for size, _ in seen) / (1 << 20),
            "seconds": seconds,
            "resident_before_mib": before / (1 << 20),
            "resident_after_mib": resident(server) / (1 << 20),
        }
    finally:
        server.stop()
    print(json.dumps(result))
    if result["whole"] != a.viewers:
        raise SystemExit("not every viewer got its whole video")


if __name__ == "__main__":
    main()
