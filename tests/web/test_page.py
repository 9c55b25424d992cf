"""The page in a browser: what a viewer sees and does."""

import base64
import re
import time

import pytest
from playwright.sync_api import expect

expect.set_options(timeout=60000)  # Of a busy machine; nothing waits so long where it is not.
NO_MEDIA_SOURCE = "delete window.MediaSource; delete window.ManagedMediaSource; delete window.WebKitMediaSource;"


def until(page, condition, argument=None, limit=300):
    """Waits for a condition in JavaScript. (Playwright's own waiting evaluates strings in the page, which our policy forbids.)"""
    give_up = time.monotonic() + limit
    while not page.evaluate(condition, argument):
        assert time.monotonic() < give_up, f"not within {limit} s: {condition}"
        time.sleep(0.05)


def begin(page, prompt="a red ball bounces above the meadow", seconds=8, live=False):
    """Asks for a video as a viewer would, and returns its id."""
    page.fill("#prompt", prompt)
    page.locator("#seconds").fill(str(seconds))
    if live:
        page.check("#direct-live")
    page.keyboard.press("Tab")
    page.focus("#prompt")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("#videos/"))
    return page.url.split("#videos/")[1]


def position(page):
    return page.evaluate("document.getElementById('video').currentTime")


def await_position(page, seconds):
    until(page, "(at) => document.getElementById('video').currentTime >= at", seconds)


def await_made(page):
    expect(page.locator("#status")).to_have_text("All of it is made", timeout=300000)


def prompts_of_blocks(page):
    return [int(number) for number in page.eval_on_selector_all(".block", "(all) => all.map((one) => one.dataset.prompt)")]


def test_first_picture_comes_before_the_second_block(open_page):
    page = open_page()
    begin(page)
    until(page, "seen.picture !== null")
    assert page.evaluate("seen.madeThen") < 2
    expect(page.locator("#player")).not_to_have_class(re.compile("empty"))


def test_plays_to_the_end_without_a_stall(open_page):
    page = open_page()
    begun = time.monotonic()
    begin(page, seconds=8)
    await_made(page)
    making = time.monotonic() - begun
    until(page, "document.getElementById('video').ended")
    playing = page.evaluate("(performance.now() - seen.began) / 1000")
    total = page.evaluate("document.getElementById('video').duration")
    assert position(page) == pytest.approx(total, abs=0.15)
    # All of it is in the buffer, in one piece.
    spans = page.evaluate("((b) => [...Array(b.length).keys()].map((i) => [b.start(i), b.end(i)]))(video.buffered)")
    assert len(spans) == 1 and spans[0][0] < 0.1 and spans[0][1] == pytest.approx(total, abs=0.1)
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play again")
    if making > 0.8 * total and page.evaluate("seen.waits.length"):
        pytest.skip(f"this machine makes {total:.0f} s of video in {making:.0f} s: too slow to play without a stall")
    assert page.evaluate("seen.waits") == []
    assert playing < total + 1.5


def test_prompt_change_shows_in_the_timeline_and_as_a_receipt(open_page):
    page = open_page()
    begin(page, seconds=16)
    until(page, "seen.picture !== null")
    page.fill("#next", "night falls")
    page.keyboard.press("Enter")
    words = page.locator("#prompts li").nth(1)
    expect(words).to_contain_text("night falls")
    expect(words).to_contain_text(re.compile(r"From 0:\d\d\.\d, block \d+"))
    block = int(re.search(r"block (\d+)", words.inner_text())[1]) - 1
    expect(page.locator("#live")).to_contain_text(f"block {block + 1}")
    numbers = prompts_of_blocks(page)
    assert 0 < block < len(numbers)
    assert numbers == [0] * block + [1] * (len(numbers) - block)
    assert page.input_value("#next") == ""
    # The making reaches it.
    until(page, "(block) => document.querySelectorAll('.block')[block].matches('.made')", block)
    page.locator("#prompts button").nth(1).click()
    until(page, "(at) => document.getElementById('video').currentTime >= at", block - 0.2)


def test_reload_in_mid_video_goes_on(open_page):
    page = open_page()
    begin(page, seconds=30)
    until(page, "seen.picture !== null")
    page.fill("#next", "a blue star rises")
    page.click("#change")
    expect(page.locator("#prompts li")).to_have_count(2)
    await_position(page, 3)
    page.wait_for_timeout(300)
    page.evaluate("window.before = 1")
    before = position(page)
    page.reload()
    assert page.evaluate("window.before") is None
    until(page, "seen.began !== null")
    # The position is kept as often as it is reported, which is every few seconds.
    assert before - 5 < position(page)
    expect(page.locator("#prompts li").nth(1)).to_contain_text("a blue star rises")
    await_position(page, before + 2)
    await_made(page)
    page.goto(page.url.split("#")[0])
    expect(page.locator("#recent-list li")).to_have_count(1)
    expect(page.locator("#recent-list img")).to_have_count(1)


def test_opening_the_link_elsewhere_plays(open_page):
    page = open_page()
    video = begin(page, seconds=6)
    until(page, "seen.picture !== null")
    other = open_page(f"/#videos/{video}")
    await_position(other, 1)
    await_made(other)


def share(page):
    """Presses the share button, and returns what it copies."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#share")
    expect(page.locator("#status")).to_have_text("Link copied")
    return page.evaluate("navigator.clipboard.readText()")


def test_share_copies_the_address_where_everybody_may_watch(open_page):
    page = open_page()
    begin(page)
    until(page, "seen.picture !== null")
    assert share(page) == page.url


def test_share_copies_a_viewing_link_where_callers_are_asked_who_they_are(open_page):
    page = open_page()
    page.route("**/v1/videos/*/link", lambda route: route.fulfill(json={"link": "a-Link_1"}))
    video = begin(page, seconds=6)
    until(page, "seen.picture !== null")
    shared = share(page)
    assert shared == f"{page.url}?link=a-Link_1"

    other = open_page()
    asked = []
    other.on("request", lambda request: asked.append((request.method, request.url)))
    other.evaluate("(address) => { location.href = address; }", shared)
    await_position(other, 1)
    await_made(other)
    assert asked
    for method, address in asked:  # A link permits nothing else.
        assert (method, f"/v1/videos/{video}" in address, "link=a-Link_1" in address) == ("GET", True, True), address
    expect(other.locator("#side")).to_be_hidden()
    assert other.locator("#download").get_attribute("href").endswith("/content?link=a-Link_1")
    assert share(other) == shared
    assert not other.evaluate("localStorage.getItem('longtake.recent')")


def test_share_says_what_went_wrong(open_page):
    page = open_page()
    error = {"error": {"code": "INTERNAL", "message": "no link today"}}
    page.route("**/v1/videos/*/link", lambda route: route.fulfill(status=500, json=error))
    begin(page)
    until(page, "seen.picture !== null")
    page.click("#share")
    expect(page.locator("#share-error")).to_have_text("No link today")


def test_a_link_that_has_expired_says_so(open_page):
    page = open_page()
    error = {"error": {"code": "LINK_EXPIRED", "message": "the link has expired"}}
    page.route("**/v1/videos/some?link=*", lambda route: route.fulfill(status=403, json=error))
    page.evaluate("() => { location.hash = 'videos/some?link=old'; }")
    expect(page.locator("#missing-text")).to_have_text("The link has expired")


def test_fork_from_the_block_under_the_playhead(open_page, api):
    page = open_page()
    first = begin(page, seconds=8)
    await_position(page, 3.3)
    page.click("#play")
    block = page.evaluate("Number(document.getElementById('timeline').ariaValueText.match(/block (\\d+)/)[1])") - 1
    page.fill("#next", "a green boat sails left over the sea")
    page.click("#fork")
    until(page, "(id) => !location.hash.endsWith(id)", first)
    expect(page.locator("#prompts li")).to_have_count(2)
    numbers = prompts_of_blocks(page)
    assert numbers == [0] * block + [1] * (len(numbers) - block)
    await_position(page, block + 1.5)
    await_made(page)
    page.go_back()
    until(page, "(id) => location.hash.endsWith(id)", first)
    expect(page.locator("#prompts li")).to_have_count(1)


def test_enter_forks_where_all_is_made(open_page):
    page = open_page()
    first = begin(page, seconds=3)
    await_made(page)
    expect(page.locator("#change")).to_be_disabled()
    page.fill("#next", "night falls")
    page.keyboard.press("Enter")
    until(page, "(id) => !location.hash.endsWith(id)", first)
    until(page, "document.querySelectorAll('.block').length > 0")


def test_errors_are_shown(open_page):
    page = open_page()
    page.click("#make-button")
    expect(page.locator("#home-error")).to_have_text("Describe what the video shows first.")
    page.route("**/v1/videos", lambda route: route.fulfill(status=429, headers={"Retry-After": "7"}, json={"error": {}}))
    page.fill("#prompt", "a red ball")
    expect(page.locator("#home-error")).to_be_hidden()
    page.click("#make-button")
    expect(page.locator("#home-error")).to_contain_text(re.compile("busy. Try again in 7\\ss"))
    page.unroute("**/v1/videos")
    page.route("**/v1/videos", lambda route: route.abort())
    page.click("#make-button")
    expect(page.locator("#home-error")).to_contain_text("does not answer")


def test_unknown_video(open_page):
    page = open_page("/#videos/00000000000000000000000000000000")
    expect(page.locator("#missing-title")).to_be_visible()
    expect(page.locator("#missing-text")).not_to_be_empty()
    page.get_by_role("link", name="Make a new one").click()
    expect(page.locator("#prompt")).to_be_focused()


def test_empty_next_prompt(open_page):
    page = open_page()
    begin(page, seconds=4)
    page.click("#fork")
    expect(page.locator("#direct-error")).to_have_text("Write what happens next first.")
    expect(page.locator("#next")).to_be_focused()


def test_what_the_model_knows_and_its_examples(open_page, api):
    page = open_page()
    model = api("models")["data"][0]
    expect(page.locator("#about")).to_have_text(model["about"])
    expect(page.locator("#examples button")).to_have_text(model["examples"])
    page.get_by_role("button", name=model["examples"][1]).click()
    assert page.input_value("#prompt") == model["examples"][1]
    expect(page.locator("#prompt")).to_be_focused()
    expect(page.locator("#quote")).to_have_text(re.compile("First picture in about .* all of it in about"))


def test_a_model_that_says_nothing_of_itself(open_page):
    page = open_page()
    page.route("**/v1/models", lambda route: route.fulfill(json={"data": [{"id": "m", "max_seconds": 50, "sizes": ["256x160"]}]}))
    page.reload()
    expect(page.locator("#seconds")).to_have_attribute("max", "50")
    expect(page.locator("#about")).to_be_hidden()
    expect(page.locator("#examples button")).to_have_count(0)


# The smallest PNG: one pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


def test_what_a_model_offers_beside_a_prompt(open_page, api):
    """First picture, adapters and the preview decoder are asked for as they were chosen, and shown with the video."""
    page = open_page()
    offered = api("models")["data"][0] | {
        "accepts_first_image": True,
        "adapters": ["water", "slow"],
        "decoders": ["full", "tiny"],
    }
    page.route("**/v1/models", lambda route: route.fulfill(json={"data": [offered]}))
    asked = []

    def make(route):
        asked.append(route.request.post_data_json)
        known = {name: asked[-1][name] for name in ("prompt", "seconds")}
        made = api("videos", known)
        route.fulfill(json=made)
        chosen = {name: asked[-1][name] for name in ("adapters", "decoder")}
        page.route(f"**/v1/videos/{made['id']}", lambda other: other.fulfill(json=api(f"videos/{made['id']}") | chosen))

    page.route("**/v1/videos", make)
    page.reload()
    expect(page.locator(".adapter")).to_have_text(["water1.00", "slow1.00"])
    slow = page.get_by_label("Strength of slow")
    expect(slow).to_be_disabled()
    page.get_by_label("slow", exact=True).check()
    slow.fill("0.6")
    expect(page.locator(".adapter output").nth(1)).to_have_text("0.60")
    page.get_by_label("Preview").check()
    page.set_input_files("#first-picture", {"name": "dot.png", "mimeType": "image/png", "buffer": PIXEL})
    expect(page.locator("#first-picture-name")).to_have_text("dot.png")
    page.get_by_label("Without a first picture").click()
    expect(page.locator("#first-picture-name")).to_have_text("First picture")
    page.set_input_files("#first-picture", {"name": "dot.png", "mimeType": "image/png", "buffer": PIXEL})
    begin(page, seconds=2)
    assert asked[0]["adapters"] == [{"name": "slow", "strength": 0.6}] and asked[0]["decoder"] == "tiny"
    assert base64.b64decode(asked[0]["input_reference"].removeprefix("data:image/png;base64,")) == PIXEL
    expect(page.locator("#made-with")).to_have_text("Made with slow at 0.60, the preview decoder.")


def test_stop(open_page):
    page = open_page()
    begin(page, seconds=30)
    until(page, "seen.began !== null")
    page.click("#stop")
    expect(page.locator("#status")).to_have_text(re.compile("Stopped at 0:"))
    expect(page.locator("#stop")).to_be_hidden()
    until(page, "document.getElementById('video').ended")


def test_a_lost_connection_is_taken_up_again(open_page):
    page = open_page(
        scripts=[
            """
      const whole = window.fetch;
      let cuts = 1;  // The first watch breaks off after a while, in the middle of a message.
      window.fetch = async (url, options) => {
        const response = await whole(url, options);
        if (!String(url).includes('/watch') || cuts-- <= 0) return response;
        let left = 60000;
        return new Response(response.body.pipeThrough(new TransformStream({transform(bytes, controller) {
          controller.enqueue(bytes.slice(0, left));
          if ((left -= bytes.length) <= 0) controller.error(new TypeError('network error'));
        }})));
      };"""
        ]
    )
    begin(page, seconds=6)
    await_made(page)
    until(page, "document.getElementById('video').ended")


def test_keyboard(open_page):
    page = open_page()
    begin(page, seconds=6)
    await_made(page)
    page.locator("#timeline").focus()
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.keyboard.press("Home")
    assert position(page) == 0
    page.keyboard.press("ArrowRight")
    assert position(page) == pytest.approx(1, abs=0.01)
    page.keyboard.press("PageDown")
    assert page.locator("#timeline").get_attribute("aria-valuetext")
    page.keyboard.press("End")
    page.keyboard.press("Space")
    until(page, "document.getElementById('video').ended")
    # Everything that can be pressed has a name.
    names = page.eval_on_selector_all("#watch button, #watch a, header a", "(all) => all.map((e) => e.ariaLabel || e.innerText)")
    assert all(names)


def test_reading_stops_far_ahead_and_old_pictures_leave(open_page, request):
    page = open_page()
    begin(page, seconds=60)
    until(page, "seen.began !== null")
    page.click("#play")  # At once: where the making is slow, less than 30 s would be left when it has come far.
    if not request.config.getoption("mock"):
        until(page, "document.querySelectorAll('.block.made').length > 45")
    ahead = "((v) => v.buffered.length ? v.buffered.end(v.buffered.length - 1) - v.currentTime : 0)(video)"
    until(page, f"{ahead} > 30")
    page.wait_for_timeout(2500)
    assert page.evaluate(ahead) < 31.5
    expect(page.locator("#status")).to_have_text(re.compile("blocks made|All of it is made"))
    page.click("#play")
    # So that the test is short. The page itself slows it down again: at this rate the end is two seconds away.
    page.evaluate("""() => {
      video.playbackRate = 8;
      video.addEventListener('timeupdate', () => { if (video.currentTime > 45) video.playbackRate = 1; });
    }""")
    until(page, "video.currentTime > 45")
    # What is older than 20 s leaves when something is read, and that was last at 30 s.
    assert page.evaluate("video.buffered.start(0)") > 3
    # Going back to what has left the buffer reads it again.
    page.locator("#timeline").focus()
    page.keyboard.press("Home")
    until(page, "video.currentTime > 0.5 && video.currentTime < 5 && video.readyState >= 3")


def test_playback_is_reported(open_page):
    reports = []
    page = open_page()
    page.on("request", lambda r: reports.append(r.post_data_json) if r.url.endswith("/playback") else None)
    begin(page, seconds=8)
    await_position(page, 1)
    page.click("#play")
    page.wait_for_timeout(500)
    assert reports[-1]["paused"] is True and reports[-1]["position"] == pytest.approx(position(page), abs=0.1)
    page.click("#play")
    page.wait_for_timeout(500)
    assert reports[-1]["paused"] is False
    assert len({report["viewer_id"] for report in reports}) == 1


def test_hls_where_there_are_no_media_source_extensions(open_page):
    page = open_page(scripts=[NO_MEDIA_SOURCE])
    can_play = page.evaluate("document.createElement('video').canPlayType('application/vnd.apple.mpegurl')")
    video = begin(page, seconds=6)
    if not can_play:
        expect(page.locator("#missing-text")).to_contain_text("neither")
        pytest.skip("this browser plays no HLS")
    until(page, "(id) => video.src.endsWith(`/v1/videos/${id}/index.m3u8`)", video)
    until(page, "seen.picture !== null")
    await_position(page, 2)
    await_made(page)
    until(page, "document.getElementById('video').ended")


def test_neither_media_source_extensions_nor_hls(open_page):
    page = open_page(scripts=[NO_MEDIA_SOURCE, "HTMLMediaElement.prototype.canPlayType = () => '';"])
    begin(page, seconds=3)
    expect(page.locator("#missing-text")).to_contain_text("neither")


def test_download(open_page, tmp_path):
    page = open_page()
    begin(page, seconds=3)
    await_made(page)
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename.endswith(".mp4")
    download.value.save_as(tmp_path / "video.mp4")
    assert b"ftyp" in (tmp_path / "video.mp4").read_bytes()[:16]
