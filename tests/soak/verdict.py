"""What samples say: whether a server grows, and whether the one with the leak was caught."""

import dataclasses
from collections.abc import Sequence

from tests.soak.estimate import Slope, residual, theil_sen
from tests.soak.sample import Sample

MIB = 1 << 20
HOUR = 3600.0
# Files or threads. What loses one in each cycle has dozens in half an hour; a pool takes one or two more at its highest load.
GROWN = 3


@dataclasses.dataclass(frozen=True)
class Growth:
    """MiB an hour of memory; files and threads an hour. `noise`: the usual distance of `used` from its line, in MiB."""

    used: Slope
    heap: Slope
    resident: Slope
    files: Slope
    threads: Slope
    noise: float
    samples: int
    hours: float

    def more(self, slope: Slope) -> bool:
        """Whether there are more at the end than at the beginning, and that is no chance."""
        return slope.low > 0 and slope.value * self.hours >= GROWN


def growth(samples: Sequence[Sample], settle: float) -> Growth:
    """Of those that were taken later than `settle` seconds after the start. ValueError: they are too few."""
    used = [sample for sample in samples if sample.seconds >= settle]
    hours = [sample.seconds / HOUR for sample in used]

    def slope(name: str, unit: float = 1) -> Slope:
        return theil_sen(hours, [getattr(sample, name) / unit for sample in used])

    memory = [slope(name, MIB) for name in ("used", "heap", "resident")]
    noise = residual(hours, [sample.used / MIB for sample in used], memory[0].value)
    return Growth(*memory, slope("files"), slope("threads"), noise, len(used), hours[-1] - hours[0])


def problems(sound: Growth, control: Growth, limit: float) -> list[str]:
    """Why the soak has failed. `limit`: MiB an hour."""
    found = []
    if sound.used.value > limit:
        found.append(f"used memory grows by {sound.used.value:.2f} MiB an hour; {limit:g} are allowed")
    for name, slope in (("open files", sound.files), ("threads", sound.threads)):
        if sound.more(slope):
            found.append(f"{name} grow by {slope.value:.1f} an hour")
    # Caught is what is above the limit with all of its confidence: noise cannot catch anything.
    if control.used.low <= limit:
        slope = control.used
        found.append(f"the control was not caught: used memory grows by {slope.value:.2f} MiB an hour ({slope.low:.2f} at least)")
    return found
