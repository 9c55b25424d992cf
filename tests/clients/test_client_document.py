"""Every block of docs/clients.md, as it stands there. The installation is what conftest.py does."""

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
import longtake
import pytest
from at_address import clients_at
from fake_server import MEDIA, NAME, FakeServer
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from support import DOCUMENT, LONGEST, blocks

HERE = Path(__file__).parent
(APP,) = [block for block in blocks("python") if "run_app" in block]
CELLS = [block for block in blocks("python") if block != APP]


def streams(file):
    """The kinds of streams that ffprobe finds, and how many pictures it decodes."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames", "-of", "json"]
    done = subprocess.run([*command, file], capture_output=True, text=True, check=True)
    assert not done.stderr
    return [(stream["codec_name"], int(stream["nb_read_frames"])) for stream in json.loads(done.stdout)["streams"]]


@contextlib.contextmanager
def app_at(server, folder):
    """The document's application, and the URL of its page."""
    assert len(APP.splitlines()) <= 15
    (folder / "app.py").write_text(APP)
    command = [sys.executable, str(HERE / "run_app.py"), str(folder / "app.py"), server]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as app:
        try:
            yield app.stdout.readline().strip()
        finally:
            app.terminate()


def open_page(url):
    """What a browser does: the page, then the video in it. Returns the video's name and its bytes as they come."""
    with urllib.request.urlopen(f"{url}/?prompt=a%20green%20boat") as page:
        (source,) = re.findall('<video src="/([^"]+)"', page.read().decode())
    player = urllib.request.urlopen(f"{url}/{source}", timeout=LONGEST)
    assert player.headers["Content-Type"] == "video/mp4"
    return source, player


def test_the_page_sends_what_there_is(fake, tmp_path):
    """The server holds back the rest until the first bytes are there."""
    fake.hold_from = 5
    so_far = MEDIA[: MEDIA.index(b"<part 3>")]
    with app_at(fake.address, tmp_path) as url:
        name, player = open_page(url)
        assert name == NAME
        assert fake.requests[0].spec.prompt == "a green boat"
        with player:
            assert player.read(len(so_far)) == so_far
            fake.go_on.set()
            assert player.read() == MEDIA[len(so_far) :]


def test_the_page_plays_a_video_while_it_is_made(real, tmp_path):
    """10 s of video, of which the server makes the last 2 s ahead of its viewer, so 8 s after the first."""
    with app_at(real, tmp_path) as url, longtake.Client(real) as client:
        name, player = open_page(url)
        growing = tmp_path / "growing.mp4"
        with player:
            data = b""
            while data.count(b"moof") < 3:
                data += player.read1()
            assert client.get(name).state != longtake.v1.Video.STATE_MADE
            growing.write_bytes(data[: data.rindex(b"moof") - 4])  # whole chunks: a box begins with its size
            ((codec, pictures),) = streams(growing)
            assert codec == "h264"
            assert pictures > 0
            growing.write_bytes(data + player.read())
        video = client.get(name)
        assert video.state == longtake.v1.Video.STATE_MADE
        assert streams(growing) == [("h264", video.format.frame_count)]
        assert pictures < video.format.frame_count


@pytest.fixture
def encrypted(tmp_path, monkeypatch):
    """A server whose certificate is in ca.pem, and a token."""
    subject = ["-subj", "/CN=longtake", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    subprocess.run([*command, "-keyout", tmp_path / "key.pem", "-out", tmp_path / "ca.pem"], check=True, capture_output=True)
    pair = ((tmp_path / "key.pem").read_bytes(), (tmp_path / "ca.pem").read_bytes())
    monkeypatch.setenv("LONGTAKE_TOKEN", "secret")
    with FakeServer(grpc.ssl_server_credentials([pair])) as server:
        yield server


def test_the_other_blocks_are_cells_of_a_notebook(real, encrypted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shell = InteractiveShell.instance()
    shell.display_pub = CapturingDisplayPublisher()
    try:
        with clients_at({"127.0.0.1:50051": real, "video.example:50051": encrypted.address}):
            for cell in CELLS:
                shell.run_cell(cell).raise_error()
        # Of the last: a player, and the video in its place.
        assert 'src="data:video/mp4;base64,' in shell.display_pub.outputs[-1]["data"]["text/html"]
    finally:
        InteractiveShell.clear_instance()
    printed = capsys.readouterr().out
    assert "49 frames" in printed
    assert "INVALID_REQUEST {'spec.duration': " in printed
    assert encrypted.metadata[0]["authorization"] == "Bearer secret"
    pictures = {path.name: streams(path) for path in tmp_path.glob("*.mp4")}
    assert pictures == {
        "ball.mp4": [("h264", 17)],
        "boat.mp4": [("h264", 17)],
        "meadow.mp4": [("h264", 49)],
        "storm.mp4": [("h264", 16)],
    }


def test_every_block_is_run():
    """The three languages below are all that there are: shell by conftest.py, Python here."""
    fences = re.findall(r"^```(\w*)$", DOCUMENT.read_text(), re.MULTILINE)
    assert [fence for fence in fences if fence] == ["sh"] + ["python"] * (len(CELLS) + 1)
    assert not re.search(
        r"^    \S", re.sub(r"^```.*?^```$", "", DOCUMENT.read_text(), flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
