"""The client for threads."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Unpack

import grpc

from longtake import _requests
from longtake._base import ClientBase, StreamBase, media_of
from longtake._endpoint import FilePath
from longtake._errors import from_call
from longtake._files import PartFile
from longtake._progress import progress_bar
from longtake._requests import ForkOptions, Options
from longtake.v1.events_pb2 import PromptChanged, WatchVideoResponse
from longtake.v1.model_service_pb2 import ListModelsRequest
from longtake.v1.resources_pb2 import Model, Video
from longtake.v1.video_service_pb2 import (
    CancelVideoRequest,
    DeleteVideoRequest,
    GenerateVideoRequest,
    GetVideoRequest,
    ListVideosRequest,
    QuoteVideoResponse,
    WatchVideoRequest,
)


class Stream(StreamBase, Iterator[WatchVideoResponse]):
    """An iterator of a video's events. It makes its call for the first one, and resumes after a lost connection.

    As the last expression of a notebook's cell it shows a player.
    """

    def __init__(self, client: "Client", request: GenerateVideoRequest | WatchVideoRequest) -> None:
        super().__init__(client, request)
        self._closed = threading.Event()
        self._current: Any = None
        self._events = self._receive()

    def __next__(self) -> WatchVideoResponse:
        return next(self._events)

    def media(self) -> Iterator[bytes]:
        """Yields the bytes of the MP4 as they come. The video plays while they do."""
        with self:
            for event in self:
                if data := media_of(event):
                    yield data

    def save(self, path: FilePath, *, progress: bool = False) -> Path:
        """Writes the MP4 as it comes, and returns its path.

        The file has a temporary name until it is complete. After an error it is removed, and an older file of the name is
        unchanged. progress: shows a bar; needs tqdm.
        """
        with self, PartFile(path) as file, progress_bar(progress) as show:
            for event in self:
                file.write(media_of(event))
                show(event)
            file.sync()
        return file.path

    def close(self) -> None:
        """Ends the stream; any thread may call it. What becomes of the video is its option `on_disconnect`."""
        self._closed.set()
        if self._current is not None:
            self._current.cancel()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ipython_display_(self) -> None:
        from longtake._notebook import play

        play(self)

    def _receive(self) -> Iterator[WatchVideoResponse]:
        while not self._closed.is_set():
            self._current = call = self._call()
            try:
                if self._closed.is_set():  # close() was called after the loop's check, and has cancelled an older call or none
                    return
                for event in call:
                    self._attachment.received(event)
                    yield event
                return
            except grpc.RpcError as error:
                if self._closed.is_set() or self._attachment.finished:
                    return
                failure = from_call(error)
            finally:
                call.cancel()
            self._closed.wait(self._attachment.delay_after(failure))


class Client(ClientBase):
    """A client of one server. It is thread-safe; each of its streams is for one thread."""

    _library: ClassVar[Any] = grpc

    def generate(
        self,
        prompt: str,
        *,
        seconds: float = 5,
        viewer_id: str = "",
        without_progress: bool = False,
        **options: Unpack[Options],
    ) -> Stream:
        """Makes a video and watches it from its beginning.

        If its last viewer leaves and none returns within the client's `reconnect_seconds`, the server cancels it; the option
        `on_disconnect` changes that. `longtake.Options` lists the options. 5 seconds are the command line's default, too.
        """
        return Stream(
            self,
            _requests.generate(prompt, seconds, viewer_id, without_progress, self._reconnect_seconds, options),
        )

    def create(self, prompt: str, *, seconds: float = 5, **options: Unpack[Options]) -> Video:
        """Starts a video and returns at once. By default it is made whether or not somebody watches."""
        return self._ask(self._videos.CreateVideo, _requests.create(prompt, seconds, options))

    def watch(
        self,
        name: str,
        *,
        from_block: int | None = None,
        live: bool = False,
        resume_token: str = "",
        follow: bool = True,
        viewer_id: str = "",
        without_progress: bool = False,
    ) -> Stream:
        """A video's events from its beginning, from a block, from the newest block (`live`) or after a resume token.

        follow:           until the video ends; if false, the stream ends after what has been made so far
        viewer_id:        identifies this viewer in `report_playback`
        without_progress: omits the events of single passes
        """
        return Stream(self, _requests.watch(name, from_block, live, resume_token, follow, viewer_id, without_progress))

    def get(self, name: str) -> Video:
        """The state of a video."""
        return self._ask(self._videos.GetVideo, GetVideoRequest(name=_requests.video_name(name)))

    def list(self) -> Iterator[Video]:
        """The caller's videos, the newest first."""
        return self._pages(self._videos.ListVideos, ListVideosRequest(), "videos")

    def cancel(self, name: str) -> Video:
        """Stops a video. What has been made can still be watched."""
        return self._ask(self._videos.CancelVideo, CancelVideoRequest(name=_requests.video_name(name)))

    def delete(self, name: str) -> None:
        """Stops a video and deletes its data."""
        self._ask(self._videos.DeleteVideo, DeleteVideoRequest(name=_requests.video_name(name)))

    def fork(
        self, name: str, prompt: str, *, from_block: int, seconds: float | None = None, **options: Unpack[ForkOptions]
    ) -> Video:
        """A new video that equals this one up to a block and then shows another prompt. `seconds` defaults to its length."""
        request = _requests.fork(name, prompt, from_block, seconds, options)
        return self._ask(self._videos.ForkVideo, request, max(self._timeout, _requests.FORK_TIMEOUT))

    def change_prompt(self, name: str, prompt: str, *, at_seconds: float | None = None) -> PromptChanged:
        """Changes the prompt from the first block at or after that second on; by default from the next block on."""
        request = _requests.change_prompt(name, prompt, at_seconds)
        return self._ask(self._videos.ChangePrompt, request).receipt

    def quote(self, prompt: str = "", *, seconds: float = 5, **options: Unpack[Options]) -> QuoteVideoResponse:
        """The times that `create` would be promised now. The answer has the field `refusal` if it would be refused."""
        return self._ask(self._videos.QuoteVideo, _requests.quote(prompt, seconds, options))

    def report_playback(self, name: str, position_seconds: float, *, paused: bool = False, viewer_id: str = "") -> float:
        """Reports a viewer's position. Returns after how many seconds to report again, if nothing changes before."""
        request = _requests.report_playback(name, position_seconds, paused, viewer_id)
        return self._ask(self._videos.ReportPlayback, request).report_delay.ToTimedelta().total_seconds()

    def models(self) -> Iterator[Model]:
        """The server's models, with what each accepts."""
        return self._pages(self._models.ListModels, ListModelsRequest(), "models")

    def close(self) -> None:
        """Closes the connection, which ends all streams."""
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, method: Any, request: Any, timeout: float | None = None) -> Any:
        try:
            return method(request, timeout=timeout or self._timeout, metadata=self._endpoint.metadata())
        except grpc.RpcError as error:
            raise from_call(error) from error

    def _pages(self, method: Any, request: Any, field: str) -> Iterator[Any]:
        while True:
            page = self._ask(method, request)
            yield from getattr(page, field)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
