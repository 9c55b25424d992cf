"""What a source may see.

The house: a folder includes only what stands below it. Each room lists what its sources may include: itself,
`common/`, and the rooms and single headers named here. A new folder of sources needs a line.

CUDA, followed through all includes: none of its headers, and none of engine/cuda/, reaches the engine's public header, the
scheduler, the server, or any part of the engine but the cuda backend and the library loader that names its options.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)
# Generated from proto/.
PROTO = "longtake/v1"
POLICY_PROTO = "longtake/policy/v1"

MODELS = ["engine/models/folder", "engine/ops", "engine/core"]
BACKEND = ["engine/ops", "engine/core"]
HOUSE: dict[str, list[str]] = {
    "common": [],
    "engine/engine.h": [],  # the engine's one public header
    "engine/core": [],
    "engine/ops": ["engine/core"],
    "engine/quantization": BACKEND,
    "engine/reference": BACKEND,
    "engine/cpu": [*BACKEND, "engine/quantization", "engine/cpu/kernels"],
    # Compiled for one instruction set each: kernels/kernel_table.h says why they may see so little.
    "engine/cpu/kernels": ["engine/core/matrix.h", "engine/ops/activation.h", "engine/ops/linear_state.h"],
    "engine/cuda": [*BACKEND, "engine/quantization", "engine/cuda/kernels"],
    "engine/cuda/kernels": [*BACKEND, "engine/quantization", "engine/cuda/launcher.h", "engine/cuda/warp.h"],
    "engine/backend": [
        *BACKEND,
        "engine/cpu/cpu_ops.h",
        "engine/cuda/cuda_interface.h",
        "engine/cuda/cuda_ops.h",
        "engine/reference/reference_ops.h",
    ],
    "engine/models/folder": ["engine/ops", "engine/core"],
    "engine/models/gemma2": MODELS,
    "engine/models/lora": MODELS,
    "engine/models/text": [*MODELS, "engine/models/gemma2"],
    "engine/models/sana": [*MODELS, "engine/models/lora"],
    "engine/models/video": MODELS,
    # Knows every VAE.
    "engine/models/video/load.cc": [*MODELS, "engine/models/video", "engine/models/ltx2", "engine/models/wan"],
    "engine/models/ltx2": [*MODELS, "engine/models/video"],
    "engine/models/taehv": [*MODELS, "engine/models/video"],
    "engine/models/wan": [*MODELS, "engine/models/video"],
    "engine/runtime": ["engine/engine.h", "engine/models", "engine/backend", "engine/ops", "engine/core"],
    "engine/runner": ["engine/models", "engine/backend", "engine/ops", "engine/core"],
    "scheduler": [],
    "server": ["server", "scheduler", "engine/engine.h", PROTO],
    "server/image": [],
    "server/media": [],
    "server/lifecycle": [],
    "server/listen": [],
    "server/grpc": ["server/access", "server/listen", "server/video", "server/telemetry", PROTO],
    "server/telemetry": ["scheduler", "engine/engine.h"],
    "server/video": ["server/image/image.h", "server/media", "server/store", "server/telemetry", "scheduler", "engine/engine.h"],
    # Rooms of the design that may not stand yet.
    "server/store": ["server/telemetry"],
    "server/access": [
        "server/store",
        "server/telemetry",
        "server/video/accounts.h",
        "server/video/error.h",
        "server/video/tenant.h",
        "scheduler",  # kinds of delivery
    ],
    "server/policy": [
        "server/access/watched_file.h",
        "server/grpc/translate.h",
        "server/telemetry",
        "server/video",
        POLICY_PROTO,
    ],
    "server/http": ["server/access", "server/listen", "server/video", "server/media", "server/store", "server/telemetry"],
    "clients": [PROTO],
}


def within(path: str, place: str) -> bool:
    return path == place or path.startswith(place + "/")


def room_of(path: str) -> str:
    """The narrowest room that holds the file."""
    rooms = [room for room in HOUSE if within(path, room)]
    assert rooms, f"{path}: its folder has no line in HOUSE"
    return max(rooms, key=len)


def faults(path: str, text: str) -> list[str]:
    """What the file includes and may not."""
    room = room_of(path)
    seen = [*HOUSE[room], "common"]
    bad = []
    for name in INCLUDE.findall(text):
        if not (ROOT / name).is_file() and not name.startswith((PROTO, POLICY_PROTO)):
            continue  # a library's
        own = not name.startswith((PROTO, POLICY_PROTO)) and room_of(name) == room
        if not own and not any(within(name, place) for place in seen):
            bad.append(f"{path}: {name}")
    return bad


def sources() -> list[str]:
    found = []
    for top in ("clients", "common", "engine", "scheduler", "server"):
        for path in (ROOT / top).rglob("*"):
            if path.suffix in (".h", ".cc", ".cu"):
                found.append(str(path.relative_to(ROOT)))
    return found


def test_a_folder_includes_only_what_stands_below_it() -> None:
    bad = [fault for path in sources() for fault in faults(path, (ROOT / path).read_text())]
    assert not bad, "\n".join(bad)


def test_includes_that_climb_are_found() -> None:
    """The control."""
    for path, name in [
        ("engine/core/x.h", "engine/ops/ops.h"),
        ("engine/ops/x.cc", "engine/reference/reference_ops.h"),
        ("engine/reference/x.cc", "engine/cpu/cpu_ops.h"),
        ("engine/cpu/kernels/x.cc", "engine/ops/dense.h"),
        ("engine/models/wan/x.cc", "engine/models/sana/transformer.h"),
        ("engine/models/video/x.h", "engine/models/wan/vae.h"),
        ("engine/models/sana/x.cc", "engine/runtime/session.h"),
        ("engine/runner/x.cc", "engine/engine.h"),
        ("engine/runtime/x.cc", "engine/cpu/cpu_ops.h"),
        ("scheduler/x.cc", "engine/engine.h"),
        ("server/x.cc", "engine/ops/ops.h"),
        ("server/media/x.cc", "engine/engine.h"),
        ("server/http/x.cc", "scheduler/scheduler.h"),
        ("server/video/x.cc", "longtake/v1/events.pb.h"),
        ("server/grpc/x.cc", "longtake/policy/v1/policy_service.pb.h"),
        ("clients/cli/x.cc", "server/server.h"),
    ]:
        assert faults(path, f'#include "{name}"\n') == [f"{path}: {name}"]
    assert not faults("engine/models/wan/x.cc", '#include "engine/models/video/vae.h"\n#include "absl/status/status.h"\n')


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


def sources_of(folder: str) -> list[Path]:
    path = ROOT / folder
    if path.is_file():
        return [path]
    return [f for f in path.rglob("*") if f.suffix in (".h", ".cc") and "cuda" not in f.relative_to(path).parts[0]]


@pytest.mark.parametrize("folder", sorted(f for f in OUTSIDE if f not in ("engine/cuda", "engine/CMakeLists.txt")))
def test_cuda_is_not_seen(folder: str) -> None:
    files: set[Path] = set()
    foreign: set[str] = set()
    for source in sources_of(folder):
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
