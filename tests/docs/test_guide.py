"""The blocks of docs/guide.md, run in their order in one shell, with the servers that they start; what they print is compared."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass

import pytest
from source_texts import GAP, ROOT

BUILD = ROOT / "build/release"
BLOCK = re.compile(r"^```(\w+)( run)?\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
# The default of longtake's --server is the port of the guide; here the server has another one.
PRELUDE = """set -euo pipefail
longtake() {
  if [[ " $* " == *" --server "* ]]; then command longtake "$@"; else command longtake "$@" --server 127.0.0.1:50051; fi
}
"""
BETWEEN = "=====between blocks====="


@dataclass
class Block:
    command: str
    output: str | None = None


def blocks(page: str) -> list[Block]:
    found: list[Block] = []
    for language, run, text in BLOCK.findall(page):
        if run:
            assert language == "sh"
            found.append(Block(text))
        elif language == "text":
            assert found[-1].output is None
            found[-1].output = text
    return found


def fits(output: str, expected: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in expected.strip().split(GAP))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


def with_free_ports(text: str) -> str:
    """Two servers' ports in the place of those of the guide, so that the test meets no other server."""
    probes = [socket.socket() for _ in range(5)]
    try:
        for port, probe in zip((50051, 50052, 8080, 8081, 9090), probes, strict=True):
            probe.bind(("127.0.0.1", 0))
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{probe.getsockname()[1]}")
    finally:
        for probe in probes:
            probe.close()
    return text


@pytest.mark.skipif(not (BUILD / "longtake-server").is_file(), reason="build/release is not built")
def test_the_guide_runs(tmp_path) -> None:
    assert shutil.which("curl"), "curl is not installed; scripts/install.sh installs it"
    guide = blocks((ROOT / "docs/guide.md").read_text())
    assert len(guide) > 10
    for folder in ("build", "models"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    # A machine that is busy with other things makes no video in real time; a server would refuse what it cannot keep up with.
    patient = "longtake-server --max-live-load 1000 --max-wait-seconds 36000 --model"
    script = with_free_ports(PRELUDE + f"\necho '{BETWEEN}'\n".join(block.command for block in guide))
    script = script.replace("longtake-server --model", patient)
    environment = {name: value for name, value in os.environ.items() if name != "LONGTAKE_TOKEN"}
    shell = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    try:
        output, errors = shell.communicate(timeout=3000)
    finally:
        # All of the shell's own session: its servers, where it came to no end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    printed = output.split(BETWEEN + "\n")
    for block, text in zip(guide, printed, strict=False):
        assert block.output is None or fits(text, block.output), (
            f"{block.command}printed\n{text}\nand not\n{block.output}{errors}"
        )
    assert shell.returncode == 0, errors
    assert len(printed) == len(guide)


def test_a_wrong_output_is_found() -> None:
    assert fits("a\nb 3 s\n", "a\nb … s\n")
    assert not fits("a\nb 3 ms\nc", "a\nb … s\n")
    assert not fits("", "a")
