"""A tqdm progress bar, in terminals and notebooks."""

import contextlib
from collections.abc import Callable, Iterator

from longtake.v1.events_pb2 import WatchVideoResponse


@contextlib.contextmanager
def progress_bar(wanted: bool) -> Iterator[Callable[[WatchVideoResponse], None]]:
    """Yields the function to call with each event."""
    if not wanted:
        yield lambda event: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("a progress bar needs tqdm: pip install 'longtake[progress]'") from error
    layout = "{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s of video [{elapsed}<{remaining}]"
    with tqdm(desc="starting", total=0.0, bar_format=layout) as bar:

        def show(event: WatchVideoResponse) -> None:
            if event.HasField("accepted"):
                bar.total = event.accepted.video.format.duration.ToTimedelta().total_seconds()
                bar.refresh()
            elif event.HasField("waiting"):
                bar.set_description(f"waiting, position {event.waiting.position}")
            elif event.HasField("chunk") and event.chunk.part + 1 == event.chunk.part_count:
                bar.set_description(f"block {event.chunk.block + 1}", refresh=False)
                # Not the sum of durations: a watch may begin in the middle of the video.
                end = event.chunk.pts_offset.ToTimedelta() + event.chunk.duration.ToTimedelta()
                bar.update(end.total_seconds() - bar.n)

        yield show
