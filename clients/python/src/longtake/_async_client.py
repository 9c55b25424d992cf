"""The client for asyncio."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Unpack

import grpc
import grpc.aio

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


class AsyncStream(StreamBase, AsyncIterator[WatchVideoResponse]):
    """As `Stream`, for asyncio. It shows no player in notebooks."""

    def __init__(self, client: "AsyncClient", request: GenerateVideoRequest | WatchVideoRequest) -> None:
        super().__init__(client, request)
        self._closed = asyncio.Event()
        self._current: Any = None
        self._events = self._receive()

    async def __anext__(self) -> WatchVideoResponse:
        return await anext(self._events)

    async def media(self) -> AsyncIterator[bytes]:
        """As `Stream.media`."""
        async with self:
            async for event in self:
                if data := media_of(event):
                    yield data

    async def save(self, path: FilePath, *, progress: bool = False) -> Path:
        """As `Stream.save`. Threads do the writing, so that a slow disk does not block other tasks."""
        async with self:
            with PartFile(path) as file, progress_bar(progress) as show:
                async for event in self:
                    await asyncio.to_thread(file.write, media_of(event))
                    show(event)
                await asyncio.to_thread(file.sync)
        return file.path

    async def close(self) -> None:
        """As `Stream.close`; any task may call it."""
        self._closed.set()
        if self._current is not None:
            self._current.cancel()

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _receive(self) -> AsyncIterator[WatchVideoResponse]:
        while not self._closed.is_set():
            self._current = call = self._call()
            try:
                async for event in call:
                    self._attachment.received(event)
                    yield event
                return
            except grpc.RpcError as error:
                if self._closed.is_set() or self._attachment.finished:
                    return
                failure = from_call(error)
            except asyncio.CancelledError:
                if self._closed.is_set():  # by close(); otherwise this task was cancelled
                    return
                raise
            finally:
                call.cancel()
            delay = self._attachment.delay_after(failure)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), delay)


class AsyncClient(ClientBase):
    """As `Client`, for asyncio: for the event loop in which the first call is made."""

    _library: ClassVar[Any] = grpc.aio

    def generate(
        self,
        prompt: str,
        *,
        seconds: float = 5,
        viewer_id: str = "",
        without_progress: bool = False,
        **options: Unpack[Options],
    ) -> AsyncStream:
        """As `Client.generate`."""
        return AsyncStream(
            self,
            _requests.generate(prompt, seconds, viewer_id, without_progress, self._reconnect_seconds, options),
        )

    async def create(self, prompt: str, *, seconds: float = 5, **options: Unpack[Options]) -> Video:
        """As `Client.create`."""
        return await self._ask(self._videos.CreateVideo, _requests.create(prompt, seconds, options))

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
    ) -> AsyncStream:
        """As `Client.watch`."""
        return AsyncStream(self, _requests.watch(name, from_block, live, resume_token, follow, viewer_id, without_progress))

    async def get(self, name: str) -> Video:
        """As `Client.get`."""
        return await self._ask(self._videos.GetVideo, GetVideoRequest(name=_requests.video_name(name)))

    def list(self) -> AsyncIterator[Video]:
        """As `Client.list`."""
        return self._pages(self._videos.ListVideos, ListVideosRequest(), "videos")

    async def cancel(self, name: str) -> Video:
        """As `Client.cancel`."""
        return await self._ask(self._videos.CancelVideo, CancelVideoRequest(name=_requests.video_name(name)))

    async def delete(self, name: str) -> None:
        """As `Client.delete`."""
        await self._ask(self._videos.DeleteVideo, DeleteVideoRequest(name=_requests.video_name(name)))

    async def fork(
        self, name: str, prompt: str, *, from_block: int, seconds: float | None = None, **options: Unpack[ForkOptions]
    ) -> Video:
        """As `Client.fork`."""
        request = _requests.fork(name, prompt, from_block, seconds, options)
        return await self._ask(self._videos.ForkVideo, request, max(self._timeout, _requests.FORK_TIMEOUT))

    async def change_prompt(self, name: str, prompt: str, *, at_seconds: float | None = None) -> PromptChanged:
        """As `Client.change_prompt`."""
        request = _requests.change_prompt(name, prompt, at_seconds)
        return (await self._ask(self._videos.ChangePrompt, request)).receipt

    async def quote(self, prompt: str = "", *, seconds: float = 5, **options: Unpack[Options]) -> QuoteVideoResponse:
        """As `Client.quote`."""
        return await self._ask(self._videos.QuoteVideo, _requests.quote(prompt, seconds, options))

    async def report_playback(self, name: str, position_seconds: float, *, paused: bool = False, viewer_id: str = "") -> float:
        """As `Client.report_playback`."""
        request = _requests.report_playback(name, position_seconds, paused, viewer_id)
        answer = await self._ask(self._videos.ReportPlayback, request)
        return answer.report_delay.ToTimedelta().total_seconds()

    def models(self) -> AsyncIterator[Model]:
        """As `Client.models`."""
        return self._pages(self._models.ListModels, ListModelsRequest(), "models")

    async def close(self) -> None:
        """As `Client.close`."""
        await self._channel.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _ask(self, method: Any, request: Any, timeout: float | None = None) -> Any:
        try:
            return await method(request, timeout=timeout or self._timeout, metadata=self._endpoint.metadata())
        except grpc.RpcError as error:
            raise from_call(error) from error

    async def _pages(self, method: Any, request: Any, field: str) -> AsyncIterator[Any]:
        while True:
            page = await self._ask(method, request)
            for item in getattr(page, field):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
