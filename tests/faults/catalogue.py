"""All faults, and two of them at once."""

import random
import time

from tests.faults.client_faults import Flood, Garbage, HalfOpenTls, SlowReaders, StuckReaders
from tests.faults.cluster import Cluster, Setup
from tests.faults.fault import Fault
from tests.faults.machine_faults import ClockJump, Descriptors, Memory, Overload, RedisGone
from tests.faults.process_faults import Kill, KillAlone, Stop, Terminate, TerminateAlone
from tests.faults.store_faults import DamagedCheckpoint, DamagedLog, FullDisk, OtherCheckpoint, StoreGone

SINGLE: tuple[type[Fault], ...] = (
    Kill,
    KillAlone,
    Terminate,
    TerminateAlone,
    Stop,
    FullDisk,
    StoreGone,
    DamagedCheckpoint,
    OtherCheckpoint,
    DamagedLog,
    RedisGone,
    ClockJump,
    Descriptors,
    Memory,
    Overload,
    SlowReaders,
    StuckReaders,
    Flood,
    Garbage,
    HalfOpenTls,
)


def may_meet(a: type[Fault], b: type[Fault]) -> bool:
    """What could not be stored ends with its server, so no fault that ends servers can come on top of that."""
    alike = a.setup == b.setup == Setup()
    return a is not b and alike and (a.durable or not b.moves_videos) and (b.durable or not a.moves_videos)


PAIRS = tuple((a, b) for i, a in enumerate(SINGLE) for b in SINGLE[i + 1 :] if may_meet(a, b))


class TwoAtOnce(Fault):
    name, what = "two-at-once", "two faults at once, drawn from the pairs of those above that can meet"

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        self._faults = [kind() for kind in rng.choice(PAIRS)]
        rng.shuffle(self._faults)
        self.durable = all(fault.durable for fault in self._faults)
        self.failures = tuple(reason for fault in self._faults for reason in fault.failures)
        for fault in self._faults:
            fault.alone = False
        for fault in self._faults:
            fault.inject(cluster, rng)
            time.sleep(rng.uniform(0, 0.5))

    def least_seconds(self, cluster: Cluster) -> float:
        return max(fault.least_seconds(cluster) for fault in self._faults)

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        for fault in reversed(self._faults):
            fault.heal(cluster, rng)

    def problems(self) -> list[str]:
        return [problem for fault in self._faults for problem in fault.problems()]

    def __str__(self) -> str:
        return " and ".join(fault.name for fault in self._faults)


FAULTS: dict[str, type[Fault]] = {fault.name: fault for fault in (*SINGLE, TwoAtOnce)}
