"""Puts the repository's root on the path, so that `tools` can be imported, and names the committed parity folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


@pytest.fixture
def repository() -> Path:
    return ROOT


@pytest.fixture
def parity_data() -> Path:
    return ROOT / "tests" / "parity" / "data"


@pytest.fixture
def settings_of(repository):
    """Folder -> its settings as the engine reads them. AssertionError with the engine's message where it refuses it."""

    def read(folder: Path) -> dict:
        runner = repository / "build" / "release" / "longtake-module"
        done = subprocess.run([str(runner), "settings", str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


@pytest.fixture
def tool_data() -> Path:
    return ROOT / "tests" / "tools" / "data"
