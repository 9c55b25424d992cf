"""The exported folder says nothing of the machine that wrote it."""

import json
import os
import pathlib
import tempfile
import unittest

from diffusers import AutoencoderKLWan

from tools.train import folder, vae


class Folder(unittest.TestCase):
    def test_a_vae_read_from_a_folder_is_written_as_a_new_one(self):
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            stats = [0.0] * 16, [1.0] * 16
            folder.write_vae(first, vae.make(), stats)
            folder.write_vae(second, AutoencoderKLWan.from_pretrained(os.path.join(first, "vae")), stats)
            texts = [pathlib.Path(path, "vae", "config.json").read_text() for path in (first, second)]
        self.assertEqual(*texts)
        self.assertNotIn("_name_or_path", json.loads(texts[0]))


if __name__ == "__main__":
    unittest.main()
