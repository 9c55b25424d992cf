"""longtake-server with its store in moto's S3, which checks signatures."""

import json
import signal

import pytest
from servers import REDIS, SERVER, Longtake, Moto, Redis, until

pytestmark = pytest.mark.skipif(not SERVER.is_file(), reason="build/release is not built")
VIDEO = {"prompt": "a red ball bounces", "seconds": 8, "seed": 5, "offline": True}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> bytes:
    """The video, of a server without a store."""
    with Longtake(tmp_path_factory.mktemp("alone") / "log") as server:
        return server.watch(server.create(**VIDEO))


@pytest.fixture
def moto():
    with Moto() as running:
        yield running


def stored_blocks(moto: Moto) -> int:
    """At least so many blocks, or checkpoints, are in the bucket."""
    return sum("/objects/" in key for key in moto.objects())


def test_a_killed_server_goes_on_with_its_video(tmp_path, moto, undisturbed) -> None:
    first = Longtake(tmp_path / "log", moto)
    video = first.create(**VIDEO)
    until(lambda: stored_blocks(moto) >= 3)
    first.kill()
    before = set(moto.objects())
    with Longtake(tmp_path / "log", moto) as second:
        assert second.watch(video) == undisturbed
        assert [key for key in before if "/folders/" in key] == [f"test/folders/videos/{video}"]
        assert len(moto.objects()) > len(before), "nothing was left to be made"
        status, answer = second.ask("GET", f"/v1/videos/{video}")
        assert status == 200 and json.loads(answer)["status"] == "completed"
    # It has ended, and is there for the next one.
    with Longtake(tmp_path / "log", moto) as third:
        assert third.watch(video) == undisturbed
        assert third.ask("DELETE", f"/v1/videos/{video}")[0] == 200
        assert moto.objects() == ["test/owner"]
    log = (tmp_path / "log").read_text()
    assert log.count("store videos=1") == 2 and "level=error" not in log
    assert moto.secret not in log and moto.key_id not in log


@pytest.mark.skipif(REDIS is None, reason="redis-tools is not installed")
def test_another_server_goes_on_with_a_killed_ones_video(tmp_path, moto, undisturbed) -> None:
    with Redis() as redis:
        shared = ["--registry", f"redis://127.0.0.1:{redis.port}", "--lease-seconds", "3"]
        first = Longtake(tmp_path / "first", moto, shared)
        with Longtake(tmp_path / "second", moto, shared) as second:
            video = first.create(**VIDEO)
            until(lambda: stored_blocks(moto) >= 3)
            first.kill()
            until(lambda: "video goes on" in (tmp_path / "second").read_text())
            assert second.watch(video) == undisturbed
            assert "level=error" not in (tmp_path / "second").read_text()


def test_a_wrong_secret_ends_the_start(tmp_path, moto) -> None:
    server = Longtake(tmp_path / "log", moto, ["--store-retry-seconds", "0"], secret="not-the-secret-of-this-key")
    assert server.process.wait() == 1
    log = (tmp_path / "log").read_text()
    assert "cannot start: store: cannot write s3://videos/test/probe/" in log
    assert "403 SignatureDoesNotMatch" in log
    assert "not-the-secret" not in log and moto.key_id not in log


def test_a_stopped_server_leaves_what_is_stored(tmp_path, moto, undisturbed) -> None:
    """SIGTERM in the midst of a video."""
    options = ["--shutdown-seconds", "3", "--store-retry-seconds", "0"]
    first = Longtake(tmp_path / "log", moto, options)
    video = first.create(**VIDEO)
    until(lambda: stored_blocks(moto) >= 2)
    first.kill(signal.SIGTERM)
    with Longtake(tmp_path / "log", moto, options) as second:
        assert second.watch(video) == undisturbed
