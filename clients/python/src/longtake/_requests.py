"""Builds requests from keyword arguments. Omitted options are not sent, so the server's defaults apply."""

import math
import uuid
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from longtake.v1 import resources_pb2, video_service_pb2

FORK_TIMEOUT = 60.0  # its answer waits until the shared blocks are stored


class ForkOptions(TypedDict, total=False):
    """Options of `fork`, and of every new video."""

    prompt_changes: Mapping[float, str]  # second: the prompt from the first block at or after it on
    offline: bool  # not in real time, after all live videos
    adaptive: bool  # fewer steps, or the tiny decoder, for blocks that would be late
    priority: int  # among offline videos; higher goes first
    max_wait_seconds: float  # longest wait for a place
    max_lead_seconds: float  # how far ahead of its viewer it may be made
    on_disconnect: Literal["cancel", "continue", "pause"]  # what happens when the last viewer leaves
    reconnect_seconds: float  # how long it then waits for a viewer before it is cancelled
    request_id: str  # two calls with one id make one video; by default unique


class Options(ForkOptions, total=False):
    """Options of `generate`, `create` and `quote`."""

    negative_prompt: str
    seed: int
    size: tuple[int, int]  # width, height
    model: str
    first_image: bytes  # PNG, JPEG or WebP of the first frame, if the model's accepts_first_image is set
    adapters: Mapping[str, float]  # name: strength
    decoder: Literal["full", "tiny"]  # what makes its pictures; "tiny": in less time, with less detail


def create(prompt: str, seconds: float, options: Options) -> video_service_pb2.CreateVideoRequest:
    """TypeError or ValueError name the option."""
    _check_names(options, Options)
    request = video_service_pb2.CreateVideoRequest()
    spec = request.spec
    _set(spec, "prompt", prompt)
    spec.duration.CopyFrom(duration("seconds", seconds))
    for name in ("negative_prompt", "seed", "model", "first_image"):
        _set(spec, name, options.get(name))
    if (size := options.get("size")) is not None:
        try:
            spec.size.width, spec.size.height = size
        except (TypeError, ValueError):
            raise ValueError(f"size: {size!r} is no (width, height)") from None
    for name, strength in (options.get("adapters") or {}).items():
        spec.adapters.add(name=name, strength=strength)
    if (decoder := options.get("decoder")) is not None:
        if decoder not in ("full", "tiny"):
            raise ValueError(f'decoder: {decoder!r} is neither "full" nor "tiny"')
        spec.decoder = resources_pb2.Decoder.Value(f"DECODER_{decoder.upper()}")
    _finish(request, spec, options)
    return request


def generate(
    prompt: str, seconds: float, viewer_id: str, without_progress: bool, reconnect_seconds: float, options: Options
) -> video_service_pb2.GenerateVideoRequest:
    """`reconnect_seconds` is the default of the option of that name, so that a stream can be resumed."""
    if options.get("on_disconnect", "cancel") == "cancel":
        options = {"reconnect_seconds": reconnect_seconds, **options}
    made = create(prompt, seconds, options)
    request = video_service_pb2.GenerateVideoRequest(
        spec=made.spec, delivery_options=made.delivery_options, request_id=made.request_id
    )
    _set(request, "viewer_id", viewer_id)
    _set(request, "without_progress", without_progress)
    return request


def quote(prompt: str, seconds: float, options: Options) -> video_service_pb2.QuoteVideoRequest:
    made = create(prompt, seconds, options)
    return video_service_pb2.QuoteVideoRequest(spec=made.spec, delivery_options=made.delivery_options)


def fork(
    name: str, prompt: str, from_block: int, seconds: float | None, options: ForkOptions
) -> video_service_pb2.ForkVideoRequest:
    _check_names(options, ForkOptions)
    request = video_service_pb2.ForkVideoRequest(name=video_name(name))
    _set(request, "prompt", prompt)
    _set(request, "from_block", from_block)
    if seconds is not None:
        request.duration.CopyFrom(duration("seconds", seconds))
    _finish(request, request, options)
    return request


def watch(
    name: str,
    from_block: int | None,
    live: bool,
    resume_token: str,
    follow: bool,
    viewer_id: str,
    without_progress: bool,
) -> video_service_pb2.WatchVideoRequest:
    if (from_block is not None) + bool(live) + bool(resume_token) > 1:
        raise ValueError("from_block, live, resume_token: at most one can be given")
    request = video_service_pb2.WatchVideoRequest(name=video_name(name), live_edge=Empty() if live else None)
    _set(request, "from_block", from_block)
    _set(request, "resume_token", resume_token or None)
    _set(request, "follow", follow)
    _set(request, "viewer_id", viewer_id)
    _set(request, "without_progress", without_progress)
    return request


def change_prompt(name: str, prompt: str, at_seconds: float | None) -> video_service_pb2.ChangePromptRequest:
    request = video_service_pb2.ChangePromptRequest(name=video_name(name))
    _set(request.change, "prompt", prompt)
    if at_seconds is None:
        request.change.next_block.SetInParent()
    else:
        request.change.at_offset.CopyFrom(duration("at_seconds", at_seconds))
    return request


def report_playback(name: str, position_seconds: float, paused: bool, viewer_id: str) -> video_service_pb2.ReportPlaybackRequest:
    request = video_service_pb2.ReportPlaybackRequest(
        name=video_name(name), position_offset=duration("position_seconds", position_seconds)
    )
    _set(request, "paused", paused)
    _set(request, "viewer_id", viewer_id)
    return request


def video_name(text: str) -> str:
    """Accepts the id without "videos/", too."""
    return text if text.startswith("videos/") else f"videos/{text}"


def duration(field: str, seconds: Any) -> Duration:
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        raise ValueError(f"{field}: {seconds!r} is no length of time")
    out = Duration()
    out.FromNanoseconds(round(seconds * 1e9))
    return out


def _check_names(options: Mapping[str, Any], known: type) -> None:
    for name in options:
        if name not in known.__optional_keys__:  # type: ignore[attr-defined]
            raise TypeError(f"{name}: there is no such option")


def _set(message: Message, field: str, value: Any) -> None:
    """Sets a scalar field unless the value is None. Adds the field's name to protobuf's errors, which lack it."""
    try:
        if value is not None:
            setattr(message, field, value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{field}: {error}") from None


def _finish(request: Any, changed: Any, options: ForkOptions) -> None:
    """Sets the request id and the delivery options, and the prompt changes of `changed`."""
    _set(request, "request_id", options.get("request_id") or uuid.uuid4().hex)
    for at, prompt in sorted((options.get("prompt_changes") or {}).items()):
        changed.prompt_changes.add(prompt=prompt, at_offset=duration("prompt_changes", at))
    delivery = request.delivery_options
    if options.get("offline"):
        delivery.delivery = resources_pb2.DELIVERY_OFFLINE
    if options.get("adaptive"):
        delivery.fidelity = resources_pb2.FIDELITY_ADAPTIVE
    _set(delivery, "priority", options.get("priority"))
    if (policy := options.get("on_disconnect")) is not None:
        if policy not in ("cancel", "continue", "pause"):
            raise ValueError(f'on_disconnect: {policy!r} is none of "cancel", "continue" and "pause"')
        delivery.disconnect_policy = resources_pb2.DisconnectPolicy.Value(f"DISCONNECT_POLICY_{policy.upper()}")
    for name, field in (
        ("max_wait_seconds", delivery.max_wait_duration),
        ("max_lead_seconds", delivery.max_lead_duration),
        ("reconnect_seconds", delivery.reconnect_timeout),
    ):
        if (value := options.get(name)) is not None:
            field.CopyFrom(duration(name, value))
