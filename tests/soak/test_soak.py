"""The soak's estimator and loop, and two cycles of it against a real server. Nothing here is about time."""

import contextlib
import dataclasses
import os
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cluster import ROOT
from tests.faults.processes import Redis, pause
from tests.soak.estimate import Slope, residual, theil_sen
from tests.soak.sample import Sample, pages, take
from tests.soak.soak import STEPS, Soak, cycle, name_of
from tests.soak.subject import TUNABLES, Places, Subject
from tests.soak.verdict import MIB, Growth, growth, problems

BUILD = ROOT / "build/release"
PROBE, LEAK = BUILD / "longtake-soak-probe.so", BUILD / "longtake-soak-leak.so"

probe_built = pytest.mark.skipif(not PROBE.is_file() or not LEAK.is_file(), reason="build/release is missing")
built = pytest.mark.skipif(
    not PROBE.is_file() or not (BUILD / "longtake-server").is_file() or Redis.PROGRAM is None,
    reason="build/release or redis-tools is missing",
)


def test_a_line_has_its_slope() -> None:
    times = [0.0, 1.0, 2.5, 3.0, 7.0, 8.0]
    slope = theil_sen(times, [5 + 2 * time for time in times])
    assert slope == Slope(pytest.approx(2), pytest.approx(2), pytest.approx(2))


def test_wrong_samples_do_not_move_the_slope() -> None:
    times = [float(i) for i in range(40)]
    values = [0.5 * time for time in times]
    for i in range(0, 40, 5):
        values[i] += 1000
    slope = theil_sen(times, values)
    assert slope.value == pytest.approx(0.5)
    assert residual(times, values, slope.value) == pytest.approx(0)


def test_the_bounds_hold_as_often_as_they_say() -> None:
    rng = random.Random(1)
    times = [float(i) for i in range(40)]
    inside = 0
    for _ in range(200):
        slope = theil_sen(times, [3 * time + rng.gauss(0, 20) for time in times])
        inside += slope.low <= 3 <= slope.high
    assert 180 <= inside < 200  # 190 by their definition


def test_the_distance_of_samples_from_their_line() -> None:
    times = [0.0, 1.0, 2.0, 3.0, 4.0]
    assert residual(times, [10 + 2 * time + (-1) ** i for i, time in enumerate(times)], 2) == pytest.approx(0, abs=2)
    assert residual(times, [7 + time for time in times], 1) == 0


def test_too_few_samples_are_no_slope() -> None:
    with pytest.raises(ValueError, match="4 samples are too few"):
        theil_sen([1, 2, 3, 4], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="5 times, 4 values"):
        theil_sen([1, 2, 3, 4, 5], [1, 2, 3, 4])


def samples(rate: float = 0, noise: float = 0, files: float = 0, threads: float = 0) -> list[Sample]:
    """One each half minute for half an hour. Rates an hour; memory and its noise in MiB. Resident memory always grows."""
    rng = random.Random(2)
    made = []
    for seconds in range(30, 1800, 30):
        hours = seconds / 3600
        used = round((50 + rate * hours + rng.gauss(0, noise)) * MIB)
        made.append(Sample(seconds, used, used, used + seconds * 1000, int(30 + files * hours), int(40 + threads * hours)))
    return made


def grown(**rates: float) -> Growth:
    return growth(samples(**rates), settle=300)


def test_a_server_that_stays_as_it_is_passes() -> None:
    assert problems(grown(noise=0.1), grown(rate=4, noise=0.1), limit=1) == []
    assert problems(grown(rate=0.5), grown(rate=4), limit=1) == []


@pytest.mark.parametrize(
    ("sound", "control", "what"),
    [
        (grown(rate=1.5), grown(rate=4), "used memory grows by 1.50 MiB"),
        (grown(files=10), grown(rate=4), "open files grow by"),
        (grown(threads=10), grown(rate=4), "threads grow by"),
        (grown(), grown(), "the control was not caught"),
        (grown(), grown(rate=1.2, noise=2), "the control was not caught"),
    ],
)
def test_what_is_wrong_is_found(sound: Growth, control: Growth, what: str) -> None:
    found = problems(sound, control, limit=1)
    assert any(what in problem for problem in found), found


def test_what_grows_only_at_the_beginning_is_no_growth() -> None:
    early = [dataclasses.replace(s, used=s.used + min(900, int(s.seconds)) * MIB) for s in samples()]
    assert growth(early, settle=900).used.value == pytest.approx(0)
    assert growth(early, settle=300).used.value > 1


def test_a_thread_that_comes_and_goes_is_no_growth() -> None:
    jumping = [dataclasses.replace(s, threads=s.threads + i % 2) for i, s in enumerate(samples())]
    assert problems(growth(jumping, settle=300), grown(rate=4), limit=1) == []


class _Subject:
    """One of which only samples are asked."""

    name = "subject"

    def __init__(self) -> None:
        self.taken = 0

    def sample(self) -> Sample:
        self.taken += 1
        return Sample(self.taken, 0, 0, 0, 0, 0)


def soaked(run, cycles: int = 3) -> Soak:
    soak = Soak(_Subject(), more=lambda done, _: done < cycles, run=run)
    soak.start()
    soak.join()
    return soak


def test_a_sample_comes_behind_each_cycle() -> None:
    order: list[tuple[int, int]] = []
    soak = soaked(lambda subject, number: order.append((number, subject.taken)) or [])
    assert order == [(0, 0), (1, 1), (2, 2)]
    assert [sample.seconds for sample in soak.samples] == [1, 2, 3]
    assert soak.problems == []


def test_what_was_wrong_in_a_cycle_is_kept_and_the_next_one_comes() -> None:
    soak = soaked(lambda _, number: ["grpc.direct: no answer"] if number == 1 else [])
    assert len(soak.samples) == 3
    assert soak.problems == ["subject, cycle 1: grpc.direct: no answer"]


def test_a_server_that_has_ended_ends_the_loop_and_its_samples_are_kept() -> None:
    def run(_: _Subject, number: int) -> list[str]:
        if number == 2:
            raise RuntimeError("subject has ended")
        return []

    soak = soaked(run, cycles=10)
    assert len(soak.samples) == 2
    assert soak.problems == ["subject: RuntimeError: subject has ended"]


def test_the_document_has_all_steps() -> None:
    text = (ROOT / "docs/soak.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", text, re.MULTILINE)
    assert rows == [name_of(step) for step in STEPS]
    assert len(set(rows)) == len(rows)


@contextlib.contextmanager
def preloaded(folder: Path, leak: int) -> Iterator[tuple[int, Path]]:
    """A process that does nothing, with the probe, and with a leak of so many bytes a second."""
    probe = folder / "probe"
    environment = os.environ | {"LD_PRELOAD": str(PROBE), "LONGTAKE_SOAK_PROBE": str(probe), "GLIBC_TUNABLES": TUNABLES}
    if leak:
        environment |= {"LD_PRELOAD": f"{PROBE} {LEAK}", "LONGTAKE_SOAK_LEAK": str(leak)}
    process = subprocess.Popen(["sleep", "infinity"], env=environment)
    try:
        while not probe.exists():
            pause()
        yield process.pid, probe
    finally:
        process.kill()
        process.wait()


def test_what_is_in_the_arena_and_what_is_not() -> None:
    smaps = (
        "00400000-00500000 r--p 00000000 08:01 7 /usr/bin/a\nAnonymous:             4 kB\nSwap:                  0 kB\n"
        "00900000-00a00000 rw-p 00000000 00:00 0 [heap]\nAnonymous:            40 kB\nSwap:                  8 kB\n"
        "7f160788d000-7f160789d000 rw-p 00000000 00:00 0 \nAnonymous:           100 kB\nLazyFree:             50 kB\n"
    )
    assert pages(smaps) == (48 << 10, 104 << 10)


@probe_built
def test_the_probe_says_what_a_process_has(tmp_path: Path) -> None:
    with preloaded(tmp_path, leak=0) as (pid, probe):
        first, second = take(pid, probe, 1), take(pid, probe, 2)
    assert first.threads == 2
    assert 0 < first.heap < first.used < first.resident < 4 * MIB
    assert abs(second.used - first.used) < MIB / 16
    assert second.files == first.files


@probe_built
@pytest.mark.parametrize("leak", [4 * MIB, 64 << 10])  # blocks of mappings of their own, and of the heap
def test_the_leak_is_seen(leak: int, tmp_path: Path) -> None:
    with preloaded(tmp_path, leak) as (pid, probe):
        first = last = take(pid, probe, 0)
        while last.heap - first.heap < 3 * leak:
            pause()
            last = take(pid, probe, 0)
    # But for a block that was given just now, and is not written yet.
    assert last.used - first.used >= last.heap - first.heap - leak - MIB / 16


@built
def test_two_cycles_do_all_that_they_should(tmp_path: Path) -> None:
    with Subject("sound", Places(BUILD, ROOT / "models/longtake-tiny", tmp_path)) as subject:
        for number in range(2):
            assert cycle(subject, number) == []
        sample = subject.sample()
        assert sample.used < sample.resident
        assert subject.collector.taken > 0
        assert all(f"read again file={path}" in subject.server.log_text() for path in subject.replaced())
        assert subject.server.runs()
