"""A Redis that is away, clocks that jump, and what a machine runs out of."""

import contextlib
import random
import signal
import threading
import uuid

import longtake

from tests.faults.cluster import Cluster, Setup
from tests.faults.connections import Connections
from tests.faults.fault import Fault
from tests.faults.pool import Request
from tests.faults.processes import Server


class RedisGone(Fault):
    name, what = "redis-gone", "Redis stands still, or is killed and comes back with nothing"
    moves_videos = True  # a lease may end meanwhile

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        assert cluster.redis is not None
        self._killed = rng.random() < 0.5
        if self._killed:
            cluster.redis.stop()
        else:
            cluster.redis.send(signal.SIGSTOP)

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        assert cluster.redis is not None
        if self._killed:
            cluster.redis.start()
        else:
            cluster.redis.send(signal.SIGCONT)
        cluster.redis.await_ready()


class ClockJump(Fault):
    name, what = (
        "clock-jump",
        "a server's wall clock jumps by up to a day; or all leases end at once, as where Redis' clock jumps",
    )
    setup = Setup(fake_clock=True)
    moves_videos = True
    lasts = (1.0, 2.5)  # libfaketime looks once a second

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        assert cluster.redis is not None
        self._clock = rng.choice([*cluster.clocks(), None])
        if self._clock is None:
            cluster.redis.end_leases()
        else:
            cluster.set_clock(self._clock, rng.choice((-1, 1)) * rng.choice((3, 60, 3600, 86_400)))

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        if self._clock is not None:
            cluster.set_clock(self._clock, 0)


class Limit(Fault):
    """One server's limit of a resource is lowered to little more than it has, and then it is asked for more."""

    def lower(self, server: Server, name: str, soft: int) -> None:
        self._server, self._name, self._pid = server, name, server.pid
        server.limit(name, soft)

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        self._connections.close()
        if self._server.runs() and self._server.pid == self._pid:
            self._server.limit(self._name, None)

    def ask_for_more(self, server: Server, rng: random.Random) -> None:
        self._connections = Connections()
        for port in (server.grpc_port, server.port):
            self._connections.open(port, 50, b"")


class Descriptors(Limit):
    name, what = "file-descriptors", "a server has no file descriptor left, and connections come"
    durable = False

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        server = cluster.victim(rng)
        self.lower(server, "nofile", server.open_files() + rng.choice((0, 1, 3, 10)))
        self.ask_for_more(server, rng)


class Memory(Limit):
    name, what = "memory", "a server gets no more memory, and videos are asked for"
    durable = False
    moves_videos = True
    failures = ("ENCODER_FAILED",)  # x264 needs memory for each block

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        server = cluster.victim(rng)
        server.may_end = True
        self.lower(server, "data", server.data_bytes() + rng.choice((0, 1 << 16, 1 << 20, 8 << 20)))
        self.ask_for_more(server, rng)
        client = cluster.client(server)
        for seed in range(8):
            threading.Thread(target=self._create, args=(client, seed), daemon=True).start()

    @staticmethod
    def _create(client: longtake.Client, seed: int) -> None:
        with contextlib.suppress(longtake.Error):
            Request("a green star", seed, 1.0).create(client, uuid.uuid4().hex)


class Overload(Fault):
    name, what = "overload", "ten times as many requests as three servers hold, at once"
    HOLDS = 4  # live videos of a server: on the device, and waiting
    setup = Setup(options=(("max-sessions", "2"), ("live-places", "2"), ("max-waiting", "2")))
    lengths = (1.0,)

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._threads: list[threading.Thread] = []

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        for seed in range(10 * self.HOLDS * len(cluster.servers)):
            client = cluster.client(cluster.any_server(rng))
            self._threads.append(threading.Thread(target=self._create, args=(client, seed), daemon=True))
        for thread in self._threads:
            thread.start()

    def _create(self, client: longtake.Client, seed: int) -> None:
        try:
            Request("a white cloud", seed, 1.0).create(client, uuid.uuid4().hex)
        except longtake.Error as error:
            told = error.reason in ("QUEUE_FULL", "WAIT_TOO_LONG") and error.retry_after is not None
            if not told and error.reason:
                self._problems.append(f"a request too many was answered with {error}")

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        for thread in self._threads:
            thread.join()

    def problems(self) -> list[str]:
        return self._problems
