"""One repetition: videos are asked for and watched, a fault comes and goes, and then the history is checked."""

import random
import threading
import time
import uuid

import longtake

from tests.faults.cluster import Cluster
from tests.faults.fault import Fault
from tests.faults.history import Outcome, Watched, check, check_store, check_writers
from tests.faults.pool import Request, Undisturbed
from tests.faults.processes import LONGEST, pause
from tests.faults.watchers import GrpcViewer, HttpViewer, Viewer

PATIENCE = 0.1  # seconds between two attempts to create a video
LATEST_REQUEST = 2.0  # seconds from the first request to the last


class Customer(threading.Thread):
    """Asks for one video until a server accepts it, and has it watched over both ports."""

    def __init__(self, request: Request, cluster: Cluster, rng: random.Random, delay: float, fault: Fault) -> None:
        super().__init__(daemon=True)
        self.request, self.cluster, self.rng, self.delay, self.fault = request, cluster, rng, delay, fault
        self.video: str | None = None
        self.viewers: list[Viewer] = []
        self.refused = 0
        self.error: str | None = None

    def run(self) -> None:
        time.sleep(self.delay)
        request_id = uuid.uuid4().hex
        end = time.monotonic() + LONGEST
        while self.video is None:
            try:
                client = self.cluster.client(self.cluster.any_server(self.rng))
                self.video = self.request.create(client, request_id)
            except longtake.Error as error:
                self.refused += error.reason != ""
                passes = error.code in GrpcViewer.PASSING or error.reason in ("", *self.fault.failures)
                if not passes or time.monotonic() > end:
                    self.error = f"a request was refused: {error}"
                    return
                time.sleep(PATIENCE)
        self.cluster.accepted.append(self.video)
        for kind in (GrpcViewer, HttpViewer):
            viewer = kind(self.video, self.cluster, random.Random(self.rng.random()))
            viewer.start()
            self.viewers.append(viewer)
        for viewer in self.viewers:
            viewer.join()


def repeat(fault: Fault, cluster: Cluster, undisturbed: Undisturbed, rng: random.Random) -> Outcome:
    began = time.monotonic()
    cluster.accepted.clear()
    customers = []
    for i, request in enumerate(undisturbed.draw(rng, fault.videos, fault.lengths)):
        # Half of them come at once.
        delay = 0.0 if i % 2 == 0 else rng.uniform(0, LATEST_REQUEST)
        customers.append(Customer(request, cluster, random.Random(rng.random()), delay, fault))
        customers[-1].start()
    expected = sum(len(undisturbed[customer.request].chunks) for customer in customers)
    _await_chunks(rng.uniform(*fault.begins) * expected, customers, cluster)
    fault.inject(cluster, rng)
    try:
        _wait(fault.least_seconds(cluster) + rng.uniform(*fault.lasts), cluster)
    finally:
        fault.heal(cluster, rng)
    while any(customer.is_alive() for customer in customers):
        cluster.tend()
        pause()
    cluster.settle()
    outcome = _check(fault, cluster, customers, undisturbed, rng)
    outcome.refused = sum(customer.refused for customer in customers)
    outcome.problems += [customer.error for customer in customers if customer.error is not None]
    outcome.problems += fault.problems() + cluster.deaths
    outcome.deaths = len(cluster.deaths)
    cluster.deaths.clear()
    outcome.repetitions, outcome.seconds = 1, time.monotonic() - began
    return outcome


def _await_chunks(count: float, customers: list[Customer], cluster: Cluster) -> None:
    """Until viewers have so many, so that a fault comes in the midst of the work on a slow machine too."""

    def seen() -> int:
        viewers = [viewer for customer in customers for viewer in customer.viewers]
        return sum(len(viewer.order) for viewer in viewers if isinstance(viewer, GrpcViewer))

    while seen() < count and any(customer.is_alive() for customer in customers):
        cluster.tend()
        pause()


def _wait(seconds: float, cluster: Cluster) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        cluster.tend()
        pause()


def _check(fault: Fault, cluster: Cluster, customers: list[Customer], undisturbed: Undisturbed, rng: random.Random) -> Outcome:
    watched = []
    for customer in customers:
        if customer.video is None:
            continue
        again = GrpcViewer(customer.video, cluster, random.Random(rng.random()))
        again.start()
        damaged = fault.damaged(customer.video)
        watched.append(Watched(customer.video, undisturbed[customer.request], customer.viewers, again, damaged, fault.failures))
    for each in watched:
        each.again.join()
    outcome = check(watched)
    if fault.durable:
        for each in watched:
            if not each.damaged:
                outcome.problems += check_store(cluster.store, each.video, each.expected)
    if not cluster.setup.fake_clock:
        outcome.fenced_writes, problems = check_writers(cluster, [each.video for each in watched])
        outcome.problems += problems
    return outcome
