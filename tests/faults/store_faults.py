"""Stores that are full, away, torn or corrupted."""

import json
import os
import random
import signal
from pathlib import Path

from tests.faults.checksum import crc32c
from tests.faults.cluster import Cluster, Setup
from tests.faults.fault import Fault
from tests.faults.process_faults import ALONE


class FullDisk(Fault):
    name, what = "full-disk", "no byte, or no file, is left in the store's file system"
    setup = Setup(small_disk=True)
    durable = False

    SMALL = 4096  # bytes that a file may still have, where nothing can be mounted

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        self._ballast = cluster.store / "ballast"
        if not cluster.mounted:
            for server in cluster.servers:
                server.limit("fsize", self.SMALL)
            return
        self._ballast.mkdir()
        if rng.random() < 0.5:
            self._take_bytes()
        else:
            self._take_files()

    def _take_bytes(self) -> None:
        with (self._ballast / "bytes").open("wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                while True:
                    try:
                        file.write(bytes(size))
                    except OSError:
                        break

    def _take_files(self) -> None:
        for i in range(1 << 20):
            try:
                (self._ballast / str(i)).touch()
            except OSError:
                break

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        if not cluster.mounted:
            for server in cluster.servers:
                server.limit("fsize", None)
            return
        for file in self._ballast.iterdir():
            file.unlink()
        self._ballast.rmdir()


class StoreGone(Fault):
    name, what = "store-gone", "the store's directory is away, or an empty one is in its place, and comes back"
    durable = False

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        self._away = cluster.store.with_name("away")
        cluster.store.rename(self._away)
        if rng.random() < 0.5:
            cluster.store.mkdir()  # as a mount point is where nothing is mounted

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        if cluster.store.exists():
            # Nothing may have been written below the mount point.
            self._strays = sorted(str(path.relative_to(cluster.store)) for path in cluster.store.rglob("*"))
            for path in sorted(cluster.store.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            cluster.store.rmdir()
        else:
            self._strays = []
        self._away.rename(cluster.store)

    def problems(self) -> list[str]:
        return [f"written in the place of the store: {stray}" for stray in self._strays]


class Damage(Fault):
    """Files of videos are damaged while their only server is down."""

    setup = ALONE
    lengths = (2.0, 3.0, 6.0)
    begins = (0.1, 0.8)
    moves_videos = True

    def __init__(self) -> None:
        self._damaged_ends: set[str] = set()
        self.files = 0  # that were damaged

    def damaged(self, video: str) -> bool:
        return video in self._damaged_ends

    def __str__(self) -> str:
        return f"{self.files} files, {len(self._damaged_ends)} videos that had ended"

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        (server,) = cluster.servers
        server.end(signal.SIGKILL)
        for video in list(cluster.accepted):
            folder = cluster.store / video
            files = sorted(path for pattern in self.PATTERNS for path in folder.glob(pattern))
            if not files:
                continue
            for file in rng.sample(files, k=min(len(files), rng.choice((1, 1, 2)))):
                self.damage(file, rng)
                self.files += 1
            if (folder / "end.json").exists():
                self._damaged_ends.add(video)

    PATTERNS: tuple[str, ...] = ()

    def damage(self, file: Path, rng: random.Random) -> None:
        """As a disk does that tells of what it has not written, or one that forgets."""
        data = file.read_bytes()
        if rng.random() < 0.5:
            os.truncate(file, rng.randrange(len(data)))
        else:
            at = rng.randrange(len(data))
            changed = bytes([data[at] ^ rng.randrange(1, 256)])
            file.write_bytes(data[:at] + changed + data[at + 1 :])


class DamagedCheckpoint(Damage):
    name, what = "damaged-checkpoint", "kill -9, and checkpoints that are torn or have a wrong byte; the server is started again"
    PATTERNS = ("checkpoint",)


class DamagedLog(Damage):
    name, what = "damaged-log", "kill -9, and stored blocks that are torn or have a wrong byte; the server is started again"
    PATTERNS = ("block-*.m4s", "block-*.json")


class OtherCheckpoint(Damage):
    name, what = "other-checkpoint", "kill -9, and checkpoints of another engine's version; the server is started again"
    PATTERNS = ("checkpoint",)

    def damage(self, file: Path, rng: random.Random) -> None:
        line, _, image = file.read_bytes().partition(b"\n")
        head = json.loads(line)
        version = (int.from_bytes(image[8:12], "little") + rng.choice((1, 2, 1000))).to_bytes(4, "little")
        image = image[:8] + version + image[12:]
        head["crc32c"] = crc32c(image, crc32c(str(head["blocks"]).encode()))
        file.write_bytes(json.dumps(head).encode() + b"\n" + image)
