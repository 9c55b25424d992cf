"""Build hook: generates longtake.v1 from the API's .proto files. Generated code is never committed."""

import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def generate(api: Path, out: Path) -> None:
    """Writes modules, type stubs and gRPC stubs of `api`/longtake/v1 into `out`/longtake/v1."""
    from grpc_tools import protoc  # not needed for a source distribution

    files = sorted(str(path.relative_to(api)) for path in api.glob("longtake/v1/*.proto"))
    well_known = resources.files("grpc_tools") / "_proto"
    out_flags = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{api}", f"-I{well_known}", *out_flags, *files]) != 0:
        raise RuntimeError(f"protoc failed on {api}/longtake/v1")


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling for each target."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        # A source distribution contains the API's files; in the repository they are two folders up.
        api = root / "proto" if (root / "proto").is_dir() else root.parent.parent / "proto"
        if not (api / "longtake").is_dir():
            raise FileNotFoundError(f"{api}: the API's files are missing")
        self._generated = tempfile.TemporaryDirectory()
        if self.target_name == "sdist":
            build_data["force_include"] |= {str(api / name): f"proto/{name}" for name in ("google", "longtake")}
        elif version == "editable":  # the source folder itself is imported then; git ignores what is generated in it
            generate(api, root / "src")
        else:
            generate(api, Path(self._generated.name))
            build_data["force_include"][f"{self._generated.name}/longtake"] = "longtake"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._generated.cleanup()
