"""Behind the objects: the scene without them, how the camera goes over it, sky and ground."""

import cv2
import numpy as np

_ALIKE = 14  # difference of a channel, of 255, within which two samples of a pixel show the same thing
_FARTHEST = 24  # pixels that the camera may go in a second
_MOVES = 3.0  # pixels a second below which it stands still
_STRIPS = 8
_NOISE = 0.03  # difference, of 255, that coding leaves in the mean of a strip
_AGREED = 0.7  # share of strips that have to show that it went; a big and fast object is in half of them


def lab(rgb):
    return cv2.cvtColor(np.ascontiguousarray(rgb, np.uint8).astype(np.float32) / 255, cv2.COLOR_RGB2Lab)


def background(frames, seen=None):
    """The scene without its object, from frames [T, H, W, 3] that show the same part of it.

    A pixel's usual colour or, where there is none, of the most frequent ones the one nearest to its row's. `seen` [T, H, W]
    says which samples there are, if not all.
    """
    if seen is not None:
        return _most_frequent(frames.reshape(len(frames), -1, 3), seen.reshape(len(frames), -1)).reshape(frames.shape[1:])
    half = len(frames) // 2
    middle = np.partition(frames, half, 0)[half]
    steady = (cv2.absdiff(frames, np.broadcast_to(middle, frames.shape)).max(-1) < _ALIKE).mean(0) > 0.7
    out = middle.copy()
    if not steady.all():
        row = np.broadcast_to(np.median(middle, 1).astype(np.uint8)[:, None], middle.shape)
        out[~steady] = _most_frequent(frames[:, ~steady], row=row[~steady])
    return out


def _most_frequent(samples, seen=None, row=None):
    """Of samples [T, P, 3] each pixel's most frequent one, or one nearly as frequent that is nearer to `row` [P, 3]."""
    votes = np.empty(samples.shape[:2], np.uint16)
    for own, sample in zip(votes, samples, strict=True):
        alike = cv2.absdiff(samples, np.broadcast_to(sample, samples.shape)).max(-1) < _ALIKE
        own[:] = (alike if seen is None else alike & seen).sum(0)
    if seen is not None:
        votes = votes * seen
    if row is None:
        best = votes.argmax(0)
    else:
        # A slow and big thing hides a pixel for half of the time, but in several colours: 0.7 leaves the
        # background in the choice.
        far = cv2.absdiff(samples, np.broadcast_to(row, samples.shape)).sum(-1, dtype=np.uint16)
        best = np.where(votes >= 0.7 * votes.max(0), far, np.iinfo(np.uint16).max).argmin(0)
    return np.take_along_axis(samples, best[None, :, None], 0)[0]


def camera_pace(frames, seconds_apart):
    """How fast the camera goes to the right, pixels a second, from frames at equal distances; 0: it stands still.

    Upright strips of the picture vote: what moves by itself is in few of them.
    """
    stride = max(1, round(1 / seconds_apart))
    green = np.ascontiguousarray(frames[:, ::2, :, 1])  # a quarter of the work, and none of the way to go
    shifts = range(-_FARTHEST, _FARTHEST + 1)
    pairs = zip(green[:-stride:2], green[stride::2], strict=True)
    costs = np.array([[_differences(a, b, s) for s in shifts] for a, b in pairs])  # pair, shift, strip
    if not len(costs):
        return 0.0
    least = costs.min(1, keepdims=True)
    total = ((costs - least) / (costs.max(1, keepdims=True) - least + _NOISE)).mean((0, 2))
    best = int(np.clip(total.argmin(), 1, 2 * _FARTHEST - 1))
    if (costs[:, _FARTHEST] - costs[:, best] > _NOISE).mean() < _AGREED:
        return 0.0
    before, at, after = total[best - 1 : best + 2]
    part = 0.5 * (before - after) / max(before - 2 * at + after, 1e-9)
    pace = (best - _FARTHEST + float(np.clip(part, -0.5, 0.5))) / (stride * seconds_apart)
    return pace if abs(pace) > _MOVES else 0.0


def _differences(a, b, shift):
    """Of a picture and a later one, by strip, if the camera went `shift` pixels to the right meanwhile."""
    here = b[:, _FARTHEST:-_FARTHEST]
    there = a[:, _FARTHEST + shift : a.shape[1] - _FARTHEST + shift]
    columns = cv2.reduce(cv2.min(cv2.absdiff(there, here), 12), 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)
    return cv2.resize(columns, (_STRIPS, 1), interpolation=cv2.INTER_AREA)[0]


class Scenery:
    """The scene behind the frames of some seconds, which the camera may go over at a constant `pace`."""

    def __init__(self, frames, numbers, fps):
        """From frames [T, H, W, 3] with these numbers in the video, at equal distances."""
        self.fps, self.width = fps, frames.shape[2]
        self.pace = camera_pace(frames, (numbers[1] - numbers[0]) / fps) if len(numbers) > 2 else 0.0
        self.first = min(self.pace * n / fps for n in numbers)
        if not self.pace:
            self.wide = background(frames)
            return
        reach = max(self._left(n) for n in numbers)
        shape = (self.width + int(np.ceil(reach)) + 1, frames.shape[1])
        moved = [self._moved(f, self._left(n), shape) for f, n in zip(frames, numbers, strict=True)]
        ones = np.ones(frames.shape[1:3], np.float32)
        seen = [self._moved(ones, self._left(n), shape) > 0.99 for n in numbers]
        self.wide = background(np.stack(moved), np.stack(seen))

    def _left(self, number):
        return self.pace * number / self.fps - self.first

    @staticmethod
    def _moved(picture, x, shape):
        return cv2.warpAffine(picture, np.float32([[1, 0, x], [0, 1, 0]]), shape)

    def behind(self, number):
        """What a frame of the video would show without its objects."""
        if not self.pace:
            return self.wide
        return self._moved(self.wide, -self._left(number), (self.width, self.wide.shape[0]))


def sky_of(background):
    """From the upper two thirds of the picture."""
    top = np.median(background[:8].reshape(-1, 3), 0) / 255
    low = np.median(background[70:100].reshape(-1, 3), 0) / 255
    if low.max() < 0.48 and top.max() < 0.4:
        return "night"
    if low[0] > low[2] + 0.08:
        return "sunset"
    spread = max(top.max() - top.min(), low.max() - low.min())
    if spread > 0.2:
        return "day"
    if low.max() < 0.72:
        return "rain"
    return "snowfall" if spread > 0.12 else "fog"


def ground_of(background):
    """From the lowest rows."""
    pixel = np.median(background[-12:].reshape(-1, 3), 0)
    hue, saturation, _ = cv2.cvtColor(pixel[None, None].astype(np.uint8), cv2.COLOR_RGB2HSV_FULL)[0, 0].astype(float)
    hue, saturation = hue * 360 / 255, saturation / 255
    if saturation < 0.19:
        return "snow"
    if hue <= 15 or hue >= 262:
        return "city"
    return "desert" if hue < 62 else "meadow" if hue < 168 else "sea"
