"""Texts that programs print or answer, as they stand in their source."""

import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("clients/cli", "common", "engine", "scheduler", "server")
_LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
# What stands between two literals that the compiler joins.
_JOINED = re.compile(r'(?<!\\)"\s*\n\s*"')
_PLACE = re.compile(r"\{[^{}]*\}|%[-.\d]*(?:ll|l|z)?[a-zA-Z]")
GAP = "…"


def _unescaped(text: str) -> str:
    return text.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")


@functools.cache
def literals() -> dict[str, list[str]]:
    """File -> its string literals."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".cc", ".h", ".cu"):
                text = _JOINED.sub("", path.read_text())
                found[str(path.relative_to(ROOT))] = [_unescaped(each) for each in _LITERAL.findall(text)]
    return found


def pieces(quoted: str) -> list[str]:
    """What of a text is the program's own words."""
    return [piece.strip() for piece in quoted.split(GAP) if re.search(r"[A-Za-z]{2}", piece)]


def sources(quoted: str) -> list[str]:
    """The files that have all pieces of the text."""
    own = pieces(quoted)
    return [file for file, texts in literals().items() if own and all(any(p in text for text in texts) for p in own)]


def logged() -> set[str]:
    """What the server logs as an error or a warning, with a gap for each place."""
    found = set()
    for folder in ("server", "common"):
        for path in sorted((ROOT / folder).rglob("*.[ch]*")):
            text = _JOINED.sub("", path.read_text())
            for each in re.findall(r'logger_?(?:->|\.)(?:error|warn)\(\s*"((?:[^"\\\n]|\\.)*)"', text):
                found.add(_PLACE.sub(GAP, _unescaped(each)))
    return found - {GAP}
