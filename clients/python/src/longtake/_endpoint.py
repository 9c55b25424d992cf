"""The server's address, and the credentials that calls carry."""

import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

FilePath = str | os.PathLike[str]
Token = str | Callable[[], str]

# gRPC's own retries of unary calls. Calls that create a video carry a request id, so repeating them is safe.
_RETRIES = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# Streams are resumed by token instead. A repeated change would be a second one, and a repeated delete would fail.
_NOT_REPEATED = [
    {"service": "longtake.v1.VideoService", "method": name}
    for name in ("GenerateVideo", "WatchVideo", "ChangePrompt", "DeleteVideo")
]
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),  # a server may be configured for larger parts than gRPC's 4 MiB
    # A silent connection is given up after 30 s. Servers drop clients that ping more often than every 5 s.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),  # no limit: a viewer only receives
    # While gRPC's own backoff between connection attempts runs, calls fail at once; it must not exceed ours.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _RETRIES}, {"name": _NOT_REPEATED}]})),
)
_LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?|unix(-abstract)?:.*")


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A server's address, and what connections to it need."""

    address: str
    credentials: grpc.ChannelCredentials | None  # None: plain text
    token: Token | None

    def channel(self, library: Any) -> Any:
        """A channel of `library`, which is `grpc` or `grpc.aio`."""
        options = list(_CHANNEL_OPTIONS)
        # gRPC asks the proxy of http_proxy for every address, and such a proxy cannot reach this machine.
        if is_loopback(self.address):
            options.append(("grpc.enable_http_proxy", 0))
        if self.credentials is None:
            return library.insecure_channel(self.address, options)
        return library.secure_channel(self.address, self.credentials, options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of one call. gRPC's call credentials refuse plain text, which is allowed to loopback addresses."""
        if self.token is None:
            return ()
        token = self.token() if callable(self.token) else self.token
        if not re.fullmatch("[!-~]+", token):
            raise ValueError("token: is empty, or has blanks or control characters")
        return (("authorization", f"Bearer {token}"),)


def make_endpoint(
    address: str,
    token: Token | None,
    tls: bool,
    ca: FilePath | None,
    cert: FilePath | None,
    key: FilePath | None,
) -> Endpoint:
    """Reads the files. ValueError where the arguments do not fit each other, OSError where a file cannot be read."""
    if (cert is None) != (key is None):
        raise ValueError("cert, key: one is missing")
    encrypted = tls or ca is not None
    if cert is not None and not encrypted:
        raise ValueError("cert: needs ca or tls, which encrypt the connection")
    if token is not None and not encrypted and not is_loopback(address):
        raise ValueError(f"token: is not sent to {address} in plain text; ca or tls encrypt the connection")
    credentials = None
    if encrypted:
        pems = [None if path is None else Path(path).read_bytes() for path in (ca, key, cert)]
        credentials = grpc.ssl_channel_credentials(*pems)
    endpoint = Endpoint(address, credentials, token)
    if isinstance(token, str):
        endpoint.metadata()  # checks it now, not at the first call
    return endpoint


def is_loopback(address: str) -> bool:
    """Whether the address names this machine: 127.0.0.0/8, localhost, [::1] or a Unix socket."""
    return _LOOPBACK.fullmatch(address) is not None
