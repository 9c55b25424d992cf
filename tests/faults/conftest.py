"""The Python client, which the suite watches videos with."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path


def pytest_configure(config):
    """Installs it into a folder of its own, unless tests/clients has done so: no network."""
    if importlib.util.find_spec("longtake") is not None:
        return
    folder = tempfile.TemporaryDirectory(prefix="longtake-client-")
    config.add_cleanup(folder.cleanup)
    subprocess.run([Path(__file__).with_name("install_client.sh"), Path(sys.prefix), folder.name], check=True)
    sys.path.insert(0, folder.name)
