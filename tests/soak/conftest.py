"""The Python client, as the fault suite has it."""

from tests.faults.conftest import pytest_configure

__all__ = ["pytest_configure"]
