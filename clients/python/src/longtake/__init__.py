"""Client of Longtake, which generates long video and streams it while it is made.

`Client` is for threads, `AsyncClient` for asyncio. What they return are messages of the API (`longtake.v1`), what they
raise is `Error`. `docs/clients.md` of the repository shows how they are used.
"""

from longtake import v1
from longtake._async_client import AsyncClient, AsyncStream
from longtake._client import Client, Stream
from longtake._errors import Error
from longtake._requests import ForkOptions, Options

__all__ = ["AsyncClient", "AsyncStream", "Client", "Error", "ForkOptions", "Options", "Stream", "v1"]
