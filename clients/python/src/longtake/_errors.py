"""How calls fail."""

import math
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

_Detail = TypeVar("_Detail", bound=Message)


class Error(Exception):
    """A call that failed.

    reason:      why, such as "QUEUE_FULL". `longtake.v1.ErrorReason` lists the reasons and the metadata of each. Empty if
                 the error is not the server's, for example if the connection failed
    metadata:    details of the reason, such as {"queue_length": "16"}
    retry_after: seconds after which the call may be repeated; None if the server named none, infinity if it may not
    fields:      invalid fields of the request, each with what is wrong
    code:        gRPC's status code
    """

    def __init__(
        self,
        message: str,
        code: grpc.StatusCode,
        reason: str = "",
        metadata: dict[str, str] | None = None,
        retry_after: float | None = None,
        fields: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, code, reason, metadata, retry_after, fields)  # as they are, for pickle
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = metadata or {}
        self.retry_after = retry_after
        self.fields = fields or {}

    def __str__(self) -> str:
        text = f"{self.reason or self.code.name}: {self.message}"
        return text if self.retry_after in (None, math.inf) else f"{text}; try again in {self.retry_after:.1f} s"


def from_call(call: Any) -> Error:
    """Converts a `grpc.RpcError` of grpc or grpc.aio."""
    status = status_pb2.Status()
    reason, metadata, retry_after, fields = "", {}, None, {}
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
        elif key == "grpc-retry-pushback-ms":  # in gRPC's protocol anything but a number forbids a retry
            retry_after = int(value) / 1000 if value.isdecimal() else math.inf
    for detail in status.details:
        if (info := _unpacked(detail, error_details_pb2.ErrorInfo())) is not None and info.domain == "longtake":
            reason, metadata = info.reason, dict(info.metadata)
        elif (retry := _unpacked(detail, error_details_pb2.RetryInfo())) is not None:
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        elif (bad := _unpacked(detail, error_details_pb2.BadRequest())) is not None:
            fields = {violation.field: violation.description for violation in bad.field_violations}
    return Error(call.details() or "", call.code(), reason, metadata, retry_after, fields)


def _unpacked(detail: Any, message: _Detail) -> _Detail | None:
    return message if detail.Unpack(message) else None
