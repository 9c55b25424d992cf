"""The document's servers, where a test has them."""

import contextlib
from unittest import mock

import longtake


@contextlib.contextmanager
def clients_at(addresses):
    """Clients for an address of the document talk to the server that stands for it."""
    with contextlib.ExitStack() as stack:
        for name in ("Client", "AsyncClient"):
            real = getattr(longtake, name)
            stack.enter_context(
                mock.patch.object(longtake, name, lambda address, _real=real, **options: _real(addresses[address], **options))
            )
        yield
