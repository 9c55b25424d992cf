"""bench/live.py: how the number of viewers is found, with a server whose limit is known."""

import time

import pytest

from bench import live


class FakeServer:
    """Smooth up to `short` viewers in short runs and up to `long` in long ones."""

    def __init__(self, short, long, spoil=None):
        self.short, self.long, self.spoil = short, long, spoil or {}
        self.runs = []

    def load(self, title, viewers, duration, **_):
        self.runs.append((viewers, duration))
        smooth = viewers <= (self.long if duration == 300 else self.short)
        report = {"continuity": 1.0 if smooth else 0.9, "refused": 0, "left": 0, "watching_mean": 0.97 * viewers}
        return {**report, **self.spoil.get(viewers, {})}


def find(server, guess):
    return live.find_viewers(server, guess, quick=False, began=time.monotonic())


@pytest.mark.parametrize("guess", [1, 4, 6, 9])
def test_the_limit_is_found_from_either_side(guess):
    server = FakeServer(short=6, long=6)
    viewers, report = find(server, guess)
    assert viewers == 6
    assert report["continuity"] == 1.0
    assert server.runs[-1] == (6, 300)


def test_what_a_long_run_does_not_confirm_is_not_claimed():
    server = FakeServer(short=6, long=4)
    assert find(server, 5)[0] == 4
    assert [run for run in server.runs if run[1] == 300] == [(6, 300), (5, 300), (4, 300)]


def test_nothing_is_claimed_once_time_is_up():
    server = FakeServer(short=3, long=2)
    began = time.monotonic() - live.LIMIT_SECONDS
    assert live.find_viewers(server, 3, quick=False, began=began)[0] == 0


@pytest.mark.parametrize("spoil", [{"refused": 1}, {"left": 2}, {"watching_mean": 4.0}])
def test_viewers_that_do_not_watch_do_not_count(spoil):
    assert find(FakeServer(short=5, long=5, spoil={5: spoil}), 5)[0] == 4
