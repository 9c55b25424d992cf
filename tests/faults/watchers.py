"""Viewers that watch a video to its end, whatever happens to servers, and record what they are sent."""

import http.client
import json
import random
import threading
import time

import grpc
import longtake

from tests.faults.cluster import Cluster
from tests.faults.pool import Key, Recording
from tests.faults.processes import LONGEST

RETRY = 0.1  # seconds between two attempts to go on


class Viewer(threading.Thread):
    """Comes back to any server after each break, until the video has ended for it.

    error:     what a server said that is final, or that nothing came for too long
    ends:      how often it was told that the video has ended
    resumed:   breaks behind which more came
    different: chunks that came again with other bytes
    repeated:  chunks that came again though the viewer had not asked for them
    late:      what came behind the end
    """

    def __init__(self, video: str, cluster: Cluster, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self.video, self.cluster, self.rng = video, cluster, rng
        self.recording = Recording()
        self.order: list[Key] = []  # of the chunks' first coming
        self.error: str | None = None
        self.ends = self.resumed = self.different = self.repeated = self.late = 0
        self.longest_break = 0.0
        self._broken_since: float | None = None
        self._begun = False

    def run(self) -> None:
        last = time.monotonic()
        while not self.ends and self.error is None:
            before = len(self.order)
            self.watch()
            if self.ends or self.error is not None:
                break
            now = time.monotonic()
            if self._broken_since is None:
                self._broken_since = now
            if len(self.order) > before:
                last = now
            if now - last > LONGEST:
                self.error = "no chunk for too long"
            time.sleep(RETRY)

    def watch(self) -> None:
        """One attempt; returns when its connection ends."""
        raise NotImplementedError

    def more_came(self) -> None:
        """An event of the video, which shows that a break is over."""
        if self._broken_since is not None:
            self.longest_break = max(self.longest_break, time.monotonic() - self._broken_since)
            self.resumed += self._begun
            self._broken_since = None
        self._begun = True
        self.late += self.ends > 0

    def take_chunk(self, key: Key, data: bytes, asked_again: bool = False) -> None:
        known = self.recording.chunks.get(key)
        if known is None:
            self.order.append(key)
            self.recording.chunks[key] = data
        else:
            self.different += known != data
            self.repeated += not asked_again

    @property
    def newest_block(self) -> int:
        return max((block for block, _ in self.recording.chunks), default=0)


class GrpcViewer(Viewer):
    """By the Python client. Each break is ended by the resume token of the last event, so nothing may come twice."""

    # What a server, or a connection to one, says that may be better a moment later.
    PASSING = (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )

    def __init__(self, video: str, cluster: Cluster, rng: random.Random) -> None:
        super().__init__(video, cluster, rng)
        self.token = ""
        self._parts = b""

    def client(self) -> longtake.Client:
        return self.cluster.client(self.cluster.any_server(self.rng))

    def watch(self) -> None:
        try:
            with self.client().watch(self.video, resume_token=self.token, without_progress=True) as stream:
                for event in stream:
                    self.take(event)
        except longtake.Error as error:
            if error.reason and error.code not in self.PASSING:
                self.error = str(error)

    def take(self, event: longtake.v1.WatchVideoResponse) -> None:
        self.more_came()
        self.token = event.resume_token or self.token
        if event.HasField("init_segment"):
            self.recording.init = event.init_segment.data
        elif event.HasField("chunk"):
            chunk = event.chunk
            self._parts = event.chunk.data if chunk.part == 0 else self._parts + chunk.data
            if chunk.part + 1 == chunk.part_count:
                self.take_chunk((chunk.block, chunk.index), self._parts)
        elif event.HasField("finished"):
            self.ends += 1


class HttpViewer(Viewer):
    """By `watch` over HTTP, which has no tokens: it begins again with the block in which it was."""

    PASSING = ("OTHER_SERVER", "SHUTTING_DOWN", "MODEL_LOADING")

    def watch(self) -> None:
        port = self.cluster.any_server(self.rng).port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._of_this_connection: set[Key] = set()
        try:
            connection.request("GET", f"/v1/{self.video}/watch?from_block={self.newest_block}")
            answer = connection.getresponse()
            if answer.status != 200:
                text = answer.read().decode(errors="replace")
                if answer.status not in (429, 502, 503):
                    self.error = f"{answer.status} {text.strip()}"
                return
            while line := answer.readline():
                self.take(json.loads(line), answer)
        except (OSError, http.client.HTTPException, ValueError):
            pass  # the connection is gone, in the midst of a line perhaps
        finally:
            connection.close()

    def take(self, event: dict, answer: http.client.HTTPResponse) -> None:
        data = b""
        while len(data) < event.get("bytes", 0):
            part = answer.read(event["bytes"] - len(data))
            if not part:
                raise ValueError("the connection has ended")
            data += part
        kind = event["event"]
        if kind == "error":
            if event["code"] not in self.PASSING:
                self.error = f"{event['code']}: {event['message']}"
            return
        self.more_came()
        if kind == "init_segment":
            self.recording.init = data
        elif kind == "chunk":
            key = (event["block"], event["index"])
            self.take_chunk(key, data, asked_again=key not in self._of_this_connection)
            self._of_this_connection.add(key)
        elif kind == "finished":
            self.ends += 1
