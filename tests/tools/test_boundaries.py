"""What a source may see: no header of CUDA, and none of engine/cuda/, reaches the engine's public header, the scheduler,
the server, or any part of the engine but the cuda backend and the library loader that names its options.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)
FOREIGN = re.compile(r"^(cuda|cublas|cudnn|cutlass|nv|mma\.h)")
# cuda_interface.h and cuda_ops.h are the backend's face: standard types and ops.h only.
FACE = {"engine/cuda/cuda_interface.h", "engine/cuda/cuda_ops.h"}
SEEN_BY = {"engine/backend": FACE}
OUTSIDE = ["common", "scheduler", "server", "bench", *(f"engine/{p.name}" for p in (ROOT / "engine").iterdir())]


def seen(source: Path, files: set[Path], foreign: set[str]) -> None:
    """All project files that `source` includes, and the names that are none of the project's."""
    if source in files:
        return
    files.add(source)
    for name in INCLUDE.findall(source.read_text()):
        if (ROOT / name).is_file():
            seen(ROOT / name, files, foreign)
        else:
            foreign.add(name)


def sources(folder: str) -> list[Path]:
    path = ROOT / folder
    if path.is_file():
        return [path]
    return [f for f in path.rglob("*") if f.suffix in (".h", ".cc") and "cuda" not in f.relative_to(path).parts[0]]


@pytest.mark.parametrize("folder", sorted(f for f in OUTSIDE if f not in ("engine/cuda", "engine/CMakeLists.txt")))
def test_cuda_is_not_seen(folder: str) -> None:
    files: set[Path] = set()
    foreign: set[str] = set()
    for source in sources(folder):
        seen(source, files, foreign)
    inside = {str(f.relative_to(ROOT)) for f in files if f.is_relative_to(ROOT / "engine" / "cuda")}
    assert inside <= SEEN_BY.get(folder, set())
    assert not [name for name in foreign if FOREIGN.match(name)]


def test_the_search_finds_cuda_where_it_is() -> None:
    """The control: the same walk from the backend's own sources meets CUDA's headers."""
    files: set[Path] = set()
    foreign: set[str] = set()
    for source in (ROOT / "engine/cuda").rglob("*.h"):
        seen(source, files, foreign)
    assert [name for name in foreign if FOREIGN.match(name)]
