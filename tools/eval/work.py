"""Makes and looks at many videos: several at a time, with progress told, and again from where a stopped run was."""

import hashlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

_TELL_EVERY = 10.0  # seconds
_PAPERS = (".pyc", ".md", ".png")


def digest(paths):
    """A short name for the bytes of files and folders; what is not there does not count, nor do a folder's papers."""
    files = []
    for path in paths:
        if os.path.isdir(path):
            files += [os.path.join(f, name) for f, _, names in os.walk(path) for name in names if not name.endswith(_PAPERS)]
        elif os.path.exists(path):
            files.append(path)
    total = hashlib.sha256()
    for path in sorted(files):
        with open(path, "rb") as file:
            total.update(path.encode() + hashlib.sha256(file.read()).digest())
    return total.hexdigest()[:16]


def _written(path, value):
    with open(path + ".part", "w") as file:
        json.dump(value, file)
    os.replace(path + ".part", path)


class Work:
    """One maker and what it made, in a folder. `source` names what the maker's videos depend on, `looker` what is seen in them.

    Beside each video lies what it was asked for and what was seen in it, as JSON. A video that was asked for and made in the
    same way is not made again, and looked at again only by another `looker`.
    """

    def __init__(self, maker, folder, source, looker):
        self.maker, self.folder, self.source, self.looker = maker, folder, source, looker
        os.makedirs(folder, exist_ok=True)

    def once(self, case, look):
        """{"pace": of making, or None, "found": what `look(path, case)` returned}. Files get their names when they are whole."""
        path = os.path.join(self.folder, f"{self.maker.name}_{case.name}.mp4")
        notes_path = path.removesuffix(".mp4") + ".json"
        asked = json.loads(json.dumps({**case.told(), "source": self.source}))
        notes = {}
        if os.path.exists(notes_path) and os.path.exists(path):
            with open(notes_path) as file:
                notes = json.load(file)
        if notes.get("asked") != asked:
            part = path.removesuffix(".mp4") + ".part.mp4"
            notes = {"asked": asked, "pace": self.maker.make(part, case)}
            if os.path.exists(notes_path):
                os.remove(notes_path)  # it tells of the video that is replaced now
            os.replace(part, path)
            _written(notes_path, notes)
        if notes.get("looker") != self.looker:
            notes = {**notes, "looker": self.looker, "found": look(path, case)}
            _written(notes_path, notes)
        return notes

    def all(self, cases, look, at_once, alone=0):
        """What was found in each case, in their order. The first `alone` are made with nothing beside them, the others
        `at_once` at a time."""
        progress = _Progress(cases)
        out = {}
        for case in cases[:alone]:
            out[case] = self.once(case, look)
            progress.done(case)
        with ThreadPoolExecutor(at_once) as pool:
            futures = {pool.submit(self.once, case, look): case for case in cases[alone:]}
            try:
                for future in as_completed(futures):
                    out[futures[future]] = future.result()
                    progress.done(futures[future])
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [out[case] for case in cases]


class _Progress:
    """Says on stderr how far the work is, every few seconds."""

    def __init__(self, cases):
        self.left = {case: case.seconds for case in cases}
        self.count, self.seconds = len(cases), sum(self.left.values())
        self.start = self.told = time.monotonic()

    def done(self, case):
        del self.left[case]
        now = time.monotonic()
        if now - self.told < _TELL_EVERY and self.left:
            return
        self.told = now
        ready = self.seconds - sum(self.left.values())
        pace = ready / (now - self.start)
        text = f"{self.count - len(self.left)} of {self.count} videos, {ready:.0f} of {self.seconds:.0f} s of video"
        print(
            f"  {text}, {pace:.1f} s of it a second, {(self.seconds - ready) / pace / 60:.0f} min left",
            file=sys.stderr,
            flush=True,
        )
