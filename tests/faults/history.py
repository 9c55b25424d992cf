"""What must be true of every accepted video afterwards, whatever has happened."""

import dataclasses
import os
import re
from datetime import datetime
from pathlib import Path

from tests.faults.cluster import Cluster
from tests.faults.pool import Recording
from tests.faults.watchers import Viewer

# Linux stamps files with a clock that moves every 4 ms or 10 ms.
CLOCK_SECONDS = 0.02
_OWNED = re.compile(r"^(\S+) level=info video (accepted|is taken over) name=(videos/\S+)", re.MULTILINE)
_LOST = re.compile(r'video ended name=.*error="another server makes')


@dataclasses.dataclass
class Outcome:
    """Of one repetition, or of several. `problems`: everything that should not have been, in words."""

    repetitions: int = 0
    videos: int = 0  # that were accepted
    bytes_equal: int = 0  # videos whose every viewer has the bytes of the undisturbed run
    failed: int = 0  # videos that have ended with an error that the fault permits
    lost_chunks: int = 0
    duplicate_chunks: int = 0
    resumed: int = 0  # breaks behind which a viewer got the rest
    fenced_writes: int = 0
    refused: int = 0
    deaths: int = 0  # of servers that the fault had not ended itself
    seconds: float = 0.0
    problems: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@dataclasses.dataclass
class Watched:
    """One video with all of its viewers. `again`: one who comes when all is over, and reads it from its beginning."""

    video: str
    expected: Recording
    viewers: list[Viewer]
    again: Viewer
    damaged: bool = False  # a fault has damaged what was stored of it when it had ended: it may be refused, not wrong
    failures: tuple[str, ...] = ()  # reasons with which it may have ended before it was whole


def check(watched: list[Watched]) -> Outcome:
    outcome = Outcome(videos=len(watched))
    for each in watched:
        problems: list[str] = []
        for viewer in [*each.viewers, each.again]:
            kind = "the last viewer" if viewer is each.again else type(viewer).__name__
            problems += [f"{kind}: {text}" for text in _faults_of(viewer, each)]
        seen = set().union(*(viewer.recording.chunks for viewer in each.viewers)) if each.viewers else set()
        lost = 0 if each.damaged else len(seen - set(each.again.recording.chunks))
        outcome.lost_chunks += lost
        if lost > 0:
            problems.append(f"{lost} chunks that viewers have had are not there any more")
        outcome.duplicate_chunks += sum(viewer.repeated for viewer in [*each.viewers, each.again])
        outcome.resumed += sum(viewer.resumed for viewer in each.viewers)
        failed = any(_has_failed(viewer, each.failures) for viewer in each.viewers)
        outcome.failed += failed
        outcome.bytes_equal += not problems and not failed
        outcome.problems += [f"{each.video}: {text}" for text in problems]
    return outcome


def _has_failed(viewer: Viewer, reasons: tuple[str, ...]) -> bool:
    return viewer.error is not None and any(reason in viewer.error for reason in reasons)


def _faults_of(viewer: Viewer, watched: Watched) -> list[str]:
    found = []
    expected = watched.expected
    chunks = viewer.recording.chunks
    wrong = [key for key, data in chunks.items() if expected.chunks.get(key) != data]
    if wrong or viewer.different:
        found.append(f"chunks {sorted(wrong)} have other bytes than in the undisturbed run, {viewer.different} changed")
    if viewer.recording.init not in (b"", expected.init):
        found.append("the init segment has other bytes")
    if viewer.order != sorted(expected.chunks)[: len(viewer.order)]:
        found.append(f"the order of its chunks was {viewer.order}")
    if viewer.repeated or viewer.late:
        found.append(f"{viewer.repeated} chunks came twice, {viewer.late} events behind the end")
    permitted = (*watched.failures, "STORE_FAILED") if watched.damaged else watched.failures
    if _has_failed(viewer, permitted):
        return found
    if viewer.error is not None:
        found.append(f"it was refused: {viewer.error}")
    elif viewer.ends != 1:
        found.append(f"it was told {viewer.ends} ends")
    elif len(chunks) != len(expected.chunks):
        found.append(f"it has {len(chunks)} of {len(expected.chunks)} chunks")
    return found


def check_store(store: Path, video: str, expected: Recording) -> list[str]:
    """Of one that has ended, and could be stored all the time: its folder is a whole HLS presentation."""
    folder = store / video
    blocks = sorted(folder.glob("block-*.m4s"))
    if [path.name for path in blocks] != [f"block-{i:05}.m4s" for i in range(len(blocks))]:
        return [f"{video}: the store has the blocks {[path.name for path in blocks]}"]
    stored = b"".join(path.read_bytes() for path in [folder / "init.mp4", *blocks] if path.exists())
    problems = [] if stored == expected.bytes() else [f"{video}: what is stored has other bytes than the undisturbed run"]
    return problems + [f"{video}: {name} is missing in the store" for name in ("end.json",) if not (folder / name).exists()]


@dataclasses.dataclass(frozen=True)
class _Owner:
    since: float
    group: int


def check_writers(cluster: Cluster, videos: list[str]) -> tuple[int, list[str]]:
    """How many files a server has written into a video that was another one's by then.

    Each server runs with a group of its own, which its files have. Who owned a video when is in the servers' logs.
    """
    owners: dict[str, list[_Owner]] = {video: [] for video in videos}
    for server in cluster.servers:
        if server.group is None:
            return 0, []
        for stamp, _, video in _OWNED.findall(server.log_text()):
            if video in owners:
                owners[video].append(_Owner(datetime.fromisoformat(stamp).timestamp(), server.group))
    problems = []
    for video, known in owners.items():
        folder = cluster.store / video
        if not folder.is_dir():
            continue
        for entry in os.scandir(folder):
            if not entry.is_file():
                continue
            info = entry.stat()
            # A file gets its name, and with it its time, while its writer is the owner. The next owner says so in its log
            # when nobody else can write any more.
            if info.st_gid not in _owners_about(known, info.st_ctime):
                problems.append(f"{video}: {entry.name} was written by a server that had lost the video")
    return len(problems), problems


def _owners_about(known: list[_Owner], moment: float) -> set[int]:
    """The groups of those who owned a video within the clock's error of this moment."""
    known = sorted(known, key=lambda owner: owner.since)
    begun = [owner for owner in known if owner.since <= moment - CLOCK_SECONDS]
    at_once = [owner for owner in known if abs(owner.since - moment) < CLOCK_SECONDS]
    return {owner.group for owner in begun[-1:] + at_once}


def refused_writes(cluster: Cluster) -> int:
    """How often a server has found out that a video is another one's: so often the fence was needed."""
    return sum(len(_LOST.findall(server.log_text())) for server in cluster.servers)
