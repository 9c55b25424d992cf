"""Messages of the API, generated from `proto/longtake/v1`, whose files say what each field means."""

from longtake.v1.errors_pb2 import ErrorReason
from longtake.v1.events_pb2 import (
    Accepted,
    BlockReport,
    Chunk,
    Finished,
    InitSegment,
    Progress,
    PromptChanged,
    Waiting,
    WatchVideoResponse,
)
from longtake.v1.resources_pb2 import DeliveryOptions, Model, Quote, Video, VideoFormat, VideoProgress, VideoSpec
from longtake.v1.video_service_pb2 import QuoteVideoResponse, Refusal

__all__ = [
    "Accepted",
    "BlockReport",
    "Chunk",
    "DeliveryOptions",
    "ErrorReason",
    "Finished",
    "InitSegment",
    "Model",
    "Progress",
    "PromptChanged",
    "Quote",
    "QuoteVideoResponse",
    "Refusal",
    "Video",
    "VideoFormat",
    "VideoProgress",
    "VideoSpec",
    "Waiting",
    "WatchVideoResponse",
]
