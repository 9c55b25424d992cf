"""When a stream goes on, by a clock of the test's."""

import math

import grpc
import pytest
from fake_server import EVENTS, NAME
from longtake._attachment import FIRST_DELAY, LONGEST_DELAY, Attachment
from longtake._errors import Error
from longtake.v1.video_service_pb2 import GenerateVideoRequest, WatchVideoRequest

LOST = Error("socket closed", grpc.StatusCode.UNAVAILABLE)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def attachment(clock, request=None, limit=30, uniform=max, begun=True):
    made = Attachment(request or WatchVideoRequest(name=NAME), limit, clock, uniform)
    if begun:
        made.received(EVENTS[0])
    return made


def test_delays_double_up_to_a_limit():
    clock, delays = Clock(), []
    lost = attachment(clock, limit=1000)
    for _ in range(8):
        delays.append(lost.delay_after(LOST))
        clock.now += delays[-1]
    assert delays == [min(FIRST_DELAY * 2**i, LONGEST_DELAY) for i in range(8)]


def test_delays_have_jitter():
    asked = []
    attachment(Clock(), uniform=lambda *bounds: asked.append(bounds) or 0.5).delay_after(LOST)
    assert asked == [(0.5, 1)]
    assert attachment(Clock(), uniform=lambda *_: 0.5).delay_after(LOST) == FIRST_DELAY / 2


def test_a_response_begins_the_count_anew():
    clock = Clock()
    lost = attachment(clock)
    for _ in range(20):  # far more than 30 s in all
        first = lost.delay_after(LOST)
        clock.now += first
        second = lost.delay_after(LOST)
        clock.now += second + 2
        assert (first, second) == (FIRST_DELAY, 2 * FIRST_DELAY)
        lost.received(EVENTS[2])


def test_it_gives_up_after_the_limit():
    clock = Clock()
    lost = attachment(clock, limit=10)
    with pytest.raises(Error) as raised:
        while True:
            clock.now += lost.delay_after(LOST)
    assert raised.value is LOST
    assert 5 < clock.now - 100 <= 10


def test_with_no_limit_at_all_it_never_goes_on():
    with pytest.raises(Error):
        attachment(Clock(), limit=0).delay_after(LOST)


def test_the_server_says_how_long():
    told = Error("starting", grpc.StatusCode.UNAVAILABLE, "MODEL_LOADING", retry_after=7)
    assert attachment(Clock()).delay_after(told) == 7 + FIRST_DELAY
    assert attachment(Clock(), begun=False).delay_after(told) == 7 + FIRST_DELAY
    with pytest.raises(Error):  # later than it would wait
        attachment(Clock(), limit=6).delay_after(told)
    with pytest.raises(Error):
        attachment(Clock()).delay_after(Error("stay away", grpc.StatusCode.UNAVAILABLE, retry_after=math.inf))


QUOTA = Error("too many calls", grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", retry_after=1)


@pytest.mark.parametrize(
    ("error", "begun", "goes_on"),
    [
        (LOST, True, True),
        (LOST, False, False),  # there is no server
        (Error("reset", grpc.StatusCode.INTERNAL), True, True),
        (Error("reset", grpc.StatusCode.UNKNOWN), True, True),
        (Error("a defect", grpc.StatusCode.INTERNAL, "INTERNAL"), True, False),
        (Error("store", grpc.StatusCode.UNAVAILABLE, "STORE_FAILED"), True, True),
        (Error("gone", grpc.StatusCode.NOT_FOUND, "VIDEO_NOT_FOUND"), True, False),
        (Error("slow", grpc.StatusCode.ABORTED, "NOT_READ"), True, False),
        (QUOTA, True, True),
        (QUOTA, False, False),  # the caller decides whether a new video is worth the wait
    ],
)
def test_which_errors_it_goes_on_behind(error, begun, goes_on):
    stream = attachment(Clock(), begun=begun)
    if goes_on:
        assert stream.delay_after(error) > 0
    else:
        with pytest.raises(Error) as raised:
            stream.delay_after(error)
        assert raised.value is error


def test_what_is_asked_for_next():
    first = WatchVideoRequest(name=NAME, from_block=1, follow=False, viewer_id="v", without_progress=True)
    stream = attachment(Clock(), first, begun=False)
    assert stream.request == first
    stream.received(EVENTS[3])
    rest = WatchVideoRequest(name=NAME, resume_token="4", follow=False, viewer_id="v", without_progress=True)
    assert stream.request == rest

    stream = attachment(Clock(), GenerateVideoRequest(viewer_id="w"))
    assert stream.request == WatchVideoRequest(name=NAME, resume_token="1", viewer_id="w")
    assert stream.video.name == NAME
