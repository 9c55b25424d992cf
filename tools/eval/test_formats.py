"""PSNR of two folders' videos: known noise, moments, unrelated videos."""

import numpy as np
import pytest

from tools.eval import formats
from tools.video import write_mp4


def test_psnr_of_known_errors():
    a = np.full((4, 8, 8, 3), 100, np.uint8)
    assert formats.psnr(a, a) > 70
    assert formats.psnr(a, a + 10) == pytest.approx(10 * np.log10(255**2 / 100))


def test_moments_are_seconds_that_both_have():
    a = np.zeros((40, 8, 8, 3), np.uint8)
    b = a.copy()
    b[16:32] = 20
    found = formats.by_moment(a, b, 16)
    assert list(found) == [0, 1]
    assert found[0] > 70
    assert found[1] == pytest.approx(10 * np.log10(255**2 / 400))


def test_folders_are_compared_by_name(tmp_path):
    values = np.random.default_rng(1).integers(60, 200, (3, 5, 8), dtype=np.uint8)
    for folder, noise in (("base", 0), ("other", 12)):
        (tmp_path / folder).mkdir()
        for i in range(3):
            picture = np.kron(values[i], np.ones((32, 32), np.uint8))
            frames = np.repeat(picture[None, ..., None], 20, 0).repeat(3, -1)
            write_mp4(str(tmp_path / folder / f"client_{i:03d}.mp4"), frames + np.uint8(noise))
    (tmp_path / "other" / "client_002.mp4").unlink()
    found, unrelated, count = formats.compare(str(tmp_path / "base"), str(tmp_path / "other"))
    assert count == 2
    assert found[0][0] == pytest.approx(10 * np.log10(255**2 / 144), abs=1.5)
    assert unrelated[0] < found[0][1] - 5
    with pytest.raises(SystemExit):
        formats.compare(str(tmp_path / "base"), str(tmp_path))
