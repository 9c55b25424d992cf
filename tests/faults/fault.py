"""What a fault is."""

import random
from typing import ClassVar

from tests.faults.cluster import Cluster, Setup


class Fault:
    """One kind of damage. A new object of it is made for each repetition, so it may keep what it has to undo.

    It is put in at a random moment while videos are asked for, made and watched, and undone at another.
    """

    name: ClassVar[str]
    what: ClassVar[str]  # for the table, in a few words
    setup: ClassVar[Setup] = Setup()
    lengths: ClassVar[tuple[float, ...]] = (1.0, 2.0, 3.0)  # seconds of the videos
    videos: ClassVar[int] = 8
    begins: ClassVar[tuple[float, float]] = (0.0, 0.8)  # when viewers have this share of all chunks
    lasts: ClassVar[tuple[float, float]] = (0.2, 1.2)  # seconds from then on until it is undone
    # False: what is made meanwhile may not be stored, and ends with the server that makes it.
    durable: ClassVar[bool] = True
    # Servers end, or lose what they make to others.
    moves_videos: ClassVar[bool] = False

    # False: another fault is in at the same time.
    alone = True

    def least_seconds(self, cluster: Cluster) -> float:
        """How much longer than `lasts` it lasts with these servers."""
        return 0.0

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        raise NotImplementedError

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        """Undoes it. Servers that have ended are started again by the cluster."""

    # Reasons with which a video may end that is not made to its end.
    failures: ClassVar[tuple[str, ...]] = ()

    def damaged(self, video: str) -> bool:
        """Whether it has damaged files of a video that had ended, which then may be refused."""
        return False

    def problems(self) -> list[str]:
        """What was wrong with how the servers took it, beside what viewers see."""
        return []
