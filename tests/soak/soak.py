"""Cycles of load, and a sample when the server has come to rest behind each."""

import concurrent.futures
import threading
import time
from collections.abc import Callable, Sequence

from tests.faults.processes import say
from tests.soak import grpc_steps, hostile_steps, http_steps
from tests.soak.sample import Sample
from tests.soak.subject import Subject
from tests.soak.visit import Visit

Step = Callable[[Visit], None]
STEPS: tuple[Step, ...] = (*grpc_steps.STEPS, *http_steps.STEPS, *hostile_steps.STEPS)
AT_ONCE = 6  # steps


def name_of(step: Step) -> str:
    return f"{step.__module__.rsplit('.', 1)[-1].removesuffix('_steps')}.{step.__name__}"


def cycle(subject: Subject, number: int, steps: Sequence[Step] = STEPS) -> list[str]:
    """All steps, several at once, and then rest. Returns what was not as it should be."""
    visit = Visit(subject, number)
    try:
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            running = {name_of(step): pool.submit(step, visit) for step in steps}
    finally:
        visit.close()
    subject.await_idle()
    failures = {name: future.exception() for name, future in running.items()}
    return [f"{name}: {type(error).__name__}: {error}" for name, error in failures.items() if error is not None]


class Soak(threading.Thread):
    """One server's. `more`: whether another cycle is wanted, by the number of those that are done and the seconds so far."""

    def __init__(
        self, subject: Subject, more: Callable[[int, float], bool], run: Callable[[Subject, int], list[str]] = cycle
    ) -> None:
        super().__init__(daemon=True)
        self.subject, self._more, self._run = subject, more, run
        self.samples: list[Sample] = []
        self.problems: list[str] = []

    def run(self) -> None:
        began = time.monotonic()
        try:
            while self._more(len(self.samples), time.monotonic() - began):
                for problem in self._run(self.subject, len(self.samples)):
                    self.problems.append(f"{self.subject.name}, cycle {len(self.samples)}: {problem}")
                    say(self.problems[-1])
                self.samples.append(self.subject.sample())
                self._show(self.samples[-1])
        except Exception as error:  # of a server that has ended, for instance: the samples so far are kept
            self.problems.append(f"{self.subject.name}: {type(error).__name__}: {error}")
            say(self.problems[-1])

    def _show(self, sample: Sample) -> None:
        used, heap, resident = (f"{each / (1 << 20):.2f}" for each in (sample.used, sample.heap, sample.resident))
        memory = f"{used} MiB used, {heap} MiB given by malloc, {resident} MiB resident"
        rest = f"{sample.files} files, {sample.threads} threads"
        say(f"{self.subject.name}: cycle {len(self.samples)}, {sample.seconds / 60:.1f} min: {memory}, {rest}")
