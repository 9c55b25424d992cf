"""Steps of a cycle: what clients do by gRPC."""

import longtake
from longtake.v1.video_service_pb2 import CreateViewingLinkRequest, GetVideoRequest, ListVideosRequest
from longtake.v1.video_service_pb2_grpc import VideoServiceStub

from tests.soak.subject import FORBIDDEN
from tests.soak.visit import ONE_BLOCK, SHORT, TWO_BLOCKS, Visit, expect


def _watched(stream: longtake.Stream) -> list[str]:
    """The kinds of all events, to the end."""
    with stream:
        return [event.WhichOneof("event") for event in stream]


def create_and_watch(visit: Visit) -> None:
    with visit.client() as client, visit.client() as other:
        request = {"seconds": SHORT, "seed": 1, "request_id": visit.new_id()}
        prompt = visit.prompt("a red ball bounces")
        video = client.create(prompt, **request)
        expect(other.create(prompt, **request).name == video.name, "a repeated request has made another video")
        with visit.refused("REQUEST_ID_REUSED"):
            other.create(prompt, **request | {"seed": 2})
        for stream in (client.watch(video.name), other.watch(video.name, from_block=0, without_progress=True)):
            expect(_watched(stream)[-1] == "finished", "a watch has no end")
        expect(_watched(client.watch(video.name, live=True))[-1] == "finished", "a watch of the newest block has no end")
        expect("chunk" in _watched(client.watch(video.name, follow=False)), "nothing is there of what was made")
        expect(client.get(video.name).progress.block_count > 0, "a made video has no blocks")


def generate(visit: Visit) -> None:
    with visit.client() as client:
        viewer = visit.new_id()
        with client.generate(visit.prompt("a blue boat sails left"), seconds=SHORT, seed=2, viewer_id=viewer) as stream:
            for event in stream:
                if event.HasField("chunk"):
                    paused = event.chunk.index == 0
                    try:
                        client.report_playback(stream.video.name, 0.1, paused=paused, viewer_id=viewer)
                    except longtake.Error as error:
                        expect(error.reason == "VIEWER_NOT_FOUND", error)  # all has been sent: nobody watches any more


def leave(visit: Visit) -> None:
    """A viewer that goes in the midst of a video, which then ends."""
    with visit.client() as client:
        stream = client.generate(visit.prompt("a green star"), seconds=ONE_BLOCK, seed=3)
        for event in stream:
            if event.HasField("chunk"):
                break
        stream.close()


def come_back(visit: Visit) -> None:
    """With the token of the last event, from another connection, until there is no more."""
    with visit.client() as client:
        video = client.create(visit.prompt("a yellow sun rises"), seconds=SHORT, seed=4, on_disconnect="pause")
    token, kind = "", ""
    while kind != "finished":
        with visit.client() as client, client.watch(video.name, resume_token=token) as stream:
            for event in stream:
                token, kind = event.resume_token or token, event.WhichOneof("event")
                if kind == "chunk":
                    break


def direct(visit: Visit) -> None:
    """Another prompt, and forks that end when their viewers have what the two videos share."""
    with visit.client() as client:
        prompts = {0.5: visit.prompt("a white cloud")}
        video = client.create(visit.prompt("a red ball bounces"), seconds=TWO_BLOCKS, seed=5, prompt_changes=prompts)
        try:
            client.change_prompt(video.name, visit.prompt("a green star"))
        except longtake.Error as error:
            expect(error.reason in ("NO_BLOCK_LEFT", "VIDEO_ENDED"), error)  # it is made already
        expect(_watched(client.watch(video.name))[-1] == "finished", "a watch has no end")
        fork = client.fork(video.name, visit.prompt("a blue boat"), from_block=1)
        other = visit.ask_json(f"/v1/{video.name}/fork", {"from_block": 1, "prompt": visit.prompt("a white cloud")})
        with visit.open(f"/v1/videos/{other['id']}/stream.mp4") as answer:
            answer.read(1000)  # and goes
        visit.ask(f"/v1/videos/{other['id']}", method="DELETE")
        with client.watch(fork.name) as stream:
            for event in stream:
                if event.HasField("chunk"):
                    break
        client.delete(fork.name)
        with visit.refused("VIDEO_NOT_FOUND"):
            client.get(fork.name)


def cancel(visit: Visit) -> None:
    with visit.client() as client:
        video = client.create(visit.prompt("a white cloud"), seconds=ONE_BLOCK, seed=6, offline=True, priority=3)
        client.cancel(video.name)
        with visit.refused("VIDEO_CANCELLED"):
            _watched(client.watch(video.name))
        video = client.create(visit.prompt("a white cloud"), seconds=ONE_BLOCK, seed=6)
        # The second where the video's end comes before its removal.
        with visit.refused("VIDEO_NOT_FOUND", "VIDEO_CANCELLED"):
            for event in client.watch(video.name):
                if event.HasField("chunk"):
                    client.delete(video.name)


def look_around(visit: Visit) -> None:
    with visit.client() as client:
        for _ in range(20):
            client.quote(seconds=2)
            client.quote(seconds=2, offline=True)
        expect(len(list(client.models())) == 1, "there is another number of models than one")
        list(client.list())
    with visit.channel() as channel:
        videos = VideoServiceStub(channel)
        page = videos.ListVideos(ListVideosRequest(page_size=2), metadata=visit.metadata())
        videos.ListVideos(ListVideosRequest(page_size=2, page_token=page.next_page_token), metadata=visit.metadata())
        for video in page.videos:
            videos.GetVideo(GetVideoRequest(name=video.name), metadata=visit.metadata())
            videos.CreateViewingLink(CreateViewingLinkRequest(name=video.name), metadata=visit.metadata())
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        ask = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        list_services = b"\x3a\x01*"
        expect(any(b"longtake.v1" in each for each in ask(iter([list_services]), metadata=visit.metadata())), "no services")


def be_refused(visit: Visit) -> None:
    with visit.client() as client:
        made = client.create(visit.prompt("a green star"), seconds=SHORT, seed=7, request_id=visit.new_id())
        calls = (
            (lambda: client.create("", seconds=1), "INVALID_REQUEST"),
            (lambda: client.create(visit.new_id(), seconds=1e6), "INVALID_REQUEST"),
            (lambda: client.create(visit.new_id(), size=(1, 1)), "INVALID_REQUEST"),
            (lambda: client.create(visit.new_id(), model=visit.new_id()), "INVALID_REQUEST"),
            (lambda: client.create(visit.new_id(), request_id="ä"), "INVALID_REQUEST"),
            (lambda: client.create(f"{visit.new_id()} {FORBIDDEN}"), "POLICY_REFUSED"),
            (lambda: client.get(visit.new_id()), "VIDEO_NOT_FOUND"),
            (lambda: client.cancel(visit.new_id()), "VIDEO_NOT_FOUND"),
            (lambda: client.fork(visit.new_id(), "a ball", from_block=1), "VIDEO_NOT_FOUND"),
            (lambda: client.fork(made.name, "a ball", from_block=1000), "INVALID_REQUEST"),
            (lambda: client.report_playback(made.name, 0, viewer_id=visit.new_id()), "VIEWER_NOT_FOUND"),
            (lambda: list(client.watch(made.name, from_block=1000)), "INVALID_REQUEST"),
            (lambda: list(client.watch(made.name, resume_token=visit.new_id())), "INVALID_REQUEST"),
        )
        for call, reason in calls:
            with visit.refused(reason):
                call()
    for tenant, reason in (("limited", "QUOTA_EXCEEDED"), ("other", "VIDEO_NOT_FOUND")):
        with visit.client(tenant) as client, visit.refused(reason):
            client.create(visit.new_id()) if tenant == "limited" else client.get(made.name)
    with visit.client(token=visit.new_id()) as client, visit.refused("UNAUTHENTICATED"):
        client.get(made.name)


STEPS = (create_and_watch, generate, leave, come_back, direct, cancel, look_around, be_refused)
