"""Screenshots for people to look at, in out/web, and what can be said of looks without them."""

import re

import pytest
from conftest import ROOT
from test_page import await_position, begin, until

OUT = ROOT / "out/web"
SCREENS = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 800}}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_screenshots(open_page, screen, scheme):
    phone = screen == "phone"
    page = open_page(viewport=SCREENS[screen], color_scheme=scheme, is_mobile=phone, has_touch=phone,
                     device_scale_factor=2 if phone else 1)  # fmt: skip
    OUT.mkdir(parents=True, exist_ok=True)

    def shoot(name):
        page.screenshot(path=OUT / f"{name}-{screen}-{scheme}.png")
        # Nothing is wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen]["width"]

    shoot("start")
    begin(page, seconds=24)
    page.wait_for_timeout(150)
    shoot("waiting")
    until(page, "seen.picture !== null")
    page.fill("#next", "a red ball bounces above the meadow at night")
    page.click("#change")
    until(page, "document.querySelectorAll('#prompts li').length === 2")
    await_position(page, 2)
    shoot("making")
    page.click("#fork")
    shoot("error")
    until(page, "!document.querySelector('.block:not(.made)')")
    page.locator("#prompts button").nth(1).click()
    page.wait_for_timeout(700)
    page.click("#play")
    shoot("made")
    page.click("#new")
    page.fill("#prompt", "a blue star rises in the night")
    until(page, "document.getElementById('quote').textContent !== ''")
    shoot("again")
    page.goto(re.sub("#.*", "", page.url) + "#videos/00000000000000000000000000000000")
    page.wait_for_selector("#missing:not([hidden])")
    shoot("missing")
