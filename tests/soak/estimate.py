"""How fast something grows, from samples with noise."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

Z = 1.96  # of a normal distribution: 95 % are within so many standard deviations


@dataclasses.dataclass(frozen=True)
class Slope:
    """`low` and `high`: with 95 % confidence it is between them."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Slope":
        return Slope(self.value * factor, self.low * factor, self.high * factor)


def theil_sen(times: Sequence[float], values: Sequence[float]) -> Slope:
    """The median of the slopes between any two samples, and Sen's bounds of it. ValueError: fewer than five samples.

    Up to 29 % of the samples may be arbitrarily wrong without the median being so; least squares follow a single one. The
    bounds are those two slopes between which the median is, by the variance of Kendall's tau. They hold for samples whose errors
    are independent of each other.
    """
    n = len(times)
    if n != len(values):
        raise ValueError(f"{n} times, {len(values)} values")
    if n < 5:
        raise ValueError(f"{n} samples are too few")
    slopes = sorted((values[j] - values[i]) / (times[j] - times[i]) for i in range(n) for j in range(i + 1, n))
    half_width = Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((len(slopes) - half_width) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + half_width) / 2))
    return Slope(statistics.median(slopes), slopes[low], slopes[high])


def residual(times: Sequence[float], values: Sequence[float], slope: float) -> float:
    """How far a sample is from the line: the median of the distances, whatever the line's height."""
    rests = [value - slope * time for time, value in zip(times, values, strict=True)]
    middle = statistics.median(rests)
    return statistics.median(abs(rest - middle) for rest in rests)
