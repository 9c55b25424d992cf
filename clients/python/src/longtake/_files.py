"""Files that videos are saved to."""

import os
import uuid
from pathlib import Path
from types import TracebackType

from longtake._endpoint import FilePath


class PartFile:
    """Writes to a temporary name beside the final one. At the end the file is renamed, or removed after an error.

    Each write is flushed, so other programs can read it. OSError if one fails, for example on a full disk; network file
    systems may report that only in sync() or at the end.
    """

    def __init__(self, path: FilePath) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}.part")

    def __enter__(self) -> "PartFile":
        self._file = self.part.open("xb")
        return self

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()

    def sync(self) -> None:
        """Waits for the disk. Without it a power failure could leave the final name with half of the file."""
        os.fsync(self._file.fileno())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._file.close()
            if kind is None:
                self.part.replace(self.path)
        finally:
            self.part.unlink(missing_ok=True)
