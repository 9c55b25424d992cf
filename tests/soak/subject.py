"""A server with everything that it can be given, and what stands beside it."""

import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import secrets
import shutil
import signal
import time
from pathlib import Path

from tests.faults.processes import LONGEST, Redis, Server, Tls
from tests.soak import sample
from tests.soak.collector import Collector

TENANTS = ("acme", "other", "limited", "operator")
# So small that both are full within the first cycles: what is kept is the same from then on.
STORE_MIB, KEEP_MIB = 1, 1
LOG_BYTES = 8 << 20
# Of malloc. A thread's cache keeps up to 236 KiB of small blocks, which count as in use: with 40 threads it fills for longer than
# a soak lasts, and looks like a leak. One arena, and a mapping of its own for each large block, leave less fragmentation.
TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=131072"
LOOK_SECONDS = 0.2  # between two looks at whether a server has come to rest
FORBIDDEN = "forbidden"  # a word that the policy refuses

_QUOTAS = {
    "*": {"concurrent_videos": 100, "device_seconds_a_day": 1e9, "queue_share": 1, "calls_a_second": 1e6, "watches": 1000},
    "limited": {"concurrent_videos": 0},
}
_RULES = {"rules": [{"decision": "refuse", "words": [FORBIDDEN], "category": "words", "message": "not this word"}]}


@dataclasses.dataclass(frozen=True)
class Places:
    build: Path
    model: Path
    out: Path


class Subject:
    """`leak`: bytes a second that the server is made to lose; 0: none."""

    def __init__(self, name: str, places: Places, leak: int = 0) -> None:
        self.name = name
        self.folder = places.out / name
        self.folder.mkdir(parents=True)
        self.tokens = {tenant: secrets.token_hex(16) for tenant in TENANTS}
        self._closing = contextlib.ExitStack()
        self._files = self._write_files()
        self.probe = self.folder / "probe"
        try:
            self._build(places, leak)
        except BaseException:
            self.close()
            raise

    def _write_files(self) -> dict[str, Path]:
        self.tls = Tls.make(self.folder)
        lines = (f"{tenant} soak {hashlib.sha256(token.encode()).hexdigest()}\n" for tenant, token in self.tokens.items())
        texts = {
            "tokens": "".join(lines),
            "link-keys": secrets.token_hex(32) + "\n",
            "quotas": json.dumps(_QUOTAS),
            "policy-rules": json.dumps(_RULES),
        }
        files = {name: self.folder / name for name in texts}
        for name, text in texts.items():
            files[name].write_text(text)
        return files

    def _build(self, places: Places, leak: int) -> None:
        self.redis = Redis()
        self._closing.callback(self.redis.stop)
        self.redis.await_ready()
        self.collector = Collector()
        self._closing.callback(self.collector.close)
        values = {name: str(path) for name, path in self._files.items()}
        values |= {"model": str(places.model), "store": str(self.folder / "store"), "store-mib": str(STORE_MIB)}
        values |= {"keep-mib": str(KEEP_MIB), "registry": f"redis://127.0.0.1:{self.redis.port}"}
        values |= {"peer-ca": str(self.tls.certificate), "operator-tenant": "operator"}
        values |= {"otlp-endpoint": self.collector.address, "log-calls": "info"}
        # No request is refused because the machine is busy; a viewer that does not read is given up within a cycle.
        values |= {"max-waiting": "64", "max-wait-seconds": "3600", "max-unread-seconds": "5"}
        # One thread waits for no other: with two the engine is many times slower where other programs have the cores.
        values |= {"threads": "1"}
        values |= {"shutdown-grace-seconds": "0", "shutdown-seconds": "4"}
        options = self.tls.options() + [word for name, value in values.items() for word in (f"--{name}", value)]
        loaded = [str((places.build / "longtake-soak-probe.so").resolve())]
        environment = os.environ | {"LONGTAKE_SOAK_PROBE": str(self.probe)}
        if leak:
            loaded.append(str((places.build / "longtake-soak-leak.so").resolve()))
            environment["LONGTAKE_SOAK_LEAK"] = str(leak)
        environment["GLIBC_TUNABLES"] = TUNABLES
        environment["LD_PRELOAD"] = " ".join(loaded)
        program = places.build / "longtake-server"
        self.server = Server(self.name, program, options, self.folder / "log", environment=environment)
        self.server.start()
        self._closing.callback(self._stop)
        self.server.await_ready()

    def _stop(self) -> None:
        if self.server.runs():
            self.server.end(signal.SIGTERM)

    def close(self) -> None:
        self._closing.close()
        shutil.rmtree(self.folder / "store", ignore_errors=True)

    def __enter__(self) -> "Subject":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def replaced(self) -> list[Path]:
        """The files of `replace_files` that the server's log names when it has read them again."""
        return list(self._files.values())

    def replace_files(self) -> None:
        """Each file by a new one with the same text, as those do who renew them."""
        for path in (*self._files.values(), self.tls.certificate, self.tls.key):
            part = path.with_suffix(".part")
            shutil.copyfile(path, part)
            part.replace(path)

    def status(self) -> dict:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.metrics_port, timeout=LONGEST)
        with contextlib.closing(connection):
            connection.request("GET", "/status", headers={"Authorization": f"Bearer {self.tokens['operator']}"})
            return json.loads(connection.getresponse().read())

    def await_idle(self) -> None:
        """Until nothing is made, waits or is open, and the store is within its limit again: retention has done its work."""
        end = time.monotonic() + LONGEST
        while not self._idle():
            if not self.server.runs():
                raise RuntimeError(f"{self.name} has ended: {self.server.log_text()[-2000:]}")
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name} does not come to rest: {self.status()}, {self._connections()} connections")
            time.sleep(LOOK_SECONDS)
        # A log that nobody reads any more would fill the disk.
        if self.server.log.stat().st_size > LOG_BYTES:
            os.truncate(self.server.log, 0)

    def _idle(self) -> bool:
        # In this order: asking for the status is a connection, too.
        if not self.server.runs() or self._connections():
            return False
        status = self.status()
        return not status["videos"] and status["chunk_bytes"] <= STORE_MIB << 20

    def _connections(self) -> int:
        """The server's ends of those that are open."""
        ports = {self.server.grpc_port, self.server.port, self.server.metrics_port}
        listens, over = "0A", "06"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(int(row[1].split(":")[1], 16) in ports and row[3] not in (listens, over) for row in rows)

    def sample(self) -> sample.Sample:
        return sample.take(self.server.pid, self.probe, time.monotonic() - self.server.started_at)
