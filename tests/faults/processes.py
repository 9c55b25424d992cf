"""The programs that the suite starts, stops and kills: Redis and longtake-server."""

import dataclasses
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

LONGEST = 600  # seconds after which what hangs is given up; a busy machine is no fault

# Names of prlimit, and of /proc/PID/limits.
LIMITS = {"nofile": "Max open files", "data": "Max data size", "fsize": "Max file size"}

_given_ports: set[int] = set()


def say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


def free_port() -> int:
    """A port that nobody listens on, and that this function has not returned before.

    It is below those that Linux gives to outgoing connections, so that none of these takes a server's port while the server is
    down.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given_ports:
            _given_ports.add(port)
            return port


def ask(port: int, method: str, path: str, body: object = None, timeout: float = 10) -> tuple[int, object]:
    """Status and JSON of a request over HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text.decode()
    finally:
        connection.close()


def pause() -> None:
    """Between two looks at what another process does."""
    time.sleep(0.02)


class Redis:
    """One that forgets everything when it ends."""

    # Debian's redis-tools has the server under this name, which says what it does by the name that it is called.
    PROGRAM = shutil.which("redis-check-rdb")

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def start(self) -> None:
        if self.PROGRAM is None:
            raise RuntimeError("redis-check-rdb is missing: scripts/install.sh installs redis-tools")
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, executable=self.PROGRAM, stdout=subprocess.DEVNULL)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def await_ready(self) -> None:
        end = time.monotonic() + LONGEST
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("Redis does not answer")
            pause()

    def end_leases(self) -> None:
        """Removes what servers' leases are, as Redis does when their time is over."""
        script = "for _, key in ipairs(redis.call('KEYS', 'longtake:server:*')) do redis.call('DEL', key) end"
        with socket.create_connection(("127.0.0.1", self.port), timeout=LONGEST) as connection:
            words = [b"EVAL", script.encode(), b"0"]
            connection.sendall(b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            connection.recv(64)

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclasses.dataclass(frozen=True)
class Tls:
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> "Tls":
        """A certificate of 127.0.0.1 that is its own authority."""
        made = cls(folder / "certificate.pem", folder / "key.pem")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "30", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(made.key), "-out", str(made.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        return made

    def options(self) -> list[str]:
        return ["--tls-cert", str(self.certificate), "--tls-key", str(self.key)]


class Server:
    """A longtake-server, on the same ports whenever it is started.

    `group`: the group id that it runs with, which the files that it writes have; None: its own, for only root can choose.
    """

    def __init__(
        self,
        name: str,
        program: Path,
        options: list[str],
        log: Path,
        group: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name, self.log, self.group = name, log, group
        self.grpc_port, self.port, self.metrics_port = free_port(), free_port(), free_port()
        addresses = {"listen": self.grpc_port, "http-listen": self.port, "metrics-listen": self.metrics_port}
        self.command = [str(program), *options]
        self.command += [word for option, port in addresses.items() for word in (f"--{option}", f"127.0.0.1:{port}")]
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.may_end = False  # a fault ends it, or lets it end
        self.started_at = 0.0

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        self.started_at = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._in_group(self.command),
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self.environment,
            )

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ready(self) -> bool:
        try:
            return ask(self.port, "GET", "/readyz", timeout=2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def await_ready(self) -> None:
        end = time.monotonic() + LONGEST
        while not self.ready():
            if not self.runs() or time.monotonic() > end:
                raise RuntimeError(f"{self.name} does not get ready: {self.log_text()[-2000:]}")
            pause()

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> int:
        """Sends the signal, and returns the exit status."""
        self.may_end = True
        self.send(number)
        assert self.process is not None
        return self.process.wait(LONGEST)

    def _in_group(self, command: list[str]) -> list[str]:
        """The command, run with the server's group id.

        setpriv becomes the command. Popen's own `group` would fork this process, in which gRPC's fork handlers can end the child
        (SIGBUS, seen once); without it Popen uses vfork, which runs no handlers.
        """
        if self.group is None:
            return command
        return ["/usr/bin/setpriv", f"--regid={self.group}", "--clear-groups", *command]

    def limit(self, name: str, soft: int | None) -> None:
        """Sets a soft limit of the running server, by the name that prlimit has for it; None: to the hard one.

        A process of the server's own group does it, for others would need a right that containers do not have.
        """
        limits = Path(f"/proc/{self.pid}/limits").read_text()
        (hard,) = re.findall(rf"^{LIMITS[name]} +\S+ +(\S+)", limits, re.MULTILINE)
        value = hard if soft is None else str(soft)
        subprocess.run(self._in_group(["prlimit", "--pid", str(self.pid), f"--{name}={value}:"]), check=True)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def data_bytes(self) -> int:
        """Its private memory, which the limit `data` is of. Address space that malloc has only reserved is not in it."""
        (line,) = (line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if line.startswith("VmData:"))
        return int(line.split()[1]) << 10
