"""tools/eval with the real server and the bundled model, of which it measures two videos of two seconds and one prompt switch."""

import json
import re
import subprocess
import sys

import pytest

from bench.live import start_server

KEYS = ["prompts", "colour", "kind", "direction", "background", "switch", "vae_psnr", "border_ratio", "realtime"]


@pytest.fixture
def server(repository):
    build, options = repository / "build" / "release", ["--max-sessions", "2", "--live-places", "0"]
    process, line = start_server(build, repository / "models" / "longtake-tiny", options, subprocess.DEVNULL)
    with process:
        try:
            address = "127.0.0.1:" + re.match(r"port=(\d+)", line).group(1)
            command = [build / "longtake", "models", "--server", address, "--wait", "120"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            yield address
        finally:
            process.terminate()


def test_what_the_server_delivers_is_measured(repository, server, tmp_path):
    command = [sys.executable, "-m", "tools.eval", "--server", server, "--prompts", "2", "--long", "0", "--short", "2"]
    command += ["--switches", "1", "--alone", "1", "--no-psnr", "--keep", str(tmp_path)]

    def run():
        done = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    line, progress = run()
    assert list(line) == KEYS
    assert line["prompts"] == 2
    assert list(line["colour"]) == ["1"]
    assert 0 <= line["background"]["1"] <= 1
    assert line["switch"] in (0, 1)
    assert line["realtime"] > 0
    assert "3 of 3 videos, 13 of 13 s of video" in progress
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")}
    assert len(made) == 3
    assert run()[0] == line
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")} == made, "a second run makes nothing anew"
