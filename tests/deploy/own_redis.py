"""The pod of Redis on this machine: its own command and file, with other folders and another port."""

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from rendered import of_kind, the

# Debian's redis-tools has the server under this name, and starts none for the machine.
PROGRAM = shutil.which("redis-check-rdb")


def missing() -> bool:
    return PROGRAM is None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    """Runs while it is entered."""

    def __init__(self, folder: Path, documents: list[dict]) -> None:
        self.folder, self.port, self.password = folder, free_port(), "0123456789abcdef"
        (self._container,) = the(documents, "StatefulSet", "longtake-redis")["spec"]["template"]["spec"]["containers"]
        (text,) = [d["data"]["redis.conf"] for d in of_kind(documents, "ConfigMap") if "redis.conf" in d["data"]]
        for mount in self._container["volumeMounts"]:
            (folder / mount["mountPath"].removeprefix("/")).mkdir(parents=True)
        text = re.sub(r"^port 6379$", f"port {self.port}", text, flags=re.MULTILINE)
        text = re.sub(r"^bind .*$", "bind 127.0.0.1", text, flags=re.MULTILINE)
        (folder / "etc/redis/redis.conf").write_text(self.here(text))
        self.password_file = folder / "etc/longtake-redis/password"
        self.password_file.write_text(self.password)
        (folder / "bin").mkdir()
        (folder / "bin/redis-server").symlink_to(PROGRAM)

    def here(self, text: str) -> str:
        """With the folders and the port of this one in the place of the pod's."""
        text = text.replace("redis-cli ", f"redis-cli -p {self.port} ")
        return re.sub(r"(?<![\w/])/(etc/redis|etc/longtake-redis|data)\b", rf"{self.folder}/\1", text)

    def __enter__(self) -> "Redis":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        command = [self.here(word) for word in self._container["command"]]
        environment = os.environ | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        log = (self.folder / "log").open("a")
        self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        end = time.monotonic() + 120
        while self.ask("PING") != "PONG":
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, "Redis does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, *words: str, password: str | None = None) -> str:
        """What redis-cli prints."""
        secret = self.password if password is None else password
        environment = os.environ | ({"REDISCLI_AUTH": secret} if secret else {})
        done = subprocess.run(["redis-cli", "-p", str(self.port), *words], env=environment, capture_output=True, text=True)
        return done.stdout.strip()
