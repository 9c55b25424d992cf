"""What both clients and both streams have in common."""

import functools
import threading
from typing import Any, ClassVar

from longtake._attachment import Attachment
from longtake._endpoint import FilePath, Token, make_endpoint
from longtake.v1.events_pb2 import WatchVideoResponse
from longtake.v1.model_service_pb2_grpc import ModelServiceStub
from longtake.v1.resources_pb2 import Video
from longtake.v1.video_service_pb2 import GenerateVideoRequest, WatchVideoRequest
from longtake.v1.video_service_pb2_grpc import VideoServiceStub


class ClientBase:
    """A connection to one server."""

    _library: ClassVar[Any]  # grpc or grpc.aio

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        token: Token | None = None,
        tls: bool = False,
        ca: FilePath | None = None,
        cert: FilePath | None = None,
        key: FilePath | None = None,
        timeout: float = 10,
        reconnect_seconds: float = 30,
    ) -> None:
        """The first call connects.

        token:             bearer token, or a function that returns one and is called before each call. It is sent in plain
                           text to this machine only
        tls:               encrypts, and trusts the public authorities that come with gRPC
        ca:                encrypts, and trusts the authorities in this PEM file
        cert, key:         PEM files of the client's own certificate and its key
        timeout:           of calls with one answer, in seconds. The server answers them at once, but for `fork`
        reconnect_seconds: how long a stream tries to resume after a lost connection, and how long the server keeps a
                           generated video for that. A higher value also costs device time for clients that never return

        ValueError names the argument that is wrong.
        """
        self._endpoint = make_endpoint(address, token, tls, ca, cert, key)
        self._timeout = timeout
        self._reconnect_seconds = reconnect_seconds
        self._opening = threading.Lock()
        self._opened: Any = None

    @property
    def _channel(self) -> Any:
        # Made by the first call, because a channel of asyncio belongs to the event loop in which it is made.
        with self._opening:
            if self._opened is None:
                self._opened = self._endpoint.channel(self._library)
            return self._opened

    @functools.cached_property
    def _videos(self) -> Any:
        return VideoServiceStub(self._channel)  # type: ignore[no-untyped-call]

    @functools.cached_property
    def _models(self) -> Any:
        return ModelServiceStub(self._channel)  # type: ignore[no-untyped-call]


class StreamBase:
    """A stream's position."""

    def __init__(self, client: ClientBase, request: GenerateVideoRequest | WatchVideoRequest) -> None:
        self._client = client
        self._attachment = Attachment(request, client._reconnect_seconds)

    @property
    def video(self) -> Video | None:
        """The video as it was accepted. None before the first event and in a watch from a resume token."""
        return self._attachment.video

    @property
    def resume_token(self) -> str:
        """The last event's. `watch` continues after it."""
        return self._attachment.resume_token

    def _call(self) -> Any:
        videos, request = self._client._videos, self._attachment.request
        method = videos.WatchVideo if isinstance(request, WatchVideoRequest) else videos.GenerateVideo
        return method(request, metadata=self._client._endpoint.metadata())


def media_of(event: WatchVideoResponse) -> bytes:
    """The event's bytes of the MP4; empty for events without media."""
    return event.init_segment.data or event.chunk.data
