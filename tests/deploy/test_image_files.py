"""What goes into the image: Dockerfile, .dockerignore, and the programs of deploy/image."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
from manifests import ROOT, SERVER

VERIFY = ROOT / "deploy/image/verify-model.sh"
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def instructions(text: str) -> list[tuple[str, str]]:
    """(INSTRUCTION, rest), continued lines joined."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line]


def test_dockerfile() -> None:
    found = instructions(DOCKERFILE)
    stages = set()
    for word, rest in found:
        if word == "FROM":
            image, _, stage = rest.partition(" AS ")
            assert image in stages | {"scratch", "${BASE}", "${CUDA_IMAGE}"}, rest
            stages.add(stage)
        if word in ("ENTRYPOINT", "CMD"):
            assert isinstance(json.loads(rest), list), "not in exec form: no shell passes signals on"
    assert {"cpu", "cuda"} <= stages
    assert ("ARG", "BASE=debian:bookworm-slim") in found
    assert ("STOPSIGNAL", "SIGTERM") in found
    assert ("USER", "10001:10001") in found
    assert found.index(("USER", "10001:10001")) > max(i for i, (word, _) in enumerate(found) if word == "RUN")


def test_dockerignore_has_what_cmake_reads() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    needed = set(re.findall(r"^\s*(?:add_subdirectory|include)\(([\w-]+)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE))
    assert needed - {"CTest", "tests"} <= kept
    for word, rest in instructions(DOCKERFILE):
        if word == "COPY" and "--from" not in rest:
            for path in [part for part in rest.split() if not part.startswith("--")][:-1]:
                assert (ROOT / path).exists(), path
                assert path == "." or any(Path(path).is_relative_to(name) for name in kept), path


def model(folder: Path) -> Path:
    """A folder of two files, and the sums beside it."""
    (folder / "model/vae").mkdir(parents=True)
    sums = []
    for name in ("model_index.json", "vae/a file.safetensors"):
        (folder / "model" / name).write_text(name)
        sums.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def verify(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(["sh", VERIFY, folder / "model", folder / "SHA256SUMS"], capture_output=True, text=True)


def test_a_whole_model_is_verified(tmp_path) -> None:
    done = verify(model(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("verified 2 files")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model/model_index.json").write_text("x"), "model_index.json"),
        (lambda folder: (folder / "model/vae/a file.safetensors").unlink(), "missing: vae/a file.safetensors"),
        (lambda folder: (folder / "model/longtake.json").write_text("{}"), "not listed: longtake.json"),
        (lambda folder: (folder / "model/transformer").symlink_to(folder / "model/vae"), "not listed: transformer"),
        (lambda folder: (folder / "SHA256SUMS").write_text(""), "not listed: model_index.json"),
        (lambda folder: (folder / "SHA256SUMS").unlink(), ""),
        (lambda folder: (folder / "model").rename(folder / "other"), ""),
    ],
    ids=["changed", "missing", "added", "link", "no sums", "no list", "no folder"],
)
def test_another_model_is_refused(change, message, tmp_path) -> None:
    folder = model(tmp_path)
    change(folder)
    done = verify(folder)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stderr


def test_an_empty_folder_is_no_model(tmp_path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "SHA256SUMS").write_text("")
    assert verify(tmp_path).returncode != 0


@pytest.mark.skipif(not SERVER.is_file(), reason="build/release/longtake-server is not built")
def test_the_image_gets_the_packages_of_all_libraries(tmp_path) -> None:
    subprocess.run([ROOT / "deploy/image/stage.sh", SERVER.parent, tmp_path], check=True)
    packages = (tmp_path / "packages").read_text().split()
    # What the server names itself (libgrpc++1.51 and the like), and what only those need.
    assert {"libx264-164", "libicu72", "libcjose0", "libstdc++6", "libc6", "libc-ares2"} <= set(packages)
    assert not [name for name in packages if name.endswith("-dev") or name.startswith("libgtest")]
    help_text = subprocess.run([tmp_path / "programs/usr/bin/longtake-server", "--help"], capture_output=True, text=True)
    assert "--store" in help_text.stdout
