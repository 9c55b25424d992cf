"""Servers that are killed while they make videos: ./scripts/faults.sh.

    python -m tests.faults.killed_servers --build DIR [--servers N] [--videos N] [--seconds S] [--every S] [--lease S]

Some servers share a store and a Redis. Videos are created at random ones and watched through random ones, and every few seconds
one server is killed (SIGKILL) and started again. Each watcher that loses its connection comes back to another server, behind the
last block that it has whole. First each video is made by a server that nothing disturbs. The last line is JSON; the exit status is
1 where a video did not end, has other bytes, or made a watcher wait for longer than the lease and three seconds.
"""

import argparse
import http.client
import json
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

ATTEMPTS_LIMIT = 120.0  # seconds without a chunk after which a watcher gives up
PROMPTS = ["a red ball bounces", "a blue boat sails left", "a green star", "a yellow sun rises", "a white cloud"]


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(port, method, path, body=None, timeout=10.0):
    """Status and JSON of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


class Redis:
    def __init__(self):
        self.port = free_port()
        # Debian's redis-tools has the server under another name; what it is called says what it does.
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, executable=shutil.which("redis-check-rdb"), stdout=subprocess.DEVNULL)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Server:
    """A longtake-server on the same ports whenever it is started."""

    def __init__(self, name, a, out, options):
        self.name = name
        self.grpc_port, self.port = free_port(), free_port()
        self.log = open(out / f"{name}.log", "a")
        self.command = [a.build / "longtake-server", "--model", a.model, "--listen", f"127.0.0.1:{self.grpc_port}"]
        self.command += ["--http-listen", f"127.0.0.1:{self.port}", "--max-sessions", "8", "--max-waiting", "64"]
        self.command += ["--shutdown-grace-seconds", "0", "--max-wait-seconds", "3600", *options]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)

    def ready(self):
        try:
            return ask(self.port, "GET", "/v1/models", timeout=2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def await_ready(self):
        while not self.ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} has ended: see its log")
            time.sleep(0.05)

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()


class Watcher(threading.Thread):
    """Watches one video to its end, whatever happens to servers. `chunks`: bytes by block and index in it."""

    def __init__(self, video, ports, choice):
        super().__init__(daemon=True)
        self.video, self.ports, self.choice = video, ports, choice
        self.init, self.chunks, self.whole = b"", {}, 0  # blocks that are whole
        self.ended = self.error = None
        self.different = 0  # chunks that came again with other bytes
        self.breaks, self.longest_pause = 0, 0.0
        self.lost_at = None  # since when there is no stream

    def run(self):
        gave_up = time.monotonic() + ATTEMPTS_LIMIT
        while self.ended is None and self.error is None:
            before = len(self.chunks)
            try:
                self.watch(self.choice.choice(self.ports))
            except (OSError, http.client.HTTPException, ValueError):
                pass
            if self.ended is not None or self.error is not None:
                break
            if self.lost_at is None:
                self.lost_at = time.monotonic()
                self.breaks += 1
            if len(self.chunks) > before:
                gave_up = time.monotonic() + ATTEMPTS_LIMIT
            if time.monotonic() > gave_up:
                self.error = "no chunk for too long"
            time.sleep(0.1)

    def watch(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", f"/v1/videos/{self.video}/watch?from_block={self.whole}")
            answer = connection.getresponse()
            if answer.status != 200:
                text = answer.read().decode()
                if answer.status not in (502, 503):
                    self.error = f"{answer.status} {text.strip()}"
                return
            while line := answer.readline():
                self.take(json.loads(line), answer)
        finally:
            connection.close()

    def take(self, event, answer):
        size = event.get("bytes", 0)
        data = b""
        while len(data) < size:
            part = answer.read(size - len(data))
            if not part:
                raise ValueError("cut")
            data += part
        kind = event["event"]
        if kind == "init_segment":
            self.init = data
        elif kind == "chunk":
            key = (event["block"], event["index"])
            self.different += self.chunks.get(key, data) != data
            self.chunks[key] = data
            if event["last_in_block"]:
                self.whole = max(self.whole, event["block"] + 1)
            if self.lost_at is not None:
                self.longest_pause = max(self.longest_pause, time.monotonic() - self.lost_at)
                self.lost_at = None
        elif kind == "finished":
            self.ended = True
        elif kind == "error" and event["code"] not in ("OTHER_SERVER", "SHUTTING_DOWN"):
            self.error = f"{event['code']}: {event['message']}"

    def bytes(self):
        return self.init + b"".join(self.chunks[key] for key in sorted(self.chunks))


def create(port, video):
    status, answer = ask(port, "POST", "/v1/videos", video, timeout=60)
    if status != 200:
        raise ValueError(f"{status} {answer}")
    return answer["id"]


def undisturbed(a, out, videos):
    """The bytes of each video."""
    server = Server("alone", a, out, [])
    server.start()
    try:
        server.await_ready()
        watchers = []
        for video in videos:
            watchers.append(Watcher(create(server.port, {**video, "offline": True}), [server.port], random.Random(0)))
            watchers[-1].start()
        for watcher in watchers:
            watcher.join()
            if not watcher.ended:
                raise RuntimeError(f"alone: {watcher.error}")
        return [watcher.bytes() for watcher in watchers]
    finally:
        server.kill(signal.SIGTERM)


def disturbed(a, out, videos, choice):
    redis = Redis()
    options = ["--store", str(out / "store"), "--registry", f"redis://127.0.0.1:{redis.port}", "--lease-seconds", str(a.lease)]
    servers = [Server(f"server-{i}", a, out, options) for i in range(a.servers)]
    ports = [server.port for server in servers]
    watchers, kills = [], 0
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.await_ready()
        began = time.monotonic()
        length = a.every * a.kills
        next_kill = a.every
        while (elapsed := time.monotonic() - began) < length or len(watchers) < len(videos):
            if len(watchers) < len(videos) and elapsed >= len(watchers) * length / len(videos):
                video = videos[len(watchers)]
                try:
                    # A request whose answer was lost is repeated, and is one video.
                    name = create(choice.choice(ports), video)
                    watchers.append(Watcher(name, ports, random.Random(choice.random())))
                    watchers[-1].start()
                except (OSError, http.client.HTTPException, ValueError) as error:
                    say(f"a video cannot be created yet: {error}")
            if elapsed >= next_kill and kills < a.kills:
                server = choice.choice(servers)
                server.kill()
                server.start()
                kills += 1
                next_kill += a.every
                say(f"{server.name} was killed: {kills} of {a.kills}")
            time.sleep(0.05)
        for watcher in watchers:
            watcher.join()
        return watchers, kills
    finally:
        for server in servers:
            if server.process is not None and server.process.poll() is None:
                server.kill()
        redis.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--model", default="models/longtake-tiny")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/killed-servers"))
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
    choice = random.Random(a.seed)
    videos = [
        {"prompt": PROMPTS[i % len(PROMPTS)], "seed": i, "seconds": a.seconds, "request_id": f"video-{i}"} for i in range(a.videos)
    ]
    say(f"{a.videos} videos of {a.seconds:.0f} s, undisturbed")
    expected = undisturbed(a, a.out, videos)
    say(f"the same at {a.servers} servers, of which one is killed every {a.every:.0f} s")
    watchers, kills = disturbed(a, a.out, videos, choice)
    for watcher in watchers:
        if watcher.error is not None:
            say(f"videos/{watcher.video}: {watcher.error}")
    equal = sum(watcher.ended is True and watcher.bytes() == bytes_ for watcher, bytes_ in zip(watchers, expected, strict=True))
    result = {
        "servers": a.servers,
        "kills": kills,
        "videos": len(watchers),
        "ended": sum(watcher.ended is True for watcher in watchers),
        "bytes_equal": equal,
        "different_chunks": sum(watcher.different for watcher in watchers),
        "lost_connections": sum(watcher.breaks for watcher in watchers),
        "taken_over": sum((a.out / f"server-{i}.log").read_text().count("video is taken over") for i in range(a.servers)),
        "longest_pause_s": round(max(watcher.longest_pause for watcher in watchers), 2),
        "lease_s": a.lease,
    }
    print(json.dumps(result))
    right = equal == len(videos) and result["different_chunks"] == 0 and result["longest_pause_s"] <= a.lease + 3
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
