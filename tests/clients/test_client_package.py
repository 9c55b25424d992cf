"""What is installed, from the repository and from a source distribution."""

import subprocess
import sys
import tarfile
import zipfile

from support import ROOT


def build(target, source, out):
    """One file, by the build backend, as pip and others call it."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", out]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)
    (made,) = out.glob({"sdist": "*.tar.gz", "wheel": "*.whl"}[target])
    return made


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_code_of_the_api_is_generated_wherever_it_is_built(tmp_path):
    wheel = contents(build("wheel", ROOT / "clients/python", tmp_path / "tree"))
    with tarfile.open(build("sdist", ROOT / "clients/python", tmp_path)) as archive:
        assert not [name for name in archive.getnames() if "_pb2" in name]
        archive.extractall(tmp_path)
    (unpacked,) = tmp_path.glob("longtake-*/")
    assert contents(build("wheel", unpacked, tmp_path / "sdist")) == wheel

    files = {path.name for path in (ROOT / "clients/python/src/longtake").glob("*.py")} | {"py.typed", "v1/__init__.py"}
    files |= {f"v1/{path.stem}_pb2.{kind}" for path in (ROOT / "proto/longtake/v1").glob("*.proto") for kind in ("py", "pyi")}
    assert {f"longtake/{name}" for name in files} <= wheel.keys()
    assert not [name for name in wheel if not name.startswith("longtake")]
