"""Puts the repository's root on the path, so that `tools` can be imported, and names the committed parity folder."""

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
def tool_data() -> Path:
    return ROOT / "tests" / "tools" / "data"
