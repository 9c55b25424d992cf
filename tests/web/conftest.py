"""A server, a browser, and pages that note when pictures come and when playing stops."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "server/http/page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
CSP = "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; frame-ancestors 'self'"

# Notes in `seen` what the tests ask for: when the first picture was shown and how many blocks were made then, and the
# times at which the player had to wait after it had begun to play.
WITNESS = """
window.seen = {picture: null, madeThen: null, began: null, waits: [], errors: []};
addEventListener('DOMContentLoaded', () => {
  const video = document.getElementById('video');
  video.requestVideoFrameCallback(() => {
    seen.picture = performance.now();
    seen.madeThen = document.querySelectorAll('.block.made').length;
  });
  video.addEventListener('playing', () => { seen.began ??= performance.now(); });
  video.addEventListener('waiting', () => {
    if (seen.began !== null && !video.seeking && !video.ended && video.currentTime < video.duration - 0.2) {
      seen.waits.push(video.currentTime);
    }
  });
});
addEventListener('error', (event) => seen.errors.push(event.message));
addEventListener('unhandledrejection', (event) => seen.errors.push(String(event.reason)));
"""


def pytest_addoption(parser):
    parser.addoption("--mock", action="store_true", help="against mock_server.py")
    parser.addoption("--server", default=ROOT / "build/release/longtake-server", help="the program to test")
    parser.addoption("--media", default=None, help="of --mock: a fragmented MP4 to play")
    parser.addoption("--page-files", action="store_true", help="the page from the working tree, not from the server")


def pytest_report_header(config):
    return f"server: {'mock' if config.getoption('mock') else config.getoption('server')}"


class Api:
    def __init__(self, base):
        self.base = base

    def __call__(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/v1/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def serving(command, log):
    """Starts a server; an Api of its HTTP port, once the model is loaded."""
    with log.open("w") as stderr:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        ports = dict(pair.split("=") for pair in server.stdout.readline().split())
        assert "http_port" in ports, f"the server names no HTTP port: {log.read_text()[-2000:]}"
        answers = Api(f"http://127.0.0.1:{ports['http_port']}")
        give_up = time.monotonic() + 120
        while True:  # Until the model is loaded.
            try:
                answers("models")
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None and time.monotonic() < give_up, log.read_text()[-2000:]
                time.sleep(0.2)
        yield answers
    finally:
        server.terminate()
        server.wait(60)


def server_command(config):
    command = [str(config.getoption("server")), "--model", str(ROOT / "models/longtake-tiny")]
    return [*command, "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--shutdown-grace-seconds", "0"]


@pytest.fixture(scope="session")
def api(request, tmp_path_factory):
    config = request.config
    command = server_command(config)
    if config.getoption("mock"):
        command = [sys.executable, str(ROOT / "tests/web/mock_server.py")]
        if config.getoption("media"):
            command += ["--media", config.getoption("media")]
    with serving(command, tmp_path_factory.mktemp("server") / "log") as answers:
        yield answers


@pytest.fixture(scope="session")
def launch():
    """Starts a browser with these arguments."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium
        yield lambda *arguments: chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", *arguments])


@pytest.fixture(scope="session")
def browser(launch):
    chromium = launch()
    yield chromium
    chromium.close()


@pytest.fixture
def open_page(browser, api, request):
    """Opens the page in a new browser profile; options are those of Playwright's contexts. Its errors fail the test."""
    opened = []

    def from_tree(route):
        name = route.request.url.removeprefix(api.base).split("?")[0].strip("/") or "index.html"
        file = PAGE / name
        headers = {"Content-Type": TYPES[file.suffix], "Content-Security-Policy": CSP}
        route.fulfill(body=file.read_text(), headers=headers)

    def open_(path="/", scripts=(), **options):
        context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 800}), **options)
        for script in (WITNESS, *scripts):
            context.add_init_script(script)
        if request.config.getoption("page_files"):
            context.route(lambda url: url.startswith(api.base) and "/v1/" not in url, from_tree)
        page = context.new_page()
        page.set_default_timeout(120000)
        page.goto(api.base + path)
        opened.append((context, page))
        return page

    yield open_
    errors = [error for _, page in opened for error in page.evaluate("window.seen.errors")]
    for context, _ in opened:
        context.close()
    for video in api("videos")["data"]:  # Nothing is made for tests that have ended.
        if video["status"] in ("queued", "in_progress"):
            api(f"videos/{video['id']}/cancel", {})
    assert errors == []
