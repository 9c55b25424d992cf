"""Servers that end, or stand still."""

import random
import signal

from tests.faults.cluster import Cluster, Setup
from tests.faults.fault import Fault
from tests.faults.processes import Server

ALONE = Setup(servers=1, shared=False)


class Kill(Fault):
    name, what = "kill", "kill -9 of one of three servers; the others take its videos over"
    moves_videos = True

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        cluster.victim(rng).end(signal.SIGKILL)


class KillAlone(Kill):
    name, what = "kill-alone", "kill -9 of a server that has its store for itself; it is started again"
    setup = ALONE


class Terminate(Fault):
    name, what = "sigterm", "SIGTERM to one of three servers; it hands its videos over"
    moves_videos = True

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        self._status = cluster.victim(rng).end(signal.SIGTERM)

    def problems(self) -> list[str]:
        return [] if self._status == 0 else [f"SIGTERM: the exit status was {self._status}"]


class TerminateAlone(Terminate):
    name, what = "sigterm-alone", "SIGTERM to a server that has its store for itself, with 1 s to end; it is started again"
    setup = Setup(servers=1, shared=False, options=(("shutdown-seconds", "1"), ("shutdown-reading-seconds", "0.5")))


class Stop(Fault):
    name, what = "sigstop", "SIGSTOP of one of three servers for longer than its lease, then SIGCONT: it wakes up as no owner"
    moves_videos = True

    def least_seconds(self, cluster: Cluster) -> float:
        return cluster.places.lease

    def inject(self, cluster: Cluster, rng: random.Random) -> None:
        self._server: Server = cluster.victim(rng)
        self._server.send(signal.SIGSTOP)

    def heal(self, cluster: Cluster, rng: random.Random) -> None:
        self._server.send(signal.SIGCONT)
