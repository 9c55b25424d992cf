"""cmake/build_info.cmake: the version and the commit that the programs say they are."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("git") is None, reason="needs cmake and git")


def run(*command: object, folder: Path) -> str:
    # Without the user's configuration, and without a repository that an environment names.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run([str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit_of(source: Path, out: Path, given: str = "") -> str:
    script = ROOT / "cmake/build_info.cmake"
    run("cmake", f"-DSOURCE={source}", "-DVERSION=1.2.3", f"-DGIVEN={given}", f"-DOUT={out}", "-P", script, folder=out.parent)
    text = out.read_text()
    assert '.version = "1.2.3"' in text
    return re.search(r'\.commit = "([^"]*)"', text).group(1)


def sources(folder: Path) -> Path:
    """A small copy of what the script reads."""
    (folder / "cmake").mkdir(parents=True)
    for name in (".gitattributes", "cmake/commit.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def checkout(folder: Path) -> tuple[Path, str]:
    sources(folder)
    run("git", "init", "--quiet", folder=folder)
    run("git", "add", ".", folder=folder)
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first", folder=folder)
    return folder, run("git", "rev-parse", "HEAD", folder=folder).strip()[:12]


def test_of_a_checkout(tmp_path: Path) -> None:
    source, commit = checkout(tmp_path / "source")
    out = tmp_path / "out.cc"
    assert commit_of(source, out) == commit
    written = out.stat().st_mtime_ns
    assert commit_of(source, out) == commit
    assert out.stat().st_mtime_ns == written, "nothing has changed, and all would be linked again"
    (source / "cmake/commit.txt").write_text("changed\n")
    assert commit_of(source, out) == f"{commit}-dirty"


def test_of_an_archive(tmp_path: Path) -> None:
    source, commit = checkout(tmp_path / "source")
    run("git", "archive", "--output", tmp_path / "archive.tar", "HEAD", folder=source)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    run("tar", "-xf", tmp_path / "archive.tar", folder=unpacked)
    assert commit_of(unpacked, tmp_path / "out.cc") == commit


def test_of_a_copy_without_history(tmp_path: Path) -> None:
    assert commit_of(sources(tmp_path / "source"), tmp_path / "out.cc") == "unknown"
    assert commit_of(tmp_path / "source", tmp_path / "out.cc", given="0123456789abcdef") == "0123456789ab"
    assert commit_of(tmp_path / "source", tmp_path / "out.cc", given="unknown") == "unknown"
    # What is no commit does not get into a source.
    assert commit_of(tmp_path / "source", tmp_path / "out.cc", given='a";') == "unknown"


def test_within_another_checkout(tmp_path: Path) -> None:
    other, _ = checkout(tmp_path / "other")
    assert commit_of(sources(other / "ours"), tmp_path / "out.cc") == "unknown"
