"""Where things are, the document's code, and waiting for other threads."""

import contextlib
import re
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/clients.md"
LONGEST = 600  # seconds after which a test that hangs fails


def blocks(language):
    """The document's code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


@contextlib.contextmanager
def running(target, *args):
    """A thread, which has ended at the end."""
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    yield
    thread.join(LONGEST)
    assert not thread.is_alive()


def until(condition):
    """Waits for what another thread or process does, and returns it."""
    give_up = time.monotonic() + LONGEST
    while not (met := condition()):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return met
