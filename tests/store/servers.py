"""moto's S3, Redis and longtake-servers as processes of a test, which end by their ids."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "build/release/longtake-server"
REDIS = shutil.which("redis-check-rdb")  # of Debian's redis-tools, which has the server under this name
BUCKET = "videos"
LONGEST = 600  # seconds after which a test that hangs fails


def until(condition):
    """Waits for what another process does, and returns it."""
    give_up = time.monotonic() + LONGEST
    while not (met := condition()):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return met


class Moto:
    """It checks signatures, and what a user may do."""

    def __init__(self) -> None:
        # The bucket and what makes the user are carried out without asking who does; nothing behind them is.
        environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "4"}
        command = [sys.executable, ROOT / "tests/store/moto_s3.py", BUCKET]
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        iam = self._client("iam", "test", "test")
        iam.create_user(UserName="longtake")
        iam.put_user_policy(UserName="longtake", PolicyName="store", PolicyDocument=json.dumps(self.policy()))
        keys = iam.create_access_key(UserName="longtake")["AccessKey"]
        self.key_id, self.secret = keys["AccessKeyId"], keys["SecretAccessKey"]

    @staticmethod
    def policy() -> dict:
        """That of docs/operations.md."""
        (text,) = re.findall(r"^```json\n(\{\"Version\".*?)^```$", (ROOT / "docs/operations.md").read_text(), re.M | re.S)
        return json.loads(text)

    def __enter__(self) -> "Moto":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _client(self, service: str, key_id: str, secret: str):
        keys = {"aws_access_key_id": key_id, "aws_secret_access_key": secret, "region_name": "us-east-1"}
        return boto3.client(service, endpoint_url=self.endpoint, **keys)

    def objects(self) -> list[str]:
        """Their keys."""
        pages = self._client("s3", self.key_id, self.secret).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]


class Redis:
    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, executable=REDIS, stdout=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self) -> "Redis":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


class Longtake:
    """A longtake-server with the bundled model. `moto`: the store; none: without one. `secret`: in place of the right one."""

    def __init__(self, log: Path, moto: Moto | None = None, options: list[str] | None = None, secret: str = "") -> None:
        self.log = log
        command = [SERVER, "--model", ROOT / "models/longtake-tiny", "--listen", "127.0.0.1:0", *(options or [])]
        command += ["--http-listen", "127.0.0.1:0", "--max-live-load", "1000", "--shutdown-grace-seconds", "0"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        if moto is not None:
            command += ["--store", f"s3://{BUCKET}/test", "--store-endpoint", moto.endpoint]
            environment |= {"AWS_ACCESS_KEY_ID": moto.key_id, "AWS_SECRET_ACCESS_KEY": secret or moto.secret}
        with log.open("a") as errors:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        line = re.fullmatch(r"port=\d+ metrics_port=\d+ http_port=(\d+)\n", self.process.stdout.readline())
        self.port = int(line[1]) if line else None  # none: it has ended
        if self.port is not None:
            until(lambda: self.ask("GET", "/readyz")[0] == 200)

    def __enter__(self) -> "Longtake":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(signal.SIGTERM)

    def kill(self, how: int = signal.SIGKILL) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait()

    def ask(self, method: str, path: str, body: dict | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def create(self, **video: object) -> str:
        status, answer = self.ask("POST", "/v1/videos", video)
        assert status == 200, answer
        return json.loads(answer)["id"]

    def watch(self, video: str) -> bytes:
        """All of it, made or not yet."""
        status, media = self.ask("GET", f"/v1/videos/{video}/stream.mp4")
        assert status == 200, media
        return media
