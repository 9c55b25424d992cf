"""The TypeScript client in a page of another origin: the page of its document as it stands there, and the player."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import ROOT, server_command, serving

CLIENT = ROOT / "clients/typescript"
# As the document has them; the browser is told where they are in fact.
SERVER, PAGE = "http://127.0.0.1:8080", "http://127.0.0.1:8000"
MOST_LINES = 15
SCREEN = '<!doctype html><video id="screen" autoplay muted></video>'
LIMIT = 1800000  # ms, of a busy machine

# What the tests' own scripts begin with.
USE = f"""
const {{Longtake, LongtakeError, play}} = await import('/longtake/index.js');
const longtake = new Longtake({{url: '{SERVER}'}});
const screen = document.getElementById('screen');
const until = (name) => new Promise((resolve) => screen.addEventListener(name, resolve, {{once: true}}));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const spans = () => [...Array(screen.buffered.length).keys()].map((i) => [screen.buffered.start(i), screen.buffered.end(i)]);
"""


def documented_page():
    [page] = re.findall(r"^```html\n(.*?)^```", (CLIENT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return page


class Files(BaseHTTPRequestHandler):
    """A folder as the document asks for it: the page and the client's dist/ as longtake/."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        texts = {"/": documented_page(), "/screen": SCREEN}
        file = CLIENT / "dist" / self.path.removeprefix("/longtake/")
        if self.path in texts:
            body, kind = texts[self.path].encode(), "text/html"
        elif file.is_file():
            body, kind = file.read_bytes(), "text/javascript"
        else:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def other(request, tmp_path_factory):
    """A server that lets the page's origin in."""
    if request.config.getoption("mock"):
        pytest.skip("the mock lets no other origin in")
    command = [*server_command(request.config), "--http-allow-origin", PAGE]
    with serving(command, Path(tmp_path_factory.mktemp("other")) / "log") as answers:
        yield answers


@pytest.fixture(scope="module")
def far_browser(launch, other):
    files = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=files.serve_forever, daemon=True).start()
    places = {SERVER: other.base, PAGE: f"http://127.0.0.1:{files.server_address[1]}"}
    rules = ",".join(f"MAP {said[7:]} {place[7:]}" for said, place in places.items())
    chromium = launch(f"--host-resolver-rules={rules}")
    yield chromium
    chromium.close()
    files.shutdown()


@pytest.fixture
def far_page(far_browser, other):
    """A page of the other origin. Its errors fail the test."""
    page = far_browser.new_page()
    page.set_default_timeout(LIMIT)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    for video in other("videos")["data"]:  # Nothing is made for tests that have ended.
        if video["status"] in ("queued", "in_progress"):
            other(f"videos/{video['id']}/cancel", {})
    assert errors == []


@pytest.fixture
def in_page(far_page):
    """Runs a script in a page that has the client and an element."""
    far_page.goto(f"{PAGE}/screen")
    late = f"new Promise((_, reject) => setTimeout(() => reject(new Error('not within {LIMIT} ms')), {LIMIT}))"
    return lambda script: far_page.evaluate(f"Promise.race([(async () => {{{USE}{script}}})(), {late}])")


def test_the_page_of_the_document(far_page, other):
    lines = documented_page().splitlines()
    assert len(lines) <= MOST_LINES
    far_page.goto(PAGE)
    screen = "document.getElementById('screen')"
    far_page.wait_for_function(f"{screen}.readyState >= 2")
    [made] = other("videos")["data"]
    assert made["status"] == "in_progress"
    far_page.click("#change")
    far_page.wait_for_function(f"{screen}.ended")
    assert far_page.evaluate(f"{screen}.currentTime") == pytest.approx(20.0625, abs=0.1)
    [changed] = other(f"videos/{made['id']}")["prompt_changes"]
    assert changed["prompt"] == "night falls"


def test_events_come_once_though_the_connection_is_lost(in_page):
    told = in_page("""
      let left = 60000;  // The first watch breaks off after so many bytes, within a message.
      const cut = async (url, options) => {
        const response = await fetch(url, options);
        if (!String(url).includes('/watch') || left <= 0) return response;
        return new Response(response.body.pipeThrough(new TransformStream({transform(bytes, controller) {
          controller.enqueue(bytes.slice(0, left));
          if ((left -= bytes.length) <= 0) controller.error(new TypeError('network error'));
        }})));
      };
      const shaky = new Longtake({url: 'http://127.0.0.1:8080', fetch: cut});
      const video = await shaky.create({prompt: 'a red ball bounces', seconds: 3});
      const events = [], lost = [];
      const ended = until('ended');
      const onEvent = (event) => events.push(event);
      await play(shaky, video, screen, {onEvent, onDisconnect: ({reason}) => lost.push(reason)}).finished;
      await ended;
      const chunks = events.filter(({event}) => event === 'chunk').map(({start}) => start);
      return {lost, chunks, at: screen.currentTime, spans: spans(), last: events.at(-1)};
    """)
    assert told["lost"] == ["CONNECTION_FAILED"]
    assert told["chunks"] == [0, *(0.0625 + 0.25 * i for i in range(12))]
    assert told["last"]["event"] == "finished" and told["last"]["chunks"] == 13
    [[start, end]] = told["spans"]
    assert start < 0.1 and end == pytest.approx(3.0625, abs=0.1) and told["at"] == pytest.approx(end, abs=0.1)


def test_plays_when_a_block_is_there_and_the_viewer_wants_it(in_page):
    told = in_page("""
      const video = await longtake.create({prompt: 'a red ball bounces', seconds: 3});
      const moved = new Promise((resolve) => screen.addEventListener('timeupdate', () => {
        if (screen.currentTime > 0) resolve({buffered: screen.buffered.end(0), rate: screen.playbackRate});
      }));
      const player = play(longtake, video, screen);
      const first = await moved;
      screen.pause();
      const at = screen.currentTime;
      await player.finished;
      const still = screen.currentTime - at;
      player.stop();
      return {first, still, source: screen.hasAttribute('src'), rate: screen.playbackRate};
    """)
    assert told["first"]["buffered"] > 1 and told["first"]["rate"] == 1
    assert told["still"] < 0.1
    assert told["source"] is False and told["rate"] == 1


def test_seeking_reads_what_is_not_there(in_page):
    told = in_page("""
      const video = await longtake.create({prompt: 'a red ball bounces', seconds: 5});
      const reached = async (seconds) => { while (screen.currentTime < seconds) await until('timeupdate'); };
      const player = play(longtake, video, screen, {from: 3.5});
      await reached(3.6);
      const from = spans();
      screen.currentTime = 0.5;  // Was never read.
      await reached(0.6);
      const back = screen.currentTime;
      await player.finished;
      await until('ended');
      return {from, back, spans: spans(), at: screen.currentTime};
    """)
    assert told["from"][0][0] == pytest.approx(3.0625, abs=0.1)
    assert 0.5 < told["back"] < 3
    assert len(told["spans"]) == 1 and told["spans"][0][0] < 0.1
    assert told["at"] == pytest.approx(5.0625, abs=0.1)


def test_reading_stops_far_ahead_and_old_pictures_leave(in_page):
    told = in_page("""
      const video = await longtake.create({prompt: 'a red ball bounces', seconds: 60});
      screen.autoplay = false;
      const player = play(longtake, video, screen);
      while ((await longtake.get(video)).made_blocks < 45) await sleep(500);
      const last = () => spans().at(-1)?.[1] ?? 0;
      while (last() <= 30) await sleep(100);
      await sleep(1000);  // In which more would come.
      const ahead = last();
      await screen.play();
      screen.playbackRate = 8;
      while (screen.currentTime < 50) await until('timeupdate');
      const [oldest, at] = [spans()[0][0], screen.currentTime];
      screen.playbackRate = 1;
      screen.currentTime = 0;
      while (!(screen.currentTime > 0.5 && screen.currentTime < 50)) await until('timeupdate');
      player.stop();
      return {ahead, oldest, at};
    """)
    assert 30 < told["ahead"] < 31
    # What is older than 20 s leaves when something is read, and that was at 30 s at the least. With it leave the pictures
    # up to the next one that stands alone, at most a block of 1.0625 s.
    assert 3 < told["oldest"] <= told["at"] - 20 + 1.0625


def test_a_cancelled_video_plays_to_where_it_was_made(in_page):
    told = in_page("""
      const video = await longtake.create({prompt: 'a red ball bounces', seconds: 60, max_lead_seconds: 2});
      const ended = until('ended');
      const onEvent = ({event, block, last_in_block}) => {
        if (event === 'chunk' && block === 1 && last_in_block) longtake.cancel(video);
      };
      const error = await play(longtake, video, screen, {onEvent}).finished.catch((error) => error);
      await ended;
      return {reason: error.reason, typed: error instanceof LongtakeError, at: screen.currentTime, end: screen.duration};
    """)
    assert told["reason"] == "VIDEO_CANCELLED" and told["typed"]
    assert 2 < told["at"] < 20 and told["end"] == pytest.approx(told["at"], abs=0.1)


def test_playback_is_reported_and_stops_with_the_player(in_page, far_page):
    reports = []

    def note(request):
        if request.url.endswith("/playback") and request.method == "POST":
            reports.append(request.post_data_json)

    far_page.on("request", note)
    in_page("""
      const video = await longtake.create({prompt: 'a red ball bounces', seconds: 20});
      const player = play(longtake, video, screen);
      await until('playing');
      while (screen.currentTime < 0.5) await until('timeupdate');
      screen.pause();
      await until('pause');
      player.stop();
      await player.finished;
    """)
    assert reports[-1]["paused"] is True and reports[-1]["position"] >= 0.5
    assert len({report["viewer_id"] for report in reports}) == 1


def test_errors_before_anything_plays(in_page):
    assert in_page("return play(longtake, '0'.repeat(32), screen).finished.catch(({reason}) => reason)") == "VIDEO_NOT_FOUND"
    stranger = "return new Longtake({url: 'http://127.0.0.1:1'}).models().catch(({reason}) => reason)"
    assert in_page(stranger) == "CONNECTION_FAILED"
    stopped = in_page("""
      const aborter = new AbortController();
      const player = play(longtake, '0'.repeat(32), screen, {signal: aborter.signal});
      aborter.abort();
      return player.finished.then(() => 'stopped');
    """)
    assert stopped == "stopped"


def test_without_media_source_extensions(in_page):
    told = in_page("""
      delete window.MediaSource; delete window.ManagedMediaSource; delete window.WebKitMediaSource;
      const video = await longtake.create({prompt: 'a red ball bounces', seconds: 2});
      const secret = new Longtake({url: 'http://127.0.0.1:8080', token: 'x'});
      const refused = await play(secret, video, screen).finished.catch(({reason}) => reason);
      if (!screen.canPlayType('application/vnd.apple.mpegurl')) return {refused};
      // Chromium 156 never reads a playlist of the type EVENT again, so it can play only what is made.
      for await (const event of longtake.watch(video));
      const ended = until('ended');
      const player = play(longtake, video, screen);
      await player.finished;
      await ended;
      return {refused, source: screen.src === longtake.hlsUrl(video), at: screen.currentTime};
    """)
    assert told["refused"] == "CANNOT_PLAY"
    if "at" not in told:
        pytest.skip("this browser plays no HLS")
    assert told["source"] and told["at"] == pytest.approx(2.0625, abs=0.2)
