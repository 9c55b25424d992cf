"""Where the manifests are, and what renders them."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
SERVER = ROOT / "build/release/longtake-server"


def kustomize() -> list[str] | None:
    """A command that prints the manifests of the folder that follows it."""
    own = ROOT / ".venv-deploy/bin/kubectl"
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return [str(own), "kustomize"] if own.is_file() else None
