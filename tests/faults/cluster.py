"""Servers that a fault is put into: their store, their Redis, and who starts them again."""

import contextlib
import dataclasses
import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import longtake

from tests.faults.processes import Redis, Server, Tls, pause

ROOT = Path(__file__).resolve().parents[2]
# Group ids of servers, where root runs the suite: a file's group then says which server has written it.
FIRST_GROUP = 61_000
RESTART_SECONDS = 0.5
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a fault needs of its servers."""

    servers: int = 3
    shared: bool = True  # by a registry, in a Redis; else one server has the store for itself
    tls: bool = False
    small_disk: bool = False  # the store is a file system of its own, where root may mount one
    fake_clock: bool = False  # Cluster.set_clock moves the servers' clocks
    options: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Places:
    build: Path
    model: Path
    out: Path
    lease: float = 2.0


class Cluster:
    """Servers that work. A server that ends is started again, as a supervisor would do it, once `tend` is called."""

    DISK_BYTES = 64 << 20

    def __init__(self, setup: Setup, places: Places, name: str) -> None:
        self.setup, self.places = setup, places
        self.folder = places.out / name
        self.folder.mkdir(parents=True)
        self.store = self.folder / "store"
        self.accepted: list[str] = []  # names of the current repetition's videos
        self.deaths: list[str] = []  # of servers that no fault had ended
        self._victims: set[str] = set()
        self._closing = contextlib.ExitStack()
        self._clients: dict[str, longtake.Client] = {}
        self._lock = threading.Lock()
        self._tls = Tls.make(self.folder) if setup.tls else None
        self._clocks: list[Path] = []
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        self.mounted = False  # the store is a file system of its own
        if self.setup.small_disk:
            self.store.mkdir()
            size = f"size={self.DISK_BYTES},nr_inodes=20000,mode=700"
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(self.store)], capture_output=True)
            self.mounted = done.returncode == 0
            if self.mounted:
                self._closing.callback(subprocess.run, ["umount", "--lazy", str(self.store)], check=False)
        # No request is refused because the machine is busy, and no shutdown waits for a balancer, or long.
        values = {"max-sessions": "8", "max-waiting": "64", "max-wait-seconds": "3600"}
        values |= {"shutdown-grace-seconds": "0", "shutdown-seconds": "4"}
        values |= {"model": str(self.places.model), "store": str(self.store)} | dict(self.setup.options)
        options = [word for name, value in values.items() for word in (f"--{name}", value)]
        self.redis: Redis | None = None
        if self.setup.shared:
            self.redis = Redis()
            self._closing.callback(self.redis.stop)
            self.redis.await_ready()
            options += ["--registry", f"redis://127.0.0.1:{self.redis.port}", "--lease-seconds", str(self.places.lease)]
        if self._tls is not None:
            options += self._tls.options()
            options += ["--peer-ca", str(self._tls.certificate)] if self.setup.shared else []
        self.servers = []
        for i in range(self.setup.servers):
            name = f"server-{i}"
            self.servers.append(
                Server(
                    name,
                    self.places.build / "longtake-server",
                    options,
                    self.folder / f"{name}.log",
                    FIRST_GROUP + i if os.geteuid() == 0 else None,
                    self._environment(name),
                )
            )
        for server in self.servers:
            server.start()
            self._closing.callback(lambda server=server: server.runs() and server.end())
        for server in self.servers:
            server.await_ready()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._closing.close()
        shutil.rmtree(self.store, ignore_errors=True)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def client(self, server: Server) -> longtake.Client:
        """Its streams end where their connection does: who watches decides where to go on."""
        with self._lock:
            if server.name not in self._clients:
                ca = None if self._tls is None else self._tls.certificate
                self._clients[server.name] = longtake.Client(
                    f"127.0.0.1:{server.grpc_port}", ca=ca, timeout=3, reconnect_seconds=0
                )
            return self._clients[server.name]

    def any_server(self, rng: random.Random) -> Server:
        return rng.choice(self.servers)

    def victim(self, rng: random.Random) -> Server:
        """One that no fault of this repetition has had yet, if there is one."""
        left = [server for server in self.servers if server.name not in self._victims]
        chosen = rng.choice(left or self.servers)
        self._victims.add(chosen.name)
        return chosen

    def tend(self) -> None:
        """Starts servers that have ended, each twice a second at most."""
        for server in self.servers:
            if server.runs() or time.monotonic() - server.started_at < RESTART_SECONDS:
                continue
            if not server.may_end:
                self.deaths.append(f"{server.name} ended with status {server.process and server.process.returncode}")
            server.start()

    def settle(self) -> None:
        """Behind a repetition: all servers work, and none has an excuse to end any more."""
        for server in self.servers:
            while not server.ready():
                self.tend()
                pause()
            server.may_end = False
        self._victims.clear()

    # ---- Clocks

    def _environment(self, name: str) -> dict[str, str] | None:
        """For libfaketime: the wall clock is as a file says, and no other clock is touched."""
        if not self.setup.fake_clock:
            return None
        clock = self.folder / f"{name}.clock"
        clock.write_text("+0")
        self._clocks.append(clock)
        names = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1"}
        untouched = ("DONT_FAKE_MONOTONIC", "FAKETIME_DONT_FAKE_MONOTONIC", "NO_FAKE_STAT", "FAKETIME_DISABLE_SHM")
        return os.environ | names | dict.fromkeys(untouched, "1")

    def clocks(self) -> list[Path]:
        """One of each server. Redis has none: its allocator asks for the time before libfaketime is ready."""
        return self._clocks

    @staticmethod
    def set_clock(clock: Path, seconds: float) -> None:
        """So far before or behind the real one."""
        part = clock.with_suffix(".part")
        part.write_text(f"{seconds:+.0f}")
        part.replace(clock)
