"""What a notebook's cell shows of a video."""

import base64
import re
import urllib.error
import urllib.request

import longtake
import pytest
from fake_server import MEDIA, NAME
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from support import LONGEST, running, until


@pytest.fixture
def shell():
    """IPython without a terminal; `outputs` has what a notebook would be sent."""
    made = InteractiveShell.instance()
    made.display_pub = CapturingDisplayPublisher()
    yield made
    InteractiveShell.clear_instance()


def sources(shell):
    return [re.search('src="([^"]*)"', output["data"]["text/html"])[1] for output in shell.display_pub.outputs]


def test_it_plays_while_it_is_made_and_is_in_the_notebook_afterwards(fake, shell):
    fake.hold_from = 5
    with longtake.Client(fake.address) as client:
        shell.push({"client": client, "name": NAME})
        with running(shell.run_cell, "client.watch(name)"):
            until(lambda: shell.display_pub.outputs)
            (live,) = sources(shell)
            with urllib.request.urlopen(live, timeout=LONGEST) as player:
                so_far = MEDIA[: MEDIA.index(b"<part 3>")]
                assert player.headers["Content-Type"] == "video/mp4"
                assert player.read(len(so_far)) == so_far  # while the rest is held back
                with pytest.raises(urllib.error.HTTPError):  # other pages do not know the path
                    urllib.request.urlopen(live.replace(".mp4", "x.mp4"))
                fake.go_on.set()
                assert player.read() == MEDIA[len(so_far) :]
    assert sources(shell) == [live, f"data:video/mp4;base64,{base64.b64encode(MEDIA).decode()}"]
    first, second = shell.display_pub.outputs
    assert second["update"] and first["transient"] == second["transient"]  # in the place of the first
