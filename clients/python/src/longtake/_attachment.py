"""Reconnection of one stream: which request to send next, and when."""

import random
import time
from collections.abc import Callable

import grpc

from longtake._errors import Error
from longtake.v1.events_pb2 import WatchVideoResponse
from longtake.v1.resources_pb2 import Video
from longtake.v1.video_service_pb2 import GenerateVideoRequest, WatchVideoRequest

FIRST_DELAY = 0.25  # most broken connections can be opened again at once
LONGEST_DELAY = 5.0  # a restarted server is found within 5 s
# Without an ErrorInfo these codes come from the transport: a broken connection, or a stream that a proxy has reset.
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


class Attachment:
    """The state that both kinds of streams share. It does no I/O and does not sleep.

    A stream that has received a response is resumed with its resume token if the connection fails or the server says when
    to retry. A stream without a response is retried only if the server is starting or stopping and says when.
    """

    def __init__(
        self,
        request: GenerateVideoRequest | WatchVideoRequest,
        limit: float,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """`limit`: after so many seconds without a response the connection's error is raised."""
        self._first = request
        self.video: Video | None = None  # as it was accepted
        self.resume_token = ""  # of the last response
        self.finished = False
        self._limit, self._clock, self._uniform = limit, clock, uniform
        self._failures = 0  # since the last response
        self._first_failure = 0.0

    @property
    def request(self) -> GenerateVideoRequest | WatchVideoRequest:
        """The first request, or one that resumes after the last response."""
        first = self._first
        if not self.resume_token:
            return first
        rest = WatchVideoRequest(
            resume_token=self.resume_token, viewer_id=first.viewer_id, without_progress=first.without_progress
        )
        if isinstance(first, WatchVideoRequest):
            rest.name = first.name
            if first.HasField("follow"):
                rest.follow = first.follow
        elif self.video is not None:  # a generated video's first response is `accepted`
            rest.name = self.video.name
        return rest

    def received(self, event: WatchVideoResponse) -> None:
        self._failures = 0
        self.finished = event.HasField("finished")
        if event.HasField("accepted"):
            self.video = event.accepted.video
        if event.resume_token:
            self.resume_token = event.resume_token

    def delay_after(self, error: Error) -> float:
        """Seconds to wait before `request` is sent. Raises the error if it is final or the limit would be exceeded."""
        begun = self.resume_token != ""
        lost = error.code in _LOST if not error.reason else error.code == grpc.StatusCode.UNAVAILABLE
        told = error.retry_after is not None
        if sum((begun, lost, told)) < 2:
            raise error
        now = self._clock()
        if self._failures == 0:
            self._first_failure = now
        # The jitter is added to the server's time as well, so that its viewers do not all return at one moment.
        delay = min(FIRST_DELAY * 2**self._failures, LONGEST_DELAY) * self._uniform(0.5, 1) + (error.retry_after or 0)
        if now + delay - self._first_failure > self._limit:
            raise error
        self._failures += 1
        return delay
