"""Sample sheets and loss curves as PNG."""

import cv2
import numpy as np


def to_uint8(frames):
    """[..., 3, H, W] in -1…1 → [..., H, W, 3] uint8."""
    x = frames.detach().float().cpu().clamp(-1, 1)
    return ((x + 1) * 127.5).round().byte().movedim(-3, -1).numpy()


def sheet(path, rows):
    """Writes rows of pictures [n, H, W, 3] uint8 as one PNG; all rows have the same n."""
    cv2.imwrite(path, np.concatenate([np.concatenate(list(r), 1) for r in rows], 0)[..., ::-1])


def curves(path, series, title):
    """Draws named lists of numbers against their index, smoothed, on a logarithmic scale."""
    height, width, left = 320, 640, 60
    image = np.full((height, width, 3), 255, np.uint8)
    series = {k: np.asarray(v, np.float64) for k, v in series.items() if len(v) > 1}
    if series:
        low = np.log10(max(1e-9, min(np.nanmin(v) for v in series.values())))
        high = np.log10(max(1e-9, max(np.nanmax(v) for v in series.values()))) + 1e-6
        paints = ((200, 60, 30), (30, 120, 220), (40, 160, 40), (150, 40, 160))
        for i, (name, v) in enumerate(series.items()):
            k = max(1, len(v) // 80)
            v = np.convolve(v, np.ones(k) / k, "valid")
            x = left + np.linspace(0, width - left - 10, len(v))
            y = 30 + (high - np.log10(np.maximum(v, 1e-9))) / (high - low) * (height - 50)
            points = np.stack([x, y], 1).round().astype(np.int32)[None]
            cv2.polylines(image, points, False, paints[i % 4], 1, cv2.LINE_AA)
            text = f"{name}: {v[-1]:.4g}"
            cv2.putText(image, text, (left + 160 * i, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, paints[i % 4], 1, cv2.LINE_AA)
        for value in (low, high):
            y = 30 + (high - value) / (high - low) * (height - 50)
            cv2.putText(image, f"{10**value:.2g}", (2, int(y)), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(image, title, (2, height - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.imwrite(path, image)
