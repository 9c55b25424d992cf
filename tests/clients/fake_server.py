"""A server of longtake.v1 in Python that sends one video, fails where a test says, and keeps what it was asked."""

import threading
from concurrent import futures

import grpc
from google.protobuf import empty_pb2
from google.protobuf.any_pb2 import Any
from google.rpc import code_pb2, error_details_pb2, status_pb2
from longtake.v1 import events_pb2, resources_pb2, video_service_pb2, video_service_pb2_grpc

NAME = "videos/0123456789abcdef0123456789abcdef"


def video_events(parts=8):
    """Of a video of two-part chunks; the token of the nth event is str(n)."""
    video = resources_pb2.Video(name=NAME)
    video.format.duration.seconds = parts // 2
    events = [
        events_pb2.WatchVideoResponse(accepted=events_pb2.Accepted(video=video)),
        events_pb2.WatchVideoResponse(init_segment=events_pb2.InitSegment(data=b"init")),
    ]
    for i in range(parts):
        chunk = events_pb2.Chunk(data=b"<part %d>" % i, block=i // 2, part=i % 2, part_count=2)
        chunk.pts_offset.seconds = i // 2
        chunk.duration.seconds = 1
        events.append(events_pb2.WatchVideoResponse(chunk=chunk))
    events.append(events_pb2.WatchVideoResponse(finished=events_pb2.Finished(chunk_count=parts // 2)))
    for number, event in enumerate(events, 1):
        event.resume_token = str(number)
    return events


EVENTS = video_events()
MEDIA = b"".join(event.init_segment.data or event.chunk.data for event in EVENTS)


class Fail(Exception):
    """A status with details, as the real server sends them."""

    def __init__(self, code, reason="", metadata=None, retry_after=None, fields=None, pushback=None):
        self.code, self.pushback = code, pushback
        self.details = []
        if reason:
            self.details.append(error_details_pb2.ErrorInfo(reason=reason, domain="longtake", metadata=metadata))
        if fields:
            bad = error_details_pb2.BadRequest()
            for field, description in fields.items():
                bad.field_violations.add(field=field, description=description)
            self.details.append(bad)
        if retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(round(retry_after * 1000))
            self.details.append(retry)

    def abort(self, context):
        trailers = []
        if self.pushback is not None:
            trailers.append(("grpc-retry-pushback-ms", self.pushback))
        if self.details:
            status = status_pb2.Status(code=code_pb2.Code.Value(self.code.name), message="as the test says")
            for detail in self.details:
                packed = Any()
                packed.Pack(detail)
                status.details.append(packed)
            trailers.append(("grpc-status-details-bin", status.SerializeToString()))
        context.set_trailing_metadata(trailers)
        context.abort(self.code, "as the test says")


class FakeServer(video_service_pb2_grpc.VideoServiceServicer):
    """On a port of 127.0.0.1, as a context.

    failures: what the next calls do. Of a stream, (n, Fail): fails after n responses; else a Fail
    hold_from: the number of an event before which streams wait until `go_on` is set
    """

    def __init__(self, credentials=None):
        self.failures = []
        self.hold_from = None
        self.go_on = threading.Event()
        self.requests = []
        self.metadata = []
        # Like the real one, it has nothing against the client's pings.
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.http2.max_ping_strikes", 0)])
        video_service_pb2_grpc.add_VideoServiceServicer_to_server(self, self._server)
        if credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self.go_on.set()
        self._server.stop(0).wait()

    def GenerateVideo(self, request, context):
        yield from self._stream(request, context, 0)

    def WatchVideo(self, request, context):
        yield from self._stream(request, context, int(request.resume_token or 0))

    def CreateVideo(self, request, context):
        return self._answer(request, context, resources_pb2.Video(name=NAME))

    def GetVideo(self, request, context):
        return self._answer(request, context, resources_pb2.Video(name=request.name))

    def ListVideos(self, request, context):
        page = int(request.page_token or 0)
        videos = [resources_pb2.Video(name=f"videos/{page}{i}") for i in range(2)]
        answer = video_service_pb2.ListVideosResponse(videos=videos, next_page_token=str(page + 1) if page < 2 else "")
        return self._answer(request, context, answer)

    def DeleteVideo(self, request, context):
        return self._answer(request, context, empty_pb2.Empty())

    def _answer(self, request, context, answer):
        self._keep(request, context)
        if self.failures:
            self.failures.pop(0).abort(context)
        return answer

    def _stream(self, request, context, first):
        self._keep(request, context)
        sent, failure = self.failures.pop(0) if self.failures else (None, None)
        for number, event in enumerate(EVENTS[first:], first):
            if number - first == sent:
                failure.abort(context)
            if number == self.hold_from:
                self.go_on.wait()
            yield event
        if failure is not None:
            failure.abort(context)

    def _keep(self, request, context):
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
