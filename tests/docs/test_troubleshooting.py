"""docs/troubleshooting.md quotes texts that are in the source, and has all that an operator can meet in the log and in errors."""

import re

import pytest
from source_texts import ROOT, logged, sources

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
REASON = re.compile(r"[A-Z]+(?:_[A-Z]+)*")


def rows(section: str) -> list[str]:
    """First cells of a section's table."""
    part = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1].strip() for line in part.splitlines() if line.startswith("|")]
    assert len(cells) > 3, section
    return cells[2:]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


TEXTS = [text for section in ("The server does not start", "In the log", "What clients get", "What `longtake` says")
         for cell in rows(section) for text in quoted(cell) if not REASON.fullmatch(text)]  # fmt: skip
REASONS = set(re.findall(r"^  ERROR_REASON_(\w+) = [1-9]", (ROOT / "proto/longtake/v1/errors.proto").read_text(), re.MULTILINE))


@pytest.mark.parametrize("text", dict.fromkeys(TEXTS))
def test_a_text_is_in_the_source(text) -> None:
    assert sources(text), f"no file says: {text}"


def test_a_text_that_nobody_says_is_found() -> None:
    assert not sources("the disk is nearly full: … left")
    assert not sources("…")
    # Its words are there, but no program says them together.
    assert sources("the model is still loading") and sources("store: … is used by another server")
    assert not sources("the model is still loading … is used by another server")


def test_the_log_is_here_whole() -> None:
    assert len(logged()) > 12
    assert logged() - set(TEXTS) == set()


def test_every_reason_is_here() -> None:
    found = {text for cell in rows("What clients get") for text in quoted(cell) if REASON.fullmatch(text)}
    assert found == REASONS
