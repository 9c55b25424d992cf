"""The fault suite in short: some faults, once each; and that its checker finds what it is there to find."""

import os
import random
import resource
import time
from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS, PAIRS, SINGLE
from tests.faults.checksum import crc32c
from tests.faults.cluster import ROOT, Cluster, Places, Setup
from tests.faults.history import Watched, check, check_store, check_writers
from tests.faults.pool import Recording, Undisturbed, requests
from tests.faults.processes import Redis
from tests.faults.trial import repeat
from tests.faults.watchers import GrpcViewer, Viewer

BUILD = ROOT / "build/release"
# One of each kind that needs nothing but the programs.
SHORT = ("kill", "sigstop", "damaged-log", "store-gone", "file-descriptors", "stuck-readers", "garbage")
CHUNKS = {(block, index): f"{block}.{index}".encode() for block in range(2) for index in range(3)}
WHOLE = Recording(b"init", CHUNKS)

built = pytest.mark.skipif(
    not (BUILD / "longtake-server").is_file() or Redis.PROGRAM is None, reason="build/release or redis-tools is missing"
)


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Places:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Places(BUILD, ROOT / "models/longtake-tiny", tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def undisturbed(places: Places) -> Undisturbed:
    with Cluster(Setup(servers=1, shared=False), places, "undisturbed") as cluster:
        wanted = requests({length for name in SHORT for length in FAULTS[name].lengths})
        return Undisturbed(cluster.client(cluster.servers[0]), wanted)


@built
@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost(name: str, places: Places, undisturbed: Undisturbed) -> None:
    with Cluster(FAULTS[name].setup, places, name) as cluster:
        outcome = repeat(FAULTS[name](), cluster, undisturbed, random.Random(name))
    assert not outcome.problems
    assert outcome.videos == outcome.bytes_equal == FAULTS[name].videos
    assert outcome.lost_chunks == outcome.duplicate_chunks == outcome.fenced_writes == 0


def test_the_document_has_all_faults() -> None:
    part = (ROOT / "docs/faults.md").read_text().split("\n## The faults\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in part.splitlines() if line.startswith("| `")]
    assert rows == [[f"`{name}`", fault.what] for name, fault in FAULTS.items()]
    assert len(FAULTS) == len(SINGLE) + 1, "two have one name"
    assert len(PAIRS) > 10


def viewer(chunks: dict | None = None, **attributes: object) -> Viewer:
    """One that has watched WHOLE, or these chunks of it."""
    made = GrpcViewer("videos/1", cluster=None, rng=random.Random(0))
    made.recording = Recording(b"init", dict(CHUNKS if chunks is None else chunks))
    made.order = list(made.recording.chunks)
    made.ends = 1
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def without(*keys: tuple[int, int]) -> dict:
    return {key: data for key, data in CHUNKS.items() if key not in keys}


def test_a_right_history_is_right() -> None:
    outcome = check([Watched("videos/1", WHOLE, [viewer(resumed=2)], viewer())])
    assert not outcome.problems
    assert (outcome.videos, outcome.bytes_equal, outcome.resumed) == (1, 1, 2)


@pytest.mark.parametrize(
    ("first", "again", "what"),
    [
        (viewer(), viewer(without((1, 2))), "1 chunks that viewers have had are not there any more"),
        (viewer(without((0, 1))), viewer(), "5 of 6 chunks"),
        (viewer(without((0, 1))), viewer(), "the order of its chunks"),
        (viewer(CHUNKS | {(1, 0): b"other"}), viewer(), "have other bytes"),
        (viewer(CHUNKS | {(2, 0): b"more"}), viewer(), "have other bytes"),
        (viewer(different=1), viewer(), "1 changed"),
        (viewer(repeated=1), viewer(), "1 chunks came twice"),
        (viewer(late=1), viewer(), "1 events behind the end"),
        (viewer(ends=0), viewer(), "it was told 0 ends"),
        (viewer(error="DATA_LOSS"), viewer(), "it was refused: DATA_LOSS"),
        (viewer(recording=Recording(b"other", dict(CHUNKS))), viewer(), "the init segment has other bytes"),
    ],
)
def test_a_wrong_history_is_found(first: Viewer, again: Viewer, what: str) -> None:
    outcome = check([Watched("videos/1", WHOLE, [first], again), Watched("videos/2", WHOLE, [viewer()], viewer())])
    assert outcome.bytes_equal == 1
    assert any("videos/1" in problem and what in problem for problem in outcome.problems), outcome.problems
    assert not any("videos/2" in problem for problem in outcome.problems)


def test_a_damaged_video_may_be_refused_and_not_be_wrong() -> None:
    refused = viewer(without((1, 1), (1, 2)), ends=0, error="STORE_FAILED: block-00001.m4s")
    assert not check([Watched("videos/1", WHOLE, [viewer()], refused, damaged=True)]).problems
    wrong = viewer(CHUNKS | {(1, 2): b"other"})
    assert check([Watched("videos/1", WHOLE, [viewer()], wrong, damaged=True)]).problems


def test_a_hole_in_the_store_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "videos/1"
    folder.mkdir(parents=True)
    (folder / "init.mp4").write_bytes(b"init")
    (folder / "end.json").write_text("{}")
    for block in range(2):
        data = b"".join(CHUNKS[block, index] for index in range(3))
        (folder / f"block-{block:05}.m4s").write_bytes(data)
    assert not check_store(tmp_path, "videos/1", WHOLE)
    (folder / "block-00000.m4s").rename(folder / "block-00002.m4s")
    assert check_store(tmp_path, "videos/1", WHOLE)
    (folder / "block-00002.m4s").rename(folder / "block-00000.m4s")
    (folder / "end.json").unlink()
    assert check_store(tmp_path, "videos/1", WHOLE)


class _Log:
    """A server of which only the log is asked."""

    def __init__(self, group: int, text: str) -> None:
        self.group, self._text = group, text

    def log_text(self) -> str:
        return self._text


class _Cluster:
    def __init__(self, store: Path, servers: list[_Log]) -> None:
        self.store, self.servers = store, servers


def _line(moment: float, what: str) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment * 1000) % 1000:03}+00:00"
    return f"{stamp} level=info video {what} name=videos/1 request_id=\n"


def test_a_write_behind_the_fence_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "videos/1"
    folder.mkdir(parents=True)
    now, mine, other = time.time(), os.getegid(), os.getegid() + 1
    (folder / "block-00000.m4s").touch()
    owners = [_Log(mine, _line(now - 10, "accepted")), _Log(other, "")]
    assert check_writers(_Cluster(tmp_path, owners), ["videos/1"]) == (0, [])
    # The other server took the video over before the file got its name.
    owners = [_Log(mine, _line(now - 10, "accepted")), _Log(other, _line(now - 5, "is taken over"))]
    count, problems = check_writers(_Cluster(tmp_path, owners), ["videos/1"])
    assert count == 1
    assert "block-00000.m4s" in problems[0]
    # And afterwards.
    owners = [_Log(mine, _line(now - 10, "accepted")), _Log(other, _line(now + 5, "is taken over"))]
    assert check_writers(_Cluster(tmp_path, owners), ["videos/1"]) == (0, [])


def test_checksum() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283


def test_a_video_that_a_fault_lets_fail_is_counted_and_loses_nothing() -> None:
    part = without((1, 1), (1, 2))

    def failed() -> Viewer:
        return viewer(part, ends=0, error="ENCODER_FAILED: x264 failed")

    outcome = check([Watched("videos/1", WHOLE, [failed()], failed(), failures=("ENCODER_FAILED",))])
    assert (outcome.problems, outcome.failed, outcome.bytes_equal) == ([], 1, 0)
    assert check([Watched("videos/1", WHOLE, [failed()], failed())]).problems, "no fault has let it"
    less = viewer(without((1, 0), (1, 1), (1, 2)), ends=0, error="ENCODER_FAILED: x264 failed")
    assert check([Watched("videos/1", WHOLE, [failed()], less, failures=("ENCODER_FAILED",))]).lost_chunks == 1
