"""The requests of which repetitions draw theirs, and what an undisturbed server makes of each."""

import dataclasses
import random
import threading
import uuid

import longtake

from tests.faults.processes import LONGEST

PROMPTS = ("a red ball bounces", "a blue boat sails left", "a green star", "a yellow sun rises", "a white cloud")
SEEDS = 3  # videos of each length

Key = tuple[int, int]  # of a chunk: its block, and its index there


@dataclasses.dataclass(frozen=True)
class Request:
    prompt: str
    seed: int
    seconds: float

    def create(self, client: longtake.Client, request_id: str, **options: object) -> str:
        """The video's name. A request whose answer was lost is repeated with its id, and is one video."""
        video = client.create(self.prompt, seed=self.seed, seconds=self.seconds, request_id=request_id, **options)
        return video.name


@dataclasses.dataclass
class Recording:
    """A video as its viewer has it."""

    init: bytes = b""
    chunks: dict[Key, bytes] = dataclasses.field(default_factory=dict)

    def bytes(self) -> bytes:
        return self.init + b"".join(self.chunks[key] for key in sorted(self.chunks))


def requests(lengths: set[float]) -> list[Request]:
    """All of these lengths, in seconds. A block has about one, so long ones have checkpoints."""
    return [Request(PROMPTS[seed % len(PROMPTS)], seed, seconds) for seconds in sorted(lengths) for seed in range(SEEDS)]


class Undisturbed:
    """What each request gives where nothing happens."""

    def __init__(self, client: longtake.Client, wanted: list[Request]) -> None:
        self._recordings: dict[Request, Recording] = {}
        threads = [threading.Thread(target=self._make, args=(client, each), daemon=True) for each in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONGEST)
        if len(self._recordings) < len(wanted):
            raise RuntimeError("the undisturbed server has not made every video")

    def __getitem__(self, request: Request) -> Recording:
        return self._recordings[request]

    def draw(self, rng: random.Random, count: int, lengths: tuple[float, ...]) -> list[Request]:
        fit = [request for request in self._recordings if request.seconds in lengths]
        return rng.choices(sorted(fit, key=lambda each: (each.seconds, each.seed)), k=count)

    def _make(self, client: longtake.Client, request: Request) -> None:
        name = request.create(client, uuid.uuid4().hex, offline=True)
        recording = Recording()
        for event in client.watch(name, without_progress=True):
            if event.HasField("init_segment"):
                recording.init = event.init_segment.data
            elif event.HasField("chunk"):
                key = (event.chunk.block, event.chunk.index)
                recording.chunks[key] = recording.chunks.get(key, b"") + event.chunk.data
        self._recordings[request] = recording
