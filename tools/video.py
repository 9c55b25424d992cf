"""Writes MP4 files."""

import subprocess

import numpy as np


def write_mp4(path, frames, fps=16):
    """Frames [T, H, W, 3] uint8 to H.264, 4:2:0, bt709; needs the ffmpeg program."""
    height, width = frames.shape[1:3]
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", str(fps), "-i", "-", "-vf", "scale=out_color_matrix=bt709:out_range=tv", "-c:v", "libx264"]
    command += ["-pix_fmt", "yuv420p", "-crf", "18", "-preset", "veryfast", "-colorspace", "bt709", "-color_primaries", "bt709"]
    command += ["-color_trc", "bt709", path]
    subprocess.run(command, input=np.ascontiguousarray(frames).tobytes(), check=True)
