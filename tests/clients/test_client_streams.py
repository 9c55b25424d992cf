"""Streams that are cut, closed and saved, by threads and by asyncio."""

import asyncio
import errno
import resource
import threading

import grpc
import longtake
import pytest
from fake_server import EVENTS, MEDIA, NAME, Fail
from relay import Relay
from support import running, until

LOST = Fail(grpc.StatusCode.UNAVAILABLE)


class Threads:
    """One interface for both clients, so that each test holds for both."""

    def __init__(self, address, **options):
        self._client = longtake.Client(address, **options)

    def events(self, ask, each=lambda event: None):
        received = []
        with self._client as client:
            for event in ask(client):
                received.append(event)
                each(event)
        return received

    def media(self, ask):
        with self._client as client:
            return b"".join(ask(client).media())

    def save(self, ask, path, **options):
        with self._client as client:
            return ask(client).save(path, **options)


class Asyncio:
    def __init__(self, address, **options):
        self._client = longtake.AsyncClient(address, **options)

    def events(self, ask, each=lambda event: None):
        async def receive():
            received = []
            async with self._client as client:
                async for event in ask(client):
                    received.append(event)
                    await asyncio.to_thread(each, event)
            return received

        return asyncio.run(receive())

    def media(self, ask):
        async def receive():
            async with self._client as client:
                return b"".join([data async for data in ask(client).media()])

        return asyncio.run(receive())

    def save(self, ask, path, **options):
        async def receive():
            async with self._client as client:
                return await ask(client).save(path, **options)

        return asyncio.run(receive())


@pytest.fixture(params=[Threads, Asyncio])
def kind(request):
    return request.param


def generate(client):
    return client.generate("a meadow")


def watch(client):
    return client.watch(NAME)


def test_a_whole_stream(kind, fake):
    assert kind(fake.address).events(generate) == EVENTS
    assert kind(fake.address).media(watch) == MEDIA


def test_nothing_is_lost_or_doubled_where_calls_end_early(kind, fake):
    """Behind each event in turn, between two parts of a chunk too, and behind the last but before the status."""
    fake.failures = [(1, LOST)] * len(EVENTS)
    assert kind(fake.address).events(generate) == EVENTS
    assert [getattr(request, "resume_token", "") for request in fake.requests] == ["", *map(str, range(1, len(EVENTS)))]


def test_nothing_is_lost_or_doubled_where_the_connection_is_cut(kind, fake):
    fake.hold_from = 5

    def cut(event):
        if event == EVENTS[4]:
            relay.cut()
            fake.go_on.set()

    with Relay(fake.address) as relay:
        assert kind(relay.address).events(generate, cut) == EVENTS
        assert relay.connections == 2


@pytest.mark.parametrize("refusal", [Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", retry_after=0.01), LOST])
def test_what_has_not_begun_is_an_error_at_once(kind, fake, refusal):
    fake.failures = [(0, refusal)]
    with pytest.raises(longtake.Error) as raised:
        kind(fake.address).events(generate)
    assert raised.value.code == refusal.code
    assert len(fake.requests) == 1


def test_a_video_that_fails_ends_its_stream(kind, fake):
    fake.failures = [(5, Fail(grpc.StatusCode.INTERNAL, "DEVICE_FAILED"))]
    received = []
    with pytest.raises(longtake.Error) as raised:
        kind(fake.address).events(watch, received.append)
    assert raised.value.reason == "DEVICE_FAILED"
    assert received == EVENTS[:5]


def test_a_server_that_is_still_loading_is_waited_for(kind, fake):
    fake.failures = [(0, Fail(grpc.StatusCode.UNAVAILABLE, "MODEL_LOADING", retry_after=0.01))]
    assert kind(fake.address).events(generate) == EVENTS
    assert fake.requests[0] == fake.requests[1]


def test_a_connection_that_stays_lost_is_an_error(kind, fake):
    fake.failures = [(3, LOST)] + [(0, LOST)] * 100
    received = []
    with pytest.raises(longtake.Error) as raised:
        kind(fake.address, reconnect_seconds=0.3).events(watch, received.append)
    assert raised.value.code == grpc.StatusCode.UNAVAILABLE
    assert received == EVENTS[:3]


def test_a_stream_knows_where_it_stands(fake):
    with longtake.Client(fake.address) as client:
        stream = generate(client)
        assert (stream.video, stream.resume_token) == (None, "")
        for _ in range(4):
            next(stream)
        assert (stream.video.name, stream.resume_token) == (NAME, "4")
        assert list(client.watch(NAME, resume_token=stream.resume_token)) == EVENTS[4:]


def test_closing_wakes_a_thread_that_waits(fake):
    fake.hold_from = 3
    received = []
    arrived = threading.Event()
    with longtake.Client(fake.address) as client:
        stream = watch(client)

        def receive():
            for event in stream:
                received.append(event)
                if len(received) == 3:
                    arrived.set()

        with running(receive):
            arrived.wait()
            stream.close()
        assert next(stream, None) is None
    assert received == EVENTS[:3]


def test_closing_wakes_a_task_that_waits(fake):
    fake.hold_from = 3

    async def main():
        received = []
        arrived = asyncio.Event()
        async with longtake.AsyncClient(fake.address) as client:
            stream = watch(client)

            async def receive():
                async for event in stream:
                    received.append(event)
                    if len(received) == 3:
                        arrived.set()

            task = asyncio.create_task(receive())
            await arrived.wait()
            await stream.close()
            await task
        return received

    assert asyncio.run(main()) == EVENTS[:3]


def test_a_cancelled_task_stays_cancelled(fake):
    fake.hold_from = 0

    async def main():
        async with longtake.AsyncClient(fake.address) as client:
            task = asyncio.create_task(anext(watch(client)))
            await asyncio.to_thread(until, lambda: fake.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_closing_ends_the_wait_for_a_lost_server(fake):
    fake.failures = [(3, Fail(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", retry_after=3600))]
    with longtake.Client(fake.address, reconnect_seconds=1e6) as client:
        stream = watch(client)
        for _ in range(3):
            next(stream)
        with running(next, stream, None):
            stream.close()


def test_saving_writes_as_it_comes(kind, fake, tmp_path):
    fake.hold_from = 5
    path = tmp_path / "video.mp4"
    path.write_bytes(b"old")
    saved = []
    with running(lambda: saved.append(kind(fake.address).save(watch, path))):
        (part,) = until(lambda: list(tmp_path.glob(".video.mp4.*.part")))
        until(lambda: part.read_bytes() == MEDIA[: MEDIA.index(b"<part 3>")])
        assert path.read_bytes() == b"old"
        fake.go_on.set()
    assert saved == [path]
    assert path.read_bytes() == MEDIA
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_leaves_what_there_was(kind, fake, tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"old")
    fake.failures = [(5, Fail(grpc.StatusCode.INTERNAL, "DEVICE_FAILED"))]
    with pytest.raises(longtake.Error):
        kind(fake.address).save(watch, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error(kind, fake, tmp_path):
    """By the limit on a file's size, which fails a write as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(MEDIA) - 1, before[1]))
    try:
        with pytest.raises(OSError) as raised:
            kind(fake.address).save(watch, tmp_path / "video.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_makes_no_video(kind, fake, tmp_path):
    with pytest.raises(FileNotFoundError):
        kind(fake.address).save(generate, tmp_path / "nix/video.mp4")
    assert not fake.requests


def test_a_saved_file_shows_its_progress(kind, fake, tmp_path, capfd):
    kind(fake.address).save(watch, tmp_path / "video.mp4", progress=True)
    assert "100%" in (shown := capfd.readouterr().err)
    assert "4.0/4.0 s of video" in shown
