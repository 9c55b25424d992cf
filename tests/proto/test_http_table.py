"""The TypeScript client's table follows the proto: what neither uses nor leaves out ends protoc with its name."""

import pathlib
import shutil
import subprocess

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_PLUGIN = _ROOT / "clients/typescript/generate.py"


@pytest.fixture
def generate(tmp_path):
    """Runs the generator on the API with one text put in another's place; returns what protoc says and the files' texts."""

    def run(file: str = "", old: str = "", new: str = "") -> tuple[str, dict[str, str]]:
        proto, out = tmp_path / "proto", tmp_path / "out"
        shutil.copytree(_ROOT / "proto", proto)
        out.mkdir()
        if file:
            path = proto / "longtake/v1" / file
            text = path.read_text()
            assert text.count(old) == 1
            path.write_text(text.replace(old, new))
        names = sorted(str(path) for path in (proto / "longtake/v1").iterdir())
        command = ["protoc", "-I", str(proto), f"--plugin=protoc-gen-typescript={_PLUGIN}", f"--typescript_out={out}", *names]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == (done.stderr == "")
        return done.stderr, {path.name: path.read_text() for path in out.iterdir()}

    return run


def test_types_and_comments_come_from_the_proto(generate) -> None:
    faults, files = generate("resources.proto", "// What it should not show.", "// What is not wanted.")
    assert faults == ""
    comment = "/** What is not wanted. Refused by models whose accepts_negative_prompt is false. */"
    assert f"  {comment}\n  negative_prompt?: string;\n" in files["api.ts"]
    assert "  get(video: VideoRef, options?: CallOptions): Promise<Video> {" in files["methods.ts"]


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("resources.proto", "viewer_count = 4;", "viewer_count = 4; int32 more = 5;", "VideoProgress.more is neither used"),
        (
            "resources.proto",
            "viewer_count = 4;",
            "watchers = 4;",
            "ListedVideo.viewers: the proto has no VideoProgress.viewer_count",
        ),
        ("resources.proto", "STATE_CANCELLED = 7;", "STATE_CANCELLED = 7; STATE_LOST = 8;", "VideoStatus: STATE_LOST is not"),
        ("video_service.proto", "// Where a video stands.\n", "", "get: has no comment"),
        ("video_service.proto", "rpc GetVideo(", "rpc ReadVideo(", "VideoService.ReadVideo is neither used nor left out"),
        ("events.proto", "// The video waits for a place.", "// As Chunk.part.", "Waiting: its comment speaks of Chunk.part"),
        ("events.proto", "message StageDurations", "message Extra {}\nmessage StageDurations", "Extra is neither used"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(generate, file, old, new, fault) -> None:
    faults, files = generate(file, old, new)
    assert fault in faults
    assert not files
